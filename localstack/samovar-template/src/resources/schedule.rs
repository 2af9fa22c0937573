//! A function's `Events` of the types Schedule (a rule of EventBridge) and ScheduleV2 (EventBridge Scheduler).

use std::time::Duration;

use super::Context;
use super::event::{Event, Sources};
use crate::fields::{Fields, Schema};
use crate::model::{Schedule, Scheduler, Trigger};

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
    if let Some(every) = rate(&expression) {
        sources.schedules.push(Schedule { logical_id, scheduler, every, input, enabled });
    } else if let Some(fields) = cron(&expression) {
        let time_zone = if is_rule { None } else { properties.text("ScheduleExpressionTimezone") };
        sources.triggers.push(Trigger::Cron {
            logical_id,
            scheduler,
            expression: fields.to_owned(),
            time_zone: time_zone.unwrap_or_else(|| "UTC".to_owned()),
            input,
            enabled,
        });
    } else {
        let known = "rate(1 minute), rate(5 minutes), cron(0 12 * * ? *)";
        properties.wrong(property, &format!("is \"{expression}\", but AWS takes expressions such as {known}"));
    }
    Some(())
}

/// The six fields of `cron(…)`. One of the two for days must be `?`.
fn cron(expression: &str) -> Option<&str> {
    let fields = expression.strip_prefix("cron(")?.strip_suffix(')')?;
    let parts: Vec<&str> = fields.split_whitespace().collect();
    (parts.len() == 6 && (parts[2] == "?") != (parts[4] == "?")).then_some(fields)
}

/// `rate(VALUE UNIT)`, at least one minute. A value of 1 takes the singular unit, as on AWS.
fn rate(expression: &str) -> Option<Duration> {
    let (value, unit) = expression.strip_prefix("rate(")?.strip_suffix(')')?.split_once(' ')?;
    let value: u64 = value.parse().ok().filter(|value| *value > 0)?;
    let unit = if value == 1 { unit } else { unit.strip_suffix('s')? };
    let seconds = match unit {
        "minute" => 60,
        "hour" => 3600,
        "day" => 86_400,
        _ => return None,
    };
    Some(Duration::from_secs(value.checked_mul(seconds)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_number_of_minutes_hours_or_days() {
        assert_eq!(rate("rate(1 minute)"), Some(Duration::from_secs(60)));
        assert_eq!(rate("rate(5 minutes)"), Some(Duration::from_secs(300)));
        assert_eq!(rate("rate(2 days)"), Some(Duration::from_secs(172_800)));
        for bad in ["rate(0 minutes)", "rate(1 minutes)", "rate(5 minute)", "rate(30 seconds)", "cron(* * * * ? *)", ""]
        {
            assert_eq!(rate(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_cron_expression_has_six_fields_and_one_question_mark() {
        assert_eq!(cron("cron(0 12 * * ? *)"), Some("0 12 * * ? *"));
        for bad in ["cron(0 12 * * *)", "cron(0 12 * * * *)", "cron(0 12 ? * ? *)", "0 12 * * ? *", "cron()"] {
            assert_eq!(cron(bad), None, "{bad}");
        }
    }
}
