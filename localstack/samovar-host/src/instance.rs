//! One instance of a function: a process, and the task that owns it.
//!
//! Invariant: the task holds at most one invocation and hands it out at most once. It ends only after its process is
//! reaped and the invocation is settled; an invocation that the process never received is passed on instead. Everything
//! that concerns the process (invocations, its calls to the Runtime API, its exit, its deadline) comes to this one
//! task, one after the other. So none of it needs a lock, and the order of these events can never leave two of them in
//! disagreement.

use std::io;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::process::Child;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::error::{InvokeError, MAX_RESPONSE_BYTES};
use super::exchange::{CallRefused, Event, RuntimeAnswer};
use super::function::{Code, Debug, Function};
use super::output::{self, Tail};
use super::pool::{Handle, Invocation, Job, Limits, Message, Pool, Reply};
use super::process::{self, Program, Started};
use super::{clock, debug, environment, runtime_api};

/// The time between an init error report and the process's own exit, so that its last output is not lost.
const INIT_ERROR_GRACE: Duration = Duration::from_millis(500);
/// The time between SIGTERM and SIGKILL. Lambda gives the same time to a function with an internal extension.
const TERMINATE_GRACE: Duration = Duration::from_millis(500);
/// The time that output may take to arrive after the exit. A subprocess may hold the pipe open for ever.
const OUTPUT_GRACE: Duration = Duration::from_millis(100);

/// The state of the process, as far as its calls have shown it.
#[derive(Debug)]
enum Phase {
    Starting,
    /// It has reported an init error and should exit.
    Failing(String),
    /// It has asked for an event.
    Polling(Reply<Event>),
    Working(Box<Job>),
    /// It has answered, but not asked for the next event yet.
    Answered,
}

/// The reason why the task stops serving its process.
#[derive(Debug)]
enum StopReason {
    Exited(ExitStatus),
    /// The deadline of the phase has passed.
    Overdue,
    /// The process was idle for too long, or its code is outdated.
    Retired,
    /// The host stops.
    Stopped,
}

#[derive(Debug)]
pub(super) struct Instance {
    pool: Arc<Pool>,
    function: Arc<Function>,
    code: Arc<Code>,
    index: usize,
    handle: Handle,
    inbox: mpsc::UnboundedReceiver<Message>,
    phase: Phase,
    /// An invocation that is assigned but not handed out yet.
    parked: Option<Box<Job>>,
    deadline: Instant,
    tail: Tail,
    /// When the process got its last event.
    handed_out: Option<Instant>,
    limits: Limits,
    /// The process, while it has to wait for a debugger.
    awaited: Option<u32>,
}

/// A started process and its output.
struct Process {
    child: Child,
    pid: u32,
    copying: JoinHandle<()>,
    caught_up: mpsc::UnboundedSender<oneshot::Sender<()>>,
    /// Serves the Runtime API of this process. Its end closes the listener and every connection.
    runtime_api: AbortOnDropHandle<()>,
}

impl Instance {
    pub(super) fn new(pool: Arc<Pool>, function: Arc<Function>, index: usize) -> Instance {
        let (code, build) = pool.code(index);
        let (handle, inbox) = Handle::new(build);
        let limits = match function.spec.debug {
            None => pool.limits,
            Some(_) => Limits { init: function.spec.timeout, idle: function.spec.timeout },
        };
        let deadline = Instant::now() + limits.init;
        let phase = Phase::Starting;
        let tail = Tail::default();
        Instance {
            pool,
            function,
            code,
            index,
            handle,
            inbox,
            phase,
            parked: None,
            deadline,
            limits,
            tail,
            handed_out: None,
            awaited: None,
        }
    }

