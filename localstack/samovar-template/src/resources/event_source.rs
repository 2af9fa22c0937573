//! A function's `Events`: of the type SQS, with the checks that Lambda makes when it creates an event source mapping, and
//! schedules. Those of the type `HttpApi` are routes of their API and are read with it (`http_event`).

use std::time::Duration;

use super::Context;
use super::event::{EVENT, HTTP_API_EVENT};
use super::queue::{DEFAULT_VISIBILITY_TIMEOUT_SECONDS, FIFO_SUFFIX};
use super::schedule::schedule;
use crate::fields::{Fields, Schema};
use crate::model::{Queue, Schedule, SqsEventSource};
use crate::resource::{Kind, Resource};
use crate::yaml::{Data, Entry};

pub(crate) const SQS_EVENT: Schema = Schema {
    subject: "An event of the type SQS",
    required: &["Queue"],
    optional: &["BatchSize", "Enabled", "FunctionResponseTypes", "MaximumBatchingWindowInSeconds", "ScalingConfig"],
    ignored: &["KmsKeyArn", "LoggingConfig", "MetricsConfig"],
};

const SCALING_CONFIG: Schema =
    Schema { subject: "ScalingConfig", required: &[], optional: &["MaximumConcurrency"], ignored: &[] };

const DEFAULT_BATCH_SIZE: u32 = 10;
/// Above it Lambda wants a batching window, and FIFO queues take no more.
const LARGEST_SIMPLE_BATCH: u32 = 10;
const REPORT_BATCH_ITEM_FAILURES: &str = "ReportBatchItemFailures";

pub(crate) fn events(
    function: &Resource,
    fields: &Fields<'_>,
    timeout_seconds: u32,
    context: &Context<'_>,
    queues: &[Queue],
) -> (Vec<SqsEventSource>, Vec<Schedule>) {
    let (mut sources, mut schedules) = (Vec::new(), Vec::new());
    let Some(events) = fields.node("Events") else { return (sources, schedules) };
    if !matches!(events.data, Data::Map(_)) {
        context.problems.push(events.not("Events", "a map"));
    }
    for event in events.entries() {
        let kind = Fields::new(&EVENT, &event.value, context.problems);
        match kind.text("Type").as_deref() {
            Some("SQS") => sources.extend(source(function, event, &kind, timeout_seconds, context, queues)),
            Some("ScheduleV2") => schedules.extend(schedule(function, event, &kind, context)),
            Some(HTTP_API_EVENT) => {}
            Some(other) => {
                let known = "SQS, ScheduleV2 and HttpApi";
                kind.wrong("Type", &format!("is {other}, but the local stack has only events of the types {known}"));
            }
            None => {}
        }
    }
    (sources, schedules)
}

fn source(
    function: &Resource,
    event: &Entry,
    kind: &Fields<'_>,
    timeout_seconds: u32,
    context: &Context<'_>,
    queues: &[Queue],
) -> Option<SqsEventSource> {
    let (properties, queue) = queue_of(kind, context)?;
    let source = build(format!("{}{}", function.id, event.key), &properties, queue, context)?;
    check_visibility(&properties, &source, timeout_seconds, queues);
    Some(source)
}

/// The properties of an SQS event, and its queue.
fn queue_of<'a>(kind: &Fields<'_>, context: &'a Context<'_>) -> Option<(Fields<'a>, &'a Resource)> {
    let properties = Fields::new(&SQS_EVENT, kind.node("Properties")?, context.problems);
    let arn = properties.text("Queue")?;
    let queue = context.scope.find(Kind::Queue, "Arn", &arn);
    if queue.is_none() {
        let message = format!("is \"{arn}\", which is not the Arn of a queue of this template: use !GetAtt Queue.Arn");
        properties.wrong("Queue", &message);
    }
    Some((properties, queue?))
}

fn build(
    logical_id: String,
    properties: &Fields<'_>,
    queue: &Resource,
    context: &Context<'_>,
) -> Option<SqsEventSource> {
    let name = context.problems.keep(queue.name(context.scope))?;
    let fifo = name.ends_with(FIFO_SUFFIX);
    let batch_size = properties.integer("BatchSize", 1..=10_000).unwrap_or(DEFAULT_BATCH_SIZE);
    let window = properties.integer("MaximumBatchingWindowInSeconds", 0..=300).unwrap_or(0);
    if fifo && batch_size > LARGEST_SIMPLE_BATCH {
        properties.wrong("BatchSize", &format!("is {batch_size}, but AWS takes 1 to 10 for a FIFO queue"));
    } else if fifo && window > 0 {
        properties.wrong("MaximumBatchingWindowInSeconds", "is not for FIFO queues: remove it");
    } else if batch_size > LARGEST_SIMPLE_BATCH && window == 0 {
        properties.wrong("BatchSize", "above 10 needs MaximumBatchingWindowInSeconds: 1 or more");
    }
    let responses = properties.texts("FunctionResponseTypes").unwrap_or_default();
    if responses.iter().any(|response| response != REPORT_BATCH_ITEM_FAILURES) {
        properties.wrong("FunctionResponseTypes", &format!("can only be [{REPORT_BATCH_ITEM_FAILURES}]"));
    }
    let scaling = properties.map("ScalingConfig", &SCALING_CONFIG);
    Some(SqsEventSource {
        logical_id,
        queue: name,
        queue_arn: properties.text("Queue")?,
        batch_size,
        maximum_batching_window: Duration::from_secs(window.into()),
        report_batch_item_failures: !responses.is_empty(),
        maximum_concurrency: scaling.and_then(|scaling| scaling.integer("MaximumConcurrency", 2..=1_000)),
        enabled: properties.boolean("Enabled").unwrap_or(true),
    })
}

fn check_visibility(properties: &Fields<'_>, source: &SqsEventSource, timeout_seconds: u32, queues: &[Queue]) {
    let Some(queue) = queues.iter().find(|queue| queue.name == source.queue) else { return };
    let visibility = queue.attributes.get("VisibilityTimeout").and_then(|value| value.parse().ok());
    let visibility = visibility.unwrap_or(DEFAULT_VISIBILITY_TIMEOUT_SECONDS);
    if timeout_seconds > visibility {
        let message = format!(
            "has a VisibilityTimeout of {visibility} s, less than the function's Timeout of {timeout_seconds} s: raise it \
             (AWS asks for six times the Timeout)"
        );
        properties.wrong("Queue", &message);
    }
}
