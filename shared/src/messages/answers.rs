//! What the worker does to messages: finds the ones to answer, claims, ends, and marks them told.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::types::{AttributeValue, Put, TransactWriteItem, Update};

use super::{Messages, Role, Status, StoredMessage, built, conversation_key, seq_key};
use crate::dynamo::{self, conditional, n, s, time};
use crate::ids::{ConversationId, MessageId};
use crate::{Error, Result};

/// Items read of a conversation: its last turns. A client's pending messages are always among them.
const TURNS: i32 = 60;

/// A message under one attempt to answer it.
#[derive(Debug)]
pub struct Claim {
    pub message: StoredMessage,
    token: String,
    /// An attempt before this one was cut off; it may have told part of an answer.
    pub repeated: bool,
}

#[derive(Debug)]
pub enum Claimed {
    Yes(Claim),
    /// It has ended meanwhile: as it is now.
    Ended(StoredMessage),
}

/// How a message ends.
#[derive(Debug)]
pub enum Ending {
    Done { text: String },
    Failed { code: &'static str, message: String },
}

impl Messages {
    /// The last turns of a conversation up to message `seq`, in order: messages each with its answers.
    pub async fn turns(
        &self,
        conversation: &ConversationId,
        seq: u64,
    ) -> Result<Vec<(StoredMessage, Vec<StoredMessage>)>> {
        let output = self
            .db
            .query()
            .table_name(&self.config.table)
            .key_condition_expression("pk = :pk AND sk < :after")
            .expression_attribute_values(":pk", s(conversation_key(conversation)))
            .expression_attribute_values(":after", s(seq_key(seq + 1)))
            .scan_index_forward(false)
            .limit(TURNS)
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| Error::service("Query", &error))?;
        let mut turns: BTreeMap<u64, (Option<StoredMessage>, Vec<StoredMessage>)> = BTreeMap::new();
        // Newest first, and an answer sorts after its message: so reversed.
        for item in output.items().iter().rev() {
            let message = StoredMessage::read(item)?;
            let turn = turns.entry(message.seq).or_default();
            match message.role {
                Role::User => turn.0 = Some(message),
                Role::Assistant => turn.1.push(message),
            }
        }
        Ok(turns.into_values().filter_map(|(message, answers)| Some((message?, answers))).collect())
    }

    /// Takes a message to answer it. Whoever claims last holds it: the queue gives a message to one worker at a time, so an
    /// earlier holder is dead or has lost it.
    pub async fn claim(&self, message: &StoredMessage) -> Result<Claimed> {
        let token = self.random.token();
        let claimed = conditional(&self.random, "UpdateItem", || {
            self.db
                .update_item()
                .table_name(&self.config.table)
                .key("pk", s(conversation_key(&message.conversation)))
                .key("sk", s(seq_key(message.seq)))
                .condition_expression("#status IN (:queued, :processing)")
                .update_expression("SET #status = :processing, attempt = :token, claimed_at = :now")
                .expression_attribute_names("#status", "status")
                .expression_attribute_values(":queued", s(Status::Queued.as_str()))
                .expression_attribute_values(":processing", s(Status::Processing.as_str()))
                .expression_attribute_values(":token", s(token.as_str()))
                .expression_attribute_values(":now", time(self.clock.now()))
                .return_values(aws_sdk_dynamodb::types::ReturnValue::AllOld)
                .send()
        })
        .await?;
        match claimed {
            Some(output) => {
                let old = output.attributes().map(StoredMessage::read).transpose()?;
                let mut message = old.unwrap_or_else(|| message.clone());
                let repeated = message.status == Status::Processing;
                message.status = Status::Processing;
                Ok(Claimed::Yes(Claim { message, token, repeated }))
            }
            None => match self.message_at(&message.conversation, message.seq).await? {
                Some(ended) => Ok(Claimed::Ended(ended)),
                None => Err(Error::ConversationNotFound), // deleted meanwhile
            },
        }
    }

