//! Ends messages that no worker could answer. A job that was received too often goes to the dead-letter queue and then
//! comes here.
//!
//! Its message ends as failed and its user is told, so the user does not wait in vain. The queue has let go of the
//! conversation by then, so later messages are answered. Only the state of the message decides. If the message has
//! ended meanwhile or was deleted, its user may be told, and nothing else happens. So a job may come here twice. An
//! operator may also move it back to its first queue, because a worker does nothing with a message that has
//! ended and was told.
//!
//! A worker may have the message at this moment, through another job of the conversation. The message is then left to
//! that worker ([`Messages::claim_abandoned`]). The job stays in the dead-letter queue and is looked at again.

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
    /// If a worker has the message or a service failed. The job must go back to the dead-letter queue for another try.
    pub async fn end(&self, job: &Job) -> Result<()> {
        let Some(message) = self.messages.message_at(&job.conversation_id, job.seq).await? else {
            return self.finisher.tell_deleted(&job.user_id, &job.message_id).await;
        };
        if message.status.is_final() {
            if message.told && !job.tell {
                return Ok(());
            }
            let mut log = self.messages.log(&job.conversation_id, job.seq, 0).await?;
            let answers = log.answers(&message).await?;
            return self.finisher.tell_again(&message, &answers).await;
        }
        tracing::error!(message = %message.id, "The message is given up: its job was received too often");
        if self.finisher.give_up(&message, super::UNANSWERED).await? {
            return Ok(());
        }
        Err(Error::Contended { operation: CLAIM, attempts: 1 })
    }
}
