//! Asking the model: again while it fails for the moment, until it is out of time or told to stop.

use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::Answerer;
use super::writer::Writer;
use crate::Result;
use crate::clock::Timestamp;
use crate::ids::MediaKey;
use crate::media::Sample;
use crate::messages::{Claim, Ending, Measured, Reply, Status, StoredMessage};
use crate::model::{ModelError, Piece, Prompt, Turn};

/// Pauses between tries of a model that failed for the moment.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LONGEST_BACKOFF: Duration = Duration::from_secs(4);

/// How often a message is looked at for having been cancelled: it is to stop within about a second.
const LOOK_EVERY: Duration = Duration::from_millis(600);

/// Of an answer, what is kept: it has to fit an item of 400 KB. A model that goes on is not listened to any longer.
const MAX_TEXT_BYTES: usize = 256 * 1024;

/// What came of asking.
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
    /// The time was over. Whether that is a failure, only who knows where the time went can say.
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
    /// The writer comes back while it has told one unbroken text.
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
        let out_of_time = tokio::time::sleep(stop_at.since(self.clock.now()));
        tokio::pin!(out_of_time);
        let cancelled = self.cancelled(&claim.message);
        tokio::pin!(cancelled);
        for attempt in 0.. {
            let mut pieces = self.model.answer(Prompt { turns: turns.clone(), attempt });
            let failure = loop {
                let piece = tokio::select! {
                    // What was cancelled or is out of time stops, even where pieces never cease.
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
                            tracing::warn!(message = %claim.message.id, "The model was cut off at {MAX_TEXT_BYTES} bytes");
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
                    // The endpoint's words are for whoever runs this: they may name keys and accounts.
                    let reference = &claim.message.id;
                    tracing::warn!(message = %reference, reason, "The model failed for good");
                    generated.how = How::Failed(format!("{told}. The reference of this failure is {reference}"));
                    break;
                }
                Some(ModelError::Transient { reason, retry_after }) => {
                    tracing::info!(message = %claim.message.id, attempt, reason, "The model failed, it is asked again");
                    retry_after.unwrap_or_else(|| self.backoff(attempt))
                }
            };
            // Another try gives another text: what was told of this one can't be continued.
            if !generated.text.is_empty() {
                writer = None;
                generated.text.clear();
            }
            generated.samples.clear();
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
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

    /// Full jitter, so that those whom a model refused together do not come back together.
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
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        looks.tick().await; // the first is at once, and the claim has just looked
        loop {
            looks.tick().await;
            match self.messages.is_cancelled(message).await {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => tracing::debug!(%error, message = %message.id, "Could not look whether it is cancelled"),
            }
        }
    }

    /// Stores the media of an answer, under keys that a repetition would use too.
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
        // Of a cancelled answer, what there was; of a finished one its text, even if the model had nothing to say.
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

fn elapsed_ms(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}
