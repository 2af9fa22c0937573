//! Decides which invocations may run, and where: all counters and idle lists of all functions, under one lock.
//!
//! Invariant: `in_flight` of a function is the number of its [`Place`]s that exist, and never above its limit. An
//! instance is on its idle list only while no invocation is assigned to it. There is one lock for all functions,
//! because they share the account's concurrency. It is held for a few instructions and never across an await.
//!
//! Idle lists hold handles, a handle carries jobs, a job holds a place, and a place points back to the pool. So these
//! types are in one module. `dispatch` decides where a job runs.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use bytes::Bytes;
use tokio::sync::{Notify, Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::error::InvokeError;
use super::exchange::{CallRefused, Event, RuntimeAnswer};
use super::function::{Code, Function, FunctionSpec, FunctionState, InFlight};
use super::invocation::{Ended, Request};
use super::metrics::Metric;
use super::output::Output;
use super::process::Spawner;
use super::{clock, runtime_api};

/// The part of the account's concurrency that reservations must leave to other functions, as on Lambda.
const UNRESERVED_CONCURRENCY: u32 = 100;

/// The time limits of a process.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// From the start to the first request for an event; as on Lambda.
    pub(super) init: Duration,
    /// The time without an invocation after which a process is stopped. Lambda waits some minutes too, and promises no
    /// number.
    pub(super) idle: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { init: Duration::from_secs(10), idle: Duration::from_secs(600) }
    }
}

#[derive(Debug)]
pub(super) struct Pool {
    functions: Vec<Arc<Function>>,
    /// The concurrency that the functions without a reservation share.
    unreserved: u32,
    /// The routes of the Runtime API.
    pub(super) runtime_api: Router,
    pub(super) region: String,
    pub(super) limits: Limits,
    pub(super) output: Output,
    pub(super) spawner: Spawner,
    /// Cancelled when every process has to stop.
    pub(super) stop: CancellationToken,
    /// The tasks of all instances.
    pub(super) instances: TaskTracker,
    state: Mutex<State>,
    /// Notified when the last invocation has ended.
    quiet: Notify,
}

#[derive(Debug, Default)]
struct State {
    functions: Vec<Slots>,
    in_flight: u32,
    unreserved_in_flight: u32,
    max_unreserved_in_flight: u32,
    closed: bool,
}

#[derive(Debug)]
struct Slots {
    in_flight: u32,
    max_in_flight: u32,
    invocations: u64,
    errors: u64,
    throttles: u64,
    cold_starts: u64,
    billed_ms: u64,
    /// What new processes run, and how often it has been replaced.
    code: Arc<Code>,
    build: u64,
    /// The most recently used instance is the last one. All of them run `code`.
    idle: Vec<Handle>,
    /// All instances by their id.
    by_id: HashMap<Arc<str>, Known>,
}

/// An instance as others know it.
#[derive(Debug)]
struct Known {
    handle: Handle,
    /// `None` until the process is started.
    pid: Option<u32>,
    invocation: Option<Invocation>,
}

/// An invocation that a process works on.
#[derive(Debug, Clone)]
pub struct Invocation {
    /// Lambda's id of the invocation.
    pub request_id: String,
    /// The function's event.
    pub event: Bytes,
}

