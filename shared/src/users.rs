//! Users, as far as they are known here: who a token names, and since when. Accounts and passwords are the issuer's.

use std::sync::Arc;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::ReturnValue;

use crate::clock::{Clock, Timestamp};
use crate::config::ChatConfig;
use crate::dynamo::{Fields, Item, s, time};
use crate::ids::UserId;
use crate::messages::user_key;
use crate::{Error, Result};

const USER: &str = "me";

#[derive(Debug, Clone)]
pub struct User {
    pub id: UserId,
    pub username: String,
    pub created_at: Timestamp,
}

#[derive(Debug, Clone)]
pub struct Users {
    db: Client,
    config: ChatConfig,
    clock: Arc<dyn Clock>,
}

impl Users {
    pub fn new(db: Client, config: ChatConfig, clock: Arc<dyn Clock>) -> Self {
        Self { db, config, clock }
    }

    /// The user that a token names, who exists from the first time on. The name is the issuer's, who may change it.
    pub async fn meet(&self, id: &UserId, username: &str) -> Result<User> {
        let known = self
            .db
            .get_item()
            .table_name(&self.config.table)
            .key("pk", s(user_key(id)))
            .key("sk", s(USER))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| Error::service("GetItem", &error))?;
        let known = known.item.map(|item| read(id, &item)).transpose()?;
        if let Some(user) = known.filter(|user| user.username == username) {
            return Ok(user);
        }
        // Of two first times at once, both see the same moment.
        let stored = self
            .db
            .update_item()
            .table_name(&self.config.table)
            .key("pk", s(user_key(id)))
            .key("sk", s(USER))
            .update_expression("SET username = :username, created_at = if_not_exists(created_at, :now)")
            .expression_attribute_values(":username", s(username))
            .expression_attribute_values(":now", time(self.clock.now()))
            .return_values(ReturnValue::AllNew)
            .send()
            .await
            .map_err(|error| Error::service("UpdateItem", &error))?;
        read(id, &stored.attributes.unwrap_or_default())
    }
}

fn read(id: &UserId, item: &Item) -> Result<User> {
    let fields = Fields(item);
    Ok(User { id: id.clone(), username: fields.text("username")?.to_owned(), created_at: fields.time("created_at")? })
}
