//! A history has what clients did and saw, samples of the stack's state, and in the end what the stack has stored. It
//! has one JSON object a line, in the order in which the lines were written.
//!
//! The line of an action is written before the action has an effect (`sent` before the frame leaves). The line of an
//! observation is written after it (`frame` when the frame has arrived). So if an observation comes before an action in
//! the file, it also happened before that action.

use std::fmt;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use serde::de::{MapAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Deserializer, Serialize};

/// A line, with its time in milliseconds since the beginning.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Line {
    pub t: u64,
    pub e: Event,
}

/// The number of a connection, unique in its history.
pub type Conn = u32;

#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Event {
    /// The first line.
    Began {
        seed: u64,
        max_clients: u32,
        max_processing: u32,
        /// Whether services may fail and processes may die. Some rules hold only if they don't.
        faults: bool,
    },
    Connecting {
        conn: Conn,
        user: String,
        query: String,
    },
    Connected {
        conn: Conn,
    },
    /// The handshake failed. The status is 0 if there was no answer.
    Refused {
        conn: Conn,
        status: u16,
    },
    /// A message is about to leave.
    Sent {
        conn: Conn,
        id: String,
        conversation: String,
        text: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        media: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        parent: Option<String>,
    },
    Cancel {
        conn: Conn,
        id: String,
    },
    Beat {
        conn: Conn,
    },
    Frame {
        conn: Conn,
        frame: Frame,
    },
    /// The client stops reading from its connection, or goes on with it.
    Reading {
        conn: Conn,
        on: bool,
    },
    /// The connection has ended. `wanted` says whether the client has ended it.
    Closed {
        conn: Conn,
        wanted: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        code: Option<u16>,
    },
    /// A conversation was made.
    Made {
        user: String,
        conversation: String,
    },
    /// The deletion of a conversation is asked for.
    Deleting {
        user: String,
        conversation: String,
    },
    /// The request to delete was answered.
    Deleted {
        user: String,
        conversation: String,
        status: u16,
    },
    /// The stack's state at one moment.
    Sample {
        /// The leases that have not ended.
        leases: Vec<Lease>,
        /// The connection of each slot that is taken.
        slots: Vec<String>,
        /// The most messages in processing at once since the stack was started.
        processing: u32,
    },
    /// The whole stack was killed.
    Killed {
        processing: u32,
    },
    Restarted,
    FaultsEnded,
    /// All messages have ended, and their users had the time to be told.
    Settled,
    /// The items of a conversation, read over REST. `None` means that the conversation does not exist.
    History {
        user: String,
        conversation: String,
        items: Option<Vec<Message>>,
        /// Whether it was read after the end, when nothing changes any more.
        last: bool,
    },
    /// The objects under `media/`, and the objects that are noted as about to be used.
    Objects {
        stored: Vec<String>,
        held: Vec<String>,
    },
    /// Another event that a campaign counts.
    Note {
        what: String,
    },
    /// The last line.
    Ended,
}

/// A user's place.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
pub struct Lease {
    pub user: String,
    pub connection: String,
}

/// A frame that a client was told.
#[derive(Debug, Clone, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Frame {
    /// The `type` of the frame. It is empty in the gateway's own frames.
    #[serde(rename = "type", default)]
    pub kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duplicate: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub restart: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<Said>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replies: Vec<Message>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
}

impl Frame {
    /// The MESSAGE that it carries.
    pub fn message(&self) -> Option<&Message> {
        match &self.message {
            Some(Said::Message(message)) => Some(message),
            _ => None,
        }
    }
}

/// `message` is a MESSAGE in some frames and a sentence in others.
#[derive(Debug, Clone, Serialize, PartialEq, Eq)]
#[serde(untagged)]
pub enum Said {
    Message(Box<Message>),
    Sentence(String),
}

/// This is written by hand, because serde reads the input of an untagged enum twice.
impl<'de> Deserialize<'de> for Said {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Said;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a MESSAGE or a sentence")
            }

            fn visit_str<E>(self, text: &str) -> Result<Said, E> {
                Ok(Said::Sentence(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Said, A::Error> {
                Message::deserialize(MapAccessDeserializer::new(map)).map(|message| Said::Message(Box::new(message)))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// MESSAGE of the contract. It has only the fields that the rules need.
#[derive(Debug, Clone, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Message {
    pub id: String,
    pub conversation_id: String,
    pub role: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media: Option<Media>,
    pub status: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
}

impl Message {
    pub fn is_from_user(&self) -> bool {
        self.role == "user"
    }

    /// Whether it has ended.
    pub fn is_final(&self) -> bool {
        matches!(self.status.as_str(), "done" | "failed" | "cancelled")
    }
}

#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
pub struct Media {
    pub key: String,
}

#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
pub struct Failure {
    pub code: String,
}

/// Writes a history to a file.
#[derive(Debug)]
pub struct Recorder {
    began: Instant,
    file: Mutex<BufWriter<File>>,
}

impl Recorder {
    pub fn create(path: &Path) -> std::io::Result<Self> {
        Ok(Self { began: Instant::now(), file: Mutex::new(BufWriter::new(File::create(path)?)) })
    }

    pub fn write(&self, e: Event) {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        // The time is read under the lock, so times ascend.
        let t = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut line = serde_json::to_vec(&Line { t, e }).expect("a line has only string keys and plain values");
        line.push(b'\n');
        file.write_all(&line).expect("the history can be written");
    }

    pub fn note(&self, what: impl Into<String>) {
        self.write(Event::Note { what: what.into() });
    }

    /// Writes everything so far to the file.
    pub fn flush(&self) {
        self.file.lock().unwrap_or_else(PoisonError::into_inner).flush().expect("the history can be written");
    }
}
