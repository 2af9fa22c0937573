//! Adapts a queue to an event source.

use std::time::Duration;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use samovar_host::event_source;
use samovar_services::door::Door;
use samovar_services::queues::Queues;
use samovar_sqs::Receive;
use serde_json::{Value, json};

use crate::chaos::{DELETE_BATCH, GATEWAY};

/// One queue of the services, as an event source reads it.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) queues: Queues,
    pub(super) name: String,
    pub(super) url: String,
    /// The function that the messages are for.
    pub(super) function: String,
    pub(super) door: Door,
}

impl event_source::Queue for Source {
    type Error = anyhow::Error;

    async fn receive(&self, max_messages: usize, wait: Duration) -> Result<Vec<event_source::Message>> {
        match &self.queues {
            Queues::Embedded(sqs) => {
                let max_messages = u32::try_from(max_messages).unwrap_or(u32::MAX);
                let request = Receive { max_messages, wait, visibility_timeout: None };
                let messages = sqs.receive(&self.name, request).await?;
                let bytes = messages.iter().map(|message| message.body.len()).sum();
                self.door.meter().queue_request(&self.name, bytes);
                Ok(messages.into_iter().map(from_embedded).collect())
            }
            Queues::Remote(_) => {
                let request = json!({
                    "QueueUrl": self.url,
                    "MaxNumberOfMessages": max_messages,
                    "WaitTimeSeconds": wait.as_secs().min(20),
                    "AttributeNames": ["All"],
                    "MessageSystemAttributeNames": ["All"],
                    "MessageAttributeNames": ["All"],
                });
                let answer = self.queues.expect("ReceiveMessage", &request).await?;
                let messages = answer["Messages"].as_array().map(Vec::as_slice).unwrap_or_default();
                messages.iter().map(from_json).collect()
            }
        }
    }

    async fn delete(&self, receipt_handles: &[String]) -> Result<()> {
        if self.door.decide(&self.function, GATEWAY, DELETE_BATCH, Bytes::new()).await.dropped {
            return self.give_back(receipt_handles).await;
        }
        match &self.queues {
            Queues::Embedded(sqs) => {
                self.door.meter().queue_request(&self.name, 0);
                let deleted = sqs.delete(&self.name, receipt_handles).await;
                deleted.into_iter().collect::<Result<(), _>>()?;
            }
            Queues::Remote(_) => {
                for handle in receipt_handles {
                    let request = json!({ "QueueUrl": self.url, "ReceiptHandle": handle });
                    self.queues.expect("DeleteMessage", &request).await?;
                }
            }
        }
        Ok(())
    }
}

impl Source {
    /// Lets the messages be received again at once.
    async fn give_back(&self, receipt_handles: &[String]) -> Result<()> {
        for handle in receipt_handles {
            match &self.queues {
                Queues::Embedded(sqs) => sqs.change_visibility(&self.name, handle, Duration::ZERO).await?,
                Queues::Remote(_) => {
                    let request = json!({ "QueueUrl": self.url, "ReceiptHandle": handle, "VisibilityTimeout": 0 });
                    self.queues.expect("ChangeMessageVisibility", &request).await?;
                }
            }
        }
        Ok(())
    }
}

fn from_embedded(message: samovar_sqs::Message) -> event_source::Message {
    let attribute = |value: samovar_sqs::MessageAttribute| event_source::MessageAttribute {
        data_type: value.data_type,
        string_value: value.string_value,
        binary_value: value.binary_value.map(|bytes| STANDARD.encode(bytes)),
    };
    event_source::Message {
        message_id: message.message_id,
        receipt_handle: message.receipt_handle,
        body: message.body,
        md5_of_body: message.md5_of_body,
        attributes: message.attributes,
        message_attributes: message
            .message_attributes
            .into_iter()
            .map(|(name, value)| (name, attribute(value)))
            .collect(),
    }
}

fn from_json(message: &Value) -> Result<event_source::Message> {
    let text = |name: &str| {
        message[name].as_str().map(str::to_owned).with_context(|| format!("A received message has no {name}"))
    };
    let optional = |value: &Value| value.as_str().map(str::to_owned);
    let attributes = message["Attributes"].as_object().into_iter().flatten();
    let message_attributes = message["MessageAttributes"].as_object().into_iter().flatten();
    Ok(event_source::Message {
        message_id: text("MessageId")?,
        receipt_handle: text("ReceiptHandle")?,
        body: text("Body")?,
        md5_of_body: text("MD5OfBody")?,
        attributes: attributes.filter_map(|(name, value)| Some((name.clone(), optional(value)?))).collect(),
        message_attributes: message_attributes
            .map(|(name, value)| {
                let attribute = event_source::MessageAttribute {
                    data_type: optional(&value["DataType"]).unwrap_or_default(),
                    string_value: optional(&value["StringValue"]),
                    binary_value: optional(&value["BinaryValue"]),
                };
                (name.clone(), attribute)
            })
            .collect(),
    })
}
