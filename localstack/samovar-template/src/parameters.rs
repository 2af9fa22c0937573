//! Parameters: the declarations, the values given for this run, and the checks that AWS makes of both.
//!
//! Invariant: a value that comes out has passed the checks of its declaration, whether it was given or is the default.

use std::collections::BTreeMap;

use serde_json::Value;

use super::error::{Problem, Problems, hint};
use super::fields::{Fields, Schema};
use super::pattern;
use super::yaml::Node;

pub(crate) const SCHEMA: Schema = Schema {
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

/// The types of CloudFormation. The ids and names of a service also have lists, and Parameter Store has values of all.
const TYPES: [&str; 15] = [
    "AWS::EC2::AvailabilityZone::Name",
    "AWS::EC2::Image::Id",
    "AWS::EC2::Instance::Id",
    "AWS::EC2::KeyPair::KeyName",
    "AWS::EC2::SecurityGroup::GroupName",
    "AWS::EC2::SecurityGroup::Id",
    "AWS::EC2::Subnet::Id",
    "AWS::EC2::VPC::Id",
    "AWS::EC2::Volume::Id",
    "AWS::Route53::HostedZone::Id",
    "AWS::SSM::Parameter::Name",
    "CommaDelimitedList",
    "List<Number>",
    "Number",
    "String",
];
const STORED: &str = "AWS::SSM::Parameter::Value<";

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Parameter {
    pub(crate) text: String,
    pub(crate) kind: ParameterKind,
    /// The name in Parameter Store of a value that is not here.
    pub(crate) stored: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ParameterKind {
    /// A `CommaDelimitedList` or `List<…>`, to which `!Ref` gives a list.
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
    let declared = declaration.text("Type")?;
    let kind = kind(&declared);
    if kind.is_none() {
        let hint = hint(&declared, TYPES);
        declaration.wrong("Type", &format!("cannot be \"{declared}\"{hint}"));
    }
    let kind = kind.unwrap_or(ParameterKind::Text);
    let is_given = given.is_some();
    let Some(text) = given.or_else(|| declaration.text("Default")) else {
        if !declaration.has("Default") {
            problems.need(
                line,
                format!("Parameter {name} has no default: give it a value, for example with --param {name}=VALUE"),
            );
        }
        return Some(Parameter { text: example(name, kind, declaration), kind, stored: None });
    };
    // The default of such a parameter is the name of its value.
    let stored = (declared.starts_with(STORED) && !is_given).then(|| text.clone());
    let parameter = Parameter { text, kind, stored };
    if let Err(problem) = check(&parameter, declaration) {
        let source = if is_given { "given for this run" } else { "its default" };
        let explanation =
            declaration.text("ConstraintDescription").map(|text| format!(" ({text})")).unwrap_or_default();
        let message = format!("Parameter {name} cannot be \"{}\", {source}: {problem}{explanation}", parameter.text);
        problems.push(Problem::new(line, message));
    }
    Some(parameter)
}

fn kind(declared: &str) -> Option<ParameterKind> {
    let inner = declared.strip_prefix(STORED).and_then(|rest| rest.strip_suffix('>')).unwrap_or(declared);
    Some(match inner {
        "CommaDelimitedList" => ParameterKind::List,
        "Number" => ParameterKind::Number,
        "String" => ParameterKind::Text,
        _ => {
            let item = inner.strip_prefix("List<").and_then(|rest| rest.strip_suffix('>'));
            let service = |name: &str| name.starts_with("AWS::") && TYPES.contains(&name);
            match item {
                Some(item) if service(item) || ["Number", "String"].contains(&item) => ParameterKind::List,
                None if service(inner) => ParameterKind::Text,
                _ => return None,
            }
        }
    })
}

/// A value for a parameter that the run must give, so that reading can go on and show other problems.
fn example(name: &str, kind: ParameterKind, declaration: &Fields<'_>) -> String {
    let allowed = declaration.texts("AllowedValues").unwrap_or_default();
    allowed.into_iter().next().unwrap_or_else(|| match kind {
        ParameterKind::Number => declaration.text("MinValue").unwrap_or_else(|| "1".to_owned()),
        ParameterKind::List | ParameterKind::Text => format!("missing-{}", name.to_lowercase()),
    })
}

/// Checks a value against its declaration; the error says what is wrong.
fn check(parameter: &Parameter, declaration: &Fields<'_>) -> Result<(), String> {
    let text = &parameter.text;
    let limit = |name: &str| -> Result<Option<f64>, String> {
        let limit = declaration.text(name);
        limit.map(|text| number(&text).map_err(|_| format!("its {name}, {text}, is not a number"))).transpose()
    };
    let (low, high, figure, what) = match parameter.kind {
        ParameterKind::Number => (limit("MinValue")?, limit("MaxValue")?, number(text)?, "value"),
        _ => (limit("MinLength")?, limit("MaxLength")?, text.chars().count() as f64, "length"),
    };
    let (kind, foreign): (_, &[&str]) = match parameter.kind {
        ParameterKind::Number => ("Number", &["MinLength", "MaxLength", "AllowedPattern"]),
        ParameterKind::Text => ("String", &["MinValue", "MaxValue"]),
        ParameterKind::List => ("CommaDelimitedList", &["MinLength", "MaxLength", "MinValue", "MaxValue"]),
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
        let items: Vec<&str> = if parameter.is_list() { parameter.items().collect() } else { vec![text] };
        for item in items {
            let matches = pattern::matches(&allowed, item);
            let matches =
                matches.map_err(|what| format!("its AllowedPattern {allowed} has {what}, not understood here"))?;
            if !matches {
                return Err(format!("it must match {allowed}"));
            }
        }
    }
    Ok(())
}

fn number(text: &str) -> Result<f64, String> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    text.parse().ok().filter(|_| plain).ok_or_else(|| "it must be a number".to_owned())
}
