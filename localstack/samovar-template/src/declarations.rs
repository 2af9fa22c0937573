//! The section `Resources`: collects the logical ids and the types behind them, including those that SAM generates.
//!
//! A type is understood ([`resource::TYPES`]), or it is passed over: it has only to be well-formed, and its names must
//! exist. Nothing that needs a value here may refer to a resource that is passed over.

use std::collections::BTreeMap;

use super::error::{Problems, hint, near};
use super::fields::{Fields, Schema};
use super::globals::Globals;
use super::resource::{self, Kind, Resource};
use super::resources::{event, function_url, http_api, websocket};
use super::scope::Scope;
use super::yaml::{Data, Entry, Node};

/// Types that observe, administer or deliver a deployed stack. A stack without them does the same work, so nothing is
/// said about them.
pub(crate) const DEPLOYED_ONLY: [&str; 35] = [
    "AWS::ApiGateway::Account",
    "AWS::ApiGateway::Deployment",
    "AWS::ApiGateway::GatewayResponse",
    "AWS::ApiGatewayV2::ApiMapping",
    "AWS::ApiGatewayV2::Deployment",
    "AWS::ApiGatewayV2::DomainName",
    "AWS::ApplicationInsights::Application",
    "AWS::CertificateManager::Certificate",
    "AWS::CloudFront::CachePolicy",
    "AWS::CloudFront::Distribution",
    "AWS::CloudFront::Function",
    "AWS::CloudFront::OriginAccessControl",
    "AWS::CloudFront::OriginRequestPolicy",
    "AWS::CloudWatch::Alarm",
    "AWS::CloudWatch::CompositeAlarm",
    "AWS::CloudWatch::Dashboard",
    "AWS::Cognito::UserPoolGroup",
    "AWS::IAM::InstanceProfile",
    "AWS::KMS::Alias",
    "AWS::Lambda::Alias",
    "AWS::Lambda::LayerVersion",
    "AWS::Lambda::LayerVersionPermission",
    "AWS::Lambda::Permission",
    "AWS::Lambda::Version",
    "AWS::Logs::LogGroup",
    "AWS::Logs::LogStream",
    "AWS::Logs::MetricFilter",
    "AWS::Logs::SubscriptionFilter",
    "AWS::ResourceGroups::Group",
    "AWS::Route53::RecordSet",
    "AWS::Route53::RecordSetGroup",
    "AWS::S3::BucketPolicy",
    "AWS::SNS::TopicPolicy",
    "AWS::SQS::QueuePolicy",
    "AWS::Serverless::LayerVersion",
];

/// The types of SAM that are neither understood nor [`DEPLOYED_ONLY`].
const OTHER_SERVERLESS: [&str; 5] = [
    "AWS::Serverless::Application",
    "AWS::Serverless::CapacityProvider",
    "AWS::Serverless::Connector",
    "AWS::Serverless::GraphQLApi",
    "AWS::Serverless::StateMachine",
];

pub(crate) const RESOURCE: Schema = Schema {
    subject: "A resource",
    required: &["Type"],
    optional: &["Condition", "DependsOn", "IgnoreGlobals", "Metadata", "Properties"],
    ignored: &["Connectors", "CreationPolicy", "DeletionPolicy", "Description", "UpdatePolicy", "UpdateReplacePolicy"],
};

/// The ids of the APIs that SAM makes for events without an API of their own.
pub(crate) const IMPLICIT_HTTP_API: &str = "ServerlessHttpApi";
pub(crate) const IMPLICIT_REST_API: &str = "ServerlessRestApi";

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
    declare_implicit(section.line, globals, scope);
    declare_generated(scope, problems);
    for entry in section.entries() {
        let dependencies = match entry.value.get("DependsOn") {
            Some(Node { data: Data::List(items), .. }) => items.as_slice(),
            Some(one) => std::slice::from_ref(one),
            None => &[],
        };
        for name in dependencies.iter().filter_map(|node| problems.keep(node.expect_text("DependsOn"))) {
            let generated = scope.routes.contains_key(&name) || scope.passed_over.contains_key(&name);
            if !generated && !scope.resources.contains_key(&name) {
                let hint = hint(&name, section.entries().iter().map(|entry| entry.key.as_str()));
                problems.add(entry.line, format!("DependsOn names \"{name}\", which is not a resource{hint}"));
            }
        }
    }
}

