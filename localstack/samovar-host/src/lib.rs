#![doc = include_str!("../README.md")]
//!
//! # Inside
//!
//! A function is the same program here and on Lambda. It asks `…/runtime/invocation/next` for an event, posts the
//! answer to `…/invocation/{id}/response` or `…/error`, and asks again. This crate is the server of that protocol, and
//! the scheduler that decides which process gets an event, when a new process starts and when a process is killed.
//!
//! ## Why it is correct
//!
//! Two things hold all of the state. The `pool` is one lock over all counters and the lists of idle instances. Every
//! process has one task, its `instance`, which alone owns the child, the current invocation and its deadline.
//!
//! *There are never more invocations than the limit.* An invocation first takes a `pool::Place`, under the lock that
//! also compares the count with the limit and records the highest count. A place is a value that is moved together with
//! its invocation and never copied. When it is dropped, it gives itself back under the same lock. So the count is the
//! number of places that exist, and an invocation that is lost on any path cannot keep its place. An invocation cut off
//! by timeout or shutdown gives its place back only once its process has been reaped, so even code that should no
//! longer run is counted.
//!
//! *A process never has two invocations.* An instance is on the idle list only while it has no invocation. It is taken
//! from the list and put back under the lock, so it is sent one invocation at a time. And it hands an event out only as
//! the answer to a poll, and each poll is consumed by one event: a process that does not ask gets nothing.
//!
//! *A response answers its own invocation or none.* Every instance has a listener of its own (see `runtime_api`), so a
//! process can only speak to its own task. The task knows the one request id that it is waiting for, and compares. When
//! the invocation is settled, by response, timeout or death, the id is gone with it. A late response finds no such id
//! (400), or, once the process has been reaped, no listener.
//!
//! *A death fails at most one invocation.* Only an invocation that has been handed out fails with its process. If an
//! idle instance turns out to be dead, the invocation parked there was never begun, and moves to another instance with
//! its place.
//!
//! *Processes do not exceed the limit either.* A new process is started only when none is idle, so at that moment an
//! invocation with a place holds every running instance. (A process that is being stopped for idleness runs nothing and
//! is not counted.)
//!
//! *After a replacement, no invocation begins in old code.* Every instance has the number of the build that it runs. A
//! replacement raises the function's number and empties its idle list in one step under the lock, and an instance comes
//! back to the idle list only with the present number, which is compared under the same lock. So an idle instance is of
//! the present build at every moment, and a new one reads the present code. An instance of an old build stops when it
//! has answered. An invocation that was given to an instance before the replacement may still begin in the old code.
//!
//! A response frees the place and makes the instance idle before the caller sees the response. So a caller that invokes
//! again immediately is never throttled by its own previous call. The next event may then be parked until the process
//! polls again. The timeout covers that time too, as it does on Lambda.
//!
//! ## Differences from Lambda
//!
//! The memory size is told to the function but not enforced. Init is tried once, for at most 10 s; Lambda would try
//! again within the invocation. Extensions may register (`spawn_graceful_shutdown_handler` needs it) but get no events.
//! A streamed response is collected before it is returned. The host does not manage the subprocesses of a function.
#![warn(missing_docs)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio_util::sync::DropGuard;

mod clock;
mod debug;
mod descriptors;
mod dispatch;
mod environment;
mod error;
pub mod event_source;
mod exchange;
mod function;
mod instance;
mod invocation;
mod metrics;
mod output;
mod pool;
mod process;
mod runtime_api;
pub mod schedule;
#[cfg(test)]
mod tests;

use output::Output;
use pool::{Job, Limits, Pool};

pub use error::{InvokeError, MAX_REQUEST_BYTES, MAX_RESPONSE_BYTES};
pub use function::{Code, Debug, FunctionSpec, FunctionState, InFlight};
pub use invocation::{Ended, Request};
pub use metrics::Metric;
pub use pool::Invocation;

/// The function host. Clones are handles of the same host. Dropping the last one stops its processes.
#[derive(Debug, Clone)]
pub struct Host {
    pool: Arc<Pool>,
    _stop_when_dropped: Arc<DropGuard>,
}

