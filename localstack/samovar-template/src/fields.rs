//! Strict, typed reading of one map: every property is understood, ignored by name, or an error.
//!
//! Invariant: a getter that returns nothing has either met an absent property or noted a problem. So the caller may go
//! on with a default, and one run shows all problems of a template.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use super::error::{Problems, hint};
use super::yaml::{Data, Node};

/// The properties that a map can have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Schema {
    /// How an error names the map, for example `A CORS rule`.
    pub(crate) subject: &'static str,
    pub(crate) required: &'static [&'static str],
    pub(crate) optional: &'static [&'static str],
    /// Properties that mean nothing on one machine; `TEMPLATE.md` gives the reason for each.
    pub(crate) ignored: &'static [&'static str],
}

impl Schema {
    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.required.iter().chain(self.optional).chain(self.ignored).copied()
    }
}

#[derive(Debug)]
pub(crate) struct Fields<'a> {
    schema: &'a Schema,
    line: usize,
    /// A property whose value could not be resolved is kept without a value, so that it does not count as missing.
    values: BTreeMap<String, (usize, Option<Node>)>,
    problems: &'a Problems,
}

impl<'a> Fields<'a> {
    pub(crate) fn new(schema: &'a Schema, node: &Node, problems: &'a Problems) -> Self {
        if !matches!(node.data, Data::Map(_)) {
            problems.push(node.not(schema.subject, "a map"));
            return Self { schema, line: node.line, values: BTreeMap::new(), problems };
        }
        let entries = node.entries().iter();
        let values = entries.map(|entry| (entry.key.clone(), (entry.line, Some(entry.value.clone())))).collect();
        Self::checked(schema, node.line, values, problems)
    }

    pub(crate) fn checked(
        schema: &'a Schema,
        line: usize,
        values: BTreeMap<String, (usize, Option<Node>)>,
        problems: &'a Problems,
    ) -> Self {
        let subject = schema.subject;
        for (name, (line, _)) in &values {
            if !schema.names().any(|known| known == name) {
                let hint = hint(name, schema.names());
                problems.add(*line, format!("{subject} does not have the property \"{name}\"{hint}"));
            }
        }
        for name in schema.required.iter().filter(|name| !values.contains_key(**name)) {
            problems.add(line, format!("{subject} needs the property \"{name}\""));
        }
        Self { schema, line, values, problems }
    }

    pub(crate) fn problems(&self) -> &'a Problems {
        self.problems
    }

    /// The line of the property, or that of the map where the property is absent.
    pub(crate) fn line(&self, name: &str) -> usize {
        self.values.get(name).map_or(self.line, |(line, _)| *line)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// Notes a problem with this property.
    pub(crate) fn wrong(&self, name: &str, message: &str) {
        self.problems.add(self.line(name), format!("{}.{name} {message}", self.schema.subject));
    }

    pub(crate) fn node(&self, name: &str) -> Option<&Node> {
        debug_assert!(self.schema.names().any(|known| known == name), "{name} is not in the schema");
        self.values.get(name)?.1.as_ref()
    }

    pub(crate) fn text(&self, name: &str) -> Option<String> {
        let node = self.node(name)?;
        self.problems.keep(node.expect_text(&self.path(name)))
    }

    pub(crate) fn boolean(&self, name: &str) -> Option<bool> {
        let node = self.node(name)?;
        match node.as_text().as_deref() {
            Some("true") => Some(true),
            Some("false") => Some(false),
            Some(other) => {
                self.wrong(name, &format!("must be true or false, but is \"{other}\""));
                None
            }
            None => {
                self.problems.push(node.not(&self.path(name), "true or false"));
                None
            }
        }
    }

    /// A whole number within the range that AWS accepts.
    pub(crate) fn integer(&self, name: &str, range: RangeInclusive<u32>) -> Option<u32> {
        let node = self.node(name)?;
        let Some(text) = node.as_text() else {
            self.problems.push(node.not(&self.path(name), "a whole number"));
            return None;
        };
        let Ok(value) = text.parse::<i64>() else {
            self.wrong(name, &format!("must be a whole number, but is \"{text}\""));
            return None;
        };
        let within = u32::try_from(value).ok().filter(|value| range.contains(value));
        if within.is_none() {
            self.wrong(name, &format!("is {value}, but AWS takes {} to {}", range.start(), range.end()));
        }
        within
    }

    pub(crate) fn choice(&self, name: &str, choices: &[&str]) -> Option<String> {
        let value = self.text(name)?;
        if choices.contains(&value.as_str()) {
            return Some(value);
        }
        self.wrong(name, &format!("cannot be \"{value}\"{}", hint(&value, choices.iter().copied())));
        None
    }

    pub(crate) fn list(&self, name: &str) -> Option<&[Node]> {
        let node = self.node(name)?;
        match &node.data {
            Data::List(items) => Some(items),
            _ => {
                self.problems.push(node.not(&self.path(name), "a list"));
                None
            }
        }
    }

    pub(crate) fn texts(&self, name: &str) -> Option<Vec<String>> {
        let items = self.list(name)?.iter();
        items.map(|item| self.problems.keep(item.expect_text(&format!("An item of {}", self.path(name))))).collect()
    }

    pub(crate) fn map(&self, name: &str, schema: &'a Schema) -> Option<Fields<'a>> {
        Some(Fields::new(schema, self.node(name)?, self.problems))
    }

    pub(crate) fn maps(&self, name: &str, schema: &'a Schema) -> Option<Vec<Fields<'a>>> {
        Some(self.list(name)?.iter().map(|item| Fields::new(schema, item, self.problems)).collect())
    }

    fn path(&self, name: &str) -> String {
        format!("{}.{name}", self.schema.subject)
    }
}