    pub(super) fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// The instance's whole life.
    pub(super) async fn run(mut self, first: Box<Job>) {
        self.parked = Some(first);
        let stop = self.pool.stop.clone();
        let function = Arc::clone(&self.function);
        let mut init = tokio::select! {
            biased;
            () = stop.cancelled() => return self.settle(Err(InvokeError::ShuttingDown)),
            permit = function.inits.acquire() => permit.ok(),
        };
        let mut process = match self.start().await {
            Ok(process) => process,
            Err(error) => {
                let reason = format!("the process could not be started: {error}");
                tracing::error!("{}: {reason}", self.name());
                return self.settle(Err(InvokeError::InitFailed { reason, output: String::new() }));
            }
        };
        self.pool.started(self.index, self.handle.id(), process.pid);

        // The time spent waiting for the semaphore and the spawner does not count against the function.
        self.deadline = Instant::now() + self.limits.init;
        self.await_debugger(process.pid);
        let end = loop {
            if !matches!(self.phase, Phase::Starting | Phase::Failing(_)) && self.function.spec.debug.is_none() {
                init = None;
            }
            tokio::select! {
                // A response that has arrived counts, even if the process has exited or its time has run out meanwhile.
                biased;
                Some(message) = self.inbox.recv() => match message {
                    Message::Kill => self.kill(&mut process),
                    Message::Retire => break StopReason::Retired,
                    message => {
                        let begins = match &message {
                            Message::Assign(job) => Some(job),
                            Message::Next(_) => self.parked.as_ref(),
                            _ => None,
                        };
                        // Otherwise the last lines of the invocation before could come after its log has been cleared.
                        if begins.is_some_and(|job| job.log_wanted) {
                            self.catch_up(&process).await;
                        }
                        if matches!(message, Message::Answer { .. }) {
                            self.take_log(&process).await;
                        }
                        self.handle_message(message);
                    }
                },
                status = process.child.wait() => break StopReason::Exited(status.unwrap_or_default()),
                () = tokio::time::sleep_until(self.deadline) => match self.overdue() {
                    Some(end) => break end,
                    None => continue,
                },
                () = debug::attached(self.awaited), if self.awaited.is_some() => {
                    self.awaited = None;
                    self.hand_out();
                }
                () = stop.cancelled() => break StopReason::Stopped,
            }
        };
        if self.function.spec.debug.is_none() {
            init = None;
        }
        let failure = self.end(end, &mut process).await;
        process.runtime_api.abort();
        let _ = process.runtime_api.await;
        drop(init);
        self.settle(failure);
    }

    /// Tells the developer of the new process, if it is debugged.
    fn await_debugger(&mut self, pid: u32) {
        match self.function.spec.debug {
            None => {}
            Some(Debug::Listening { port }) => {
                tracing::info!("{}: process {pid} waits for a debugger at 127.0.0.1:{port}", self.name());
            }
            Some(Debug::UntilAttached) => {
                let hint = debug::hint();
                tracing::info!(
                    "{}: process {pid} waits for a debugger: gdb -p {pid}, or lldb -p {pid}{hint}",
                    self.name()
                );
                self.awaited = Some(pid).filter(|_| debug::CAN_TELL);
            }
        }
    }

    fn name(&self) -> &str {
        &self.function.spec.name
    }

    async fn start(&self) -> io::Result<Process> {
        let spec = &self.function.spec;
        let Code { program, args, task_root, .. } = &*self.code;
        let (listener, address) = runtime_api::bind().await?;
        let environment = environment::of(spec, &self.code, &self.pool.region, address, self.handle.id());
        let program = Program { path: program, args, directory: task_root, environment };
        let Started { child, output } = self.pool.spawner.start(program).await?;
        let (prefix, all, tail) = (self.function.prefix.clone(), self.pool.output.clone(), self.tail.clone());
        let (caught_up, asked) = mpsc::unbounded_channel();
        let copying = tokio::spawn(output::copy(output, prefix, all, tail, asked));
        let calls = runtime_api::serve(
            listener,
            self.pool.runtime_api.clone(),
            Arc::clone(&self.function),
            self.handle.clone(),
        );
        let runtime_api = AbortOnDropHandle::new(tokio::spawn(calls));
        Ok(Process { pid: child.id().unwrap_or_default(), child, copying, caught_up, runtime_api })
    }

    fn handle_message(&mut self, message: Message) {
        match message {
            Message::Assign(job) => {
                debug_assert!(self.parked.is_none(), "only an idle instance is assigned an invocation");
                self.parked = Some(job);
                // While the process has not asked again, the deadline of the previous invocation stands.
                self.hand_out();
            }
            Message::Next(reply) => match self.phase {
                Phase::Working(_) | Phase::Failing(_) => drop(reply.send(Err(CallRefused::State))),
                // A second poll replaces the first one: either the first one's connection was lost, or its answer is no
                // longer needed.
                Phase::Starting | Phase::Polling(_) | Phase::Answered => {
                    self.phase = Phase::Polling(reply);
                    self.deadline = Instant::now() + self.limits.idle;
                    self.hand_out();
                }
            },
            Message::Answer { request_id, answer, reply } => {
                let verdict = self.answered(&request_id, answer);
                let _ = reply.send(verdict);
            }
            // The loop of `run` handles these.
            Message::Kill | Message::Retire => {}
            Message::InitError { report, reply } => {
                let starting = matches!(self.phase, Phase::Starting);
                if starting {
                    self.phase = Phase::Failing(report);
                    self.deadline = Instant::now() + INIT_ERROR_GRACE;
                }
                let _ = reply.send(if starting { Ok(()) } else { Err(CallRefused::State) });
            }
        }
    }

