//! Places: who may communicate. Owns the table `connections`.
//!
//! There are `MaxClients` slot items and one item per user. A lease is a slot item and a user item that name each other,
//! the connection, the session and the moment it ends. Time is compared in every condition; DynamoDB's TTL only sweeps.
//!
//! # Why it holds
//!
//! - **I1, never more than `MaxClients` leases.** A lease needs a slot, slots are numbered below `MaxClients`, and a slot is
//!   only written when it is absent, ended, or named by the very connection that writes (or that is taken over).
//! - **I2, never two leases of a user.** There is one item per user, under the same rule. Both are taken in one transaction.
//! - **I3, only a holder is heard.** `Leases::admission` puts the condition "this user item names this connection and has
//!   not ended" into the very transaction that stores a message.
//! - **I4, fencing.** Renewing and releasing are conditioned on the connection id. A `$disconnect` that comes late names a
//!   connection that no item names any more, and changes nothing.
//! - **I5, a user item never outlives its slot.** What gives, moves or lengthens a lease writes both items in one
//!   transaction, with the same end; only [`Leases::release`] ends the user item first and frees the slot then. So as long
//!   as a user item lives, so does its slot, and a connection with both items has both until it ends. Two writes would not
//!   do, in either order: functions overlap, and each brings the time at which it began. One that is late would shorten the
//!   slot under a user item that another has lengthened.
//! - **I6, a crash leaves at worst a lease that ends by itself.** Every write leaves a state in which the others hold.
//! - **I7, a free place is never refused.** "Full" is only answered after a consistent read of every slot saw none free.
//!
//! The first lease lasts `FirstMessageSeconds` and only an accepted message makes it renewable ("spoken"). A session that
//! takes its place back keeps that state and, if silent, its deadline: reconnecting is not speaking.
//!
//! # What it costs
//!
//! A connect is one transaction on a random slot. When that slot is taken, slots are read a hundred at a time in random
//! order until a free one is seen: how many reads that takes depends on the share of free places, not on their number. No
//! item is written by more than one client, so there is no hot key.

mod search;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{AttributeValue, Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update};

use crate::clock::{Clock, Timestamp};
use crate::config::LeaseConfig;
use crate::dynamo::{self, Fields, Item, conditional, n, s, time};
use crate::ids::{ConnectionId, MessageId, Random, SessionId, UserId};
use crate::{Error, Result};

/// How long an ended item may lie before TTL may sweep it: unanswered messages are counted in it.
const KEEP_ENDED: std::time::Duration = std::time::Duration::from_secs(24 * 3600);

/// The end of a lease that was given back.
const RELEASED: Timestamp = Timestamp(0);

#[derive(Debug, Clone)]
pub struct Leases {
    db: Client,
    config: LeaseConfig,
    clock: Arc<dyn Clock>,
    random: Arc<Random>,
}

/// A user item: the lease as its holder sees it.
#[derive(Debug, Clone)]
pub struct Lease {
    pub slot: u32,
    pub connection: ConnectionId,
    pub session: Option<SessionId>,
    pub expires_at: Timestamp,
    /// Has sent a message; only then a heartbeat renews.
    pub spoken: bool,
    /// Messages admitted and not yet answered, each with the moment it was admitted.
    pub pending: Vec<(MessageId, Timestamp)>,
    /// Of those, the ones that have waited so long that they no longer count.
    pub overdue: Vec<(MessageId, Timestamp)>,
}

#[derive(Debug)]
pub enum Connected {
    Granted {
        expires_at: Timestamp,
        /// The connection that had this place, by the same session: its socket is to be told and closed.
        replaced: Option<ConnectionId>,
    },
    /// This user is connected, with another session.
    AlreadyConnected,
    Full,
}

impl Leases {
    pub fn new(db: Client, config: LeaseConfig, clock: Arc<dyn Clock>, random: Arc<Random>) -> Self {
        Self { db, config, clock, random }
    }

