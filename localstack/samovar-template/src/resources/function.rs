//! `AWS::Serverless::Function`: its code and how it is built, with its limits, environment and permissions.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::Context;
use super::event_source::events;
use super::policy::{function_policies, sqs_execution_policy};
use crate::fields::{Fields, Schema};
use crate::model::{BuildMethod, Function, Queue};
use crate::resource::{Kind, Resource};
use crate::yaml::{Data, Node};

pub(crate) const FUNCTION: Schema = Schema {
    subject: "AWS::Serverless::Function",
    required: &["CodeUri", "Handler", "Runtime"],
    optional: &[
        "Environment",
        "Events",
        "FunctionName",
        "MemorySize",
        "Policies",
        "ReservedConcurrentExecutions",
        "Timeout",
    ],
    ignored: &[
        "Architectures",
        "CodeSigningConfigArn",
        "Description",
        "EphemeralStorage",
        "KmsKeyArn",
        "LoggingConfig",
        "PropagateTags",
        "RecursiveLoop",
        "RolePath",
        "RuntimeManagementConfig",
        "SourceKMSKeyArn",
        "Tags",
        "Tracing",
        "VpcConfig",
    ],
};

const ENVIRONMENT: Schema = Schema { subject: "Environment", required: &["Variables"], optional: &[], ignored: &[] };
const BUILD_PROPERTIES: Schema =
    Schema { subject: "BuildProperties", required: &[], optional: &["Binary"], ignored: &[] };

/// Lambda's defaults, for a template that gives no value.
const DEFAULT_TIMEOUT_SECONDS: u32 = 3;
const DEFAULT_MEMORY_MB: u32 = 128;

/// Lambda's limit on all environment variables of a function together, names and values.
const MAXIMUM_ENVIRONMENT_BYTES: usize = 4_096;

/// Lambda sets these itself and refuses them in a template.
const RESERVED_VARIABLES: [&str; 18] = [
    "AWS_ACCESS_KEY",
    "AWS_ACCESS_KEY_ID",
    "AWS_DEFAULT_REGION",
    "AWS_EXECUTION_ENV",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_VERSION",
    "AWS_LAMBDA_INITIALIZATION_TYPE",
    "AWS_LAMBDA_LOG_GROUP_NAME",
    "AWS_LAMBDA_LOG_STREAM_NAME",
    "AWS_LAMBDA_RUNTIME_API",
    "AWS_REGION",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "LAMBDA_RUNTIME_DIR",
    "LAMBDA_TASK_ROOT",
    "_HANDLER",
    "_X_AMZN_TRACE_ID",
];

pub(crate) fn functions(
    context: &Context<'_>,
    managed: &BTreeMap<String, Option<Value>>,
    queues: &[Queue],
) -> Vec<Function> {
    let mut binaries: BTreeMap<String, String> = BTreeMap::new();
    let mut functions = Vec::new();
    for resource in context.scope.present(Kind::Function) {
        let fields = context.fields(resource, &FUNCTION);
        let build_method = build_method(context, resource);
        let binary = (build_method == BuildMethod::RustCargoLambda).then(|| binary(context, resource)).flatten();
        if let Some(binary) = &binary
            && let Some(other) = binaries.insert(binary.clone(), resource.id.clone())
        {
            let message =
                format!("{} and {other} have the same Binary, {binary}: give each function its own", resource.id);
            context.problems.add(resource.line, message);
        }
        functions.extend(build(context, resource, &fields, (build_method, binary), managed, queues));
    }
    functions
}

fn build(
    context: &Context<'_>,
    resource: &Resource,
    fields: &Fields<'_>,
    (build_method, binary): (BuildMethod, Option<String>),
    managed: &BTreeMap<String, Option<Value>>,
    queues: &[Queue],
) -> Option<Function> {
    let runtime = fields.text("Runtime");
    if let Some(runtime) = &runtime
        && !["nodejs", "provided.al", "python"].iter().any(|known| runtime.starts_with(known))
    {
        fields.wrong("Runtime", &format!("is \"{runtime}\", but the local stack runs provided.*, nodejs* and python*"));
    }
    let handler = fields.text("Handler");
    let timeout = fields.integer("Timeout", 1..=900).unwrap_or(DEFAULT_TIMEOUT_SECONDS);
    let reserved_concurrency = fields.integer("ReservedConcurrentExecutions", 0..=100_000);
    let (event_sources, schedules) = events(resource, fields, timeout, context, queues);
    check_reservation(
        fields,
        reserved_concurrency,
        event_sources.iter().filter_map(|source| source.maximum_concurrency),
    );
    let policies = fields.node("Policies");
    let mut policies = policies.map_or_else(Vec::new, |node| function_policies(node, managed, context.problems));
    if !event_sources.is_empty() {
        policies.push(sqs_execution_policy());
    }
    let function_name = context.problems.keep(resource.name(context.scope))?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if function_name.is_empty() || function_name.len() > 64 || !function_name.chars().all(allowed) {
        let message = "but AWS takes 1 to 64 letters, digits, hyphens and underscores";
        fields.wrong("FunctionName", &format!("is \"{function_name}\", {message}"));
    }
    Some(Function {
        logical_id: resource.id.clone(),
        name: binary.clone().unwrap_or_else(|| resource.id.clone()),
        function_name,
        arn: context.problems.keep(resource.attribute(context.scope, resource.line, "Arn"))?,
        code_dir: context.folder.join(code_uri(fields)?),
        runtime: runtime?,
        handler: handler?,
        build_method,
        binary,
        memory_mb: fields.integer("MemorySize", 128..=10_240).unwrap_or(DEFAULT_MEMORY_MB),
        timeout: Duration::from_secs(timeout.into()),
        reserved_concurrency,
        environment: environment(fields),
        local_environment: local_environment(context, resource),
        policies,
        event_sources,
        schedules,
    })
}

