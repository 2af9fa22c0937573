//! The one writer of an answer's deltas: numbers them without gaps, sends the first at once, and gathers what comes
//! while one is under way or [`GATHER`] has not passed.
//!
//! A user is told on the connection that is theirs now, and each connection is told one whole text. So the writer keeps
//! all of the text, and how much of it its present listener was told. Where another connection is the user's, the text
//! begins again there, with a delta that says so (`restart`). The numbers just go on.
//!
//! When does it notice? A post that finds its connection gone looks for the user at once. While the model is silent,
//! nothing is posted, so every [`AGAIN`] it looks where the user is. That makes a page that reloads show the answer
//! within half a second of its connection being open. What it meets there:
//!
//! - **Nobody.** The user is away. It looks again after [`AGAIN`], and loses nothing.
//! - **The same connection, gone.** Its handshake is still pending (a place is taken before the connection opens), or
//!   its line has just broken. It tries again after [`AGAIN`], for as long as the answer goes on: neither can be told
//!   from the other.
//! - **A post that failed for an unknown reason.** It may have arrived. So to the same connection the very same delta
//!   is sent again under its number, whatever that one meets; a client that has it drops the second. What has come
//!   meanwhile goes under the next number. To another connection, the text begins again anyway.
//! - **A client that reads slowly, or an account that is throttled.** The delta was not taken. What has come meanwhile
//!   goes along with the next.

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

/// Between two deltas of one answer.
const GATHER: Duration = Duration::from_millis(80);

/// Between two tries to reach a user, and two looks for a user to whom nothing is to be told just now.
pub(super) const AGAIN: Duration = Duration::from_millis(300);

/// Text in one delta: in JSON at most six times as many bytes, which fits a frame.
pub(super) const MAX_DELTA_BYTES: usize = 16 * 1024;

/// Dropped before it has finished, it stops at once: who has lost a message, or begins its answer anew, tells nothing
/// more of it.
#[derive(Debug)]
pub(super) struct Writer {
    pieces: Option<mpsc::UnboundedSender<String>>,
    task: JoinHandle<()>,
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Writer {
    /// `None` where a part of the answer may have been told before.
    pub(super) fn start(answerer: &Answerer, claim: &Claim) -> Option<Self> {
        if claim.repeated {
            return None;
        }
        // Unbounded, but what is in it is at most one answer.
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
            begun: false,
            unsure: None,
        };
        Some(Self { pieces: Some(pieces), task: tokio::spawn(state.run(received)) })
    }

    pub(super) fn write(&self, piece: &str) {
        // The task ends only after the sender.
        if let Some(pieces) = &self.pieces {
            let _ = pieces.send(piece.to_owned());
        }
    }

    /// Sends what is left. After it, no delta of this answer is under way.
    pub(super) async fn finish(mut self) {
        self.pieces = None;
        if let Err(error) = (&mut self.task).await {
            tracing::error!(%error, "The writer of an answer failed");
        }
    }
}

struct State {
    leases: Leases,
    push: Arc<dyn Push>,
    user: UserId,
    id: MessageId,
    /// All of the answer so far.
    text: String,
    /// Where the user is, as far as is known.
    address: Option<ConnectionId>,
    /// Who was told the first `told` bytes of the text.
    listener: Option<ConnectionId>,
    told: usize,
    /// Of the next delta.
    seq: u64,
    /// Somebody may have been told something.
    begun: bool,
    /// A delta of which nobody knows whether the listener has it.
    unsure: Option<Delta>,
}

/// A frame, and how much of the text is told with it.
#[derive(Clone)]
struct Delta {
    frame: String,
    end: usize,
}

impl State {
    async fn run(mut self, mut pieces: mpsc::UnboundedReceiver<String>) {
        let mut next_at = Instant::now();
        while self.gather(&mut pieces, next_at).await {
            next_at = Instant::now() + self.tell().await;
        }
        if self.told < self.text.len() {
            self.tell().await;
        }
    }

    /// Takes in what comes, until something can be done at `next_at`. `false`: it was the last.
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
                Some(piece) => self.text.push_str(&piece),
                None => return false,
            }
        }
    }

    /// Tells all that is left to tell to where the user is now. When to go on.
    async fn tell(&mut self) -> Duration {
        if self.address.is_none() || self.told == self.text.len() {
            self.look().await;
        }
        while let Some(address) = self.address.clone() {
            self.turn_to(&address);
            if self.told == self.text.len() {
                return GATHER;
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
                    // Perhaps the user has left it for another.
                    self.address = None;
                }
                Err(PushError::Failed(error)) => {
                    tracing::debug!(%error, message = %self.id, "A delta may not have been sent, it is sent again");
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

    /// Whoever has not been told the text so far is told it from the beginning.
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
