//! What no worker could answer: a job that was received too often ends in the dead-letter queue, and here.
//!
//! Its message is ended as failed and its user is told, so nobody waits for what will not come; the queue has let go of
//! the conversation by then, so whatever follows is answered. A job is not what counts, its message is: one that has
//! ended meanwhile, or was deleted, is told at most. So it does no harm when a job comes here twice, or when somebody
//! moves it back to the queue that it came from: a worker that finds its message ended does nothing.
//!
//! A worker may be at the message all the same, by another job of its conversation. It is left to that worker
//! ([`Messages::claim_abandoned`]), and the job stays in the dead-letter queue and is looked at again.

use super::{CLAIM, Finisher};
use crate::messages::Messages;
use crate::queue::Job;
use crate::{Error, Result};

#[derive(Debug, Clone)]
pub struct DeadLetters {
    pub(crate) finisher: Finisher,
    pub(crate) messages: Messages,
}

impl DeadLetters {
    /// Ends the message of a dead `job`.
    ///
    /// # Errors
    /// When it is to be tried again: the job goes back to the dead-letter queue.
    pub async fn end(&self, job: &Job) -> Result<()> {
        let Some(message) = self.messages.message_at(&job.conversation_id, job.seq).await? else {
            return self.finisher.tell_deleted(&job.user_id, &job.message_id).await;
        };
        if message.status.is_final() {
            if message.told && !job.tell {
                return Ok(());
            }
            let mut log = self.messages.log(&job.conversation_id, job.seq).await?;
            let answers = log.answers(&message).await?;
            return self.finisher.tell_again(&message, &answers).await;
        }
        tracing::error!(message = %message.id, "Given up: its job was received too often and never done");
        if self.finisher.give_up(&message, super::UNANSWERED).await? {
            return Ok(());
        }
        Err(Error::Contended { operation: CLAIM, attempts: 1 })
    }
}