impl Host {
    /// `account_concurrency` is Lambda's limit on all functions together; on AWS it is 1,000 unless raised.
    pub fn new(functions: Vec<FunctionSpec>, region: String, account_concurrency: u32) -> Host {
        descriptors::warn_if_too_few(&functions);
        let (limits, output) = (Limits::default(), Output::stderr());
        Host::of(Pool::new(functions, region, account_concurrency, limits, output))
    }

    fn of(pool: Pool) -> Host {
        let pool = Arc::new(pool);
        let stop = Arc::new(pool.stop.clone().drop_guard());
        Host { pool, _stop_when_dropped: stop }
    }

    /// Runs the function once, in an idle process or a new one. Without a free place the call is throttled at once.
    ///
    /// Dropping the future does not stop the invocation, just as a disconnecting caller does not on Lambda.
    pub async fn invoke(&self, function: &str, payload: Bytes, trace_id: Option<String>) -> Result<Bytes, InvokeError> {
        self.call(function, Request { payload, trace_id, ..Request::default() }).await?.result
    }

    /// Runs the function once, like [`Host::invoke`], and tells more of it.
    ///
    /// # Errors
    /// The reason why the invocation was not begun: there is no such function, the payload is too large, the function
    /// is throttled, or the host stops. If it was begun, its failure is in [`Ended::result`].
    pub async fn call(&self, function: &str, request: Request) -> Result<Ended, InvokeError> {
        if request.payload.len() > MAX_REQUEST_BYTES {
            return Err(InvokeError::PayloadTooLarge { bytes: request.payload.len() });
        }
        let place = self.pool.admit(function)?;
        let (reply, ended) = oneshot::channel();
        self.pool.dispatch(Job::new(place, request, reply));
        // A job is dropped without an answer only when the tokio runtime shuts down.
        ended.await.map_err(|_| InvokeError::ShuttingDown)
    }

    /// The current state of each function, by name.
    pub fn state(&self) -> BTreeMap<String, FunctionState> {
        self.pool.state()
    }

    /// The metrics that functions have written, and those that Lambda publishes of functions (`AWS/Lambda`):
    /// `Invocations`, `Errors` and `Throttles` have the statistic `Sum`, `ConcurrentExecutions` and
    /// `ClaimedAccountConcurrency` have `Maximum`. Of a function that was never invoked there are none.
    pub fn metrics(&self) -> Vec<Metric> {
        let mut metrics = self.pool.output.metrics.all();
        metrics.extend(self.pool.metrics());
        metrics
    }

    /// The bytes that functions have written among their logs, with their metrics.
    pub fn log_bytes(&self) -> u64 {
        self.pool.output.bytes.load(Ordering::Relaxed)
    }

    /// The invocation that a process of `function` works on. `instance` is the process's id: the end of its session
    /// token, see [`FunctionSpec::environment`].
    pub fn invocation(&self, function: &str, instance: &str) -> Option<Invocation> {
        self.pool.invocation(function, instance)
    }

    /// Replaces the function's code. Running invocations finish in their own processes, and every invocation that
    /// begins after this returns gets a process of the new code. Returns false if there is no such function.
    pub fn replace_code(&self, function: &str, code: Code) -> bool {
        self.pool.replace_code(function, code)
    }

    /// Kills a process of `function` with SIGKILL, as a crash would end it. Nothing happens if there is none.
    pub fn kill(&self, function: &str, instance: &str) {
        if let Some(handle) = self.pool.find(function, instance) {
            handle.kill();
        }
    }

    /// Refuses new invocations, lets running ones finish for `grace`, then stops and reaps every process.
    pub async fn shutdown(&self, grace: Duration) {
        self.pool.close();
        let finished = tokio::time::timeout(grace, self.pool.quiet()).await;
        if finished.is_err() {
            tracing::warn!("functions: some invocations still run after {:.0} s and are stopped", grace.as_secs_f64());
        }
        let pids = self.pool.pids();
        self.pool.stop.cancel();
        process::terminate(&pids).await;
        self.pool.instances.close();
        self.pool.instances.wait().await;
        self.pool.output.flush().await;
    }
}
