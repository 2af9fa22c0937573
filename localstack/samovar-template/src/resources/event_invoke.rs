//! How Lambda handles the asynchronous invocations of a function: `EventInvokeConfig` and `DeadLetterQueue` of SAM,
//! `AWS::Lambda::EventInvokeConfig` and `DeadLetterConfig` of CloudFormation.

use std::time::Duration;

use super::{Context, target};
use crate::fields::{Fields, Schema};
use crate::model::{EventInvokeConfig, Target};
use crate::resource::{Kind, RAW_FUNCTION, Resource};

/// `EventInvokeConfig` of a function of SAM.
pub(crate) const CONFIG: Schema = Schema {
    subject: "EventInvokeConfig",
    required: &[],
    optional: &["DestinationConfig", "MaximumEventAgeInSeconds", "MaximumRetryAttempts"],
    ignored: &[],
};

pub(crate) const RESOURCE: Schema = Schema {
    subject: "AWS::Lambda::EventInvokeConfig",
    required: &["FunctionName", "Qualifier"],
    optional: &["DestinationConfig", "MaximumEventAgeInSeconds", "MaximumRetryAttempts"],
    ignored: &[],
};

pub(crate) const DESTINATIONS: Schema =
    Schema { subject: "DestinationConfig", required: &[], optional: &["OnFailure", "OnSuccess"], ignored: &[] };

/// SAM has `Type`, CloudFormation has not.
pub(crate) const DESTINATION: Schema =
    Schema { subject: "A destination", required: &[], optional: &["Destination", "Type"], ignored: &[] };

/// `DeadLetterQueue` of SAM, `DeadLetterConfig` of CloudFormation.
pub(crate) const DEAD_LETTERS: Schema =
    Schema { subject: "A dead-letter queue", required: &["TargetArn"], optional: &["Type"], ignored: &[] };

pub(super) fn of_function(context: &Context<'_>, function: &Resource, fields: &Fields<'_>) -> EventInvokeConfig {
    let raw = function.type_name == RAW_FUNCTION;
    let mut config = EventInvokeConfig::default();
    if let Some(own) = (!raw).then(|| fields.map("EventInvokeConfig", &CONFIG)).flatten() {
        read(context, &own, &mut config);
    }
    for resource in context.scope.present(Kind::EventInvokeConfig) {
        let own = context.fields(resource, &RESOURCE);
        let Some(named) = own.text("FunctionName") else { continue };
        match context.function(&named) {
            Some(named) if named.id == function.id => read(context, &own, &mut config),
            Some(_) => {}
            None => context.missing_function(&own, "FunctionName", &named),
        }
    }
    let name = if raw { "DeadLetterConfig" } else { "DeadLetterQueue" };
    if let Some(dead_letters) = fields.map(name, &DEAD_LETTERS) {
        dead_letters.choice("Type", &["SNS", "SQS"]);
        let arn = dead_letters.text("TargetArn");
        config.dead_letters = arn.and_then(|arn| target::of_arn(context, dead_letters.line("TargetArn"), &arn));
        if matches!(config.dead_letters, Some(Target::Function(_))) {
            dead_letters.wrong("TargetArn", "is a function, but AWS takes a queue or a topic");
        }
    }
    config
}

fn read(context: &Context<'_>, fields: &Fields<'_>, config: &mut EventInvokeConfig) {
    if let Some(seconds) = fields.integer("MaximumEventAgeInSeconds", 60..=21_600) {
        config.maximum_event_age = Duration::from_secs(seconds.into());
    }
    if let Some(attempts) = fields.integer("MaximumRetryAttempts", 0..=2) {
        config.maximum_retry_attempts = attempts;
    }
    let Some(destinations) = fields.map("DestinationConfig", &DESTINATIONS) else { return };
    config.on_success = destination(context, &destinations, "OnSuccess").or(config.on_success.take());
    config.on_failure = destination(context, &destinations, "OnFailure").or(config.on_failure.take());
}

fn destination(context: &Context<'_>, destinations: &Fields<'_>, name: &str) -> Option<Target> {
    let fields = destinations.map(name, &DESTINATION)?;
    fields.choice("Type", &["EventBridge", "Lambda", "S3Bucket", "SNS", "SQS"]);
    match fields.text("Destination") {
        Some(arn) => target::of_arn(context, fields.line("Destination"), &arn),
        None => {
            let line = destinations.line(name);
            context.not_read(line, format!("{name} has no Destination: the one that SAM makes is not made here"));
            None
        }
    }
}
