//! SNS: the template's topics, and their subscriptions of functions and queues.
//!
//! Invariant: a publication is answered when every subscriber that wants the message has it on the disk, in the event
//! queue of a function or in a queue. If one of them can't take it, the answer is an error, and the publisher repeats
//! the call. So a message that was accepted comes at least once, and after a crash in between it may come twice, as on
//! AWS. A subscription whose queue or function is gone is passed over, with an error in the log: SNS does not repeat
//! such a delivery either.
//!
//! Topics and subscriptions are those of the template. Subscriptions of people (`email`, `sms`, …) are in the lists,
//! and get no messages. FIFO topics are not served.

mod api;
mod envelope;
mod filter;
mod query;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use samovar_sqs::MessageAttribute;
use samovar_template::{Function, Target, Topic as Declared, Trigger};
use serde_json::{Map, Value};

use super::clock::now_ms;
use super::ids::uuid;
use super::targets::{Direct, Message};
use envelope::Envelope;
use filter::FilterPolicy;

pub(crate) use api::{call, error, topic_of};
pub(crate) use query::Query;

/// The topics of a stack, by their ARNs.
#[derive(Debug, Default)]
pub(crate) struct Topics {
    all: BTreeMap<String, Topic>,
}

#[derive(Debug)]
struct Topic {
    subscriptions: Vec<Subscription>,
}

#[derive(Debug)]
struct Subscription {
    arn: String,
    protocol: String,
    endpoint: String,
    /// The function or queue that gets the messages.
    target: Option<Target>,
    filter: Option<FilterPolicy>,
    raw: bool,
}

/// A message for a topic.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Publication {
    pub(crate) text: String,
    pub(crate) subject: Option<String>,
    pub(crate) attributes: BTreeMap<String, MessageAttribute>,
    /// The texts by protocol, if they differ: `MessageStructure` is `json`.
    pub(crate) by_protocol: Option<Map<String, Value>>,
}

impl Publication {
    fn text_for(&self, protocol: &str) -> &str {
        let own = |map: &Map<String, Value>| map.get(protocol).or_else(|| map.get("default")).is_some();
        match self.by_protocol.as_ref().filter(|map| own(map)) {
            Some(map) => map.get(protocol).or_else(|| map.get("default")).and_then(Value::as_str).unwrap_or_default(),
            None => &self.text,
        }
    }
}

impl Topics {
    /// The topics of the template, with the subscriptions of their own and of functions.
    ///
    /// # Errors
    /// A filter policy is not one.
    pub(crate) fn of(topics: &[Declared], functions: &[Function]) -> Result<Self> {
        let mut all = BTreeMap::new();
        for topic in topics.iter().filter(|topic| !topic.name.ends_with(".fifo")) {
            let mut subscriptions = Vec::new();
            let mut add = |protocol: &str, endpoint: &str, policy: Option<&Value>, of_body, raw| {
                // A stable id: it is a random one on AWS.
                let arn = format!("{}:00000000-0000-0000-0000-{:012}", topic.arn, subscriptions.len() + 1);
                let filter = policy.map(|policy| FilterPolicy::read(policy, of_body)).transpose();
                let filter = filter.map_err(anyhow::Error::msg);
                let filter = filter.with_context(|| {
                    format!("The FilterPolicy of {}'s subscription of {endpoint} is not taken by SNS", topic.logical_id)
                })?;
                let (protocol, endpoint) = (protocol.to_owned(), endpoint.to_owned());
                let name = endpoint.rsplit(':').next().unwrap_or_default().to_owned();
                let target = match protocol.as_str() {
                    "lambda" => {
                        let named = endpoint.split_once(":function:").map(|(_, name)| name);
                        let name = named.and_then(|name| name.split(':').next()).unwrap_or_default();
                        Some(Target::Function(name.to_owned()))
                    }
                    "sqs" => Some(Target::Queue(name)),
                    _ => None,
                };
                if target.is_none() {
                    tracing::info!("{}: messages are not sent to {protocol} {endpoint} here", topic.logical_id);
                }
                subscriptions.push(Subscription { arn, protocol, endpoint, target, filter, raw });
                anyhow::Ok(())
            };
            for function in functions {
                for trigger in &function.triggers {
                    if let Trigger::Sns { topic: of, filter_policy, filter_by_body } = trigger
                        && *of == topic.arn
                    {
                        add("lambda", &function.arn, filter_policy.as_ref(), *filter_by_body, false)?;
                    }
                }
            }
            for one in &topic.subscriptions {
                let raw = one.raw_message_delivery;
                add(&one.protocol, &one.endpoint, one.filter_policy.as_ref(), one.filter_by_body, raw)?;
            }
            all.insert(topic.arn.clone(), Topic { subscriptions });
        }
        Ok(Self { all })
    }

    pub(crate) fn has(&self, topic: &str) -> bool {
        self.all.contains_key(topic)
    }

    /// Sends a message to all subscribers that want it. Returns its id.
    ///
    /// # Errors
    /// There is no such topic, or a subscriber could not take the message.
    pub(crate) async fn publish(&self, topic_arn: &str, publication: &Publication, to: &Direct) -> Result<String> {
        let topic = self.all.get(topic_arn).with_context(|| format!("There is no topic {topic_arn}"))?;
        let (message_id, at_ms) = (uuid(), now_ms());
        for subscription in &topic.subscriptions {
            let Some(target) = &subscription.target else {
                tracing::info!("A message of {topic_arn} is not sent to {} here", subscription.endpoint);
                continue;
            };
            let text = publication.text_for(&subscription.protocol);
            if subscription.filter.as_ref().is_some_and(|filter| !filter.matches(text, &publication.attributes)) {
                continue;
            }
            if !to.has(target) {
                tracing::error!("A message of {topic_arn} is lost: {} is not here", subscription.endpoint);
                continue;
            }
            let envelope = Envelope {
                topic_arn,
                subscription_arn: &subscription.arn,
                message_id: &message_id,
                at_ms,
                text,
                publication,
            };
            let message = match target {
                Target::Queue(_) if subscription.raw => Message::raw(text.to_owned(), &publication.attributes),
                Target::Queue(_) => Message::of(envelope.for_queue()),
                _ => Message::of(envelope.for_function()),
            };
            to.send(target, message).await?;
        }
        Ok(message_id)
    }
}
