//! Event patterns.
//!
//! The rules are those of "Comparison operators for use in event patterns" in EventBridge's user guide
//! (`eb-create-pattern-operators`), and of Event Ruler, which AWS publishes as the matcher of EventBridge.
//!
//! A pattern has the shape of the events that it matches. Its leaves are lists of comparisons, of which one must hold.
//! All fields of an object must match. Where the event has a list, one element must match, and where that is a list of
//! objects, one of them must match all fields that the pattern has below it. A field that must not exist is looked for
//! in the whole event, in the elements of all lists.

mod comparison;
mod parse;
#[cfg(test)]
mod tests;

use serde_json::Value;

use comparison::Comparison;

/// An event pattern.
#[derive(Debug, Clone, PartialEq)]
pub struct Pattern {
    root: Object,
}

/// The reason why a text is not an event pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// The text is not JSON.
    #[error("It is not JSON: {0}")]
    Json(String),
    /// The whole pattern is not an object.
    #[error("An event pattern is an object")]
    NotAnObject,
    /// A part is wrong: its path in the pattern, and the reason.
    #[error("{path}: {reason}")]
    Part {
        /// The names of the fields, with dots between them. Empty at the pattern's root.
        path: String,
        /// What is wrong, and what is allowed.
        reason: String,
    },
}

/// The fields of an object, all of which must match.
#[derive(Debug, Clone, PartialEq, Default)]
struct Object {
    fields: Vec<(String, Node)>,
    /// The objects of `$or`, one of which must match too. There is none without it.
    alternatives: Option<Vec<Object>>,
}

#[derive(Debug, Clone, PartialEq)]
enum Node {
    Object(Object),
    Leaf(Vec<Comparison>),
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// The text is not JSON, or not a pattern that EventBridge takes.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        Self::of(&serde_json::from_str(text).map_err(|error| PatternError::Json(error.to_string()))?)
    }

    /// Reads a pattern that is JSON already.
    ///
    /// # Errors
    /// It is not a pattern that EventBridge takes.
    pub fn of(value: &Value) -> Result<Self, PatternError> {
        Ok(Self { root: parse::root(value)? })
    }

    /// Whether the event matches.
    pub fn matches(&self, event: &Value) -> bool {
        object(&self.root, Some(event), event, &mut Vec::new())
    }

    /// Whether the pattern has fields below this field of the event.
    pub fn looks_into(&self, field: &str) -> bool {
        looks_into(&self.root, field)
    }
}

fn looks_into(object: &Object, field: &str) -> bool {
    let own = object.fields.iter().any(|(name, node)| name == field && matches!(node, Node::Object(_)));
    own || object.alternatives.iter().flatten().any(|one| looks_into(one, field))
}

/// Whether a part of the event matches. The path leads from the event to the part.
fn object<'p>(pattern: &'p Object, part: Option<&Value>, event: &Value, path: &mut Vec<&'p str>) -> bool {
    if let Some(Value::Array(elements)) = part
        && !elements.is_empty()
    {
        return elements.iter().any(|element| object(pattern, Some(element), event, path));
    }
    let fields = part.and_then(Value::as_object);
    let all = pattern.fields.iter().all(|(name, node)| {
        path.push(name);
        let part = fields.and_then(|fields| fields.get(name));
        let matched = match node {
            Node::Object(nested) => object(nested, part, event, path),
            Node::Leaf(comparisons) => comparisons.iter().any(|comparison| match comparison {
                Comparison::Exists(false) => !has_leaf(event, path),
                comparison => any_leaf(part, &|leaf| comparison.holds(leaf)),
            }),
        };
        path.pop();
        matched
    });
    let any = |alternatives: &'p Vec<Object>, path: &mut Vec<&'p str>| {
        alternatives.iter().any(|one| object(one, part, event, path))
    };
    all && pattern.alternatives.as_ref().is_none_or(|alternatives| any(alternatives, path))
}

/// Whether the event has a value at this path that is no object.
fn has_leaf(part: &Value, path: &[&str]) -> bool {
    match (part, path) {
        (Value::Array(elements), _) => elements.iter().any(|element| has_leaf(element, path)),
        (part, []) => !part.is_object(),
        (part, [name, rest @ ..]) => part.get(*name).is_some_and(|part| has_leaf(part, rest)),
    }
}

/// Whether a test holds for one of the values of a field, which may be a list.
fn any_leaf(part: Option<&Value>, holds: &impl Fn(&Value) -> bool) -> bool {
    match part {
        None | Some(Value::Object(_)) => false,
        Some(Value::Array(elements)) => elements.iter().any(|element| any_leaf(Some(element), holds)),
        Some(leaf) => holds(leaf),
    }
}
