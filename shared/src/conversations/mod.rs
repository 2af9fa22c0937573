//! Conversations: made, listed, renamed, read and deleted. Their items are in the table of [`crate::messages`].
//!
//! A conversation is found under its user's key and nowhere else, so another user does not find it. Its items are read
//! only after the conversation was found.

mod deletion;
mod history;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::ReturnValue;
use serde::{Deserialize, Serialize};

use crate::clock::{Clock, Timestamp};
use crate::config::ChatConfig;
use crate::dynamo::{Attributes, Item, conditional, number, text, time};
use crate::ids::{ConversationId, Random, UserId};
use crate::media::Media;
use crate::messages::{Messages, conversation_key, user_key};
use crate::paging::{Limit, List, Page, wire_bytes};
use crate::{Error, Result};

pub use deletion::Deletion;
pub use history::{Order, Range};

/// The index that sorts a user's conversations by their last use. Only conversations have its sort key, so it holds
/// nothing else.
const BY_USE: &str = "by_updated_at";

#[derive(Debug, Clone)]
pub struct Conversation {
    pub id: ConversationId,
    pub title: String,
    pub created_at: Timestamp,
    /// When a message was last sent or the title was changed.
    pub updated_at: Timestamp,
}

/// A conversation's title: 1 to 100 characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Title(String);

impl Title {
    pub const MAX_CHARS: usize = 100;

    /// # Errors
    /// When the title is empty or too long.
    pub fn parse(text: &str) -> Result<Self> {
        match text.chars().count() {
            1..=Self::MAX_CHARS => Ok(Self(text.to_owned())),
            chars => {
                Err(Error::invalid("title", format!("has {chars} characters, but must have 1 to {}", Self::MAX_CHARS)))
            }
        }
    }
}

impl Default for Title {
    fn default() -> Self {
        Self("New conversation".to_owned())
    }
}

#[derive(Debug, Clone)]
pub struct Conversations {
    db: Client,
    config: ChatConfig,
    messages: Messages,
    media: Media,
    clock: Arc<dyn Clock>,
    random: Arc<Random>,
}

/// Where the list of conversations goes on.
#[derive(Serialize, Deserialize)]
struct Position {
    updated_at: i64,
    id: ConversationId,
}

impl Conversations {
    pub fn new(
        db: Client,
        config: ChatConfig,
        messages: Messages,
        media: Media,
        clock: Arc<dyn Clock>,
        random: Arc<Random>,
    ) -> Self {
        Self { db, config, messages, media, clock, random }
    }

    pub async fn create(&self, user: &UserId, title: Title) -> Result<Conversation> {
        let now = self.clock.now();
        let id = ConversationId::generate(&self.random);
        let conversation = Conversation { id, title: title.0, created_at: now, updated_at: now };
        // The SDK repeats a call whose answer was lost. It writes the same item again, unless the conversation has been
        // used already.
        conditional(&self.random, "PutItem", || {
            self.db
                .put_item()
                .table_name(&self.config.table)
                .item("pk", text(user_key(user)))
                .item("sk", text(conversation_key(&conversation.id)))
                .item("id", text(conversation.id.as_str()))
                .item("title", text(conversation.title.as_str()))
                .item("last_seq", number(0))
                .item("created_at", time(now))
                .item("updated_at", time(now))
                .condition_expression("attribute_not_exists(pk)")
                .send()
        })
        .await?;
        Ok(conversation)
    }

    /// # Errors
    /// [`Error::ConversationNotFound`] when it does not exist or belongs to another user.
    pub async fn get(&self, user: &UserId, id: &ConversationId) -> Result<Conversation> {
        let output = self
            .db
            .get_item()
            .table_name(&self.config.table)
            .key("pk", text(user_key(user)))
            .key("sk", text(conversation_key(id)))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| Error::service("GetItem", &error))?;
        output.item.as_ref().map(Conversation::read).transpose()?.ok_or(Error::ConversationNotFound)
    }

    /// # Errors
    /// [`Error::ConversationNotFound`] when it does not exist or belongs to another user.
    pub async fn rename(&self, user: &UserId, id: &ConversationId, title: Title) -> Result<Conversation> {
        let renamed = conditional(&self.random, "UpdateItem", || {
            self.db
                .update_item()
                .table_name(&self.config.table)
                .key("pk", text(user_key(user)))
                .key("sk", text(conversation_key(id)))
                .condition_expression("attribute_exists(pk)")
                .update_expression("SET title = :title, updated_at = :now")
                .expression_attribute_values(":title", text(title.0.as_str()))
                .expression_attribute_values(":now", time(self.clock.now()))
                .return_values(ReturnValue::AllNew)
                .send()
        })
        .await?;
        let item = renamed.and_then(|output| output.attributes).ok_or(Error::ConversationNotFound)?;
        Conversation::read(&item)
    }

    /// Lists the user's conversations, the most recently used first.
    pub async fn list(&self, user: &UserId, limit: Limit, cursor: Option<&str>) -> Result<Page<Conversation>> {
        let list = List::of(user, "conversations");
        let position = cursor.map(|cursor| list.position::<Position>(cursor)).transpose()?;
        if position.as_ref().is_some_and(|position| ConversationId::parse(position.id.as_str()).is_err()) {
            return Err(List::no_position());
        }
        let start = position.map(|position| {
            Item::from([
                ("pk".to_owned(), text(user_key(user))),
                ("sk".to_owned(), text(conversation_key(&position.id))),
                ("updated_at".to_owned(), number(position.updated_at)),
            ])
        });
        let items = self
            .db
            .query()
            .table_name(&self.config.table)
            .index_name(BY_USE)
            .key_condition_expression("pk = :pk")
            .expression_attribute_values(":pk", text(user_key(user)))
            .scan_index_forward(false)
            .consistent_read(true)
            .limit(limit.in_query())
            .set_exclusive_start_key(start)
            .into_paginator()
            .items()
            .send();
        let (conversations, more) =
            limit.page_of(items, Conversation::read, |listed| wire_bytes(&listed.title)).await?;
        let next = conversations
            .last()
            .filter(|_| more)
            .map(|last| list.cursor(Position { updated_at: last.updated_at.0, id: last.id.clone() }));
        Ok(Page { items: conversations, next })
    }
}

impl Conversation {
    fn read(item: &Item) -> Result<Self> {
        let attributes = Attributes(item);
        Ok(Self {
            id: ConversationId::parse(attributes.text("id")?)?,
            title: attributes.text("title")?.to_owned(),
            created_at: attributes.time("created_at")?,
            updated_at: attributes.time("updated_at")?,
        })
    }
}
