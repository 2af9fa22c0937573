//! Streams of tables as event sources: events of the type DynamoDB and `AWS::Lambda::EventSourceMapping`.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::Context;
use super::event_source::{filters, reports_failures};
use super::trigger::never_comes;
use crate::fields::{Fields, Schema};
use crate::model::{StreamEventSource, Trigger};
use crate::resource::Kind;

pub(crate) const STREAM_EVENT: Schema = Schema {
    subject: "An event of the type DynamoDB",
    required: &["StartingPosition", "Stream"],
    optional: &[
        "BatchSize",
        "BisectBatchOnFunctionError",
        "DestinationConfig",
        "Enabled",
        "FilterCriteria",
        "FunctionResponseTypes",
        "MaximumBatchingWindowInSeconds",
        "MaximumRecordAgeInSeconds",
        "MaximumRetryAttempts",
        "TumblingWindowInSeconds",
    ],
    ignored: &[
        "KmsKeyArn",
        "LoggingConfig",
        "MetricsConfig",
        "ParallelizationFactor",
        "ProvisionedPollerConfig",
        "StartingPositionTimestamp",
    ],
};

pub(crate) const DESTINATION_CONFIG: Schema =
    Schema { subject: "DestinationConfig", required: &[], optional: &["OnFailure"], ignored: &["OnSuccess"] };

pub(crate) const ON_FAILURE: Schema =
    Schema { subject: "OnFailure", required: &["Destination"], optional: &[], ignored: &["Type"] };

const DEFAULT_BATCH_SIZE: u32 = 100;
/// A week.
const LARGEST_AGE_SECONDS: u32 = 604_800;

/// The stream of the table that the property `of` names.
pub(super) fn stream(
    logical_id: String,
    fields: &Fields<'_>,
    of: &str,
    line: usize,
    context: &Context<'_>,
) -> Option<Trigger> {
    let position = fields.choice("StartingPosition", &["LATEST", "TRIM_HORIZON"]);
    let batch_size = fields.integer("BatchSize", 1..=10_000).unwrap_or(DEFAULT_BATCH_SIZE);
    let window = fields.integer("MaximumBatchingWindowInSeconds", 0..=300).unwrap_or(0);
    let (filters, report_batch_item_failures) = (filters(fields), reports_failures(fields));
    let enabled = fields.boolean("Enabled").unwrap_or(true);
    let maximum_record_age = limit(fields, "MaximumRecordAgeInSeconds", 0..=LARGEST_AGE_SECONDS);
    if fields.integer("TumblingWindowInSeconds", 0..=900).is_some_and(|seconds| seconds > 0) {
        context.not_read(fields.line("TumblingWindowInSeconds"), "Tumbling windows are not run here".to_owned());
    }
    let on_failure = on_failure(fields, context);
    let stream_arn = fields.text(of)?;
    let Some(table) = context.scope.find(Kind::Table, "StreamArn", &stream_arn) else {
        never_comes(context, line, "stream", &stream_arn);
        return None;
    };
    if table.properties.get("StreamSpecification").is_none() {
        let message = format!("names the stream of {}, which has no StreamSpecification", table.id);
        fields.wrong(of, &message);
    }
    Some(Trigger::DynamoDb(StreamEventSource {
        logical_id,
        table: context.problems.keep(table.name(context.scope))?,
        stream_arn,
        from_beginning: position.as_deref() == Some("TRIM_HORIZON"),
        batch_size,
        maximum_batching_window: Duration::from_secs(window.into()),
        bisect_batch_on_function_error: fields.boolean("BisectBatchOnFunctionError").unwrap_or(false),
        maximum_retry_attempts: limit(fields, "MaximumRetryAttempts", 0..=10_000),
        maximum_record_age: maximum_record_age.map(|seconds| Duration::from_secs(seconds.into())),
        report_batch_item_failures,
        on_failure,
        filters,
        enabled,
    }))
}

/// A limit, of which -1 is none.
fn limit(fields: &Fields<'_>, name: &str, range: RangeInclusive<u32>) -> Option<u32> {
    let is_none = fields.node(name).and_then(|node| node.as_text()).as_deref() == Some("-1");
    if is_none { None } else { fields.integer(name, range) }
}

/// The queue or the topic that is told of discarded records.
fn on_failure(fields: &Fields<'_>, context: &Context<'_>) -> Option<String> {
    let arn =
        fields.map("DestinationConfig", &DESTINATION_CONFIG)?.map("OnFailure", &ON_FAILURE)?.text("Destination")?;
    let is = |kind, attribute| context.scope.find(kind, attribute, &arn).is_some();
    if is(Kind::Queue, "Arn") || is(Kind::Topic, "TopicArn") {
        return Some(arn);
    }
    let message = format!("The destination \"{arn}\" is no queue or topic of this template: it hears of no failures");
    context.not_read(fields.line("DestinationConfig"), message);
    None
}
