//! The resources to which services send events: functions and queues.
//!
//! Invariant: what has been sent is durable, in a function's event queue or in a queue. So a service that answers a
//! call after it has sent the events of the call loses none of them in a crash.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};
use samovar_sqs::MessageAttribute;
use samovar_template::{Queue, Target};
use serde_json::json;
use serde_json::value::RawValue;

use super::event_queues::{Event, EventQueues};
use super::ids::uuid;
use super::queues::Queues;

/// A message for a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    body: String,
    attributes: BTreeMap<String, MessageAttribute>,
}

impl Message {
    /// A message without attributes. For a function, the body is JSON.
    pub fn of(body: String) -> Self {
        Self { body, attributes: BTreeMap::new() }
    }

    /// Adds an attribute of the type `String` or `Number`. A function does not get it.
    #[must_use]
    pub fn with(mut self, name: &str, data_type: &str, value: &str) -> Self {
        let value = MessageAttribute {
            data_type: data_type.to_owned(),
            string_value: Some(value.to_owned()),
            binary_value: None,
        };
        self.attributes.insert(name.to_owned(), value);
        self
    }
}

/// The way to the targets of a stack.
#[derive(Debug, Clone)]
pub struct Targets {
    functions: EventQueues,
    queues: Queues,
    queue_urls: BTreeMap<String, String>,
}

impl Targets {
    /// Sends to the functions of these event queues, and to these queues.
    pub fn new(functions: EventQueues, queues: Queues, declared: &[Queue]) -> Self {
        let queue_urls = declared.iter().map(|queue| (queue.name.clone(), queue.url.clone())).collect();
        Self { functions, queues, queue_urls }
    }

    /// Sends a message.
    ///
    /// # Errors
    /// The target is not there, or it could not take the message.
    pub async fn send(&self, target: &Target, message: Message) -> Result<()> {
        match target {
            Target::Function(function) => {
                let payload = RawValue::from_string(message.body).context("An event is not JSON")?;
                self.functions.accept(vec![(function.clone(), Event::new(payload, uuid()))]).await
            }
            Target::Queue(queue) => {
                let url = self.queue_urls.get(queue).with_context(|| format!("There is no queue {queue}"))?;
                let request = json!({
                    "QueueUrl": url,
                    "MessageBody": message.body,
                    "MessageAttributes": message.attributes,
                });
                self.queues.expect("SendMessage", &request).await.map(|_| ())
            }
            Target::Topic(topic) => bail!("The topic {topic} is not served"),
        }
    }
}