    /// Ends a message and stores its answers, all or nothing; takes it off its sender's count. `None`: the claim was lost.
    pub async fn end(&self, claim: Claim, ending: Ending) -> Result<Option<(StoredMessage, Vec<StoredMessage>)>> {
        let Claim { mut message, token, .. } = claim;
        let now = self.clock.now();
        let mut answers = Vec::new();
        let update = Update::builder()
            .table_name(&self.config.table)
            .key("pk", s(conversation_key(&message.conversation)))
            .key("sk", s(seq_key(message.seq)))
            .condition_expression("#status = :processing AND attempt = :token")
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":processing", s(Status::Processing.as_str()))
            .expression_attribute_values(":token", s(token))
            .expression_attribute_values(":now", time(now));
        let update = match ending {
            Ending::Done { text } => {
                message.status = Status::Done;
                answers.push(StoredMessage {
                    id: message.id.answer(0),
                    role: Role::Assistant,
                    text,
                    reply_to: Some(message.id.clone()),
                    created_at: now,
                    ..message.clone()
                });
                update.update_expression("SET #status = :status, ended_at = :now")
            }
            Ending::Failed { code, message: detail } => {
                message.status = Status::Failed;
                message.error = Some((code.to_owned(), detail.clone()));
                update
                    .update_expression(
                        "SET #status = :status, ended_at = :now, error_code = :code, error_message = :detail",
                    )
                    .expression_attribute_values(":code", s(code))
                    .expression_attribute_values(":detail", s(detail))
            }
        };
        let update = update.expression_attribute_values(":status", s(message.status.as_str()));
        let mut items = vec![TransactWriteItem::builder().update(built(update.build())?).build()];
        for (index, answer) in answers.iter().enumerate() {
            let key = format!("{}#{index}", seq_key(message.seq));
            let put = Put::builder().table_name(&self.config.table).set_item(Some(answer.item(key)));
            items.push(TransactWriteItem::builder().put(built(put.build())?).build());
        }
        // With the settlement, so that a client that has its answer may send the next at once. Without it if the user item is
        // gone, and the count with it.
        items.push(self.leases.settlement(&message.user, &message.id)?);
        let mut written = dynamo::transact(&self.db, &self.random, &items).await?;
        if written.as_ref().is_err_and(|refused| refused.item(0).is_none()) {
            items.pop();
            written = dynamo::transact(&self.db, &self.random, &items).await?;
        }
        Ok(written.is_ok().then_some((message, answers)))
    }

    /// Counts that a message is queued again; `false` where somebody else did, or it has moved on.
    pub async fn count_redrive(&self, message: &StoredMessage) -> Result<bool> {
        let counted = conditional(&self.random, "UpdateItem", || {
            self.db
                .update_item()
                .table_name(&self.config.table)
                .key("pk", s(conversation_key(&message.conversation)))
                .key("sk", s(seq_key(message.seq)))
                .condition_expression(
                    "#status = :status AND (redriven = :seen OR (attribute_not_exists(redriven) AND :seen = :none))",
                )
                .update_expression("SET redriven = :next")
                .expression_attribute_names("#status", "status")
                .expression_attribute_values(":status", s(message.status.as_str()))
                .expression_attribute_values(":seen", n(message.redriven))
                .expression_attribute_values(":none", n(0))
                .expression_attribute_values(":next", n(message.redriven + 1))
                .send()
        });
        Ok(counted.await?.is_some())
    }

    /// Its end was told; a redelivery need not tell it again.
    pub async fn mark_told(&self, message: &StoredMessage) -> Result<()> {
        conditional(&self.random, "UpdateItem", || {
            self.db
                .update_item()
                .table_name(&self.config.table)
                .key("pk", s(conversation_key(&message.conversation)))
                .key("sk", s(seq_key(message.seq)))
                .condition_expression("attribute_exists(pk)")
                .update_expression("SET told = :yes")
                .expression_attribute_values(":yes", AttributeValue::Bool(true))
                .send()
        })
        .await
        .map(|_| ())
    }

    /// For a redelivered message that has ended: off its sender's count, should that have been missed.
    pub async fn settle(&self, message: &StoredMessage) -> Result<()> {
        let id: &MessageId = &message.id;
        self.leases.settled(&message.user, std::slice::from_ref(id)).await
    }
}
