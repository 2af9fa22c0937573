//! For the janitor: lists all leases and deletes what is no longer needed.

use super::{Lease, Leases, USER_KEY, slot_key, user_key};
use crate::dynamo::{Attributes, Item, conditional, number, text, time};
use crate::ids::{ConnectionId, UserId};
use crate::{Error, Result};

impl Leases {
    /// All user items, also ended ones. Each is a result of its own, so one that can't be read does not hide the
    /// others.
    pub async fn all(&self) -> Result<Vec<Result<(UserId, Lease)>>> {
        let mut pages = self
            .db
            .scan()
            .table_name(&self.config.table)
            .consistent_read(true)
            .filter_expression("begins_with(pk, :user)")
            .expression_attribute_values(":user", text(USER_KEY))
            .into_paginator()
            .items()
            .send();
        let mut all = Vec::new();
        while let Some(item) = pages.next().await {
            let item = item.map_err(|error| Error::service("Scan", &error))?;
            all.push(user_item(&item));
        }
        Ok(all)
    }

    /// Deletes what an ended lease left behind. It keeps the items if the lease was taken again, if messages still
    /// wait, or if a socket may still be open.
    pub async fn forget(&self, user: &UserId, ended: &Lease) -> Result<()> {
        let now = self.clock.now();
        conditional(&self.random, "DeleteItem", || {
            self.db
                .delete_item()
                .table_name(&self.config.table)
                .key("pk", text(user_key(user)))
                .condition_expression(
                    "connection_id = :connection AND expires_at <= :now AND size(pending) = :none AND size(replaced) = :none",
                )
                .expression_attribute_values(":connection", text(ended.connection.as_str()))
                .expression_attribute_values(":now", time(now))
                .expression_attribute_values(":none", number(0))
                .send()
        })
        .await?;
        conditional(&self.random, "DeleteItem", || {
            self.db
                .delete_item()
                .table_name(&self.config.table)
                .key("pk", text(slot_key(ended.slot)))
                .condition_expression("connection_id = :connection AND expires_at <= :now")
                .expression_attribute_values(":connection", text(ended.connection.as_str()))
                .expression_attribute_values(":now", time(now))
                .send()
        })
        .await
        .map(|_| ())
    }

    /// Forgets a replaced connection. The caller knows for certain that its socket is closed.
    pub async fn forget_replaced(&self, user: &UserId, connection: &ConnectionId) -> Result<()> {
        conditional(&self.random, "UpdateItem", || {
            self.db
                .update_item()
                .table_name(&self.config.table)
                .key("pk", text(user_key(user)))
                .condition_expression("attribute_exists(replaced.#connection)")
                .update_expression("REMOVE replaced.#connection")
                .expression_attribute_names("#connection", connection.as_str())
                .send()
        })
        .await
        .map(|_| ())
    }
}

fn user_item(item: &Item) -> Result<(UserId, Lease)> {
    let user = Attributes(item).text("pk")?;
    Ok((UserId::parse(user.strip_prefix(USER_KEY).unwrap_or(user))?, Lease::read(item)?))
}
