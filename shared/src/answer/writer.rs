//! The one writer of an answer's deltas. It numbers them without gaps and sends the first at once. It gathers text
//! while a delta is under way, and for some time after it. Each delta costs a call. So that time is short at first,
//! when a reader waits for words, and grows with the answer, when the reader has something to read ([`window`]).
//!
//! The user is told at the present connection, and each connection is told one whole text. So the writer keeps the
//! whole text, and how much of it the present listener was told. If the user has another connection, the text begins
//! again there, with a delta that says so (`restart`). The numbers just continue.
//!
//! How does the writer notice another connection? If a post finds its connection gone, it looks for the user at once.
//! While the model is silent, nothing is posted, so the writer looks every [`AGAIN`] where the user is. That makes a
//! page that reloads show the answer within half a second of its connection being open. The writer may find:
//!
//! - **Nobody.** The user is away. The writer looks again after [`AGAIN`] and loses nothing.
//! - **The same connection, gone.** Its handshake is still pending (a client takes its place before the connection
//!   opens), or its line has just broken. These two look alike. So the writer tries again after [`AGAIN`], for as long
//!   as the answer goes on.
//! - **A post that failed for an unknown reason.** The delta may have arrived. So the writer sends the very same delta
//!   to the same connection again, under its number, however often that fails. A client that has it drops the second.
//!   Newer text goes under the next number. On another connection the text begins again anyway.
//! - **A client that reads slowly, or an account that is throttled.** The gateway did not take the delta. The next try
//!   has the newer text too.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use super::Answerer;
use crate::ids::{ConnectionId, MessageId, UserId};
use crate::leases::Leases;
use crate::messages::Claim;
use crate::protocol::ServerFrame;
use crate::push::{Push, PushError};

/// The shortest and the longest time between two deltas of one answer. A page that reloads waits for the next post,
/// which finds the old connection gone. So the longest must leave time for a post and a look within half a second.
const SHORTEST: Duration = Duration::from_millis(80);
const LONGEST: Duration = Duration::from_millis(440);

/// The pause between two tries to reach a user, and between two looks for the user while there is nothing to tell.
pub(super) const AGAIN: Duration = Duration::from_millis(300);

/// The most bytes of text in one delta. In JSON they become at most six times as many, which fits a frame.
pub(super) const MAX_DELTA_BYTES: usize = 16 * 1024;

/// If it is dropped before it has finished, it stops at once: a worker that has lost its message, or begins its answer
/// anew, tells nothing more of this text.
#[derive(Debug)]
pub(super) struct Writer {
    pieces: Option<mpsc::UnboundedSender<String>>,
    task: JoinHandle<Option<ConnectionId>>,
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Writer {
    /// `None` if a part of the answer may have been told before.
    pub(super) fn start(answerer: &Answerer, claim: &Claim) -> Option<Self> {
        if claim.repeated {
            return None;
        }
        // The channel is unbounded, but it holds at most one answer.
        let (pieces, received) = mpsc::unbounded_channel();
        let state = State {
            leases: answerer.leases.clone(),
            push: Arc::clone(&answerer.push),
            user: claim.message.user.clone(),
            id: claim.message.id.clone(),
            text: String::new(),
            address: None,
            listener: None,
            told: 0,
            seq: 0,
            since: Instant::now(),
            begun: false,
            unsure: None,
        };
        Some(Self { pieces: Some(pieces), task: tokio::spawn(state.run(received)) })
    }

    pub(super) fn write(&self, piece: &str) {
        // The task ends only after the sender is dropped.
        if let Some(pieces) = &self.pieces {
            let _ = pieces.send(piece.to_owned());
        }
    }

    /// Sends what is left. When this returns, no delta of this answer is under way. Gives the connection at which the
    /// user was last reached.
    pub(super) async fn finish(mut self) -> Option<ConnectionId> {
        self.pieces = None;
        (&mut self.task).await.unwrap_or_else(|error| {
            tracing::error!(%error, "The writer of an answer failed");
            None
        })
    }
}

struct State {
    leases: Leases,
    push: Arc<dyn Push>,
    user: UserId,
    id: MessageId,
    /// The whole answer so far.
    text: String,
    /// The user's present connection, as far as the writer knows.
    address: Option<ConnectionId>,
    /// The connection that was told the first `told` bytes of the text.
    listener: Option<ConnectionId>,
    told: usize,
    /// The number of the next delta.
    seq: u64,
    /// When the text began.
    since: Instant,
    /// The user may have been told something.
    begun: bool,
    /// A delta that the listener may or may not have.
    unsure: Option<Delta>,
}

/// A frame, and how much of the text has been told once it arrives.
#[derive(Clone)]
struct Delta {
    frame: String,
    end: usize,
}

impl State {
    async fn run(mut self, mut pieces: mpsc::UnboundedReceiver<String>) -> Option<ConnectionId> {
        let mut next_at = Instant::now();
        while self.gather(&mut pieces, next_at).await {
            next_at = Instant::now() + self.tell().await;
        }
        if self.told < self.text.len() {
            self.tell().await;
        }
        self.address
    }

