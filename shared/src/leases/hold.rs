//! Holding a place, and giving it back.

use aws_sdk_dynamodb::types::AttributeValue;

use super::{KEEP_ENDED, Lease, Leases, Part, RELEASED, slot_key, user_key};
use crate::clock::Timestamp;
use crate::dynamo::{Transaction, conditional, number, text, time};
use crate::ids::{ConnectionId, UserId};
use crate::{Error, Result};

/// How many takeovers a close follows before it gives up.
const MAX_ATTEMPTS: u32 = 10;

impl Leases {
    /// Makes the lease last `LeaseSeconds` from now, and gives its end. The lease of a client that has sent no message
    /// keeps its end.
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

    /// Renews the lease for a message that had been admitted before. A repetition renews as a new message does.
    pub(crate) async fn heard(&self, user: &UserId, lease: &Lease) -> Result<Timestamp> {
        self.extend(user, lease).await
    }

    /// Writes both items or neither (I5).
    async fn extend(&self, user: &UserId, lease: &Lease) -> Result<Timestamp> {
        let now = self.clock.now();
        let expires_at = now.plus(self.config.lease);
        let extended = |key: String| {
            self.held_by(key, &lease.connection, now)
                .update_expression("SET expires_at = :expires, #ttl = :ttl, spoken = :yes")
                .expression_attribute_names("#ttl", "ttl")
                .expression_attribute_values(":expires", time(expires_at))
                .expression_attribute_values(":ttl", number(expires_at.plus(KEEP_ENDED).as_ttl_seconds()))
                .expression_attribute_values(":yes", AttributeValue::Bool(true))
        };
        let extended = Transaction::new()
            .with(Part::User, extended(user_key(user)))
            .with(Part::Slot, extended(slot_key(lease.slot)))
            .send(&self.db, &self.random)
            .await?;
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
                .key("pk", text(user_key(user)))
                .condition_expression("connection_id = :connection")
                .update_expression("SET expires_at = :never")
                .expression_attribute_values(":connection", text(connection.as_str()))
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
