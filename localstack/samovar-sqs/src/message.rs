//! Messages: what a sender gives, what is kept, what a receiver gets, and the checksums over it.
//!
//! Invariant: the content of a message never changes once it is stored; it is shared by reference between the queue, the
//! writer and the responses. Only its [`Delivery`] changes.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use base64::engine::general_purpose::STANDARD as BASE64;
use md5::{Digest as _, Md5};
use serde::{Deserialize, Serialize};

/// A message as a receiver gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Given by the server, a UUID.
    pub message_id: String,
    /// Names this receive of the message, to delete it by.
    pub receipt_handle: String,
    /// The text that was sent.
    pub body: String,
    /// Of the body, in hexadecimal.
    pub md5_of_body: String,
    /// System attributes: `ApproximateReceiveCount`, `SentTimestamp`, `MessageGroupId`, …
    pub attributes: BTreeMap<String, String>,
    /// What the sender has attached.
    pub message_attributes: BTreeMap<String, MessageAttribute>,
    /// Absent without message attributes.
    pub md5_of_message_attributes: Option<String>,
}

/// A typed value that a sender attached to a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct MessageAttribute {
    /// `String`, `Number` or `Binary`, with an optional `.suffix`.
    pub data_type: String,
    /// The value of a `String` or `Number`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub string_value: Option<String>,
    /// The value of a `Binary`.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "base64_value")]
    pub binary_value: Option<Vec<u8>>,
}

impl MessageAttribute {
    fn value(&self) -> &[u8] {
        match (&self.string_value, &self.binary_value) {
            (Some(text), _) => text.as_bytes(),
            (None, Some(bytes)) => bytes,
            (None, None) => &[],
        }
    }
}

pub(super) type MessageAttributes = BTreeMap<String, MessageAttribute>;

/// What of a message never changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) message_id: String,
    pub(super) body: String,
    pub(super) group: Option<String>,
    pub(super) deduplication_id: Option<String>,
    pub(super) attributes: MessageAttributes,
    pub(super) trace_header: Option<String>,
    /// When it came into its queue; a redrive from a dead-letter queue starts it anew, as does a move into a FIFO one.
    pub(super) sent_ms: i64,
    /// Name of the queue that gave it up, when this is a dead letter.
    pub(super) dead_letter_source: Option<String>,
}

/// What receiving a message changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Delivery {
    /// Not handed out before this moment.
    pub(super) visible_ms: i64,
    /// Of the latest receive; `None` until the first in this queue.
    pub(super) token: Option<i64>,
    pub(super) received_ms: i64,
    pub(super) first_received_ms: Option<i64>,
    /// Over all queues: what `ApproximateReceiveCount` says.
    pub(super) receive_count: u32,
    /// In this queue: what the redrive policy counts.
    pub(super) receives_here: u32,
}

/// A message in a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) sequence: i64,
    pub(super) content: Arc<Content>,
    pub(super) delivery: Delivery,
}

pub(super) fn md5_hex(bytes: &[u8]) -> String {
    hex(&Md5::digest(bytes))
}

/// The deduplication id that content-based deduplication gives a body.
pub(super) fn sha256_hex(text: &str) -> String {
    hex(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes()).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The checksum that the SDKs verify: over name, type and value of each attribute in the order of the names, each with its
/// length in front, and one byte that says text or binary.
pub(super) fn md5_of_attributes<'a>(
    attributes: impl IntoIterator<Item = (&'a String, &'a MessageAttribute)>,
) -> Option<String> {
    let mut digest = None;
    for (name, attribute) in attributes {
        let digest = digest.get_or_insert_with(Md5::new);
        let mut part = |bytes: &[u8]| {
            digest.update(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
            digest.update(bytes);
        };
        part(name.as_bytes());
        part(attribute.data_type.as_bytes());
        digest.update([if attribute.data_type.starts_with("Binary") { 2 } else { 1 }]);
        let value = attribute.value();
        digest.update(u32::try_from(value.len()).unwrap_or(u32::MAX).to_be_bytes());
        digest.update(value);
    }
    digest.map(|digest| hex(&digest.finalize()))
}

/// What counts towards the size limit: the body and the names, types and values of the attributes.
pub(super) fn size_bytes(body: &str, attributes: &MessageAttributes) -> usize {
    let attributes = attributes.iter().map(|(name, a)| name.len() + a.data_type.len() + a.value().len());
    body.len() + attributes.sum::<usize>()
}

mod base64_value {
    //! Bytes travel as base64 in JSON.
    use super::{BASE64, Deserialize};
    use base64::Engine as _;
    use serde::{Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(bytes: &Option<Vec<u8>>, serializer: S) -> Result<S::Ok, S::Error> {
        match bytes {
            Some(bytes) => serializer.serialize_str(&BASE64.encode(bytes)),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<u8>>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| BASE64.decode(text).map_err(D::Error::custom)).transpose()
    }
}
