//! What the worker does with a queued message: answers it, tells its user, exactly once as far as anybody can see.
//!
//! The queue gives a conversation's messages to one worker at a time, in the order they were queued. They were numbered
//! in the order of admission, and the two may differ by a race. So a worker answers, in number order, every unanswered
//! message up to the one it was called for; who comes later finds it answered. Answers come in the order of history.
//!
//! A worker that dies comes back through the queue: it holds its job before it claims anything, and only for seconds at
//! a time. (Who dies before that, [`Rescuer`] sees to.) Whoever repeats an attempt streams no deltas, because it can't
//! know which were seen; the `reply` is authoritative and carries everything. Ending is fenced by the claim, telling is
//! remembered: a redelivery of a told message does nothing, unless its sender, who has sent it again, asked to be told
//! again.
//!
//! What kills its workers does not keep its conversation waiting: a claim counts attempts, and who claims a message for
//! the `MAX_ATTEMPTS`th time more ends it as failed, whichever job it came with. An attempt that ends in order
//! without an answer (a service that fails, time that another message has used up) is given back and does not count. A
//! message fails for want of time only where it had all of an invocation's time to itself; the others stay pending, and
//! their job comes back.
//!
//! The hold is renewed at a third of it and tried again for as long as it lasts, so one call that fails costs nothing.
//! An attempt that has lost its message ends before another can begin, and its writer with it: nothing of it is told
//! behind its successor's reply.
//!
//! Cancelling is a mark on the message. Whoever works on it looks for the mark while the model talks; if nobody does
//! yet, who cancels claims it and ends it at once.

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
use crate::ids::Random;
use crate::leases::Leases;
use crate::media::Media;
use crate::messages::{Claim, Claimed, Log, Messages};
use crate::model::Model;
use crate::push::Push;
use crate::queue::{Job, Queue};
use crate::{Error, Result, metrics};
use generate::How;
use writer::Writer;

/// How long a dead worker's message stays away; renewed at a third of it while the worker lives.
const HOLD: Duration = Duration::from_secs(12);

/// Between two tries to hold it.
const HOLD_AGAIN: Duration = Duration::from_millis(250);

/// When a message that could not be answered now is tried again.
const RETRY_IN: Duration = Duration::from_secs(2);

/// Workers that may die of a message before it is given up: it may be what kills them.
pub(crate) const MAX_ATTEMPTS: u32 = 3;

/// What is refused where a worker of the other lane may be at a message.
const CLAIM: &str = "claim";

/// The words for a message that has failed through no fault of its model.
pub(crate) const UNANSWERED: &str = "It could not be answered";
pub(crate) const NOBODY_BEGAN: &str = "Nobody could begin to answer it; send it again later";

/// Whoever asks once more how a message ended is first answered `accepted`, by the route's response, which is on its
/// way.
const TELL_AFTER: Duration = Duration::from_millis(100);

/// Kept back from the invocation's time, for ending and telling.
const MARGIN: Duration = Duration::from_secs(5);

/// Assumed where the host gives no usable deadline (`cargo lambda watch` sends a constant from 1970).
const DEFAULT_TIME: Duration = Duration::from_secs(60);

/// Lambda's longest timeout: a deadline beyond it is none.
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
    /// What a model is told of a conversation at most.
    pub(crate) context_tokens: usize,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<Random>,
}

impl Answerer {
    /// Answers `job`, received with `receipt_handle`, in the time until `deadline`.
    ///
    /// # Errors
    /// When it is to be tried again: the message goes back to the queue.
    pub async fn run(&self, job: &Job, receipt_handle: &str, deadline: Timestamp) -> Result<()> {
        let stop_at = self.stop_at(deadline);
        let held = Notify::new();
        let result = tokio::select! {
            // Boxed: as one type, the futures of all calls below would be too deep for the compiler.
            result = Box::pin(self.answer(job, stop_at, &held)) as BoxFuture<'_, Result<()>> => result,
            lost = self.keep(receipt_handle, &held) => Err(lost),
        };
        // Where the other lane has it, soon is too soon.
        let elsewhere = matches!(result, Err(Error::Contended { operation: CLAIM, .. }));
        if result.is_err()
            && let Err(error) = self.queue.hold(receipt_handle, if elsewhere { HOLD } else { RETRY_IN }).await
        {
            tracing::debug!(%error, message = %job.message_id, "Could not shorten the wait for the next try");
        }
        result
    }

