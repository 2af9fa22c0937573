//! The section `Resources`: collects the logical ids and the types behind them, including those that SAM generates.

use std::collections::BTreeMap;

use super::error::{Problems, hint};
use super::fields::{Fields, Schema};
use super::globals::Globals;
use super::resource::{Kind, Resource};
use super::resources::{http_api, http_event, websocket};
use super::scope::Scope;
use super::yaml::{Data, Entry, Node};

/// Types that observe, administer or deliver a deployed stack. They are accepted unread, and nothing may refer to them.
pub(crate) const DEPLOYED_ONLY: [&str; 13] = [
    "AWS::ApiGateway::Account",
    "AWS::CloudFront::Distribution",
    "AWS::CloudFront::Function",
    "AWS::CloudFront::OriginAccessControl",
    "AWS::CloudWatch::Alarm",
    "AWS::CloudWatch::CompositeAlarm",
    "AWS::CloudWatch::Dashboard",
    "AWS::Cognito::UserPoolGroup",
    "AWS::IAM::Role",
    "AWS::Logs::LogGroup",
    "AWS::Logs::MetricFilter",
    "AWS::S3::BucketPolicy",
    "AWS::SQS::QueuePolicy",
];

pub(crate) const RESOURCE: Schema = Schema {
    subject: "A resource",
    required: &["Type"],
    optional: &["Condition", "DependsOn", "IgnoreGlobals", "Metadata", "Properties"],
    ignored: &["DeletionPolicy", "UpdateReplacePolicy"],
};

/// Reads the declarations into the scope.
pub(crate) fn declare(section: &Node, globals: &Globals, scope: &mut Scope<'_>, problems: &Problems) {
    for entry in section.entries() {
        if !entry.key.chars().all(|c| c.is_ascii_alphanumeric()) {
            problems.add(entry.line, format!("The logical id \"{}\" may have only letters and digits", entry.key));
        }
        if scope.parameters.contains_key(&entry.key) {
            problems
                .add(entry.line, format!("\"{}\" is also the name of a parameter: rename one of the two", entry.key));
        }
        declare_one(entry, globals, scope, problems);
    }
    declare_generated(scope, problems);
    for entry in section.entries() {
        let dependencies = match entry.value.get("DependsOn") {
            Some(Node { data: Data::List(items), .. }) => items.as_slice(),
            Some(one) => std::slice::from_ref(one),
            None => &[],
        };
        for name in dependencies.iter().filter_map(|node| problems.keep(node.expect_text("DependsOn"))) {
            if !section.entries().iter().any(|other| other.key == name) && !scope.routes.contains_key(&name) {
                let hint = hint(&name, section.entries().iter().map(|entry| entry.key.as_str()));
                problems.add(entry.line, format!("DependsOn names \"{name}\", which is not a resource{hint}"));
            }
        }
    }
}

fn declare_one(entry: &Entry, globals: &Globals, scope: &mut Scope<'_>, problems: &Problems) {
    let fields = Fields::new(&RESOURCE, &entry.value, problems);
    let Some(type_name) = fields.text("Type") else { return };
    if let Some(name) = DEPLOYED_ONLY.iter().find(|name| **name == type_name) {
        scope.deployed_only.insert(entry.key.clone(), (*name).to_owned());
        return;
    }
    let Some((_, kind)) = Kind::ALL.iter().find(|(name, _)| *name == type_name) else {
        let known = Kind::ALL.iter().map(|(name, _)| *name).chain(DEPLOYED_ONLY);
        problems.add(
            fields.line("Type"),
            format!("The local stack does not have the type {type_name}{}", hint(&type_name, known)),
        );
        // Recorded, so that references to the resource are not reported as further problems.
        scope.deployed_only.insert(entry.key.clone(), type_name);
        return;
    };
    let line = fields.line("Properties");
    let mut properties = Node { line, data: Data::Map(Vec::new()) };
    if let Some(node) = fields.node("Properties") {
        match &node.data {
            Data::Map(entries) => properties.data = Data::Map(entries.clone()),
            _ => problems.push(node.not("Properties", "a map")),
        }
    }
    let ignored = match fields.node("IgnoreGlobals") {
        Some(Node { data: Data::List(_), .. }) => fields.texts("IgnoreGlobals"),
        _ => fields.text("IgnoreGlobals").map(|all| vec![all]),
    };
    let resource = Resource {
        id: entry.key.clone(),
        line: entry.line,
        kind: *kind,
        properties: globals.merge(*kind, &ignored.unwrap_or_default(), properties),
        metadata: fields.node("Metadata").cloned(),
        condition: fields.text("Condition"),
    };
    scope.resources.insert(entry.key.clone(), resource);
}

/// Records the resources that SAM generates beside the declared ones, under the logical ids that SAM gives them.
fn declare_generated(scope: &mut Scope<'_>, problems: &Problems) {
    let mut generated: BTreeMap<String, String> = BTreeMap::new();
    let mut only_deployed = |id: String, what: &str| drop(generated.insert(id, format!("{what} made by SAM")));
    for resource in scope.resources.values() {
        match resource.kind {
            Kind::Function => {
                only_deployed(format!("{}Role", resource.id), "a role");
                for event in http_event::names(resource) {
                    only_deployed(format!("{}{event}Permission", resource.id), "a permission");
                }
            }
            Kind::HttpApi => drop(http_api::stage_id(resource).map(|id| only_deployed(id, "a stage"))),
            Kind::WebSocketApi => {
                let stage = resource.properties.get("StageName").and_then(Node::as_text);
                let stage = stage.filter(|stage| stage != websocket::DEFAULT_STAGE).unwrap_or("Default".to_owned());
                only_deployed(format!("{}{stage}Stage", resource.id), "a stage");
                let routes = resource.properties.get("Routes").map(Node::entries).unwrap_or_default();
                for route in routes {
                    let id = websocket::route_id(&resource.id, &route.key);
                    let stem = id.strip_suffix("Route").unwrap_or(&id);
                    only_deployed(format!("{stem}Integration"), "an integration");
                    let other = scope.routes.insert(id.clone(), (resource.id.clone(), route.key.clone()));
                    if let Some((_, other)) = other {
                        let message =
                            format!("The routes \"{other}\" and \"{}\" get the same logical id, {id}", route.key);
                        problems.add(route.line, message);
                    }
                }
            }
            _ => {}
        }
    }
    for id in scope.routes.keys().chain(generated.keys()) {
        if let Some(resource) = scope.resources.get(id) {
            problems.add(resource.line, format!("SAM generates a resource with the logical id {id}: rename this one"));
        }
    }
    // A role that the template declares keeps its own type.
    generated.extend(std::mem::take(&mut scope.deployed_only));
    scope.deployed_only = generated;
}
