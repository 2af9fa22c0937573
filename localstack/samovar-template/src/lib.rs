#![doc = include_str!("../README.md")]
//!
//! # Inside
//!
//! Invariant: the reader never guesses. What the local stack needs, it understands or reports as an error with its
//! line. What has no effect on one machine is checked for its form and passed over. TEMPLATE.md has the lists.
//!
//! The stages. Each goes on after a problem, with a value that hides no other problem, so one run shows all of them:
//! 1. `yaml` turns text into a tree with lines, in which short and long forms of functions are the same;
//! 2. `parameters`, `rules`, `conditions`, `globals` and `declarations` find out what is declared, and check that every
//!    name exists, in every branch;
//! 3. `intrinsics`, `scope` and `references` compute the values of properties, and `fields` and `resources/*` build the
//!    model from them.
#![warn(missing_docs)]

mod conditions;
mod declarations;
mod error;
mod fields;
mod globals;
mod intrinsics;
mod local_state;
mod model;
mod parameters;
mod pattern;
mod references;
mod resource;
mod resources;
mod route_key;
mod rules;
mod scope;
mod selection;
mod static_site;
#[cfg(test)]
mod tests;
mod yaml;

use std::collections::BTreeMap;
use std::path::Path;

use error::{Problems, hint};
use fields::{Fields, Schema};
use globals::Globals;
use resources::Context;
use scope::Scope;
use yaml::{Data, Entry, Node};

pub use error::{Findings, Problem as TemplateProblem, TemplateError};
pub use model::{
    ApiKey, Authorization, Authorizer, Backend, Bucket, BuildMethod, Code, Cors, CorsRule, Esbuild, EventBus,
    EventInvokeConfig, EventRule, Expiration, Function, FunctionUrl, HttpApi, HttpRoute, IdentitySource, Integration,
    IntegrationResponse, IntegrationRole, JwtAuthorizer, LambdaAuthorizer, LocalState, Locals, MappedIntegration,
    Notification, Passthrough, PayloadFormat, Queue, RestApi, RestAuthorizer, RestCors, RestMock, RestRoute, Route,
    RuleTarget, Schedule, Scheduler, SiteBuild, SqsEventSource, StaticSite, StreamEventSource, Subscription, Table,
    TableView, Target, Template, Throttle, Topic, Trigger, WebSocketApi,
};
pub use route_key::{RouteKey, Segment};
pub use selection::Selection;

pub(crate) const TEMPLATE: Schema = Schema {
    subject: "A template",
    required: &["Resources"],
    optional: &[
        "AWSTemplateFormatVersion",
        "Conditions",
        "Globals",
        "Mappings",
        "Metadata",
        "Outputs",
        "Parameters",
        "Rules",
        "Transform",
    ],
    ignored: &["Description"],
};

pub(crate) const OUTPUT: Schema = Schema {
    subject: "An output",
    required: &["Value"],
    optional: &["Condition"],
    ignored: &["Description", "Export"],
};

const SECTIONS: [&str; 8] =
    ["Conditions", "Globals", "Mappings", "Metadata", "Outputs", "Parameters", "Resources", "Rules"];

/// Reads the template at `path`.
pub fn load(path: &Path, overrides: &BTreeMap<String, String>, locals: &Locals) -> Result<Template, TemplateError> {
    parse(&read_file(path)?, path, overrides, locals)
}

/// Reads a template from its text. Errors name `path`, and `CodeUri` is relative to its folder.
pub fn parse(
    source: &str,
    path: &Path,
    overrides: &BTreeMap<String, String>,
    locals: &Locals,
) -> Result<Template, TemplateError> {
    let (Findings { mut errors, needed, notes, template }, wrong_values) = check_text(source, path, overrides, locals);
    // What is said about a wrong value itself is clearer than what follows from it.
    if !wrong_values.is_empty() {
        errors = wrong_values;
    }
    errors.extend(needed);
    errors.sort();
    match template {
        Some(template) if errors.is_empty() => Ok(Template { notes, ..template }),
        _ => Err(TemplateError::Invalid { path: path.to_owned(), problems: errors }),
    }
}

