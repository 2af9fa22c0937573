//! Queues as event sources: events of the type SQS and `AWS::Lambda::EventSourceMapping`, with the checks that Lambda
//! makes when it creates an event source mapping.

use std::time::Duration;

use samovar_eventbridge::Pattern;

use super::Context;
use super::event::Event;
use super::queue::{DEFAULT_VISIBILITY_TIMEOUT_SECONDS, FIFO_SUFFIX};
use crate::fields::{Fields, Schema};
use crate::model::{Queue, SqsEventSource};
use crate::resource::{Kind, Resource};
use crate::yaml::{Data, Node};

pub(crate) const SQS_EVENT: Schema = Schema {
    subject: "An event of the type SQS",
    required: &["Queue"],
    optional: &[
        "BatchSize",
        "Enabled",
        "FilterCriteria",
        "FunctionResponseTypes",
        "MaximumBatchingWindowInSeconds",
        "ScalingConfig",
    ],
    ignored: &["KmsKeyArn", "LoggingConfig", "MetricsConfig", "ProvisionedPollerConfig"],
};

pub(crate) const FILTER_CRITERIA: Schema =
    Schema { subject: "FilterCriteria", required: &[], optional: &["Filters"], ignored: &[] };

pub(crate) const FILTER: Schema = Schema { subject: "A filter", required: &[], optional: &["Pattern"], ignored: &[] };

pub(crate) const SCALING_CONFIG: Schema =
    Schema { subject: "ScalingConfig", required: &[], optional: &["MaximumConcurrency"], ignored: &[] };

const DEFAULT_BATCH_SIZE: u32 = 10;
/// Above this size Lambda requires a batching window, and FIFO queues accept no more.
const LARGEST_SIMPLE_BATCH: u32 = 10;
const REPORT_BATCH_ITEM_FAILURES: &str = "ReportBatchItemFailures";

pub(super) fn source(
    event: &Event<'_>,
    timeout_seconds: u32,
    context: &Context<'_>,
    queues: &[Queue],
) -> Option<SqsEventSource> {
    let properties = Fields::new(&SQS_EVENT, event.properties, context.problems);
    let arn = properties.text("Queue")?;
    let Some(queue) = context.scope.find(Kind::Queue, "Arn", &arn) else {
        if context.scope.locals.allow_missing {
            let message = format!("The queue \"{arn}\" is not in this template: its events do not come here");
            context.problems.note(event.line, message);
            return None;
        }
        let message = format!("is \"{arn}\", which is not the Arn of a queue of this template: use !GetAtt Queue.Arn");
        properties.wrong("Queue", &message);
        return None;
    };
    mapping(event.logical_id(), &properties, "Queue", queue, timeout_seconds, context, queues)
}

/// The source that reads this queue. The property `of` of the mapping names the queue.
pub(super) fn mapping(
    logical_id: String,
    properties: &Fields<'_>,
    of: &str,
    queue: &Resource,
    timeout_seconds: u32,
    context: &Context<'_>,
    queues: &[Queue],
) -> Option<SqsEventSource> {
    let source = build(logical_id, properties, of, queue, context)?;
    check_visibility(properties, of, &source, timeout_seconds, queues);
    Some(source)
}

fn build(
    logical_id: String,
    properties: &Fields<'_>,
    of: &str,
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
        properties.wrong("MaximumBatchingWindowInSeconds", "is not allowed for a FIFO queue: remove it");
    } else if batch_size > LARGEST_SIMPLE_BATCH && window == 0 {
        properties.wrong("BatchSize", "above 10 needs MaximumBatchingWindowInSeconds: 1 or more");
    }
    let scaling = properties.map("ScalingConfig", &SCALING_CONFIG);
    Some(SqsEventSource {
        logical_id,
        queue: name,
        queue_arn: properties.text(of)?,
        batch_size,
        maximum_batching_window: Duration::from_secs(window.into()),
        report_batch_item_failures: reports_failures(properties),
        maximum_concurrency: scaling.and_then(|scaling| scaling.integer("MaximumConcurrency", 2..=1_000)),
        filters: filters(properties),
        enabled: properties.boolean("Enabled").unwrap_or(true),
    })
}

pub(super) fn reports_failures(properties: &Fields<'_>) -> bool {
    let responses = properties.texts("FunctionResponseTypes").unwrap_or_default();
    if responses.iter().any(|response| response != REPORT_BATCH_ITEM_FAILURES) {
        properties.wrong("FunctionResponseTypes", &format!("must be [{REPORT_BATCH_ITEM_FAILURES}]"));
    }
    !responses.is_empty()
}

/// The patterns of `FilterCriteria`.
pub(super) fn filters(properties: &Fields<'_>) -> Vec<Pattern> {
    let criteria = properties.map("FilterCriteria", &FILTER_CRITERIA);
    let filters = criteria.as_ref().and_then(|criteria| criteria.maps("Filters", &FILTER)).unwrap_or_default();
    let patterns = filters.iter().filter_map(|filter| {
        // SAM takes a map too, and writes it as text.
        let read = match filter.node("Pattern")? {
            node @ Node { data: Data::Map(_), .. } => Pattern::of(&node.to_json()),
            _ => Pattern::parse(&filter.text("Pattern")?),
        };
        read.map_err(|error| filter.wrong("Pattern", &format!("is no event pattern. {error}"))).ok()
    });
    patterns.collect()
}

fn check_visibility(
    properties: &Fields<'_>,
    of: &str,
    source: &SqsEventSource,
    timeout_seconds: u32,
    queues: &[Queue],
) {
    let Some(queue) = queues.iter().find(|queue| queue.name == source.queue) else { return };
    let visibility = queue.attributes.get("VisibilityTimeout").and_then(|value| value.parse().ok());
    let visibility = visibility.unwrap_or(DEFAULT_VISIBILITY_TIMEOUT_SECONDS);
    if timeout_seconds > visibility {
        let message = format!(
            "has a VisibilityTimeout of {visibility} s, \
             less than the function's Timeout of {timeout_seconds} s: raise it \
             (AWS asks for six times the Timeout)"
        );
        properties.wrong(of, &message);
    }
}
