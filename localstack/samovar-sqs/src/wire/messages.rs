//! Operations on one message: send, receive, delete, change visibility.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::validate::{MessageInput, Rules};
use super::{Nothing, queue_of, required};
use crate::Sqs;
use crate::attributes::{MAX_VISIBILITY_SECONDS, MAX_WAIT_SECONDS};
use crate::delivery::{Outgoing, SendReceipt};
use crate::error::Error;
use crate::message::{Message, MessageAttribute, MessageAttributes, md5_hex, md5_of_attributes};

/// The system attributes that a ReceiveMessage can request.
const SYSTEM_ATTRIBUTES: [&str; 11] = [
    "All",
    "ApproximateFirstReceiveTimestamp",
    "ApproximateReceiveCount",
    "AWSTraceHeader",
    "DeadLetterQueueSourceArn",
    "MessageDeduplicationId",
    "MessageGroupId",
    "SenderId",
    "SentTimestamp",
    "SequenceNumber",
    "SqsManagedSseEnabled",
];

/// The result of SendMessage, also for an entry of a batch.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Sent {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<String>,
    message_id: String,
    #[serde(rename = "MD5OfMessageBody")]
    md5_of_message_body: String,
    #[serde(rename = "MD5OfMessageAttributes", skip_serializing_if = "Option::is_none")]
    md5_of_message_attributes: Option<String>,
    #[serde(rename = "MD5OfMessageSystemAttributes", skip_serializing_if = "Option::is_none")]
    md5_of_message_system_attributes: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sequence_number: Option<String>,
}

/// The checksums of a sent message. They cover this sender's input, even if the message turns out to be a repeat.
#[derive(Debug)]
pub(super) struct Checksums {
    body: String,
    attributes: Option<String>,
    system_attributes: Option<String>,
}

impl Checksums {
    pub(super) fn of(message: &Outgoing) -> Self {
        let header = message.trace_header.clone().map(|header| MessageAttribute {
            data_type: "String".to_owned(),
            string_value: Some(header),
            binary_value: None,
        });
        let name = "AWSTraceHeader".to_owned();
        Self {
            body: md5_hex(message.body.as_bytes()),
            attributes: md5_of_attributes(&message.attributes),
            system_attributes: md5_of_attributes(header.iter().map(|header| (&name, header))),
        }
    }

    pub(super) fn sent(self, id: Option<String>, receipt: SendReceipt) -> Sent {
        Sent {
            id,
            message_id: receipt.message_id,
            md5_of_message_body: self.body,
            md5_of_message_attributes: self.attributes,
            md5_of_message_system_attributes: self.system_attributes,
            sequence_number: receipt.sequence_number,
        }
    }
}

pub(super) fn rules(sqs: &Sqs, queue: &str) -> Result<Rules, Error> {
    sqs.inner.lock().queues.get(queue).map(Rules::of).ok_or(Error::QueueDoesNotExist)
}

pub(super) async fn send(sqs: &Sqs, mut request: MessageInput) -> Result<Sent, Error> {
    let queue = queue_of(request.queue_url.take())?;
    let rules = rules(sqs, &queue)?;
    rules.check_fifo(&request, false)?;
    let message = rules.check(request, false)?;
    let checksums = Checksums::of(&message);
    let receipt = sqs.inner.run(|state, now_ms| state.send(&queue, message, now_ms)).await?;
    Ok(checksums.sent(None, receipt))
}