    fn kill(&self, process: &mut Process) {
        if let Err(error) = process.child.start_kill() {
            tracing::debug!("{}: process {} could not be killed: {error}", self.name(), process.pid);
        }
    }

    /// Brings a parked invocation and a poll together, once both are there.
    fn hand_out(&mut self) {
        if self.parked.is_none() || !matches!(self.phase, Phase::Polling(_)) || self.awaited.is_some() {
            return;
        }
        let phase = std::mem::replace(&mut self.phase, Phase::Answered);
        let (Phase::Polling(poll), Some(job)) = (phase, self.parked.take()) else {
            unreachable!("both were there");
        };
        let timeout = self.function.spec.timeout;
        let now = Instant::now();
        self.deadline = now + timeout;
        if self.handed_out.replace(now).is_some() {
            self.tail.clear_log();
        }
        let event = Event {
            request_id: job.request_id.clone(),
            trace_id: job.trace_id.clone(),
            client_context: job.client_context.clone(),
            deadline_epoch_ms: (clock::since_epoch() + timeout).as_millis(),
            payload: job.payload.clone(),
        };
        let invocation = Invocation { request_id: job.request_id.clone(), event: job.payload.clone() };
        match poll.send(Ok(event)) {
            Ok(()) => {
                self.pool.works_on(self.index, self.handle.id(), Some(invocation));
                self.phase = Phase::Working(job);
            }
            // The poll's connection was closed. The invocation waits for the next poll, or for the process's exit.
            Err(_) => self.parked = Some(job),
        }
    }

    /// Waits until all that the process has written so far is in its log.
    async fn catch_up(&self, process: &Process) {
        let (sign, caught_up) = oneshot::channel();
        if process.caught_up.send(sign).is_ok() {
            // A slow terminal slows down the copying.
            let _ = timeout(OUTPUT_GRACE, caught_up).await;
        }
    }

    /// Keeps the log of the current invocation with it, if its caller wants it.
    async fn take_log(&mut self, process: &Process) {
        let Some(took) = self.handed_out.map(|since| since.elapsed()) else { return };
        if !matches!(&self.phase, Phase::Working(job) if job.log_wanted) {
            return;
        }
        self.catch_up(process).await;
        let Phase::Working(job) = &mut self.phase else { return };
        let (id, memory_mb) = (&job.request_id, self.function.spec.memory_mb);
        let mut log = format!("START RequestId: {id} Version: $LATEST\n").into_bytes();
        log.extend(self.tail.log());
        let (millis, billed_ms) = (took.as_secs_f64() * 1e3, took.as_micros().div_ceil(1000));
        let report = format!(
            "END RequestId: {id}\nREPORT RequestId: {id}\tDuration: {millis:.2} ms\tBilled Duration: {billed_ms} ms\t\
             Memory Size: {memory_mb} MB\n"
        );
        log.extend_from_slice(report.as_bytes());
        job.log = Some(output::end_of(&log).to_vec());
    }

    fn answered(&mut self, request_id: &str, answer: RuntimeAnswer) -> Result<(), CallRefused> {
        match std::mem::replace(&mut self.phase, Phase::Answered) {
            Phase::Working(job) if job.request_id == request_id => {
                let result = match answer {
                    RuntimeAnswer::Response(payload) => Ok(payload),
                    RuntimeAnswer::Error(payload) => Err(InvokeError::FunctionError { payload }),
                    RuntimeAnswer::TooLarge(bytes) => Err(InvokeError::FunctionError { payload: too_large(bytes) }),
                };
                self.pool.works_on(self.index, self.handle.id(), None);
                job.finish(result, Some(self.handle.clone()));
                Ok(())
            }
            other => {
                self.phase = other;
                Err(CallRefused::RequestId)
            }
        }
    }

    /// Handles the end of the current phase's time.
    fn overdue(&mut self) -> Option<StopReason> {
        if !matches!(self.phase, Phase::Polling(_)) {
            return Some(StopReason::Overdue);
        }
        if self.pool.retire(self.index, self.handle.id()) {
            return Some(StopReason::Retired);
        }
        // Another task has just taken the instance off the idle list, so an invocation is on its way.
        self.deadline = Instant::now() + self.limits.idle;
        None
    }

