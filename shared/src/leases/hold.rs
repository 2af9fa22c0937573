//! Holding a place, and giving it back.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue};

use super::{HELD, KEEP_ENDED, Lease, Leases, Part, RELEASED, slot_key, user_key};
use crate::clock::Timestamp;
use crate::dynamo::{Transaction, conditional, number, text, time};
use crate::ids::{ConnectionId, MessageId, UserId};
use crate::{Error, Result};

/// How many takeovers a close follows before it gives up.
const MAX_ATTEMPTS: u32 = 10;

/// The number of connections whose slots a process remembers.
const MOST_SLOTS: usize = 1000;

/// The slots of the connections that this process has heard of. A connection keeps its slot as long as its lease. The
/// write that uses a slot is conditioned on it, so a wrong one does no harm.
#[derive(Debug, Clone, Default)]
pub(super) struct Slots(Arc<Mutex<HashMap<ConnectionId, u32>>>);

impl Slots {
    fn of(&self, connection: &ConnectionId) -> Option<u32> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(connection).copied()
    }

    fn remember(&self, lease: &Lease) {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.len() >= MOST_SLOTS {
            slots.clear();
        }
        slots.insert(lease.connection.clone(), lease.slot);
    }
}

/// A lease after it was renewed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renewed {
    pub expires_at: Timestamp,
    /// The holder's messages that are not answered yet, each with the moment it was admitted, the oldest first.
    pub pending: Vec<(MessageId, Timestamp)>,
}

/// The lease that a write lengthens.
#[derive(Clone, Copy)]
enum Of<'a> {
    Any(&'a Lease),
    /// The lease of a client that has spoken and waits for nothing, so there is nothing to read.
    Idle {
        connection: &'a ConnectionId,
        slot: u32,
    },
}

impl Leases {
    /// Makes the lease last `LeaseSeconds` from now. The lease of a client that has sent no message keeps its end.
    ///
    /// It is a single write if this process knows the slot and the client waits for nothing.
    ///
    /// # Errors
    /// [`Error::LeaseExpired`] when this connection holds no lease.
    pub async fn renew(&self, user: &UserId, connection: &ConnectionId) -> Result<Renewed> {
        if let Some(slot) = self.slots.of(connection) {
            match self.extend(user, Of::Idle { connection, slot }).await {
                Ok(expires_at) => return Ok(Renewed { expires_at, pending: Vec::new() }),
                Err(Error::LeaseExpired) => {} // or it is not idle
                Err(error) => return Err(error),
            }
        }
        let lease = self.held(user, connection).await?;
        if !lease.spoken {
            return Ok(Renewed { expires_at: lease.expires_at, pending: lease.pending });
        }
        self.slots.remember(&lease);
        Ok(Renewed { expires_at: self.extend(user, Of::Any(&lease)).await?, pending: lease.pending })
    }

    /// Renews the lease for a message that had been admitted before. A repetition renews as a new message does.
    pub(crate) async fn heard(&self, user: &UserId, lease: &Lease) -> Result<Timestamp> {
        self.extend(user, Of::Any(lease)).await
    }

    /// Writes both items or neither (I5).
    ///
    /// # Errors
    /// [`Error::LeaseExpired`] when the lease is not as it is said to be.
    async fn extend(&self, user: &UserId, lease: Of<'_>) -> Result<Timestamp> {
        let (connection, slot) = match lease {
            Of::Any(lease) => (&lease.connection, lease.slot),
            Of::Idle { connection, slot } => (connection, slot),
        };
        let now = self.clock.now();
        let expires_at = now.plus(self.config.lease);
        let extended = |key: String| {
            self.held_by(key, connection, now)
                .update_expression("SET expires_at = :expires, #ttl = :ttl, spoken = :yes")
                .expression_attribute_names("#ttl", "ttl")
                .expression_attribute_values(":expires", time(expires_at))
                .expression_attribute_values(":ttl", number(expires_at.plus(KEEP_ENDED).as_ttl_seconds()))
                .expression_attribute_values(":yes", AttributeValue::Bool(true))
        };
        let mut user_item = extended(user_key(user));
        if let Of::Idle { .. } = lease {
            user_item = user_item
                .condition_expression(format!("{HELD} AND spoken = :yes AND size(pending) = :none"))
                .expression_attribute_values(":none", number(0));
        }
        let extended = Transaction::new()
            .with(Part::User, user_item)
            .with(Part::Slot, extended(slot_key(slot)))
            .send(&self.db, &self.random)
            .await?;
        extended.map(|()| expires_at).map_err(|_| Error::LeaseExpired)
    }

    /// Gives the place back. `false`: this connection held none (I4), and nothing was changed.
    pub async fn release(&self, user: &UserId, connection: &ConnectionId) -> Result<bool> {
        let ended = conditional(&self.random, "UpdateItem", || {
            self.db
                .update_item()
                .table_name(&self.config.table)
                .key("pk", text(user_key(user)))
                .condition_expression("connection_id = :connection")
                .update_expression("SET expires_at = :never")
                .expression_attribute_values(":connection", text(connection.as_str()))
                .expression_attribute_values(":never", time(RELEASED))
                .return_values(ReturnValue::AllNew)
                .send()
        })
        .await?;
        let Some(ended) = ended else { return Ok(false) };
        if let Some(item) = ended.attributes() {
            self.free_slot(Lease::read(item)?.slot, connection).await?;
        }
        Ok(true)
    }

    /// Ends the lease of the connection that has this user's place. The caller tells that connection and closes it.
    /// `None` if nobody has the place.
    pub async fn close(&self, user: &UserId) -> Result<Option<ConnectionId>> {
        for _ in 0..MAX_ATTEMPTS {
            let now = self.clock.now();
            let Some(lease) = self.find(user).await?.filter(|lease| lease.expires_at > now) else { return Ok(None) };
            let closed = conditional(&self.random, "UpdateItem", || {
                self.db
                    .update_item()
                    .table_name(&self.config.table)
                    .key("pk", text(user_key(user)))
                    .condition_expression("connection_id = :connection")
                    .update_expression(
                        "SET expires_at = :never, replaced.#connection = :now, closed_connection = :connection",
                    )
                    .expression_attribute_names("#connection", lease.connection.as_str())
                    .expression_attribute_values(":connection", text(lease.connection.as_str()))
                    .expression_attribute_values(":never", time(RELEASED))
                    .expression_attribute_values(":now", time(now))
                    .send()
            });
            if closed.await?.is_some() {
                self.free_slot(lease.slot, &lease.connection).await?;
                return Ok(Some(lease.connection));
            }
            // Another session took the place over meanwhile. Its lease is the one to end now.
        }
        Err(Error::Contended { operation: "close", attempts: MAX_ATTEMPTS })
    }

    async fn free_slot(&self, slot: u32, connection: &ConnectionId) -> Result<()> {
        conditional(&self.random, "DeleteItem", || {
            self.db
                .delete_item()
                .table_name(&self.config.table)
                .key("pk", text(slot_key(slot)))
                .condition_expression("connection_id = :connection")
                .expression_attribute_values(":connection", text(connection.as_str()))
                .send()
        })
        .await
        .map(|_| ())
    }

    async fn held(&self, user: &UserId, connection: &ConnectionId) -> Result<Lease> {
        let lease = self.find(user).await?;
        lease.filter(|lease| lease.is_held(connection, self.clock.now())).ok_or(Error::LeaseExpired)
    }
}
