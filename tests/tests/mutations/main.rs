//! Each change of a condition, a rule, a number of an alarm, or a policy of a queue or a bucket is noticed. The changes
//! are made from the template itself, one by one. So a new condition or alarm that nothing here expects fails.
//!
//! Three things are expected: each switch of the deployment changes exactly the values that are listed for it; each
//! alarm rings as the table in `docs/operations.md` says; and the policies of queues and buckets say what they must.
//! Permissions of functions are tested by the calls that need them (`permissions.rs`), environment variables by the
//! programs (`wiring.rs`), and the metrics that an alarm reads by the troubles that make it ring (`alarms.rs`).

mod alarms;
mod policies;
mod switches;

use std::sync::Arc;

use e2e::{Deployment, Template};
use serde_json::{Map, Value, json};

/// A parameter and its value.
type Parameter = (&'static str, &'static str);

/// A reason why the template is not as it must be.
type Fault = String;

fn check(document: &Arc<Value>) -> Result<(), Fault> {
    let defaults = Deployment::of(document, &[])?.whole()?;
    policies::check(&defaults)?;
    alarms::check(document)?;
    switches::check_rules(document)?;
    switches::check(document, &defaults)
}

fn template() -> Arc<Value> {
    Arc::new(Deployment::new(Template::default().text(), &[]).expect("a template").document().clone())
}

/// One change of the template: the path of a value, and what is there instead. `None` removes it.
type Mutation = (Vec<String>, Option<Value>);

/// The members of an alarm that decide when it rings.
const DECIDING: [&str; 9] = [
    "Threshold",
    "EvaluationPeriods",
    "DatapointsToAlarm",
    "ComparisonOperator",
    "TreatMissingData",
    "Statistic",
    "ExtendedStatistic",
    "Stat",
    "Period",
];

fn below(path: &[String], members: &[&str]) -> Vec<String> {
    path.iter().cloned().chain(members.iter().map(|member| (*member).to_owned())).collect()
}

/// All mutations of this value and of what is in it.
fn mutations(path: &[String], value: &Value, made: &mut Vec<Mutation>) {
    let constants = [json!({ "Fn::Equals": ["same", "same"] }), json!({ "Fn::Equals": ["same", "other"] })];
    let is_in = |section: &str| path.len() == 2 && path[0] == section;
    if is_in("Conditions") {
        made.extend(constants.clone().map(|constant| (path.to_vec(), Some(constant))));
    }
    if is_in("Rules") {
        made.push((path.to_vec(), None));
        made.push((below(path, &["RuleCondition"]), None));
        made.push((below(path, &["RuleCondition"]), Some(constants[1].clone())));
        for (at, _) in value["Assertions"].as_array().into_iter().flatten().enumerate() {
            let assert = below(path, &["Assertions", &at.to_string(), "Assert"]);
            made.extend(constants.clone().map(|constant| (assert.clone(), Some(constant))));
        }
    }
    if (is_in("Resources") || is_in("Outputs")) && !value["Condition"].is_null() {
        made.push((path.to_vec(), None));
        made.push((below(path, &["Condition"]), None));
    }
    if let Some([condition, one, other]) = value["Fn::If"].as_array().map(Vec::as_slice) {
        for instead in [one.clone(), other.clone(), json!({ "Fn::If": [condition, other, one] })] {
            made.push((path.to_vec(), Some(instead)));
        }
    }
    if let (Some(effect), Some(condition)) = (value["Effect"].as_str(), value["Condition"].as_object()) {
        of_statement(path, effect, condition, made);
    }
    if is_in("Resources") && value["Type"] == "AWS::CloudWatch::Alarm" {
        of_alarm(path, value, made);
    }
    for (name, member) in members(value) {
        mutations(&below(path, &[&name]), member, made);
    }
}

/// The members of a map or a list, with their names or indexes.
fn members(value: &Value) -> Vec<(String, &Value)> {
    let named = value.as_object().into_iter().flatten().map(|(name, member)| (name.clone(), member));
    let listed = value.as_array().into_iter().flatten().enumerate().map(|(at, member)| (at.to_string(), member));
    named.chain(listed).collect()
}