impl Pool {
    pub(super) fn new(
        functions: Vec<FunctionSpec>,
        region: String,
        account_concurrency: u32,
        limits: Limits,
        output: Output,
    ) -> Pool {
        let reserved = functions.iter().filter_map(|spec| spec.concurrency).fold(0, u32::saturating_add);
        let unreserved =
            account_concurrency.saturating_sub(reserved).max(UNRESERVED_CONCURRENCY.min(account_concurrency));
        let width = functions.iter().map(|spec| spec.name.chars().count()).max().unwrap_or(0);
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let functions: Vec<_> = functions
            .into_iter()
            .enumerate()
            .map(|(index, spec)| {
                let prefix = output.prefix(&spec.name, width, index);
                let inits = Semaphore::new(if spec.debug.is_some() { 1 } else { cores * 4 });
                Arc::new(Function { spec, prefix, inits })
            })
            .collect();
        let slots = functions.iter().map(|function| Slots::new(Arc::new(function.spec.code.clone()))).collect();
        Pool {
            functions,
            unreserved,
            runtime_api: runtime_api::router(),
            region,
            limits,
            output,
            spawner: Spawner::new(),
            stop: CancellationToken::new(),
            instances: TaskTracker::new(),
            state: Mutex::new(State { functions: slots, ..State::default() }),
            quiet: Notify::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code under the lock can panic in the middle of a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn index(&self, name: &str) -> Option<usize> {
        self.functions.iter().position(|function| function.spec.name == name)
    }

    /// Takes a place for one invocation, or returns the reason why there is none.
    pub(super) fn admit(self: &Arc<Self>, name: &str) -> Result<Place, InvokeError> {
        let index = self.index(name).ok_or_else(|| InvokeError::Unknown { function: name.to_owned() })?;
        let reserved = self.functions[index].spec.concurrency;
        let mut state = self.lock();
        if state.closed {
            return Err(InvokeError::ShuttingDown);
        }
        let unreserved_in_flight = state.unreserved_in_flight;
        let slots = &mut state.functions[index];
        let (running, limit) = match reserved {
            Some(limit) => (slots.in_flight, limit),
            None => (unreserved_in_flight, self.unreserved),
        };
        if running >= limit {
            slots.throttles += 1;
            return Err(InvokeError::Throttled { function: name.to_owned(), limit });
        }
        slots.in_flight += 1;
        slots.max_in_flight = slots.max_in_flight.max(slots.in_flight);
        slots.invocations += 1;
        state.in_flight += 1;
        state.unreserved_in_flight += u32::from(reserved.is_none());
        state.max_unreserved_in_flight = state.max_unreserved_in_flight.max(state.unreserved_in_flight);
        Ok(Place { pool: Arc::clone(self), index, began: Instant::now(), failed: false, idle: None })
    }

    /// Takes the most recently used idle instance off its list.
    pub(super) fn take_idle(&self, index: usize) -> Option<Handle> {
        self.lock().functions[index].idle.pop()
    }

    pub(super) fn function(&self, index: usize) -> Arc<Function> {
        Arc::clone(&self.functions[index])
    }

    /// What a new process runs, and the number of that build.
    pub(super) fn code(&self, index: usize) -> (Arc<Code>, u64) {
        let slots = &self.lock().functions[index];
        (Arc::clone(&slots.code), slots.build)
    }

    /// Gives all processes that start from now on other code. Idle processes stop, and busy ones do once they have
    /// answered.
    pub(super) fn replace_code(&self, name: &str, code: Code) -> bool {
        let Some(index) = self.index(name) else { return false };
        let slots = &mut self.lock().functions[index];
        slots.code = Arc::new(code);
        slots.build += 1;
        for outdated in slots.idle.drain(..) {
            outdated.retire();
        }
        true
    }

    /// Makes the instance known by its id.
    pub(super) fn enlist(&self, index: usize, handle: Handle) {
        self.lock().functions[index]
            .by_id
            .insert(Arc::clone(handle.id()), Known { handle, pid: None, invocation: None });
    }

    /// The instance with this id.
    pub(super) fn find(&self, name: &str, id: &str) -> Option<Handle> {
        let index = self.index(name)?;
        Some(self.lock().functions[index].by_id.get(id)?.handle.clone())
    }

    #[cfg(test)]
    pub(super) fn ids(&self, name: &str) -> Vec<Arc<str>> {
        let index = self.index(name).expect("a function of the host");
        self.lock().functions[index].by_id.keys().cloned().collect()
    }

    /// Records the process id of an instance.
    pub(super) fn started(&self, index: usize, id: &str, pid: u32) {
        let slots = &mut self.lock().functions[index];
        slots.cold_starts += 1;
        if let Some(known) = slots.by_id.get_mut(id) {
            known.pid = Some(pid);
        }
    }

    /// Records the invocation that an instance works on.
    pub(super) fn works_on(&self, index: usize, id: &str, invocation: Option<Invocation>) {
        if let Some(known) = self.lock().functions[index].by_id.get_mut(id) {
            known.invocation = invocation;
        }
    }

    pub(super) fn invocation(&self, name: &str, id: &str) -> Option<Invocation> {
        let index = self.index(name)?;
        self.lock().functions[index].by_id.get(id)?.invocation.clone()
    }

    /// Takes an instance off the idle list. Returns false if it was not on it: an invocation is assigned to it, or
    /// about to be.
    pub(super) fn retire(&self, index: usize, id: &str) -> bool {
        let idle = &mut self.lock().functions[index].idle;
        let found = idle.iter().position(|handle| **handle.id() == *id);
        found.map(|at| idle.remove(at)).is_some()
    }

    /// Removes the instance, so that no invocation finds it any more.
    pub(super) fn forget(&self, index: usize, id: &str) {
        let slots = &mut self.lock().functions[index];
        slots.idle.retain(|handle| **handle.id() != *id);
        slots.by_id.remove(id);
    }

    pub(super) fn close(&self) {
        self.lock().closed = true;
    }

    /// Returns when no invocation is in flight.
    pub(super) async fn quiet(&self) {
        loop {
            let mut ended = std::pin::pin!(self.quiet.notified());
            // Registered before the check, or the last invocation could end in between unnoticed.
            ended.as_mut().enable();
            if self.lock().in_flight == 0 {
                return;
            }
            ended.await;
        }
    }

    pub(super) fn pids(&self) -> Vec<u32> {
        self.lock().functions.iter().flat_map(Slots::pids).collect()
    }

    pub(super) fn state(&self) -> BTreeMap<String, FunctionState> {
        let state = self.lock();
        let named = self.functions.iter().zip(&state.functions);
        named.map(|(function, slots)| (function.spec.name.clone(), slots.state(&function.spec))).collect()
    }

    /// Lambda's own metrics. A reservation counts as used.
    pub(super) fn metrics(&self) -> Vec<Metric> {
        let state = self.lock();
        let mut metrics = Vec::new();
        let mut claimed = state.max_unreserved_in_flight;
        for (Function { spec, .. }, slots) in self.functions.iter().map(|function| &**function).zip(&state.functions) {
            claimed = claimed.saturating_add(spec.concurrency.unwrap_or(0));
            if slots.invocations + slots.throttles == 0 {
                continue;
            }
            let name = spec.arn.rsplit(':').next().unwrap_or(&spec.arn);
            let of = |metric, statistic, value| {
                Metric::of("AWS/Lambda", metric, Some(("FunctionName", name)), (statistic, value))
            };
            metrics.extend([
                of("Invocations", "Sum", slots.invocations as f64),
                of("Errors", "Sum", slots.errors as f64),
                of("Throttles", "Sum", slots.throttles as f64),
                of("ConcurrentExecutions", "Maximum", slots.max_in_flight.into()),
            ]);
        }
        metrics.push(Metric::of("AWS/Lambda", "ClaimedAccountConcurrency", None, ("Maximum", claimed.into())));
        metrics
    }
}

impl Slots {
    fn new(code: Arc<Code>) -> Slots {
        Slots {
            in_flight: 0,
            max_in_flight: 0,
            invocations: 0,
            errors: 0,
            throttles: 0,
            cold_starts: 0,
            billed_ms: 0,
            code,
            build: 0,
            idle: Vec::new(),
            by_id: HashMap::new(),
        }
    }

    fn pids(&self) -> impl Iterator<Item = u32> {
        self.by_id.values().filter_map(|known| known.pid)
    }

    fn state(&self, spec: &FunctionSpec) -> FunctionState {
        let mut pids: Vec<_> = self.pids().collect();
        pids.sort_unstable();
        FunctionState {
            pids,
            invocations: self.invocations,
            errors: self.errors,
            throttles: self.throttles,
            cold_starts: self.cold_starts,
            in_flight: InFlight { now: self.in_flight, max: self.max_in_flight, limit: spec.concurrency },
            memory_mb: spec.memory_mb,
            billed_ms: self.billed_ms,
        }
    }
}

/// The right to run one invocation. Dropping it gives it back.
#[derive(Debug)]
pub(super) struct Place {
    pool: Arc<Pool>,
    index: usize,
    began: Instant,
    failed: bool,
    /// The instance to make idle in the same step, so that the next holder of this place finds it.
    idle: Option<Handle>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let unreserved = self.pool.functions[self.index].spec.concurrency.is_none();
        let mut state = self.pool.lock();
        state.in_flight -= 1;
        state.unreserved_in_flight -= u32::from(unreserved);
        let last = state.in_flight == 0;
        let slots = &mut state.functions[self.index];
        slots.in_flight -= 1;
        slots.errors += u64::from(self.failed);
        // Lambda bills each begun millisecond.
        slots.billed_ms += self.began.elapsed().as_micros().div_ceil(1000) as u64;
        match self.idle.take() {
            Some(outdated) if outdated.build != slots.build => outdated.retire(),
            current => slots.idle.extend(current),
        }
        drop(state);
        if last {
            self.pool.quiet.notify_waiters();
        }
    }
}

/// An admitted invocation.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) request_id: String,
    pub(super) payload: Bytes,
    pub(super) trace_id: String,
    pub(super) client_context: Option<String>,
    /// Whether the caller wants the log.
    pub(super) log_wanted: bool,
    pub(super) log: Option<Vec<u8>>,
    place: Place,
    reply: oneshot::Sender<Ended>,
}

