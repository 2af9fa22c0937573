//! The parent: the item that a message follows. It makes a conversation a tree, although it is stored as a log.
//!
//! A client names an item of the conversation or the beginning as the parent of its message. If it names nothing, the
//! message follows the latest item. The message is stored with the parent's id, for clients, and with its number, for
//! the worker. An answer follows its message, and each further answer follows the one before. So an edited message is a
//! sibling of the first version, and the answers below that version are not on its path.
//!
//! Why it holds:
//! - **A parent stays.** Single items of a conversation are never removed. A parent that was found exists as long as
//!   its conversation, and the write that stores the message is conditioned on the conversation.
//! - **A parent is older.** It was in the table before its message was stored, so it has a lower number. A walk along
//!   the parents therefore ends.
//! - **The latest item is the one right before.** `last_id` and `last_seq` are written together and read together. The
//!   message takes its number on condition that `last_seq` has not changed since the read. So if many messages arrive
//!   at once, each follows another one.
//! - **The usual case costs no read.** The latest item's id comes with the conversation. A message that names it, or
//!   names nothing, needs no read more.
//!
//! Items that were stored before there were parents follow the item before them in the log.

#[cfg(test)]
mod tests;

use super::{Messages, StoredMessage};
use crate::dynamo::{Attributes, Item, number, text};
use crate::ids::{ConversationId, MessageId, UserId};
use crate::{Error, Result};

/// The item that a client wants its message to follow.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Follows {
    /// The latest item at the time when the message is stored.
    #[default]
    Latest,
    Beginning,
    /// An id as the client sent it. It is checked only after the message is known not to be a repetition.
    Item(String),
}

impl Follows {
    /// Reads a frame's `parentId`.
    pub(crate) fn parse(parent_id: Option<&str>) -> Self {
        match parent_id {
            None => Self::Latest,
            Some("") => Self::Beginning,
            Some(id) => Self::Item(id.to_owned()),
        }
    }
}

/// The item that a stored item follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parent {
    /// `None` at the beginning.
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
    /// 0 while the conversation is empty.
    pub(super) last_seq: u64,
    /// `None` if the last item was stored before this attribute existed.
    last_id: Option<MessageId>,
}

impl Tail {
    pub(super) fn read(conversation: &Item) -> Result<Self> {
        let attributes = Attributes(conversation);
        let last_id =
            attributes.optional_text("last_id").map(|_| super::stored_id(&attributes, "last_id")).transpose()?;
        Ok(Self { last_seq: attributes.number("last_seq")?, last_id })
    }

    /// The parent, if it is known without a read.
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
    /// The parent, looked up in the table.
    ///
    /// # Errors
    /// [`Error::ParentNotFound`] when the conversation has no such item. Another conversation or another user may have
    /// it.
    pub(super) async fn find_parent(
        &self,
        user: &UserId,
        conversation: &ConversationId,
        follows: &Follows,
        tail: &Tail,
    ) -> Result<Parent> {
        let Follows::Item(id) = follows else {
            let latest = self.message_at(conversation, tail.last_seq).await?;
            // It can be gone only if its conversation was deleted.
            return latest.as_ref().map(Parent::of).ok_or(Error::ConversationNotFound);
        };
        let id = MessageId::parse_any(id).ok_or(Error::ParentNotFound)?;
        let found = self.find_any(user, &id).await?.filter(|found| &found.conversation == conversation);
        found.as_ref().map(Parent::of).ok_or(Error::ParentNotFound)
    }
}
