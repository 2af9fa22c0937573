//! Metrics that functions write among their logs, in CloudWatch's embedded metric format: counted here as CloudWatch would,
//! and kept out of the terminal, where they are nothing to read.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;
use serde_json::Value;

/// What a metric's values come to since the start.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Statistic {
    /// How many values there were.
    pub count: u64,
    /// Of all values.
    pub sum: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
}

/// Statistics by metric, by function.
pub type Statistics = BTreeMap<String, BTreeMap<String, Statistic>>;

#[derive(Debug, Default)]
pub(super) struct Metrics(Mutex<Statistics>);

impl Metrics {
    /// Whether the line was one of metrics; then its values are counted.
    pub(super) fn take(&self, function: &str, line: &[u8]) -> bool {
        // Looked at before it is parsed: most lines are not.
        let marked = line.starts_with(b"{") && line.windows(7).any(|window| window == b"\"_aws\":");
        let Some(event) = marked.then(|| serde_json::from_slice::<Value>(line).ok()).flatten() else { return false };
        let Some(directives) = event["_aws"]["CloudWatchMetrics"].as_array() else { return false };
        let mut statistics = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let own = statistics.entry(function.to_owned()).or_default();
        let metrics = directives.iter().filter_map(|directive| directive["Metrics"].as_array()).flatten();
        for name in metrics.filter_map(|metric| metric["Name"].as_str()) {
            let values = match &event[name] {
                Value::Array(values) => values.as_slice(),
                value => std::slice::from_ref(value),
            };
            for value in values.iter().filter_map(Value::as_f64) {
                let statistic =
                    own.entry(name.to_owned()).or_insert(Statistic { count: 0, sum: 0.0, min: value, max: value });
                statistic.count += 1;
                statistic.sum += value;
                statistic.min = statistic.min.min(value);
                statistic.max = statistic.max.max(value);
            }
        }
        true
    }

    pub(super) fn statistics(&self) -> Statistics {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_counted_under_their_metrics_and_other_lines_are_left_alone() {
        let metrics = Metrics::default();
        let line = |values: &str| {
            format!(
                r#"{{"Time":{values},"_aws":{{"Timestamp":1,"CloudWatchMetrics":[{{"Namespace":"N","Dimensions":[[]],
                "Metrics":[{{"Name":"Time","Unit":"Milliseconds"}},{{"Name":"Absent"}}]}}]}}}}"#
            )
        };
        assert!(metrics.take("worker", line("4").as_bytes()));
        assert!(metrics.take("worker", line("[1, 7]").as_bytes()));
        for other in ["", "{", "text with \"_aws\":", "{\"_aws\":1}", "{\"message\":\"hello\"}"] {
            assert!(!metrics.take("worker", other.as_bytes()), "{other}");
        }
        let expected = Statistic { count: 3, sum: 12.0, min: 1.0, max: 7.0 };
        assert_eq!(metrics.statistics()["worker"], BTreeMap::from([("Time".to_owned(), expected)]));
    }
}
