//! The reasons why an invocation has no result, and the limits on payloads.

use std::process::ExitStatus;
use std::time::Duration;

use bytes::Bytes;

/// Lambda's limit on the payload of a synchronous invocation.
pub const MAX_REQUEST_BYTES: usize = 6 * 1024 * 1024;
/// Lambda's limit on a response: the same size plus 100 bytes for the envelope.
pub const MAX_RESPONSE_BYTES: usize = 6 * 1024 * 1024 + 100;

/// The reason why an invocation has no result.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message of each variant says what it is")]
pub enum InvokeError {
    #[error("There is no function {function}")]
    Unknown { function: String },
    #[error("{function} already runs {limit} invocations, its limit")]
    Throttled { function: String, limit: u32 },
    #[error("Task timed out after {:.2} seconds", .after.as_secs_f64())]
    TimedOut { after: Duration },
    #[error("The process exited during the invocation with {status}")]
    Crashed { status: ExitStatus },
    /// `payload` is the function's report: `{"errorMessage":…,"errorType":…}`.
    #[error("The function returned an error: {}", String::from_utf8_lossy(payload))]
    FunctionError { payload: Bytes },
    /// `output` is the last output of the process, from standard output and standard error.
    #[error("The function did not start: {reason}\n{output}")]
    InitFailed { reason: String, output: String },
    #[error("The payload has {bytes} bytes, but Lambda takes at most {MAX_REQUEST_BYTES}")]
    PayloadTooLarge { bytes: usize },
    #[error("The function host is shutting down")]
    ShuttingDown,
}