/// The folder of the code. Code in another place cannot be run from here.
fn code_uri(fields: &Fields<'_>) -> Option<String> {
    let uri = fields.text("CodeUri")?;
    if uri.contains("://") {
        fields.wrong("CodeUri", &format!("is \"{uri}\", but must be a folder on this machine"));
    }
    Some(uri)
}

/// `Metadata.BuildMethod`.
fn build_method(context: &Context<'_>, resource: &Resource) -> BuildMethod {
    let Some(node) = resource.metadata.as_ref().and_then(|metadata| metadata.get("BuildMethod")) else {
        return BuildMethod::None;
    };
    match node.as_text().as_deref() {
        Some("rust-cargolambda") => BuildMethod::RustCargoLambda,
        Some("makefile") => BuildMethod::Makefile,
        Some("go1.x") => BuildMethod::Go,
        // The runtime's own way, by the name that SAM has for it.
        Some(other) if other.starts_with("nodejs") || other.starts_with("python") => BuildMethod::None,
        other => {
            let message = format!(
                "BuildMethod is \"{}\", but the local stack builds with rust-cargolambda, makefile and go1.x, and for \
                 nodejs* and python*",
                other.unwrap_or_default()
            );
            context.problems.add(node.line, message);
            BuildMethod::None
        }
    }
}

/// `Metadata.BuildProperties.Binary`.
fn binary(context: &Context<'_>, resource: &Resource) -> Option<String> {
    let properties = resource.metadata.as_ref()?.get("BuildProperties")?;
    let properties = Fields::new(&BUILD_PROPERTIES, properties, context.problems);
    let binary = properties.text("Binary")?;
    // The name becomes part of paths and URLs.
    if binary.is_empty() || !binary.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_') {
        properties.wrong("Binary", &format!("is \"{binary}\", which is not the name of a binary"));
    }
    Some(binary)
}

/// `Metadata.LocalEnvironment`: variables that a deployed function gets from another place, such as a secret.
fn local_environment(context: &Context<'_>, resource: &Resource) -> Vec<String> {
    let Some(node) = resource.metadata.as_ref().and_then(|metadata| metadata.get("LocalEnvironment")) else {
        return Vec::new();
    };
    let Data::List(items) = &node.data else {
        context.problems.push(node.not("Metadata.LocalEnvironment", "a list of variables"));
        return Vec::new();
    };
    let names = items.iter().filter_map(|item| {
        let name = context.problems.keep(item.expect_text("A variable of Metadata.LocalEnvironment"))?;
        if RESERVED_VARIABLES.contains(&name.as_str()) {
            context.problems.add(item.line, format!("The environment variable {name} is reserved by Lambda"));
        }
        Some(name)
    });
    names.collect()
}

fn environment(fields: &Fields<'_>) -> BTreeMap<String, String> {
    let mut environment = BTreeMap::new();
    let Some(variables) = fields.map("Environment", &ENVIRONMENT) else { return environment };
    let Some(node) = variables.node("Variables") else { return environment };
    let problems = fields.problems();
    if !matches!(node.data, Data::Map(_)) {
        problems.push(Node::not(node, "Environment.Variables", "a map"));
    }
    for entry in node.entries() {
        let key = &entry.key;
        let valid = key.len() >= 2
            && key.starts_with(|c: char| c.is_ascii_alphabetic())
            && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if RESERVED_VARIABLES.contains(&key.as_str()) {
            problems.add(entry.line, format!("The environment variable {key} is reserved by Lambda"));
        } else if !valid {
            let rule = "two or more letters, digits and underscores, a letter first";
            problems.add(entry.line, format!("\"{key}\" cannot be an environment variable: AWS takes {rule}"));
        }
        let value = problems.keep(entry.value.expect_text(&format!("The environment variable {key}")));
        environment.extend(value.map(|value| (key.clone(), value)));
    }
    let bytes: usize = environment.iter().map(|(key, value)| key.len() + value.len()).sum();
    if bytes > MAXIMUM_ENVIRONMENT_BYTES {
        let message = format!("The environment has {bytes} bytes, but AWS takes {MAXIMUM_ENVIRONMENT_BYTES}");
        problems.add(fields.line("Environment"), message);
    }
    environment
}

/// Checks the reservation. Pollers ignore reserved concurrency, so a throttled batch goes back to the queue and its
/// receive counts rise.
fn check_reservation(fields: &Fields<'_>, reserved: Option<u32>, maxima: impl Iterator<Item = u32>) {
    let sum: u32 = maxima.sum();
    if let Some(reserved) = reserved.filter(|reserved| *reserved < sum) {
        let message = format!(
            "is {reserved}, less than the MaximumConcurrency of its event sources, {sum}: messages would be throttled \
             into the dead-letter queue. Reserve at least {sum}"
        );
        fields.wrong("ReservedConcurrentExecutions", &message);
    }
}