    /// Takes in text until something can be done at `next_at`. `false`: the text is complete.
    async fn gather(&mut self, pieces: &mut mpsc::UnboundedReceiver<String>, next_at: Instant) -> bool {
        let look_at = Instant::now() + AGAIN;
        loop {
            let piece = if self.text.is_empty() {
                pieces.recv().await
            } else {
                let due = if self.told < self.text.len() { next_at } else { look_at };
                match timeout_at(due, pieces.recv()).await {
                    Ok(piece) => piece,
                    Err(_) => return true,
                }
            };
            match piece {
                Some(piece) => {
                    if self.text.is_empty() {
                        self.since = Instant::now();
                    }
                    self.text.push_str(&piece);
                }
                None => return false,
            }
        }
    }

    /// Tells the user's present connection all that is left to tell. Gives the time to go on.
    async fn tell(&mut self) -> Duration {
        if self.address.is_none() || self.told == self.text.len() {
            self.look().await;
        }
        while let Some(address) = self.address.clone() {
            self.turn_to(&address);
            if self.told == self.text.len() {
                return window(self.since.elapsed());
            }
            let sent_before = self.unsure.is_some();
            let delta = self.unsure.take().unwrap_or_else(|| self.delta());
            match self.push.post(&address, delta.frame.clone()).await {
                Ok(()) => {
                    self.told = delta.end;
                    self.seq += 1;
                    self.begun = true;
                }
                Err(PushError::Gone) => {
                    self.unsure = sent_before.then_some(delta);
                    self.look().await;
                    if self.address.as_ref() == Some(&address) {
                        break;
                    }
                }
                Err(PushError::Slow | PushError::Throttled) => {
                    self.unsure = sent_before.then_some(delta);
                    // The user may have left this connection for another.
                    self.address = None;
                }
                Err(PushError::Failed(error)) => {
                    tracing::debug!(%error, message = %self.id, "A delta may not have arrived; it is sent again");
                    self.unsure = Some(delta);
                    self.begun = true;
                    self.address = None;
                }
            }
        }
        AGAIN
    }

    /// Looks where the user is now.
    async fn look(&mut self) {
        self.address = self.leases.address(&self.user).await.unwrap_or_default();
    }

    /// If this is another connection, the text begins again for it.
    fn turn_to(&mut self, address: &ConnectionId) {
        if self.listener.as_ref() != Some(address) {
            self.listener = Some(address.clone());
            self.told = 0;
            self.unsure = None;
        }
    }

    fn delta(&self) -> Delta {
        let end = self.text.floor_char_boundary(self.told + MAX_DELTA_BYTES);
        let frame = ServerFrame::Delta {
            id: self.id.clone(),
            seq: self.seq,
            text: self.text[self.told..end].to_owned(),
            restart: self.begun && self.told == 0,
        };
        Delta { frame: frame.to_json(), end }
    }
}

/// The time between two deltas of an answer of this age.
fn window(age: Duration) -> Duration {
    (age * 3 / 2).clamp(SHORTEST, LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_of_three_seconds_takes_at_most_twelve_frames_and_is_never_silent_for_half_a_second() {
        let (mut at, end, mut deltas) = (Duration::ZERO, Duration::from_secs(3), 0);
        while at < end {
            deltas += 1;
            let pause = window(at);
            assert!((SHORTEST..=LONGEST).contains(&pause), "{pause:?} at {at:?}");
            at += pause;
        }
        // The last delta has what is left, and the reply is a frame too.
        assert!(deltas + 2 <= 12, "{deltas}");
        assert_eq!([0, 80, 300, 5000].map(|age| window(Duration::from_millis(age)).as_millis()), [80, 120, 440, 440]);
    }
}