    /// Holds the message while it is answered; returns only when it can't be held any more: it is another's, or will be
    /// before the next try could help. Says so once it is `held`.
    async fn keep(&self, receipt_handle: &str, is_held: &Notify) -> Error {
        let lost = |detail: &str| Error::Service { operation: "ChangeMessageVisibility", detail: detail.to_owned() };
        let mut held_until = Instant::now() + HOLD;
        loop {
            let began = Instant::now();
            let held = timeout(HOLD / 3, self.queue.hold(receipt_handle, HOLD)).await;
            match held.unwrap_or_else(|_| Err(lost("it was not answered in time"))) {
                Ok(true) => {
                    held_until = began + HOLD;
                    is_held.notify_one();
                    self.pulse.beat(&self.messages, self.clock.now()).await;
                    sleep(HOLD / 3).await;
                }
                Ok(false) => return lost("the message has come back to the queue"),
                Err(error) if Instant::now() + HOLD / 6 >= held_until => return error,
                Err(error) => {
                    tracing::info!(%error, "The message could not be held longer, it is tried again");
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

    /// In number order, so that whatever a message follows is answered before it is.
    async fn answer(&self, job: &Job, stop_at: Timestamp, held: &Notify) -> Result<()> {
        let mut log = self.messages.log(&job.conversation_id, job.seq).await?;
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
                // Another worker was faster; it tells.
                Claimed::Ended(message) => log.put(message, Vec::new()),
                Claimed::Deleted => self.finisher.tell_deleted(&message.user, &message.id).await?,
                // Whoever has it answers it, and what comes after it must wait: here, or in the lane where it is.
                Claimed::Elsewhere if job.rescue => return Ok(()),
                Claimed::Elsewhere => return Err(Error::Contended { operation: CLAIM, attempts: 1 }),
            }
        }
        Ok(())
    }

    /// `alone`: no other message has had any of the time.
    async fn answer_one(&self, claim: Claim, alone: bool, log: &mut Log, stop_at: Timestamp) -> Result<()> {
        let id = claim.message.id.clone();
        if claim.attempts > MAX_ATTEMPTS {
            tracing::error!(message = %id, "Given up: {MAX_ATTEMPTS} workers began with it and did not end");
            return self.finisher.end_unanswered(claim, UNANSWERED).await;
        }
        let result = self.attempt(claim.clone(), alone, log, stop_at).await;
        if result.is_err()
            && let Err(error) = self.messages.put_back(&claim).await
        {
            tracing::debug!(%error, message = %id, "It counts as an attempt that killed its worker");
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
        metrics::answered(self.model.name(), generated.how.status(), &measured, self.clock.now());
        let ending = self.store(&claim, generated).await?;
        let end = self.messages.end(claim, ending, Some(measured), log.last_seq());
        let ended = match writer {
            // The last delta is on its way while the end is written; the reply waits for both.
            Some(writer) => tokio::join!(end, writer.finish()).0?,
            None => end.await?,
        };
        let Some((message, answers)) = ended else {
            // Another worker has it, or it was deleted.
            if self.messages.find(&message.user, &message.id).await?.is_none() {
                self.finisher.tell_deleted(&message.user, &message.id).await?;
            }
            return Ok(());
        };
        self.finisher.tell(&message, &answers).await?;
        log.put(message, answers);
        Ok(())
    }
}
