//! Policies: the documents that grant permissions to a function. They are inline, `AWS::IAM::ManagedPolicy`, those of
//! its role, policy templates of SAM, or managed policies of AWS.
//!
//! Invariant: a function that has a policy whose contents are not known may make all calls. A refusal that AWS would
//! not give would mislead more than a permission that AWS would not give.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Context, aws_policy, policy_template};
use crate::error::Problems;
use crate::fields::{Fields, Schema};
use crate::resource::{Kind, Resource};
use crate::yaml::{Data, Node};

pub(crate) const MANAGED_POLICY: Schema = Schema {
    subject: "AWS::IAM::ManagedPolicy",
    required: &["PolicyDocument"],
    optional: &["ManagedPolicyName", "Roles"],
    ignored: &["Description", "Groups", "Path", "Users"],
};

pub(crate) const POLICY: Schema = Schema {
    subject: "AWS::IAM::Policy",
    required: &["PolicyDocument", "PolicyName"],
    optional: &["Roles"],
    ignored: &["Groups", "Users"],
};

pub(crate) const ROLE: Schema = Schema {
    subject: "AWS::IAM::Role",
    required: &["AssumeRolePolicyDocument"],
    optional: &["ManagedPolicyArns", "Policies", "RoleName"],
    ignored: &["Description", "MaxSessionDuration", "Path", "PermissionsBoundary", "Tags"],
};

pub(crate) const ROLE_POLICY: Schema =
    Schema { subject: "A policy of a role", required: &["PolicyDocument", "PolicyName"], optional: &[], ignored: &[] };

pub(crate) const DOCUMENT: Schema =
    Schema { subject: "A policy document", required: &["Statement"], optional: &["Version"], ignored: &["Id"] };

pub(crate) const STATEMENT: Schema = Schema {
    subject: "A policy statement",
    required: &["Effect"],
    optional: &["Action", "NotAction", "Resource", "NotResource", "Condition"],
    ignored: &["Sid"],
};

/// The documents of policies, and the names of policies whose documents are not known.
#[derive(Debug, Clone, Default)]
pub(crate) struct Granted {
    documents: Vec<Value>,
    unknown: Vec<String>,
}

/// The policies that a template declares.
#[derive(Debug)]
pub(crate) struct Policies {
    /// The managed policies, from ARN to document. A policy with a problem has no document.
    managed: BTreeMap<String, Option<Value>>,
    /// The roles, from ARN.
    roles: BTreeMap<String, Granted>,
}

impl Policies {
    pub(crate) fn read(context: &Context<'_>) -> Self {
        let mut policies = Self { managed: BTreeMap::new(), roles: BTreeMap::new() };
        // From a role's name to the documents that other resources attach to it.
        let mut attached: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for (kind, schema) in [(Kind::ManagedPolicy, &MANAGED_POLICY), (Kind::Policy, &POLICY)] {
            for resource in context.scope.present(kind) {
                let fields = context.fields(resource, schema);
                let document = fields.node("PolicyDocument").and_then(|node| document(node, context.problems));
                for role in fields.texts("Roles").unwrap_or_default() {
                    attached.entry(role).or_default().extend(document.clone());
                }
                if kind == Kind::ManagedPolicy
                    && let Some(arn) = context.problems.keep(resource.reference(context.scope))
                {
                    policies.managed.insert(arn, document);
                }
            }
        }
        for resource in context.scope.present(Kind::Role) {
            let mut granted = policies.role(context, resource);
            let name = context.problems.keep(resource.name(context.scope));
            granted.documents.extend(name.and_then(|name| attached.remove(&name)).unwrap_or_default());
            if let Some(arn) = context.problems.keep(resource.attribute(context.scope, resource.line, "Arn")) {
                policies.roles.insert(arn, granted);
            }
        }
        policies
    }

    fn role(&self, context: &Context<'_>, resource: &Resource) -> Granted {
        let fields = context.fields(resource, &ROLE);
        let mut granted = Granted::default();
        for policy in fields.maps("Policies", &ROLE_POLICY).unwrap_or_default() {
            let document = policy.node("PolicyDocument").and_then(|node| document(node, context.problems));
            granted.documents.extend(document);
        }
        for arn in fields.texts("ManagedPolicyArns").unwrap_or_default() {
            self.named(&arn, &mut granted);
        }
        granted
    }

    /// What a role of the template may do, by its ARN. `None` if that is not known.
    pub(crate) fn of_role(&self, arn: &str) -> Option<Vec<Value>> {
        let role = self.roles.get(arn).filter(|role| role.unknown.is_empty())?;
        Some(role.documents.clone())
    }

    /// The documents that allow everything.
    pub(crate) fn all() -> Vec<Value> {
        vec![allow_all()]
    }

    /// What a function may do, from its `Policies` and `Role`. As in SAM, a role replaces the policies.
    pub(crate) fn of_function(&self, context: &Context<'_>, function: &Resource, fields: &Fields<'_>) -> Vec<Value> {
        let mut granted = Granted::default();
        if let Some(role) = fields.node("Role") {
            let arn = context.problems.keep(role.expect_text("A function's Role")).unwrap_or_default();
            match self.roles.get(&arn) {
                Some(role) => granted = role.clone(),
                None => granted.unknown.push(format!("role {arn}")),
            }
        } else if let Some(node) = fields.node("Policies") {
            let items = if let Data::List(items) = &node.data { items.as_slice() } else { std::slice::from_ref(node) };
            items.iter().for_each(|item| self.one(context, item, &mut granted));
        }
        if !granted.unknown.is_empty() {
            let message = format!(
                "{} may make all calls here, because the contents of its {} are not known",
                function.id,
                granted.unknown.join(", ")
            );
            context.problems.note(function.line, message);
            granted.documents.push(allow_all());
        }
        granted.documents
    }

    fn one(&self, context: &Context<'_>, item: &Node, granted: &mut Granted) {
        let problems = context.problems;
        match &item.data {
            Data::Text(name) => self.named(name, granted),
            Data::Map(entries) if entries.len() == 1 && entries[0].key != "Statement" => {
                let template = &entries[0];
                let expanded = policy_template::expand(context, template.line, &template.key, &template.value);
                granted.documents.extend(expanded);
            }
            _ => granted.documents.extend(document(item, problems)),
        }
    }

    /// A managed policy, by its ARN or, one of AWS, by its name.
    fn named(&self, policy: &str, granted: &mut Granted) {
        match self.managed.get(policy) {
            Some(document) => granted.documents.extend(document.clone()),
            None => match aws_policy::document(policy) {
                Some(document) => granted.documents.push(document),
                None => granted.unknown.push(format!("policy {policy}")),
            },
        }
    }
}

fn allow_all() -> Value {
    json!({ "Version": "2012-10-17", "Statement": [{ "Effect": "Allow", "Action": "*", "Resource": "*" }] })
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
