//! Ending messages and telling their users how: what all functions do that have to do with answers, with a model or without.

use std::sync::Arc;
use std::time::Duration;

use crate::ids::{MessageId, UserId};
use crate::leases::Leases;
use crate::media::Media;
use crate::messages::{Claim, Claimed, Ending, Messages, Status, StoredMessage};
use crate::protocol::{Message, ServerFrame};
use crate::push::{Push, PushError};
use crate::{Error, Result};

/// Tries to tell an end before the message goes back to the queue.
const ATTEMPTS: u32 = 4;

const FIRST_PAUSE: Duration = Duration::from_millis(100);

#[derive(Debug, Clone)]
pub struct Finisher {
    messages: Messages,
    media: Media,
    leases: Leases,
    push: Arc<dyn Push>,
}

impl Finisher {
    pub fn new(messages: Messages, media: Media, leases: Leases, push: Arc<dyn Push>) -> Self {
        Self { messages, media, leases, push }
    }

    /// Ends a message that can't be answered, and tells its user.
    pub(crate) async fn give_up(&self, message: &StoredMessage) -> Result<()> {
        let Claimed::Yes(claim) = self.messages.claim(message).await? else { return Ok(()) };
        self.end_now(claim, Ending::Failed { code: "reply_failed", message: "It could not be answered".to_owned() })
            .await
    }

    /// Stops the answer to a message: at once where nobody has begun with it, otherwise whoever works on it does.
    ///
    /// # Errors
    /// [`Error::MessageNotFound`] when this user has no such message.
    pub async fn cancel(&self, user: &UserId, id: &MessageId) -> Result<()> {
        let message = self.messages.find(user, id).await?.ok_or(Error::MessageNotFound)?;
        if let Some(claim) = self.messages.cancel(&message).await? {
            self.end_now(claim, Ending::Cancelled { replies: Vec::new() }).await?;
        }
        Ok(())
    }

    async fn end_now(&self, claim: Claim, ending: Ending) -> Result<()> {
        let last_seq = claim.message.seq;
        match self.messages.end(claim, ending, None, last_seq).await? {
            Some((message, answers)) => self.tell(&message, &answers).await,
            None => Ok(()),
        }
    }

    /// A message whose conversation was deleted while it waited. Its user is told, if it was still waited for.
    pub(crate) async fn tell_deleted(&self, user: &UserId, message: &MessageId) -> Result<()> {
        if self.leases.uncount(user, std::slice::from_ref(message)).await? == 0 {
            return Ok(());
        }
        let frame = ServerFrame::error(Some(message.clone()), &Error::ConversationNotFound);
        self.deliver(user, &frame.to_json()).await
    }

    /// For a redelivery, or who asks for it: makes sure that an end was counted and told.
    pub(super) async fn tell_again(&self, message: &StoredMessage, answers: &[StoredMessage]) -> Result<()> {
        if !message.told {
            self.messages.uncount(message).await?;
        }
        self.tell(message, answers).await
    }

    /// Tells the user, wherever connected now, how a message ended. Nobody connected: history tells.
    pub(super) async fn tell(&self, message: &StoredMessage, answers: &[StoredMessage]) -> Result<()> {
        let frame = match (&message.status, &message.error) {
            (Status::Failed, Some((code, detail))) => ServerFrame::Error {
                id: Some(message.id.clone()),
                code: code.clone(),
                message: detail.clone(),
                retry_after_ms: None,
            },
            _ => ServerFrame::Reply {
                id: message.id.clone(),
                message: Message::of(message, &self.media).await?,
                replies: Message::of_all(answers, &self.media).await?,
            },
        };
        self.deliver(&message.user, &frame.to_json()).await?;
        self.messages.mark_told(message).await
    }

    /// To a client that does not read, nothing can be told: history tells, as if it were away. A connection that is gone is
    /// tried again, too: it may be one whose handshake is still pending.
    async fn deliver(&self, user: &UserId, frame: &str) -> Result<()> {
        for attempt in 0..ATTEMPTS {
            let Some(address) = self.leases.address(user).await? else { return Ok(()) };
            let last = attempt + 1 == ATTEMPTS;
            match self.push.post(&address, frame.to_owned()).await {
                Ok(()) => return Ok(()),
                Err(PushError::Gone | PushError::Slow) if last => {
                    tracing::info!(connection = %address, "It can't be told; it will find the answer in its history");
                    return Ok(());
                }
                Err(PushError::Failed(error)) if last => return Err(error),
                Err(PushError::Gone | PushError::Slow | PushError::Failed(_)) => {
                    tokio::time::sleep(FIRST_PAUSE.saturating_mul(1 << (2 * attempt))).await;
                }
            }
        }
        Err(Error::Contended { operation: "PostToConnection", attempts: ATTEMPTS })
    }
}
