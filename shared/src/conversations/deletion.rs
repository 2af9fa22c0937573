//! Deletes a conversation, however long it is.
//!
//! One transaction takes the conversation away from its user and puts it among those being deleted. From then on nobody
//! finds it, and nothing can be added to it, because every write that adds is conditioned on the conversation. Any
//! function can then delete more of what it held: first the request, for a moment, and then the janitor, until nothing
//! is left. A message's id and media go before the message itself, so after a crash the next round finds everything
//! that is left.
//!
//! Messages that still wait stay counted. A worker or the janitor finds them gone, takes them off the count and tells
//! their user.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::types::{Delete, DeleteRequest, Put, WriteRequest};

use super::Conversations;
use crate::dynamo::{self, Attributes, Item, Transaction, built, text, time};
use crate::ids::{ConversationId, MediaKey, UserId};
use crate::messages::{Role, StoredMessage, conversation_key, id_key, media_key, seq_key, user_key};
use crate::{Error, Result};

/// The partition key of all conversations that are being deleted.
const DELETED: &str = "deleted";

/// How many messages one round deletes. Each has two items.
const ROUND: i32 = 100;

/// How many items one BatchWriteItem takes.
const BATCH: usize = 25;

/// A conversation that is being deleted.
#[derive(Debug, Clone)]
pub struct Deletion {
    pub conversation: ConversationId,
    pub user: UserId,
}

/// The parts of the transaction that deletes a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Conversation,
    Deletion,
}

impl Conversations {
    /// Takes a conversation away from its user.
    ///
    /// # Errors
    /// [`Error::ConversationNotFound`] when it does not exist or belongs to another user.
    pub async fn delete(&self, user: &UserId, id: &ConversationId) -> Result<Deletion> {
        let taken = Delete::builder()
            .table_name(&self.config.table)
            .key("pk", text(user_key(user)))
            .key("sk", text(conversation_key(id)))
            .condition_expression("attribute_exists(pk)");
        let remembered = Put::builder()
            .table_name(&self.config.table)
            .item("pk", text(DELETED))
            .item("sk", text(conversation_key(id)))
            .item("conversation_id", text(id.as_str()))
            .item("user_id", text(user.as_str()))
            .item("created_at", time(self.clock.now()));
        let transaction = Transaction::new().with(Part::Conversation, taken).with(Part::Deletion, remembered);
        match transaction.send(&self.db, &self.random).await? {
            Ok(()) => Ok(Deletion { conversation: id.clone(), user: user.clone() }),
            Err(_) => Err(Error::ConversationNotFound),
        }
    }

    /// Some of the conversations that are being deleted. Each is a result of its own. The list begins with another one
    /// each time, so conversations that can't be deleted never hide all others.
    pub async fn deletions(&self) -> Result<Vec<Result<Deletion>>> {
        let somewhere = conversation_key(&ConversationId::generate(&self.random));
        let mut deletions = self.deletions_where("sk > :somewhere", &somewhere).await?;
        deletions.extend(self.deletions_where("sk <= :somewhere", &somewhere).await?);
        Ok(deletions)
    }

    async fn deletions_where(&self, condition: &str, somewhere: &str) -> Result<Vec<Result<Deletion>>> {
        let output = self
            .db
            .query()
            .table_name(&self.config.table)
            .key_condition_expression(format!("pk = :pk AND {condition}"))
            .expression_attribute_values(":pk", text(DELETED))
            .expression_attribute_values(":somewhere", text(somewhere))
            .limit(ROUND)
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| Error::service("Query", &error))?;
        let read = |item: &Item| {
            let attributes = Attributes(item);
            let conversation = ConversationId::parse(attributes.text("conversation_id")?)?;
            Ok(Deletion { conversation, user: UserId::parse(attributes.text("user_id")?)? })
        };
        Ok(output.items().iter().map(read).collect())
    }

    /// Deletes what the conversation held, for at most `time`. Gives whether nothing is left.
    pub async fn sweep(&self, deletion: &Deletion, time: Duration) -> Result<bool> {
        let stop_at = self.clock.now().plus(time);
        while self.sweep_some(deletion).await? {
            if self.clock.now() >= stop_at {
                return Ok(false);
            }
        }
        self.remove(vec![key(DELETED.to_owned(), conversation_key(&deletion.conversation))]).await?;
        Ok(true)
    }

    /// Deletes one round. Gives whether there was anything to delete.
    async fn sweep_some(&self, deletion: &Deletion) -> Result<bool> {
        let pk = conversation_key(&deletion.conversation);
        let output = self
            .db
            .query()
            .table_name(&self.config.table)
            .key_condition_expression("pk = :pk")
            .expression_attribute_values(":pk", text(pk.as_str()))
            .limit(ROUND)
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| Error::service("Query", &error))?;
        let messages = output.items().iter().map(StoredMessage::read).collect::<Result<Vec<_>>>()?;
        let mut media: HashMap<&UserId, Vec<MediaKey>> = HashMap::new();
        let asked = messages.iter().filter(|message| message.role == Role::User);
        self.remove(asked.map(|message| key(user_key(&message.user), id_key(&message.id))).collect()).await?;
        for message in &messages {
            if let Some(attachment) = &message.media {
                media.entry(&message.user).or_default().push(attachment.key.clone());
            }
        }
        for (user, keys) in media {
            self.media.delete(user, &keys).await?;
            self.remove(keys.iter().map(|used| key(user_key(user), media_key(used))).collect()).await?;
        }
        self.remove(messages.iter().map(|message| key(pk.clone(), seq_key(message.seq))).collect()).await?;
        Ok(!messages.is_empty())
    }

    async fn remove(&self, keys: Vec<Item>) -> Result<()> {
        let mut requests: Vec<WriteRequest> = Vec::new();
        for key in keys {
            let delete = built(DeleteRequest::builder().set_key(Some(key)).build())?;
            requests.push(WriteRequest::builder().delete_request(delete).build());
        }
        let mut refusals = 0;
        while !requests.is_empty() {
            let batch: Vec<_> = requests.drain(..requests.len().min(BATCH)).collect();
            let output = dynamo::conditional(&self.random, "BatchWriteItem", || {
                self.db.batch_write_item().request_items(&self.config.table, batch.clone()).send()
            });
            // DynamoDB may leave some items for another call.
            let left = output.await?.and_then(|output| output.unprocessed_items?.remove(&self.config.table));
            if let Some(left) = left.filter(|left| !left.is_empty()) {
                requests.extend(left);
                dynamo::pause(&self.random, refusals).await;
                refusals += 1;
            }
        }
        Ok(())
    }
}

fn key(pk: String, sk: String) -> Item {
    Item::from([("pk".to_owned(), text(pk)), ("sk".to_owned(), text(sk))])
}
