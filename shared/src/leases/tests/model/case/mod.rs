//! Runs a case: up to three operations are in flight, each held at its next call until it is let go. `making.rs`
//! decides what happens next, and `judging.rs` checks the result.

mod judging;
mod making;

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use samovar_services::faults::{Fault, Heard};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::expected::describe;
use super::gate::{Event, Gate, Held, lane_name};
use super::operation::Operation;
use super::rules::{Broken, Write, rule};
use super::tape::Tape;
use crate::clock::{Clock as _, Timestamp};
use crate::testing::{Function, START, Snapshot, Stack, conversation, message_id, servers};
use judging::Seen;
use making::{LONG, Next};

const LANES: usize = 3;
const USERS: usize = 5;
/// The number of conversations of each user.
const TALKS: u32 = 2;
/// In real time. A case takes some hundred milliseconds.
const STUCK_AFTER: Duration = Duration::from_secs(30);
/// No operation needs this many. One that gives up makes about sixty.
const MAX_CALLS: usize = 200;

/// Whether calls may fail in a case.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mood {
    pub(super) faults: bool,
}

#[derive(Debug)]
pub(super) struct Case {
    stack: Stack,
    tape: Tape,
    /// The percentage of calls that fail.
    fault_percent: usize,
    lanes: Vec<Function>,
    running: Vec<Option<Running>>,
    events: mpsc::UnboundedReceiver<Event>,
    gate: Arc<Gate>,
    state: Snapshot,
    /// Users by number, with their connections so far.
    connections: Vec<(usize, String)>,
    started: usize,
    pub(super) history: Vec<String>,
}

/// An operation in flight, with what was seen since it began.
#[derive(Debug)]
struct Running {
    number: usize,
    calls: usize,
    operation: Operation,
    task: JoinHandle<()>,
    held: Option<Held>,
    started_at: Timestamp,
    /// The time at which the operation built its latest request.
    decided_at: Timestamp,
    /// The operation whose call failed last.
    retrying: Option<String>,
    /// From now on, all its writes meet other writes.
    contended: bool,
    /// A fault was injected.
    faulted: bool,
    /// Nothing else has happened since it began.
    alone: bool,
    before: Snapshot,
    seen: Seen,
}

impl Case {
    pub(super) fn new(numbers: &[u32], mood: Mood) -> Self {
        let mut tape = Tape::of(numbers);
        let max_clients = *tape.one_of(&[3, 2, 1]);
        let (lease, first) = *tape.one_of(&[(60, 10), (10, 60)]);
        let mut stack = Stack::start(max_clients, Duration::from_secs(lease), Duration::from_secs(first));
        stack.limits.max_pending_per_client = 2;
        for number in 0..USERS as u32 {
            stack.make_conversations(&format!("u{number}"), TALKS * number..TALKS * (number + 1));
        }
        let state = stack.snapshot();
        let attempts = *tape.one_of(&[1, 3]);
        let fault_percent = if mood.faults { *tape.one_of(&[10, 30]) } else { 0 };
        let seed = tape.below(usize::MAX) as u64;
        let (sender, events) = mpsc::unbounded_channel();
        let gate = Arc::new(Gate { events: sender });
        stack.services.faults.install(gate.clone());
        let lanes = (0..LANES).map(|lane| stack.function(&lane_name(lane), attempts, seed + lane as u64)).collect();
        let running = (0..LANES).map(|_| None).collect();
        let first_line = format!(
            "{max_clients} slots, {lease} s, first message within {first} s, {attempts} tries, {fault_percent} % faults"
        );
        Self {
            stack,
            tape,
            fault_percent,
            lanes,
            running,
            events,
            gate,
            state,
            connections: Vec::new(),
            started: 0,
            history: vec![first_line],
        }
    }

    /// How much of the tape has been read.
    pub(super) fn used(&self) -> usize {
        self.tape.used()
    }

    pub(super) async fn run(&mut self) -> Result<(), Broken> {
        while !self.tape.is_spent() {
            self.step().await?;
        }
        self.come_to_rest().await
    }

