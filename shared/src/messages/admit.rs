//! Admission: one write decides whether a message is accepted.
//!
//! It is one transaction over the sender's lease (still held, and few enough messages wait), its slot (renewed with the
//! lease), the conversation (the next number), the id (new), the message (`queued`) and the upload that it uses, if any
//! (not used before). Either all of it is written or nothing is. The refusal itself says which condition failed.
//!
//! Two things need a read before that: the upload, and a parent that is not the latest item. They are looked up only
//! after the id is known to be new. A repetition has already used its upload, and its parent was settled the first
//! time.
//!
//! A used id names its message for as long as the conversation exists, and the content of a message never changes. So
//! every attempt, at any time, judges a repeated frame alike: the frame has the same content, or it is refused.

use std::time::Duration;

use aws_sdk_dynamodb::types::builders::{PutBuilder, UpdateBuilder};
use aws_sdk_dynamodb::types::{KeysAndAttributes, Put, ReturnValuesOnConditionCheckFailure, Update};

use super::parent::Tail;
use super::{Follows, Messages, Parent, Role, Status, StoredMessage, conversation_key, id_key, seq_key, user_key};
use crate::config::AdmissionConfig;
use crate::dynamo::{Attributes, Item, Transaction, built, number, text, time};
use crate::ids::{ConnectionId, ConversationId, MediaKey, MessageId, UserId};
use crate::leases::{Admitting, Lease};
use crate::{Error, Result};

/// When to try again after `too_many_pending`: after about the time of one answer.
const RETRY_AFTER_MS: u64 = 1000;

/// How often an admission is tried again after it met a concurrent one of the same conversation.
const MAX_ATTEMPTS: u32 = 32;

/// The parts of an admission's transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// The sender's lease with the number of messages that wait.
    Lease,
    Slot,
    /// The conversation's next number.
    Number,
    /// The item that says which message the id names.
    Id,
    Message,
    /// The item that says that the upload is used.
    Upload,
}

/// A checked message that a client wants to send.
#[derive(Debug)]
pub struct Draft {
    pub id: MessageId,
    pub conversation: ConversationId,
    /// May be empty if there is media.
    pub text: String,
    pub media: Option<MediaKey>,
    pub follows: Follows,
}

impl Draft {
    /// Whether this draft has the content of the stored message. Its parent does not matter: that was settled the first
    /// time.
    fn repeats(&self, first: &StoredMessage) -> bool {
        let Self { id, conversation, text, media, follows: _ } = self;
        id.key() == first.id.key()
            && conversation == &first.conversation
            && text == &first.text
            && media.as_ref() == first.media.as_ref().map(|attachment| &attachment.key)
    }
}

#[derive(Debug)]
pub enum Admission {
    New(StoredMessage),
    /// The id was used before, for this message, which is in its present state.
    Duplicate(StoredMessage),
}

impl Messages {
    /// Accepts `draft` from `connection`, or says why it can't.
    pub async fn admit(
        &self,
        user: &UserId,
        connection: &ConnectionId,
        draft: &Draft,
        limits: &AdmissionConfig,
    ) -> Result<Admission> {
        let (mut media, mut parent): (_, Option<Parent>) = (None, None);
        let (mut is_new, hold) = (false, self.random.token());
        for attempt in 0..MAX_ATTEMPTS {
            let (lease, tail) = self.lease_and_conversation(user, &draft.conversation).await?;
            let lease = lease.filter(|lease| lease.is_held(connection, self.clock.now())).ok_or(Error::LeaseExpired)?;
            let tail = tail.ok_or(Error::ConversationNotFound)?;
            let known = parent.clone().or_else(|| tail.parent(&draft.follows));
            if !is_new && (draft.media.is_some() || known.is_none()) {
                if let Some(first) = self.find(user, &draft.id).await? {
                    return self.repetition(user, &lease, draft, first).await;
                }
                is_new = true;
            }
            let follows = match known {
                Some(known) => known,
                None => self.find_parent(user, &draft.conversation, &draft.follows, &tail).await?,
            };
            if let Some(key) = draft.media.as_ref().filter(|_| media.is_none()) {
                self.hold(user, key, &hold).await?;
                let taken = self.media.take(user, key).await;
                // An upload that another message used may itself have expired by now.
                if matches!(taken, Err(Error::MediaNotFound)) && self.is_used(user, key).await? {
                    return Err(Error::MediaUsed);
                }
                media = Some(taken?);
            }
            // A parent that the client named stays where it is. The latest item may be another one at the next attempt.
            if let Follows::Item(_) = &draft.follows {
                parent = Some(follows.clone());
            }
            let message = StoredMessage {
                id: draft.id.clone(),
                user: user.clone(),
                conversation: draft.conversation.clone(),
                seq: tail.last_seq + 1,
                role: Role::User,
                text: draft.text.clone(),
                status: Status::Queued,
                reply_to: None,
                parent: Some(follows),
                first_answer: None,
                error: None,
                media: media.clone(),
                created_at: self.clock.now(),
                claimed_at: None,
                attempts: 0,
                cancelled: false,
                redriven: 0,
                told: false,
            };
            let Admitting { user_item, slot_item } =
                self.leases.admitting(user, &lease, &message.id, message.created_at, limits.max_pending_per_client);
            let mut transaction = Transaction::new()
                .with(Part::Lease, user_item)
                .with(Part::Slot, slot_item)
                .with(Part::Number, self.numbering(&message, tail.last_seq))
                .with(Part::Id, self.naming(&message))
                .with(Part::Message, self.storing(&message));
            if let Some(attachment) = &message.media {
                let using = self.using(user, &attachment.key).condition_expression("attribute_not_exists(pk)");
                transaction.add(Part::Upload, using);
            }
            let Err(refusal) = transaction.send(&self.db, &self.random).await? else {
                if let Some(attachment) = &message.media {
                    self.unhold(user, &attachment.key, &hold).await;
                }
                return Ok(Admission::New(message));
            };

            let held = refusal.by(Part::Lease).map(|item| match item.is_empty() {
                true => Ok(None),
                false => Lease::read(item).map(Some),
            });
            let held = held.transpose()?;
            if let Some(now_held) = &held
                && !now_held.as_ref().is_some_and(|lease| lease.is_held(connection, self.clock.now()))
            {
                return Err(Error::LeaseExpired);
            }
            if let Some(pointer) = refusal.by(Part::Id) {
                let first = self.named_by(pointer).await?;
                return self.repetition(user, &lease, draft, first).await;
            }
            if refusal.is_by(Part::Upload) {
                return Err(Error::MediaUsed);
            }
            if let Some(Some(lease)) = held {
                // A message counts until it has ended. Workers and the janitor end it. None is taken off the count
                // because it is old.
                return Err(Error::TooManyPending {
                    pending: lease.pending.len(),
                    limit: limits.max_pending_per_client,
                    retry_after_ms: RETRY_AFTER_MS,
                });
            } else if refusal.is_by(Part::Slot) {
                return Err(Error::LeaseExpired);
            } else {
                // Another message or answer of this conversation took the number, or the conversation was deleted.
                let ceiling_ms = 2u32 << attempt.min(5);
                tokio::time::sleep(Duration::from_millis(u64::from(self.random.below(ceiling_ms)))).await;
            }
        }
        Err(Error::Contended { operation: "admit", attempts: MAX_ATTEMPTS })
    }

