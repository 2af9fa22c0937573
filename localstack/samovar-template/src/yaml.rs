//! The template as a tree: values with their lines, and calls of intrinsic functions.
//!
//! Invariant: short and long forms (`!Sub x`, `Fn::Sub: x`) become the same [`Data::Call`], and keys are unique text.
//! CloudFormation reads YAML 1.1, this module 1.2. A scalar that means something else in the two is an error, because a
//! template must not mean one thing here and another when deployed.

use std::collections::BTreeMap;

use saphyr::{MarkedYaml, Scalar as YamlScalar, YamlData, YamlLoader};
use saphyr_parser::{Event, Parser, ScalarStyle};

use super::error::{Problem, Problems};

/// The deepest nesting of lists, maps and calls. Templates need about ten levels.
const MAX_DEPTH: usize = 64;

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub(crate) line: usize,
    pub(crate) data: Data,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Data {
    Null,
    Boolean(bool),
    /// The text of the number. It is parsed where its type is known.
    Number(String),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
    /// An intrinsic function, without `!` or `Fn::`. A resolved tree contains none.
    Call(String, Box<Node>),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    pub(crate) line: usize,
    pub(crate) key: String,
    pub(crate) value: Node,
}

impl Node {
    pub(crate) fn text(line: usize, text: impl Into<String>) -> Self {
        Self { line, data: Data::Text(text.into()) }
    }

    /// A scalar as text: CloudFormation converts freely between text, numbers and booleans.
    pub(crate) fn as_text(&self) -> Option<String> {
        match &self.data {
            Data::Text(text) | Data::Number(text) => Some(text.clone()),
            Data::Boolean(value) => Some(value.to_string()),
            _ => None,
        }
    }

    pub(crate) fn expect_text(&self, what: &str) -> Result<String, Problem> {
        self.as_text().ok_or_else(|| self.not(what, "text"))
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        if let Data::Map(entries) = &self.data { entries } else { &[] }
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        self.entries().iter().find(|entry| entry.key == key).map(|entry| &entry.value)
    }

    /// The problem of a value of the wrong type.
    pub(crate) fn not(&self, what: &str, expected: &str) -> Problem {
        let is = match &self.data {
            Data::Null => "nothing",
            Data::Boolean(_) => "a boolean",
            Data::Number(_) => "a number",
            Data::Text(_) => "text",
            Data::List(_) => "a list",
            Data::Map(_) => "a map",
            Data::Call(name, _) => return Problem::new(self.line, format!("{what} cannot be computed with !{name}")),
        };
        Problem::new(self.line, format!("{what} must be {expected}, but is {is}"))
    }

    /// Calls `see` for this node and every node below it.
    pub(crate) fn visit(&self, see: &mut dyn FnMut(&Node)) {
        see(self);
        match &self.data {
            Data::List(items) => items.iter().for_each(|item| item.visit(see)),
            Data::Map(entries) => entries.iter().for_each(|entry| entry.value.visit(see)),
            Data::Call(_, argument) => argument.visit(see),
            _ => {}
        }
    }

    /// The tree as JSON. Numbers stay numbers, and calls get their long form: `{"Fn::Sub": …}`. A resolved tree has
    /// none.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        use serde_json::Value;
        match &self.data {
            Data::Null => Value::Null,
            Data::Boolean(value) => Value::Bool(*value),
            Data::Number(text) => serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.clone())),
            Data::Text(text) => Value::String(text.clone()),
            Data::List(items) => items.iter().map(Node::to_json).collect(),
            Data::Call(name, argument) => {
                let name = if name == "Ref" || name == "Condition" { name.clone() } else { format!("Fn::{name}") };
                [(name, argument.to_json())].into_iter().collect()
            }
            Data::Map(entries) => entries.iter().map(|entry| (entry.key.clone(), entry.value.to_json())).collect(),
        }
    }
}

/// Reads a template, which is one YAML document. JSON is YAML too.
pub(crate) fn parse(source: &str, problems: &Problems) -> Option<Node> {
    scan(source, problems)?;
    let mut loader = YamlLoader::<MarkedYaml<'_>>::default();
    // The scan has found them.
    loader.allow_duplicate_keys(true);
    let documents = match Parser::new_from_str(source).load(&mut loader, true) {
        Ok(()) => match loader.error().cloned() {
            Some(error) => Err(error),
            None => Ok(loader.into_documents()),
        },
        Err(error) => Err(error),
    };
    let documents = documents
        .map_err(|error| problems.add(error.marker().line(), format!("Not valid YAML: {}", error.info())))
        .ok()?;
    let [document] = documents.as_slice() else {
        problems.add(1, format!("A template must be one YAML document, but this file has {}", documents.len()));
        return None;
    };
    let reader = Reader { source: source.chars().collect(), problems };
    Some(reader.node(document, &reader.written(document)))
}

