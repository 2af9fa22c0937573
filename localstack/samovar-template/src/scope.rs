//! The names that are visible while a template is resolved: parameters, conditions, mappings, resources.
//!
//! Invariant: a reference gives the value that the local stack really uses, or an error; values are never invented.
//! There are two exceptions. A property that has no effect here may refer to a resource that is not run here
//! ([`Scope::leniently`]), and a run may ask for placeholders ([`Locals::allow_missing`]).

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};

use super::Locals;
use super::error::{Problem, hint};
use super::parameters::Parameter;
use super::resource::{Kind, Resource};
use super::yaml::Node;

pub(crate) const PSEUDO_PARAMETERS: [&str; 8] = [
    "AWS::AccountId",
    "AWS::NoValue",
    "AWS::NotificationARNs",
    "AWS::Partition",
    "AWS::Region",
    "AWS::StackId",
    "AWS::StackName",
    "AWS::URLSuffix",
];

pub(crate) const PARTITION: &str = "aws";
pub(crate) const URL_SUFFIX: &str = "amazonaws.com";

#[derive(Debug)]
pub(crate) struct Scope<'a> {
    pub(crate) locals: &'a Locals,
    pub(crate) parameters: BTreeMap<String, Parameter>,
    pub(crate) mappings: Option<Node>,
    /// `None` while the conditions themselves are decided.
    pub(crate) conditions: Option<BTreeMap<String, bool>>,
    pub(crate) resources: BTreeMap<String, Resource>,
    /// The routes that SAM generates for a WebSocket API: from logical id to API and route key.
    pub(crate) routes: BTreeMap<String, (String, String)>,
    /// Logical ids that have no value here, with their types.
    pub(crate) passed_over: BTreeMap<String, String>,
    /// The resources whose names are being resolved, so that a circle is found.
    pub(crate) naming: RefCell<Vec<String>>,
    /// Whether placeholders are given without a word.
    lenient: Cell<bool>,
    /// How many placeholders have been given.
    pub(crate) placeholders: Cell<usize>,
    /// The placeholders that the run has asked for.
    pub(crate) given: RefCell<BTreeSet<Problem>>,
}

impl<'a> Scope<'a> {
    pub(crate) fn new(locals: &'a Locals, parameters: BTreeMap<String, Parameter>, mappings: Option<Node>) -> Self {
        Self {
            locals,
            parameters,
            mappings,
            conditions: None,
            resources: BTreeMap::new(),
            routes: BTreeMap::new(),
            passed_over: BTreeMap::new(),
            naming: RefCell::default(),
            lenient: Cell::new(false),
            placeholders: Cell::new(0),
            given: RefCell::default(),
        }
    }

    /// Whether a deployed template could refer to this name.
    pub(crate) fn knows(&self, name: &str) -> bool {
        PSEUDO_PARAMETERS.contains(&name)
            || self.parameters.contains_key(name)
            || self.resources.contains_key(name)
            || self.routes.contains_key(name)
            || self.passed_over.contains_key(name)
    }

    pub(crate) fn unknown(&self, line: usize, name: &str) -> Problem {
        if self.conditions.is_none() {
            let hint = hint(name, self.parameters.keys().map(String::as_str).chain(PSEUDO_PARAMETERS));
            return Problem::new(
                line,
                format!("A condition or a rule can refer only to parameters, not to \"{name}\"{hint}"),
            );
        }
        let names = self.parameters.keys().chain(self.resources.keys()).chain(self.routes.keys());
        let names = names.chain(self.passed_over.keys());
        let hint = hint(name, names.map(String::as_str).chain(PSEUDO_PARAMETERS));
        Problem::new(line, format!("There is no parameter or resource \"{name}\"{hint}"))
    }

    /// Whether a condition holds.
    pub(crate) fn condition(&self, line: usize, name: &str) -> Result<bool, Problem> {
        let Some(conditions) = &self.conditions else {
            return Err(Problem::new(line, "!If cannot be used in a condition: use !And, !Or and !Not"));
        };
        conditions.get(name).copied().ok_or_else(|| {
            let hint = hint(name, conditions.keys().map(String::as_str));
            Problem::new(line, format!("There is no condition \"{name}\"{hint}"))
        })
    }

    /// The resources of one kind that exist under the conditions of this run.
    pub(crate) fn present(&self, kind: Kind) -> impl Iterator<Item = &Resource> {
        self.resources.values().filter(move |resource| resource.kind == kind && self.exists(resource))
    }

    fn exists(&self, resource: &Resource) -> bool {
        let holds = |name| self.conditions.as_ref().and_then(|conditions| conditions.get(name)).copied();
        resource.condition.as_ref().is_none_or(|name| holds(name).unwrap_or(false))
    }

    /// The resource of this name, if it exists here.
    pub(crate) fn resource(&self, line: usize, name: &str) -> Result<&Resource, Problem> {
        let resource = self.resources.get(name).ok_or_else(|| self.unknown(line, name))?;
        match &resource.condition {
            Some(condition) if !self.exists(resource) => {
                let message = format!("\"{name}\" does not exist here, because its condition {condition} is false");
                Err(Problem::new(line, message))
            }
            _ => Ok(resource),
        }
    }

    /// The value of something that is not here: a placeholder, or the problem that starts with `what`.
    pub(crate) fn missing(&self, line: usize, what: &str, placeholder: String) -> Result<String, Problem> {
        if self.lenient.get() || self.locals.allow_missing {
            self.placeholders.set(self.placeholders.get() + 1);
            if !self.lenient.get() {
                let note = format!("{what}: its value is the placeholder \"{placeholder}\"");
                self.given.borrow_mut().insert(Problem::new(line, note));
            }
            return Ok(placeholder);
        }
        Err(Problem::new(line, format!("{what}, so it has no value (--allow-missing gives it a placeholder)")))
    }

    /// Reads something that may get placeholders, because it has no effect here. The flag tells whether it got any.
    pub(crate) fn leniently<T>(&self, read: impl FnOnce() -> T) -> (T, bool) {
        let (lenient, placeholders) = (self.lenient.replace(true), self.placeholders.get());
        let read = read();
        self.lenient.set(lenient);
        (read, self.placeholders.get() > placeholders)
    }
}
