//! Metrics as CloudWatch would have them: those that functions write among their logs, in the embedded metric format,
//! and those that Lambda itself publishes of each function. Lines of metrics are not shown in the terminal, where they
//! would only be noise.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;
use serde_json::Value;

/// Percentiles are those of this many values, the latest ones.
const KEPT_VALUES: usize = 1000;

/// The number of metrics that functions may write. A dimension with a value of its own for each message would otherwise
/// fill the memory.
const MAX_METRICS: usize = 1000;

/// The percentiles that are counted, by CloudWatch's names.
const PERCENTILES: [(&str, f64); 3] = [("p50", 0.50), ("p90", 0.90), ("p99", 0.99)];

/// A metric and its statistics since the start.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Metric {
    /// Such as `AWS/Lambda`.
    pub namespace: String,
    /// Such as `Errors`.
    pub name: String,
    /// The values of its dimensions, by name.
    pub dimensions: BTreeMap<String, String>,
    /// The unit, if the writer has named one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// By CloudWatch's names: `SampleCount`, `Sum`, `Minimum`, `Maximum`, and for metrics of functions `p50`, `p90` and
    /// `p99`. Lambda's own metrics have only the statistic that they are meant for.
    pub statistics: BTreeMap<&'static str, f64>,
}

impl Metric {
    /// A metric with one statistic.
    pub fn of(namespace: &str, name: &str, dimension: Option<(&str, &str)>, statistic: (&'static str, f64)) -> Self {
        let dimensions = dimension.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            dimensions: dimensions.into_iter().collect(),
            unit: None,
            statistics: BTreeMap::from([statistic]),
        }
    }
}

/// Namespace, name, and dimensions.
type Key = (String, String, BTreeMap<String, String>);

#[derive(Debug, Default)]
pub(super) struct Metrics(Mutex<BTreeMap<Key, Series>>);

#[derive(Debug)]
struct Series {
    unit: Option<String>,
    count: u64,
    sum: f64,
    min: f64,
    max: f64,
    latest: VecDeque<f64>,
}

impl Series {
    fn new(unit: Option<&str>) -> Self {
        let (min, max) = (f64::INFINITY, f64::NEG_INFINITY);
        Self { unit: unit.map(str::to_owned), count: 0, sum: 0.0, min, max, latest: VecDeque::new() }
    }

    fn add(&mut self, value: f64) {
        self.count += 1;
        self.sum += value;
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        if self.latest.len() == KEPT_VALUES {
            self.latest.pop_front();
        }
        self.latest.push_back(value);
    }

    fn statistics(&self) -> BTreeMap<&'static str, f64> {
        let mut values: Vec<f64> = self.latest.iter().copied().collect();
        values.sort_by(f64::total_cmp);
        // The smallest value that is not below this part of all values.
        let percentile = |part: f64| values[((part * values.len() as f64).ceil() as usize).max(1) - 1];
        let mut statistics = BTreeMap::from([
            ("SampleCount", self.count as f64),
            ("Sum", self.sum),
            ("Minimum", self.min),
            ("Maximum", self.max),
        ]);
        statistics.extend(PERCENTILES.map(|(name, part)| (name, percentile(part))));
        statistics
    }
}

impl Metrics {
    /// Counts the values of a line of metrics. Returns whether the line was one.
    pub(super) fn take(&self, line: &[u8]) -> bool {
        // A cheap check before parsing: most lines are not metrics.
        let marked = line.starts_with(b"{") && line.windows(7).any(|window| window == b"\"_aws\":");
        let Some(event) = marked.then(|| serde_json::from_slice::<Value>(line).ok()).flatten() else { return false };
        let Some(directives) = event["_aws"]["CloudWatchMetrics"].as_array() else { return false };
        for directive in directives {
            let namespace = directive["Namespace"].as_str().unwrap_or_default();
            let sets = directive["Dimensions"].as_array().into_iter().flatten();
            let sets: Vec<_> = sets.filter_map(|names| dimensions(names, &event)).collect();
            for metric in directive["Metrics"].as_array().into_iter().flatten() {
                let Some(name) = metric["Name"].as_str() else { continue };
                for dimensions in &sets {
                    let key = (namespace.to_owned(), name.to_owned(), dimensions.clone());
                    self.count(key, metric["Unit"].as_str(), &event[name]);
                }
            }
        }
        true
    }

