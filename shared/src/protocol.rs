//! The frames on the wire, exactly as the contract has them. A frame stays under the gateway's 128 KB: where an answer would
//! not fit, long texts are left out and marked `truncated`; history has them.

use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::clock::Timestamp;
use crate::ids::{ConversationId, MediaKey, MessageId};
use crate::media::{Attachment, Kind};
use crate::messages::{Draft, Follows, Role, StoredMessage};
use crate::{Error, Result};

/// The largest frame that is sent: below 131,072 bytes, API Gateway's payload limit.
pub const MAX_FRAME_BYTES: usize = 128 * 1024 - 1;

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum ServerFrame {
    Accepted {
        id: MessageId,
        duplicate: bool,
        message: Message,
    },
    Delta {
        id: MessageId,
        seq: u64,
        text: String,
        /// The text begins again here: another connection is told all of it.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        restart: bool,
    },
    Reply {
        id: MessageId,
        message: Message,
        replies: Vec<Message>,
    },
    #[serde(rename_all = "camelCase")]
    Heartbeat {
        lease_expires_at: Timestamp,
    },
    #[serde(rename_all = "camelCase")]
    Error {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<MessageId>,
        code: String,
        message: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<u64>,
    },
    Closing {
        code: ClosingCode,
        message: String,
    },
}

#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ClosingCode {
    FirstMessage,
    LeaseExpired,
    Replaced,
    ClosedByAdmin,
}

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
    /// Of an answer: the message that it answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    reply_to: Option<MessageId>,
    /// The message or answer that it follows; empty at the beginning of a conversation. Absent from what was stored before there
    /// were parents: that follows what came before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    parent_id: Option<String>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    error: Option<MessageError>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// In a frame: its text did not fit, and is to be had here.
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
    /// Good for a while; ask again for another.
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
    /// `url` is its media's address.
    pub fn new(stored: &StoredMessage, url: Option<String>) -> Self {
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

    fn truncate(&mut self) {
        self.text = None;
        self.truncated = true;
    }
}

impl ServerFrame {
    pub fn error(id: Option<MessageId>, error: &Error) -> Self {
        let retry_after_ms = match error {
            Error::TooManyPending { retry_after_ms, .. } => Some(*retry_after_ms),
            _ => None,
        };
        Self::Error { id, code: error.code().to_owned(), message: error.public_message(), retry_after_ms }
    }

    /// As it is sent. The client has its own text, so that goes first; then the answers', longest first.
    pub fn to_json(mut self) -> String {
        let mut json = serialize(&self);
        while json.len() > MAX_FRAME_BYTES {
            let Some(longest) = self.longest_text() else { break };
            longest.truncate();
            json = serialize(&self);
        }
        json
    }

    fn longest_text(&mut self) -> Option<&mut Message> {
        let (message, replies) = match self {
            Self::Accepted { message, .. } => (message, &mut [][..]),
            Self::Reply { message, replies, .. } => (message, &mut replies[..]),
            _ => return None,
        };
        if message.text.is_some() {
            return Some(message);
        }
        replies.iter_mut().filter(|reply| reply.text.is_some()).max_by_key(|reply| reply.text.as_ref().map(String::len))
    }
}

fn serialize(frame: &ServerFrame) -> String {
    serde_json::to_string(frame).expect("a frame has only string keys and plain values")
}

/// What a client sent with `sendMessage`. The error carries the id, if the frame had a usable one.
pub fn parse_send_message(body: &str, max_text_bytes: usize) -> Result<Draft, (Option<MessageId>, Error)> {
    let frame = parse_object(body).map_err(|error| (None, error))?;
    let id = frame_id(&frame);
    draft(&frame, max_text_bytes).map_err(|error| (id, error))
}

/// The message that a client wants no answer to any more.
pub fn parse_cancel(body: &str) -> Result<MessageId> {
    let frame = parse_object(body)?;
    MessageId::parse(string(&frame, "id")?.ok_or_else(|| Error::bad_request("id is missing"))?)
}

/// The id that an answer to this frame can carry, whatever else is wrong with it.
pub fn id_of(body: &str) -> Option<MessageId> {
    parse_object(body).ok().as_ref().and_then(frame_id)
}

fn frame_id(frame: &Map<String, Value>) -> Option<MessageId> {
    frame.get("id").and_then(Value::as_str).and_then(|id| MessageId::parse(id).ok())
}

fn parse_object(body: &str) -> Result<Map<String, Value>> {
    serde_json::from_str(body).map_err(|_| Error::bad_request("A frame must be one JSON object"))
}

