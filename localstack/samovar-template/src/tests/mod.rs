//! Reads whole templates and compares the models, or the error messages.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

use super::{IdentitySource, Locals, Template, TemplateError, load, parse, to_json};

mod api_keys;
mod buckets;
mod cross_checks;
mod documentation;
mod event_invoke;
mod event_rules;
mod functions;
mod hostile;
mod http_api;
mod language;
mod missing;
mod openapi;
mod permissions;
mod raw_api;
mod resources;
mod rest_api;
mod rules;
mod static_site;

fn locals() -> Locals {
    Locals {
        stack_name: "local".to_owned(),
        region: "eu-central-1".to_owned(),
        account_id: "000000000000".to_owned(),
        sqs_url: "http://127.0.0.1:8000/_aws/sqs".to_owned(),
        issuer: "http://127.0.0.1:8000/_local/issuer".to_owned(),
        allow_missing: false,
    }
}

fn overrides(given: &[(&str, &str)]) -> BTreeMap<String, String> {
    given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn read_with(source: &str, given: &[(&str, &str)]) -> Result<Template, TemplateError> {
    parse(source, Path::new("infra/t.yaml"), &overrides(given), &locals())
}

fn read(source: &str) -> Template {
    read_with(source, &[]).unwrap_or_else(|error| panic!("{error}"))
}

/// The error's text, as the user reads it.
fn error_with(source: &str, given: &[(&str, &str)]) -> String {
    match read_with(source, given) {
        Ok(template) => panic!("no error, but {template:?}"),
        Err(error) => error.to_string(),
    }
}

fn error(source: &str) -> String {
    error_with(source, &[])
}

/// Asserts that the error shows exactly these problems: line and the beginning of the message.
#[track_caller]
fn assert_problems(source: &str, expected: &[(usize, &str)]) {
    let error = error(source);
    let lines: Vec<&str> = error.lines().collect();
    assert_eq!(lines.len(), expected.len(), "{error}");
    for (shown, (line, message)) in lines.iter().zip(expected) {
        let wanted = format!("infra/t.yaml:{line}: {message}");
        assert!(shown.starts_with(&wanted), "wanted {wanted}\nin\n{error}");
    }
}

/// A template with these resources, which begin on line 3.
fn with_resources(resources: &str) -> String {
    format!("Transform: AWS::Serverless-2016-10-31\nResources:\n{resources}")
}

/// A function with more properties, on one line.
fn function(id: &str, properties: &str) -> String {
    let binary = id.to_lowercase();
    let metadata = format!("Metadata: {{BuildMethod: rust-cargolambda, BuildProperties: {{Binary: {binary}}}}}");
    let code = "CodeUri: .., Handler: bootstrap, Runtime: provided.al2023";
    format!("  {id}: {{Type: AWS::Serverless::Function, {metadata}, Properties: {{{code}, {properties}}}}}\n")
}

/// The environment of the function `F` whose variables are these, one a line.
fn environment(head: &str, variables: &str) -> BTreeMap<String, String> {
    let function = function("F", "Environment: {Variables: {{{variables}}}}").replace("{{variables}}", variables);
    let source = format!("Transform: AWS::Serverless-2016-10-31\n{head}Resources:\n{function}");
    read(&source).functions[0].environment.clone()
}

#[test]
fn a_missing_template_is_an_error_with_its_path() {
    let error = load(Path::new("/nowhere/t.yaml"), &BTreeMap::new(), &locals()).expect_err("no file");
    assert_eq!(error.to_string(), "Cannot read the template /nowhere/t.yaml");
}