    /// Ends the process, logs the reason, and returns the outcome of the invocation that it was working on.
    async fn end(&mut self, end: StopReason, process: &mut Process) -> Result<(), InvokeError> {
        let stopping = matches!(end, StopReason::Stopped | StopReason::Retired);
        if matches!(end, StopReason::Retired) {
            process::terminate(&[process.pid]).await;
        }
        // At shutdown the host has already sent SIGTERM to all processes.
        let stopped = stopping && timeout(TERMINATE_GRACE, process.child.wait()).await.is_ok();
        if !stopped && !matches!(end, StopReason::Exited(_)) {
            // This returns once the process is dead and reaped.
            if let Err(error) = process.child.kill().await {
                tracing::error!("{}: process {} could not be killed: {error}", self.name(), process.pid);
            }
        }
        let _ = timeout(OUTPUT_GRACE, &mut process.copying).await;
        self.take_log(process).await;

        let (name, pid) = (self.name(), process.pid);
        match (end, &self.phase) {
            (StopReason::Stopped, _) => Err(InvokeError::ShuttingDown),
            (StopReason::Exited(status), Phase::Working(_)) => {
                tracing::warn!("{name}: process {pid} exited during an invocation with {status}");
                Err(InvokeError::Crashed { status })
            }
            (StopReason::Exited(status), Phase::Polling(_) | Phase::Answered) => {
                tracing::warn!("{name}: process {pid} exited while idle with {status}");
                Ok(())
            }
            (StopReason::Overdue, Phase::Working(_)) => {
                let after = self.function.spec.timeout;
                tracing::warn!(
                    "{name}: an invocation timed out after {:.2} s, so process {pid} was killed",
                    after.as_secs_f64()
                );
                Err(InvokeError::TimedOut { after })
            }
            (StopReason::Overdue, Phase::Answered) => {
                tracing::warn!(
                    "{name}: process {pid} answered, but did not ask for the next event within its timeout, \
                     and was killed"
                );
                Ok(())
            }
            (_, Phase::Failing(report)) => Err(self.init_failed(report.clone(), process)),
            (StopReason::Exited(status), Phase::Starting) => {
                Err(self.init_failed(format!("the process exited with {status}"), process))
            }
            (_, Phase::Starting) => {
                let limit = self.limits.init.as_secs_f64();
                Err(self.init_failed(format!("the process did not ask for an event within {limit:.0} s"), process))
            }
            // Only an instance without an invocation, and already off the idle list, is retired.
            (StopReason::Retired | StopReason::Overdue, _) => Ok(()),
        }
    }

    fn init_failed(&self, reason: String, process: &Process) -> InvokeError {
        tracing::error!("{}: process {} did not start: {reason}", self.name(), process.pid);
        InvokeError::InitFailed { reason, output: self.tail.text() }
    }

    /// Leaves the pool and settles the invocations that are left here. `failure` is the result of the invocation that
    /// the process had received or was started for. An invocation that the process never saw goes to another instance.
    fn settle(mut self, failure: Result<(), InvokeError>) {
        self.pool.forget(self.index, self.handle.id());
        self.inbox.close();
        while let Ok(message) = self.inbox.try_recv() {
            // All other messages come from the process, which is gone. Their senders see that the reply is dropped.
            if let Message::Assign(job) = message {
                self.parked = Some(job);
            }
        }
        let working = match std::mem::replace(&mut self.phase, Phase::Answered) {
            Phase::Working(job) => Some(job),
            Phase::Starting | Phase::Failing(_) => {
                let mut job = self.parked.take();
                if let Some(job) = job.as_mut().filter(|job| job.log_wanted) {
                    job.log = Some(output::end_of(&self.tail.log()).to_vec());
                }
                job
            }
            Phase::Polling(_) | Phase::Answered => None,
        };
        if let Some(job) = self.parked.take() {
            match &failure {
                Err(InvokeError::ShuttingDown) => job.finish(Err(InvokeError::ShuttingDown), None),
                _ => self.pool.dispatch(job),
            }
        }
        if let (Some(job), Err(error)) = (working, failure) {
            job.finish(Err(error), None);
        }
    }
}

/// The response that a caller of Lambda gets in place of one above the limit.
fn too_large(bytes: usize) -> Bytes {
    let message = format!(
        "Response payload size ({bytes} bytes) exceeded maximum allowed payload size ({MAX_RESPONSE_BYTES} bytes)."
    );
    let error = serde_json::json!({"errorMessage": message, "errorType": "Function.ResponseSizeTooLarge"});
    error.to_string().into()
}
