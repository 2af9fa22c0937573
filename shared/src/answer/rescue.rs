//! What waits although nobody has begun with it.
//!
//! A worker that dies while it has a message costs seconds: it claims nothing before it holds its job, and what it
//! holds comes back when the hold ends. One that dies before that (while it starts, or is throttled) costs the queue's
//! own visibility timeout, which AWS wants to be no shorter than the function's, and all that time the queue gives out
//! nothing of the conversation's group.
//!
//! So a client that waits has its message queued once more, by a heartbeat, in another group: the conversation's rescue
//! lane. There may now be two workers, and the claim keeps them apart:
//!
//! - *One answer.* As ever: only the token of the last claim ends a message.
//! - *Nobody is interrupted.* A claim of one lane is not taken by the other. The ordinary lane gets it when whoever
//!   claimed in the rescue lane must be dead; the rescue lane never gets what was begun in the ordinary one, whose hold
//!   brings it back.
//! - *Order.* Both answer a conversation in number order and stop at what the other has. The rescuer's job is then
//!   done; an ordinary one comes back, because it may be for a later message.
//!
//! A job too many finds its message ended and does nothing. So a long queue, in which messages wait as well, is not a
//! reason to know more.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::ids::UserId;
use crate::leases::Leases;
use crate::messages::{Messages, Status};
use crate::queue::Queue;
use crate::{Error, Result};

/// A worker begins well before that, with a cold start and all.
pub(super) const RESCUE_AFTER: Duration = Duration::from_secs(8);

/// Of a heartbeat's time: its client waits for it. What is not seen by then, the next one looks at.
const LOOK_FOR: Duration = Duration::from_secs(2);

#[derive(Debug, Clone)]
pub struct Rescuer {
    pub(crate) leases: Leases,
    pub(crate) messages: Messages,
    pub(crate) queue: Queue,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Rescuer {
    /// Queues again what of this user's nobody has begun with for too long.
    ///
    /// # Errors
    /// Where its time was over before it had seen all, or a service failed.
    pub async fn look_after(&self, user: &UserId) -> Result<()> {
        let looked = tokio::time::timeout(LOOK_FOR, self.look(user)).await;
        looked.unwrap_or_else(|_| Err(Error::OutOfTime { at: self.clock.now() }))
    }

    async fn look(&self, user: &UserId) -> Result<()> {
        let Some(lease) = self.leases.find(user).await? else { return Ok(()) };
        let now = self.clock.now();
        let mut at_work = HashSet::new();
        for (id, since) in &lease.pending {
            if now.since(*since) <= RESCUE_AFTER {
                break; // the oldest come first
            }
            let Some(message) = self.messages.find(user, id).await? else { continue };
            match message.status {
                // What is behind it waits for it.
                Status::Processing => {
                    at_work.insert(message.conversation);
                }
                Status::Queued if !at_work.contains(&message.conversation) => {
                    tracing::warn!(message = %id, "Nobody has begun with it, it is queued again");
                    self.queue.rescue(&message).await?;
                }
                _ => {}
            }
        }
        Ok(())
    }
}
