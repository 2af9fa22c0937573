//! What the worker does with a queued message: answers it, tells its user, exactly once as far as anybody can see.
//!
//! The queue gives a conversation's messages to one worker at a time, in the order they were queued. They were numbered in
//! the order of admission, and the two may differ by a race. So a worker answers, in number order, every unanswered message
//! up to the one it was called for; who comes later finds it answered. Answers come in the order of history.
//!
//! A worker that dies comes back through the queue: it holds its message only for seconds at a time. Whoever repeats an
//! attempt streams no deltas, because it can't know which were seen; the `reply` is authoritative and carries everything.
//! Ending is fenced by the claim, telling is remembered: a redelivery of a told message does nothing.

mod writer;

use std::sync::Arc;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_apigatewaymanagement::config::timeout::TimeoutConfig;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;

use crate::clock::{Clock, SystemClock, Timestamp};
use crate::config::{ChatConfig, LeaseConfig, Lookup, ModelConfig, QueueConfig};
use crate::conversations::Conversations;
use crate::ids::{MessageId, Random, UserId};
use crate::leases::Leases;
use crate::messages::{Claim, Claimed, Ending, Messages, Role, Status, StoredMessage};
use crate::model::{Model, ModelError, Prompt, Turn};
use crate::protocol::{Message, ServerFrame};
use crate::push::{ManagementApi, Push, PushError};
use crate::queue::{Job, Queue};
use crate::{Error, Result};
use writer::Writer;

/// How long a dead worker's message stays away; renewed at a third of it while the worker lives.
const HOLD: Duration = Duration::from_secs(12);

/// When a message that could not be answered now is tried again.
const RETRY_IN: Duration = Duration::from_secs(2);

/// Kept back from the invocation's time, for ending and telling.
const MARGIN: Duration = Duration::from_secs(5);

/// Assumed where the host gives no usable deadline (`cargo lambda watch` sends a constant from 1970).
const DEFAULT_TIME: Duration = Duration::from_secs(60);

/// Lambda's longest timeout: a deadline beyond it is none.
const LONGEST_TIME: Duration = Duration::from_secs(900);

/// Pauses between tries of a model that failed for the moment.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LONGEST_BACKOFF: Duration = Duration::from_secs(2);

/// A client that does not read holds up nobody longer than this.
const POST_TIMEOUT: Duration = Duration::from_secs(3);

/// Tries to tell an end before the message goes back to the queue.
const TELL_ATTEMPTS: u32 = 4;

#[derive(Debug, Clone)]
pub struct Answerer {
    pub messages: Messages,
    pub conversations: Conversations,
    pub leases: Leases,
    pub queue: Queue,
    pub model: Arc<dyn Model>,
    pub push: Arc<dyn Push>,
    pub clock: Arc<dyn Clock>,
    pub random: Arc<Random>,
}

impl Answerer {
    /// As a function has it.
    pub fn from_environment(aws: &SdkConfig, lookup: Lookup<'_>) -> Result<Self> {
        let db = aws_sdk_dynamodb::Client::new(aws);
        let random = Arc::new(Random::from_system());
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let leases = Leases::new(db.clone(), LeaseConfig::read(lookup)?, Arc::clone(&clock), Arc::clone(&random));
        let push = aws_sdk_apigatewaymanagement::config::Builder::from(aws)
            .timeout_config(TimeoutConfig::builder().operation_attempt_timeout(POST_TIMEOUT).build())
            .build();
        let chat = ChatConfig::read(lookup)?;
        let messages = Messages::new(db.clone(), chat.clone(), leases.clone(), Arc::clone(&clock), Arc::clone(&random));
        let conversations = Conversations::new(db, chat, messages.clone(), Arc::clone(&clock), Arc::clone(&random));
        Ok(Self {
            messages,
            conversations,
            leases,
            queue: Queue::new(aws_sdk_sqs::Client::new(aws), QueueConfig::read(lookup)?),
            model: crate::model::from_config(ModelConfig::read(lookup)?, Arc::clone(&random)),
            push: Arc::new(ManagementApi(aws_sdk_apigatewaymanagement::Client::from_conf(push))),
            clock,
            random,
        })
    }