/// A list or map that the scan is in.
#[derive(Default)]
struct Open {
    is_map: bool,
    /// The keys of a map, with their lines and values.
    keys: BTreeMap<String, (usize, String)>,
    /// The key whose value comes next.
    key: Option<(String, usize)>,
    /// Everything in it, in a form that is the same for the same meaning.
    meaning: String,
}

/// Finds the problems that the loader cannot tell: nesting that is too deep (reading and dropping a tree takes a part
/// of the stack for each level), and keys that come twice. Tools take the last of the two values, so a second one that
/// is the same is only noted. Returns nothing if the text cannot be loaded. Text that is not YAML passes here, and the
/// loader reports it.
fn scan(source: &str, problems: &Problems) -> Option<()> {
    let mut open: Vec<Open> = Vec::new();
    for event in Parser::new_from_str(source) {
        let Ok((event, span)) = event else { break };
        let line = span.start.line();
        let meaning = match event {
            Event::SequenceStart(..) | Event::MappingStart(..) if open.len() >= MAX_DEPTH => {
                let message = format!("Lists and maps are nested deeper than {MAX_DEPTH} levels; use fewer levels");
                problems.add(line, message);
                return None;
            }
            Event::SequenceStart(_, tag) => {
                open.push(Open { meaning: format!("{tag:?}["), ..Open::default() });
                continue;
            }
            Event::MappingStart(_, tag) => {
                open.push(Open { is_map: true, meaning: format!("{tag:?}{{"), ..Open::default() });
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => open.pop().map(|ended| ended.meaning + "]").unwrap_or_default(),
            Event::Scalar(text, style, _, tag) => {
                let key = open.last_mut().filter(|parent| parent.is_map && parent.key.is_none());
                if let Some(parent) = key {
                    parent.key = Some((text.into_owned(), line));
                    continue;
                }
                let scalar = match style {
                    ScalarStyle::Plain => YamlScalar::parse_from_cow(text),
                    _ => YamlScalar::String(text),
                };
                format!("{tag:?}{scalar:?},")
            }
            Event::Alias(anchor) => format!("*{anchor},"),
            _ => continue,
        };
        let Some(parent) = open.last_mut() else { continue };
        match parent.key.take() {
            Some((key, line)) => {
                parent.meaning.push_str(&format!("{key:?}:{meaning}"));
                if let Some((first, other)) = parent.keys.get(&key) {
                    let twice = format!("The key \"{key}\" comes twice in one map, first in line {first}");
                    match *other == meaning {
                        true => problems.note(line, format!("{twice}, with the same value: remove one")),
                        false => problems.add(line, format!("{twice}: remove one")),
                    }
                }
                parent.keys.insert(key, (line, meaning));
            }
            // A list or map as a key. The reader reports it.
            None if parent.is_map => parent.key = Some((meaning, line)),
            None => parent.meaning.push_str(&meaning),
        }
    }
    Some(())
}

struct Reader<'a> {
    source: Vec<char>,
    problems: &'a Problems,
}

