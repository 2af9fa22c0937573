#![doc = include_str!("../README.md")]
//!
//! # Inside
//!
//! Invariant: the reader never guesses. A resource type, property, function or value that it does not understand is an
//! error with its line, unless it is on a list of things that mean nothing on one machine. A local stack that silently
//! skipped half of a template would mislead its user about the deployment. TEMPLATE.md has the lists.
//!
//! The stages, each of which reports all its problems before the next one begins:
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
mod static_site;
#[cfg(test)]
mod tests;
mod yaml;

use std::collections::BTreeMap;
use std::path::Path;

use error::Problems;
use fields::{Fields, Schema};
use globals::Globals;
use resources::Context;
use scope::Scope;
use yaml::{Data, Entry, Node};

pub use error::{Problem as TemplateProblem, TemplateError};
pub use model::{
    Authorization, Authorizer, Bucket, BuildMethod, Cors, CorsRule, Expiration, Function, HttpApi, HttpRoute,
    IdentitySource, JwtAuthorizer, LocalState, Locals, Queue, Route, Schedule, SiteBuild, SqsEventSource, StaticSite,
    Table, TableView, Template, WebSocketApi,
};
pub use route_key::{RouteKey, Segment};

const TEMPLATE: Schema = Schema {
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

const OUTPUT: Schema = Schema {
    subject: "An output",
    required: &["Value"],
    optional: &["Condition"],
    ignored: &["Description", "Export"],
};

const SECTIONS: [&str; 8] =
    ["Conditions", "Globals", "Mappings", "Metadata", "Outputs", "Parameters", "Resources", "Rules"];

/// Reads the template at `path`.
pub fn load(path: &Path, overrides: &BTreeMap<String, String>, locals: &Locals) -> Result<Template, TemplateError> {
    let source =
        std::fs::read_to_string(path).map_err(|source| TemplateError::Read { path: path.to_owned(), source })?;
    parse(&source, path, overrides, locals)
}

/// Reads a template from its text. Errors name `path`, and `CodeUri` is relative to its folder.
pub fn parse(
    source: &str,
    path: &Path,
    overrides: &BTreeMap<String, String>,
    locals: &Locals,
) -> Result<Template, TemplateError> {
    let problems = Problems::default();
    let folder = path.parent().unwrap_or(Path::new(""));
    let template = read(source, folder, overrides, locals, &problems);
    match template {
        Some(template) if problems.is_empty() => Ok(template),
        _ => Err(TemplateError::Invalid { path: path.to_owned(), problems: problems.into_list() }),
    }
}

/// A template as JSON, with all functions in their long form (`{"Ref": "Queue"}`) and nothing computed. It is for tools
/// that look at parts of a template which mean nothing on one machine, such as alarms. Errors name `path`.
pub fn to_json(source: &str, path: &Path) -> Result<serde_json::Value, TemplateError> {
    let problems = Problems::default();
    match yaml::parse(source, &problems) {
        Some(document) if problems.is_empty() => Ok(document.to_json()),
        _ => Err(TemplateError::Invalid { path: path.to_owned(), problems: problems.into_list() }),
    }
}

fn read(
    source: &str,
    folder: &Path,
    overrides: &BTreeMap<String, String>,
    locals: &Locals,
    problems: &Problems,
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
    if !problems.is_empty() {
        return None;
    }

    let parameters = parameters::read(template.node("Parameters"), overrides, problems);
    if !problems.is_empty() {
        return None;
    }
    let mut scope = Scope::new(locals, parameters, template.node("Mappings").cloned());
    rules::check(template.node("Rules"), &scope, problems);
    scope.conditions = Some(conditions::decide(template.node("Conditions"), &scope, problems));
    if !problems.is_empty() {
        return None;
    }
    let globals = Globals::read(template.node("Globals"), problems);
    declarations::declare(template.node("Resources")?, &globals, &mut scope, problems);
    check_names(&template, &scope, problems);
    if !problems.is_empty() {
        return None;
    }

    let context = Context { scope: &scope, problems, folder };
    let managed = resources::managed_policies(&context);
    let queues = resources::queues(&context);
    resources::user_pools(&context);
    let functions = resources::functions(&context, &managed, &queues);
    let tables = resources::tables(&context);
    let buckets = resources::buckets(&context);
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
    Some(Template {
        websocket_apis: resources::websocket_apis(&context, &functions),
        http_apis: resources::http_apis(&context, &functions),
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
    })
}

fn check_header(template: &Fields<'_>) {
    template.choice("AWSTemplateFormatVersion", &["2010-09-09"]);
    const SAM: &str = "AWS::Serverless-2016-10-31";
    match template.node("Transform") {
        Some(Node { data: Data::List(_), .. }) => {
            if template.texts("Transform").is_some_and(|transforms| transforms != [SAM]) {
                template.wrong("Transform", &format!("must be {SAM}"));
            }
        }
        Some(_) => drop(template.choice("Transform", &[SAM])),
        None => {
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
        for entry in section.entries() {
            if let Some(node) = entry.value.get("Condition")
                && let Some(name) = problems.keep(node.expect_text("Condition"))
            {
                check_condition(node.line, &name);
            }
        }
    }
}

fn outputs(section: Option<&Node>, scope: &Scope<'_>, problems: &Problems) -> BTreeMap<String, String> {
    let mut outputs = BTreeMap::new();
    for Entry { key, value, .. } in section.map(Node::entries).unwrap_or_default() {
        let output = Fields::new(&OUTPUT, value, problems);
        let holds = output.text("Condition").is_none_or(|name| scope.condition(value.line, &name).unwrap_or(false));
        let Some(value) = output.node("Value") else { continue };
        let deployed_only = intrinsics::names(value).iter().any(|(_, name)| scope.deployed_only.contains_key(name));
        if holds && !deployed_only {
            let text = problems.keep(scope.text(value, &format!("The output {key}")));
            outputs.extend(text.map(|text| (key.clone(), text)));
        }
    }
    outputs
}