impl Job {
    /// The index of the job's function.
    pub(super) fn index(&self) -> usize {
        self.place.index
    }

    pub(super) fn new(place: Place, request: Request, reply: oneshot::Sender<Ended>) -> Box<Job> {
        let Request { payload, request_id, trace_id, client_context, log } = request;
        let request_id = request_id.unwrap_or_else(|| clock::new_id().to_string());
        let trace_id = trace_id.unwrap_or_else(clock::unsampled_trace_header);
        Box::new(Job { request_id, payload, trace_id, client_context, log_wanted: log, log: None, place, reply })
    }

    /// Ends the invocation: first gives its place back, then sends the result to the caller.
    pub(super) fn finish(self, result: Result<Bytes, InvokeError>, idle: Option<Handle>) {
        let Job { mut place, reply, log, .. } = self;
        place.failed = !matches!(result, Ok(_) | Err(InvokeError::ShuttingDown));
        place.idle = idle;
        drop(place);
        let _ = reply.send(Ended { result, log }); // The caller may be gone.
    }
}

/// The sender for the answer to a message.
pub(super) type Reply<T> = oneshot::Sender<Result<T, CallRefused>>;

/// A message to an instance.
#[derive(Debug)]
pub(super) enum Message {
    Assign(Box<Job>),
    Next(Reply<Event>),
    Answer {
        request_id: String,
        answer: RuntimeAnswer,
        reply: Reply<()>,
    },
    InitError {
        report: String,
        reply: Reply<()>,
    },
    /// The process is to stop, because its code is outdated. It is not on the idle list, so no invocation follows.
    Retire,
    /// The process is to die now, as in a crash.
    Kill,
}

