//! The environment of a function's process: Lambda's variables, the template's variables, and nothing of the host's
//! own.
//!
//! A function that only works because of a variable in the developer's shell would fail when deployed, so it fails here
//! too. The names and values are those of "Defined runtime environment variables" in the Lambda developer guide. One of
//! them is not set here: `_X_AMZN_TRACE_ID` changes with each invocation, so the runtime in the process sets it, from
//! the header `Lambda-Runtime-Trace-Id`.

use std::collections::BTreeMap;

use super::clock;
use super::function::{Code, FunctionSpec};

/// `runtime_api` is the `HOST:PORT` of this one instance, and `instance` its id.
pub(super) fn of(
    spec: &FunctionSpec,
    code: &Code,
    region: &str,
    runtime_api: String,
    instance: &str,
) -> BTreeMap<String, String> {
    let day = jiff::Timestamp::from_millisecond(i64::try_from(clock::since_epoch().as_millis()).unwrap_or(0))
        .map(|now| now.strftime("%Y/%m/%d").to_string())
        .unwrap_or_default();
    let (task_root, runtime_dir) = (code.task_root.to_string_lossy(), code.runtime_dir.to_string_lossy());
    let libraries =
        format!("/var/lang/lib:/lib64:/usr/lib64:{runtime_dir}:{runtime_dir}/lib:{task_root}:{task_root}/lib:/opt/lib");

    // The function may set these to something else…
    let mut environment: BTreeMap<String, String> = [
        ("AWS_XRAY_CONTEXT_MISSING", "LOG_ERROR"),
        ("LANG", "en_US.UTF-8"),
        ("LD_LIBRARY_PATH", &libraries),
        ("PATH", "/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:/opt/bin"),
        // A backtrace costs nothing until a panic, and on a developer's machine somebody reads it.
        ("RUST_BACKTRACE", "1"),
        ("TZ", ":UTC"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    environment.extend(code.environment.clone());
    environment.extend(spec.environment.clone());
    if spec.own_credentials
        && let Some(token) = environment.get_mut("AWS_SESSION_TOKEN")
    {
        *token = format!("{token}/{instance}");
    }

    // …but these always have Lambda's values.
    environment.extend(
        [
            ("_HANDLER", spec.handler.clone()),
            ("AWS_DEFAULT_REGION", region.to_owned()),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", spec.memory_mb.to_string()),
            ("AWS_LAMBDA_FUNCTION_NAME", spec.function_name.clone()),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST".to_owned()),
            ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand".to_owned()),
            ("AWS_LAMBDA_LOG_GROUP_NAME", format!("/aws/lambda/{}", spec.function_name)),
            ("AWS_LAMBDA_LOG_STREAM_NAME", format!("{day}/[$LATEST]{instance}")),
            ("AWS_LAMBDA_RUNTIME_API", runtime_api),
            ("AWS_REGION", region.to_owned()),
            ("LAMBDA_RUNTIME_DIR", runtime_dir.into_owned()),
            ("LAMBDA_TASK_ROOT", task_root.into_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    );
    // Functions of the runtimes `provided.*` have none.
    if !spec.runtime.starts_with("provided") {
        environment.insert("AWS_EXECUTION_ENV".to_owned(), format!("AWS_Lambda_{}", spec.runtime));
    }
    environment
}
