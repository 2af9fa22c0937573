//! Checks whether a message may be sent: parameters, characters, attributes, size.
//!
//! Invariant: an [`Outgoing`] fits the queue whose [`Rules`] it was checked against.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::required;
use crate::attributes::MAX_DELAY_SECONDS;
use crate::delivery::Outgoing;
use crate::error::Error;
use crate::message::{MessageAttribute, MessageAttributes, size_bytes};
use crate::queue::Queue;

const MAX_ATTRIBUTES: usize = 10;
const MAX_NAME_BYTES: usize = 256;

/// SendMessage, or one entry of SendMessageBatch.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct MessageInput {
    pub(super) id: Option<String>,
    pub(super) queue_url: Option<String>,
    pub(super) message_body: Option<String>,
    pub(super) delay_seconds: Option<i64>,
    #[serde(default)]
    pub(super) message_attributes: MessageAttributes,
    #[serde(default)]
    pub(super) message_system_attributes: MessageAttributes,
    pub(super) message_deduplication_id: Option<String>,
    pub(super) message_group_id: Option<String>,
}

/// A queue's requirements on messages.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    fifo: bool,
    content_based_deduplication: bool,
    max_bytes: u32,
}

impl Rules {
    pub(super) fn of(queue: &Queue) -> Self {
        let attributes = &queue.attributes;
        Self {
            fifo: attributes.fifo,
            content_based_deduplication: attributes.content_based_deduplication,
            max_bytes: attributes.max_message_bytes,
        }
    }

    /// Checks the parameters that a FIFO queue requires. AWS calls a missing group an invalid parameter in a batch
    /// entry, and a missing parameter in a single message.
    pub(super) fn check_fifo(self, input: &MessageInput, in_batch: bool) -> Result<(), Error> {
        if !self.fifo {
            return Ok(());
        }
        if input.message_group_id.is_none() {
            let missing = Error::MissingParameter("MessageGroupId");
            return Err(if in_batch { Error::InvalidParameterText(missing.to_string()) } else { missing });
        }
        if input.message_deduplication_id.is_none() && !self.content_based_deduplication {
            return Err(Error::InvalidParameterText(
                "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided \
                 explicitly"
                    .to_owned(),
            ));
        }
        Ok(())
    }

    pub(super) fn check(self, input: MessageInput, in_batch: bool) -> Result<Outgoing, Error> {
        let body = required(input.message_body.filter(|body| !body.is_empty()), "MessageBody")?;
        if let Some(forbidden) = body.chars().find(|c| !is_allowed(*c)) {
            return Err(Error::InvalidMessageContents(format!(
                "Invalid binary character '#x{:X}' was found in the message body, \
                 the set of allowed characters is #x9 | \
                 #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF. Encode binary data as base64.",
                u32::from(forbidden)
            )));
        }
        check_attributes(&input.message_attributes)?;
        if size_bytes(&body, &input.message_attributes) > self.max_bytes as usize {
            let verb = if in_batch { "cannot be validated" } else { "are invalid" };
            return Err(Error::InvalidParameterText(format!(
                "One or more parameters {verb}. Reason: Message must be shorter than {} bytes.",
                self.max_bytes
            )));
        }
        let delay_seconds = input.delay_seconds.map(|delay| self.check_delay(delay)).transpose()?;
        if let Some(id) = &input.message_deduplication_id {
            if !self.fifo {
                let reason = "The request includes a parameter that is not valid for this queue type.";
                return Err(Error::parameter("MessageDeduplicationId", id, reason));
            }
            check_id("MessageDeduplicationId", id)?;
        }
        // A standard queue accepts a group (fair queues).
        if let Some(group) = &input.message_group_id {
            check_id("MessageGroupId", group)?;
        }
        Ok(Outgoing {
            body,
            trace_header: trace_header(input.message_system_attributes)?,
            attributes: input.message_attributes,
            group: input.message_group_id,
            deduplication_id: input.message_deduplication_id,
            delay_seconds,
        })
    }

