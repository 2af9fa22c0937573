//! `AWS::SNS::Topic` and `AWS::SNS::Subscription`.

use super::Context;
use crate::fields::{Fields, Schema};
use crate::model::{Subscription, Topic};
use crate::resource::{Kind, Resource};
use crate::yaml::Node;

pub(crate) const TOPIC: Schema = Schema {
    subject: "AWS::SNS::Topic",
    required: &[],
    optional: &["FifoTopic", "Subscription", "TopicName"],
    ignored: &[
        "ArchivePolicy",
        "ContentBasedDeduplication",
        "DataProtectionPolicy",
        "DeliveryStatusLogging",
        "DisplayName",
        "FifoThroughputScope",
        "KmsMasterKeyId",
        "SignatureVersion",
        "Tags",
        "TracingConfig",
    ],
};

/// An item of a topic's `Subscription`.
pub(crate) const ITEM: Schema =
    Schema { subject: "A subscription", required: &["Endpoint", "Protocol"], optional: &[], ignored: &[] };

pub(crate) const SUBSCRIPTION: Schema = Schema {
    subject: "AWS::SNS::Subscription",
    required: &["Protocol", "TopicArn"],
    optional: &["Endpoint", "FilterPolicy", "FilterPolicyScope", "RawMessageDelivery"],
    ignored: &["DeliveryPolicy", "RedrivePolicy", "Region", "ReplayPolicy", "SubscriptionRoleArn"],
};

const PROTOCOLS: [&str; 9] =
    ["application", "email", "email-json", "firehose", "http", "https", "lambda", "sms", "sqs"];

pub(crate) fn topics(context: &Context<'_>) -> Vec<Topic> {
    let mut topics: Vec<Topic> =
        context.scope.present(Kind::Topic).filter_map(|resource| build(context, resource)).collect();
    for resource in context.scope.present(Kind::Subscription) {
        let fields = context.fields(resource, &SUBSCRIPTION);
        let subscription = subscription(&fields);
        let Some(arn) = fields.text("TopicArn") else { continue };
        match topics.iter_mut().find(|topic| topic.arn == arn) {
            Some(topic) => topic.subscriptions.extend(subscription),
            None => {
                let message = format!("{}: the topic \"{arn}\" is not in this template", resource.id);
                context.problems.note(resource.line, message);
            }
        }
    }
    topics
}

fn build(context: &Context<'_>, resource: &Resource) -> Option<Topic> {
    let fields = context.fields(resource, &TOPIC);
    fields.boolean("FifoTopic");
    let items = fields.maps("Subscription", &ITEM).unwrap_or_default();
    Some(Topic {
        logical_id: resource.id.clone(),
        name: context.problems.keep(resource.name(context.scope))?,
        arn: context.problems.keep(resource.reference(context.scope))?,
        subscriptions: items
            .iter()
            .filter_map(|item| {
                let protocol = item.choice("Protocol", &PROTOCOLS);
                let (protocol, endpoint) = (protocol?, item.text("Endpoint")?);
                let (filter_policy, filter_by_body, raw_message_delivery) = (None, false, false);
                Some(Subscription { protocol, endpoint, filter_policy, filter_by_body, raw_message_delivery })
            })
            .collect(),
    })
}

fn subscription(fields: &Fields<'_>) -> Option<Subscription> {
    let raw_message_delivery = fields.boolean("RawMessageDelivery").unwrap_or(false);
    let protocol = fields.choice("Protocol", &PROTOCOLS);
    if !fields.has("Endpoint") {
        fields.wrong("Endpoint", "is missing");
    }
    let filter_policy = fields.node("FilterPolicy").map(Node::to_json);
    let (filter_by_body, endpoint) = (filters_by_body(fields), fields.text("Endpoint")?);
    Some(Subscription { protocol: protocol?, endpoint, filter_policy, filter_by_body, raw_message_delivery })
}

/// Whether `FilterPolicyScope` says that the policy is for the body.
pub(super) fn filters_by_body(fields: &Fields<'_>) -> bool {
    let scope = fields.choice("FilterPolicyScope", &["MessageAttributes", "MessageBody"]);
    scope.as_deref() == Some("MessageBody")
}