    /// Takes a place.
    pub async fn connect(
        &self,
        user: &UserId,
        connection: &ConnectionId,
        session: Option<&SessionId>,
    ) -> Result<Connected> {
        let mut slot = self.random.below(self.config.max_clients);
        let mut free = Vec::new();
        loop {
            let expires_at = self.clock.now().plus(self.config.first_message);
            let refused = match self.take(user, connection, session, slot, expires_at).await? {
                Ok(()) => return Ok(Connected::Granted { expires_at, replaced: None }),
                Err(refused) => refused,
            };
            if let Some(item) = refused.item(0) {
                let held = Lease::read(item)?;
                // An answer to an earlier try of this very call was lost.
                if &held.connection == connection {
                    return Ok(Connected::Granted { expires_at: held.expires_at, replaced: None });
                }
                if session.is_none() || held.session.as_ref() != session {
                    return Ok(Connected::AlreadyConnected);
                }
                match self.take_over(user, connection, &held).await? {
                    Some(expires_at) => {
                        return Ok(Connected::Granted { expires_at, replaced: Some(held.connection) });
                    }
                    None => continue, // changed meanwhile: look again
                }
            }
            if free.is_empty() {
                free = self.free_slots().await?;
            }
            match free.pop() {
                Some(next) => slot = next,
                None => return Ok(Connected::Full),
            }
        }
    }

