//! The resources to which services send events: functions, queues and topics.
//!
//! Invariant: what has been sent is durable, in a function's event queue or in a queue. So a service that answers a
//! call after it has sent the events of the call loses none of them in a crash.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use samovar_sqs::MessageAttribute;
use samovar_template::{Function, Queue, Target, Template};
use serde_json::json;
use serde_json::value::RawValue;

use super::event_queues::{Event, EventQueues};
use super::ids::uuid;
use super::queues::Queues;
use super::sns::{Publication, Topics};

/// A message for a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    body: String,
    /// Only for a topic.
    subject: Option<String>,
    attributes: BTreeMap<String, MessageAttribute>,
}

impl Message {
    /// A message without attributes. For a function, the body is JSON.
    pub fn of(body: String) -> Self {
        Self { body, subject: None, attributes: BTreeMap::new() }
    }

    /// A message with the attributes of a publication.
    pub(crate) fn raw(body: String, attributes: &BTreeMap<String, MessageAttribute>) -> Self {
        Self { body, subject: None, attributes: attributes.clone() }
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

    /// Sets the subject that a topic's subscribers see.
    #[must_use]
    pub(crate) fn about(mut self, subject: &str) -> Self {
        self.subject = Some(subject.to_owned());
        self
    }
}

/// The way to the targets of a stack. Clones are the same.
#[derive(Debug, Clone)]
pub struct Targets(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    direct: Direct,
    topics: Topics,
}

/// The targets that keep what they get.
#[derive(Debug)]
pub(crate) struct Direct {
    events: EventQueues,
    functions: BTreeSet<String>,
    queues: Queues,
    queue_urls: BTreeMap<String, String>,
}

impl Targets {
    /// Sends to the functions of a template through these event queues, to these queues, and to its topics.
    ///
    /// # Errors
    /// SNS would not take a filter policy of the template.
    pub fn new(events: EventQueues, queues: Queues, template: &Template) -> Result<Self> {
        let Template { functions, queues: declared, topics, .. } = template;
        let topics = Topics::of(topics, functions)?;
        let functions = functions.iter().map(|function: &Function| function.function_name.clone()).collect();
        let queue_urls = declared.iter().map(|queue: &Queue| (queue.name.clone(), queue.url.clone())).collect();
        Ok(Self(Arc::new(Inner { direct: Direct { events, functions, queues, queue_urls }, topics })))
    }

    /// Sends a message.
    ///
    /// # Errors
    /// The target is not there, or it could not take the message.
    pub async fn send(&self, target: &Target, message: Message) -> Result<()> {
        let Target::Topic(topic) = target else { return self.0.direct.send(target, message).await };
        let Message { body: text, subject, attributes } = message;
        let publication = Publication { text, subject, attributes, by_protocol: None };
        self.publish(topic, &publication).await.map(drop)
    }

    pub(crate) async fn publish(&self, topic: &str, publication: &Publication) -> Result<String> {
        self.0.topics.publish(topic, publication, &self.0.direct).await
    }

    pub(crate) fn topics(&self) -> &Topics {
        &self.0.topics
    }
}

impl Direct {
    /// Whether the template has the target.
    pub(crate) fn has(&self, target: &Target) -> bool {
        match target {
            Target::Function(function) => self.functions.contains(function),
            Target::Queue(queue) => self.queue_urls.contains_key(queue),
            Target::Topic(_) => false,
        }
    }

    pub(crate) async fn send(&self, target: &Target, message: Message) -> Result<()> {
        match target {
            Target::Function(function) => {
                let payload = RawValue::from_string(message.body).context("An event is not JSON")?;
                self.events.accept(vec![(function.clone(), Event::new(payload, uuid()))]).await
            }
            Target::Queue(queue) => {
                let url = self.queue_urls.get(queue).with_context(|| format!("There is no queue {queue}"))?;
                let request = json!({
                    "QueueUrl": url,
                    "MessageBody": message.body,
                    "MessageAttributes": message.attributes,
                });
                self.queues.expect("SendMessage", &request).await.map(drop)
            }
            Target::Topic(topic) => bail!("{topic} is a topic, and no topic subscribes to another"),
        }
    }
}
