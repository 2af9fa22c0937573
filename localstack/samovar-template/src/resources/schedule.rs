//! A function's `Events` of the types Schedule (a rule of EventBridge) and ScheduleV2 (EventBridge Scheduler).

use samovar_eventbridge::{Schedule as Expression, TimeZone};

use super::Context;
use super::event::{Event, Sources};
use crate::fields::{Fields, Schema};
use crate::model::{Schedule, Scheduler};

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

pub(super) fn read(event: &Event<'_>, event_type: &str, context: &Context<'_>, sources: &mut Sources) -> Option<()> {
    let (schema, property, scheduler) = match event_type {
        "Schedule" => (&RULE_EVENT, "Schedule", Scheduler::Rule),
        _ => (&SCHEDULE_EVENT, "ScheduleExpression", Scheduler::Scheduler),
    };
    let properties = Fields::new(schema, event.properties, context.problems);
    let expression = properties.text(property)?;
    let (logical_id, input) = (event.logical_id(), properties.text("Input"));
    let state = properties.choice("State", &["DISABLED", "ENABLED"]);
    let is_rule = scheduler == Scheduler::Rule;
    if is_rule && properties.has("State") && properties.has("Enabled") {
        properties.wrong("State", "cannot stand beside Enabled: remove one");
    }
    let on = !is_rule || properties.boolean("Enabled").unwrap_or(true);
    let enabled = on && state.as_deref() != Some("DISABLED");
    let parsed = match Expression::parse(&expression) {
        Ok(Expression::At(_)) if is_rule => Err("a rule of EventBridge has no at(…): use ScheduleV2".to_owned()),
        parsed => parsed.map_err(|error| error.to_string()),
    };
    let time_zone = if is_rule { None } else { properties.text("ScheduleExpressionTimezone") };
    let time_zone = time_zone.map_or(Some(TimeZone::UTC), |name| {
        let unknown =
            |_| properties.wrong("ScheduleExpressionTimezone", &format!("is \"{name}\", which is no time zone"));
        TimeZone::get(&name).map_err(unknown).ok()
    });
    match parsed {
        Ok(expression) => {
            let time_zone = time_zone?;
            sources.schedules.push(Schedule { logical_id, scheduler, expression, time_zone, input, enabled });
        }
        Err(error) => properties.wrong(property, &format!("is \"{expression}\": {error}")),
    }
    Some(())
}