impl Reader<'_> {
    /// The node's text in the source, including tag and anchor.
    fn written(&self, yaml: &MarkedYaml<'_>) -> String {
        let (start, end) = (yaml.span.start.index(), yaml.span.end.index());
        self.source.get(start..end).unwrap_or_default().iter().collect()
    }

    fn node(&self, yaml: &MarkedYaml<'_>, written: &str) -> Node {
        let line = yaml.span.start.line();
        // The loader has already expanded aliases and applied YAML's own tags. Only the source still shows them.
        if written.starts_with('*') {
            self.problems.add(line, "YAML aliases (*name) are not allowed: CloudFormation does not read them");
        }
        let written = written.strip_prefix('&').map_or(written, |anchored| {
            anchored.split_once(char::is_whitespace).map_or("", |(_, rest)| rest.trim_start())
        });
        if written.starts_with("!!") {
            self.problems.add(line, "YAML type tags (!!name) are not allowed: quote the value if text is meant");
        }
        let data = match &yaml.data {
            YamlData::Value(scalar) => self.scalar(scalar, written.trim_end(), line),
            YamlData::Sequence(items) => {
                Data::List(items.iter().map(|item| self.node(item, &self.written(item))).collect())
            }
            YamlData::Mapping(mapping) => {
                let mut entries: Vec<Entry> = Vec::new();
                for (key, value) in mapping {
                    entries.extend(self.entry(key, value));
                }
                self.map_or_call(entries, line)
            }
            YamlData::Tagged(tag, inner) if tag.handle == "!" => {
                let argument = match &inner.data {
                    YamlData::Value(scalar) => Node { line, data: self.argument(scalar, written, line) },
                    _ => self.node(inner, ""),
                };
                Data::Call(tag.suffix.clone(), Box::new(argument))
            }
            YamlData::Tagged(tag, _) => {
                self.problems.add(line, format!("The tag {tag} is not understood"));
                Data::Null
            }
            YamlData::BadValue | YamlData::Alias(_) | YamlData::Representation(..) => {
                self.problems.add(line, format!("\"{written}\" is not understood: quote the value if text is meant"));
                Data::Null
            }
        };
        Node { line, data }
    }

    fn scalar(&self, scalar: &YamlScalar<'_>, written: &str, line: usize) -> Data {
        let differs = |meant: &str| {
            let message = format!("{written} can be read as {meant} or as text: quote it if text is meant");
            self.problems.add(line, message);
        };
        match scalar {
            YamlScalar::Null => {
                self.problems.add(line, "Null values are not allowed in templates: remove the key or give it a value");
                Data::Null
            }
            YamlScalar::Boolean(value) => Data::Boolean(*value),
            YamlScalar::Integer(value) => {
                if value.to_string() != written {
                    differs("a number, which may be another in YAML 1.1,");
                }
                Data::Number(value.to_string())
            }
            YamlScalar::FloatingPoint(value) => {
                let value = value.into_inner();
                if format!("{value:?}") != written {
                    differs(&format!("the number {value:?}"));
                }
                Data::Number(written.to_owned())
            }
            YamlScalar::String(text) => {
                if text == written
                    && let Some(meant) = means_in_yaml_1_1(text)
                {
                    differs(meant);
                }
                Data::Text(text.clone().into_owned())
            }
        }
    }

    /// Every YAML reader takes a scalar behind a tag for text, whatever it looks like.
    fn argument(&self, scalar: &YamlScalar<'_>, written: &str, line: usize) -> Data {
        let text = match scalar {
            YamlScalar::String(text) => text.clone().into_owned(),
            _ => written.split_once(char::is_whitespace).map_or("", |(_, text)| text.trim()).to_owned(),
        };
        if text.is_empty() && !written.trim_end().ends_with(['\'', '"']) {
            self.problems.add(line, format!("{} needs an argument", written.trim_end()));
        }
        Data::Text(text)
    }

    fn entry(&self, key: &MarkedYaml<'_>, value: &MarkedYaml<'_>) -> Option<Entry> {
        let line = key.span.start.line();
        match self.node(key, &self.written(key)).data {
            Data::Text(key) if key == "<<" => {
                self.problems.add(line, "YAML merge keys (<<) are not allowed: CloudFormation does not read them");
                None
            }
            Data::Text(key) => Some(Entry { line, key, value: self.node(value, &self.written(value)) }),
            Data::Null => None,
            _ => {
                self.problems.add(line, "A key must be text: quote it");
                None
            }
        }
    }

    fn map_or_call(&self, mut entries: Vec<Entry>, line: usize) -> Data {
        let name = |key: &str| key.strip_prefix("Fn::").or((key == "Ref").then_some("Ref")).map(str::to_owned);
        if entries.len() == 1
            && let Some(name) = name(&entries[0].key)
        {
            return Data::Call(name, Box::new(entries.remove(0).value));
        }
        if let Some(entry) = entries.iter().find(|entry| entry.key.starts_with("Fn::")) {
            self.problems.add(line, format!("{} must be the only key of its map", entry.key));
        }
        Data::Map(entries)
    }
}

/// The type that YAML 1.1 gives to this plain text, unless it is text.
fn means_in_yaml_1_1(text: &str) -> Option<&'static str> {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    match text.to_ascii_lowercase().as_str() {
        "yes" | "no" | "on" | "off" => Some("a boolean"),
        number if number.starts_with(|c: char| c.is_ascii_digit()) => {
            let grouped = number.contains('_') && digits(&number.replace('_', ""));
            let sexagesimal = number.contains(':') && number.split(':').all(digits);
            (grouped || sexagesimal).then_some("a number")
        }
        _ => None,
    }
}
