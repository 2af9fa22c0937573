//! The checks between resources: those that AWS makes, and those that prevent a silent failure.

use super::*;

/// A function with one event source, and its queue, on line 4.
fn source(function_properties: &str, event: &str, queue: &str) -> String {
    let events = format!("Events: {{E: {{Type: SQS, Properties: {{Queue: !GetAtt Q.Arn, {event}}}}}}}");
    let function = function("F", &format!("{function_properties} {events}"));
    with_resources(&format!("{function}  Q: {{Type: AWS::SQS::Queue, Properties: {{{queue}}}}}\n"))
}

#[test]
fn an_event_source_has_lambdas_defaults() {
    let function = read(&source("", "", "")).functions.remove(0);
    let event_source = &function.event_sources[0];
    assert_eq!(event_source.logical_id, "FE");
    assert_eq!((event_source.queue.as_str(), event_source.batch_size), ("local-Q", 10));
    assert_eq!(event_source.maximum_batching_window, Duration::ZERO);
    assert_eq!((event_source.maximum_concurrency, event_source.report_batch_item_failures), (None, false));
    let allowed = &function.policies[0]["Statement"][0]["Action"];
    assert_eq!(*allowed, json!(["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"]), "as SAM adds");
}

#[test]
fn a_function_timeout_above_the_visibility_timeout_is_an_error() {
    let message =
        "An event of the type SQS.Queue has a VisibilityTimeout of 30 s, less than the function's Timeout of 60 s";
    assert_problems(&source("Timeout: 60,", "", ""), &[(3, message)]);
    read(&source("Timeout: 60,", "", "VisibilityTimeout: 60"));
}

#[test]
fn a_reservation_below_the_maximum_concurrency_would_lose_messages() {
    let scaling = "ScalingConfig: {MaximumConcurrency: 5}";
    let message = "AWS::Serverless::Function.ReservedConcurrentExecutions is 4, \
                   less than the MaximumConcurrency of its event \
                   sources, 5: messages would be throttled into the dead-letter queue";
    assert_problems(&source("ReservedConcurrentExecutions: 4,", scaling, ""), &[(3, message)]);
    read(&source("ReservedConcurrentExecutions: 5,", scaling, ""));
}

#[test]
fn batch_size_and_concurrency_stay_within_lambdas_limits() {
    for (event, queue, message) in [
        (
            "ScalingConfig: {MaximumConcurrency: 1}",
            "",
            "ScalingConfig.MaximumConcurrency is 1, but AWS takes 2 to 1000",
        ),
        (
            "BatchSize: 11",
            "FifoQueue: true",
            "An event of the type SQS.BatchSize is 11, but AWS takes 1 to 10 for a FIFO",
        ),
        ("BatchSize: 11", "", "An event of the type SQS.BatchSize above 10 needs MaximumBatchingWindowInSeconds"),
        (
            "MaximumBatchingWindowInSeconds: 1",
            "FifoQueue: true",
            "An event of the type SQS.MaximumBatchingWindowInSeconds is not allowed for",
        ),
        ("FunctionResponseTypes: [All]", "", "An event of the type SQS.FunctionResponseTypes must be"),
        ("Filters: {}", "", "An event of the type SQS does not have the property \"Filters\""),
        (
            "FilterCriteria: {Filters: [{Pattern: body}]}",
            "",
            "A filter.Pattern is no event pattern. It is not JSON: expected value at line 1 column 1",
        ),
        (
            "FilterCriteria: {Filters: [{Pattern: {body: {kind: x}}}]}",
            "",
            "A filter.Pattern is no event pattern. body.kind: \"x\" must be in a list: [\"x\"]",
        ),
    ] {
        assert_problems(&source("", event, queue), &[(3, message)]);
    }
    let wrong_queue = source("", "", "").replace("!GetAtt Q.Arn", "!Ref Q");
    assert_problems(
        &wrong_queue,
        &[(3, "An event of the type SQS.Queue is \"http://127.0.0.1:8000/_aws/sqs/000000000000/local-Q\"")],
    );
}

#[test]
fn functions_that_share_a_binary_are_known_by_their_logical_ids() {
    let source =
        with_resources(&format!("{}{}", function("F", ""), function("G", "").replace("Binary: g", "Binary: f")));
    let names: Vec<String> = read(&source).functions.into_iter().map(|function| function.name).collect();
    assert_eq!(names, ["F", "G"]);
}

#[test]
fn a_mistake_in_a_resource_is_not_reported_for_resources_that_refer_to_it() {
    let source = source("Timeout: soon,", "", "DelaySeconds: 1000").replace("MemorySize: 1", "");
    let expected = [
        (3, "AWS::Serverless::Function.Timeout must be a whole number"),
        (4, "AWS::SQS::Queue.DelaySeconds is 1000, but AWS takes 0 to 900"),
    ];
    assert_problems(&source, &expected);
}
