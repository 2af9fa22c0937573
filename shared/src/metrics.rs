//! Metrics, in CloudWatch's embedded metric format: a line of JSON on standard output, which costs no call.

use serde_json::json;

use crate::clock::Timestamp;
use crate::messages::{Measured, Status};

const NAMESPACE: &str = "Parley";

/// One line for each message that has ended, however it ended: tokens in and out, milliseconds to the first piece and
/// in all.
pub(crate) fn answered(provider: &str, status: Status, measured: &Measured, now: Timestamp) {
    println!("{}", line(provider, status, measured, now));
}

fn line(provider: &str, status: Status, measured: &Measured, now: Timestamp) -> serde_json::Value {
    let mut metrics = vec![json!({ "Name": "AnswerTime", "Unit": "Milliseconds" })];
    let mut line = json!({ "Provider": provider, "Status": status.as_str(), "AnswerTime": measured.total_ms });
    let mut add = |name: &str, unit: &str, value: Option<u64>| {
        if let Some(value) = value {
            metrics.push(json!({ "Name": name, "Unit": unit }));
            line[name] = value.into();
        }
    };
    add("FirstDeltaTime", "Milliseconds", measured.first_ms);
    add("InputTokens", "Count", measured.usage.map(|usage| usage.input_tokens));
    add("OutputTokens", "Count", measured.usage.map(|usage| usage.output_tokens));
    line["_aws"] = json!({
        "Timestamp": now.0,
        "CloudWatchMetrics": [{
            "Namespace": NAMESPACE,
            "Dimensions": [["Provider", "Status"]],
            "Metrics": metrics,
        }],
    });
    line
}
