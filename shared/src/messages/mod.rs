//! A message's life. This module owns the table `chat`.
//!
//! | item | pk | sk |
//! |---|---|---|
//! | user | `user#USER` | `me` |
//! | user, among all by name | `users` | `NAME`, `USER` ([`crate::users`]) |
//! | conversation | `user#USER` | `conv#CONVERSATION` |
//! | which message an id names | `user#USER` | `msg#ID` |
//! | message or answer | `conv#CONVERSATION` | `SEQ` (12 digits) |
//! | object that is used | `user#USER` | `media#KEY` |
//! | object that nothing refers to yet | `held` | `KEY#USER` (`held`) |
//! | conversation being deleted | `deleted` | `conv#CONVERSATION` |
//!
//! A conversation is a log: its messages and answers are numbered 1, 2, 3… as they come. The transaction that stores an
//! item takes its number. So history and the worker have one and the same order, whatever the clocks say, and items
//! that came after another item have higher numbers. An id names one message of its user for as long as its
//! conversation exists ([`Admission::Duplicate`]). No key has another user's id in it.
//!
//! The talk is a tree all the same: each item follows another item of its conversation, its parent (`parent`). The
//! model is told the path of parents.
//!
//! A message is `queued`, then `processing` under the token of one attempt, and then for good `done`, `failed` or
//! `cancelled`. The write that ends it is conditioned on that token, so of two workers that hold the same message only
//! one can answer. A claim counts the attempt in the same write, before anything can go wrong. Only a worker that is
//! still alive can give the attempt back. So the count is never lower than the number of workers that the message
//! killed.
//!
//! Every read is consistent. A late replica would not have an item that has just been written, and the reader would
//! take "not there" for an answer. In tests, any read that is not consistent sees empty tables.

mod admit;
mod answers;
mod held;
mod log;
mod parent;
#[cfg(test)]
mod tests;
mod workers;

use std::sync::Arc;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;

use crate::clock::{Clock, Timestamp};
use crate::config::ChatConfig;
use crate::dynamo::{Attributes, Item, number, text, time};
use crate::ids::{ConversationId, MediaKey, MessageId, Random, UserId};
use crate::leases::Leases;
use crate::media::{Attachment, Media};
use crate::{Error, Result};

pub use admit::{Admission, Draft};
pub use answers::{Claim, Claimed, Ended, Ending, Lane, Measured, Reply, Usage};
pub use held::Held;
pub use log::{Log, Said};
pub use parent::{Follows, Parent};

#[derive(Debug, Clone)]
pub struct Messages {
    db: Client,
    config: ChatConfig,
    leases: Leases,
    media: Media,
    clock: Arc<dyn Clock>,
    random: Arc<Random>,
}

impl Messages {
    pub fn new(
        db: Client,
        config: ChatConfig,
        leases: Leases,
        media: Media,
        clock: Arc<dyn Clock>,
        random: Arc<Random>,
    ) -> Self {
        Self { db, config, leases, media, clock, random }
    }

    async fn get(&self, pk: String, sk: String) -> Result<Option<Item>> {
        let output = self
            .db
            .get_item()
            .table_name(&self.config.table)
            .key("pk", text(pk))
            .key("sk", text(sk))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| Error::service("GetItem", &error))?;
        Ok(output.item)
    }

    /// The message or answer that an id of this user names.
    pub async fn find_any(&self, user: &UserId, id: &MessageId) -> Result<Option<StoredMessage>> {
        let Some((question, index)) = id.question() else { return self.find(user, id).await };
        let Some(message) = self.find(user, &question).await? else { return Ok(None) };
        let Some(first) = message.first_answer else { return Ok(None) };
        let answer = self.message_at(&message.conversation, first + index as u64).await?;
        // A number beyond the last answer belongs to another item.
        Ok(answer.filter(|answer| answer.id.key() == id.key()))
    }

    /// The message that an id of this user names.
    pub async fn find(&self, user: &UserId, id: &MessageId) -> Result<Option<StoredMessage>> {
        match self.get(user_key(user), id_key(id)).await? {
            Some(pointer) => {
                let attributes = Attributes(&pointer);
                let conversation = ConversationId::parse(attributes.text("conversation_id")?)?;
                self.message_at(&conversation, attributes.number("seq")?).await
            }
            None => Ok(None),
        }
    }

    pub(crate) async fn message_at(&self, conversation: &ConversationId, seq: u64) -> Result<Option<StoredMessage>> {
        self.get(conversation_key(conversation), seq_key(seq)).await?.as_ref().map(StoredMessage::read).transpose()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    User,
    Assistant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Queued,
    Processing,
    Done,
    Failed,
    Cancelled,
}

impl Status {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Processing => "processing",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Queued, Self::Processing, Self::Done, Self::Failed, Self::Cancelled]
            .into_iter()
            .find(|status| status.as_str() == text)
    }

    /// Nothing will change any more.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Queued | Self::Processing)
    }
}

