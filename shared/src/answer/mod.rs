//! The worker's part: answers a queued message and tells its user. A message may be worked on more than once, and its
//! user sees only one answer.
//!
//! The queue gives a conversation's messages to one worker at a time, in the order in which they were queued. They were
//! numbered in the order of admission, and a race can make the two orders differ. So a worker answers, in number order,
//! every unanswered message up to the one in its job. A later worker finds those answered. So answers come in the order
//! of the history.
//!
//! If a worker dies, its job comes back through the queue. A worker holds its job before it claims anything, and holds
//! it only for seconds at a time. ([`Rescuer`] helps when a worker dies before that.) A worker that repeats an attempt
//! streams no deltas, because it can't know which ones the client has seen. The `reply` is authoritative and has
//! everything. Ending is fenced by the claim. Telling is remembered. So a redelivery of a message that was told does
//! nothing, unless its sender has sent it again to be told again.
//!
//! A message that kills its workers does not keep its conversation waiting. Each claim counts an attempt. A worker that
//! claims a message for which `MAX_ATTEMPTS` attempts are already counted ends it as failed, whichever job it came
//! with. If an attempt stops in order without an answer (a service failed, or another message used up the time), it is
//! given back and does not count. A message fails for want of time only if it had all of an invocation's time to
//! itself. Other messages stay pending, and their job comes back.
//!
//! The hold is renewed after a third of its time and retried for as long as it lasts, so a single failed call costs
//! nothing. An attempt that has lost its message ends before another can begin, and its writer ends with it. So it
//! tells nothing after its successor's reply.
//!
//! Cancelling sets a mark on the message. The worker that has the message checks for the mark while the model talks. If
//! no worker has it yet, `cancel` claims the message and ends it at once.

mod context;
mod dead_letters;
mod finisher;
mod generate;
mod path;
mod pulse;
mod rescue;
#[cfg(test)]
mod tests;
mod writer;

pub use dead_letters::DeadLetters;
pub use finisher::Finisher;
pub(crate) use pulse::{Pulse, SILENT_AFTER};
pub use rescue::Rescuer;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use crate::clock::{Clock, Timestamp};
use crate::config::ContextConfig;
use crate::ids::Random;
use crate::leases::Leases;
use crate::media::Media;
use crate::messages::{Claim, Claimed, Log, Messages};
use crate::metrics::Metrics;
use crate::model::Model;
use crate::push::Push;
use crate::queue::{Job, Queue};
use crate::{Error, Result};
use generate::How;
use writer::Writer;

/// How long a dead worker's message stays away from other workers. A live worker renews the hold after a third of it.
const HOLD: Duration = Duration::from_secs(12);

/// The pause between two tries to renew the hold.
const HOLD_AGAIN: Duration = Duration::from_millis(250);

/// After this long, a message that could not be answered is tried again.
const RETRY_IN: Duration = Duration::from_secs(2);

/// How many workers may die of a message before it is given up. The message itself may be what kills them.
pub(crate) const MAX_ATTEMPTS: u32 = 3;

/// The operation that is refused if a worker of the other lane may have the message.
const CLAIM: &str = "claim";

/// The words for a message that has failed through no fault of its model.
pub(crate) const UNANSWERED: &str = "The message could not be answered";
pub(crate) const NOBODY_BEGAN: &str = "No worker could begin to answer; send the message again later";

/// A client that asks again how a message ended first gets `accepted` as the route's response. That response is still
/// on its way.
const TELL_AFTER: Duration = Duration::from_millis(100);

/// How long the end of an answer waits for its last delta. After that, the `reply` has the text.
const LAST_DELTA: Duration = Duration::from_secs(3);

/// The part of the invocation's time that is kept for ending and telling.
const MARGIN: Duration = Duration::from_secs(5);

/// The time to assume if the host gives no usable deadline (`cargo lambda watch` sends a constant from 1970).
const DEFAULT_TIME: Duration = Duration::from_secs(60);

/// Lambda's longest timeout. A deadline beyond it is not a real one.
const LONGEST_TIME: Duration = Duration::from_secs(900);

#[derive(Debug, Clone)]
pub struct Answerer {
    pub(crate) finisher: Finisher,
    pub(crate) messages: Messages,
    pub(crate) media: Media,
    pub(crate) leases: Leases,
    pub(crate) queue: Queue,
    pub(crate) push: Arc<dyn Push>,
    pub(crate) model: Arc<dyn Model>,
    pub(crate) pulse: Pulse,
    pub(crate) metrics: Metrics,
    pub(crate) context: ContextConfig,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<Random>,
}

impl Answerer {
    /// Answers `job`, received with `receipt_handle`, in the time until `deadline`.
    ///
    /// # Errors
    /// If the job must be tried again. The message then goes back to the queue.
    pub async fn run(&self, job: &Job, receipt_handle: &str, deadline: Timestamp) -> Result<()> {
        let stop_at = self.stop_at(deadline);
        let held = Notify::new();
        let result = tokio::select! {
            // The future is boxed because the nested types of all calls below would be too deep for the compiler.
            result = Box::pin(self.answer(job, stop_at, &held)) as BoxFuture<'_, Result<()>> => result,
            lost = self.keep(receipt_handle, &held) => Err(lost),
        };
        // If the other lane has the message, a quick retry would be too early.
        let elsewhere = matches!(result, Err(Error::Contended { operation: CLAIM, .. }));
        if result.is_err()
            && let Err(error) = self.queue.hold(receipt_handle, if elsewhere { HOLD } else { RETRY_IN }).await
        {
            tracing::debug!(%error, message = %job.message_id, "The wait for the next try could not be shortened");
        }
        result
    }

