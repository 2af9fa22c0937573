//! Policies: the documents that grant permissions to a function, inline or as `AWS::IAM::ManagedPolicy`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Context;
use crate::error::Problems;
use crate::fields::{Fields, Schema};
use crate::resource::Kind;
use crate::yaml::{Data, Node};

pub(crate) const MANAGED_POLICY: Schema = Schema {
    subject: "AWS::IAM::ManagedPolicy",
    required: &["PolicyDocument"],
    optional: &["ManagedPolicyName"],
    ignored: &["Description", "Path"],
};

const DOCUMENT: Schema =
    Schema { subject: "A policy document", required: &["Statement"], optional: &["Version"], ignored: &["Id"] };

const STATEMENT: Schema = Schema {
    subject: "A policy statement",
    required: &["Effect"],
    optional: &["Action", "NotAction", "Resource", "NotResource", "Condition"],
    ignored: &["Sid"],
};

/// The managed policies of the template, from ARN to document. A policy with a problem has no document.
pub(crate) fn managed_policies(context: &Context<'_>) -> BTreeMap<String, Option<Value>> {
    let policies = context.scope.present(Kind::ManagedPolicy).filter_map(|resource| {
        let fields = context.fields(resource, &MANAGED_POLICY);
        let arn = context.problems.keep(resource.reference(context.scope))?;
        Some((arn, fields.node("PolicyDocument").and_then(|node| document(node, context.problems))))
    });
    policies.collect()
}

/// A function's `Policies`: one or a list of ARNs and documents.
pub(crate) fn function_policies(
    node: &Node,
    managed: &BTreeMap<String, Option<Value>>,
    problems: &Problems,
) -> Vec<Value> {
    let items = if let Data::List(items) = &node.data { items.as_slice() } else { std::slice::from_ref(node) };
    items.iter().filter_map(|item| one(item, managed, problems)).collect()
}

fn one(item: &Node, managed: &BTreeMap<String, Option<Value>>, problems: &Problems) -> Option<Value> {
    match &item.data {
        Data::Text(arn) => managed.get(arn).cloned().unwrap_or_else(|| {
            let message = format!(
                "The policy \"{arn}\" is not in this template, \
                 so the local stack cannot know what it allows: write it as \
                 an AWS::IAM::ManagedPolicy or inline"
            );
            problems.add(item.line, message);
            None
        }),
        Data::Map(entries) if entries.len() == 1 && entries[0].key != "Statement" => {
            let name = &entries[0].key;
            let message = format!("The SAM policy template {name} is not understood: write its statements inline");
            problems.add(entries[0].line, message);
            None
        }
        _ => document(item, problems),
    }
}

/// The permissions that SAM adds for a queue as a source (`AWSLambdaSQSQueueExecutionRole`, without its logs).
pub(crate) fn sqs_execution_policy() -> Value {
    json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow",
            "Action": ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"],
            "Resource": "*",
        }],
    })
}

fn document(node: &Node, problems: &Problems) -> Option<Value> {
    let fields = Fields::new(&DOCUMENT, node, problems);
    fields.choice("Version", &["2008-10-17", "2012-10-17"]);
    let statement = fields.node("Statement")?;
    let statements =
        if let Data::List(items) = &statement.data { items.as_slice() } else { std::slice::from_ref(statement) };
    for node in statements {
        let fields = Fields::new(&STATEMENT, node, problems);
        fields.choice("Effect", &["Allow", "Deny"]);
        for (name, negated) in [("Action", "NotAction"), ("Resource", "NotResource")] {
            if fields.has(name) == fields.has(negated) {
                problems.add(node.line, format!("A policy statement needs either {name} or {negated}"));
            }
            for name in [name, negated] {
                match fields.node(name) {
                    Some(Node { data: Data::List(_), .. }) => drop(fields.texts(name)),
                    _ => drop(fields.text(name)),
                }
            }
        }
    }
    Some(node.to_json())
}
