//! Conditions: decides which of them hold, from parameters and mappings alone, as CloudFormation does at deployment.
//! Rules use the same functions for their conditions and assertions (`rules`).

use std::collections::BTreeMap;

use super::error::{Problem, Problems, hint};
use super::scope::Scope;
use super::yaml::{Data, Node};

/// Decides every condition. A condition that cannot be decided counts as false, and its problem is noted.
pub(crate) fn decide(section: Option<&Node>, scope: &Scope<'_>, problems: &Problems) -> BTreeMap<String, bool> {
    let Some(section) = section else { return BTreeMap::new() };
    let mut decider = Decider { section: Some(section), scope, deciding: Vec::new(), decided: BTreeMap::new() };
    let decided = section.entries().iter().map(|entry| {
        decider.deciding.clear();
        (entry.key.clone(), problems.keep(decider.named(&entry.key, entry.line)).unwrap_or(false))
    });
    decided.collect()
}

/// Decides an expression of a rule. Rules have `!Contains`, and no named conditions.
pub(crate) fn asked(expression: &Node, scope: &Scope<'_>) -> Result<bool, Problem> {
    Decider { section: None, scope, deciding: Vec::new(), decided: BTreeMap::new() }.expression(expression)
}

struct Decider<'a> {
    /// The named conditions. A rule has none.
    section: Option<&'a Node>,
    scope: &'a Scope<'a>,
    /// The conditions that are being decided, outermost first. A name that comes twice is a circle.
    deciding: Vec<String>,
    /// The conditions that are decided, so that each is decided only once.
    decided: BTreeMap<String, bool>,
}

impl Decider<'_> {
    fn named(&mut self, name: &str, line: usize) -> Result<bool, Problem> {
        if let Some(holds) = self.decided.get(name) {
            return Ok(*holds);
        }
        let section = self.section;
        let Some(expression) = section.and_then(|section| section.get(name)) else {
            let known = section.map(Node::entries).unwrap_or_default();
            let hint = hint(name, known.iter().map(|entry| entry.key.as_str()));
            return Err(Problem::new(line, format!("There is no condition \"{name}\"{hint}")));
        };
        if self.deciding.iter().any(|deciding| deciding == name) {
            return Err(Problem::new(line, format!("Condition {name} depends on itself")));
        }
        self.deciding.push(name.to_owned());
        let holds = self.expression(expression);
        self.deciding.pop();
        self.decided.extend(holds.as_ref().ok().map(|holds| (name.to_owned(), *holds)));
        holds
    }

    fn expression(&mut self, node: &Node) -> Result<bool, Problem> {
        let (function, argument) = match &node.data {
            Data::Call(function, argument) => (function.as_str(), &**argument),
            Data::Map(entries) if entries.len() == 1 && entries[0].key == "Condition" => {
                ("Condition", &entries[0].value)
            }
            _ if self.section.is_none() => {
                return Err(node.not("The expression of a rule", "one of !Equals, !Contains, !Not, !And and !Or"));
            }
            _ => return Err(node.not("A condition", "one of !Equals, !Not, !And, !Or and !Condition")),
        };
        match function {
            "Condition" if self.section.is_some() => {
                self.named(&argument.expect_text("The name of a condition")?, node.line)
            }
            "Equals" => {
                let [left, right] = operands(node, argument, 2..=2)? else { return Ok(false) };
                Ok(self.scope.text(left, "An operand of !Equals")?
                    == self.scope.text(right, "An operand of !Equals")?)
            }
            "Contains" if self.section.is_none() => {
                let [list, text] = operands(node, argument, 2..=2)? else { return Ok(false) };
                let items = self.scope.list(list, "The list in !Contains")?;
                let text = self.scope.text(text, "The text in !Contains")?;
                Ok(items.iter().any(|item| item.as_text().as_deref() == Some(text.as_str())))
            }
            "Not" => Ok(!self.all(operands(node, argument, 1..=1)?)?[0]),
            "And" => Ok(self.all(operands(node, argument, 2..=10)?)?.into_iter().all(|holds| holds)),
            "Or" => Ok(self.all(operands(node, argument, 2..=10)?)?.into_iter().any(|holds| holds)),
            other => {
                let (place, own) =
                    if self.section.is_some() { ("as a condition", "Condition") } else { ("in a rule", "Contains") };
                let hint = hint(other, ["And", own, "Equals", "Not", "Or"]);
                Err(Problem::new(node.line, format!("!{other} cannot be used {place}{hint}")))
            }
        }
    }

    /// Evaluates every operand, without a short cut, so that a mistake in the last one shows on every machine.
    fn all(&mut self, operands: &[Node]) -> Result<Vec<bool>, Problem> {
        operands.iter().map(|operand| self.expression(operand)).collect()
    }
}

fn operands<'n>(
    node: &Node,
    argument: &'n Node,
    count: std::ops::RangeInclusive<usize>,
) -> Result<&'n [Node], Problem> {
    match (&node.data, &argument.data) {
        (_, Data::List(items)) if count.contains(&items.len()) => Ok(items),
        (Data::Call(function, _), _) => {
            let (least, most) = count.into_inner();
            let count = if least == most { least.to_string() } else { format!("{least} to {most}") };
            Err(Problem::new(node.line, format!("!{function} takes a list of {count} items")))
        }
        _ => Err(argument.not("The operands of a condition", "a list")),
    }
}
