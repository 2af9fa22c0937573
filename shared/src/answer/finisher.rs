//! Ends messages and tells their users. All functions that end a message use this, whether or not they have a model.
//!
//! There are three outcomes: the user is told, the telling is owed, or nobody is connected. Telling is tried for a
//! short while. If the connected user can't be told, that is written down in the user's item, and the job is done, so
//! the conversation goes on. The janitor has the end told again, every minute, until somebody was told or the user is
//! no longer connected. A user who connects later reads the history, which had the end first. If the worker dies after
//! the message has ended and before one of the three is reached, the job comes back, and telling starts again. So no
//! end is marked as told before anybody has heard of it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::ids::{ConnectionId, MessageId, UserId};
use crate::leases::Leases;
use crate::media::Media;
use crate::messages::{Claim, Claimed, Ended, Ending, Messages, Status, StoredMessage};
use crate::protocol::{Message, ServerFrame};
use crate::push::Push;
use crate::{Error, Result};

/// How long telling an end is tried. The conversation waits meanwhile. After that the telling is owed.
const PATIENCE: Duration = Duration::from_secs(3);

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

    /// Ends a message that can't be answered, and tells its user these words. Returns `false` if a worker has it.
    pub(crate) async fn give_up(&self, message: &StoredMessage, words: &str) -> Result<bool> {
        match self.messages.claim_abandoned(message).await? {
            Claimed::Yes(claim) => {
                let ended = self.end_unanswered(claim.clone(), words).await;
                if ended.is_err()
                    && let Err(error) = self.messages.put_back(&claim).await
                {
                    tracing::debug!(%error, message = %message.id, "It is taken for begun until a claim has ended");
                }
                ended.map(|()| true)
            }
            Claimed::Ended(_) | Claimed::Deleted => Ok(true),
            Claimed::Elsewhere => Ok(false),
        }
    }

    pub(super) async fn end_unanswered(&self, claim: Claim, words: &str) -> Result<()> {
        self.end_now(claim, Ending::Failed { code: "reply_failed", message: words.to_owned() }).await
    }

    /// Stops the answer to a message. If nobody has begun with the message, it ends at once. Otherwise the worker that
    /// has it stops.
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
        match self.messages.end_at(claim, ending, None, last_seq, None).await? {
            Some(ended) => self.tell(&ended).await,
            None => Ok(()),
        }
    }

    /// Tells the user that the conversation of a message was deleted while the message waited. Does so only if the
    /// message was still counted.
    pub(crate) async fn tell_deleted(&self, user: &UserId, message: &MessageId) -> Result<()> {
        if self.leases.uncount(user, std::slice::from_ref(message)).await? == 0 {
            return Ok(());
        }
        let frame = ServerFrame::error(Some(message.clone()), &Error::ConversationNotFound);
        // If this can't be told, it does not matter: the user finds the conversation gone.
        self.deliver(user, None, &frame.to_json()).await.map(|_| ())
    }

    /// For a redelivery, or for a user who asks: makes sure that an end was counted and told.
    pub(super) async fn tell_again(&self, message: &StoredMessage, answers: &[StoredMessage]) -> Result<()> {
        if !message.told {
            self.messages.uncount(message).await?;
        }
        if self.tell_or_owe(message, answers, None).await? {
            self.leases.settle(&message.user, &message.id).await?;
        }
        Ok(())
    }

    /// Tells the user, at the present connection, how a message ended. If nobody is connected, the history has it.
    pub(super) async fn tell(&self, ended: &Ended) -> Result<()> {
        self.tell_or_owe(&ended.message, &ended.answers, ended.at.as_ref()).await.map(|_| ())
    }

    async fn tell_or_owe(
        &self,
        message: &StoredMessage,
        answers: &[StoredMessage],
        at: Option<&ConnectionId>,
    ) -> Result<bool> {
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
        let told = self.deliver(&message.user, at, &frame.to_json()).await?;
        if told {
            self.messages.mark_told(message).await?;
        } else {
            self.leases.owe(&message.user, &message.id).await?;
        }
        Ok(told)
    }

    /// `false`: a user is connected and could not be told. If nobody is connected, the history has the end.
    ///
    /// `at` is where the user is, if the caller has just found out.
    ///
    /// The reason of a failure does not matter. A connection that seems gone may have a pending handshake. One that
    /// takes no more frames may belong to a throttled account. A post that failed may have arrived, and then the user
    /// is told twice.
    async fn deliver(&self, user: &UserId, at: Option<&ConnectionId>, frame: &str) -> Result<bool> {
        let (began, mut pause, mut known) = (Instant::now(), FIRST_PAUSE, at.cloned());
        loop {
            let address = match known.take() {
                Some(address) => Some(address),
                None => self.leases.address(user).await?,
            };
            let Some(address) = address else { return Ok(true) };
            let Err(error) = self.push.post(&address, frame.to_owned()).await else { return Ok(true) };
            if began.elapsed() + pause > PATIENCE {
                tracing::info!(connection = %address, "The user could not be told; the janitor tries again: {error}");
                return Ok(false);
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
    }
}