/// Reads the template at `path`, and returns everything that there is to say about it.
///
/// # Errors
/// The file cannot be read.
pub fn check(path: &Path, overrides: &BTreeMap<String, String>, locals: &Locals) -> Result<Findings, TemplateError> {
    Ok(check_text(&read_file(path)?, path, overrides, locals).0)
}

fn read_file(path: &Path) -> Result<String, TemplateError> {
    std::fs::read_to_string(path).map_err(|source| TemplateError::Read { path: path.to_owned(), source })
}

/// The findings; and those up to the rules, if parameters have wrong values or break a rule.
fn check_text(
    source: &str,
    path: &Path,
    overrides: &BTreeMap<String, String>,
    locals: &Locals,
) -> (Findings, Vec<TemplateProblem>) {
    let problems = Problems::default();
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut wrong_values = Vec::new();
    let template = read(source, folder, overrides, locals, &problems, &mut wrong_values);
    (problems.into_findings(template), wrong_values)
}

/// A template as JSON, with all functions in their long form (`{"Ref": "Queue"}`) and nothing computed. It is for tools
/// that look at parts of a template which mean nothing on one machine, such as alarms. Errors name `path`.
pub fn to_json(source: &str, path: &Path) -> Result<serde_json::Value, TemplateError> {
    let problems = Problems::default();
    match yaml::parse(source, &problems) {
        Some(document) if problems.is_empty() => Ok(document.to_json()),
        _ => Err(TemplateError::Invalid { path: path.to_owned(), problems: problems.into_findings(None).errors }),
    }
}

fn read(
    source: &str,
    folder: &Path,
    overrides: &BTreeMap<String, String>,
    locals: &Locals,
    problems: &Problems,
    wrong_values: &mut Vec<TemplateProblem>,
) -> Option<Template> {
    let document = yaml::parse(source, problems)?;
    let template = Fields::new(&TEMPLATE, &document, problems);
    check_header(&template);
    for name in SECTIONS {
        if let Some(section) = template.node(name)
            && !matches!(section.data, Data::Map(_))
        {
            problems.push(section.not(name, "a map"));
        }
    }
    let resources = template.node("Resources")?;

    let before = problems.errors().len();
    let parameters = parameters::read(template.node("Parameters"), overrides, problems);
    let mut scope = Scope::new(locals, parameters, template.node("Mappings").cloned());
    if problems.is_empty() {
        rules::check(template.node("Rules"), &scope, problems);
    }
    let errors = problems.errors();
    if errors.len() > before {
        *wrong_values = errors;
    }
    scope.conditions = Some(conditions::decide(template.node("Conditions"), &scope, problems));
    let globals = Globals::read(template.node("Globals"), problems);
    declarations::declare(resources, &globals, &mut scope, problems);
    check_names(&template, &scope, problems);

    let context = Context { scope: &scope, problems, folder };
    let policies = resources::Policies::read(&context);
    let queues = resources::queues(&context);
    resources::user_pools(&context);
    let tables = resources::tables(&context);
    let buckets = resources::buckets(&context);
    let functions = resources::functions(&context, &policies, &queues);
    let outputs = outputs(template.node("Outputs"), &scope, problems);
    let sources = static_site::Sources {
        folder,
        parameters: &scope.parameters,
        outputs: &outputs,
        headers: &resources::response_headers(&context),
        issuer: &locals.issuer,
    };
    let static_site = static_site::read(template.node("Metadata"), &sources, problems);
    let parameters = scope.parameters.iter().map(|(name, value)| (name.clone(), value.text.clone())).collect();
    let template = Template {
        websocket_apis: resources::websocket_apis(&context, &functions, &policies),
        http_apis: resources::http_apis(&context, &functions),
        rest_apis: resources::rest_apis(&context, &functions),
        api_keys: resources::api_keys(&context),
        topics: resources::topics(&context),
        event_buses: resources::event_buses(&context),
        event_rules: resources::event_rules(&context),
        local_state: local_state::read(template.node("Metadata"), &parameters, &tables, problems),
        tables,
        buckets,
        user_pool_clients: resources::user_pool_clients(&context),
        user_pool_domains: resources::user_pool_domains(&context),
        static_site,
        outputs,
        parameters,
        functions,
        queues,
        passed_over: declarations::not_run(resources, &scope),
        lines: resources.entries().iter().map(|entry| (entry.key.clone(), entry.line)).collect(),
        notes: Vec::new(),
    };
    for placeholder in scope.given.take() {
        problems.note(placeholder.line, placeholder.message);
    }
    Some(template)
}