    /// Holds the message while it is answered. Returns only when the message can't be held any more: another worker has
    /// it, or will have it before the next try could help. Signals `is_held` once the message is held.
    async fn keep(&self, receipt_handle: &str, is_held: &Notify) -> Error {
        let lost = |detail: &str| Error::Service { operation: "ChangeMessageVisibility", detail: detail.to_owned() };
        let mut held_until = Instant::now() + HOLD;
        loop {
            let began = Instant::now();
            let held = timeout(HOLD / 3, self.queue.hold(receipt_handle, HOLD)).await;
            match held.unwrap_or_else(|_| Err(lost("SQS did not answer in time"))) {
                Ok(true) => {
                    held_until = began + HOLD;
                    is_held.notify_one();
                    self.pulse.beat(&self.messages, self.clock.now()).await;
                    sleep(HOLD / 3).await;
                }
                Ok(false) => return lost("the message has gone back to the queue"),
                Err(error) if Instant::now() + HOLD / 6 >= held_until => return error,
                Err(error) => {
                    tracing::info!(%error, "The hold on the message could not be renewed; it is tried again");
                    sleep(HOLD_AGAIN).await;
                }
            }
        }
    }

    fn stop_at(&self, deadline: Timestamp) -> Timestamp {
        let now = self.clock.now();
        let time = deadline.since(now);
        let time = if time.is_zero() || time > LONGEST_TIME { DEFAULT_TIME } else { time };
        now.plus(time.saturating_sub(MARGIN).max(time / 2))
    }

    /// Answers in number order, so a message is answered after everything that it follows.
    async fn answer(&self, job: &Job, stop_at: Timestamp, held: &Notify) -> Result<()> {
        let mut log = self.messages.log(&job.conversation_id, job.seq, self.context.messages).await?;
        let messages = log.messages_up_to(job.seq);
        let Some(called_for) = messages.last().filter(|message| message.seq == job.seq) else {
            return self.finisher.tell_deleted(&job.user_id, &job.message_id).await;
        };
        if called_for.status.is_final() && (job.tell || !called_for.told) {
            let answers = log.answers(called_for).await?;
            if job.tell {
                sleep(TELL_AFTER).await;
            }
            self.finisher.tell_again(called_for, &answers).await?;
        }
        held.notified().await;
        let unanswered = messages.iter().filter(|message| !message.status.is_final());
        for (index, message) in unanswered.enumerate() {
            if self.clock.now() >= stop_at {
                return Err(Error::OutOfTime { at: stop_at });
            }
            match self.messages.claim_in(job.lane(), message).await? {
                Claimed::Yes(claim) => self.answer_one(claim, index == 0, &mut log, stop_at).await?,
                // Another worker was faster. It tells the user.
                Claimed::Ended(message) => log.put(message, Vec::new()),
                Claimed::Deleted => self.finisher.tell_deleted(&message.user, &message.id).await?,
                // The other lane's worker answers this message. Later messages must wait: in this lane's next job, or
                // in that lane.
                Claimed::Elsewhere if job.rescue => return Ok(()),
                Claimed::Elsewhere => return Err(Error::Contended { operation: CLAIM, attempts: 1 }),
            }
        }
        Ok(())
    }

    /// `alone`: no other message has used any of the invocation's time.
    async fn answer_one(&self, claim: Claim, alone: bool, log: &mut Log, stop_at: Timestamp) -> Result<()> {
        let id = claim.message.id.clone();
        if claim.attempts > MAX_ATTEMPTS {
            tracing::error!(message = %id, "Gave up: {MAX_ATTEMPTS} workers began it and none ended it");
            return self.finisher.end_unanswered(claim, UNANSWERED).await;
        }
        let result = self.attempt(claim.clone(), alone, log, stop_at).await;
        if result.is_err()
            && let Err(error) = self.messages.put_back(&claim).await
        {
            tracing::debug!(%error, message = %id, "The attempt counts, because it could not be given back");
        }
        result
    }

    async fn attempt(&self, claim: Claim, alone: bool, log: &mut Log, stop_at: Timestamp) -> Result<()> {
        let message = claim.message.clone();
        let turns = self.path(log, &message).await?;
        let writer = Writer::start(self, &claim);
        let (generated, writer) = self.generate(turns, stop_at, writer, &claim).await;
        if matches!(generated.how, How::OutOfTime(_)) && !alone {
            return Err(Error::OutOfTime { at: stop_at });
        }
        let measured = generated.measured;
        self.metrics.answered(self.model.name(), generated.how.status(), &measured, self.clock.now());
        let ending = self.store(&claim, generated).await?;
        // The end is written after the last delta has arrived. Another worker that finds the end tells it, and no delta
        // may follow the end.
        let mut at = None;
        if let Some(writer) = writer {
            match timeout(LAST_DELTA, writer.finish()).await {
                Ok(last) => at = last,
                Err(_) => {
                    tracing::info!(message = %message.id, "The last delta was given up, because it took too long");
                }
            }
        }
        let ended = self.messages.end_at(claim, ending, Some(measured), log.last_seq(), at).await?;
        let Some(ended) = ended else {
            // Another worker has the message, or it was deleted.
            if self.messages.find(&message.user, &message.id).await?.is_none() {
                self.finisher.tell_deleted(&message.user, &message.id).await?;
            }
            return Ok(());
        };
        self.finisher.tell(&ended).await?;
        log.put(ended.message, ended.answers);
        Ok(())
    }
}
