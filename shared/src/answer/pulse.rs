//! A sign that workers live: the time at which one of them last held a message.
//!
//! No worker begins with a message if the queue is long, or if workers can't start. Waiting helps only in the first
//! case. The message looks the same in both. But while the queue is long, workers hold messages all the time, and each
//! of them gives this sign. The janitor reads it.
//!
//! The sign is one item. Each worker writes it at most every [`EVERY`]. So 500 workers make 50 writes a second, which
//! one item can take. A write that fails does no harm, because there are others.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::messages::Messages;

/// The least time between two signs of one worker.
const EVERY: Duration = Duration::from_secs(10);

/// If there was no sign for longer than this, no worker lives: it would have given several signs.
pub(crate) const SILENT_AFTER: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Default)]
pub(crate) struct Pulse {
    last: Arc<Mutex<Option<Timestamp>>>,
}

impl Pulse {
    /// Notes that this worker lives `now`, unless it has just done so.
    pub(super) async fn beat(&self, messages: &Messages, now: Timestamp) {
        {
            let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            if last.is_some_and(|last| now.since(last) < EVERY) {
                return;
            }
            *last = Some(now);
        }
        if let Err(error) = messages.note_worker(now).await {
            tracing::debug!(%error, "Could not note that a worker lives");
        }
    }
}
