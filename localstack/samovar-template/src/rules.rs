//! The section `Rules`: conditions on several parameters together, which CloudFormation checks before it deploys.
//!
//! A broken rule is a problem at the line of its assertion. The text of the problem is the template's own, because its
//! author knows what the values are for. All rules are checked, so that all problems are shown at once.

use super::conditions;
use super::error::{Problem, Problems};
use super::fields::{Fields, Schema};
use super::scope::Scope;
use super::yaml::{Data, Node};

pub(crate) const RULE: Schema =
    Schema { subject: "A rule", required: &["Assertions"], optional: &["RuleCondition"], ignored: &[] };

pub(crate) const ASSERTION: Schema =
    Schema { subject: "An assertion", required: &["Assert"], optional: &["AssertDescription"], ignored: &[] };

/// Checks every rule. `scope` knows the parameters, and no conditions yet.
pub(crate) fn check(section: Option<&Node>, scope: &Scope<'_>, problems: &Problems) {
    for entry in section.map(Node::entries).unwrap_or_default() {
        let rule = Fields::new(&RULE, &entry.value, problems);
        let applies = match rule.node("RuleCondition") {
            Some(condition) => problems.keep(asked(condition, scope)),
            None => Some(true),
        };
        let Some(assertions) = rule.node("Assertions") else { continue };
        let Data::List(assertions) = &assertions.data else {
            problems.push(assertions.not(&format!("{}.Assertions", entry.key), "a list"));
            continue;
        };
        for assertion in assertions {
            let fields = Fields::new(&ASSERTION, assertion, problems);
            let description = fields.text("AssertDescription");
            let Some(holds) = fields.node("Assert").and_then(|assert| problems.keep(asked(assert, scope))) else {
                continue;
            };
            if applies == Some(true) && !holds {
                let broken = || format!("The parameters break the rule {}", entry.key);
                problems.add(assertion.line, description.unwrap_or_else(broken));
            }
        }
    }
}

/// Decides an expression of a rule. CloudFormation computes nothing there, so each value is written out or is a
/// parameter's.
fn asked(expression: &Node, scope: &Scope<'_>) -> Result<bool, Problem> {
    let mut computed = None;
    expression.visit(&mut |node| {
        if let Data::Call(function, _) = &node.data
            && ["FindInMap", "GetAtt", "If", "Join", "Select", "Split", "Sub"].contains(&function.as_str())
        {
            computed.get_or_insert_with(|| {
                Problem::new(node.line, format!("!{function} cannot be used in a rule; use !Ref of a parameter"))
            });
        }
    });
    match computed {
        Some(problem) => Err(problem),
        None => conditions::asked(expression, scope),
    }
}
