//! The worker's writes to messages: claim, end, mark as told.

use std::time::Duration;

use aws_sdk_dynamodb::types::builders::UpdateBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, Put, ReturnValuesOnConditionCheckFailure, Update};

use super::{Messages, Parent, Role, Status, StoredMessage, conversation_key, seq_key, user_key};
use crate::dynamo::{Attributes, Transaction, conditional, number, text, time};
use crate::ids::{ConnectionId, MessageId};
use crate::media::Attachment;
use crate::{Error, Result};

/// How often taking numbers for answers is tried while messages arrive.
const MAX_ATTEMPTS: u32 = 32;

/// The parts of the transaction that ends a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Message,
    /// The numbers of its answers, if it has any.
    Numbers,
    /// Takes the message off its sender's count, if there is a count.
    Count,
    Answer,
}

/// The right to answer a message, held by one attempt.
#[derive(Debug, Clone)]
pub struct Claim {
    pub message: StoredMessage,
    pub(super) token: String,
    /// An earlier attempt was cut off. It may have told part of an answer.
    pub repeated: bool,
    /// The number of attempts so far, with this one and without those that were given back.
    pub attempts: u32,
}

#[derive(Debug)]
pub enum Claimed {
    Yes(Claim),
    /// The message has ended meanwhile. This is its present state.
    Ended(StoredMessage),
    /// Another worker may be working on it.
    Elsewhere,
    /// The message was deleted with its conversation.
    Deleted,
}

/// A message that has just ended.
#[derive(Debug)]
pub struct Ended {
    pub message: StoredMessage,
    pub answers: Vec<StoredMessage>,
    /// The connection of the user at the moment of the end, if it was the one that the caller expected.
    pub at: Option<ConnectionId>,
}

/// The way by which a job reached its worker. Each lane is a message group of its own for every conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Lane {
    #[default]
    Ordinary,
    /// For messages that wait behind a delivery whose worker died before it began.
    Rescue,
}

/// After this long, a worker that claimed a message is dead: no invocation lasts longer.
const CLAIM_LASTS: Duration = Duration::from_secs(90);

/// How a message ends.
#[derive(Debug)]
pub enum Ending {
    Done {
        replies: Vec<Reply>,
    },
    /// The answer so far is kept.
    Cancelled {
        replies: Vec<Reply>,
    },
    Failed {
        code: &'static str,
        message: String,
    },
}

/// The tokens and the time of an answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Measured {
    /// The tokens as the model counted them. Some models do not count.
    pub usage: Option<Usage>,
    /// Until the first piece of text, and until the end.
    pub first_ms: Option<u64>,
    pub total_ms: u64,
}

/// Tokens that a model has counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    pub input_tokens: u64,
    pub output_tokens: u64,
}

/// One answer to a message, to be stored.
#[derive(Debug, Clone, Default)]
pub struct Reply {
    pub text: String,
    pub media: Option<Attachment>,
}

impl Ending {
    /// A reply that is one text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Done { replies: vec![Reply { text: text.into(), media: None }] }
    }
}

impl Messages {
    /// [`Self::claim_in`] with the ordinary lane.
    pub async fn claim(&self, message: &StoredMessage) -> Result<Claimed> {
        self.claim_in(Lane::Ordinary, message).await
    }

    /// Takes a message to answer it. Within a lane, the last worker that claims a message holds it: the queue gives a
    /// message to one worker of a lane at a time, so an earlier holder is dead or has lost it. A claim does not take a
    /// message that was begun in the other lane. It takes one that was begun in the rescue lane only when that worker
    /// must be dead.
    pub async fn claim_in(&self, lane: Lane, message: &StoredMessage) -> Result<Claimed> {
        let may_repeat = match lane {
            Lane::Ordinary => "(attribute_not_exists(rescued_at) OR rescued_at < :dead)",
            Lane::Rescue => "(attribute_exists(rescued_at) AND rescued_at >= :dead)",
        };
        self.claim_where(message, lane, may_repeat).await
    }

    /// Takes a message to end it, if no worker can have it. A worker that had it is dead or has given it back.
    pub async fn claim_abandoned(&self, message: &StoredMessage) -> Result<Claimed> {
        self.claim_where(message, Lane::Ordinary, "(attribute_not_exists(claimed_at) OR claimed_at <= :dead)").await
    }

