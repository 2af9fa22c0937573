//! Filter policies of subscriptions, by "Amazon SNS subscription filter policies" in the SNS developer guide.
//!
//! They look like the patterns of EventBridge and are matched differently: the values are those of message attributes
//! with types, numbers are compared as numbers, and a policy for the body may name nested keys.

use std::collections::BTreeMap;

use samovar_sqs::MessageAttribute;
use serde_json::{Map, Value};

/// A policy that is valid.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct FilterPolicy {
    rules: Rules,
    of_body: bool,
}

/// All rules must hold, and one alternative of each `$or`.
#[derive(Debug, Clone, PartialEq, Default)]
struct Rules {
    keys: BTreeMap<String, Rule>,
    alternatives: Vec<Vec<Rules>>,
}

#[derive(Debug, Clone, PartialEq)]
enum Rule {
    AnyOf(Vec<Condition>),
    Nested(Rules),
}

#[derive(Debug, Clone, PartialEq)]
enum Condition {
    Is(Value),
    Prefix(String),
    Suffix(String),
    EqualsIgnoringCase(String),
    AnythingBut(Vec<Condition>),
    Numeric(Vec<(Comparison, f64)>),
    Exists(bool),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Comparison {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl FilterPolicy {
    /// Reads a policy for attributes, or for the message's body.
    ///
    /// # Errors
    /// The part that SNS does not take.
    pub(super) fn read(policy: &Value, of_body: bool) -> Result<Self, String> {
        let Value::Object(map) = policy else { return Err("it is not a JSON object".to_owned()) };
        Ok(Self { rules: rules(map, of_body)?, of_body })
    }

    /// Whether a message comes through.
    pub(super) fn matches(&self, body: &str, attributes: &BTreeMap<String, MessageAttribute>) -> bool {
        match self.of_body {
            // A body that is no JSON object matches no policy.
            true => serde_json::from_str::<Map<String, Value>>(body).is_ok_and(|body| self.rules.hold(&body)),
            false => {
                let values = attributes.iter().filter_map(|(name, value)| Some((name.clone(), value_of(value)?)));
                self.rules.hold(&values.collect())
            }
        }
    }
}

/// The value of an attribute. Binary attributes are not matched.
fn value_of(attribute: &MessageAttribute) -> Option<Value> {
    let text = attribute.string_value.as_deref()?;
    match attribute.data_type.as_str() {
        "Number" => text.parse::<f64>().ok().map(Value::from),
        "String.Array" => serde_json::from_str(text).ok(),
        _ => Some(text.into()),
    }
}

fn rules(map: &Map<String, Value>, of_body: bool) -> Result<Rules, String> {
    let mut read = Rules::default();
    for (key, value) in map {
        match value {
            Value::Array(items) if key == "$or" && items.iter().all(Value::is_object) => {
                let one = |item: &Value| item.as_object().map_or(Err(String::new()), |map| rules(map, of_body));
                read.alternatives.push(items.iter().map(one).collect::<Result<_, _>>()?);
            }
            Value::Array(items) if !items.is_empty() => {
                let conditions = items.iter().map(|item| condition(key, item)).collect::<Result<_, _>>()?;
                read.keys.insert(key.clone(), Rule::AnyOf(conditions));
            }
            Value::Object(nested) if of_body => {
                read.keys.insert(key.clone(), Rule::Nested(rules(nested, of_body)?));
            }
            _ => return Err(format!("\"{key}\" is not a list of values")),
        }
    }
    Ok(read)
}

fn condition(key: &str, value: &Value) -> Result<Condition, String> {
    let wrong = || Err(format!("\"{key}\" has {value}, which is not understood"));
    let Value::Object(map) = value else {
        return if value.is_array() { wrong() } else { Ok(Condition::Is(value.clone())) };
    };
    let Some((name, operand)) = map.iter().next().filter(|_| map.len() == 1) else { return wrong() };
    let text = operand.as_str().map(str::to_owned);
    Ok(match (name.as_str(), text, operand) {
        ("prefix", Some(text), _) => Condition::Prefix(text),
        ("suffix", Some(text), _) => Condition::Suffix(text),
        ("equals-ignore-case", Some(text), _) => Condition::EqualsIgnoringCase(text),
        ("exists", _, Value::Bool(exists)) => Condition::Exists(*exists),
        ("anything-but", _, Value::Array(items)) => {
            Condition::AnythingBut(items.iter().map(|item| condition(key, item)).collect::<Result<_, _>>()?)
        }
        ("anything-but", ..) => Condition::AnythingBut(vec![condition(key, operand)?]),
        ("numeric", _, Value::Array(parts)) if !parts.is_empty() && parts.len().is_multiple_of(2) => {
            let pair = |pair: &[Value]| Some((comparison(pair[0].as_str()?)?, pair[1].as_f64()?));
            match parts.chunks(2).map(pair).collect() {
                Some(pairs) => Condition::Numeric(pairs),
                None => return wrong(),
            }
        }
        _ => return wrong(),
    })
}

fn comparison(sign: &str) -> Option<Comparison> {
    Some(match sign {
        "=" => Comparison::Equal,
        "<" => Comparison::Less,
        "<=" => Comparison::LessOrEqual,
        ">" => Comparison::Greater,
        ">=" => Comparison::GreaterOrEqual,
        _ => return None,
    })
}

impl Rules {
    fn hold(&self, values: &Map<String, Value>) -> bool {
        self.keys.iter().all(|(key, rule)| rule.holds(values.get(key)))
            && self.alternatives.iter().all(|any| any.iter().any(|rules| rules.hold(values)))
    }
}

impl Rule {
    fn holds(&self, value: Option<&Value>) -> bool {
        match (self, value) {
            (Self::Nested(rules), Some(Value::Object(map))) => rules.hold(map),
            // A list of objects matches if one of them does.
            (Self::Nested(rules), Some(Value::Array(items))) => {
                items.iter().filter_map(Value::as_object).any(|map| rules.hold(map))
            }
            (Self::Nested(rules), _) => rules.hold(&Map::new()),
            (Self::AnyOf(conditions), None) => conditions.contains(&Condition::Exists(false)),
            (Self::AnyOf(conditions), Some(Value::Array(items))) => {
                items.iter().any(|item| conditions.iter().any(|one| one.holds(item)))
                    || conditions.contains(&Condition::Exists(true))
            }
            (Self::AnyOf(conditions), Some(value)) => conditions.iter().any(|one| one.holds(value)),
        }
    }
}

impl Condition {
    fn holds(&self, value: &Value) -> bool {
        let text = |test: &dyn Fn(&str) -> bool| value.as_str().is_some_and(test);
        match self {
            Self::Is(expected) => match (expected.as_f64(), value.as_f64()) {
                (Some(expected), Some(value)) => expected == value,
                _ => expected == value,
            },
            Self::Prefix(prefix) => text(&|it| it.starts_with(prefix)),
            Self::Suffix(suffix) => text(&|it| it.ends_with(suffix)),
            Self::EqualsIgnoringCase(expected) => text(&|it| it.eq_ignore_ascii_case(expected)),
            Self::AnythingBut(conditions) => !conditions.iter().any(|one| one.holds(value)),
            Self::Numeric(pairs) => value.as_f64().is_some_and(|value| {
                pairs.iter().all(|(comparison, bound)| match comparison {
                    Comparison::Equal => value == *bound,
                    Comparison::Less => value < *bound,
                    Comparison::LessOrEqual => value <= *bound,
                    Comparison::Greater => value > *bound,
                    Comparison::GreaterOrEqual => value >= *bound,
                })
            }),
            Self::Exists(exists) => *exists,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn attribute(data_type: &str, value: &str) -> MessageAttribute {
        MessageAttribute { data_type: data_type.to_owned(), string_value: Some(value.to_owned()), binary_value: None }
    }

    fn attributes() -> BTreeMap<String, MessageAttribute> {
        let pairs = [
            ("kind", "String", "order-placed"),
            ("price", "Number", "12.50"),
            ("tags", "String.Array", r#"["new", "gift", true]"#),
        ];
        pairs.map(|(name, data_type, value)| (name.to_owned(), attribute(data_type, value))).into()
    }

    #[test]
    fn a_policy_is_compared_with_attributes_by_their_types() {
        for (policy, expected) in [
            (json!({}), true),
            (json!({ "kind": ["order-placed", "x"] }), true),
            (json!({ "kind": ["x"] }), false),
            (json!({ "kind": [{ "prefix": "order-" }], "price": [12.5] }), true),
            (json!({ "kind": [{ "suffix": "placed" }], "price": [13] }), false),
            (json!({ "kind": [{ "equals-ignore-case": "ORDER-placed" }] }), true),
            (json!({ "kind": [{ "anything-but": ["x", "y"] }] }), true),
            (json!({ "kind": [{ "anything-but": { "prefix": "order" } }] }), false),
            (json!({ "kind": [{ "anything-but": "order-placed" }] }), false),
            (json!({ "price": [{ "numeric": [">", 12, "<=", 12.5] }] }), true),
            (json!({ "price": [{ "numeric": ["=", 12] }] }), false),
            (json!({ "price": [{ "numeric": [">=", 13] }, { "numeric": ["<", 13] }] }), true),
            (json!({ "price": ["12.50"] }), false),
            (json!({ "kind": [{ "numeric": [">", 0] }] }), false),
            (json!({ "tags": ["gift"] }), true),
            (json!({ "tags": [true] }), true),
            (json!({ "tags": ["old"] }), false),
            (json!({ "kind": [{ "exists": true }], "none": [{ "exists": false }] }), true),
            (json!({ "tags": [{ "exists": true }] }), true),
            (json!({ "none": [{ "exists": true }] }), false),
            (json!({ "none": [{ "anything-but": "x" }] }), false),
            (json!({ "$or": [{ "kind": ["x"] }, { "price": [12.5] }] }), true),
            (json!({ "$or": [{ "kind": ["x"] }, { "price": [1] }] }), false),
        ] {
            let read = FilterPolicy::read(&policy, false).expect("a policy");
            assert_eq!(read.matches("", &attributes()), expected, "{policy}");
        }
    }

    #[test]
    fn a_policy_of_the_body_names_nested_keys() {
        let body = r#"{"store": {"city": "Bern", "open": null}, "items": [{"id": 1}, {"id": 2}], "n": 3}"#;
        for (policy, expected) in [
            (json!({ "store": { "city": ["Bern"] }, "n": [{ "numeric": [">", 2] }] }), true),
            (json!({ "store": { "city": ["Basel"] } }), false),
            (json!({ "store": { "open": [null] } }), true),
            (json!({ "items": { "id": [2] } }), true),
            (json!({ "items": { "id": [3] } }), false),
            (json!({ "none": { "id": [{ "exists": false }] } }), true),
            (json!({ "none": { "id": [1] } }), false),
        ] {
            let read = FilterPolicy::read(&policy, true).expect("a policy");
            assert_eq!(read.matches(body, &BTreeMap::new()), expected, "{policy}");
        }
        let any = FilterPolicy::read(&json!({}), true).expect("a policy");
        assert!(!any.matches("no JSON", &BTreeMap::new()) && !any.matches("[1]", &BTreeMap::new()));
    }

    #[test]
    fn a_policy_that_sns_does_not_take_is_an_error_that_names_the_part() {
        for (policy, of_body, message) in [
            (json!([]), false, "it is not a JSON object"),
            (json!({ "kind": "x" }), false, "\"kind\" is not a list of values"),
            (json!({ "kind": [] }), false, "\"kind\" is not a list of values"),
            (json!({ "kind": { "a": ["x"] } }), false, "\"kind\" is not a list of values"),
            (
                json!({ "a": { "kind": [{ "infix": "x" }] } }),
                true,
                "\"kind\" has {\"infix\":\"x\"}, which is not under",
            ),
            (json!({ "kind": [{ "prefix": 1 }] }), false, "\"kind\" has {\"prefix\":1}, which"),
            (json!({ "kind": [{ "numeric": [">"] }] }), false, "\"kind\" has {\"numeric\":[\">\"]}, which"),
            (json!({ "kind": [{ "numeric": ["!", 1] }] }), false, "\"kind\" has {\"numeric\":[\"!\",1]}, which"),
            (json!({ "kind": [["x"]] }), false, "\"kind\" has [\"x\"], which"),
            (json!({ "$or": [{ "kind": "x" }] }), false, "\"kind\" is not a list of values"),
        ] {
            let error = FilterPolicy::read(&policy, of_body).expect_err("not taken");
            assert!(error.starts_with(message), "{policy}: {error}");
        }
    }
}
