//! Evaluates a parsed template. Values are those of JSON, and null stands for what has no value.
//!
//! A variable holds its value alone, so a list that is assigned to two variables is two lists.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::methods::{self, Changed};
use super::operators::{holds, operate};
use super::syntax::{Expression, Node, Operator, Reference, Step};
use super::{MAX_DEPTH, MAX_ROUNDS, MAX_TEXT_BYTES, MAX_WORK, Problem, Scope, functions};

type Result<T> = std::result::Result<T, Problem>;

/// The variables of API Gateway. What they do not have is written as nothing.
const GIVEN: [&str; 4] = ["context", "input", "stageVariables", "util"];

/// About the memory of a value without its text.
const VALUE_BYTES: usize = 64;

/// Where the evaluation goes on.
#[derive(Debug, PartialEq, Eq)]
enum Flow {
    Next,
    /// After the loop.
    Break,
    /// At the end of the template.
    Stop,
}

pub(super) fn evaluate(nodes: &[Node], scope: &Scope) -> Result<String> {
    let stage_variables = scope.stage_variables.iter().map(|(name, value)| (name.clone(), value.as_str().into()));
    let variables = BTreeMap::from([
        ("context".to_owned(), scope.context.clone()),
        ("stageVariables".to_owned(), Value::Object(stage_variables.collect())),
    ]);
    let mut evaluation = Evaluation { scope, variables, budget: Budget(MAX_WORK) };
    let mut text = String::new();
    evaluation.nodes(nodes, &mut text)?;
    Ok(text)
}

/// The work that is left.
#[derive(Debug)]
pub(super) struct Budget(usize);

impl Budget {
    /// Pays for a step that makes this many bytes.
    pub(super) fn pay(&mut self, bytes: usize) -> Result<()> {
        self.0 = self.0.checked_sub(bytes.saturating_add(1)).ok_or_else(|| Problem::new("it does too much work"))?;
        Ok(())
    }

    /// Pays for a text, which must not be too long.
    pub(super) fn text(&mut self, text: String) -> Result<String> {
        self.pay(text.len())?;
        match text.len() > MAX_TEXT_BYTES {
            true => Err(Problem::new(format!("a text has more than {MAX_TEXT_BYTES} bytes"))),
            false => Ok(text),
        }
    }

    /// Pays for a value, which must not nest too deep.
    pub(super) fn value(&mut self, value: Value) -> Result<Value> {
        self.size(&value, 0)?;
        Ok(value)
    }

    fn size(&mut self, value: &Value, depth: usize) -> Result<()> {
        if depth > MAX_DEPTH {
            return Err(Problem::new(format!("lists and maps are more than {MAX_DEPTH} levels deep")));
        }
        match value {
            Value::String(text) => self.pay(text.len()),
            Value::Array(items) => {
                self.pay(VALUE_BYTES)?;
                items.iter().try_for_each(|item| self.size(item, depth + 1))
            }
            Value::Object(map) => map.iter().try_for_each(|(key, value)| {
                self.pay(key.len() + VALUE_BYTES)?;
                self.size(value, depth + 1)
            }),
            _ => self.pay(VALUE_BYTES),
        }
    }

    /// Adds to a text within the limits.
    fn push(&mut self, text: &mut String, more: &str) -> Result<()> {
        self.pay(more.len())?;
        if text.len() + more.len() > MAX_TEXT_BYTES {
            return Err(Problem::new(format!("a text has more than {MAX_TEXT_BYTES} bytes")));
        }
        text.push_str(more);
        Ok(())
    }
}

struct Evaluation<'a> {
    scope: &'a Scope,
    variables: BTreeMap<String, Value>,
    budget: Budget,
}

