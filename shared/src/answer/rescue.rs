//! Rescues messages that wait although no worker has begun with them.
//!
//! A worker that dies while it has a message costs seconds: it claims nothing before it holds its job, and the job
//! comes back when the hold ends. A worker that dies before that (while it starts, or because it is throttled) costs
//! the queue's own visibility timeout. AWS wants that to be at least as long as the function's timeout. All that time
//! the queue hands out nothing of the conversation's group.
//!
//! So a heartbeat of a client that waits queues the message once more, in another group: the conversation's rescue
//! lane. Now there may be two workers, and the claim keeps them apart:
//!
//! - *One answer.* As always, only the token of the last claim ends a message.
//! - *Nobody is interrupted.* One lane does not take a claim of the other. The ordinary lane takes a message that was
//!   claimed in the rescue lane only when that worker must be dead. The rescue lane never takes a message that was
//!   begun in the ordinary lane: the hold there brings it back.
//! - *Order.* Both lanes answer a conversation in number order and stop at a message that the other lane has. The
//!   rescue job is then done. An ordinary job comes back, because it may be for a later message.
//!
//! A surplus job finds its message ended and told, and does nothing. If it comes between telling and the note that the
//! end was told, it tells the same end again. So the rescuer need not know whether a message waits because of a dead
//! worker or because the queue is long.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Clock, Timestamp};
use crate::ids::{MessageId, UserId};
use crate::messages::{Messages, Status};
use crate::queue::Queue;
use crate::{Error, Result};

/// A healthy worker begins well before this, even with a cold start.
pub(super) const RESCUE_AFTER: Duration = Duration::from_secs(8);

/// The part of a heartbeat's time that this may take, because the client waits for the heartbeat. The next heartbeat
/// looks at the rest.
const LOOK_FOR: Duration = Duration::from_secs(2);

#[derive(Debug, Clone)]
pub struct Rescuer {
    pub(crate) messages: Messages,
    pub(crate) queue: Queue,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Rescuer {
    /// Queues those of a user's unanswered messages again that have waited too long without a worker. The oldest come
    /// first.
    ///
    /// # Errors
    /// If the time was up before all messages were looked at, or a service failed.
    pub async fn look_after(&self, user: &UserId, pending: &[(MessageId, Timestamp)]) -> Result<()> {
        let looked = tokio::time::timeout(LOOK_FOR, self.look(user, pending)).await;
        looked.unwrap_or_else(|_| Err(Error::OutOfTime { at: self.clock.now() }))
    }

    async fn look(&self, user: &UserId, pending: &[(MessageId, Timestamp)]) -> Result<()> {
        let now = self.clock.now();
        let mut at_work = HashSet::new();
        for (id, since) in pending {
            if now.since(*since) <= RESCUE_AFTER {
                break; // the oldest come first
            }
            let Some(message) = self.messages.find(user, id).await? else { continue };
            match message.status {
                // Later messages of the conversation wait for this one.
                Status::Processing => {
                    at_work.insert(message.conversation);
                }
                Status::Queued if !at_work.contains(&message.conversation) => {
                    tracing::warn!(message = %id, "No worker has begun with the message; it is queued again");
                    self.queue.rescue(&message).await?;
                }
                _ => {}
            }
        }
        Ok(())
    }
}
