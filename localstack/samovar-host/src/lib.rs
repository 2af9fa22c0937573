#![doc = include_str!("../README.md")]
//!
//! # Inside
//!
//! A function is the same program here and on Lambda. It asks `…/runtime/invocation/next` for an event, posts the answer to
//! `…/invocation/{id}/response` or `…/error`, and asks again. This crate is the other side of that conversation, and the
//! scheduler that decides which process gets an event, when a new process is started and when one is killed.
//!
//! ## Why it is correct
//!
//! Two things hold all the state there is: the `pool`, one lock over all counters and the lists of idle instances, and
//! for every process one task, its `instance`, which alone owns the child, the invocation it works on and its deadline.
//!
//! *Never more invocations than the limit.* Whoever wants to invoke takes a `pool::Place`, under the lock that also
//! compares the count with the limit and records the highest count. A place is a value that is moved, never copied, along
//! with its invocation, and gives itself back, under the same lock, when dropped. So the count is the number of places that
//! exist, and an invocation that is lost on whatever path cannot keep its place. An invocation cut off by timeout or
//! shutdown gives its place back only once its process has been reaped, so even code that should no longer run is counted.
//!
//! *Never two invocations in one process.* An instance is on the idle list only while it has no invocation; taking it from
//! the list and putting it back happen under the lock, so one invocation at a time is sent to it. And it hands an event out
//! only as the answer to a poll, each poll being consumed by one event: a process which does not ask gets nothing.
//!
//! *A response answers its own invocation or none.* Every instance has a base path of its own, with an unguessable id, so a
//! process can only speak to its own task. The task knows the one request id it is waiting for and compares; when the
//! invocation is settled, by response, timeout or death, the id is gone with it. A late response finds no such id (400).
//!
//! *A death fails one invocation at most.* Only an invocation that has been handed out fails with its process. One still
//! parked at an idle instance that turns out to be dead was never begun, and goes to another instance with its place.
//!
//! *Processes do not exceed the limit either.* A new one is started only when none is idle, so at that moment every live
//! instance is held by an invocation with a place. (One that is being stopped for idleness runs nothing and is not counted.)
//!
//! A response frees the place and makes the instance idle at once, before the caller learns of it: a caller that invokes
//! again at once is never throttled by its own last call. The next event may then be parked for the moment until the process
//! polls again. The timeout covers that moment too, as it does on Lambda.
//!
//! ## What differs from Lambda
//!
//! The memory size is told to the function but not enforced. Init is tried once, for at most 10 s; Lambda would try again
//! within the invocation. Extensions may register (which `spawn_graceful_shutdown_handler` needs) but get no events.
//! A streamed response is collected before it is returned. Subprocesses of a function are its own affair.
#![warn(missing_docs)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio_util::sync::DropGuard;

mod clock;
mod descriptors;
mod dispatch;
mod environment;
mod error;
pub mod event_source;
mod exchange;
mod function;
mod instance;
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
pub use function::{FunctionSpec, FunctionState, InFlight};
pub use metrics::{Statistic, Statistics};

/// The function host. Clones are handles of one host; when the last is dropped, its processes are stopped.
#[derive(Debug, Clone)]
pub struct Host {
    pool: Arc<Pool>,
    _stop_when_dropped: Arc<DropGuard>,
}

impl Host {
    /// `runtime_api` is the `ADDRESS:PORT` where the caller serves [`Host::router`].
    ///
    /// `account_concurrency` is Lambda's limit on all functions together, 1,000 unless raised.
    pub fn new(functions: Vec<FunctionSpec>, runtime_api: String, region: String, account_concurrency: u32) -> Host {
        descriptors::warn_if_too_few(&functions);
        let (limits, output) = (Limits::default(), Output::stderr());
        Host::of(Pool::new(functions, runtime_api, region, account_concurrency, limits, output))
    }

    fn of(pool: Pool) -> Host {
        let pool = Arc::new(pool);
        let stop = Arc::new(pool.stop.clone().drop_guard());
        Host { pool, _stop_when_dropped: stop }
    }

    /// The Runtime API for the function processes, below the path `/_runtime`.
    pub fn router(&self) -> axum::Router {
        runtime_api::router(Arc::clone(&self.pool))
    }

    /// Runs the function once, in an idle process or a new one; throttled at once if it has no place left.
    ///
    /// Dropping the future does not stop the invocation, as hanging up on Lambda does not.
    pub async fn invoke(&self, function: &str, payload: Bytes, trace_id: Option<String>) -> Result<Bytes, InvokeError> {
        if payload.len() > MAX_REQUEST_BYTES {
            return Err(InvokeError::PayloadTooLarge { bytes: payload.len() });
        }
        let place = self.pool.admit(function)?;
        let (reply, result) = oneshot::channel();
        self.pool.dispatch(Job::new(place, payload, trace_id, reply));
        // Jobs are dropped unanswered only when the runtime goes down.
        result.await.unwrap_or(Err(InvokeError::ShuttingDown))
    }

    /// What each function is doing, by name.
    pub fn state(&self) -> BTreeMap<String, FunctionState> {
        self.pool.state()
    }

    /// What functions have measured, by function and metric.
    pub fn metrics(&self) -> Statistics {
        self.pool.output.metrics.statistics()
    }

    /// Refuses new invocations, lets running ones finish for `grace`, then stops and reaps every process.
    pub async fn shutdown(&self, grace: Duration) {
        self.pool.close();
        let finished = tokio::time::timeout(grace, self.pool.quiet()).await;
        if finished.is_err() {
            tracing::warn!("functions: still running after {:.0} s, stopping them", grace.as_secs_f64());
        }
        let pids = self.pool.pids();
        self.pool.stop.cancel();
        process::terminate(&pids).await;
        self.pool.instances.close();
        self.pool.instances.wait().await;
        self.pool.output.flush().await;
    }
}
