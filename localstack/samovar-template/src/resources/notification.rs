//! The notifications of a bucket: `NotificationConfiguration`, and the parts that SAM's events of the type S3 share.

use super::{Context, target};
use crate::fields::{Fields, Schema};
use crate::model::{Notification, Trigger};
use crate::resource::{Kind, Resource};

use super::bucket::BUCKET;

pub(crate) const FILTER: Schema = Schema { subject: "Filter", required: &["S3Key"], optional: &[], ignored: &[] };
pub(crate) const KEY: Schema = Schema { subject: "S3Key", required: &["Rules"], optional: &[], ignored: &[] };
pub(crate) const RULE: Schema =
    Schema { subject: "A rule of S3Key", required: &["Name", "Value"], optional: &[], ignored: &[] };

/// `NotificationConfiguration` of a bucket.
pub(crate) const NOTIFICATIONS: Schema = Schema {
    subject: "NotificationConfiguration",
    required: &[],
    optional: &["EventBridgeConfiguration", "LambdaConfigurations", "QueueConfigurations", "TopicConfigurations"],
    ignored: &[],
};

pub(crate) const EVENT_BRIDGE: Schema =
    Schema { subject: "EventBridgeConfiguration", required: &[], optional: &["EventBridgeEnabled"], ignored: &[] };

pub(crate) const OF_FUNCTION: Schema = Schema {
    subject: "A configuration of LambdaConfigurations",
    required: &["Event", "Function"],
    optional: &["Filter"],
    ignored: &[],
};

pub(crate) const OF_QUEUE: Schema = Schema {
    subject: "A configuration of QueueConfigurations",
    required: &["Event", "Queue"],
    optional: &["Filter"],
    ignored: &[],
};

pub(crate) const OF_TOPIC: Schema = Schema {
    subject: "A configuration of TopicConfigurations",
    required: &["Event", "Topic"],
    optional: &["Filter"],
    ignored: &[],
};

/// The notifications for queues and topics. Those for functions are only checked: they are in the functions' own model.
pub(super) fn read(context: &Context<'_>, bucket: &Fields<'_>) -> Vec<Notification> {
    let Some(notifications) = bucket.map("NotificationConfiguration", &NOTIFICATIONS) else { return Vec::new() };
    for one in notifications.maps("LambdaConfigurations", &OF_FUNCTION).unwrap_or_default() {
        if let Some(named) = one.text("Function")
            && context.function(&named).is_none()
        {
            context.missing_function(&one, "Function", &named);
        }
    }
    let mut read = Vec::new();
    for (list, schema, property) in
        [("QueueConfigurations", &OF_QUEUE, "Queue"), ("TopicConfigurations", &OF_TOPIC, "Topic")]
    {
        for one in notifications.maps(list, schema).unwrap_or_default() {
            let (Some(event), Some(arn)) = (one.text("Event"), one.text(property)) else { continue };
            let Some((prefix, suffix)) = filtered(&one, "Event", std::slice::from_ref(&event)) else { continue };
            let Some(target) = target::of_arn(context, one.line(property), &arn) else { continue };
            read.push(Notification { target, event, prefix, suffix });
        }
    }
    read
}

/// Whether the bucket sends its events to EventBridge.
pub(super) fn to_event_bridge(bucket: &Fields<'_>) -> bool {
    let notifications = bucket.map("NotificationConfiguration", &NOTIFICATIONS);
    let configuration = notifications.as_ref().and_then(|it| it.map("EventBridgeConfiguration", &EVENT_BRIDGE));
    configuration.is_some_and(|configuration| configuration.boolean("EventBridgeEnabled").unwrap_or(true))
}

/// The notifications that buckets send to this function.
pub(super) fn of_function(context: &Context<'_>, function: &Resource) -> Vec<Trigger> {
    let mut triggers = Vec::new();
    for resource in context.scope.present(Kind::Bucket) {
        let bucket = context.fields(resource, &BUCKET);
        let Some(notifications) = bucket.map("NotificationConfiguration", &NOTIFICATIONS) else { continue };
        for one in notifications.maps("LambdaConfigurations", &OF_FUNCTION).unwrap_or_default() {
            let named = one.text("Function").and_then(|named| context.function(&named));
            let Some(event) = one.text("Event").filter(|_| named.is_some_and(|named| named.id == function.id)) else {
                continue;
            };
            let events = vec![event];
            let Some((prefix, suffix)) = filtered(&one, "Event", &events) else { continue };
            let name = context.problems.keep(resource.name(context.scope));
            triggers.extend(name.map(|bucket| Trigger::S3 { bucket, events, prefix, suffix }));
        }
    }
    triggers
}

/// Checks the names of events. Returns the beginning and the end of the keys that `Filter` lets through.
pub(super) fn filtered(fields: &Fields<'_>, property: &str, events: &[String]) -> Option<(String, String)> {
    if let Some(wrong) = events.iter().find(|event| !event.starts_with("s3:")) {
        fields.wrong(property, &format!("has \"{wrong}\", but AWS takes events such as s3:ObjectCreated:*"));
    }
    let (mut prefix, mut suffix) = (String::new(), String::new());
    let key = fields.map("Filter", &FILTER).and_then(|filter| filter.map("S3Key", &KEY));
    for rule in key.as_ref().and_then(|key| key.maps("Rules", &RULE)).unwrap_or_default() {
        let (name, value) = (rule.text("Name")?, rule.text("Value")?);
        match name.to_ascii_lowercase().as_str() {
            "prefix" => prefix = value,
            "suffix" => suffix = value,
            _ => rule.wrong("Name", &format!("is \"{name}\", but AWS takes prefix and suffix")),
        }
    }
    Some((prefix, suffix))
}
