//! The one writer of an answer's deltas: numbers them without gaps, sends the first at once, and gathers what comes while
//! one is under way or [`GATHER`] has not passed. A client that is away or slow loses no text: it is kept for the next delta.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::Answerer;
use crate::ids::{ConnectionId, MessageId, UserId};
use crate::leases::Leases;
use crate::messages::Claim;
use crate::protocol::ServerFrame;
use crate::push::{Push, PushError};

/// Between two deltas of one answer.
const GATHER: Duration = Duration::from_millis(80);

/// Before a connection that was gone or slow is tried again.
const AWAY: Duration = Duration::from_millis(500);

/// Text in one delta: in JSON at most six times as many bytes, which fits a frame.
const MAX_DELTA_BYTES: usize = 16 * 1024;

#[derive(Debug)]
pub(super) struct Writer {
    pieces: mpsc::UnboundedSender<String>,
    task: JoinHandle<()>,
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
            leases: answerer.finisher.leases.clone(),
            push: Arc::clone(&answerer.finisher.push),
            user: claim.message.user.clone(),
            id: claim.message.id.clone(),
            seq: 0,
            text: String::new(),
            address: None,
        };
        Some(Self { pieces, task: tokio::spawn(state.run(received)) })
    }

    pub(super) fn write(&self, piece: &str) {
        // The task ends only after the sender.
        let _ = self.pieces.send(piece.to_owned());
    }

    /// Sends what is left. After it, no delta of this answer is under way.
    pub(super) async fn finish(self) {
        drop(self.pieces);
        if let Err(error) = self.task.await {
            tracing::error!(%error, "The writer of an answer failed");
        }
    }
}

struct State {
    leases: Leases,
    push: Arc<dyn Push>,
    user: UserId,
    id: MessageId,
    seq: u64,
    /// Not yet told.
    text: String,
    address: Option<ConnectionId>,
}

impl State {
    async fn run(mut self, mut pieces: mpsc::UnboundedReceiver<String>) {
        let mut open = true;
        let mut next_at = Instant::now();
        while open {
            // Gather until the next delta may be sent.
            while open && (self.text.is_empty() || Instant::now() < next_at) {
                let piece = if self.text.is_empty() {
                    pieces.recv().await
                } else {
                    match tokio::time::timeout_at(next_at, pieces.recv()).await {
                        Ok(piece) => piece,
                        Err(_) => break,
                    }
                };
                match piece {
                    Some(piece) => self.text.push_str(&piece),
                    None => open = false,
                }
            }
            while let Ok(piece) = pieces.try_recv() {
                self.text.push_str(&piece);
            }
            let mut told = true;
            while told && !self.text.is_empty() {
                told = self.tell_some().await;
            }
            next_at = Instant::now() + if told { GATHER } else { AWAY };
        }
    }

    /// One delta, to where the user is now.
    async fn tell_some(&mut self) -> bool {
        let mut end = self.text.len().min(MAX_DELTA_BYTES);
        while !self.text.is_char_boundary(end) {
            end -= 1;
        }
        let frame =
            ServerFrame::Delta { id: self.id.clone(), seq: self.seq, text: self.text[..end].to_owned() }.to_json();
        for _ in 0..2 {
            if self.address.is_none() {
                self.address = self.leases.address(&self.user).await.unwrap_or_default();
            }
            let Some(address) = &self.address else { return false };
            match self.push.post(address, frame.clone()).await {
                Ok(()) => {
                    self.text.drain(..end);
                    self.seq += 1;
                    return true;
                }
                // Perhaps on another connection already: looked up once more.
                Err(PushError::Gone) => self.address = None,
                Err(PushError::Slow) => return false,
                Err(PushError::Failed(error)) => {
                    tracing::debug!(%error, message = %self.id, "A delta was not sent, its text is kept");
                    return false;
                }
            }
        }
        false
    }
}
