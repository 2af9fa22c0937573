//! Reads a conversation. It is a log that grows only at its end, so a page never loses or repeats an item that was
//! there before.

use serde::{Deserialize, Serialize};

use super::Conversations;
use crate::dynamo::{Item, text};
use crate::ids::{ConversationId, MessageId, UserId};
use crate::messages::{StoredMessage, conversation_key, seq_key};
use crate::paging::{Limit, List, Page, wire_bytes};
use crate::{Error, Result};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// The oldest first.
    #[default]
    Asc,
    Desc,
}

/// The part of a conversation to read.
#[derive(Debug, Clone, Default)]
pub struct Range {
    /// A cursor has its own order.
    pub order: Option<Order>,
    /// Only items that came after this message or answer.
    pub after: Option<MessageId>,
    pub cursor: Option<String>,
}

/// The place where a reading goes on, with the order and the start that the client asked for.
#[derive(Serialize, Deserialize)]
struct Position {
    order: Order,
    /// Only items with a higher number.
    after: u64,
    seq: u64,
}

/// The bytes of an item beside its text: ids, times, words.
const ITEM_BYTES: usize = 1024;

/// The bytes of an address that is signed with a session's token.
const ADDRESS_BYTES: usize = 4096;

/// The most bytes of an item in an answer.
fn bytes(message: &StoredMessage) -> usize {
    let error = message.error.as_ref().map_or(0, |(_, detail)| wire_bytes(detail));
    let media = message.media.as_ref().map_or(0, |_| ADDRESS_BYTES);
    wire_bytes(&message.text) + error + media + ITEM_BYTES
}

impl Conversations {
    /// # Errors
    /// [`Error::ConversationNotFound`] or [`Error::MessageNotFound`] when the conversation or the item to read after
    /// does not exist or belongs to another user.
    pub async fn history(
        &self,
        user: &UserId,
        id: &ConversationId,
        range: &Range,
        limit: Limit,
    ) -> Result<Page<StoredMessage>> {
        self.get(user, id).await?;
        let list = List::of(user, id.as_str());
        let after = match &range.after {
            Some(after) => Some(self.find(user, id, after).await?.seq),
            None => None,
        };
        let position = match &range.cursor {
            Some(cursor) => {
                let position: Position = list.position(cursor)?;
                if range.order.is_some_and(|order| order != position.order)
                    || after.is_some_and(|after| after != position.after)
                {
                    return Err(Error::bad_request(
                        "This cursor belongs to another order or after; leave both out, or begin without a cursor",
                    ));
                }
                // The owner can change a cursor. DynamoDB refuses a start that is outside of the query.
                if seq_key(position.seq) <= seq_key(position.after) {
                    return Err(List::no_position());
                }
                position
            }
            None => Position { order: range.order.unwrap_or_default(), after: after.unwrap_or(0), seq: 0 },
        };
        let start = range.cursor.is_some().then(|| {
            Item::from([("pk".to_owned(), text(conversation_key(id))), ("sk".to_owned(), text(seq_key(position.seq)))])
        });
        let items = self
            .db
            .query()
            .table_name(&self.config.table)
            .key_condition_expression("pk = :pk AND sk > :after")
            .expression_attribute_values(":pk", text(conversation_key(id)))
            .expression_attribute_values(":after", text(seq_key(position.after)))
            .scan_index_forward(position.order == Order::Asc)
            .consistent_read(true)
            .limit(limit.in_query())
            .set_exclusive_start_key(start)
            .into_paginator()
            .items()
            .send();
        let (messages, more) = limit.page_of(items, StoredMessage::read, bytes).await?;
        let next = messages.last().filter(|_| more).map(|last| list.cursor(Position { seq: last.seq, ..position }));
        Ok(Page { items: messages, next })
    }

    /// One message or answer.
    ///
    /// # Errors
    /// [`Error::ConversationNotFound`] or [`Error::MessageNotFound`] when it does not exist or belongs to another user.
    pub async fn message(&self, user: &UserId, id: &ConversationId, message: &MessageId) -> Result<StoredMessage> {
        // This comes first, because items of a conversation that is being deleted may still be there.
        self.get(user, id).await?;
        self.find(user, id, message).await
    }

    async fn find(&self, user: &UserId, id: &ConversationId, message: &MessageId) -> Result<StoredMessage> {
        let found = self.messages.find_any(user, message).await?;
        found.filter(|found| &found.conversation == id).ok_or(Error::MessageNotFound)
    }
}