    /// Answers `job`, received with `receipt_handle`, in the time until `deadline`.
    ///
    /// # Errors
    /// When it is to be tried again: the message goes back to the queue.
    pub async fn run(&self, job: &Job, receipt_handle: &str, deadline: Timestamp) -> Result<()> {
        let stop_at = self.stop_at(deadline);
        let result = tokio::select! {
            // Boxed: as one type, the futures of all calls below would be too deep for the compiler.
            result = Box::pin(self.answer(job, stop_at)) as BoxFuture<'_, Result<()>> => result,
            lost = self.keep(receipt_handle) => Err(lost),
        };
        if result.is_err()
            && let Err(error) = self.queue.hold(receipt_handle, RETRY_IN).await
        {
            tracing::debug!(%error, message = %job.message_id, "Could not shorten the wait for the next try");
        }
        result
    }

    /// Holds the message while it is answered; returns only when it can't be held any more.
    async fn keep(&self, receipt_handle: &str) -> Error {
        loop {
            if let Err(error) = self.queue.hold(receipt_handle, HOLD).await {
                return error;
            }
            tokio::time::sleep(HOLD / 3).await;
        }
    }

    fn stop_at(&self, deadline: Timestamp) -> Timestamp {
        let now = self.clock.now();
        let time = deadline.since(now);
        let time = if time.is_zero() || time > LONGEST_TIME { DEFAULT_TIME } else { time };
        now.plus(time.saturating_sub(MARGIN).max(time / 2))
    }

    async fn answer(&self, job: &Job, stop_at: Timestamp) -> Result<()> {
        let mut turns: Vec<Turn> = Vec::new();
        let said = self.messages.turns(&job.conversation_id, job.seq).await?;
        if said.turns.last().is_none_or(|(message, _)| message.seq != job.seq) {
            return self.deleted(&job.user_id, &job.message_id).await;
        }
        let mut last_seq = said.last_seq;
        for (message, answers) in said.turns {
            let asked = Turn { role: Role::User, text: message.text.clone() };
            let answers = if message.status.is_final() {
                if message.seq == job.seq {
                    self.tell_again(&message, &answers).await?;
                }
                answers
            } else {
                if self.clock.now() >= stop_at {
                    return Err(Error::OutOfTime { at: stop_at });
                }
                turns.push(asked.clone());
                let answers = self.answer_one(&message, turns.clone(), last_seq, stop_at).await?;
                turns.pop();
                last_seq = answers.iter().map(|answer| answer.seq).fold(last_seq, u64::max);
                answers
            };
            // What was not answered is no part of the talk.
            if !answers.is_empty() {
                turns.push(asked);
                turns.extend(answers.into_iter().map(|answer| Turn { role: Role::Assistant, text: answer.text }));
            }
        }
        Ok(())
    }

    async fn answer_one(
        &self,
        message: &StoredMessage,
        turns: Vec<Turn>,
        last_seq: u64,
        stop_at: Timestamp,
    ) -> Result<Vec<StoredMessage>> {
        let claim = match self.messages.claim(message).await? {
            Claimed::Yes(claim) => claim,
            // Another worker was faster; it tells.
            Claimed::Ended(_) => return Ok(Vec::new()),
            Claimed::Deleted => return self.deleted(&message.user, &message.id).await.map(|()| Vec::new()),
        };
        let writer = Writer::start(self, &claim);
        let (ending, writer) = self.generate(turns, stop_at, writer, &claim).await;
        let ended = match writer {
            // The last delta is on its way while the end is written; the reply waits for both.
            Some(writer) => tokio::join!(self.messages.end(claim, ending, last_seq), writer.finish()).0?,
            None => self.messages.end(claim, ending, last_seq).await?,
        };
        let Some((message, answers)) = ended else {
            // Another worker has it, or it was deleted.
            if self.messages.find(&message.user, &message.id).await?.is_none() {
                self.deleted(&message.user, &message.id).await?;
            }
            return Ok(Vec::new());
        };
        self.tell(&message, &answers).await?;
        Ok(answers)
    }