impl Evaluation<'_> {
    fn nodes(&mut self, nodes: &[Node], text: &mut String) -> Result<Flow> {
        for node in nodes {
            self.budget.pay(0)?;
            match node {
                Node::Text(more) => self.budget.push(text, more)?,
                Node::Reference(reference) => {
                    let value = self.reference(reference)?;
                    match value {
                        Value::Null if reference.quiet || GIVEN.contains(&reference.root.as_str()) => {}
                        Value::Null => self.budget.push(text, &reference.written)?,
                        value => {
                            let written = methods::text(&value);
                            self.budget.push(text, &written)?;
                        }
                    }
                }
                Node::Escaped(reference) => {
                    if self.reference(reference)?.is_null() {
                        self.budget.push(text, "\\")?;
                    }
                    self.budget.push(text, &reference.written)?;
                }
                Node::Set { root, steps, value } => self.set(root, steps, value)?,
                Node::If { branches, otherwise } => {
                    let mut chosen = otherwise;
                    for (condition, nodes) in branches {
                        if holds(&self.expression(condition)?) {
                            chosen = nodes;
                            break;
                        }
                    }
                    let flow = self.nodes(chosen, text)?;
                    if flow != Flow::Next {
                        return Ok(flow);
                    }
                }
                Node::Foreach { name, list, body } => {
                    if self.foreach(name, list, body, text)? == Flow::Stop {
                        return Ok(Flow::Stop);
                    }
                }
                Node::Break => return Ok(Flow::Break),
                Node::Stop => return Ok(Flow::Stop),
            }
        }
        Ok(Flow::Next)
    }

    fn foreach(&mut self, name: &str, list: &Expression, body: &[Node], text: &mut String) -> Result<Flow> {
        let items = match self.expression(list)? {
            Value::Array(items) => items,
            // Velocity takes the values of a map.
            Value::Object(map) => map.into_iter().map(|(_, value)| value).collect(),
            _ => Vec::new(),
        };
        if items.len() > MAX_ROUNDS {
            return Err(Problem::new(format!("a #foreach has more than {MAX_ROUNDS} rounds")));
        }
        let names = [name, "foreach", "velocityCount"];
        let outer: Vec<_> = names.map(|name| self.variables.remove(name)).into();
        let count = items.len();
        let mut flow = Flow::Next;
        for (index, item) in items.into_iter().enumerate() {
            let position = json!({
                "index": index, "count": index + 1, "hasNext": index + 1 < count,
                "first": index == 0, "last": index + 1 == count,
            });
            for (name, value) in names.into_iter().zip([item, position, (index + 1).into()]) {
                self.variables.insert(name.to_owned(), value);
            }
            flow = self.nodes(body, text)?;
            if flow != Flow::Next {
                break;
            }
        }
        for (name, value) in names.into_iter().zip(outer) {
            match value {
                Some(value) => self.variables.insert(name.to_owned(), value),
                None => self.variables.remove(name),
            };
        }
        Ok(flow)
    }

    fn set(&mut self, root: &str, steps: &[Step], value: &Expression) -> Result<()> {
        let value = self.expression(value)?;
        let mut keys = Vec::new();
        for step in steps {
            keys.extend(self.key(step)?);
        }
        let Some((last, keys)) = keys.split_last() else {
            self.variables.insert(root.to_owned(), value);
            return Ok(());
        };
        let changed = match self.place(root, keys) {
            Some(place) => methods::assign(place, last, value),
            None => false,
        };
        if !changed {
            return Err(Problem::new(format!("there is nothing to assign to in ${root}")));
        }
        let whole = self.variables.get(root).cloned().unwrap_or_default();
        self.budget.value(whole).map(drop)
    }

    /// The key or index that a step stands for. `None` for a call other than `get`.
    fn key(&mut self, step: &Step) -> Result<Option<Value>> {
        match step {
            Step::Property(name) => Ok(Some(name.as_str().into())),
            Step::Index(index) => self.expression(index).map(Some),
            Step::Method(name, arguments) => match (name.as_str(), arguments.as_slice()) {
                ("get", [key]) => self.expression(key).map(Some),
                _ => Ok(None),
            },
        }
    }

    /// The value under the keys of a variable.
    fn place(&mut self, root: &str, keys: &[Value]) -> Option<&mut Value> {
        keys.iter().try_fold(self.variables.get_mut(root)?, |value, key| methods::under_mut(value, key))
    }

    fn expression(&mut self, expression: &Expression) -> Result<Value> {
        self.budget.pay(0)?;
        match expression {
            Expression::Value(value) => self.budget.value(value.clone()),
            Expression::Text(nodes) => {
                let mut text = String::new();
                self.nodes(nodes, &mut text)?;
                Ok(text.into())
            }
            Expression::Reference(reference) => self.reference(reference),
            Expression::List(items) => {
                let items: Result<Vec<_>> = items.iter().map(|item| self.expression(item)).collect();
                self.budget.value(items?.into())
            }
            Expression::Map(entries) => {
                let mut map = Map::new();
                for (key, value) in entries {
                    let key = methods::text(&self.expression(key)?);
                    map.insert(key, self.expression(value)?);
                }
                self.budget.value(map.into())
            }
            Expression::Range(first, last) => self.range(first, last),
            Expression::Not(inner) => Ok((!holds(&self.expression(inner)?)).into()),
            Expression::Negative(inner) => {
                let value = self.expression(inner)?;
                Ok(operate(Operator::Subtract, &json!(0), &value))
            }
            Expression::Chain(first, others) => {
                let mut value = self.expression(first)?;
                for (operator, other) in others {
                    value = match operator {
                        // The other side is not looked at if it can't matter.
                        Operator::Or => (holds(&value) || holds(&self.expression(other)?)).into(),
                        Operator::And => (holds(&value) && holds(&self.expression(other)?)).into(),
                        operator => {
                            let other = self.expression(other)?;
                            let value = operate(*operator, &value, &other);
                            match value {
                                Value::String(text) => self.budget.text(text)?.into(),
                                other => other,
                            }
                        }
                    };
                }
                Ok(value)
            }
        }
    }

    fn range(&mut self, first: &Expression, last: &Expression) -> Result<Value> {
        let (first, last) = (self.expression(first)?.as_i64(), self.expression(last)?.as_i64());
        let Some((first, last)) = first.zip(last) else { return Ok(Value::Null) };
        if first.abs_diff(last) >= MAX_ROUNDS as u64 {
            return Err(Problem::new(format!("a range has more than {MAX_ROUNDS} numbers")));
        }
        let numbers: Vec<i64> = if first <= last { (first..=last).collect() } else { (last..=first).rev().collect() };
        self.budget.value(json!(numbers))
    }

    fn reference(&mut self, reference: &Reference) -> Result<Value> {
        let Reference { root, steps, .. } = reference;
        let (mut value, steps) = match (root.as_str(), steps.as_slice()) {
            ("input" | "util", []) => return Ok(Value::Null),
            ("input", [step, rest @ ..]) => {
                let (name, arguments) = self.call(step)?;
                (functions::of_input(self.scope, &name, arguments.as_deref(), &mut self.budget)?, rest)
            }
            ("util", [step, rest @ ..]) => {
                let (name, arguments) = self.call(step)?;
                (functions::of_util(&name, arguments.as_deref(), &mut self.budget)?, rest)
            }
            (_, [before @ .., Step::Method(name, arguments)]) if methods::changes(name) => {
                if let Some(value) = self.change(root, before, name, arguments)? {
                    return Ok(value);
                }
                (self.variable(root)?, steps.as_slice())
            }
            _ => (self.variable(root)?, steps.as_slice()),
        };
        for step in steps {
            value = match step {
                Step::Property(name) => methods::property(&value, name),
                Step::Index(index) => {
                    let index = self.expression(index)?;
                    methods::under(&value, &index)
                }
                Step::Method(name, arguments) => {
                    let arguments = self.arguments(arguments)?;
                    methods::call(&value, name, &arguments, &mut self.budget)?
                }
            };
        }
        self.budget.value(value)
    }

    fn variable(&mut self, name: &str) -> Result<Value> {
        let value = self.variables.get(name).cloned().unwrap_or_default();
        self.budget.value(value)
    }

    /// Changes a list or a map within a variable. `None` if there is none there.
    fn change(&mut self, root: &str, before: &[Step], name: &str, arguments: &[Expression]) -> Result<Option<Value>> {
        let arguments = self.arguments(arguments)?;
        let mut keys = Vec::new();
        for step in before {
            match self.key(step)? {
                Some(key) => keys.push(key),
                None => return Ok(None),
            }
        }
        let Some(place) = self.place(root, &keys) else { return Ok(None) };
        let result = match methods::change(place, name, arguments)? {
            Changed::To(result) => result,
            Changed::Nothing => return Ok(None),
        };
        // The whole is paid for with each change, which also bounds its depth.
        let whole = self.variables.get(root).cloned().unwrap_or_default();
        self.budget.value(whole)?;
        Ok(Some(result))
    }

    /// The name of a property or method, with the arguments.
    fn call(&mut self, step: &Step) -> Result<(String, Option<Vec<Value>>)> {
        match step {
            Step::Property(name) => Ok((name.clone(), None)),
            Step::Method(name, arguments) => Ok((name.clone(), Some(self.arguments(arguments)?))),
            Step::Index(_) => Err(Problem::new("$input and $util have no items")),
        }
    }

    fn arguments(&mut self, arguments: &[Expression]) -> Result<Vec<Value>> {
        arguments.iter().map(|argument| self.expression(argument)).collect()
    }
}
