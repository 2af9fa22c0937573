//! What a rule gives to its target: the event, a part of it, a constant, or a text made of its parts.
//!
//! The rules are those of "Amazon EventBridge input transformation" (`eb-transform-target-input`). A path is one with
//! dots, as `$.detail.state`, with numbers of list elements and quoted names in brackets. The text of a variable that
//! the event does not have is empty, or `null` where a JSON value stands.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// What a target gets.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Input {
    /// The event.
    #[default]
    Event,
    /// `Input`: always this JSON.
    Constant(String),
    /// `InputPath`: this part of the event.
    Part(Path),
    /// `InputTransformer`.
    Transformer(Transformer),
}

/// `InputTransformer`: a text in which `<name>` stands for a part of the event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transformer {
    variables: BTreeMap<String, Path>,
    template: String,
}

/// A path to a part of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path(Vec<Step>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Field(String),
    Element(usize),
}

/// The reason why an input is not one that EventBridge takes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InputError {
    /// The text is no path, or one with parts that are not understood.
    #[error("\"{0}\" is not a path such as $.detail.state or $.resources[0]")]
    Path(String),
    /// The template has a variable that there is no path for.
    #[error("<{0}> is not in InputPathsMap")]
    Variable(String),
}

/// The rule that an event has matched.
#[derive(Debug, Clone, Copy)]
pub struct Rule<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its ARN.
    pub arn: &'a str,
}

/// The variables that every template has begin so.
const OWN: &str = "aws.events.";

impl Path {
    /// Reads a path.
    ///
    /// # Errors
    /// It is none, or one with parts that are not understood.
    pub fn parse(text: &str) -> Result<Self, InputError> {
        steps(text).map(Self).ok_or_else(|| InputError::Path(text.to_owned()))
    }

    /// The part of an event.
    pub fn of<'e>(&self, event: &'e Value) -> Option<&'e Value> {
        self.0.iter().try_fold(event, |part, step| match step {
            Step::Field(name) => part.get(name),
            Step::Element(at) => part.get(at),
        })
    }
}

fn steps(text: &str) -> Option<Vec<Step>> {
    let (mut rest, mut steps) = (text.strip_prefix('$')?, Vec::new());
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('.') {
            let end = after.find(['.', '[']).unwrap_or(after.len());
            let (name, left) = after.split_at(end);
            if name.is_empty() || name.contains(['*', '?', '@', ']', '"', '\'']) {
                return None;
            }
            steps.push(Step::Field(name.to_owned()));
            rest = left;
        } else {
            let (inside, left) = rest.strip_prefix('[')?.split_once(']')?;
            let quoted = |quote: char| inside.strip_prefix(quote)?.strip_suffix(quote);
            steps.push(match quoted('\'').or_else(|| quoted('"')) {
                Some(name) => Step::Field(name.to_owned()),
                None => Step::Element(inside.parse().ok()?),
            });
            rest = left;
        }
    }
    Some(steps)
}

impl Transformer {
    /// Reads a transformer from the paths of its variables and its template.
    ///
    /// # Errors
    /// A path is wrong, or a variable has none.
    pub fn new(paths: &BTreeMap<String, String>, template: &str) -> Result<Self, InputError> {
        let variables = paths.iter().map(|(name, path)| Ok((name.clone(), Path::parse(path)?)));
        let variables: BTreeMap<_, _> = variables.collect::<Result<_, InputError>>()?;
        for part in parts(template) {
            if let Part::Variable { name, .. } = part
                && !name.starts_with(OWN)
                && !variables.contains_key(name)
            {
                return Err(InputError::Variable(name.to_owned()));
            }
        }
        Ok(Self { variables, template: template.to_owned() })
    }