fn draft(frame: &Map<String, Value>, max_text_bytes: usize) -> Result<Draft> {
    let id = MessageId::parse(string(frame, "id")?.ok_or_else(|| Error::bad_request("id is missing"))?)?;
    let conversation =
        string(frame, "conversationId")?.ok_or_else(|| Error::bad_request("conversationId is missing"))?;
    let text = string(frame, "text")?.unwrap_or_default();
    let media = string(frame, "media")?;
    let follows = Follows::parse(string(frame, "parentId")?);
    if text.len() > max_text_bytes {
        return Err(Error::TextTooLarge { actual_bytes: text.len(), limit_bytes: max_text_bytes });
    }
    if text.is_empty() && media.is_none() {
        return Err(Error::bad_request("text or media is missing"));
    }
    let media = media.map(MediaKey::parse).transpose()?;
    Ok(Draft { id, conversation: ConversationId::parse(conversation)?, text: text.to_owned(), media, follows })
}

/// `null` counts as absent.
fn string<'a>(frame: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>> {
    match frame.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Error::bad_request(format!("{name} must be a string"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::UserId;
    use crate::messages::Status;

    const ID: &str = "6f9619ff-8b86-4011-b42d-00c04fc964ff";

    fn stored(text: String) -> StoredMessage {
        StoredMessage {
            id: MessageId::parse(ID).expect("a UUID"),
            user: UserId::parse("u").expect("an id"),
            conversation: ConversationId::parse("c").expect("an id"),
            seq: 1,
            role: Role::User,
            text,
            status: Status::Done,
            reply_to: None,
            parent: None,
            first_answer: None,
            error: None,
            media: None,
            created_at: Timestamp(0),
            claimed_at: None,
            cancelled: false,
            redriven: 0,
            told: false,
        }
    }

    fn reply(text: &str, answer: &str) -> Value {
        let frame = ServerFrame::Reply {
            id: MessageId::parse(ID).expect("a UUID"),
            message: Message::new(&stored(text.to_owned()), None),
            replies: vec![Message::new(&stored(answer.to_owned()), None)],
        };
        let json = frame.to_json();
        assert!(json.len() <= MAX_FRAME_BYTES, "{} bytes", json.len());
        serde_json::from_str(&json).expect("JSON")
    }

    #[test]
    fn a_reply_that_fits_is_whole() {
        let frame = reply("question", "answer");
        assert_eq!(frame["type"], "reply");
        assert_eq!(frame["message"]["text"], "question");
        assert_eq!(frame["replies"][0]["text"], "answer");
        assert!(frame["message"].get("truncated").is_none());
    }

    #[test]
    fn where_a_reply_would_not_fit_the_clients_own_text_goes_first() {
        // Control characters are six bytes each in JSON.
        let frame = reply(&"\u{1}".repeat(12_000), &"\u{1}".repeat(12_000));
        assert_eq!(frame["message"]["truncated"], true);
        assert!(frame["message"].get("text").is_none());
        assert_eq!(frame["replies"][0]["text"].as_str().map(str::len), Some(12_000));
    }

    #[test]
    fn an_answer_beyond_a_frame_is_left_to_history() {
        let frame = reply("q", &"x".repeat(200_000));
        assert_eq!(frame["replies"][0]["truncated"], true);
    }

    #[test]
    fn what_is_wrong_with_a_frame_is_said_with_its_id() {
        let refuse = |body: &str| parse_send_message(body, 10).expect_err(body);
        let frame = |rest: &str| format!(r#"{{"action":"sendMessage","id":"{ID}",{rest}}}"#);
        for (body, code, has_id) in [
            ("nonsense".to_owned(), "bad_request", false),
            ("[]".to_owned(), "bad_request", false),
            (r#"{"conversationId":"c","text":"x"}"#.to_owned(), "bad_request", false),
            (r#"{"id":"no uuid","conversationId":"c","text":"x"}"#.to_owned(), "bad_request", false),
            (r#"{"id":7,"conversationId":"c","text":"x"}"#.to_owned(), "bad_request", false),
            (frame(r#""text":"x""#), "bad_request", true),
            (frame(r#""conversationId":7,"text":"x""#), "bad_request", true),
            (frame(r#""conversationId":"c""#), "bad_request", true),
            (frame(r#""conversationId":"c","text":"""#), "bad_request", true),
            (frame(r#""conversationId":"c","text":["x"]"#), "bad_request", true),
            (frame(r#""conversationId":"c","text":"x","parentId":7"#), "bad_request", true),
            (frame(r#""conversationId":"c","text":"12345678901""#), "too_large", true),
            (frame(r#""conversationId":"c","media":"nothing""#), "media_not_found", true),
            (frame(r#""conversationId":"no such one!","text":"x""#), "conversation_not_found", true),
        ] {
            let (id, error) = refuse(&body);
            assert_eq!((error.code(), id.is_some()), (code, has_id), "{body}: {error}");
        }
    }

    #[test]
    fn the_text_limit_counts_bytes() {
        let body = |text: &str| format!(r#"{{"id":"{ID}","conversationId":"c","text":"{text}"}}"#);
        assert!(parse_send_message(&body("1234567890"), 10).is_ok());
        assert!(parse_send_message(&body("äöüäö"), 10).is_ok());
        assert!(parse_send_message(&body("äöüäöx"), 10).is_err());
    }
}