    /// Asks the model, again while it fails for the moment. The writer comes back while it has told one unbroken text.
    async fn generate(
        &self,
        turns: Vec<Turn>,
        stop_at: Timestamp,
        mut writer: Option<Writer>,
        claim: &Claim,
    ) -> (Ending, Option<Writer>) {
        let failed = |message: String| Ending::Failed { code: "reply_failed", message };
        let time_left = stop_at.since(self.clock.now());
        let out_of_time = tokio::time::sleep(time_left);
        tokio::pin!(out_of_time);
        for attempt in 0.. {
            let mut pieces = self.model.answer(Prompt { turns: turns.clone(), attempt });
            let mut text = String::new();
            let failure = loop {
                let piece = tokio::select! {
                    piece = pieces.next() => piece,
                    () = &mut out_of_time => {
                        return (failed("The model took too long".to_owned()), writer);
                    }
                };
                match piece {
                    Some(Ok(piece)) => {
                        if let Some(writer) = &writer {
                            writer.write(&piece);
                        }
                        text.push_str(&piece);
                    }
                    Some(Err(error)) => break error,
                    None => return (Ending::Done { text }, writer),
                }
            };
            match failure {
                ModelError::Final(reason) => return (failed(reason), writer),
                ModelError::Transient(reason) => {
                    tracing::info!(message = %claim.message.id, attempt, reason, "The model failed, it is asked again");
                }
            }
            // Another try gives another text: what was told of this one can't be continued.
            if !text.is_empty() {
                writer = None;
            }
            let ceiling = FIRST_BACKOFF.saturating_mul(1 << attempt.min(16)).min(LONGEST_BACKOFF);
            let jitter = self.random.below(u32::try_from(ceiling.as_millis() / 2).unwrap_or(u32::MAX));
            tokio::select! {
                () = tokio::time::sleep(ceiling / 2 + Duration::from_millis(jitter.into())) => {}
                () = &mut out_of_time => {
                    return (failed("The model kept failing".to_owned()), writer);
                }
            }
        }
        unreachable!("the tries are ended by time")
    }

    /// Ends a message that can't be answered, and tells its user.
    pub(crate) async fn give_up(&self, message: &StoredMessage) -> Result<()> {
        let Claimed::Yes(claim) = self.messages.claim(message).await? else { return Ok(()) };
        let ending = Ending::Failed { code: "reply_failed", message: "It could not be answered".to_owned() };
        let last_seq = message.seq;
        match self.messages.end(claim, ending, last_seq).await? {
            Some((message, answers)) => self.tell(&message, &answers).await,
            None => Ok(()),
        }
    }

    /// A message whose conversation was deleted while it waited. Its user is told, if it was still waited for.
    pub(crate) async fn deleted(&self, user: &UserId, message: &MessageId) -> Result<()> {
        if self.leases.settled(user, std::slice::from_ref(message)).await? == 0 {
            return Ok(());
        }
        let frame = ServerFrame::error(Some(message.clone()), &Error::ConversationNotFound);
        self.deliver(user, frame.to_json()).await
    }

    /// For a redelivery: makes sure that an end was counted and told.
    async fn tell_again(&self, message: &StoredMessage, answers: &[StoredMessage]) -> Result<()> {
        if message.told {
            return Ok(());
        }
        self.messages.settle(message).await?;
        self.tell(message, answers).await
    }

    /// Tells the user, wherever connected now, how a message ended. Nobody connected: history tells.
    async fn tell(&self, message: &StoredMessage, answers: &[StoredMessage]) -> Result<()> {
        let frame = match (&message.status, &message.error) {
            (Status::Failed, Some((code, detail))) => ServerFrame::Error {
                id: Some(message.id.clone()),
                code: code.clone(),
                message: detail.clone(),
                retry_after_ms: None,
            },
            _ => ServerFrame::Reply {
                id: message.id.clone(),
                message: Message::from(message),
                replies: answers.iter().map(Message::from).collect(),
            },
        };
        self.deliver(&message.user, frame.to_json()).await?;
        self.messages.mark_told(message).await
    }

    async fn deliver(&self, user: &UserId, frame: String) -> Result<()> {
        let mut gone = None;
        for attempt in 0..TELL_ATTEMPTS {
            let address = self.leases.address(user).await?;
            let Some(address) = address.filter(|address| gone.as_ref() != Some(address)) else { return Ok(()) };
            match self.push.post(&address, frame.clone()).await {
                Ok(()) => return Ok(()),
                Err(PushError::Gone) => gone = Some(address),
                Err(PushError::Failed(error)) if attempt + 1 == TELL_ATTEMPTS => return Err(error),
                Err(PushError::Slow | PushError::Failed(_)) => {
                    tokio::time::sleep(FIRST_BACKOFF.saturating_mul(1 << attempt)).await;
                }
            }
        }
        Err(Error::Contended { operation: "PostToConnection", attempts: TELL_ATTEMPTS })
    }
}
