//! `AWS::Lambda::EventSourceMapping`: what the events of the types SQS and DynamoDB become.

use super::Context;
use super::event::Sources;
use super::event_source::mapping;
use super::stream_source::stream;
use crate::fields::Schema;
use crate::model::Queue;
use crate::resource::{Kind, Resource};

pub(crate) const EVENT_SOURCE_MAPPING: Schema = Schema {
    subject: "AWS::Lambda::EventSourceMapping",
    required: &["FunctionName"],
    optional: &[
        "BatchSize",
        "BisectBatchOnFunctionError",
        "DestinationConfig",
        "Enabled",
        "EventSourceArn",
        "FilterCriteria",
        "FunctionResponseTypes",
        "MaximumBatchingWindowInSeconds",
        "MaximumRecordAgeInSeconds",
        "MaximumRetryAttempts",
        "ScalingConfig",
        "StartingPosition",
        "TumblingWindowInSeconds",
    ],
    ignored: &[
        "AmazonManagedKafkaEventSourceConfig",
        "DocumentDBEventSourceConfig",
        "KmsKeyArn",
        "LoggingConfig",
        "MetricsConfig",
        "ParallelizationFactor",
        "ProvisionedPollerConfig",
        "Queues",
        "SelfManagedEventSource",
        "SelfManagedKafkaEventSourceConfig",
        "SourceAccessConfigurations",
        "StartingPositionTimestamp",
        "Tags",
        "Topics",
    ],
};

/// Adds the mappings for this function.
pub(super) fn add(
    context: &Context<'_>,
    function: &Resource,
    timeout_seconds: u32,
    queues: &[Queue],
    sources: &mut Sources,
) {
    for resource in context.scope.present(Kind::EventSourceMapping) {
        let fields = context.fields(resource, &EVENT_SOURCE_MAPPING);
        let Some(name) = fields.text("FunctionName") else { continue };
        match context.function(&name) {
            Some(named) if named.id == function.id => {}
            Some(_) => continue,
            None => {
                context.missing_function(&fields, "FunctionName", &name);
                continue;
            }
        }
        let arn = fields.text("EventSourceArn").unwrap_or_default();
        if let Some(queue) = context.scope.find(Kind::Queue, "Arn", &arn) {
            let id = resource.id.clone();
            let source = mapping(id, &fields, "EventSourceArn", queue, timeout_seconds, context, queues);
            sources.queues.extend(source);
        } else if context.scope.find(Kind::Table, "StreamArn", &arn).is_some() {
            sources.triggers.extend(stream(resource.id.clone(), &fields, "EventSourceArn", resource.line, context));
        } else {
            context.not_read(resource.line, format!("{}: events of \"{arn}\" do not come here", resource.id));
        }
    }
}
