//! The asynchronous invocations of functions: retries, destinations, dead-letter queues.

use std::time::Duration;

use super::*;
use crate::{EventInvokeConfig, Target};

const TARGETS: &str = "  Q: {Type: AWS::SQS::Queue}\n  T: {Type: AWS::SNS::Topic}\n";

/// A function of SAM on line 3 with these properties, and the targets.
fn of_sam(properties: &str) -> String {
    let function = format!("Handler: a.b, Runtime: python3.13, {properties}");
    with_resources(&format!("  F: {{Type: AWS::Serverless::Function, Properties: {{{function}}}}}\n{TARGETS}"))
}

/// A function of CloudFormation on line 3 with an `EventInvokeConfig` on line 4, and the targets.
fn raw(properties: &str, config: &str) -> String {
    let role = "Role: 'arn:aws:iam::000000000000:role/r', Code: {ZipFile: x}, Handler: index.b, Runtime: python3.13";
    with_resources(&format!(
        "  F: {{Type: AWS::Lambda::Function, Properties: {{{role}, {properties}}}}}\n  \
         C: {{Type: AWS::Lambda::EventInvokeConfig, Properties: {{Qualifier: $LATEST, {config}}}}}\n{TARGETS}"
    ))
}

fn config(source: &str) -> EventInvokeConfig {
    read(source).functions.remove(0).event_invoke
}

#[test]
fn without_settings_an_event_is_retried_twice_within_six_hours() {
    let expected = EventInvokeConfig {
        maximum_event_age: Duration::from_secs(21_600),
        maximum_retry_attempts: 2,
        on_success: None,
        on_failure: None,
        dead_letters: None,
    };
    assert_eq!(config(&of_sam("Timeout: 3")), expected);
}

#[test]
fn sam_and_cloudformation_say_the_same_in_two_ways() {
    let topic = Target::Topic("arn:aws:sns:eu-central-1:000000000000:local-T".to_owned());
    let expected = EventInvokeConfig {
        maximum_event_age: Duration::from_secs(60),
        maximum_retry_attempts: 0,
        on_success: Some(Target::Function("local-F".to_owned())),
        on_failure: Some(Target::Queue("local-Q".to_owned())),
        dead_letters: Some(topic),
    };
    let numbers = "MaximumEventAgeInSeconds: 60, MaximumRetryAttempts: 0";
    let sam = of_sam(&format!(
        "DeadLetterQueue: {{Type: SNS, TargetArn: !Ref T}}, EventInvokeConfig: {{{numbers}, DestinationConfig: \
         {{OnSuccess: {{Type: Lambda, Destination: !GetAtt F.Arn}}, OnFailure: {{Type: SQS, Destination: !GetAtt \
         Q.Arn}}}}}}"
    ));
    assert_eq!(config(&sam), expected);
    let raw = raw(
        "DeadLetterConfig: {TargetArn: !Ref T}",
        &format!(
            "FunctionName: !Ref F, {numbers}, DestinationConfig: {{OnSuccess: {{Destination: !GetAtt F.Arn}}, \
             OnFailure: {{Destination: !GetAtt Q.Arn}}}}"
        ),
    );
    assert_eq!(config(&raw), expected);
}

#[test]
fn what_lambda_does_not_take_is_an_error_with_its_line() {
    let missing = "(--allow-missing leaves them out)";
    for (properties, message) in [
        ("EventInvokeConfig: {MaximumRetryAttempts: 3}", "EventInvokeConfig.MaximumRetryAttempts is 3, but AWS takes"),
        ("EventInvokeConfig: {MaximumEventAgeInSeconds: 5}", "EventInvokeConfig.MaximumEventAgeInSeconds is 5, but"),
        ("DeadLetterQueue: {Type: SQS, TargetArn: !GetAtt F.Arn}", "A dead-letter queue.TargetArn is a function, but"),
        ("DeadLetterQueue: {Type: SQX, TargetArn: !GetAtt Q.Arn}", "A dead-letter queue.Type cannot be \"SQX\""),
        (
            "EventInvokeConfig: {DestinationConfig: {OnFailure: {Type: SQS}}}",
            &format!("OnFailure has no Destination: the one that SAM makes is not made here {missing}"),
        ),
        (
            "EventInvokeConfig: {DestinationConfig: {OnSuccess: {Type: EventBridge, Destination: 'arn:bus'}}}",
            &format!(
                "\"arn:bus\" is not a queue, topic or function of this template: events do not go there {missing}"
            ),
        ),
    ] {
        assert_problems(&of_sam(properties), &[(3, message)]);
    }
    let message = "AWS::Lambda::EventInvokeConfig.FunctionName is \"other\", which is not the Arn of a function";
    assert_problems(&raw("Timeout: 3", "FunctionName: other"), &[(4, message)]);
}
