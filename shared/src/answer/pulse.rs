//! A sign that workers live: the time at which one of them last held a message.
//!
//! A message with which nobody begins may wait in a long queue, where patience helps, or for workers that can't start,
//! where it does not. Both look the same to whoever waits. They differ in this: in a long queue, workers hold messages
//! all the time. The janitor looks at it.
//!
//! One item, which each worker writes at most every [`EVERY`]: 500 of them make 50 writes a second, which one item can
//! take. A write that fails is no matter, because there are others.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::messages::Messages;

/// Between two signs of one worker.
const EVERY: Duration = Duration::from_secs(10);

/// Workers of which nothing was heard for longer don't live: they would have given several signs.
pub(crate) const SILENT_AFTER: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Default)]
pub(crate) struct Pulse {
    last: Arc<Mutex<Option<Timestamp>>>,
}

impl Pulse {
    /// This worker lives `now`, and says so if it has not just done so.
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
