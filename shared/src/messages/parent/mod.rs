//! What a message follows: the parent that makes a conversation a tree, although it is stored as a log.
//!
//! A message names an item of its conversation, the beginning, or nothing: then it follows the latest item. It is
//! stored with the parent's id, for clients, and its number, for the worker. An answer follows its message, and further
//! answers the one before. So an edited message is a sibling of the one it was, and what hangs below that one is beside
//! its path.
//!
//! Why it holds:
//! - **A parent stays.** Items of a conversation are never removed singly. A parent that was found is there as long as
//!   the conversation is, and the write that stores the message is conditioned on the conversation.
//! - **A parent is older.** It was found in the table before its message was stored, so it has a lower number. Whoever
//!   follows parents comes to an end.
//! - **The latest is the one right before.** `last_id` and `last_seq` are written together and read together, and the
//!   message takes its number on condition that `last_seq` is as it was read. Of many messages at once each follows
//!   another.
//! - **It costs nothing where it is usual.** The latest item's id comes with the conversation, so whoever names it, or
//!   nothing, makes no read necessary.
//!
//! Items stored before there were parents follow the one before them in the log.

#[cfg(test)]
mod tests;

use super::{Messages, StoredMessage};
use crate::dynamo::{Attributes, Item, number, text};
use crate::ids::{ConversationId, MessageId, UserId};
use crate::{Error, Result};

/// What a client wants a message to follow.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Follows {
    /// Whatever is the latest item when it is stored.
    #[default]
    Latest,
    Beginning,
    /// An id as it was sent: looked at only when the message is known to be no repetition.
    Item(String),
}

impl Follows {
    /// From a frame's `parentId`.
    pub(crate) fn parse(parent_id: Option<&str>) -> Self {
        match parent_id {
            None => Self::Latest,
            Some("") => Self::Beginning,
            Some(id) => Self::Item(id.to_owned()),
        }
    }
}

/// What a stored item follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parent {
    /// Nothing at the beginning.
    pub id: Option<MessageId>,
    /// 0 at the beginning.
    pub seq: u64,
}

impl Parent {
    const BEGINNING: Self = Self { id: None, seq: 0 };

    pub(super) fn of(item: &StoredMessage) -> Self {
        Self { id: Some(item.id.clone()), seq: item.seq }
    }

    pub(super) fn read(attributes: &Attributes<'_>) -> Result<Option<Self>> {
        match attributes.optional_text("parent_id") {
            None => Ok(None),
            Some("") => Ok(Some(Self::BEGINNING)),
            Some(_) => Ok(Some(Self {
                id: Some(super::stored_id(attributes, "parent_id")?),
                seq: attributes.number("parent_seq")?,
            })),
        }
    }

    pub(super) fn write(&self, item: &mut Item) {
        item.insert("parent_id".to_owned(), text(self.id.as_ref().map_or("", |id| id.as_str())));
        item.insert("parent_seq".to_owned(), number(self.seq));
    }
}

/// The end of a conversation's log, as it was read.
#[derive(Debug, Clone)]
pub(super) struct Tail {
    /// 0 while nothing was said.
    pub(super) last_seq: u64,
    /// Unknown where the last item is older than this attribute.
    last_id: Option<MessageId>,
}

impl Tail {
    pub(super) fn read(conversation: &Item) -> Result<Self> {
        let attributes = Attributes(conversation);
        let last_id =
            attributes.optional_text("last_id").map(|_| super::stored_id(&attributes, "last_id")).transpose()?;
        Ok(Self { last_seq: attributes.number("last_seq")?, last_id })
    }

    /// The parent, where it takes no read to know it.
    pub(super) fn parent(&self, follows: &Follows) -> Option<Parent> {
        match follows {
            Follows::Beginning => Some(Parent::BEGINNING),
            Follows::Latest if self.last_seq == 0 => Some(Parent::BEGINNING),
            Follows::Latest => self.last_id.clone().map(|id| Parent { id: Some(id), seq: self.last_seq }),
            Follows::Item(id) => {
                let last = self.last_id.as_ref().filter(|last| last.key() == id.to_ascii_lowercase())?;
                Some(Parent { id: Some(last.clone()), seq: self.last_seq })
            }
        }
    }
}

impl Messages {
    /// The parent, found in the table.
    ///
    /// # Errors
    /// [`Error::ParentNotFound`] when the conversation has no such item: another one may have it, or another user.
    pub(super) async fn find_parent(
        &self,
        user: &UserId,
        conversation: &ConversationId,
        follows: &Follows,
        tail: &Tail,
    ) -> Result<Parent> {
        let Follows::Item(id) = follows else {
            let latest = self.message_at(conversation, tail.last_seq).await?;
            // It can only be gone with its conversation.
            return latest.as_ref().map(Parent::of).ok_or(Error::ConversationNotFound);
        };
        let id = MessageId::parse_any(id).ok_or(Error::ParentNotFound)?;
        let found = self.find_any(user, &id).await?.filter(|found| &found.conversation == conversation);
        found.as_ref().map(Parent::of).ok_or(Error::ParentNotFound)
    }
}
