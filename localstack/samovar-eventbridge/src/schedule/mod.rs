//! Schedule expressions: `rate(…)`, `cron(…)` and `at(…)`.
//!
//! The rules are those of "Schedule types in EventBridge Scheduler" (`schedule-types`) and of "Cron expressions" for
//! scheduled rules (`eb-scheduled-rule-pattern`). Rules of EventBridge have no `at(…)`.

mod cron;
#[cfg(test)]
mod tests;

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};

pub use cron::Cron;

/// When a schedule is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Schedule {
    /// `rate(VALUE UNIT)`: always after this time, which has whole minutes.
    Rate(Duration),
    /// `cron(…)`: at these times of a calendar.
    Cron(Cron),
    /// `at(yyyy-mm-ddThh:mm:ss)`: once.
    At(DateTime),
}

/// The reason why a text is not a schedule expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// It is none of the three forms.
    #[error("schedules are rate(1 minute), rate(5 minutes), cron(0 12 * * ? *) or at(2030-01-31T12:00:00)")]
    Form,
    /// A field of a cron expression is wrong.
    #[error("the field {field} of a cron expression can't be \"{value}\": {allowed}")]
    Field {
        /// Such as `minutes`.
        field: &'static str,
        /// The field as it is written.
        value: String,
        /// What the field takes.
        allowed: &'static str,
    },
    /// A cron expression has not six fields.
    #[error("a cron expression has six fields: minutes, hours, day of month, month, day of week, year")]
    SixFields,
    /// Both fields for days, or none of them, are `?`.
    #[error("one of the two fields for days of a cron expression must be ?, and only one")]
    Days,
}

impl Schedule {
    /// Reads an expression.
    ///
    /// # Errors
    /// It is not one that EventBridge takes.
    pub fn parse(expression: &str) -> Result<Self, ScheduleError> {
        let inside = |name: &str| expression.strip_prefix(name)?.strip_prefix('(')?.strip_suffix(')');
        if let Some(fields) = inside("cron") {
            return Cron::parse(fields).map(Self::Cron);
        }
        let rate = inside("rate").and_then(rate).map(Self::Rate);
        let at = || inside("at").filter(|time| time.len() == "2030-01-31T12:00:00".len())?.parse().ok().map(Self::At);
        rate.or_else(at).ok_or(ScheduleError::Form)
    }

    /// The first time after `now` at which a schedule of a calendar is due, in a time zone. There is none for a rate,
    /// for which the time of its start counts.
    ///
    /// A local time that a change of the clocks skips is never due, and one that comes twice is due once.
    pub fn next(&self, now: Timestamp, time_zone: &TimeZone) -> Option<Timestamp> {
        match self {
            Self::Rate(_) => None,
            Self::At(time) => instant(*time, time_zone).filter(|time| *time > now),
            Self::Cron(cron) => {
                // An earlier hour may come again, so the search begins a day before.
                let from = now.to_zoned(time_zone.clone()).datetime().saturating_sub(jiff::Span::new().days(1));
                cron.times(from).filter_map(|time| instant(time, time_zone)).find(|time| *time > now)
            }
        }
    }
}

/// The first instant at which the clocks show this time.
fn instant(time: DateTime, time_zone: &TimeZone) -> Option<Timestamp> {
    let ambiguous = time_zone.to_ambiguous_timestamp(time);
    match ambiguous.offset() {
        AmbiguousOffset::Gap { .. } => None,
        _ => ambiguous.earlier().ok(),
    }
}

/// `VALUE UNIT`, at least one minute. A value of 1 takes the singular unit, as on AWS.
fn rate(inside: &str) -> Option<Duration> {
    let (value, unit) = inside.split_once(' ')?;
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
