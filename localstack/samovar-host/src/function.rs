//! A function: its declaration, and the state that is shown of it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::Semaphore;

/// A function as the template declares it, with everything that its processes need.
#[derive(Debug, Clone)]
pub struct FunctionSpec {
    /// The name by which the host, its log and its callers know the function; unique in a host.
    pub name: String,
    /// The function's name on AWS, as it finds it in its environment.
    pub function_name: String,
    /// The ARN that its events contain.
    pub arn: String,
    /// The template's `Runtime`, such as `provided.al2023` or `python3.13`.
    pub runtime: String,
    /// The template's `Handler`, as the function finds it in `_HANDLER`.
    pub handler: String,
    /// What its processes run.
    pub code: Code,
    /// The memory size that the function is told. It is not enforced.
    pub memory_mb: u32,
    /// How long an invocation may take.
    pub timeout: Duration,
    /// The reserved concurrency. Without it the function shares the account's unreserved concurrency.
    pub concurrency: Option<u32>,
    /// The template's variables, endpoints and credentials. No variable of the host's own environment is added.
    pub environment: BTreeMap<String, String>,
    /// Whether each process has credentials of its own, as on Lambda: `/` and the process's id are then appended to the
    /// value of `AWS_SESSION_TOKEN`, if there is one.
    pub own_credentials: bool,
    /// How its processes wait for a debugger. Then there is one process at a time, which has all the time of `timeout`
    /// to start and to be idle. The concurrency must be 1.
    pub debug: Option<Debug>,
}

/// How a process waits for a debugger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Debug {
    /// The program waits by itself until a debugger has connected to this port, as with debugpy or Node's inspector.
    Listening {
        /// The port, at 127.0.0.1.
        port: u16,
    },
    /// The process is started, and gets its first event when a debugger has attached to it. Only Linux shows whether
    /// one has, so elsewhere it gets the event at once.
    UntilAttached,
}

/// A function's code as it was built: what its processes run. Its environment has the folders as `LAMBDA_TASK_ROOT` and
/// `LAMBDA_RUNTIME_DIR`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Code {
    /// The program to run. It must speak the Runtime API.
    pub program: PathBuf,
    /// Arguments of the program. A program of the runtimes `provided.*` gets none on Lambda.
    pub args: Vec<String>,
    /// The folder of the function's code, which is also the working directory.
    pub task_root: PathBuf,
    /// The folder of the runtime's own libraries.
    pub runtime_dir: PathBuf,
    /// Variables that the language's runtime needs. Those of [`FunctionSpec::environment`] go before them.
    pub environment: BTreeMap<String, String>,
}

impl Code {
    /// A program that speaks the Runtime API by itself, as the runtimes `provided.*` have it. Its folder is the task
    /// root.
    pub fn of_program(program: PathBuf) -> Code {
        // A relative path would depend on the directory in which the process is started.
        let program = std::path::absolute(&program).unwrap_or(program);
        let task_root = program.parent().map_or_else(|| PathBuf::from("/"), PathBuf::from);
        let runtime_dir = PathBuf::from("/var/runtime");
        Code { program, args: Vec::new(), task_root, runtime_dir, environment: BTreeMap::new() }
    }
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