    async fn claim_where(&self, message: &StoredMessage, lane: Lane, may_repeat: &str) -> Result<Claimed> {
        let condition = format!("#status = :queued OR (#status = :processing AND {may_repeat})");
        match self.take(message, lane, condition, true).await? {
            Some(claim) => Ok(Claimed::Yes(claim)),
            None => Ok(match self.message_at(&message.conversation, message.seq).await? {
                Some(ended) if ended.status.is_final() => Claimed::Ended(ended),
                Some(_) => Claimed::Elsewhere,
                None => Claimed::Deleted,
            }),
        }
    }

    /// Takes a message if this condition holds. Also says whether this may be a repeated attempt.
    async fn take(
        &self,
        message: &StoredMessage,
        lane: Lane,
        condition: String,
        repeats: bool,
    ) -> Result<Option<Claim>> {
        let (token, now) = (self.random.token(), self.clock.now());
        let rescued = match lane {
            Lane::Ordinary => "REMOVE rescued_at",
            Lane::Rescue => ", rescued_at = :now",
        };
        let claimed = conditional(&self.random, "UpdateItem", || {
            let mut update = self
                .db
                .update_item()
                .table_name(&self.config.table)
                .key("pk", text(conversation_key(&message.conversation)))
                .key("sk", text(seq_key(message.seq)))
                .condition_expression(condition.as_str())
                .update_expression(format!(
                    "SET #status = :processing, attempt = :token, claimed_at = :now {rescued} ADD attempts :one"
                ))
                .expression_attribute_names("#status", "status")
                .expression_attribute_values(":queued", text(Status::Queued.as_str()))
                .expression_attribute_values(":processing", text(Status::Processing.as_str()))
                .expression_attribute_values(":token", text(token.as_str()))
                .expression_attribute_values(":now", time(now))
                .expression_attribute_values(":one", number(1))
                .return_values(aws_sdk_dynamodb::types::ReturnValue::AllOld);
            if repeats {
                update = update.expression_attribute_values(":dead", time(now.minus(CLAIM_LASTS)));
            }
            update.send()
        })
        .await?;
        let Some(output) = claimed else { return Ok(None) };
        let old = output.attributes().map(StoredMessage::read).transpose()?;
        let mut message = old.unwrap_or_else(|| message.clone());
        let repeated = message.status == Status::Processing;
        message.status = Status::Processing;
        message.attempts += 1;
        Ok(Some(Claim { attempts: message.attempts, message, token, repeated }))
    }

    /// Gives a claim back, so that the attempt does not count: no worker has died of the message. The parts of an
    /// answer that were told stay told.
    pub async fn put_back(&self, claim: &Claim) -> Result<()> {
        let Claim { message, token, .. } = claim;
        conditional(&self.random, "UpdateItem", || {
            self.db
                .update_item()
                .table_name(&self.config.table)
                .key("pk", text(conversation_key(&message.conversation)))
                .key("sk", text(seq_key(message.seq)))
                .condition_expression("#status = :processing AND attempt = :token")
                .update_expression("REMOVE claimed_at ADD attempts :less")
                .expression_attribute_names("#status", "status")
                .expression_attribute_values(":processing", text(Status::Processing.as_str()))
                .expression_attribute_values(":token", text(token))
                .expression_attribute_values(":less", number(-1))
                .send()
        })
        .await
        .map(|_| ())
    }

    /// Marks a message as cancelled, unless it has ended. Gives a claim if nobody had begun with the message.
    pub async fn cancel(&self, message: &StoredMessage) -> Result<Option<Claim>> {
        let marked = conditional(&self.random, "UpdateItem", || {
            self.db
                .update_item()
                .table_name(&self.config.table)
                .key("pk", text(conversation_key(&message.conversation)))
                .key("sk", text(seq_key(message.seq)))
                .condition_expression("#status IN (:queued, :processing)")
                .update_expression("SET cancelled = :yes")
                .expression_attribute_names("#status", "status")
                .expression_attribute_values(":queued", text(Status::Queued.as_str()))
                .expression_attribute_values(":processing", text(Status::Processing.as_str()))
                .expression_attribute_values(":yes", AttributeValue::Bool(true))
                .send()
        })
        .await?;
        match marked {
            Some(_) => self.take(message, Lane::Ordinary, "#status = :queued".to_owned(), false).await,
            None => Ok(None),
        }
    }