    fn check_delay(self, delay: i64) -> Result<u32, Error> {
        let refuse = |reason: &str| Err(Error::parameter("DelaySeconds", delay, reason));
        match u32::try_from(delay) {
            // A FIFO queue accepts zero, and takes it for the queue's delay.
            Ok(1..) if self.fifo => refuse("The request include parameter that is not valid for this queue type."),
            Ok(seconds @ 0..=MAX_DELAY_SECONDS) => Ok(seconds),
            _ => refuse("DelaySeconds must be >= 0 and <= 900."),
        }
    }
}

/// The only system attribute that a sender may set.
fn trace_header(mut attributes: BTreeMap<String, MessageAttribute>) -> Result<Option<String>, Error> {
    let header = attributes.remove("AWSTraceHeader");
    if let Some(other) = attributes.keys().next() {
        return Err(Error::InvalidParameterText(format!(
            "Message system attribute name '{other}' is invalid. Only AWSTraceHeader can be sent."
        )));
    }
    header
        .map(|header| {
            header.string_value.filter(|_| header.data_type == "String").ok_or_else(|| {
                Error::InvalidParameterText("The system attribute AWSTraceHeader must be of type String.".to_owned())
            })
        })
        .transpose()
}

fn check_attributes(attributes: &MessageAttributes) -> Result<(), Error> {
    let refuse = |text: String| Err(Error::InvalidParameterText(text));
    if attributes.len() > MAX_ATTRIBUTES {
        let count = attributes.len();
        return refuse(format!(
            "Number of message attributes [{count}] exceeds the allowed maximum [{MAX_ATTRIBUTES}]."
        ));
    }
    for (name, attribute) in attributes {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        let lower = name.to_ascii_lowercase();
        if name.is_empty() || name.len() > MAX_NAME_BYTES || !name.chars().all(allowed) {
            return refuse(format!(
                "Message (user) attribute name '{name}' is invalid: 1 to {MAX_NAME_BYTES} of A-Z, a-z, 0-9, \
                 underscore, \
                 hyphen and period."
            ));
        }
        let (starts, ends) = (name.starts_with('.'), name.ends_with('.'));
        if lower.starts_with("aws.") || lower.starts_with("amazon.") || starts || ends || name.contains("..") {
            return refuse(format!(
                "Message (user) attribute name '{name}' is invalid: it must not start with AWS. or Amazon., \
                 start or end \
                 with a period, or have two in a row."
            ));
        }
        let data_type = &attribute.data_type;
        let logical = data_type.split('.').next().unwrap_or_default();
        if !matches!(logical, "String" | "Number" | "Binary") || data_type.len() > MAX_NAME_BYTES {
            return refuse(format!(
                "The message attribute '{name}' has an invalid message attribute type, \
                 the set of supported type prefixes \
                 is Binary, Number, and String."
            ));
        }
        let (text, bytes) = (attribute.string_value.as_deref(), attribute.binary_value.as_deref());
        let filled = match logical {
            "Binary" => text.is_none() && bytes.is_some_and(|bytes| !bytes.is_empty()),
            _ => bytes.is_none() && text.is_some_and(|text| !text.is_empty()),
        };
        if !filled {
            return refuse(format!(
                "Message (user) attribute '{name}' must contain a non-empty value of type '{logical}'."
            ));
        }
        if logical == "Number" && text.is_some_and(|text| text.parse::<f64>().is_err()) {
            return refuse(format!("Can't cast the value of message (user) attribute '{name}' to a number."));
        }
        if let Some(forbidden) = text.and_then(|text| text.chars().find(|c| !is_allowed(*c))) {
            let code = u32::from(forbidden);
            return refuse(format!("Message (user) attribute '{name}' has the invalid character '#x{code:X}'."));
        }
    }
    Ok(())
}

fn check_id(name: &'static str, id: &str) -> Result<(), Error> {
    let valid = (1..=128).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic());
    if valid {
        return Ok(());
    }
    let reason = format!("{name} can only include alphanumeric and punctuation characters. 1 to 128 in length.");
    Err(Error::parameter(name, id, reason))
}

/// The characters of XML, which the older SQS protocol used.
fn is_allowed(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..='\u{10FFFF}')
}
