//! Messages: the sender's input, the stored form, the receiver's view, and the checksums over them.
//!
//! Invariant: the content of a stored message never changes. The queue, the writer and the responses share it by
//! reference. Only its [`Delivery`] changes.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use base64::engine::general_purpose::STANDARD as BASE64;
use md5::{Digest as _, Md5};
use serde::{Deserialize, Serialize};

/// A message in the form that a receiver gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// A UUID that the server assigned.
    pub message_id: String,
    /// Identifies this receive of the message. It is needed to delete the message.
    pub receipt_handle: String,
    /// The text of the message.
    pub body: String,
    /// The MD5 of the body, in hexadecimal.
    pub md5_of_body: String,
    /// System attributes: `ApproximateReceiveCount`, `SentTimestamp`, `MessageGroupId`, …
    pub attributes: BTreeMap<String, String>,
    /// The attributes that the sender attached.
    pub message_attributes: BTreeMap<String, MessageAttribute>,
    /// `None` for a message without message attributes.
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

/// The part of a message that never changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) message_id: String,
    pub(super) body: String,
    pub(super) group: Option<String>,
    pub(super) deduplication_id: Option<String>,
    pub(super) attributes: MessageAttributes,
    pub(super) trace_header: Option<String>,
    /// The time at which it came into its queue. A redrive from a dead-letter queue resets it, and so does a move into
    /// a FIFO queue.
    pub(super) sent_ms: i64,
    /// For a dead letter, the name of the queue that it came from.
    pub(super) dead_letter_source: Option<String>,
}

/// The part of a message that a receive changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Delivery {
    /// The message is not handed out before this moment.
    pub(super) visible_ms: i64,
    /// The token of the latest receive; `None` until the first receive in this queue.
    pub(super) token: Option<i64>,
    pub(super) received_ms: i64,
    pub(super) first_received_ms: Option<i64>,
    /// The receives over all queues, as in `ApproximateReceiveCount`.
    pub(super) receive_count: u32,
    /// The receives in this queue, as the redrive policy counts them.
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

/// The deduplication id of a body under content-based deduplication.
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

/// The checksum that the SDKs verify. It covers name, type and value of each attribute in the order of the names, each
/// preceded by its length, and one byte that distinguishes text from binary.
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

/// The size that counts towards the limit: the body, and the names, types and values of the attributes.
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
