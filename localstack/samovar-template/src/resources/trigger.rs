//! A function's `Events` of the types S3, SNS and DynamoDB, and the notifications of buckets.
//!
//! An event from a resource of another stack never comes here, so the function needs something that is not here.

use super::Context;
use super::bucket::BUCKET;
use super::event::Event;
use super::stream_source::{STREAM_EVENT, stream};
use crate::fields::{Fields, Schema};
use crate::model::Trigger;
use crate::resource::{Kind, Resource};
use crate::yaml::{Data, Node};

pub(crate) const S3_EVENT: Schema =
    Schema { subject: "An event of the type S3", required: &["Bucket", "Events"], optional: &["Filter"], ignored: &[] };

pub(crate) const S3_FILTER: Schema = Schema { subject: "Filter", required: &["S3Key"], optional: &[], ignored: &[] };
pub(crate) const S3_KEY: Schema = Schema { subject: "S3Key", required: &["Rules"], optional: &[], ignored: &[] };
pub(crate) const S3_RULE: Schema =
    Schema { subject: "A rule of S3Key", required: &["Name", "Value"], optional: &[], ignored: &[] };

/// `NotificationConfiguration` of a bucket.
pub(crate) const NOTIFICATIONS: Schema = Schema {
    subject: "NotificationConfiguration",
    required: &[],
    optional: &["EventBridgeConfiguration", "LambdaConfigurations", "QueueConfigurations", "TopicConfigurations"],
    ignored: &[],
};

pub(crate) const NOTIFICATION: Schema = Schema {
    subject: "A configuration of LambdaConfigurations",
    required: &["Event", "Function"],
    optional: &["Filter"],
    ignored: &[],
};

pub(crate) const SNS_EVENT: Schema = Schema {
    subject: "An event of the type SNS",
    required: &["Topic"],
    optional: &["FilterPolicy"],
    ignored: &["FilterPolicyScope", "RedrivePolicy", "Region", "SqsSubscription"],
};

pub(super) fn read(event: &Event<'_>, event_type: &str, context: &Context<'_>) -> Option<Trigger> {
    match event_type {
        "S3" => s3(event, context),
        "SNS" => sns(event, context),
        _ => {
            let fields = Fields::new(&STREAM_EVENT, event.properties, context.problems);
            stream(event.logical_id(), &fields, "Stream", event.line, context)
        }
    }
}

fn s3(event: &Event<'_>, context: &Context<'_>) -> Option<Trigger> {
    let fields = Fields::new(&S3_EVENT, event.properties, context.problems);
    let events = match fields.node("Events") {
        Some(Node { data: Data::List(_), .. }) => fields.texts("Events"),
        _ => fields.text("Events").map(|one| vec![one]),
    };
    let (prefix, suffix) = filtered(&fields, "Events", events.as_deref().unwrap_or_default())?;
    let name = fields.text("Bucket")?;
    let known = context.scope.present(Kind::Bucket).any(|bucket| bucket.name(context.scope).as_ref() == Ok(&name));
    if !known {
        fields
            .wrong("Bucket", &format!("is \"{name}\", which is not a bucket of this template: SAM needs !Ref Bucket"));
    }
    Some(Trigger::S3 { bucket: name, events: events?, prefix, suffix })
}

/// Checks the names of events. Returns the beginning and the end of the keys that `Filter` lets through.
fn filtered(fields: &Fields<'_>, property: &str, events: &[String]) -> Option<(String, String)> {
    if let Some(wrong) = events.iter().find(|event| !event.starts_with("s3:")) {
        fields.wrong(property, &format!("has \"{wrong}\", but AWS takes events such as s3:ObjectCreated:*"));
    }
    let (mut prefix, mut suffix) = (String::new(), String::new());
    let key = fields.map("Filter", &S3_FILTER).and_then(|filter| filter.map("S3Key", &S3_KEY));
    for rule in key.as_ref().and_then(|key| key.maps("Rules", &S3_RULE)).unwrap_or_default() {
        let (name, value) = (rule.text("Name")?, rule.text("Value")?);
        match name.to_ascii_lowercase().as_str() {
            "prefix" => prefix = value,
            "suffix" => suffix = value,
            _ => rule.wrong("Name", &format!("is \"{name}\", but AWS takes prefix and suffix")),
        }
    }
    Some((prefix, suffix))
}

/// Checks a bucket's `NotificationConfiguration`. The events for functions are in the functions' own model.
pub(super) fn check_notifications(context: &Context<'_>, bucket: &Fields<'_>) {
    let Some(notifications) = bucket.map("NotificationConfiguration", &NOTIFICATIONS) else { return };
    for name in ["EventBridgeConfiguration", "QueueConfigurations", "TopicConfigurations"] {
        if notifications.has(name) {
            context.not_read(notifications.line(name), format!("The events of {name} are not read"));
        }
    }
    for one in notifications.maps("LambdaConfigurations", &NOTIFICATION).unwrap_or_default() {
        if let Some(named) = one.text("Function")
            && context.function(&named).is_none()
        {
            context.missing_function(&one, "Function", &named);
        }
    }
}

/// The notifications that buckets send to this function.
pub(super) fn notifications(context: &Context<'_>, function: &Resource) -> Vec<Trigger> {
    let mut triggers = Vec::new();
    for resource in context.scope.present(Kind::Bucket) {
        let bucket = context.fields(resource, &BUCKET);
        let Some(notifications) = bucket.map("NotificationConfiguration", &NOTIFICATIONS) else { continue };
        for one in notifications.maps("LambdaConfigurations", &NOTIFICATION).unwrap_or_default() {
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

fn sns(event: &Event<'_>, context: &Context<'_>) -> Option<Trigger> {
    let fields = Fields::new(&SNS_EVENT, event.properties, context.problems);
    let topic = fields.text("Topic")?;
    let filter_policy = fields.node("FilterPolicy").map(Node::to_json);
    if context.scope.find(Kind::Topic, "TopicArn", &topic).is_none() {
        never_comes(context, event.line, "topic", &topic);
        return None;
    }
    Some(Trigger::Sns { topic, filter_policy })
}

pub(super) fn never_comes(context: &Context<'_>, line: usize, what: &str, arn: &str) {
    context.not_read(line, format!("The {what} \"{arn}\" is not in this template: its events do not come here"));
}