/// Mutations of a statement that has a condition.
fn of_statement(path: &[String], effect: &str, condition: &Map<String, Value>, made: &mut Vec<Mutation>) {
    made.push((path.to_vec(), None));
    made.push((below(path, &["Condition"]), None));
    made.push((below(path, &["Effect"]), Some(json!(if effect == "Deny" { "Allow" } else { "Deny" }))));
    for (operator, keys) in condition {
        for key in keys.as_object().expect("keys of the request").keys() {
            let key = below(path, &["Condition", operator, key]);
            made.extend([(key.clone(), None), (key, Some(json!("another")))]);
        }
    }
}

/// Mutations of what decides when an alarm rings.
fn of_alarm(path: &[String], value: &Value, made: &mut Vec<Mutation>) {
    for (name, member) in members(value) {
        let path = below(path, &[&name]);
        if DECIDING.contains(&name.as_str()) {
            let instead = match (member.as_i64(), member.as_str()) {
                (Some(number), _) => vec![json!(number + 1), json!(number - 1)],
                (None, Some(_)) => vec![json!("another")],
                // A parameter.
                (None, None) => vec![json!(10000)],
            };
            made.push((path.clone(), None));
            made.extend(instead.into_iter().map(|instead| (path.clone(), Some(instead))));
        } else if name == "Expression" {
            let expression = member["Fn::Sub"].as_str().or(member.as_str()).expect("a text");
            made.push((path, Some(json!({ "Fn::Sub": another_expression(expression) }))));
        } else {
            of_alarm(&path, member, made);
        }
    }
}

/// The expression with another factor, or without its first metric.
fn another_expression(expression: &str) -> String {
    let start = expression.find('[').map_or(0, |at| at + 1);
    let parts = [", ", " + "].iter().find_map(|separator| expression.split_once(separator));
    let without_first = parts.map(|(_, rest)| format!("{}{rest}", &expression[..start]));
    without_first.unwrap_or_else(|| expression.replace("100 *", "99 *"))
}

fn mutated(document: &Value, (path, instead): &Mutation) -> Value {
    let mut document = document.clone();
    let (last, above) = path.split_last().expect("a path");
    let parent = above.iter().fold(&mut document, |value, name| match value {
        Value::Array(items) => &mut items[name.parse::<usize>().expect("an index")],
        value => &mut value[name],
    });
    match (parent, instead) {
        (Value::Array(items), Some(instead)) => items[last.parse::<usize>().expect("an index")] = instead.clone(),
        (Value::Array(items), None) => drop(items.remove(last.parse().expect("an index"))),
        (parent, Some(instead)) => parent[last] = instead.clone(),
        (parent, None) => drop(parent.as_object_mut().expect("a map").remove(last)),
    }
    document
}

#[test]
fn the_template_is_as_expected() {
    check(&template()).unwrap_or_else(|fault| panic!("{fault}"));
}

#[test]
fn each_change_of_a_condition_a_rule_an_alarm_or_a_policy_is_noticed() {
    let document = template();
    let mut made = Vec::new();
    mutations(&[], &document, &mut made);
    for kind in ["Conditions", "Rules", "Condition", "Threshold", "Period", "Expression"] {
        assert!(made.iter().any(|(path, _)| path.iter().any(|part| part == kind)), "{kind}");
    }
    println!("{} changes", made.len());
    assert!(made.len() > 300);
    let unnoticed: Vec<String> = made
        .iter()
        .filter(|mutation| check(&Arc::new(mutated(&document, mutation))).is_ok())
        .map(|(path, instead)| format!("{} → {}", path.join("/"), instead.as_ref().unwrap_or(&Value::Null)))
        .collect();
    assert!(
        unnoticed.is_empty(),
        "Nothing expects these {} to be as they are:\n{}",
        unnoticed.len(),
        unnoticed.join("\n")
    );
}
