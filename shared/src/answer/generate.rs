//! Asks the model. If it fails for the moment, it is asked again, until the time is up or the message is cancelled.

use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::time::{Instant, sleep};

use super::Answerer;
use super::writer::Writer;
use crate::Result;
use crate::clock::Timestamp;
use crate::ids::MediaKey;
use crate::media::Sample;
use crate::messages::{Claim, Ending, Measured, Reply, Status, StoredMessage};
use crate::model::{ModelError, Piece, Prompt, Turn};

/// Pauses between the tries of a model that failed for the moment.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LONGEST_BACKOFF: Duration = Duration::from_secs(4);

/// The worker checks after this time for the first time, and then in growing pauses, whether the message was cancelled.
/// A young answer should stop within about a second. An answer of half a minute costs 23 reads, and would cost 50 in
/// pauses that do not grow.
const FIRST_LOOK: Duration = Duration::from_millis(600);
/// The longest pause between two checks.
const LOOK_AT_LEAST_EVERY: Duration = Duration::from_secs(3);

/// The most bytes of an answer that are kept, because an item has at most 400 KB. A model that goes on longer is cut
/// off.
const MAX_TEXT_BYTES: usize = 256 * 1024;

/// The result of asking.
#[derive(Debug)]
pub(super) struct Generated {
    pub(super) how: How,
    text: String,
    samples: Vec<Sample>,
    pub(super) measured: Measured,
}

#[derive(Debug)]
pub(super) enum How {
    Done,
    Cancelled,
    Failed(String),
    /// The time was up. Only the caller, who knows what used the time, can say whether that is a failure.
    OutOfTime(&'static str),
}

impl How {
    pub(super) fn status(&self) -> Status {
        match self {
            Self::Done => Status::Done,
            Self::Cancelled => Status::Cancelled,
            Self::Failed(_) | Self::OutOfTime(_) => Status::Failed,
        }
    }
}

impl Answerer {
    /// Gives the writer back if it has told one unbroken text.
    pub(super) async fn generate(
        &self,
        turns: Vec<Turn>,
        stop_at: Timestamp,
        mut writer: Option<Writer>,
        claim: &Claim,
    ) -> (Generated, Option<Writer>) {
        let began = Instant::now();
        let mut generated =
            Generated { how: How::Done, text: String::new(), samples: Vec::new(), measured: Measured::default() };
        let out_of_time = sleep(stop_at.since(self.clock.now()));
        tokio::pin!(out_of_time);
        let cancelled = self.cancelled(&claim.message);
        tokio::pin!(cancelled);
        for attempt in 0.. {
            let mut pieces = self.model.answer(Prompt { turns: turns.clone(), attempt });
            let failure = loop {
                let piece = tokio::select! {
                    // A cancelled answer, or one whose time is up, stops even if the pieces never pause.
                    biased;
                    () = &mut cancelled => {
                        generated.how = How::Cancelled;
                        break None;
                    }
                    () = &mut out_of_time => {
                        generated.how = How::OutOfTime("The model took too long");
                        break None;
                    }
                    piece = pieces.next() => piece,
                };
                match piece {
                    Some(Ok(Piece::Text(mut piece))) => {
                        let room = MAX_TEXT_BYTES - generated.text.len();
                        let enough = piece.len() > room;
                        piece.truncate(piece.floor_char_boundary(room));
                        if let Some(writer) = &writer {
                            writer.write(&piece);
                        }
                        generated.measured.first_ms.get_or_insert_with(|| elapsed_ms(began));
                        generated.text.push_str(&piece);
                        if enough {
                            tracing::warn!(message = %claim.message.id, "The answer is cut off at {MAX_TEXT_BYTES} B");
                            break None;
                        }
                    }
                    Some(Ok(Piece::Media(sample))) => generated.samples.push(sample),
                    Some(Ok(Piece::Usage(usage))) => generated.measured.usage = Some(usage),
                    Some(Err(error)) => break Some(error.discreet(&turns)),
                    None => break None,
                }
            };
            let pause = match failure {
                None => break,
                Some(ModelError::Final { told, reason }) => {
                    // The endpoint's words go only to the log, for the operator, because they may name keys and
                    // accounts.
                    let reference = &claim.message.id;
                    tracing::warn!(message = %reference, reason, "The model failed for good");
                    generated.how = How::Failed(format!("{told}. The reference of this failure is {reference}"));
                    break;
                }
                Some(ModelError::Transient { reason, retry_after }) => {
                    tracing::info!(message = %claim.message.id, attempt, reason, "The model failed and is asked again");
                    retry_after.unwrap_or_else(|| self.backoff(attempt))
                }
            };
            // The next try gives another text, so the text that was told can't be continued.
            if !generated.text.is_empty() {
                writer = None;
                generated.text.clear();
            }
            generated.samples.clear();
            tokio::select! {
                () = sleep(pause) => {}
                () = &mut cancelled => {
                    generated.how = How::Cancelled;
                    break;
                }
                () = &mut out_of_time => {
                    generated.how = How::OutOfTime("The model kept failing");
                    break;
                }
            }
        }
        generated.measured.total_ms = elapsed_ms(began);
        (generated, writer)
    }

