//! Takes a place for a new client, for a session whose line broke, or from another session of the same user.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::builders::UpdateBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, Put, ReturnValuesOnConditionCheckFailure, Update};

use super::{Connected, Handshake, KEEP_ENDED, Lease, Leases, Part, RELEASED, slot_key, user_key};
use crate::Result;
use crate::clock::Timestamp;
use crate::dynamo::{Refusal, Transaction, number, text, time};
use crate::ids::{ConnectionId, UserId};

/// How many replaced connections of one user are written down. One more drops the oldest.
pub(crate) const MAX_REPLACED: usize = 100;

/// How many connections one write drops from a list that is too long. Expressions have a size limit.
const AT_ONCE: usize = 20;

/// The change that a takeover makes to both items.
const MOVE: &str = "SET connection_id = :new, expires_at = :expires, #ttl = :ttl";

impl Leases {
    /// Takes a place.
    pub async fn connect(&self, user: &UserId, connection: &ConnectionId, handshake: &Handshake) -> Result<Connected> {
        let mut slot = self.random.below(self.config.max_clients);
        let mut free = Vec::new();
        // The lease that an earlier connection of this user left, if the janitor has not deleted it yet.
        let mut ended: Option<Lease> = None;
        loop {
            let expires_at = self.clock.now().plus(self.config.first_message);
            let refusal = match self.take(user, connection, handshake, slot, ended.as_ref(), expires_at).await? {
                Ok(()) => {
                    return Ok(Connected::Granted { expires_at, replaced: ended.map(|lease| lease.connection) });
                }
                Err(refusal) => refusal,
            };
            if let Some(item) = refusal.by(Part::User) {
                if item.is_empty() {
                    ended = None; // the janitor deleted it meanwhile
                    continue;
                }
                let held = Lease::read(item)?;
                // This very call was tried before, and the answer to that try was lost.
                if &held.connection == connection {
                    return Ok(Connected::Granted { expires_at: held.expires_at, replaced: None });
                }
                if held.expires_at <= self.clock.now() {
                    ended = (!held.is_released()).then_some(held);
                    continue;
                }
                if !handshake.may_replace(held.session.as_ref()) {
                    return Ok(Connected::AlreadyConnected);
                }
                match self.take_over(user, connection, handshake, &held).await? {
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

    /// Takes `slot` and the user's item, both or neither. The user's item is free if it is absent, was given back, or
    /// has not changed since the lease `ended` was read.
    async fn take(
        &self,
        user: &UserId,
        connection: &ConnectionId,
        handshake: &Handshake,
        slot: u32,
        ended: Option<&Lease>,
        expires_at: Timestamp,
    ) -> Result<std::result::Result<(), Refusal<Part>>> {
        let now = self.clock.now();
        // This is an update and not a put, because it must keep the count of messages that still wait for an answer.
        let mut user_item = Update::builder()
            .table_name(&self.config.table)
            .key("pk", text(user_key(user)))
            .expression_attribute_names("#ttl", "ttl")
            .expression_attribute_values(":slot", number(slot))
            .expression_attribute_values(":connection", text(connection.as_str()))
            .expression_attribute_values(":expires", time(expires_at))
            .expression_attribute_values(":no", AttributeValue::Bool(false))
            // A value for each map: MiniStack makes one map of two attributes that are set to one value.
            .expression_attribute_values(":pending", AttributeValue::M(HashMap::new()))
            .expression_attribute_values(":untold", AttributeValue::M(HashMap::new()))
            .expression_attribute_values(":ttl", number(expires_at.plus(KEEP_ENDED).as_ttl_seconds()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let mut set =
            "SET slot_no = :slot, connection_id = :connection, expires_at = :expires, spoken = :no, #ttl = :ttl, \
                       pending = if_not_exists(pending, :pending), untold = if_not_exists(untold, :untold), "
                .to_owned();
        user_item = match ended {
            Some(ended) => {
                set.push_str("replaced.#old = :now");
                user_item
                    .condition_expression("connection_id = :old AND expires_at <= :now")
                    .expression_attribute_names("#old", ended.connection.as_str())
                    .expression_attribute_values(":old", text(ended.connection.as_str()))
                    .expression_attribute_values(":now", time(now))
            }
            None => {
                set.push_str("replaced = if_not_exists(replaced, :replaced)");
                user_item
                    .expression_attribute_values(":replaced", AttributeValue::M(HashMap::new()))
                    .condition_expression("attribute_not_exists(pk) OR expires_at = :released")
                    .expression_attribute_values(":released", time(RELEASED))
            }
        };
        user_item = introduced(user_item, set, handshake, now, ended);
        let slot_item = Put::builder()
            .table_name(&self.config.table)
            .item("pk", text(slot_key(slot)))
            .item("slot_no", number(slot))
            .item("user_id", text(user.as_str()))
            .item("connection_id", text(connection.as_str()))
            .item("expires_at", time(expires_at))
            .item("spoken", AttributeValue::Bool(false))
            .item("ttl", number(expires_at.plus(KEEP_ENDED).as_ttl_seconds()))
            .condition_expression("attribute_not_exists(pk) OR expires_at <= :now")
            .expression_attribute_values(":now", time(now));
        let transaction = Transaction::new().with(Part::User, user_item).with(Part::Slot, slot_item);
        transaction.send(&self.db, &self.random).await
    }

    /// Moves `held` to another connection of its user, which `handshake` allows. `None`: the lease has changed since it
    /// was read.
    async fn take_over(
        &self,
        user: &UserId,
        connection: &ConnectionId,
        handshake: &Handshake,
        held: &Lease,
    ) -> Result<Option<Timestamp>> {
        let now = self.clock.now();
        let expires_at = if held.spoken { now.plus(self.config.lease) } else { held.expires_at };
        let moved = |key: String| {
            self.held_by(key, &held.connection, now)
                // The condition on `spoken` fails if a message was accepted meanwhile: that message made the lease last
                // longer.
                .condition_expression("connection_id = :connection AND expires_at > :now AND spoken = :spoken")
                .expression_attribute_values(":spoken", AttributeValue::Bool(held.spoken))
                .expression_attribute_names("#ttl", "ttl")
                .expression_attribute_values(":new", text(connection.as_str()))
                .expression_attribute_values(":expires", time(expires_at))
                .expression_attribute_values(":ttl", number(expires_at.plus(KEEP_ENDED).as_ttl_seconds()))
        };
        let user_item = moved(user_key(user)).expression_attribute_names("#old", held.connection.as_str());
        let user_item = introduced(user_item, format!("{MOVE}, replaced.#old = :now"), handshake, now, Some(held));
        let slot_item = moved(slot_key(held.slot)).update_expression(MOVE);
        let transaction = Transaction::new().with(Part::User, user_item).with(Part::Slot, slot_item);
        Ok(transaction.send(&self.db, &self.random).await?.is_ok().then_some(expires_at))
    }
}

/// Completes the update of a user item with the handshake's session and username, and with the time of the connect.
/// `replaced` is the lease whose connection this update writes down. If its list is full, the oldest connections are
/// dropped.
fn introduced(
    mut item: UpdateBuilder,
    mut set: String,
    handshake: &Handshake,
    now: Timestamp,
    replaced: Option<&Lease>,
) -> UpdateBuilder {
    set.push_str(", connected_at = :at");
    item = item.expression_attribute_values(":at", time(now));
    let mut gone = Vec::new();
    let session = handshake.session.as_ref().map(|session| session.as_str());
    for (name, value) in [("session_id", session), ("username", handshake.username.as_deref())] {
        match value {
            Some(value) => {
                set.push_str(&format!(", {name} = :{name}"));
                item = item.expression_attribute_values(format!(":{name}"), text(value));
            }
            None => gone.push(name.to_owned()),
        }
    }
    let written_down = replaced.map(|lease| &lease.replaced[..]).unwrap_or_default();
    let too_many = (written_down.len() + 1).saturating_sub(MAX_REPLACED).min(AT_ONCE);
    for (index, (oldest, _)) in written_down[..too_many].iter().enumerate() {
        item = item.expression_attribute_names(format!("#gone{index}"), oldest.as_str());
        gone.push(format!("replaced.#gone{index}"));
    }
    if !gone.is_empty() {
        set.push_str(&format!(" REMOVE {}", gone.join(", ")));
    }
    item.update_expression(set)
}