/// A sender to an instance's task. It is cheap to clone, and does not show whether the instance is still alive.
#[derive(Debug, Clone)]
pub(super) struct Handle {
    id: Arc<str>,
    /// The build that its process runs.
    build: u64,
    messages: mpsc::UnboundedSender<Message>,
}

impl Handle {
    /// The handle of a new instance, and the receiver of its messages.
    pub(super) fn new(build: u64) -> (Handle, mpsc::UnboundedReceiver<Message>) {
        let (messages, inbox) = mpsc::unbounded_channel();
        (Handle { id: clock::new_id().simple().to_string().into(), build, messages }, inbox)
    }

    pub(super) fn id(&self) -> &Arc<str> {
        &self.id
    }

    /// Assigns a job to an instance that the caller has just taken off the idle list. Returns the job if the instance
    /// is gone.
    pub(super) fn assign(&self, job: Box<Job>) -> Result<(), Box<Job>> {
        self.messages.send(Message::Assign(job)).map_err(|refused| match refused.0 {
            Message::Assign(job) => job,
            _ => unreachable!("what was sent is given back"),
        })
    }

    /// Waits for the next event.
    pub(super) async fn next(&self) -> Result<Event, CallRefused> {
        self.ask(Message::Next).await.unwrap_or(Err(CallRefused::State))
    }

    pub(super) async fn answer(&self, request_id: String, answer: RuntimeAnswer) -> Result<(), CallRefused> {
        let message = |reply| Message::Answer { request_id, answer, reply };
        self.ask(message).await.unwrap_or(Err(CallRefused::RequestId))
    }

    pub(super) async fn init_error(&self, report: String) -> Result<(), CallRefused> {
        self.ask(|reply| Message::InitError { report, reply }).await.unwrap_or(Err(CallRefused::State))
    }

    fn retire(&self) {
        let _ = self.messages.send(Message::Retire); // It may be dead already.
    }

    pub(super) fn kill(&self) {
        let _ = self.messages.send(Message::Kill); // It may be dead already.
    }

    /// Returns `None` if the instance is gone, or ends before it answers.
    async fn ask<T>(&self, message: impl FnOnce(Reply<T>) -> Message) -> Option<Result<T, CallRefused>> {
        let (reply, answer) = oneshot::channel();
        self.messages.send(message(reply)).ok()?;
        answer.await.ok()
    }
}
