//! The environment of a function's process: Lambda's variables, the template's variables, and nothing of the host's
//! own.
//!
//! A function that only works because of a variable in the developer's shell would fail when deployed, so it fails here
//! too.

use std::collections::BTreeMap;
use std::path::Path;

use super::clock;
use super::function::FunctionSpec;

/// `runtime_api` is the base address of this one instance, and `instance` its id.
pub(super) fn of(spec: &FunctionSpec, region: &str, runtime_api: String, instance: &str) -> BTreeMap<String, String> {
    let day = jiff::Timestamp::from_millisecond(i64::try_from(clock::since_epoch().as_millis()).unwrap_or(0))
        .map(|now| now.strftime("%Y/%m/%d").to_string())
        .unwrap_or_default();

    // The function may set these to something else…
    let mut environment: BTreeMap<String, String> = [
        ("LANG", "en_US.UTF-8"),
        ("PATH", "/usr/local/bin:/usr/bin:/bin"),
        // A backtrace costs nothing until a panic, and on a developer's machine somebody reads it.
        ("RUST_BACKTRACE", "1"),
        ("TZ", ":UTC"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    environment.extend(spec.environment.clone());
    if let Some(token) = environment.get_mut("AWS_SESSION_TOKEN") {
        *token = format!("{token}/{instance}");
    }

    // …but these always have Lambda's values.
    environment.extend(
        [
            ("_HANDLER", "bootstrap".to_owned()),
            ("AWS_DEFAULT_REGION", region.to_owned()),
            ("AWS_EXECUTION_ENV", "AWS_Lambda_provided.al2023".to_owned()),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", spec.memory_mb.to_string()),
            ("AWS_LAMBDA_FUNCTION_NAME", spec.name.clone()),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST".to_owned()),
            ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand".to_owned()),
            ("AWS_LAMBDA_LOG_GROUP_NAME", format!("/aws/lambda/{}", spec.name)),
            ("AWS_LAMBDA_LOG_STREAM_NAME", format!("{day}/[$LATEST]{instance}")),
            ("AWS_LAMBDA_RUNTIME_API", runtime_api),
            ("AWS_REGION", region.to_owned()),
            ("LAMBDA_TASK_ROOT", task_root(&spec.program).to_string_lossy().into_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    );
    environment
}

/// The folder of the program, which is also its working directory, as on Lambda.
pub(super) fn task_root(program: &Path) -> &Path {
    program.parent().unwrap_or(Path::new("/"))
}