/// A message or an answer as it is stored.
#[derive(Debug, Clone)]
pub struct StoredMessage {
    pub id: MessageId,
    pub user: UserId,
    pub conversation: ConversationId,
    /// The item's place in the conversation.
    pub seq: u64,
    pub role: Role,
    pub text: String,
    pub status: Status,
    pub reply_to: Option<MessageId>,
    /// The item that this one follows. `None` for items that were stored before there were parents.
    pub parent: Option<Parent>,
    /// The number of the first answer to this message.
    pub first_answer: Option<u64>,
    /// Code and message of a failure.
    pub error: Option<(String, String)>,
    pub media: Option<Attachment>,
    pub created_at: Timestamp,
    /// When a worker last began with this message.
    pub claimed_at: Option<Timestamp>,
    /// How often workers began with this message and did not give it back.
    pub attempts: u32,
    /// The sender wants no answer any more.
    pub cancelled: bool,
    /// How often the message was queued again because it had waited too long.
    pub redriven: u32,
    /// The user was told how the message ended, or nobody was connected to be told.
    pub told: bool,
}

impl StoredMessage {
    pub(crate) fn read(item: &Item) -> Result<Self> {
        let attributes = Attributes(item);
        let status = attributes.text("status")?;
        Ok(Self {
            id: stored_id(&attributes, "id")?,
            user: UserId::parse(attributes.text("user_id")?)?,
            conversation: ConversationId::parse(attributes.text("conversation_id")?)?,
            seq: attributes.number("seq")?,
            role: if attributes.text("role")? == "assistant" { Role::Assistant } else { Role::User },
            text: attributes.optional_text("text").unwrap_or_default().to_owned(),
            status: Status::parse(status).ok_or_else(|| Error::Corrupt {
                key: attributes.optional_text("id").unwrap_or_default().to_owned(),
                detail: format!("its status `{status}` is unknown"),
            })?,
            reply_to: attributes.optional_text("reply_to").map(|_| stored_id(&attributes, "reply_to")).transpose()?,
            parent: Parent::read(&attributes)?,
            first_answer: attributes.number("first_answer").ok(),
            error: attributes.optional_text("error_code").map(|code| {
                (code.to_owned(), attributes.optional_text("error_message").unwrap_or_default().to_owned())
            }),
            media: attachment(&attributes)?,
            created_at: attributes.time("created_at")?,
            claimed_at: attributes.time("claimed_at").ok(),
            attempts: attributes.number("attempts").unwrap_or(0),
            cancelled: attributes.flag("cancelled"),
            redriven: attributes.number("redriven").unwrap_or(0),
            told: attributes.flag("told"),
        })
    }

    /// The number of the item that this one follows, or 0 at the beginning.
    pub(crate) fn follows(&self) -> u64 {
        self.parent.as_ref().map_or(self.seq.saturating_sub(1), |parent| parent.seq)
    }

    fn item(&self) -> Item {
        let mut item = Item::from([
            ("pk".to_owned(), text(conversation_key(&self.conversation))),
            ("sk".to_owned(), text(seq_key(self.seq))),
            ("id".to_owned(), text(self.id.as_str())),
            ("user_id".to_owned(), text(self.user.as_str())),
            ("conversation_id".to_owned(), text(self.conversation.as_str())),
            ("seq".to_owned(), number(self.seq)),
            ("role".to_owned(), text(if self.role == Role::Assistant { "assistant" } else { "user" })),
            ("text".to_owned(), text(self.text.as_str())),
            ("status".to_owned(), text(self.status.as_str())),
            ("created_at".to_owned(), time(self.created_at)),
        ]);
        if let Some(parent) = &self.parent {
            parent.write(&mut item);
        }
        if let Some(reply_to) = &self.reply_to {
            item.insert("reply_to".to_owned(), text(reply_to.as_str()));
        }
        if let Some(Attachment { key, content_type, bytes }) = &self.media {
            item.insert("media_key".to_owned(), text(key.as_str()));
            item.insert("media_type".to_owned(), text(content_type.as_str()));
            item.insert("media_bytes".to_owned(), number(bytes));
        }
        if self.told {
            item.insert("told".to_owned(), AttributeValue::Bool(true));
        }
        item
    }
}

fn attachment(attributes: &Attributes<'_>) -> Result<Option<Attachment>> {
    let Some(key) = attributes.optional_text("media_key") else { return Ok(None) };
    Ok(Some(Attachment {
        key: MediaKey::parse(key)?,
        content_type: attributes.text("media_type")?.to_owned(),
        bytes: attributes.number("media_bytes")?,
    }))
}

fn stored_id(attributes: &Attributes<'_>, name: &str) -> Result<MessageId> {
    let text = attributes.text(name)?;
    MessageId::parse_any(text)
        .ok_or_else(|| Error::Corrupt { key: text.to_owned(), detail: format!("it has no valid `{name}`") })
}

pub(crate) fn user_key(user: &UserId) -> String {
    format!("user#{user}")
}

/// The key of a conversation among its user's items, and of its messages.
pub(crate) fn conversation_key(conversation: &ConversationId) -> String {
    format!("conv#{conversation}")
}

/// The key of the item that says that an object is used. It makes a second use fail.
pub(crate) fn media_key(key: &MediaKey) -> String {
    format!("media#{key}")
}

pub(crate) fn id_key(id: &MessageId) -> String {
    format!("msg#{}", id.key())
}

/// The number with enough digits that the order of texts is the order of numbers.
pub(crate) fn seq_key(seq: u64) -> String {
    format!("{seq:012}")
}
