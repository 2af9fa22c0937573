//! A function: what is declared of it, and what is seen of it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::Semaphore;

/// A function as the template declares it, with everything its processes need.
#[derive(Debug, Clone)]
pub struct FunctionSpec {
    /// Its name, unique among the functions of a host.
    pub name: String,
    /// As its events and its environment say it.
    pub arn: String,
    /// What is run: a program that speaks the Runtime API.
    pub program: PathBuf,
    /// Arguments of the program; Lambda passes none.
    pub args: Vec<String>,
    /// What the function is told of its memory; not enforced.
    pub memory_mb: u32,
    /// How long an invocation may take.
    pub timeout: Duration,
    /// Reserved concurrency; without it the function shares what others have not reserved of the account's.
    pub concurrency: Option<u32>,
    /// The template's variables, endpoints and credentials. Nothing of the host's own environment is added.
    pub environment: BTreeMap<String, String>,
}

/// What one function is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FunctionState {
    /// Of its processes.
    pub pids: Vec<u32>,
    /// Invocations admitted since the start; throttled ones are not among them.
    pub invocations: u64,
    /// Those of them that failed: function errors, crashes, timeouts, failed inits.
    pub errors: u64,
    /// Invocations refused because there was no place.
    pub throttles: u64,
    /// Processes started.
    pub cold_starts: u64,
    /// What runs at once.
    pub in_flight: InFlight,
}

/// Invocations running at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct InFlight {
    /// Running.
    pub now: u32,
    /// The highest `now` since the start.
    pub max: u32,
    /// The reserved concurrency.
    pub limit: Option<u32>,
}

/// A function and what starting its processes needs.
#[derive(Debug)]
pub(super) struct Function {
    pub(super) spec: FunctionSpec,
    pub(super) prefix: String,
    /// Bounds the inits going on at once: a burst of 500 cold starts on two cores would only make each of them slow, some
    /// beyond the init limit. One for each function, so that a burst of one does not hold up another's first process.
    pub(super) inits: Semaphore,
}