/// The resources that would do work on AWS and are not run here, by their types.
pub(crate) fn not_run(section: &Node, scope: &Scope<'_>) -> BTreeMap<String, Vec<String>> {
    let mut not_run: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for Entry { key, .. } in section.entries() {
        if let Some(type_name) = scope.passed_over.get(key)
            && !DEPLOYED_ONLY.contains(&type_name.as_str())
        {
            not_run.entry(type_name.clone()).or_default().push(key.clone());
        }
    }
    not_run
}

fn declare_one(entry: &Entry, globals: &Globals, scope: &mut Scope<'_>, problems: &Problems) {
    let fields = Fields::new(&RESOURCE, &entry.value, problems);
    let Some(type_name) = fields.text("Type") else {
        // Recorded, so that references to the resource are not reported as further problems.
        scope.passed_over.insert(entry.key.clone(), "a resource without a type".to_owned());
        return;
    };
    let line = fields.line("Properties");
    let mut properties = Node { line, data: Data::Map(Vec::new()) };
    if let Some(node) = fields.node("Properties") {
        match &node.data {
            Data::Map(entries) => properties.data = Data::Map(entries.clone()),
            // A transform that makes the properties.
            Data::Call(name, _) if name == "Transform" => {}
            _ => problems.push(node.not("Properties", "a map")),
        }
    }
    let Some((type_name, kind)) = resource::TYPES.iter().find(|(name, _)| *name == type_name) else {
        check_type(&fields, &type_name);
        scope.passed_over.insert(entry.key.clone(), type_name);
        return;
    };
    let ignored = match fields.node("IgnoreGlobals") {
        Some(Node { data: Data::List(_), .. }) => fields.texts("IgnoreGlobals"),
        _ => fields.text("IgnoreGlobals").map(|all| vec![all]),
    };
    let mut resource = Resource {
        id: entry.key.clone(),
        line: entry.line,
        kind: *kind,
        type_name,
        properties,
        metadata: fields.node("Metadata").cloned(),
        condition: fields.text("Condition"),
    };
    if *type_name == resource::RAW_API && resource.written("ProtocolType").as_deref() != Some("WEBSOCKET") {
        resource.kind = Kind::HttpApi;
    }
    scope.resources.insert(entry.key.clone(), globals.merge(resource, &ignored.unwrap_or_default()));
}

/// Checks the name of a type that is not understood. The lists of AWS and of the registry are long and grow, so a name
/// is an error only if it has not the form of one, or is near to one that is understood.
fn check_type(fields: &Fields<'_>, type_name: &str) {
    let known = || resource::TYPES.iter().map(|(name, _)| *name).chain(DEPLOYED_ONLY).chain(OTHER_SERVERLESS);
    if known().any(|known| known == type_name) {
        return;
    }
    let parts: Vec<&str> = type_name.split("::").collect();
    let plain = |part: &&str| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || "_@-".contains(c));
    let formed = parts.iter().all(plain)
        && match parts.as_slice() {
            ["Custom", _] => true,
            [first, ..] => *first != "Custom" && (3..=4).contains(&parts.len()),
            [] => false,
        };
    let wrong = if !formed {
        format!("\"{type_name}\" is not the name of a type{}", hint(type_name, known()))
    } else if type_name.starts_with("AWS::Serverless::") {
        format!("SAM does not have the type {type_name}{}", hint(type_name, known()))
    } else if let Some(name) = known().find(|known| near(known, type_name)) {
        format!("There is no type {type_name}: did you mean \"{name}\"?")
    } else {
        return;
    };
    fields.problems().add(fields.line("Type"), wrong);
}