    /// The message that `draft` repeats. A repetition renews the lease as a new message does. Another message under a
    /// used id does not.
    async fn repetition(&self, user: &UserId, lease: &Lease, draft: &Draft, first: StoredMessage) -> Result<Admission> {
        if !draft.repeats(&first) {
            return Err(Error::IdUsed);
        }
        self.leases.heard(user, lease).await?;
        Ok(Admission::Duplicate(first))
    }

    /// Reads the sender's lease and the conversation's end in one request for two tables.
    async fn lease_and_conversation(
        &self,
        user: &UserId,
        conversation: &ConversationId,
    ) -> Result<(Option<Lease>, Option<Tail>)> {
        let (lease_table, lease_key) = self.leases.key_of(user);
        let conversation_item = Item::from([
            ("pk".to_owned(), text(user_key(user))),
            ("sk".to_owned(), text(conversation_key(conversation))),
        ]);
        let get = |key| KeysAndAttributes::builder().keys(key).consistent_read(true).build();
        let output = self
            .db
            .batch_get_item()
            .request_items(lease_table, built(get(lease_key))?)
            .request_items(&self.config.table, built(get(conversation_item))?)
            .send()
            .await
            .map_err(|error| Error::service("BatchGetItem", &error))?;
        if output.unprocessed_keys().is_some_and(|tables| !tables.is_empty()) {
            return Err(Error::Contended { operation: "BatchGetItem", attempts: 1 });
        }
        let found =
            |table: &str| output.responses().and_then(|tables| tables.get(table)).and_then(|items| items.first());
        let lease = found(lease_table).map(Lease::read).transpose()?;
        let tail = found(&self.config.table).map(Tail::read).transpose()?;
        Ok((lease, tail))
    }

    /// Takes the conversation's next number.
    fn numbering(&self, message: &StoredMessage, last_seq: u64) -> UpdateBuilder {
        Update::builder()
            .table_name(&self.config.table)
            .key("pk", text(user_key(&message.user)))
            .key("sk", text(conversation_key(&message.conversation)))
            .condition_expression("last_seq = :last")
            .update_expression("SET last_seq = :next, last_id = :id, updated_at = :now")
            .expression_attribute_values(":last", number(last_seq))
            .expression_attribute_values(":next", number(message.seq))
            .expression_attribute_values(":id", text(message.id.as_str()))
            .expression_attribute_values(":now", time(message.created_at))
    }

    fn naming(&self, message: &StoredMessage) -> PutBuilder {
        Put::builder()
            .table_name(&self.config.table)
            .item("pk", text(user_key(&message.user)))
            .item("sk", text(id_key(&message.id)))
            .item("conversation_id", text(message.conversation.as_str()))
            .item("seq", number(message.seq))
            .condition_expression("attribute_not_exists(pk)")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
    }

    fn storing(&self, message: &StoredMessage) -> PutBuilder {
        Put::builder()
            .table_name(&self.config.table)
            .set_item(Some(message.item()))
            .condition_expression("attribute_not_exists(pk)")
    }

    async fn named_by(&self, pointer: &Item) -> Result<StoredMessage> {
        let attributes = Attributes(pointer);
        let conversation = ConversationId::parse(attributes.text("conversation_id")?)?;
        let seq = attributes.number("seq")?;
        self.message_at(&conversation, seq).await?.ok_or_else(|| Error::Corrupt {
            key: format!("{}/{}", conversation_key(&conversation), seq_key(seq)),
            detail: "the id names a message that does not exist".to_owned(),
        })
    }
}