/// `ReceiveRequestAttemptId` is accepted and has no effect. It lets a FIFO receiver repeat a receive whose answer was
/// lost on the network. Between this server and its clients a loss does not go unnoticed, and the messages come back
/// after their visibility timeout.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ReceiveMessage {
    queue_url: Option<String>,
    max_number_of_messages: Option<i64>,
    visibility_timeout: Option<i64>,
    wait_time_seconds: Option<i64>,
    #[serde(default)]
    message_attribute_names: Vec<String>,
    #[serde(default)]
    message_system_attribute_names: Vec<String>,
    /// The older name of the same parameter.
    #[serde(default)]
    attribute_names: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Received {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    messages: Vec<ReceivedMessage>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct ReceivedMessage {
    message_id: String,
    receipt_handle: String,
    #[serde(rename = "MD5OfBody")]
    md5_of_body: String,
    body: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    attributes: BTreeMap<String, String>,
    #[serde(rename = "MD5OfMessageAttributes", skip_serializing_if = "Option::is_none")]
    md5_of_message_attributes: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    message_attributes: MessageAttributes,
}

pub(super) async fn receive(sqs: &Sqs, mut request: ReceiveMessage) -> Result<Received, Error> {
    let queue = queue_of(request.queue_url.take())?;
    let max = request.max_number_of_messages.unwrap_or(1);
    if !(1..=10).contains(&max) {
        return Err(Error::parameter("MaxNumberOfMessages", max, "Must be between 1 and 10, if provided."));
    }
    if let Some(wait) = request.wait_time_seconds.filter(|wait| !(0..=i64::from(MAX_WAIT_SECONDS)).contains(wait)) {
        return Err(Error::parameter("WaitTimeSeconds", wait, "Must be >= 0 and <= 20, if provided."));
    }
    let visibility_ms = request.visibility_timeout.map(visibility_ms).transpose()?;
    let system = [request.message_system_attribute_names.as_slice(), &request.attribute_names].concat();
    if let Some(unknown) = system.iter().find(|name| !SYSTEM_ATTRIBUTES.contains(&name.as_str())) {
        return Err(Error::UnknownAttribute(unknown.clone()));
    }
    let default_wait = || {
        let state = sqs.inner.lock();
        let queue = state.queues.get(&queue).ok_or(Error::QueueDoesNotExist)?;
        Ok(i64::from(queue.attributes.wait_seconds))
    };
    let wait_seconds = request.wait_time_seconds.map_or_else(default_wait, Ok)?;
    let messages =
        sqs.inner.receive(&queue, usize::try_from(max).unwrap_or(1), wait_seconds * 1000, visibility_ms).await?;
    let show = |message| ReceivedMessage::new(message, &system, &request.message_attribute_names);
    Ok(Received { messages: messages.into_iter().map(show).collect() })
}

impl ReceivedMessage {
    /// A message with the requested attributes. The checksum covers only those.
    fn new(message: Message, system: &[String], names: &[String]) -> Self {
        let wanted = |name: &str| {
            names.iter().any(|wanted| match wanted.as_str() {
                "All" | ".*" => true,
                wanted => match wanted.strip_suffix(".*") {
                    Some(prefix) => name.starts_with(prefix),
                    None => name == wanted,
                },
            })
        };
        let all = system.iter().any(|name| name == "All");
        let (mut attributes, mut message_attributes) = (message.attributes, message.message_attributes);
        attributes.retain(|name, _| all || system.contains(name));
        message_attributes.retain(|name, _| wanted(name));
        Self {
            message_id: message.message_id,
            receipt_handle: message.receipt_handle,
            md5_of_body: message.md5_of_body,
            body: message.body,
            attributes,
            md5_of_message_attributes: md5_of_attributes(&message_attributes),
            message_attributes,
        }
    }
}

pub(super) fn visibility_ms(seconds: i64) -> Result<i64, Error> {
    if !(0..=i64::from(MAX_VISIBILITY_SECONDS)).contains(&seconds) {
        let reason = format!("Must be between 0 and {MAX_VISIBILITY_SECONDS}, if provided.");
        return Err(Error::parameter("VisibilityTimeout", seconds, reason));
    }
    Ok(seconds * 1000)
}

/// DeleteMessage, ChangeMessageVisibility, or one entry of their batches.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct HandleInput {
    pub(super) id: Option<String>,
    queue_url: Option<String>,
    pub(super) receipt_handle: Option<String>,
    pub(super) visibility_timeout: Option<i64>,
}

pub(super) async fn delete(sqs: &Sqs, request: HandleInput) -> Result<Nothing, Error> {
    let queue = queue_of(request.queue_url)?;
    let handle = required(request.receipt_handle, "ReceiptHandle")?;
    sqs.inner.run(|state, now_ms| state.delete(&queue, &handle, now_ms)).await?;
    Ok(Nothing {})
}

pub(super) async fn change_visibility(sqs: &Sqs, request: HandleInput) -> Result<Nothing, Error> {
    let queue = queue_of(request.queue_url)?;
    let handle = required(request.receipt_handle, "ReceiptHandle")?;
    let visibility_ms = visibility_ms(required(request.visibility_timeout, "VisibilityTimeout")?)?;
    sqs.inner.run(|state, now_ms| state.change_visibility(&queue, &handle, visibility_ms, now_ms)).await?;
    Ok(Nothing {})
}