    fn apply(&self, event: &Value, rule: Rule<'_>) -> String {
        let mut text = String::new();
        for part in parts(&self.template) {
            let (name, quoted) = match part {
                Part::Text(plain) => {
                    text.push_str(plain);
                    continue;
                }
                Part::Variable { name, quoted } => (name, quoted),
            };
            let value = match name.strip_prefix(OWN) {
                Some(own) => own_variable(own, event, rule),
                None => self.variables.get(name).and_then(|path| path.of(event)).cloned(),
            };
            match (value, quoted) {
                (Some(value), false) => text.push_str(&value.to_string()),
                (None, false) => text.push_str("null"),
                (Some(value), true) => {
                    let plain = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                    // Without the quotes around it.
                    let escaped = json!(plain).to_string();
                    text.push_str(&escaped[1..escaped.len() - 1]);
                }
                (None, true) => {}
            }
        }
        text
    }
}

fn own_variable(name: &str, event: &Value, rule: Rule<'_>) -> Option<Value> {
    match name {
        "rule-arn" => Some(rule.arn.into()),
        "rule-name" => Some(rule.name.into()),
        "event.ingestion-time" => event.get("time").cloned(),
        "event.json" => Some(event.clone()),
        "event" => {
            let mut event = event.clone();
            event.as_object_mut().map(|fields| fields.remove("detail"));
            Some(event)
        }
        _ => None,
    }
}

enum Part<'a> {
    Text(&'a str),
    /// `quoted`: within the quotes of a JSON text.
    Variable {
        name: &'a str,
        quoted: bool,
    },
}

/// The parts of a template. A `<` without a name and a `>` behind it is text.
fn parts(template: &str) -> Vec<Part<'_>> {
    let (mut parts, mut rest, mut quoted) = (Vec::new(), template, false);
    while let Some(at) = rest.find('<') {
        let (before, after) = rest.split_at(at);
        quoted ^= quotes(before) % 2 == 1;
        let is_name = |name: &&str| {
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        };
        let name = after[1..].split_once('>').map(|(name, _)| name).filter(is_name);
        parts.push(Part::Text(before));
        rest = match name {
            Some(name) => {
                parts.push(Part::Variable { name, quoted });
                &after[name.len() + 2..]
            }
            None => {
                parts.push(Part::Text("<"));
                &after[1..]
            }
        };
    }
    parts.push(Part::Text(rest));
    parts
}

/// The quotes that are not behind a backslash.
fn quotes(text: &str) -> usize {
    let mut escaped = false;
    let is_quote = |letter: char| {
        let quote = letter == '"' && !escaped;
        escaped = letter == '\\' && !escaped;
        quote
    };
    text.chars().map(is_quote).filter(|quote| *quote).count()
}

impl Input {
    /// What the target gets of an event. It is JSON: a text that is not becomes a JSON text.
    pub fn of(&self, event: &Value, rule: Rule<'_>) -> String {
        match self {
            Self::Event => event.to_string(),
            Self::Constant(json) => as_json(json.clone()),
            Self::Part(path) => path.of(event).unwrap_or(&Value::Null).to_string(),
            Self::Transformer(transformer) => as_json(transformer.apply(event, rule)),
        }
    }
}

