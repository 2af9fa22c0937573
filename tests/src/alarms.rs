//! Alarms of the template, judged by the metrics that the local stack has counted.
//!
//! CloudWatch compares the values of several periods. The local stack counts since its start, which is taken for one
//! period here. So a test shows that an alarm reads the right metrics and compares them in the right way, and not that
//! the number of its periods is a good one.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::deployment::Deployment;

/// An `AWS::CloudWatch::Alarm` of a deployment.
#[derive(Debug)]
pub struct Alarm {
    pub id: String,
    /// Its properties, computed.
    pub properties: Value,
}

/// The metrics that an expression reads, by their ids. `None` is a metric without data.
type Read = BTreeMap<String, Option<f64>>;

impl Alarm {
    /// All alarms of a deployment.
    pub fn all(deployment: &Deployment) -> Vec<Self> {
        let resources = deployment.resources().expect("it can be deployed").into_iter();
        let alarms = resources.filter(|(_, resource)| resource["Type"] == "AWS::CloudWatch::Alarm");
        alarms.map(|(id, resource)| Self { id, properties: resource["Properties"].clone() }).collect()
    }

    /// The ids of those that ring, by the metrics in this state of a stack.
    pub fn ringing(all: &[Self], state: &Value) -> BTreeSet<String> {
        all.iter().filter(|alarm| alarm.rings(state)).map(|alarm| alarm.id.clone()).collect()
    }

    /// The metrics that it reads, each as in `MetricStat`, by their ids.
    pub fn metrics(&self) -> BTreeMap<String, Value> {
        let Some(queries) = self.properties["Metrics"].as_array() else {
            let own = &self.properties;
            let metric = json!({ "Namespace": own["Namespace"], "MetricName": own["MetricName"],
                                 "Dimensions": own["Dimensions"] });
            let stat = if own["Statistic"].is_null() { &own["ExtendedStatistic"] } else { &own["Statistic"] };
            let stat = json!({ "Metric": metric, "Stat": stat, "Unit": own["Unit"], "Period": own["Period"] });
            return BTreeMap::from([("own".to_owned(), stat)]);
        };
        let metrics = queries.iter().filter(|query| !query["MetricStat"].is_null());
        metrics.map(|query| (query["Id"].as_str().expect("an id").to_owned(), query["MetricStat"].clone())).collect()
    }

    /// The state of a stack that has counted only the metrics that it reads. `value` gives their values by their ids.
    pub fn state(&self, value: impl Fn(&str) -> f64) -> Value {
        let counted = self.metrics().into_iter().map(|(id, asked)| {
            let (metric, stat) = (&asked["Metric"], asked["Stat"].as_str().expect("a statistic"));
            json!({ "namespace": metric["Namespace"], "name": metric["MetricName"], "dimensions": dimensions(metric),
                    "unit": asked["Unit"], "statistics": { stat: value(&id) } })
        });
        json!({ "metrics": counted.collect::<Vec<_>>() })
    }

    /// Whether it rings by the metrics in this state.
    pub fn rings(&self, state: &Value) -> bool {
        let own = &self.properties;
        let Some(value) = self.value(state) else { return own["TreatMissingData"] == "breaching" };
        let threshold = &own["Threshold"];
        let threshold = threshold.as_f64().or_else(|| threshold.as_str()?.parse().ok()).expect("a threshold");
        match own["ComparisonOperator"].as_str() {
            Some("GreaterThanThreshold") => value > threshold,
            Some("GreaterThanOrEqualToThreshold") => value >= threshold,
            Some("LessThanThreshold") => value < threshold,
            Some("LessThanOrEqualToThreshold") => value <= threshold,
            other => panic!("{}: {other:?} is not understood", self.id),
        }
    }

    /// The value to compare. `None` if there are no data.
    pub fn value(&self, state: &Value) -> Option<f64> {
        let read: Read = self.metrics().into_iter().map(|(id, metric)| (id, statistic(&metric, state))).collect();
        let Some(queries) = self.properties["Metrics"].as_array() else { return read["own"] };
        // Exactly one query gives the value to compare.
        let mut shown = queries.iter().filter(|query| query["ReturnData"] != false);
        let (Some(shown), None) = (shown.next(), shown.next()) else { panic!("{}: one query must be shown", self.id) };
        let expression = shown["Expression"].as_str().expect("an expression");
        evaluate(expression, &read).unwrap_or_else(|wrong| panic!("{}: {expression}: {wrong}", self.id))
    }
}

/// The dimensions of a metric by name.
fn dimensions(metric: &Value) -> Value {
    let pairs = metric["Dimensions"].as_array().into_iter().flatten();
    pairs.map(|one| (one["Name"].as_str().expect("a name").to_owned(), one["Value"].clone())).collect()
}