    async fn step(&mut self) -> Result<(), Broken> {
        let flying: Vec<usize> = (0..LANES).filter(|&lane| self.running[lane].is_some()).collect();
        let free = (0..LANES).find(|&lane| self.running[lane].is_none());
        let next = self.any_next(flying.is_empty(), free.is_none());
        if !flying.is_empty()
            && let Some(moment) = self.any_moment_between()
        {
            self.let_pass(moment)?;
        }
        match next {
            Next::Alone => {
                let operation = self.any_operation();
                self.run_alone(operation).await
            }
            Next::Start => {
                let operation = self.any_operation();
                self.start(free.unwrap_or(0), operation).await
            }
            Next::Advance => {
                let lane = *self.tape.one_of(&flying);
                let fate = self.any_fate(lane);
                if let Some(running) = &mut self.running[lane] {
                    running.contended |= fate.contended_for_good;
                }
                self.advance(lane, fate.fault).await
            }
            Next::PassTime => {
                let by = self.any_time();
                self.let_pass(by)
            }
        }
    }

    async fn run_alone(&mut self, operation: Operation) -> Result<(), Broken> {
        self.start(0, operation).await?;
        self.complete(0).await
    }

    async fn complete(&mut self, lane: usize) -> Result<(), Broken> {
        while self.running[lane].is_some() {
            self.advance(lane, Some(Fault::none())).await?;
        }
        Ok(())
    }

    fn let_pass(&mut self, by: Duration) -> Result<(), Broken> {
        self.stack.clock.advance(by);
        self.log(format!("{} ms pass", by.as_millis()));
        for running in self.running.iter_mut().flatten() {
            running.alone = false;
        }
        self.look()
    }

    async fn start(&mut self, lane: usize, operation: Operation) -> Result<(), Broken> {
        let number = self.started;
        self.started += 1;
        self.log(format!("#{number} {operation}"));
        for other in self.running.iter_mut().flatten() {
            other.alone = false;
        }
        let alone = self.running.iter().all(Option::is_none);
        let (function, limits, events) = (self.lanes[lane].clone(), self.stack.limits, self.gate.events.clone());
        let task = tokio::spawn({
            let operation = operation.clone();
            async move {
                let outcome = std::panic::AssertUnwindSafe(operation.run(&function, &limits)).catch_unwind().await;
                let _ = events.send(Event::Finished { lane, outcome: outcome.ok() });
            }
        });
        let now = self.now();
        let free = (0..self.stack.config.max_clients).filter(|&slot| self.state.is_free(slot, now)).collect();
        self.running[lane] = Some(Running {
            number,
            calls: 0,
            operation,
            task,
            held: None,
            started_at: now,
            decided_at: now,
            retrying: None,
            contended: false,
            faulted: false,
            alone,
            before: self.state.clone(),
            seen: Seen::beginning(free),
        });
        self.observe();
        self.wait(lane).await
    }

    /// Lets a lane's call go, and waits for its result.
    async fn advance(&mut self, lane: usize, fault: Option<Fault>) -> Result<(), Broken> {
        let now = self.now();
        let Some(running) = &mut self.running[lane] else { return Ok(()) };
        let Some(held) = running.held.take() else { return Err("Nothing is held".to_owned()) };
        let (number, operation, write) = (running.number, held.operation.clone(), held.is_write());
        let Some(fault) = fault else {
            self.log(format!("    #{number} {operation}: dies before it"));
            drop(held);
            return self.kill(lane).await;
        };
        let (executed, dies) = (!fault.dropped, matches!(fault.heard, Heard::Nothing));
        running.retrying = (!matches!(fault.heard, Heard::TheAnswer)).then(|| operation.clone());
        running.faulted |= running.retrying.is_some();
        running.alone &= !running.faulted;
        let what = match &fault.heard {
            _ if dies => "dies after it".to_owned(),
            Heard::Instead(answer) => {
                format!("executed: {executed}, hears {} {}", answer.status, String::from_utf8_lossy(&answer.body))
            }
            Heard::Break => format!("executed: {executed}, hears nothing"),
            _ => String::new(),
        };
        let (started_at, decided_at, by) = (running.started_at, running.decided_at, running.operation.clone());
        self.log(format!("    #{number} {operation} {what}"));
        held.let_go(fault);
        if executed {
            match self.events.recv().await {
                Some(Event::Executed { lane: which }) if which == lane => {}
                other => return Err(format!("Not executed, but {other:?}")),
            }
            if write {
                let before = std::mem::replace(&mut self.state, self.stack.snapshot());
                let (after, config) = (&self.state, &self.stack.config);
                Write { operation: &by, before: &before, after, now, started_at, decided_at, config }.check()?;
                for other in self.running.iter_mut().flatten().filter(|other| other.number != number) {
                    other.alone = false;
                }
                self.look()?;
            }
        }
        if dies { self.kill(lane).await } else { self.wait(lane).await }
    }

