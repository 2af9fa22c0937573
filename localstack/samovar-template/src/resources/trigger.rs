//! A function's `Events` of the types S3, SNS and DynamoDB.
//!
//! An event from a resource of another stack never comes here, so the function needs something that is not here.

use super::Context;
use super::event::Event;
use super::notification::filtered;
use super::stream_source::{STREAM_EVENT, stream};
use super::topic;
use crate::fields::{Fields, Schema};
use crate::model::Trigger;
use crate::resource::Kind;
use crate::yaml::{Data, Node};

pub(crate) const S3_EVENT: Schema =
    Schema { subject: "An event of the type S3", required: &["Bucket", "Events"], optional: &["Filter"], ignored: &[] };

pub(crate) const SNS_EVENT: Schema = Schema {
    subject: "An event of the type SNS",
    required: &["Topic"],
    optional: &["FilterPolicy", "FilterPolicyScope", "SqsSubscription"],
    ignored: &["RedrivePolicy", "Region"],
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

fn sns(event: &Event<'_>, context: &Context<'_>) -> Option<Trigger> {
    let fields = Fields::new(&SNS_EVENT, event.properties, context.problems);
    let topic = fields.text("Topic")?;
    let filter_policy = fields.node("FilterPolicy").map(Node::to_json);
    let filter_by_body = topic::filters_by_body(&fields);
    if fields.node("SqsSubscription").is_some_and(|node| node.as_text().as_deref() != Some("false")) {
        let message = "The queue that SqsSubscription makes is not made here".to_owned();
        context.not_read(fields.line("SqsSubscription"), message);
    }
    if context.scope.find(Kind::Topic, "TopicArn", &topic).is_none() {
        never_comes(context, event.line, "topic", &topic);
        return None;
    }
    Some(Trigger::Sns { topic, filter_policy, filter_by_body })
}

pub(super) fn never_comes(context: &Context<'_>, line: usize, what: &str, arn: &str) {
    context.not_read(line, format!("The {what} \"{arn}\" is not in this template: its events do not come here"));
}
