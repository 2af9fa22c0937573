//! A function: its declaration, and the state that is shown of it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::Semaphore;

/// A function as the template declares it, with everything that its processes need.
#[derive(Debug, Clone)]
pub struct FunctionSpec {
    /// The function's name, unique in a host.
    pub name: String,
    /// The ARN that its events and its environment contain.
    pub arn: String,
    /// The program to run. It must speak the Runtime API.
    pub program: PathBuf,
    /// Arguments of the program; Lambda passes none.
    pub args: Vec<String>,
    /// The memory size that the function is told. It is not enforced.
    pub memory_mb: u32,
    /// How long an invocation may take.
    pub timeout: Duration,
    /// The reserved concurrency. Without it the function shares the account's unreserved concurrency.
    pub concurrency: Option<u32>,
    /// The template's variables, endpoints and credentials. No variable of the host's own environment is added.
    ///
    /// Each process has credentials of its own, as on Lambda: `/` and the process's id are appended to the value of
    /// `AWS_SESSION_TOKEN`, if there is one.
    pub environment: BTreeMap<String, String>,
}

/// The current state of one function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FunctionState {
    /// The ids of its processes.
    pub pids: Vec<u32>,
    /// The invocations admitted since the start. Throttled invocations are not counted.
    pub invocations: u64,
    /// The admitted invocations that failed: function errors, crashes, timeouts, failed inits.
    pub errors: u64,
    /// The invocations refused because the concurrency was used up.
    pub throttles: u64,
    /// The processes started.
    pub cold_starts: u64,
    /// The invocations that run at the same time.
    pub in_flight: InFlight,
    /// The memory size that the function is told.
    pub memory_mb: u32,
    /// The time of the invocations that have ended, with the starts of processes for them. Lambda bills it, by the
    /// memory size.
    pub billed_ms: u64,
}

/// The invocations that run at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct InFlight {
    /// The current number.
    pub now: u32,
    /// The highest `now` since the start.
    pub max: u32,
    /// The reserved concurrency.
    pub limit: Option<u32>,
}

/// A function, and the limit on starting its processes.
#[derive(Debug)]
pub(super) struct Function {
    pub(super) spec: FunctionSpec,
    pub(super) prefix: String,
    /// Bounds the number of inits at the same time. A burst of 500 cold starts on two cores would only make each of
    /// them slow, some slower than the init limit. Each function has its own bound, so that a burst of one does not
    /// delay another's first process.
    pub(super) inits: Semaphore,
}