    /// Full jitter: messages that a model refused together do not come back together.
    fn backoff(&self, attempt: u32) -> Duration {
        let ceiling = FIRST_BACKOFF.saturating_mul(1 << attempt.min(16)).min(LONGEST_BACKOFF);
        let jitter = self.random.below(u32::try_from(ceiling.as_millis() / 2).unwrap_or(u32::MAX));
        ceiling / 2 + Duration::from_millis(jitter.into())
    }

    /// Returns when the message is marked as cancelled.
    async fn cancelled(&self, message: &StoredMessage) {
        if message.cancelled {
            return;
        }
        let began = Instant::now();
        loop {
            sleep(pause_at(began.elapsed())).await;
            match self.messages.is_cancelled(message).await {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => {
                    tracing::debug!(%error, message = %message.id, "Could not check whether the message is cancelled")
                }
            }
        }
    }

    /// Stores the media of an answer. A repeated attempt uses the same keys.
    pub(super) async fn store(&self, claim: &Claim, generated: Generated) -> Result<Ending> {
        let message = &claim.message;
        let cancelled = match generated.how {
            How::Failed(reason) => return Ok(Ending::Failed { code: "reply_failed", message: reason }),
            How::OutOfTime(reason) => {
                return Ok(Ending::Failed { code: "reply_failed", message: reason.to_owned() });
            }
            How::Cancelled => true,
            How::Done => false,
        };
        let mut replies = Vec::new();
        // A cancelled answer keeps its text so far, if there is any. A finished one keeps its text even if the model
        // said nothing.
        if !cancelled || !generated.text.is_empty() {
            replies.push(Reply { text: generated.text, media: None });
        }
        for sample in generated.samples {
            let key = MediaKey::of_answer(&message.id.answer(replies.len()), sample.extension);
            self.messages.hold_answer(claim, &key).await?;
            let attachment = self.media.store(&message.user, key, sample).await?;
            replies.push(Reply { text: String::new(), media: Some(attachment) });
        }
        Ok(if cancelled { Ending::Cancelled { replies } } else { Ending::Done { replies } })
    }
}

/// The pause before the next check of an answer of this age.
fn pause_at(age: Duration) -> Duration {
    (age / 8).clamp(FIRST_LOOK, LOOK_AT_LEAST_EVERY)
}

fn elapsed_ms(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pauses_between_two_looks_grow_with_the_answer_up_to_three_seconds() {
        let pauses = [0, 4_000, 8_000, 16_000, 60_000].map(|age| pause_at(Duration::from_millis(age)).as_millis());
        assert_eq!(pauses, [600, 600, 1_000, 2_000, 3_000]);
        let mut ages = vec![Duration::ZERO];
        while ages[ages.len() - 1] <= Duration::from_secs(30) {
            let age = ages[ages.len() - 1];
            ages.push(age + pause_at(age));
        }
        // Neither the beginning nor the last look, which comes after half a minute, is a read.
        assert_eq!(ages.len() - 2, 23);
    }
}