    /// The crash of a function: its executed calls stay, and its next call never happens.
    async fn kill(&mut self, lane: usize) -> Result<(), Broken> {
        if let Some(running) = self.running[lane].take() {
            running.task.abort();
            let _ = running.task.await;
        }
        Ok(())
    }

    /// Waits until a lane's operation is held at its next call or has ended.
    async fn wait(&mut self, lane: usize) -> Result<(), Broken> {
        let now = self.now();
        match self.events.recv().await {
            Some(Event::Arrived { lane: which, held }) if which == lane => {
                if let Some(running) = &mut self.running[lane] {
                    running.calls += 1;
                    rule!(running.calls <= MAX_CALLS, "{} does not end", running.operation);
                    if running.retrying.as_ref() != Some(&held.operation) {
                        running.decided_at = now;
                    }
                    running.held = Some(held);
                }
                Ok(())
            }
            Some(Event::Finished { lane: which, outcome }) if which == lane => {
                let Some(running) = self.running[lane].take() else { return Ok(()) };
                let Some(outcome) = outcome else { return Err(format!("#{} panicked", running.number)) };
                self.log(format!("    #{} answers {}", running.number, describe(&outcome)));
                self.judge(&running, &outcome)
            }
            other => Err(format!("Waiting for lane {lane}: {other:?}")),
        }
    }

    /// When everything has ended and time has passed, everything is free again (I6), and a free place is granted (I7).
    async fn come_to_rest(&mut self) -> Result<(), Broken> {
        self.log("at rest".to_owned());
        for lane in 0..LANES {
            self.complete(lane).await?;
        }
        self.let_pass(self.stack.config.lease.max(self.stack.config.first_message))?;
        let held = self.state.held_slots(self.now());
        rule!(held == 0, "I6: {held} places were not given back");
        for number in 0..=self.stack.config.max_clients as usize {
            let connect = self.connect(USERS + number, None, false);
            self.run_alone(connect).await?;
        }
        self.let_pass(LONG)?;
        // The user may speak again, whatever has died.
        let connect = self.connect(0, None, false);
        let Operation::Connect { user, connection, .. } = connect.clone() else { return Ok(()) };
        self.run_alone(connect).await?;
        self.stack.make_conversations(user.as_str(), [u32::MAX]);
        self.state = self.stack.snapshot();
        let (id, conversation) = (message_id(u32::MAX), conversation(u32::MAX));
        self.run_alone(Operation::Admit { user, connection, id, conversation }).await
    }

    fn now(&self) -> Timestamp {
        self.stack.clock.now()
    }

    fn log(&mut self, line: String) {
        let at_ms = self.now().since(START).as_millis();
        self.history.push(format!("{at_ms:>9} {line}"));
    }

    pub(super) fn watch(&self) -> JoinHandle<()> {
        let events = self.gate.events.clone();
        servers().spawn(async move {
            tokio::time::sleep(STUCK_AFTER).await;
            let _ = events.send(Event::Stuck);
        })
    }

    /// Slots and user items, for a report.
    pub(super) fn tables(&self) -> String {
        format!("{:#?}\n{:#?}", self.state.users, self.state.slots)
    }
}
