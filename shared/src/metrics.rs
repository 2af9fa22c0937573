//! Metrics, in CloudWatch's embedded metric format: a line of JSON on standard output, which costs no call.
//!
//! Each metric has the dimension `Stack`, because several stacks of one account and region share the namespace.

use serde_json::{Value, json};

use crate::clock::Timestamp;
use crate::config::MetricsConfig;
use crate::messages::{Measured, Status};

const NAMESPACE: &str = "Parley";

/// A metric's name, unit and value.
type Metric = (&'static str, &'static str, u64);

#[derive(Debug, Clone)]
pub(crate) struct Metrics(MetricsConfig);

impl Metrics {
    pub(crate) fn new(config: MetricsConfig) -> Self {
        Self(config)
    }

    /// One line for each message that has ended, however it ended: tokens in and out, milliseconds to the first piece
    /// and in all.
    pub(crate) fn answered(&self, provider: &str, status: Status, measured: &Measured, now: Timestamp) {
        let metrics = [
            ("AnswerTime", "Milliseconds", Some(measured.total_ms)),
            ("FirstDeltaTime", "Milliseconds", measured.first_ms),
            ("InputTokens", "Count", measured.usage.map(|usage| usage.input_tokens)),
            ("OutputTokens", "Count", measured.usage.map(|usage| usage.output_tokens)),
        ];
        let known = metrics.into_iter().filter_map(|(name, unit, value)| Some((name, unit, value?)));
        let dimensions = [("Provider", provider), ("Status", status.as_str())];
        println!("{}", self.line(&dimensions, &known.collect::<Vec<_>>(), now));
    }

    /// One line for each run of the janitor: the places in use, and the messages that have no end yet.
    pub(crate) fn in_use(&self, places: u64, unanswered: u64, now: Timestamp) {
        let metrics = [("PlacesInUse", "Count", places), ("UnansweredMessages", "Count", unanswered)];
        println!("{}", self.line(&[], &metrics, now));
    }

    fn line(&self, dimensions: &[(&str, &str)], metrics: &[Metric], now: Timestamp) -> Value {
        let dimensions = [&[("Stack", self.0.stack.as_str())], dimensions].concat();
        let names: Vec<&str> = dimensions.iter().map(|(name, _)| *name).collect();
        let units = metrics.iter().map(|(name, unit, _)| json!({ "Name": name, "Unit": unit }));
        let mut line = json!({
            "_aws": {
                "Timestamp": now.0,
                "CloudWatchMetrics": [
                    { "Namespace": NAMESPACE, "Dimensions": [names], "Metrics": units.collect::<Vec<_>>() },
                ],
            },
        });
        for (name, value) in dimensions {
            line[name] = value.into();
        }
        for (name, _, value) in metrics {
            line[*name] = (*value).into();
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_its_stack_and_gives_each_metric_a_unit_and_a_value() {
        let metrics = Metrics::new(MetricsConfig { stack: "chat".to_owned() });
        let line = metrics.line(&[("Provider", "mock")], &[("AnswerTime", "Milliseconds", 7)], Timestamp(5));
        let expected = json!({
            "_aws": {
                "Timestamp": 5,
                "CloudWatchMetrics": [{
                    "Namespace": "Parley",
                    "Dimensions": [["Stack", "Provider"]],
                    "Metrics": [{ "Name": "AnswerTime", "Unit": "Milliseconds" }],
                }],
            },
            "Stack": "chat",
            "Provider": "mock",
            "AnswerTime": 7,
        });
        assert_eq!(line, expected);
    }
}
