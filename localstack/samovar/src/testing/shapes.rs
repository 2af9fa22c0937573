//! Events held against ones that AWS really sent.

use std::collections::BTreeSet;

use serde_json::Value;

/// The path of each value in an event, with its kind: lists by their first.
fn shape(event: &Value) -> BTreeSet<String> {
    fn walk(path: &str, value: &Value, shape: &mut BTreeSet<String>) {
        match value {
            Value::Object(map) if !map.is_empty() => {
                map.iter().for_each(|(key, value)| walk(&format!("{path}/{key}"), value, shape));
            }
            Value::Array(values) if !values.is_empty() => walk(&format!("{path}/*"), &values[0], shape),
            Value::Object(_) | Value::Array(_) => _ = shape.insert(format!("{path}: {value}")),
            Value::String(_) => _ = shape.insert(format!("{path}: string")),
            Value::Number(_) => _ = shape.insert(format!("{path}: number")),
            Value::Bool(_) | Value::Null => _ = shape.insert(format!("{path}: {value}")),
        }
    }
    let mut all = BTreeSet::new();
    walk("", event, &mut all);
    all
}

/// Asserts that the event has the keys of the captured one, all of them and no others, with values of the same kinds.
#[track_caller]
pub(crate) fn assert_shape(event: &Value, captured: &str) {
    let captured = serde_json::from_str(captured).unwrap();
    let (ours, theirs) = (shape(event), shape(&captured));
    let (extra, missing): (Vec<_>, Vec<_>) = (ours.difference(&theirs).collect(), theirs.difference(&ours).collect());
    assert!(extra.is_empty() && missing.is_empty(), "extra: {extra:#?}\nmissing: {missing:#?}");
}