/// The statistic that is asked for, of the metric with exactly these dimensions, as the stack counted it.
fn statistic(asked: &Value, state: &Value) -> Option<f64> {
    let (metric, dimensions) = (&asked["Metric"], dimensions(&asked["Metric"]));
    let counted = state["metrics"].as_array().expect("metrics").iter().find(|counted| {
        counted["namespace"] == metric["Namespace"]
            && counted["name"] == metric["MetricName"]
            && counted["dimensions"] == dimensions
            && (asked["Unit"].is_null() || counted["unit"] == asked["Unit"])
    })?;
    let name = asked["Stat"].as_str().expect("a statistic");
    let value = counted["statistics"][name].as_f64();
    Some(value.unwrap_or_else(|| panic!("the local stack does not count {name}: {counted}")))
}

/// The value of metric math as far as the template uses it: sums, products, and `SUM([…])`, which leaves out metrics
/// without data. Anything else has no data if one of its metrics has none.
fn evaluate(expression: &str, read: &Read) -> Result<Option<f64>, String> {
    if let Some(ids) = expression.strip_prefix("SUM([").and_then(|rest| rest.strip_suffix("])")) {
        let values = ids.split(',').map(|id| operand(id, read)).collect::<Result<Vec<_>, _>>()?;
        let known: Vec<f64> = values.into_iter().flatten().collect();
        return Ok((!known.is_empty()).then(|| known.iter().sum()));
    }
    let mut sum = Some(0.0);
    for term in expression.split('+') {
        if term.trim().is_empty() {
            return Err("a term is missing".to_owned());
        }
        let mut product = Some(1.0);
        let mut operator = '*';
        for part in term.split_inclusive(['*', '/']) {
            let value = operand(part.trim_end_matches(['*', '/']), read)?;
            product = product.zip(value).map(|(a, b)| if operator == '*' { a * b } else { a / b });
            operator = part.chars().last().unwrap_or('*');
        }
        sum = sum.zip(product).map(|(a, b)| a + b);
    }
    Ok(sum)
}

fn operand(text: &str, read: &Read) -> Result<Option<f64>, String> {
    let text = text.trim();
    match (read.get(text), text.parse()) {
        (Some(value), _) => Ok(*value),
        (None, Ok(number)) => Ok(Some(number)),
        (None, Err(_)) => Err(format!("{text} is neither the id of a metric nor a number")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metric_math_is_computed_and_a_metric_without_data_is_left_out_of_a_sum_only() {
        let read = Read::from([("a".to_owned(), Some(6.0)), ("b".to_owned(), Some(2.0)), ("none".to_owned(), None)]);
        for (expression, value) in [
            ("a + b", Some(8.0)),
            ("100 * a / b", Some(300.0)),
            ("a / b * 100 + b", Some(302.0)),
            ("a + none", None),
            ("100 * none / b", None),
            ("SUM([a, none, b])", Some(8.0)),
            ("SUM([none])", None),
        ] {
            assert_eq!(evaluate(expression, &read), Ok(value), "{expression}");
        }
        for wrong in ["a + c", "MAX([a])", "a - b", "a +", ""] {
            evaluate(wrong, &read).expect_err(wrong);
        }
    }

    fn alarm(properties: Value) -> Alarm {
        Alarm { id: "A".to_owned(), properties }
    }

    #[test]
    fn an_alarm_reads_the_metric_with_its_dimensions_and_unit_and_compares_its_statistic() {
        let state = json!({ "metrics": [
            { "namespace": "N", "name": "M", "dimensions": {}, "unit": "Count", "statistics": { "Sum": 1.0 } },
            { "namespace": "N", "name": "M", "dimensions": { "D": "x" }, "unit": "Count",
              "statistics": { "Sum": 5.0, "p99": 9.0 } },
        ] });
        let mut properties = json!({
            "Namespace": "N", "MetricName": "M", "Dimensions": [{ "Name": "D", "Value": "x" }], "Statistic": "Sum",
            "ComparisonOperator": "GreaterThanThreshold", "Threshold": 4, "TreatMissingData": "notBreaching",
        });
        assert!(alarm(properties.clone()).rings(&state));
        for (name, value) in [
            ("Threshold", json!("5")),
            ("Dimensions", json!([{ "Name": "D", "Value": "y" }])),
            ("Unit", json!("Seconds")),
            ("Namespace", json!("O")),
            ("ComparisonOperator", json!("LessThanThreshold")),
            ("Dimensions", Value::Null),
        ] {
            let mut other = properties.clone();
            other[name] = value;
            assert!(!alarm(other.clone()).rings(&state), "{other}");
        }
        properties["TreatMissingData"] = json!("breaching");
        assert!(alarm(properties.clone()).rings(&json!({ "metrics": [] })));
        properties["Statistic"] = Value::Null;
        properties["ExtendedStatistic"] = json!("p99");
        assert_eq!(alarm(properties).value(&state), Some(9.0));
    }
}