    /// Takes `slot` and the user's item, both or neither.
    async fn take(
        &self,
        user: &UserId,
        connection: &ConnectionId,
        session: Option<&SessionId>,
        slot: u32,
        expires_at: Timestamp,
    ) -> Result<std::result::Result<(), dynamo::Refused>> {
        let now = self.clock.now();
        // An update, not a put: messages that are still being answered stay counted.
        let mut user_item = Update::builder()
            .table_name(&self.config.table)
            .key("pk", s(user_key(user)))
            .condition_expression("attribute_not_exists(pk) OR expires_at <= :now")
            .expression_attribute_names("#ttl", "ttl")
            .expression_attribute_values(":now", time(now))
            .expression_attribute_values(":slot", n(slot))
            .expression_attribute_values(":connection", s(connection.as_str()))
            .expression_attribute_values(":expires", time(expires_at))
            .expression_attribute_values(":no", AttributeValue::Bool(false))
            .expression_attribute_values(":none", AttributeValue::M(std::collections::HashMap::new()))
            .expression_attribute_values(":ttl", n(expires_at.plus(KEEP_ENDED).as_ttl_seconds()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let set = "SET slot_no = :slot, connection_id = :connection, expires_at = :expires, spoken = :no, \
                   #ttl = :ttl, pending = if_not_exists(pending, :none), overdue = if_not_exists(overdue, :none)";
        user_item = match session {
            Some(session) => user_item
                .update_expression(format!("{set}, session_id = :session"))
                .expression_attribute_values(":session", s(session.as_str())),
            None => user_item.update_expression(format!("{set} REMOVE session_id")),
        };
        let slot_item = Put::builder()
            .table_name(&self.config.table)
            .item("pk", s(slot_key(slot)))
            .item("slot_no", n(slot))
            .item("user_id", s(user.as_str()))
            .item("connection_id", s(connection.as_str()))
            .item("expires_at", time(expires_at))
            .item("spoken", AttributeValue::Bool(false))
            .item("ttl", n(expires_at.plus(KEEP_ENDED).as_ttl_seconds()))
            .condition_expression("attribute_not_exists(pk) OR expires_at <= :now")
            .expression_attribute_values(":now", time(now));
        let items = [
            TransactWriteItem::builder().update(built(user_item.build())?).build(),
            TransactWriteItem::builder().put(built(slot_item.build())?).build(),
        ];
        dynamo::transact(&self.db, &self.random, &items).await
    }

    /// Moves `held` to another connection of the same session. `None`: it is not as it was.
    async fn take_over(&self, user: &UserId, connection: &ConnectionId, held: &Lease) -> Result<Option<Timestamp>> {
        let now = self.clock.now();
        let expires_at = if held.spoken { now.plus(self.config.lease) } else { held.expires_at };
        let move_item = |key: String| {
            let update = self
                .held_by(key, &held.connection, now)
                // A message that was accepted meanwhile made it last longer.
                .condition_expression("connection_id = :connection AND expires_at > :now AND spoken = :spoken")
                .expression_attribute_values(":spoken", AttributeValue::Bool(held.spoken))
                .update_expression("SET connection_id = :new, expires_at = :expires, #ttl = :ttl")
                .expression_attribute_names("#ttl", "ttl")
                .expression_attribute_values(":new", s(connection.as_str()))
                .expression_attribute_values(":expires", time(expires_at))
                .expression_attribute_values(":ttl", n(expires_at.plus(KEEP_ENDED).as_ttl_seconds()));
            Ok::<_, Error>(TransactWriteItem::builder().update(built(update.build())?).build())
        };
        let items = [move_item(user_key(user))?, move_item(slot_key(held.slot))?];
        Ok(dynamo::transact(&self.db, &self.random, &items).await?.is_ok().then_some(expires_at))
    }

    /// Makes the lease last `LeaseSeconds` from now; a silent client's lease stays as it is. Answers when it ends.
    ///
    /// # Errors
    /// [`Error::LeaseExpired`] when this connection holds no lease.
    pub async fn renew(&self, user: &UserId, connection: &ConnectionId) -> Result<Timestamp> {
        let lease = self.held(user, connection).await?;
        if !lease.spoken {
            return Ok(lease.expires_at);
        }
        self.extend(user, &lease).await
    }

    /// A message was heard again (it had been admitted before): it renews as a new one does.
    pub(crate) async fn heard(&self, user: &UserId, lease: &Lease) -> Result<Timestamp> {
        self.extend(user, lease).await
    }

    /// Both items or neither (I5).
    async fn extend(&self, user: &UserId, lease: &Lease) -> Result<Timestamp> {
        let now = self.clock.now();
        let expires_at = now.plus(self.config.lease);
        let extended = |key: String| {
            let update = self
                .held_by(key, &lease.connection, now)
                .update_expression("SET expires_at = :expires, #ttl = :ttl, spoken = :yes")
                .expression_attribute_names("#ttl", "ttl")
                .expression_attribute_values(":expires", time(expires_at))
                .expression_attribute_values(":ttl", n(expires_at.plus(KEEP_ENDED).as_ttl_seconds()))
                .expression_attribute_values(":yes", AttributeValue::Bool(true));
            Ok::<_, Error>(TransactWriteItem::builder().update(built(update.build())?).build())
        };
        let items = [extended(user_key(user))?, extended(slot_key(lease.slot))?];
        let extended = dynamo::transact(&self.db, &self.random, &items).await?;
        extended.map(|()| expires_at).map_err(|_| Error::LeaseExpired)
    }

    /// Gives the place back. `false`: this connection held none (I4), and nothing was changed.
    pub async fn release(&self, user: &UserId, connection: &ConnectionId) -> Result<bool> {
        let Some(lease) = self.find(user).await? else { return Ok(false) };
        if &lease.connection != connection {
            return Ok(false);
        }
        let ended = conditional(&self.random, "UpdateItem", || {
            self.db
                .update_item()
                .table_name(&self.config.table)
                .key("pk", s(user_key(user)))
                .condition_expression("connection_id = :connection")
                .update_expression("SET expires_at = :never")
                .expression_attribute_values(":connection", s(connection.as_str()))
                .expression_attribute_values(":never", time(RELEASED))
                .send()
        })
        .await?;
        if ended.is_none() {
            return Ok(false);
        }
        self.free_slot(lease.slot, connection).await?;
        Ok(true)
    }

    /// All user items, ended ones too.
    pub async fn all(&self) -> Result<Vec<(UserId, Lease)>> {
        let mut pages = self
            .db
            .scan()
            .table_name(&self.config.table)
            .consistent_read(true)
            .filter_expression("begins_with(pk, :user)")
            .expression_attribute_values(":user", s(USER_KEY))
            .into_paginator()
            .items()
            .send();
        let mut all = Vec::new();
        while let Some(item) = pages.next().await {
            let item = item.map_err(|error| Error::service("Scan", &error))?;
            let user = Fields(&item).text("pk")?;
            all.push((UserId::parse(user.strip_prefix(USER_KEY).unwrap_or(user))?, Lease::read(&item)?));
        }
        Ok(all)
    }

    /// Deletes what an ended lease left behind, unless it has been taken again, or messages still wait.
    pub async fn forget(&self, user: &UserId, ended: &Lease) -> Result<()> {
        let now = self.clock.now();
        conditional(&self.random, "DeleteItem", || {
            self.db
                .delete_item()
                .table_name(&self.config.table)
                .key("pk", s(user_key(user)))
                .condition_expression(
                    "connection_id = :connection AND expires_at <= :now AND size(pending) = :none AND size(overdue) = :none",
                )
                .expression_attribute_values(":connection", s(ended.connection.as_str()))
                .expression_attribute_values(":now", time(now))
                .expression_attribute_values(":none", n(0))
                .send()
        })
        .await?;
        conditional(&self.random, "DeleteItem", || {
            self.db
                .delete_item()
                .table_name(&self.config.table)
                .key("pk", s(slot_key(ended.slot)))
                .condition_expression("connection_id = :connection AND expires_at <= :now")
                .expression_attribute_values(":connection", s(ended.connection.as_str()))
                .expression_attribute_values(":now", time(now))
                .send()
        })
        .await
        .map(|_| ())
    }

    async fn free_slot(&self, slot: u32, connection: &ConnectionId) -> Result<()> {
        conditional(&self.random, "DeleteItem", || {
            self.db
                .delete_item()
                .table_name(&self.config.table)
                .key("pk", s(slot_key(slot)))
                .condition_expression("connection_id = :connection")
                .expression_attribute_values(":connection", s(connection.as_str()))
                .send()
        })
        .await
        .map(|_| ())
    }

    /// The user's item, ended or not.
    pub async fn find(&self, user: &UserId) -> Result<Option<Lease>> {
        let output = self
            .db
            .get_item()
            .table_name(&self.config.table)
            .key("pk", s(user_key(user)))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| Error::service("GetItem", &error))?;
        output.item().map(Lease::read).transpose()
    }

    /// Where the user can be reached now.
    pub async fn address(&self, user: &UserId) -> Result<Option<ConnectionId>> {
        let now = self.clock.now();
        Ok(self.find(user).await?.filter(|lease| lease.expires_at > now).map(|lease| lease.connection))
    }

    async fn held(&self, user: &UserId, connection: &ConnectionId) -> Result<Lease> {
        let lease = self.find(user).await?;
        lease.filter(|lease| lease.is_held(connection, self.clock.now())).ok_or(Error::LeaseExpired)
    }

    /// The writes that admit a message of `lease`'s holder, for the caller's transaction: the first on the user item, the
    /// second on its slot. They hold only while the lease does (I3) and fewer than `max_pending` messages wait, and they
    /// renew it.
    pub(crate) fn admission(
        &self,
        user: &UserId,
        lease: &Lease,
        message: &MessageId,
        now: Timestamp,
        max_pending: usize,
    ) -> Result<[TransactWriteItem; 2]> {
        let expires_at = now.plus(self.config.lease);
        let ttl = n(expires_at.plus(KEEP_ENDED).as_ttl_seconds());
        let user_item = Update::builder()
            .table_name(&self.config.table)
            .key("pk", s(user_key(user)))
            .condition_expression("connection_id = :connection AND expires_at > :now AND size(pending) < :max")
            .update_expression("SET expires_at = :expires, #ttl = :ttl, spoken = :yes, pending.#message = :now")
            .expression_attribute_names("#ttl", "ttl")
            .expression_attribute_names("#message", message.key())
            .expression_attribute_values(":connection", s(lease.connection.as_str()))
            .expression_attribute_values(":now", time(now))
            .expression_attribute_values(":max", n(max_pending))
            .expression_attribute_values(":expires", time(expires_at))
            .expression_attribute_values(":ttl", ttl.clone())
            .expression_attribute_values(":yes", AttributeValue::Bool(true))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let slot_item = self
            .held_by(slot_key(lease.slot), &lease.connection, now)
            .update_expression("SET expires_at = :expires, #ttl = :ttl, spoken = :yes")
            .expression_attribute_names("#ttl", "ttl")
            .expression_attribute_values(":expires", time(expires_at))
            .expression_attribute_values(":ttl", ttl)
            .expression_attribute_values(":yes", AttributeValue::Bool(true));
        Ok([
            TransactWriteItem::builder().update(built(user_item.build())?).build(),
            TransactWriteItem::builder().update(built(slot_item.build())?).build(),
        ])
    }

    /// The write that takes an answered message off its sender's count, for the caller's transaction. It fails only when
    /// there is no such count, and then [`Self::settled`] does nothing too.
    pub(crate) fn settlement(&self, user: &UserId, message: &MessageId) -> Result<TransactWriteItem> {
        let update = Update::builder()
            .table_name(&self.config.table)
            .key("pk", s(user_key(user)))
            .condition_expression("attribute_exists(pending) AND attribute_exists(overdue)")
            .update_expression("REMOVE pending.#message, overdue.#message")
            .expression_attribute_names("#message", message.key());
        Ok(TransactWriteItem::builder().update(built(update.build())?).build())
    }

    /// Takes messages off their sender's count that were answered.
    pub(crate) async fn settled(&self, user: &UserId, messages: &[MessageId]) -> Result<()> {
        for message in messages {
            conditional(&self.random, "UpdateItem", || {
                self.db
                    .update_item()
                    .table_name(&self.config.table)
                    .key("pk", s(user_key(user)))
                    .condition_expression("attribute_exists(pending.#message) OR attribute_exists(overdue.#message)")
                    .update_expression("REMOVE pending.#message, overdue.#message")
                    .expression_attribute_names("#message", message.key())
                    .send()
            })
            .await?;
        }
        Ok(())
    }

    /// A message that has waited too long no longer counts against its sender: a worker that died does not lock its user out.
    pub(crate) async fn set_aside(&self, user: &UserId, message: &MessageId, since: Timestamp) -> Result<()> {
        conditional(&self.random, "UpdateItem", || {
            self.db
                .update_item()
                .table_name(&self.config.table)
                .key("pk", s(user_key(user)))
                .condition_expression("attribute_exists(pending.#message)")
                .update_expression("REMOVE pending.#message SET overdue.#message = :since")
                .expression_attribute_names("#message", message.key())
                .expression_attribute_values(":since", time(since))
                .send()
        })
        .await
        .map(|_| ())
    }

    /// The key under which [`crate::messages`] reads a user's lease together with its own items.
    pub(crate) fn key_of(&self, user: &UserId) -> (&str, Item) {
        (&self.config.table, Item::from([("pk".to_owned(), s(user_key(user)))]))
    }

    fn held_by(
        &self,
        key: String,
        connection: &ConnectionId,
        now: Timestamp,
    ) -> aws_sdk_dynamodb::types::builders::UpdateBuilder {
        Update::builder()
            .table_name(&self.config.table)
            .key("pk", s(key))
            .condition_expression("connection_id = :connection AND expires_at > :now")
            .expression_attribute_values(":connection", s(connection.as_str()))
            .expression_attribute_values(":now", time(now))
    }
}

impl Lease {
    pub(crate) fn read(item: &Item) -> Result<Self> {
        let fields = Fields(item);
        let waiting = |name: &str| {
            let entries = fields.map(name).into_iter().flatten().map(|(id, since)| {
                let since = since.as_n().ok().and_then(|text| text.parse().ok()).unwrap_or(0);
                Ok((MessageId::parse(id)?, Timestamp(since)))
            });
            entries.collect::<Result<Vec<_>>>()
        };
        Ok(Self {
            slot: fields.number("slot_no")?,
            connection: ConnectionId::new(fields.text("connection_id")?),
            session: fields.optional_text("session_id").map(SessionId::parse).transpose()?,
            expires_at: fields.time("expires_at")?,
            spoken: fields.flag("spoken"),
            pending: waiting("pending")?,
            overdue: waiting("overdue")?,
        })
    }

    /// Messages without an answer, counted or not.
    pub(crate) fn unanswered(&self) -> impl Iterator<Item = (MessageId, Timestamp)> + '_ {
        self.pending.iter().chain(&self.overdue).cloned()
    }

    /// Given back rather than ended.
    pub(crate) fn is_released(&self) -> bool {
        self.expires_at == RELEASED
    }

    pub(crate) fn is_held(&self, connection: &ConnectionId, now: Timestamp) -> bool {
        &self.connection == connection && self.expires_at > now
    }
}

const USER_KEY: &str = "user#";

fn user_key(user: &UserId) -> String {
    format!("{USER_KEY}{user}")
}

fn slot_key(slot: u32) -> String {
    format!("slot#{slot:05}")
}

/// The SDK's builders fail only when a required member was not set: a bug.
fn built<T>(result: std::result::Result<T, aws_sdk_dynamodb::error::BuildError>) -> Result<T> {
    result.map_err(|error| Error::Corrupt { key: "request".to_owned(), detail: error.to_string() })
}