fn as_json(text: String) -> String {
    match serde_json::from_str::<serde::de::IgnoredAny>(&text) {
        Ok(_) => text,
        Err(_) => json!(text).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RULE: Rule<'_> = Rule { name: "r", arn: "arn:r" };

    /// The event of the user guide.
    fn event() -> Value {
        json!({
            "version": "0",
            "id": "7bf73129-1428-4cd3-a780-95db273d1602",
            "time": "2015-11-11T21:29:54Z",
            "resources": ["arn:aws:ec2:us-east-1:123456789012:instance/i-abcd1111"],
            "detail": { "instance-id": "i-0123456789", "state": "RUNNING", "n": 5, "o": { "a": "b\"c" } },
        })
    }

    fn transformed(paths: &[(&str, &str)], template: &str) -> String {
        let paths = paths.iter().map(|(name, path)| ((*name).to_owned(), (*path).to_owned())).collect();
        Input::Transformer(Transformer::new(&paths, template).unwrap()).of(&event(), RULE)
    }

    #[test]
    fn a_template_has_the_parts_of_the_event() {
        let paths = [
            ("instance", "$.detail.instance-id"),
            ("state", "$.detail.state"),
            ("n", "$.detail.n"),
            ("o", "$.detail.o"),
            ("first", "$.resources[0]"),
            ("quoted", "$['detail'][\"state\"]"),
            ("none", "$.detail.none"),
        ];
        for (template, expected) in [
            (r#""<instance> is in state <state>""#, r#""i-0123456789 is in state RUNNING""#),
            (
                r#"{"instance": "<instance>", "state": <state>, "n": <n>}"#,
                r#"{"instance": "i-0123456789", "state": "RUNNING", "n": 5}"#,
            ),
            (r#"{"o": <o>, "t": "<o>"}"#, r#"{"o": {"a":"b\"c"}, "t": "{\"a\":\"b\\\"c\"}"}"#),
            (
                r#"{"a": [<first>, <quoted>], "\"": <n>}"#,
                "{\"a\": [\"arn:aws:ec2:us-east-1:123456789012:instance/i-abcd1111\", \"RUNNING\"], \"\\\"\": 5}",
            ),
            (r#"{"none": <none>, "text": "<none>"}"#, r#"{"none": null, "text": ""}"#),
            (
                concat!(
                    r#"{"r": "<aws.events.rule-name>", "a": <aws.events.rule-arn>, "#,
                    r#""at": <aws.events.event.ingestion-time>}"#
                ),
                r#"{"r": "r", "a": "arn:r", "at": "2015-11-11T21:29:54Z"}"#,
            ),
            (r#"{"x": <aws.events.other>}"#, r#"{"x": null}"#),
            ("state <state> < 5", r#""state \"RUNNING\" < 5""#),
        ] {
            assert_eq!(transformed(&paths, template), expected, "{template}");
        }
        let whole: Value = serde_json::from_str(&transformed(&[], r#"{"e": <aws.events.event.json>}"#)).unwrap();
        assert_eq!(whole["e"], event());
        let without: Value = serde_json::from_str(&transformed(&[], r#"{"e": <aws.events.event>}"#)).unwrap();
        assert_eq!((&without["e"]["id"], without["e"].get("detail")), (&event()["id"], None));
    }

    #[test]
    fn an_input_is_a_part_a_constant_or_the_event() {
        let part = |path: &str| Input::Part(Path::parse(path).unwrap()).of(&event(), RULE);
        assert_eq!(part("$.detail.state"), "\"RUNNING\"");
        assert_eq!(part("$.none[3]"), "null");
        assert_eq!(part("$"), event().to_string());
        assert_eq!(Input::Event.of(&event(), RULE), event().to_string());
        assert_eq!(Input::Constant(r#"{"a": 1}"#.to_owned()).of(&event(), RULE), r#"{"a": 1}"#);
        assert_eq!(Input::Constant("plain".to_owned()).of(&event(), RULE), "\"plain\"");
    }

    #[test]
    fn a_path_or_a_variable_that_is_not_understood_is_an_error() {
        for path in ["", "detail", "$detail", "$.", "$..a", "$.a.*", "$.a[*]", "$.a[", "$.a[-1]", "$.a[?(@.b)]"] {
            assert_eq!(Path::parse(path), Err(InputError::Path(path.to_owned())), "{path}");
        }
        let error = Transformer::new(&BTreeMap::new(), "{\"a\": <b>}").unwrap_err();
        assert_eq!(error.to_string(), "<b> is not in InputPathsMap");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn whatever_a_template_is_the_target_gets_json(template in "[a<>\"\\\\{}: .-]{0,20}") {
            let paths = BTreeMap::from([("a".to_owned(), "$.detail.o".to_owned())]);
            if let Ok(transformer) = Transformer::new(&paths, &template) {
                let input = Input::Transformer(transformer).of(&event(), RULE);
                prop_assert!(serde_json::from_str::<Value>(&input).is_ok(), "{}", input);
            }
        }
    }
}