/// The transforms that change nothing which this crate does not do itself.
const TRANSFORMS: [&str; 3] =
    ["AWS::LanguageExtensions", "AWS::SecretsManager-2020-07-23", "AWS::Serverless-2016-10-31"];

fn check_header(template: &Fields<'_>) {
    template.choice("AWSTemplateFormatVersion", &["2010-09-09"]);
    const SAM: &str = "AWS::Serverless-2016-10-31";
    let transforms = match template.node("Transform") {
        Some(Node { data: Data::List(_), .. }) => template.texts("Transform").unwrap_or_default(),
        Some(_) => template.text("Transform").into_iter().collect(),
        None => Vec::new(),
    };
    for transform in &transforms {
        if !TRANSFORMS.contains(&transform.as_str()) {
            let message = format!("has \"{transform}\", which is not run here{}", hint(transform, TRANSFORMS));
            template.wrong("Transform", &message);
        }
    }
    match transforms.iter().any(|transform| transform == SAM) {
        true => {}
        false => {
            let resources = template.node("Resources").map(Node::entries).unwrap_or_default();
            let serverless = |entry: &&Entry| {
                let type_name = entry.value.get("Type").and_then(Node::as_text);
                type_name.is_some_and(|name| name.starts_with("AWS::Serverless::"))
            };
            if let Some(entry) = resources.iter().find(serverless) {
                let message = format!("{} is a type of SAM: add Transform: {SAM} to the template", entry.key);
                template.problems().add(entry.line, message);
            }
        }
    }
}

/// Checks that all names exist, as CloudFormation does at deployment: also in the branch of an `!If` that is not taken,
/// and in resources that a condition leaves out.
fn check_names(template: &Fields<'_>, scope: &Scope<'_>, problems: &Problems) {
    let check_condition = |line: usize, name: &str| {
        problems.keep(scope.condition(line, name));
    };
    for section in ["Globals", "Resources", "Outputs"].iter().filter_map(|name| template.node(name)) {
        for (line, name) in intrinsics::names(section) {
            if !scope.knows(&name) {
                problems.push(scope.unknown(line, &name));
            }
        }
        for (line, name) in intrinsics::conditions(section) {
            check_condition(line, &name);
        }
        intrinsics::unknown_functions(section).into_iter().for_each(|problem| problems.push(problem));
        for entry in section.entries() {
            if let Some(node) = entry.value.get("Condition")
                && let Some(name) = problems.keep(node.expect_text("Condition"))
            {
                check_condition(node.line, &name);
            }
        }
    }
}

/// The outputs that have a value here. An output is for people and other stacks, so one without a value is left out.
fn outputs(section: Option<&Node>, scope: &Scope<'_>, problems: &Problems) -> BTreeMap<String, String> {
    let mut outputs = BTreeMap::new();
    for Entry { key, value, .. } in section.map(Node::entries).unwrap_or_default() {
        let output = Fields::new(&OUTPUT, value, problems);
        let holds = output.text("Condition").is_none_or(|name| scope.condition(value.line, &name).unwrap_or(false));
        let Some(value) = output.node("Value") else { continue };
        if holds {
            let (text, placeholders) = scope.leniently(|| scope.text(value, &format!("The output {key}")));
            let text = problems.keep(text).filter(|_| !placeholders);
            outputs.extend(text.map(|text| (key.clone(), text)));
        }
    }
    outputs
}
