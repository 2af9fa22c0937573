//! Places: they decide which clients may communicate. This module owns the table `connections`.
//!
//! There are `MaxClients` slot items and one item per user. A lease is a slot item and a user item that name each
//! other, the connection, the session and the end of the lease. Every condition compares the end with the present time.
//! DynamoDB's TTL only removes old items.
//!
//! # Why it holds
//!
//! - **I1, never more than `MaxClients` leases.** A lease needs a slot, and slots are numbered below `MaxClients`. A
//!   connection writes a slot only if the slot is absent, has ended, or names that connection or the one that it takes
//!   over.
//! - **I2, never two leases of a user.** There is one item per user, under the same rule. A lease takes both items in
//!   one transaction.
//! - **I3, only a holder is heard.** The transaction that stores a message has the condition "this user item names this
//!   connection and has not ended" (`Leases::admitting`).
//! - **I4, fencing.** Renewing and releasing are conditioned on the connection id. A late `$disconnect` names a
//!   connection that is in no item any more, so it changes nothing.
//! - **I5, a user item never outlives its slot.** Every write that gives, moves or lengthens a lease writes both items
//!   in one transaction, with the same end. Only a release ends the user item first and frees the slot then. So while a
//!   user item lives, its slot lives too, and a connection that has both items has both until they end. Two separate
//!   writes would not do, in either order. Functions overlap, and each brings the time at which it began, so a late
//!   function would shorten the slot under a user item that another has lengthened.
//! - **I6, a crash leaves at worst a lease that ends by itself.** After every single write the other invariants hold.
//! - **I7, a free place is never refused.** The answer "full" comes only after a consistent read of every slot saw none
//!   free.
//!
//! The first lease lasts `FirstMessageSeconds`. Only an accepted message makes a lease renewable ("spoken"). A session
//! that takes its place back keeps that state. If it has not spoken, it also keeps its deadline, because reconnecting
//! is not speaking. The same holds for a session that takes the place of another session of its user (`takeover`): one
//! transaction moves the place and changes the session. A connection's session never changes, so a condition on the
//! connection is a condition on the session too. If two sessions take over at once, one moves the place first. The
//! other finds it moved and moves it again.
//!
//! A connection can lose its place to another connection of its user. The write that takes the place also writes the
//! loser down (`replaced`). The connection that took the place closes the loser's socket. The janitor closes it if that
//! function dies or if the socket is not open yet. A client that reconnects in a loop would make this list, and the
//! janitor's work, ever longer. So the list is short (`MAX_REPLACED`): the write that adds a connection drops the
//! oldest. A socket that was dropped and is still open has no place, so nothing that it sends is heard, and the API
//! closes it when it is idle. The write is conditioned on the connection in the item that was read. Only a takeover
//! adds to the list, and a takeover changes that connection, so the list can't have grown meanwhile.
//!
//! An administrator may end anybody's lease ([`Leases::close`]). This works like a release: it is fenced on the
//! connection that was found, and it writes that connection's socket down as a takeover does.
//!
//! # What it costs
//!
//! A connect is one transaction on a random slot. If that slot is taken, the connect reads slots a hundred at a time,
//! in random order, until it sees a free one. The number of reads depends on the share of free places, not on their
//! number. No item is written by more than one client, so there is no hot key.

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
pub use hold::Renewed;
use hold::Slots;
pub use occupancy::{Admittance, Holder, Occupancy};
pub(crate) use pending::Admitting;
pub(crate) use take::MAX_REPLACED;

/// How long an ended item stays before TTL may remove it. It stays because it counts unanswered messages.
const KEEP_ENDED: std::time::Duration = std::time::Duration::from_secs(24 * 3600);

/// The condition that `:connection` has the lease at `:now`.
const HELD: &str = "connection_id = :connection AND expires_at > :now";

/// The end of a lease that its client gave back.
const RELEASED: Timestamp = Timestamp(0);

#[derive(Debug, Clone)]
pub struct Leases {
    db: Client,
    config: LeaseConfig,
    clock: Arc<dyn Clock>,
    random: Arc<Random>,
    slots: Slots,
}

/// A user item: the lease from its holder's side.
#[derive(Debug, Clone)]
pub struct Lease {
    pub slot: u32,
    pub connection: ConnectionId,
    pub session: Option<SessionId>,
    pub expires_at: Timestamp,
    pub username: Option<String>,
    /// Since when this connection has the place. A takeover sets it anew.
    pub connected_at: Option<Timestamp>,
    /// The client has sent a message, so a heartbeat renews the lease.
    pub spoken: bool,
    /// Messages admitted and not yet answered, each with the moment it was admitted.
    pub pending: Vec<(MessageId, Timestamp)>,
    /// Messages that have ended without the user being told, each with the moment of the last try.
    pub untold: Vec<(MessageId, Timestamp)>,
    /// Connections that had this place before and may still be open, each with the moment when it lost the place.
    pub replaced: Vec<(ConnectionId, Timestamp)>,
    /// The one of them that an administrator closed last.
    pub closed: Option<ConnectionId>,
}

#[derive(Debug)]
pub enum Connected {
    Granted {
        expires_at: Timestamp,
        /// The connection that this user had before. The caller tells it and closes its socket.
        replaced: Option<ConnectionId>,
    },
    /// This user is connected with another session.
    AlreadyConnected,
    Full,
}

impl Leases {
    pub fn new(db: Client, config: LeaseConfig, clock: Arc<dyn Clock>, random: Arc<Random>) -> Self {
        Self { db, config, clock, random, slots: Slots::default() }
    }

    /// The user's item, whether or not the lease has ended.
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

    /// The connection at which the user can be reached now.
    pub async fn address(&self, user: &UserId) -> Result<Option<ConnectionId>> {
        let now = self.clock.now();
        Ok(self.find(user).await?.filter(|lease| lease.expires_at > now).map(|lease| lease.connection))
    }

    /// The key by which [`crate::messages`] reads a user's lease in one request with its own items.
    pub(crate) fn key_of(&self, user: &UserId) -> (&str, Item) {
        (&self.config.table, Item::from([("pk".to_owned(), text(user_key(user)))]))
    }

    fn held_by(&self, key: String, connection: &ConnectionId, now: Timestamp) -> UpdateBuilder {
        Update::builder()
            .table_name(&self.config.table)
            .key("pk", text(key))
            .condition_expression(HELD)
            .expression_attribute_values(":connection", text(connection.as_str()))
            .expression_attribute_values(":now", time(now))
    }
}

impl Lease {
    pub(crate) fn read(item: &Item) -> Result<Self> {
        let attributes = Attributes(item);
        // Sorted with the oldest first, because a map has no order.
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

    /// The client gave the lease back, so it did not end by time.
    pub(crate) fn is_released(&self) -> bool {
        self.expires_at == RELEASED
    }

    pub(crate) fn is_held(&self, connection: &ConnectionId, now: Timestamp) -> bool {
        &self.connection == connection && self.expires_at > now
    }
}

/// The two items of a lease, for the transactions that write both.
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
