//! MESSAGE: a message or an answer as clients see it, in frames and in the REST API.
//!
//! Only this module of the library uses OpenAPI. The REST API documents the very type that it serves, so the schema is
//! derived here, beside the fields.

use serde::Serialize;
use utoipa::ToSchema;

use crate::Result;
use crate::clock::Timestamp;
use crate::ids::{ConversationId, MediaKey, MessageId};
use crate::media::{Attachment, Kind, Media};
use crate::messages::{Role, StoredMessage};

/// A message or an answer to one.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Message {
    #[schema(value_type = String)]
    id: MessageId,
    #[schema(value_type = String)]
    conversation_id: ConversationId,
    /// `user` or `assistant`
    role: &'static str,
    /// `text`, `image`, `audio` or `video`
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    media: Option<MessageMedia>,
    /// `queued`, `processing`, `done`, `failed` or `cancelled`
    status: &'static str,
    /// For an answer: the message that it answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    reply_to: Option<MessageId>,
    /// The message or answer that this one follows, or empty at the beginning of a conversation. Absent for items that
    /// were stored before there were parents; they follow the item before them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    parent_id: Option<String>,
    /// Why the message failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    error: Option<MessageError>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// In a frame: the text did not fit. This API has it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    truncated: bool,
}

/// An image, audio or video.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MessageMedia {
    #[schema(value_type = String)]
    key: MediaKey,
    /// Works for a limited time. Read the message again for a fresh one.
    url: String,
    content_type: String,
    bytes: u64,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct MessageError {
    code: String,
    message: String,
}

impl Message {
    /// The message as clients see it. The address of its media works for a limited time from now.
    pub async fn of(stored: &StoredMessage, media: &Media) -> Result<Self> {
        let url = match &stored.media {
            Some(attachment) => Some(media.link(&stored.user, &attachment.key).await?),
            None => None,
        };
        Ok(Self::new(stored, url))
    }

    /// Several messages.
    pub async fn of_all(stored: &[StoredMessage], media: &Media) -> Result<Vec<Self>> {
        futures_util::future::try_join_all(stored.iter().map(|message| Self::of(message, media))).await
    }

    /// `url` is the address of its media.
    pub(crate) fn new(stored: &StoredMessage, url: Option<String>) -> Self {
        let media = stored.media.as_ref().zip(url).map(|(attachment, url)| MessageMedia {
            key: attachment.key.clone(),
            url,
            content_type: attachment.content_type.clone(),
            bytes: attachment.bytes,
        });
        Self {
            id: stored.id.clone(),
            conversation_id: stored.conversation.clone(),
            role: if stored.role == Role::User { "user" } else { "assistant" },
            kind: stored.media.as_ref().and_then(Attachment::kind).map_or("text", Kind::as_str),
            text: (media.is_none() || !stored.text.is_empty()).then(|| stored.text.clone()),
            media,
            status: stored.status.as_str(),
            reply_to: stored.reply_to.clone(),
            parent_id: stored
                .parent
                .as_ref()
                .map(|parent| parent.id.as_ref().map_or_else(String::new, |id| id.as_str().to_owned())),
            error: stored.error.clone().map(|(code, message)| MessageError { code, message }),
            created_at: stored.created_at,
            truncated: false,
        }
    }

    pub(super) fn text_bytes(&self) -> Option<usize> {
        self.text.as_ref().map(String::len)
    }

    pub(super) fn truncate(&mut self) {
        self.text = None;
        self.truncated = true;
    }
}
