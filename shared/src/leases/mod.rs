//! Places: who may communicate. Owns the table `connections`.
//!
//! There are `MaxClients` slot items and one item per user. A lease is a slot item and a user item that name each
//! other, the connection, the session and the moment it ends. Time is compared in every condition; DynamoDB's TTL only
//! sweeps.
//!
//! # Why it holds
//!
//! - **I1, never more than `MaxClients` leases.** A lease needs a slot, slots are numbered below `MaxClients`, and a
//!   slot is only written when it is absent, ended, or named by the very connection that writes (or that is taken
//!   over).
//! - **I2, never two leases of a user.** There is one item per user, under the same rule. Both are taken in one
//!   transaction.
//! - **I3, only a holder is heard.** `Leases::admitting` puts the condition "this user item names this connection and
//!   has not ended" into the very transaction that stores a message.
//! - **I4, fencing.** Renewing and releasing are conditioned on the connection id. A `$disconnect` that comes late
//!   names a connection that no item names any more, and changes nothing.
//! - **I5, a user item never outlives its slot.** What gives, moves or lengthens a lease writes both items in one
//!   transaction, with the same end; only [`Leases::release`] ends the user item first and frees the slot then. So as
//!   long as a user item lives, so does its slot, and a connection with both items has both until it ends. Two writes
//!   would not do, in either order: functions overlap, and each brings the time at which it began. One that is late
//!   would shorten the slot under a user item that another has lengthened.
//! - **I6, a crash leaves at worst a lease that ends by itself.** Every write leaves a state in which the others hold.
//! - **I7, a free place is never refused.** "Full" is only answered after a consistent read of every slot saw none
//!   free.
//!
//! The first lease lasts `FirstMessageSeconds` and only an accepted message makes it renewable ("spoken"). A session
//! that takes its place back keeps that state and, if silent, its deadline: reconnecting is not speaking. So does a
//! session that asked for the place of another one of its user (`takeover`): the place moves, in the same transaction,
//! and the session with it. A connection's session never changes, so a condition on the connection is one on the
//! session too: of two sessions that take over at once, one moves the place and the other finds it moved, and moves it
//! on.
//!
//! A connection that loses its place to another of its user is written down in the write that takes it (`replaced`):
//! its socket is closed by whoever took the place or, should that one die, or should the socket not be open yet, by the
//! janitor. A client that reconnects in a loop would make that list, and the janitor's work, as long as it likes. So
//! the list is kept short (`MAX_REPLACED`): the write that adds a connection forgets the oldest. A socket that is
//! forgotten and yet open has no place, so nothing that it sends is heard, and the API closes it when it is idle. The
//! write is conditioned on the connection whose item was read, and only a takeover adds to the list: it can't have
//! grown meanwhile.
//!
//! An administrator may end anybody's lease ([`Leases::close`]). That is a release by somebody else: fenced on the
//! connection that was found, and its socket is written down like that of one that was replaced.
//!
//! # What it costs
//!
//! A connect is one transaction on a random slot. When that slot is taken, slots are read a hundred at a time in random
//! order until a free one is seen: how many reads that takes depends on the share of free places, not on their number.
//! No item is written by more than one client, so there is no hot key.

mod handshake;
mod hold;
mod occupancy;
mod pending;
mod search;
mod sweep;
mod take;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::Update;
use aws_sdk_dynamodb::types::builders::UpdateBuilder;

use crate::clock::{Clock, Timestamp};
use crate::config::LeaseConfig;
use crate::dynamo::{Attributes, Item, text, time};
use crate::ids::{ConnectionId, MessageId, Random, SessionId, UserId};
use crate::{Error, Result};

