//! The frames on the wire, exactly as the contract has them. A frame stays under the gateway's 128 KB. If an answer
//! would not fit, long texts are left out and marked `truncated`. The history has them.

#[cfg(test)]
mod hostile;
mod message;
mod requests;

use serde::Serialize;

use crate::Error;
use crate::clock::Timestamp;
use crate::ids::MessageId;

pub use message::{Message, MessageError, MessageMedia};
pub use requests::{id_of, parse_cancel, parse_send_message, unroutable};

/// The largest frame that is sent: one byte less than 131,072 bytes, API Gateway's payload limit.
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
        /// The text begins again here: this is another connection, and it is told the whole text.
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

impl ServerFrame {
    pub fn error(id: Option<MessageId>, error: &Error) -> Self {
        let retry_after_ms = match error {
            Error::TooManyPending { retry_after_ms, .. } => Some(*retry_after_ms),
            _ => None,
        };
        Self::Error { id, code: error.code().to_owned(), message: error.public_message(), retry_after_ms }
    }

    /// The frame as it is sent. If it is too long, the message's own text is left out first, because the client has it,
    /// and then the answers' texts, the longest first.
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
        if message.text_bytes().is_some() {
            return Some(message);
        }
        replies.iter_mut().filter(|reply| reply.text_bytes().is_some()).max_by_key(|reply| reply.text_bytes())
    }
}

fn serialize(frame: &ServerFrame) -> String {
    serde_json::to_string(frame).expect("a frame has only string keys and plain values")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    use crate::ids::{ConversationId, UserId};
    use crate::messages::{Role, Status, StoredMessage};

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
            attempts: 0,
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
        insta::assert_json_snapshot!(reply("question", "answer"), @r#"
        {
          "id": "6f9619ff-8b86-4011-b42d-00c04fc964ff",
          "message": {
            "conversationId": "c",
            "createdAt": "1970-01-01T00:00:00.000Z",
            "id": "6f9619ff-8b86-4011-b42d-00c04fc964ff",
            "role": "user",
            "status": "done",
            "text": "question",
            "type": "text"
          },
          "replies": [
            {
              "conversationId": "c",
              "createdAt": "1970-01-01T00:00:00.000Z",
              "id": "6f9619ff-8b86-4011-b42d-00c04fc964ff",
              "role": "user",
              "status": "done",
              "text": "answer",
              "type": "text"
            }
          ],
          "type": "reply"
        }
        "#);
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
    fn an_answer_that_fits_no_frame_is_left_to_history() {
        let frame = reply("q", &"x".repeat(200_000));
        assert_eq!(frame["replies"][0]["truncated"], true);
    }
}