/// Adds the APIs that SAM makes where an event names none.
fn declare_implicit(line: usize, globals: &Globals, scope: &mut Scope<'_>) {
    for (event_type, api, id, kind, type_name) in [
        (event::HTTP_API, "ApiId", IMPLICIT_HTTP_API, Kind::HttpApi, "AWS::Serverless::HttpApi"),
        (event::REST_API, "RestApiId", IMPLICIT_REST_API, Kind::RestApi, "AWS::Serverless::Api"),
    ] {
        let functions = scope.resources.values().filter(|resource| resource.kind == Kind::Function);
        let wanted = functions
            .flat_map(|function| event::of_type(function, event_type))
            .any(|event| event.value.get("Properties").is_none_or(|properties| properties.get(api).is_none()));
        if wanted && !scope.resources.contains_key(id) {
            let properties = Node { line, data: Data::Map(Vec::new()) };
            let resource =
                Resource { id: id.to_owned(), line, kind, type_name, properties, metadata: None, condition: None };
            scope.resources.insert(id.to_owned(), globals.merge(resource, &[]));
        }
    }
}

/// Records the resources that SAM generates beside the declared ones, under the logical ids that SAM gives them.
fn declare_generated(scope: &mut Scope<'_>, problems: &Problems) {
    let mut generated: BTreeMap<String, String> = BTreeMap::new();
    let mut only_deployed = |id: String, what: &str| drop(generated.insert(id, format!("{what} made by SAM")));
    let mut urls = Vec::new();
    for resource in scope.resources.values() {
        match resource.type_name {
            "AWS::Serverless::Function" => {
                if resource.properties.get("Role").is_none() {
                    only_deployed(format!("{}Role", resource.id), "a role");
                }
                for event in resource.properties.get("Events").map(Node::entries).unwrap_or_default() {
                    only_deployed(format!("{}{}Permission", resource.id, event.key), "a permission");
                    let kind = event.value.get("Type").and_then(Node::as_text).unwrap_or_default();
                    // Routes, and the notifications of a bucket, are properties of another resource.
                    if ![event::HTTP_API, event::REST_API, "S3"].contains(&kind.as_str()) {
                        only_deployed(format!("{}{}", resource.id, event.key), "a source of events");
                    }
                }
                if let Some(alias) = resource.written("AutoPublishAlias") {
                    only_deployed(format!("{}Alias{alias}", resource.id), "an alias");
                }
                if resource.properties.get("FunctionUrlConfig").is_some() {
                    urls.push(resource.id.clone());
                }
            }
            "AWS::Serverless::HttpApi" => {
                if let Some(id) = http_api::stage_id(resource) {
                    only_deployed(id, "a stage");
                }
            }
            "AWS::Serverless::Api" => {
                let stage = match resource.properties.get("StageName") {
                    Some(stage) => stage.as_text().unwrap_or_default(), // empty for a function's value
                    None => super::references::IMPLICIT_STAGE.to_owned(),
                };
                only_deployed(format!("{}{stage}Stage", resource.id), "a stage");
                only_deployed(format!("{}Deployment", resource.id), "a deployment");
                let plan = resource.properties.get("Auth").and_then(|auth| auth.get("UsagePlan"));
                let plan = plan.and_then(|plan| plan.get("CreateUsagePlan")?.as_text());
                let owner = match plan.as_deref() {
                    Some("PER_API") => resource.id.as_str(),
                    Some("SHARED") => "Serverless",
                    _ => continue,
                };
                for (part, what) in
                    [("ApiKey", "an API key"), ("UsagePlan", "a usage plan"), ("UsagePlanKey", "a key of a plan")]
                {
                    only_deployed(format!("{owner}{part}"), what);
                }
            }
            "AWS::Serverless::WebSocketApi" => {
                let stage = resource.written("StageName");
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
    for (id, type_name) in &scope.passed_over {
        let role = format!("{id}Role");
        // A state machine with a role of its own gets none.
        if type_name == "AWS::Serverless::StateMachine" && !scope.resources.contains_key(&role) {
            generated.insert(role, "a role made by SAM".to_owned());
        }
    }
    for id in scope.routes.keys().chain(generated.keys()) {
        if let Some(resource) = scope.resources.get(id) {
            problems.add(resource.line, format!("SAM generates a resource with the logical id {id}: rename this one"));
        }
    }
    for function in urls {
        let url = function_url::generated(&scope.resources[&function]);
        scope.resources.insert(url.id.clone(), url);
    }
    // A resource that the template declares keeps its own type.
    generated.extend(std::mem::take(&mut scope.passed_over));
    scope.passed_over = generated;
}