pub use handshake::Handshake;
pub use occupancy::{Admittance, Holder, Occupancy};
pub(crate) use pending::Admitting;
pub(crate) use take::MAX_REPLACED;

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
    pub username: Option<String>,
    /// Since when this connection has the place; a takeover makes it anew.
    pub connected_at: Option<Timestamp>,
    /// Has sent a message; only then a heartbeat renews.
    pub spoken: bool,
    /// Messages admitted and not yet answered, each with the moment it was admitted.
    pub pending: Vec<(MessageId, Timestamp)>,
    /// Messages that have ended, and the user could not be told, each with the moment of the last try.
    pub untold: Vec<(MessageId, Timestamp)>,
    /// Connections that had this place before and may still be open, each with the moment it was lost.
    pub replaced: Vec<(ConnectionId, Timestamp)>,
    /// Of those, the one that an administrator closed last.
    pub closed: Option<ConnectionId>,
}

#[derive(Debug)]
pub enum Connected {
    Granted {
        expires_at: Timestamp,
        /// The connection that this user had before: its socket is to be told and closed.
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

    /// The user's item, ended or not.
    pub async fn find(&self, user: &UserId) -> Result<Option<Lease>> {
        let output = self
            .db
            .get_item()
            .table_name(&self.config.table)
            .key("pk", text(user_key(user)))
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

    /// The key under which [`crate::messages`] reads a user's lease together with its own items.
    pub(crate) fn key_of(&self, user: &UserId) -> (&str, Item) {
        (&self.config.table, Item::from([("pk".to_owned(), text(user_key(user)))]))
    }

    fn held_by(&self, key: String, connection: &ConnectionId, now: Timestamp) -> UpdateBuilder {
        Update::builder()
            .table_name(&self.config.table)
            .key("pk", text(key))
            .condition_expression("connection_id = :connection AND expires_at > :now")
            .expression_attribute_values(":connection", text(connection.as_str()))
            .expression_attribute_values(":now", time(now))
    }
}

impl Lease {
    pub(crate) fn read(item: &Item) -> Result<Self> {
        let attributes = Attributes(item);
        // The oldest first: a map has no order of its own.
        let moments = |name: &str| {
            let entries = attributes.map(name).into_iter().flatten().map(|(id, since)| {
                let since = since.as_n().ok().and_then(|text| text.parse().ok()).unwrap_or(0);
                (Timestamp(since), id.as_str())
            });
            entries.collect::<BTreeSet<_>>().into_iter()
        };
        let waiting = |name: &str| {
            moments(name).map(|(since, id)| Ok((MessageId::parse(id)?, since))).collect::<Result<Vec<_>>>()
        };
        Ok(Self {
            slot: attributes.number("slot_no")?,
            connection: ConnectionId::new(attributes.text("connection_id")?),
            session: attributes.optional_text("session_id").map(SessionId::parse).transpose()?,
            expires_at: attributes.time("expires_at")?,
            username: attributes.optional_text("username").map(str::to_owned),
            connected_at: attributes.time("connected_at").ok(),
            spoken: attributes.flag("spoken"),
            pending: waiting("pending")?,
            untold: waiting("untold")?,
            replaced: moments("replaced").map(|(since, id)| (ConnectionId::new(id), since)).collect(),
            closed: attributes.optional_text("closed_connection").map(ConnectionId::new),
        })
    }

    /// Messages without an answer.
    pub fn unanswered(&self) -> impl Iterator<Item = (MessageId, Timestamp)> + '_ {
        self.pending.iter().cloned()
    }

    /// Given back rather than ended.
    pub(crate) fn is_released(&self) -> bool {
        self.expires_at == RELEASED
    }

    pub(crate) fn is_held(&self, connection: &ConnectionId, now: Timestamp) -> bool {
        &self.connection == connection && self.expires_at > now
    }
}

/// The two items of a lease, in the transactions that write both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    User,
    Slot,
}

const USER_KEY: &str = "user#";

fn user_key(user: &UserId) -> String {
    format!("{USER_KEY}{user}")
}

fn slot_key(slot: u32) -> String {
    format!("slot#{slot:05}")
}
