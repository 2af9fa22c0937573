//! Schedules of functions: `Events` of the types Schedule (a rule of EventBridge) and ScheduleV2 (EventBridge
//! Scheduler), and `AWS::Scheduler::Schedule`.

use samovar_eventbridge::{Schedule as Expression, TimeZone};

use super::Context;
use super::event::{Event, Sources};
use crate::fields::{Fields, Schema};
use crate::model::{Schedule, Scheduler};
use crate::resource::{Kind, Resource};

pub(crate) const RULE_EVENT: Schema = Schema {
    subject: "An event of the type Schedule",
    required: &["Schedule"],
    optional: &["Enabled", "Input", "State"],
    ignored: &["DeadLetterConfig", "Description", "Name", "RetryPolicy", "RoleArn"],
};

pub(crate) const SCHEDULE_EVENT: Schema = Schema {
    subject: "An event of the type ScheduleV2",
    required: &["ScheduleExpression"],
    optional: &["Input", "ScheduleExpressionTimezone", "State"],
    ignored: &[
        "DeadLetterConfig",
        "Description",
        "EndDate",
        "FlexibleTimeWindow",
        "GroupName",
        "KmsKeyArn",
        "Name",
        "OmitName",
        "PermissionsBoundary",
        "RetryPolicy",
        "RoleArn",
        "StartDate",
    ],
};

pub(crate) const SCHEDULE: Schema = Schema {
    subject: "AWS::Scheduler::Schedule",
    required: &["FlexibleTimeWindow", "ScheduleExpression", "Target"],
    optional: &["Name", "ScheduleExpressionTimezone", "State"],
    ignored: &["Description", "EndDate", "GroupName", "KmsKeyArn", "StartDate"],
};

pub(crate) const FLEXIBLE_TIME_WINDOW: Schema =
    Schema { subject: "FlexibleTimeWindow", required: &["Mode"], optional: &[], ignored: &["MaximumWindowInMinutes"] };

pub(crate) const TARGET: Schema = Schema {
    subject: "The target of a schedule",
    required: &["Arn", "RoleArn"],
    optional: &["Input"],
    ignored: &[
        "DeadLetterConfig",
        "EcsParameters",
        "EventBridgeParameters",
        "KinesisParameters",
        "RetryPolicy",
        "SageMakerPipelineParameters",
        "SqsParameters",
    ],
};

const STATES: [&str; 2] = ["DISABLED", "ENABLED"];

pub(super) fn read(event: &Event<'_>, event_type: &str, context: &Context<'_>, sources: &mut Sources) -> Option<()> {
    let (schema, property, scheduler) = match event_type {
        "Schedule" => (&RULE_EVENT, "Schedule", Scheduler::Rule),
        _ => (&SCHEDULE_EVENT, "ScheduleExpression", Scheduler::Scheduler),
    };
    let properties = Fields::new(schema, event.properties, context.problems);
    let expression = properties.text(property)?;
    let (logical_id, input) = (event.logical_id(), properties.text("Input"));
    let state = properties.choice("State", &STATES);
    let is_rule = scheduler == Scheduler::Rule;
    if is_rule && properties.has("State") && properties.has("Enabled") {
        properties.wrong("State", "cannot stand beside Enabled: remove one");
    }
    let on = !is_rule || properties.boolean("Enabled").unwrap_or(true);
    let enabled = on && state.as_deref() != Some("DISABLED");
    let (expression, time_zone) = timing(&properties, property, &expression, scheduler)?;
    sources.schedules.push(Schedule { logical_id, scheduler, expression, time_zone, input, enabled });
    Some(())
}

/// The expression, and the time zone, which only the Scheduler has.
fn timing(properties: &Fields<'_>, property: &str, text: &str, scheduler: Scheduler) -> Option<(Expression, TimeZone)> {
    let is_rule = scheduler == Scheduler::Rule;
    let parsed = match Expression::parse(text) {
        Ok(Expression::At(_)) if is_rule => Err("a rule of EventBridge has no at(…): use ScheduleV2".to_owned()),
        parsed => parsed.map_err(|error| error.to_string()),
    };
    let time_zone = if is_rule { None } else { properties.text("ScheduleExpressionTimezone") };
    let time_zone = time_zone.map_or(Some(TimeZone::UTC), |name| {
        let unknown =
            |_| properties.wrong("ScheduleExpressionTimezone", &format!("is \"{name}\", which is no time zone"));
        TimeZone::get(&name).map_err(unknown).ok()
    });
    let expression = parsed.map_err(|error| properties.wrong(property, &format!("is \"{text}\": {error}"))).ok();
    Some((expression?, time_zone?))
}

/// Adds the schedules of `AWS::Scheduler::Schedule` whose target is this function.
pub(super) fn add(context: &Context<'_>, function: &Resource, sources: &mut Sources) {
    for resource in context.scope.present(Kind::Schedule) {
        let fields = context.fields(resource, &SCHEDULE);
        fields.map("FlexibleTimeWindow", &FLEXIBLE_TIME_WINDOW);
        let Some(target) = fields.map("Target", &TARGET) else { continue };
        let Some(arn) = target.text("Arn") else { continue };
        match context.function(&arn) {
            Some(named) if named.id == function.id => {}
            Some(_) => continue,
            None => {
                let message = format!("{}: schedules for \"{arn}\" are not run here", resource.id);
                context.not_read(resource.line, message);
                continue;
            }
        }
        let enabled = fields.choice("State", &STATES).as_deref() != Some("DISABLED");
        let Some(text) = fields.text("ScheduleExpression") else { continue };
        let Some(logical_id) = context.problems.keep(resource.name(context.scope)) else { continue };
        let timing = timing(&fields, "ScheduleExpression", &text, Scheduler::Scheduler);
        sources.schedules.extend(timing.map(|(expression, time_zone)| Schedule {
            logical_id,
            scheduler: Scheduler::Scheduler,
            expression,
            time_zone,
            input: target.text("Input"),
            enabled,
        }));
    }
}
