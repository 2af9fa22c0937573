//! Parameters: the declarations, the values given for this run, and the checks that AWS makes of both.
//!
//! Invariant: a value that comes out has passed the checks of its declaration, whether it was given or is the default.

use std::collections::BTreeMap;

use serde_json::Value;

use super::error::{Problem, Problems, hint};
use super::fields::{Fields, Schema};
use super::pattern;
use super::yaml::Node;

const SCHEMA: Schema = Schema {
    subject: "A parameter",
    required: &["Type"],
    optional: &[
        "AllowedPattern",
        "AllowedValues",
        "ConstraintDescription",
        "Default",
        "MaxLength",
        "MaxValue",
        "MinLength",
        "MinValue",
    ],
    ignored: &["Description", "NoEcho"],
};

const TYPES: [&str; 3] = ["CommaDelimitedList", "Number", "String"];

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Parameter {
    pub(crate) text: String,
    pub(crate) kind: ParameterKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ParameterKind {
    /// A `CommaDelimitedList`, to which `!Ref` gives a list.
    List,
    Number,
    Text,
}

impl Parameter {
    pub(crate) fn is_list(&self) -> bool {
        self.kind == ParameterKind::List
    }

    pub(crate) fn to_json(&self) -> Value {
        match self.kind {
            ParameterKind::List => self.items().collect(),
            ParameterKind::Text => self.text.as_str().into(),
            ParameterKind::Number => {
                let whole = self.text.parse::<i64>().map(Value::from);
                whole.or_else(|_| self.text.parse::<f64>().map(Value::from)).unwrap_or_default()
            }
        }
    }

    pub(crate) fn items(&self) -> impl Iterator<Item = &str> {
        self.text.split(',').map(str::trim)
    }
}

pub(crate) fn read(
    section: Option<&Node>,
    overrides: &BTreeMap<String, String>,
    problems: &Problems,
) -> BTreeMap<String, Parameter> {
    let declared = section.map(Node::entries).unwrap_or_default();
    for name in overrides.keys().filter(|name| !declared.iter().any(|entry| entry.key == **name)) {
        let hint = hint(name, declared.iter().map(|entry| entry.key.as_str()));
        problems.add(section.map_or(1, |node| node.line), format!("There is no parameter \"{name}\"{hint}"));
    }
    declared
        .iter()
        .filter_map(|entry| {
            let declaration = Fields::new(&SCHEMA, &entry.value, problems);
            let given = overrides.get(&entry.key).cloned();
            Some((entry.key.clone(), one(&entry.key, entry.line, &declaration, given)?))
        })
        .collect()
}

fn one(name: &str, line: usize, declaration: &Fields<'_>, given: Option<String>) -> Option<Parameter> {
    let problems = declaration.problems();
    let kind = declaration.choice("Type", &TYPES)?;
    let is_given = given.is_some();
    let Some(text) = given.or_else(|| declaration.text("Default")) else {
        if !declaration.has("Default") {
            problems.add(
                line,
                format!("Parameter {name} has no default: give it a value, for example with --param {name}=VALUE"),
            );
        }
        return None;
    };
    let parameter = Parameter {
        text,
        kind: match kind.as_str() {
            "CommaDelimitedList" => ParameterKind::List,
            "Number" => ParameterKind::Number,
            _ => ParameterKind::Text,
        },
    };
    if let Err(problem) = check(&kind, &parameter, declaration) {
        let source = if is_given { "given for this run" } else { "its default" };
        let explanation =
            declaration.text("ConstraintDescription").map(|text| format!(" ({text})")).unwrap_or_default();
        let message = format!("Parameter {name} cannot be \"{}\", {source}: {problem}{explanation}", parameter.text);
        problems.push(Problem::new(line, message));
        return None;
    }
    Some(parameter)
}

/// Checks a value against its declaration; the error says what is wrong.
fn check(kind: &str, parameter: &Parameter, declaration: &Fields<'_>) -> Result<(), String> {
    let text = &parameter.text;
    let limit = |name: &str| -> Result<Option<f64>, String> {
        let limit = declaration.text(name);
        limit.map(|text| number(&text).map_err(|_| format!("its {name}, {text}, is not a number"))).transpose()
    };
    let (low, high, figure, what) = match kind {
        "Number" => (limit("MinValue")?, limit("MaxValue")?, number(text)?, "value"),
        _ => (limit("MinLength")?, limit("MaxLength")?, text.chars().count() as f64, "length"),
    };
    let foreign: &[&str] = match kind {
        "Number" => &["MinLength", "MaxLength", "AllowedPattern"],
        "String" => &["MinValue", "MaxValue"],
        _ => &["MinLength", "MaxLength", "MinValue", "MaxValue", "AllowedPattern"],
    };
    if let Some(name) = foreign.iter().find(|name| declaration.has(name)) {
        return Err(format!("{name} does not apply to the type {kind}"));
    }
    if let Some(low) = low.filter(|low| figure < *low) {
        return Err(format!("the smallest {what} is {low}"));
    }
    if let Some(high) = high.filter(|high| figure > *high) {
        return Err(format!("the largest {what} is {high}"));
    }
    if let Some(allowed) = declaration.texts("AllowedValues") {
        let items: Vec<&str> = if parameter.is_list() { parameter.items().collect() } else { vec![text] };
        if let Some(wrong) = items.iter().find(|item| !allowed.iter().any(|value| value == *item)) {
            return Err(format!(
                "\"{wrong}\" is not an allowed value{}",
                hint(wrong, allowed.iter().map(String::as_str))
            ));
        }
    }
    if let Some(allowed) = declaration.text("AllowedPattern") {
        let matches = pattern::matches(&allowed, text);
        let matches =
            matches.map_err(|what| format!("its AllowedPattern {allowed} has {what}, not understood here"))?;
        if !matches {
            return Err(format!("it must match {allowed}"));
        }
    }
    Ok(())
}

fn number(text: &str) -> Result<f64, String> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    text.parse().ok().filter(|_| plain).ok_or_else(|| "it must be a number".to_owned())
}
