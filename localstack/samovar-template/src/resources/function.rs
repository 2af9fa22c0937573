//! `AWS::Serverless::Function` and `AWS::Lambda::Function`: the program, with its limits, environment and permissions.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Context;
use super::code::{self, Program};
use super::event::{Sources, events};
use super::event_invoke;
use super::event_source_mapping;
use super::function_url;
use super::notification;
use super::policy::{Policies, sqs_execution_policy};
use super::schedule;
use crate::fields::{Fields, Schema};
use crate::model::{Function, Queue};
use crate::resource::{Kind, RAW_FUNCTION, Resource};
use crate::yaml::{Data, Node};

pub(crate) const FUNCTION: Schema = Schema {
    subject: "AWS::Serverless::Function",
    required: &[],
    optional: &[
        "CodeUri",
        "DeadLetterQueue",
        "Environment",
        "EventInvokeConfig",
        "Events",
        "FunctionName",
        "FunctionUrlConfig",
        "Handler",
        "ImageUri",
        "InlineCode",
        "MemorySize",
        "PackageType",
        "Policies",
        "ReservedConcurrentExecutions",
        "Role",
        "Runtime",
        "Timeout",
    ],
    ignored: &[
        "Architectures",
        "AssumeRolePolicyDocument",
        "AutoPublishAlias",
        "AutoPublishAliasAllProperties",
        "AutoPublishCodeSha256",
        "CapacityProviderConfig",
        "CodeSigningConfigArn",
        "DeploymentPreference",
        "Description",
        "DurableConfig",
        "EphemeralStorage",
        "FileSystemConfigs",
        "FunctionScalingConfig",
        "ImageConfig",
        "KmsKeyArn",
        "Layers",
        "LoggingConfig",
        "PermissionsBoundary",
        "PropagateTags",
        "ProvisionedConcurrencyConfig",
        "PublishToLatestPublished",
        "RecursiveLoop",
        "RolePath",
        "RuntimeManagementConfig",
        "SnapStart",
        "SourceKMSKeyArn",
        "Tags",
        "TenancyConfig",
        "Tracing",
        "VersionDeletionPolicy",
        "VersionDescription",
        "VpcConfig",
    ],
};

pub(crate) const LAMBDA_FUNCTION: Schema = Schema {
    subject: RAW_FUNCTION,
    required: &["Code", "Role"],
    optional: &[
        "DeadLetterConfig",
        "Environment",
        "FunctionName",
        "Handler",
        "MemorySize",
        "PackageType",
        "ReservedConcurrentExecutions",
        "Runtime",
        "Timeout",
    ],
    ignored: &[
        "Architectures",
        "CapacityProviderConfig",
        "CodeSigningConfigArn",
        "Description",
        "DurableConfig",
        "EphemeralStorage",
        "FileSystemConfigs",
        "FunctionScalingConfig",
        "ImageConfig",
        "KmsKeyArn",
        "Layers",
        "LoggingConfig",
        "PublishToLatestPublished",
        "RecursiveLoop",
        "RuntimeManagementConfig",
        "SnapStart",
        "Tags",
        "TenancyConfig",
        "TracingConfig",
        "VpcConfig",
    ],
};

pub(crate) const ENVIRONMENT: Schema =
    Schema { subject: "Environment", required: &[], optional: &["Variables"], ignored: &[] };

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

pub(crate) fn functions(context: &Context<'_>, policies: &Policies, queues: &[Queue]) -> Vec<Function> {
    let mut functions: Vec<Function> = context
        .scope
        .present(Kind::Function)
        .filter_map(|resource| {
            let schema = if resource.type_name == RAW_FUNCTION { &LAMBDA_FUNCTION } else { &FUNCTION };
            build(context, resource, &context.fields(resource, schema), policies, queues)
        })
        .collect();
    // Binaries name functions only where that names one.
    let mut owners: BTreeMap<String, usize> = BTreeMap::new();
    for function in &functions {
        *owners.entry(function.name.clone()).or_default() += 1;
        if function.name != function.logical_id {
            *owners.entry(function.logical_id.clone()).or_default() += 1;
        }
    }
    for function in &mut functions {
        if owners.get(&function.name).is_some_and(|owners| *owners > 1) {
            function.name.clone_from(&function.logical_id);
        }
    }
    functions
}

fn build(
    context: &Context<'_>,
    resource: &Resource,
    fields: &Fields<'_>,
    policies: &Policies,
    queues: &[Queue],
) -> Option<Function> {
    let timeout = fields.integer("Timeout", 1..=900).unwrap_or(DEFAULT_TIMEOUT_SECONDS);
    let reserved_concurrency = fields.integer("ReservedConcurrentExecutions", 0..=100_000);
    let raw = resource.type_name == RAW_FUNCTION;
    let mut sources = if raw { Sources::default() } else { events(resource, fields, timeout, context, queues) };
    let of_events = sources.queues.len();
    event_source_mapping::add(context, resource, timeout, queues, &mut sources);
    schedule::add(context, resource, &mut sources);
    sources.triggers.extend(notification::of_function(context, resource));
    let Sources { queues: event_sources, schedules, rules, triggers } = sources;
    check_reservation(
        fields,
        reserved_concurrency,
        event_sources.iter().filter_map(|source| source.maximum_concurrency),
    );
    let mut policies = policies.of_function(context, resource, fields);
    // With a role, SAM adds nothing.
    if of_events > 0 && !fields.has("Role") {
        policies.push(sqs_execution_policy());
    }
    let function_name = context.problems.keep(resource.name(context.scope))?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if function_name.is_empty() || function_name.len() > 64 || !function_name.chars().all(allowed) {
        let message = "but AWS takes 1 to 64 letters, digits, hyphens and underscores";
        fields.wrong("FunctionName", &format!("is \"{function_name}\", {message}"));
    }
    let code = code::read(context, resource, fields);
    let environment = environment(fields);
    let local_environment = local_environment(context, resource);
    let memory_mb = fields.integer("MemorySize", 128..=10_240).unwrap_or(DEFAULT_MEMORY_MB);
    let Program { code, code_dir, runtime, handler, build_method, binary } = code?;
    Some(Function {
        logical_id: resource.id.clone(),
        name: binary.clone().unwrap_or_else(|| resource.id.clone()),
        function_name,
        arn: context.problems.keep(resource.attribute(context.scope, resource.line, "Arn"))?,
        code,
        code_dir,
        runtime,
        handler,
        build_method,
        binary,
        memory_mb,
        timeout: Duration::from_secs(timeout.into()),
        reserved_concurrency,
        environment,
        local_environment,
        policies,
        event_sources,
        schedules,
        rules,
        triggers,
        event_invoke: event_invoke::of_function(context, resource, fields),
        url: function_url::of(context, resource),
    })
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