    /// Whether a message is marked as cancelled or was deleted. The read is consistent: a late replica may not have the
    /// message yet, and that must not look like a deletion.
    pub async fn is_cancelled(&self, message: &StoredMessage) -> Result<bool> {
        let output = self
            .db
            .get_item()
            .table_name(&self.config.table)
            .key("pk", text(conversation_key(&message.conversation)))
            .key("sk", text(seq_key(message.seq)))
            .projection_expression("cancelled")
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| Error::service("GetItem", &error))?;
        Ok(output.item().is_none_or(|item| Attributes(item).flag("cancelled")))
    }

    /// [`Self::end_at`], for tests, which do not know where the user is.
    #[cfg(test)]
    pub(crate) async fn end(
        &self,
        claim: Claim,
        ending: Ending,
        measured: Option<Measured>,
        last_seq: u64,
    ) -> Result<Option<(StoredMessage, Vec<StoredMessage>)>> {
        let ended = self.end_at(claim, ending, measured, last_seq, None).await?;
        Ok(ended.map(|Ended { message, answers, .. }| (message, answers)))
    }

    /// Ends a message, stores its answers under the next numbers and takes it off its sender's count, all or nothing.
    /// `None`: the claim was lost, or the conversation was deleted. `last_seq` is the last number in use that the
    /// caller knows. `at` is the connection at which the caller expects the user. The same transaction finds out
    /// whether that is right, which saves a read.
    pub async fn end_at(
        &self,
        claim: Claim,
        ending: Ending,
        measured: Option<Measured>,
        last_seq: u64,
        mut at: Option<ConnectionId>,
    ) -> Result<Option<Ended>> {
        let Claim { message, token, .. } = claim;
        let mut last_seq = last_seq.max(message.seq);
        // `false` once it is known that the user item, and the count in it, are gone.
        let mut counted = true;
        for _ in 0..MAX_ATTEMPTS {
            let (message, answers) = self.ended(&message, &ending, last_seq);
            let mut transaction = Transaction::new().with(Part::Message, self.ending(&message, &token, measured));
            if let Some(last) = answers.last() {
                transaction.add(Part::Numbers, self.taking_numbers(last, last_seq));
            }
            if counted {
                // In the same transaction, so that a client that has its answer can send its next message at once.
                transaction.add(Part::Count, self.leases.uncounting(&message.user, &message.id, at.as_ref()));
            }
            for answer in &answers {
                let put = Put::builder().table_name(&self.config.table).set_item(Some(answer.item()));
                transaction.add(Part::Answer, put);
                if let Some(attachment) = &answer.media {
                    transaction.add(Part::Answer, self.using(&answer.user, &attachment.key));
                }
            }
            let Err(refusal) = transaction.send(&self.db, &self.random).await? else {
                for attachment in answers.iter().filter_map(|answer| answer.media.as_ref()) {
                    self.unhold(&message.user, &attachment.key, &token).await;
                }
                return Ok(Some(Ended { message, answers, at: at.filter(|_| counted) }));
            };
            if refusal.is_by(Part::Message) {
                return Ok(None);
            }
            if refusal.is_by(Part::Count) && at.take().is_none() {
                counted = false;
            }
            if let Some(conversation) = refusal.by(Part::Numbers) {
                if conversation.is_empty() {
                    return Ok(None);
                }
                last_seq = Attributes(conversation).number("last_seq")?;
            }
        }
        Err(Error::Contended { operation: "end", attempts: MAX_ATTEMPTS })
    }

    /// The message and its answers in the form in which they will be stored.
    fn ended(&self, message: &StoredMessage, ending: &Ending, last_seq: u64) -> (StoredMessage, Vec<StoredMessage>) {
        let mut message = message.clone();
        match ending {
            Ending::Done { replies } | Ending::Cancelled { replies } => {
                let done = matches!(ending, Ending::Done { .. });
                message.status = if done { Status::Done } else { Status::Cancelled };
                message.first_answer = (!replies.is_empty()).then_some(last_seq + 1);
                // The first answer follows its message. Each further answer follows the one before.
                let before = |index: usize| match index.checked_sub(1) {
                    None => Parent::of(&message),
                    Some(index) => Parent { id: Some(message.id.answer(index)), seq: last_seq + 1 + index as u64 },
                };
                let answer = |(index, reply): (usize, &Reply)| StoredMessage {
                    id: message.id.answer(index),
                    seq: last_seq + 1 + index as u64,
                    parent: Some(before(index)),
                    role: Role::Assistant,
                    text: reply.text.clone(),
                    media: reply.media.clone(),
                    reply_to: Some(message.id.clone()),
                    first_answer: None,
                    created_at: self.clock.now(),
                    ..message.clone()
                };
                let answers = replies.iter().enumerate().map(answer).collect();
                (message, answers)
            }
            Ending::Failed { code, message: detail } => {
                message.status = Status::Failed;
                message.error = Some(((*code).to_owned(), detail.clone()));
                (message, Vec::new())
            }
        }
    }

    /// The write that ends a message, fenced by the claim's token.
    fn ending(&self, message: &StoredMessage, token: &str, measured: Option<Measured>) -> UpdateBuilder {
        let mut set = "SET #status = :status, ended_at = :now".to_owned();
        let mut update = Update::builder()
            .table_name(&self.config.table)
            .key("pk", text(conversation_key(&message.conversation)))
            .key("sk", text(seq_key(message.seq)))
            .condition_expression("#status = :processing AND attempt = :token")
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":processing", text(Status::Processing.as_str()))
            .expression_attribute_values(":token", text(token))
            .expression_attribute_values(":status", text(message.status.as_str()))
            .expression_attribute_values(":now", time(self.clock.now()));
        if let Some(first) = message.first_answer {
            set.push_str(", first_answer = :first");
            update = update.expression_attribute_values(":first", number(first));
        }
        if let Some((code, detail)) = &message.error {
            set.push_str(", error_code = :code, error_message = :detail");
            update = update
                .expression_attribute_values(":code", text(code.as_str()))
                .expression_attribute_values(":detail", text(detail.as_str()));
        }
        let usage = measured.and_then(|measured| measured.usage);
        for (name, value) in [
            ("first_ms", measured.and_then(|measured| measured.first_ms)),
            ("total_ms", measured.map(|measured| measured.total_ms)),
            ("input_tokens", usage.map(|usage| usage.input_tokens)),
            ("output_tokens", usage.map(|usage| usage.output_tokens)),
        ] {
            if let Some(value) = value {
                set.push_str(&format!(", {name} = :{name}"));
                update = update.expression_attribute_values(format!(":{name}"), number(value));
            }
        }
        update.update_expression(set)
    }

    /// Takes the numbers for answers. `last` is the last of them.
    fn taking_numbers(&self, last: &StoredMessage, last_seq: u64) -> UpdateBuilder {
        Update::builder()
            .table_name(&self.config.table)
            .key("pk", text(user_key(&last.user)))
            .key("sk", text(conversation_key(&last.conversation)))
            .condition_expression("last_seq = :last")
            .update_expression("SET last_seq = :next, last_id = :id")
            .expression_attribute_values(":last", number(last_seq))
            .expression_attribute_values(":next", number(last.seq))
            .expression_attribute_values(":id", text(last.id.as_str()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
    }

    /// Counts that a message is queued again. `false`: somebody else counted it, or its status has changed.
    pub async fn count_redrive(&self, message: &StoredMessage) -> Result<bool> {
        let counted = conditional(&self.random, "UpdateItem", || {
            self.db
                .update_item()
                .table_name(&self.config.table)
                .key("pk", text(conversation_key(&message.conversation)))
                .key("sk", text(seq_key(message.seq)))
                .condition_expression(
                    "#status = :status AND (redriven = :seen OR (attribute_not_exists(redriven) AND :seen = :none))",
                )
                .update_expression("SET redriven = :next")
                .expression_attribute_names("#status", "status")
                .expression_attribute_values(":status", text(message.status.as_str()))
                .expression_attribute_values(":seen", number(message.redriven))
                .expression_attribute_values(":none", number(0))
                .expression_attribute_values(":next", number(message.redriven + 1))
                .send()
        });
        Ok(counted.await?.is_some())
    }

    /// Writes down that the user was told how the message ended, so that a redelivery need not tell it again.
    pub async fn mark_told(&self, message: &StoredMessage) -> Result<()> {
        conditional(&self.random, "UpdateItem", || {
            self.db
                .update_item()
                .table_name(&self.config.table)
                .key("pk", text(conversation_key(&message.conversation)))
                .key("sk", text(seq_key(message.seq)))
                .condition_expression("attribute_exists(pk)")
                .update_expression("SET told = :yes")
                .expression_attribute_values(":yes", AttributeValue::Bool(true))
                .send()
        })
        .await
        .map(|_| ())
    }

    /// For a redelivered message that has ended: takes it off its sender's count if that was missed.
    pub async fn uncount(&self, message: &StoredMessage) -> Result<()> {
        let id: &MessageId = &message.id;
        self.leases.uncount(&message.user, std::slice::from_ref(id)).await.map(|_| ())
    }
}
