//! Two lists in the user item: the messages of the client that are not answered yet, which are counted, and the ended
//! messages that the user has yet to be told about.

use aws_sdk_dynamodb::types::builders::UpdateBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure, Update};

use super::{KEEP_ENDED, Lease, Leases, slot_key, user_key};
use crate::Result;
use crate::clock::Timestamp;
use crate::dynamo::{conditional, number, text, time};
use crate::ids::{ConnectionId, MessageId, UserId};

/// The writes to both items of a lease that admit a message of its holder.
#[derive(Debug)]
pub(crate) struct Admitting {
    pub(crate) user_item: UpdateBuilder,
    pub(crate) slot_item: UpdateBuilder,
}

impl Leases {
    /// The writes that admit a message of `lease`'s holder, for the caller's transaction. They succeed only while the
    /// connection has the lease (I3) and fewer than `max_pending` messages wait. They also renew the lease.
    pub(crate) fn admitting(
        &self,
        user: &UserId,
        lease: &Lease,
        message: &MessageId,
        now: Timestamp,
        max_pending: usize,
    ) -> Admitting {
        let expires_at = now.plus(self.config.lease);
        let ttl = number(expires_at.plus(KEEP_ENDED).as_ttl_seconds());
        let user_item = Update::builder()
            .table_name(&self.config.table)
            .key("pk", text(user_key(user)))
            .condition_expression("connection_id = :connection AND expires_at > :now AND size(pending) < :max")
            .update_expression("SET expires_at = :expires, #ttl = :ttl, spoken = :yes, pending.#message = :now")
            .expression_attribute_names("#ttl", "ttl")
            .expression_attribute_names("#message", message.key())
            .expression_attribute_values(":connection", text(lease.connection.as_str()))
            .expression_attribute_values(":now", time(now))
            .expression_attribute_values(":max", number(max_pending))
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
        Admitting { user_item, slot_item }
    }

    /// The write that takes an answered message off its sender's count, for the caller's transaction. It fails if there
    /// is no such count, and then [`Self::uncount`] does nothing either. With `at`, it also fails if the user can't be
    /// reached there.
    pub(crate) fn uncounting(&self, user: &UserId, message: &MessageId, at: Option<&ConnectionId>) -> UpdateBuilder {
        let update = Update::builder()
            .table_name(&self.config.table)
            .key("pk", text(user_key(user)))
            .update_expression("REMOVE pending.#message")
            .expression_attribute_names("#message", message.key());
        match at {
            None => update.condition_expression("attribute_exists(pending)"),
            Some(at) => update
                .condition_expression("attribute_exists(pending) AND connection_id = :connection AND expires_at > :now")
                .expression_attribute_values(":connection", text(at.as_str()))
                .expression_attribute_values(":now", time(self.clock.now())),
        }
    }

    /// Takes messages that were answered or deleted off their sender's count. Gives how many of them were still
    /// counted.
    pub(crate) async fn uncount(&self, user: &UserId, messages: &[MessageId]) -> Result<usize> {
        let mut uncounted = 0;
        for message in messages {
            let removed = conditional(&self.random, "UpdateItem", || {
                self.db
                    .update_item()
                    .table_name(&self.config.table)
                    .key("pk", text(user_key(user)))
                    .condition_expression("attribute_exists(pending.#message)")
                    .update_expression("REMOVE pending.#message")
                    .expression_attribute_names("#message", message.key())
                    .send()
            })
            .await?;
            uncounted += usize::from(removed.is_some());
        }
        Ok(uncounted)
    }

    /// Writes down that the user could not be told how a message ended and must be told later. Without a user item
    /// nobody is connected, so there is nobody to tell.
    pub(crate) async fn owe(&self, user: &UserId, message: &MessageId) -> Result<()> {
        conditional(&self.random, "UpdateItem", || {
            self.db
                .update_item()
                .table_name(&self.config.table)
                .key("pk", text(user_key(user)))
                .condition_expression("attribute_exists(untold)")
                .update_expression("SET untold.#message = :now")
                .expression_attribute_names("#message", message.key())
                .expression_attribute_values(":now", time(self.clock.now()))
                .send()
        })
        .await
        .map(|_| ())
    }

    /// Removes that note: the user knows how the message ended, or nobody is connected to be told.
    pub(crate) async fn settle(&self, user: &UserId, message: &MessageId) -> Result<()> {
        conditional(&self.random, "UpdateItem", || {
            self.db
                .update_item()
                .table_name(&self.config.table)
                .key("pk", text(user_key(user)))
                .condition_expression("attribute_exists(untold.#message)")
                .update_expression("REMOVE untold.#message")
                .expression_attribute_names("#message", message.key())
                .send()
        })
        .await
        .map(|_| ())
    }
}