    fn count(&self, key: Key, unit: Option<&str>, values: &Value) {
        let values = match values {
            Value::Array(values) => values.as_slice(),
            value => std::slice::from_ref(value),
        };
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for value in values.iter().filter_map(Value::as_f64) {
            if all.len() == MAX_METRICS && !all.contains_key(&key) {
                tracing::warn!("{} is not counted: functions have written {MAX_METRICS} metrics already", key.1);
                return;
            }
            all.entry(key.clone()).or_insert_with(|| Series::new(unit)).add(value);
        }
    }

    /// All metrics that functions have written.
    pub(super) fn all(&self) -> Vec<Metric> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let metrics = all.iter().map(|((namespace, name, dimensions), series)| Metric {
            namespace: namespace.clone(),
            name: name.clone(),
            dimensions: dimensions.clone(),
            unit: series.unit.clone(),
            statistics: series.statistics(),
        });
        metrics.collect()
    }
}

/// The dimensions of one set, with the values that the line has. CloudWatch drops a set that has no value in the line.
fn dimensions(names: &Value, event: &Value) -> Option<BTreeMap<String, String>> {
    let names = names.as_array()?.iter();
    names.map(|name| Some((name.as_str()?.to_owned(), event[name.as_str()?].as_str()?.to_owned()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(dimensions: &str, values: &str) -> String {
        format!(
            r#"{{"Time":{values},"Status":"done","_aws":{{"Timestamp":1,"CloudWatchMetrics":[{{"Namespace":"N",
            "Dimensions":{dimensions},"Metrics":[{{"Name":"Time","Unit":"Milliseconds"}},{{"Name":"Absent"}}]}}]}}}}"#
        )
    }

    #[test]
    fn values_are_counted_under_their_metrics_and_dimensions_and_other_lines_are_left_alone() {
        let metrics = Metrics::default();
        assert!(metrics.take(line(r#"[["Status"],[]]"#, "4").as_bytes()));
        assert!(metrics.take(line(r#"[["Status"],["Status","Missing"]]"#, "[1, 7]").as_bytes()));
        for other in ["", "{", "text with \"_aws\":", "{\"_aws\":1}", "{\"message\":\"hello\"}"] {
            assert!(!metrics.take(other.as_bytes()), "{other}");
        }
        let [all, done] = &metrics.all()[..] else { panic!("{:?}", metrics.all()) };
        assert!(all.dimensions.is_empty() && all.statistics["SampleCount"] == 1.0, "{all:?}");
        assert_eq!(done.dimensions, BTreeMap::from([("Status".to_owned(), "done".to_owned())]));
        assert_eq!((done.namespace.as_str(), done.name.as_str()), ("N", "Time"));
        assert_eq!(done.unit.as_deref(), Some("Milliseconds"));
        let expected = [
            ("Maximum", 7.0),
            ("Minimum", 1.0),
            ("SampleCount", 3.0),
            ("Sum", 12.0),
            ("p50", 4.0),
            ("p90", 7.0),
            ("p99", 7.0),
        ];
        assert_eq!(done.statistics, BTreeMap::from(expected));
    }

    #[test]
    fn a_percentile_is_that_of_the_latest_values_and_the_other_statistics_are_of_all() {
        let metrics = Metrics::default();
        for value in [&[9000_usize][..], &(1..=KEPT_VALUES).collect::<Vec<_>>()].concat() {
            assert!(metrics.take(line("[[]]", &value.to_string()).as_bytes()));
        }
        let statistics = &metrics.all()[0].statistics;
        assert_eq!((statistics["p50"], statistics["p99"]), (500.0, 990.0));
        assert_eq!((statistics["Maximum"], statistics["SampleCount"]), (9000.0, 1001.0));
    }

    #[test]
    fn more_metrics_than_the_limit_are_left_out_and_those_that_are_known_go_on() {
        let metrics = Metrics::default();
        for number in 0..=MAX_METRICS {
            let line = line(r#"[["Status"]]"#, "1").replace("done", &number.to_string());
            assert!(metrics.take(line.as_bytes()));
        }
        assert!(metrics.take(line(r#"[["Status"]]"#, "1").replace("done", "0").as_bytes()));
        let all = metrics.all();
        assert_eq!((all.len(), all[0].statistics["SampleCount"]), (MAX_METRICS, 2.0));
    }
}
