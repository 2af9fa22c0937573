//! `AWS::SQS::Queue`: the attributes of `CreateQueue`.

use std::collections::BTreeMap;

use super::Context;
use crate::fields::{Fields, Schema};
use crate::model::Queue;
use crate::resource::{Kind, Resource};

pub(crate) const QUEUE: Schema = Schema {
    subject: "AWS::SQS::Queue",
    required: &[],
    optional: &[
        "ContentBasedDeduplication",
        "DeduplicationScope",
        "DelaySeconds",
        "FifoQueue",
        "FifoThroughputLimit",
        "MaximumMessageSize",
        "MessageRetentionPeriod",
        "QueueName",
        "ReceiveMessageWaitTimeSeconds",
        "RedrivePolicy",
        "VisibilityTimeout",
    ],
    ignored: &["KmsDataKeyReusePeriodSeconds", "KmsMasterKeyId", "RedriveAllowPolicy", "SqsManagedSseEnabled", "Tags"],
};

pub(crate) const REDRIVE_POLICY: Schema = Schema {
    subject: "RedrivePolicy",
    required: &["deadLetterTargetArn", "maxReceiveCount"],
    optional: &[],
    ignored: &[],
};

pub(crate) const FIFO_SUFFIX: &str = ".fifo";

/// SQS's default, for a template that gives no value.
pub(crate) const DEFAULT_VISIBILITY_TIMEOUT_SECONDS: u32 = 30;

pub(crate) fn queues(context: &Context<'_>) -> Vec<Queue> {
    context.scope.present(Kind::Queue).filter_map(|resource| build(context, resource)).collect()
}

fn build(context: &Context<'_>, resource: &Resource) -> Option<Queue> {
    let fields = context.fields(resource, &QUEUE);
    let mut attributes = BTreeMap::new();
    for (name, range) in [
        ("DelaySeconds", 0..=900),
        ("MaximumMessageSize", 1_024..=1_048_576),
        ("MessageRetentionPeriod", 60..=1_209_600),
        ("ReceiveMessageWaitTimeSeconds", 0..=20),
        ("VisibilityTimeout", 0..=43_200),
    ] {
        attributes.extend(fields.integer(name, range).map(|value| (name.to_owned(), value.to_string())));
    }
    let name = context.problems.keep(resource.name(context.scope))?;
    let fifo = fields.boolean("FifoQueue").unwrap_or(false);
    attributes.extend(fifo_attributes(&fields, fifo));
    check_name(&fields, &name, fifo);
    if let Some(policy) = redrive_policy(context, &fields, &name) {
        attributes.insert("RedrivePolicy".to_owned(), policy);
    }
    Some(Queue {
        logical_id: resource.id.clone(),
        arn: context.problems.keep(resource.attribute(context.scope, resource.line, "Arn"))?,
        url: context.problems.keep(resource.reference(context.scope))?,
        name,
        attributes,
    })
}

fn fifo_attributes(fields: &Fields<'_>, fifo: bool) -> BTreeMap<String, String> {
    let mut attributes = BTreeMap::new();
    if fifo {
        attributes.insert("FifoQueue".to_owned(), "true".to_owned());
    }
    let deduplication = fields.boolean("ContentBasedDeduplication").map(|value| value.to_string());
    let scope = fields.choice("DeduplicationScope", &["messageGroup", "queue"]);
    let limit = fields.choice("FifoThroughputLimit", &["perMessageGroupId", "perQueue"]);
    if limit.as_deref() == Some("perMessageGroupId") && scope.as_deref() != Some("messageGroup") {
        fields.wrong("FifoThroughputLimit", "can be perMessageGroupId only with the DeduplicationScope messageGroup");
    }
    for (name, value) in
        [("ContentBasedDeduplication", deduplication), ("DeduplicationScope", scope), ("FifoThroughputLimit", limit)]
    {
        let Some(value) = value else { continue };
        if !fifo {
            fields.wrong(name, "is only for FIFO queues: add FifoQueue: true or remove it");
        }
        attributes.insert(name.to_owned(), value);
    }
    attributes
}

fn check_name(fields: &Fields<'_>, name: &str, fifo: bool) {
    let stem = name.strip_suffix(FIFO_SUFFIX);
    if fifo && stem.is_none() {
        fields.wrong("QueueName", &format!("is \"{name}\", but the name of a FIFO queue ends in .fifo"));
    } else if !fifo && stem.is_some() {
        fields.wrong("QueueName", &format!("is \"{name}\", but only FIFO queues end in .fifo: add FifoQueue: true"));
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let stem = stem.unwrap_or(name);
    if stem.is_empty() || !stem.chars().all(allowed) || name.len() > 80 {
        let message = "but AWS takes 1 to 80 letters, digits, hyphens and underscores";
        fields.wrong("QueueName", &format!("is \"{name}\", {message}"));
    }
}

fn redrive_policy(context: &Context<'_>, fields: &Fields<'_>, name: &str) -> Option<String> {
    let policy = fields.map("RedrivePolicy", &REDRIVE_POLICY)?;
    let arn = policy.text("deadLetterTargetArn")?;
    let receives = policy.integer("maxReceiveCount", 1..=1_000)?;
    let Some(target) = context.scope.find(Kind::Queue, "Arn", &arn) else {
        policy.wrong("deadLetterTargetArn", &format!("is \"{arn}\", which is not a queue of this template"));
        return None;
    };
    let target = context.problems.keep(target.name(context.scope))?;
    if target.ends_with(FIFO_SUFFIX) != name.ends_with(FIFO_SUFFIX) {
        let kind = |name: &str| if name.ends_with(FIFO_SUFFIX) { "FIFO" } else { "standard" };
        let (own, other) = (kind(name), kind(&target));
        let message = format!("is a {other} queue, but the dead-letter queue of a {own} queue is a {own} queue too");
        policy.wrong("deadLetterTargetArn", &message);
    }
    Some(serde_json::json!({ "deadLetterTargetArn": arn, "maxReceiveCount": receives }).to_string())
}
