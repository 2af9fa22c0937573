//! A function's `Events` of the type ScheduleV2: EventBridge Scheduler, with rate expressions only.

use std::time::Duration;

use super::Context;
use crate::fields::{Fields, Schema};
use crate::model::Schedule;
use crate::resource::Resource;
use crate::yaml::Entry;

pub(crate) const SCHEDULE_EVENT: Schema = Schema {
    subject: "An event of the type ScheduleV2",
    required: &["ScheduleExpression"],
    optional: &["Input", "State"],
    ignored: &["Description", "FlexibleTimeWindow", "Name", "OmitName", "RetryPolicy"],
};

pub(super) fn schedule(
    function: &Resource,
    event: &Entry,
    event_fields: &Fields<'_>,
    context: &Context<'_>,
) -> Option<Schedule> {
    let properties = Fields::new(&SCHEDULE_EVENT, event_fields.node("Properties")?, context.problems);
    let expression = properties.text("ScheduleExpression")?;
    let Some(every) = rate(&expression) else {
        let message = format!(
            "is \"{expression}\", but the local stack understands rates only: rate(1 minute), rate(5 minutes), \
             rate(1 hour)"
        );
        properties.wrong("ScheduleExpression", &message);
        return None;
    };
    let state = properties.choice("State", &["ENABLED", "DISABLED"]);
    Some(Schedule {
        logical_id: format!("{}{}", function.id, event.key),
        every,
        input: properties.text("Input"),
        enabled: state.as_deref() != Some("DISABLED"),
    })
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
}
