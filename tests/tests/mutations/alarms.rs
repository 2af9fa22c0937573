//! Each alarm rings as the table in `docs/operations.md` says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use e2e::{Alarm, Deployment, workspace};
use serde_json::Value;

use super::{Fault, Parameter};

/// An alarm as the table describes it.
#[derive(Debug)]
struct Described {
    statistic: String,
    operator: &'static str,
    /// A number, or the parameter that has it.
    threshold: String,
    /// The parameter of which the value is a percentage.
    percent_of: Option<String>,
    datapoints: u64,
    periods: u64,
    seconds: u64,
    missing: &'static str,
}

/// The rows of the table in `docs/operations.md`.
fn described() -> BTreeMap<String, Described> {
    let page = std::fs::read_to_string(workspace().join("docs/operations.md")).expect("the page");
    let (_, table) =
        page.split_once("| alarm | value | statistic | rings | in periods | without data |\n").expect("the table");
    let rows = table.lines().skip(1).take_while(|line| line.starts_with('|'));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [alarm, value, statistic, rings, periods, missing] = cells[..] else { panic!("{row}") };
        let (operator, threshold) = rings.split_once(' ').expect("an operator and a number");
        let operator = match operator {
            ">" => "GreaterThanThreshold",
            ">=" => "GreaterThanOrEqualToThreshold",
            "<" => "LessThanThreshold",
            other => panic!("{other}: {row}"),
        };
        let numbers: Vec<u64> = periods.split([' ', ',']).filter_map(|word| word.parse().ok()).collect();
        let [datapoints, periods, seconds] = numbers[..] else { panic!("{row}") };
        let missing = match missing {
            "quiet" => "notBreaching",
            "rings" => "breaching",
            other => panic!("{other}: {row}"),
        };
        let described = Described {
            statistic: statistic.to_owned(),
            operator,
            threshold: threshold.trim_matches('`').to_owned(),
            percent_of: value.split_once("% of ").map(|(_, parameter)| parameter.trim_matches('`').to_owned()),
            datapoints,
            periods,
            seconds,
            missing,
        };
        (alarm.trim_matches('`').to_owned(), described)
    })
    .collect()
}

/// These are unlike the defaults, so a number in place of a parameter is noticed.
const PARAMETERS: [Parameter; 4] = [
    ("MaxClients", "40"),
    ("MaxConcurrentMessages", "50"),
    ("AccountConcurrency", "200"),
    ("FirstDeltaAlarmMs", "1500"),
];

fn number(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.parse().ok())
}

fn parameter(wanted: &str) -> Option<f64> {
    PARAMETERS.iter().find(|(name, _)| *name == wanted).and_then(|(_, value)| value.parse().ok())
}

fn check_alarm(alarm: &Alarm, described: &Described) -> Result<(), Fault> {
    let own = &alarm.properties;
    let threshold = parameter(&described.threshold).or_else(|| described.threshold.parse().ok());
    let datapoints = own.get("DatapointsToAlarm").unwrap_or(&own["EvaluationPeriods"]);
    let same = number(&own["Threshold"]) == threshold
        && own["ComparisonOperator"] == described.operator
        && own["EvaluationPeriods"] == described.periods
        && *datapoints == described.datapoints
        && own["TreatMissingData"] == described.missing;
    let metrics = alarm.metrics();
    let metric_same = |metric: &Value| metric["Period"] == described.seconds && metric["Stat"] == *described.statistic;
    let same = same && metrics.values().all(metric_same);
    let (Some(threshold), true) = (threshold, same) else {
        return Err(format!("{} is not as docs/operations.md has it: {described:?}\n{own:#}", alarm.id));
    };
    // The least and the greatest whole number on both sides of the limit.
    let limit = match &described.percent_of {
        Some(of) => threshold / 100.0 * parameter(of).ok_or(format!("The test has no value of {of}"))?,
        None => threshold,
    };
    let (quiet, rings) = match described.operator {
        "GreaterThanThreshold" => (limit, limit + 1.0),
        "GreaterThanOrEqualToThreshold" => (limit - 1.0, limit),
        _ => (limit, limit - 1.0),
    };
    // Each metric alone makes it ring.
    for id in metrics.keys() {
        for (value, expected) in [(quiet, false), (rings, true)] {
            let state = alarm.state(|other| if other == id { value } else { 0.0 });
            if alarm.rings(&state) != expected {
                let not = if expected { "" } else { "not " };
                return Err(format!("{}: with {id} at {value} it must {not}ring", alarm.id));
            }
        }
    }
    Ok(())
}

pub(crate) fn check(document: &Arc<Value>) -> Result<(), Fault> {
    let alarms = Alarm::all(&Deployment::of(document, &PARAMETERS)?);
    let described = described();
    let ids: BTreeSet<&str> = alarms.iter().map(|alarm| alarm.id.as_str()).collect();
    let on_the_page: BTreeSet<&str> = described.keys().map(String::as_str).collect();
    if ids != on_the_page {
        return Err(format!("The alarms are {ids:?}, and in docs/operations.md {on_the_page:?}"));
    }
    alarms.iter().try_for_each(|alarm| check_alarm(alarm, &described[&alarm.id]))
}
