//! One case: up to three operations in flight, each held at its next call; the tape says what happens next, and the rules are
//! checked after everything that happened.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use samovar_services::Answer;
use samovar_services::faults::{self, Fault, Heard};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::expected::{Alone, describe};
use super::gate::{Event, Gate, Held, lane_name};
use super::operation::{Operation, Outcome};
use super::rules::{self, Broken, Write, rule};
use super::tape::Tape;
use crate::clock::{Clock as _, Timestamp};
use crate::ids::{ConnectionId, ConversationId, MessageId, UserId};
use crate::leases::{Connected, Handshake};
use crate::messages::Admission;
use crate::testing::{
    Function, MessageItem, START, Snapshot, Stack, connection, conversation, message_id, servers, session, user,
};
use crate::{Error, Result};

const LANES: usize = 3;
const USERS: usize = 5;
/// Conversations of each user.
const TALKS: u32 = 2;
/// Of the real clock: a case takes some hundred milliseconds.
const STUCK_AFTER: Duration = Duration::from_secs(30);
/// No operation needs as many; one that gives up makes some sixty.
const MAX_CALLS: usize = 200;
/// Longer than any unanswered message counts.
const LONG: Duration = Duration::from_secs(301);

/// What a case may do beside running operations.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mood {
    pub(super) faults: bool,
}

#[derive(Debug)]
pub(super) struct Case {
    stack: Stack,
    tape: Tape,
    /// How many of a hundred calls fail.
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
    /// When it built the request that is held, or was refused for now.
    decided_at: Timestamp,
    /// The operation whose call failed last.
    retrying: Option<String>,
    /// From now on, all its writes meet others.
    contended: bool,
    /// A fault was injected.
    faulted: bool,
    /// Nothing else happened meanwhile.
    alone: bool,
    before: Snapshot,
    seen: Seen,
}

#[derive(Debug, Default)]
struct Seen {
    /// Slots that were free all the time.
    free: BTreeSet<u32>,
    /// The user was connected with another session.
    other_session: bool,
    /// The user item named this operation's connection, held; or did not.
    held: bool,
    not_held: bool,
    /// Connections that had the place and did not give it back.
    holders: BTreeSet<String>,
    full_pending: bool,
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
        let choice = self.tape.below(100);
        // Operations that overlap mostly began at different times.
        if !flying.is_empty() && self.tape.percent(30) {
            self.let_pass(Duration::from_millis(1))?;
        }
        match (free, flying.as_slice()) {
            (_, []) if choice < 40 => self.alone().await,
            (Some(lane), flying) if choice < if flying.is_empty() { 88 } else { 25 } => {
                let operation = self.any_operation();
                self.start(lane, operation).await
            }
            (_, flying) if choice < 88 => {
                let lane = *self.tape.one_of(flying);
                let fault = self.any_fault(lane);
                self.advance(lane, fault).await
            }
            _ => self.pass_time(),
        }
    }

    /// One operation from beginning to end, with nothing else going on.
    async fn alone(&mut self) -> Result<(), Broken> {
        let operation = self.any_operation();
        self.run_alone(operation).await
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

    fn any_operation(&mut self) -> Operation {
        match self.tape.below(20) {
            0..6 => {
                let busy = self.running.iter().flatten().next().map(|running| running.operation.user().as_str());
                let busy = busy.and_then(|user| user.strip_prefix('u')?.parse().ok());
                let number = match busy {
                    Some(number) if self.tape.percent(50) => number,
                    _ => self.tape.below(USERS),
                };
                let session = *self.tape.one_of(&[Some("a"), None, Some("a"), Some("b")]);
                let takeover = self.tape.percent(25);
                self.connect(number, session, takeover)
            }
            6..8 => {
                let (user, connection) = self.any_connection();
                if self.tape.percent(30) { Operation::Close { user } } else { Operation::Release { user, connection } }
            }
            8..11 => {
                let (user, connection) = self.any_connection();
                Operation::Renew { user, connection }
            }
            11..17 => {
                let (user, connection) = self.any_connection();
                let (id, conversation) = (self.any_message_id(), self.any_conversation(&user));
                Operation::Admit { user, connection, id, conversation }
            }
            _ => self.any_work(),
        }
    }

    fn connect(&mut self, number: usize, session_name: Option<&str>, takeover: bool) -> Operation {
        let name = format!("c{}", self.connections.len());
        self.connections.push((number, name.clone()));
        let handshake = Handshake { session: session_name.map(session), takeover, username: None };
        Operation::Connect { user: user(format!("u{number}")), connection: connection(name), handshake }
    }

    /// Mostly one that has a place; sometimes an old one, or one that never was.
    fn any_connection(&mut self) -> (UserId, ConnectionId) {
        let now = self.now();
        let items = self.state.users.iter();
        let (held, ended): (Vec<_>, Vec<_>) = items.partition(|(_, item)| item.expires_at > now);
        let choice = self.tape.below(10);
        let holders = if choice < 8 { held } else { ended };
        if choice < 9 && !holders.is_empty() {
            // Operations that overlap are to meet.
            let busy = self.running.iter().flatten().map(|running| running.operation.user().as_str());
            let busy: Vec<_> = busy.filter_map(|user| holders.iter().find(|(name, _)| *name == user)).collect();
            let (name, item) = match busy.as_slice() {
                [] => self.tape.one_of(&holders),
                busy if self.tape.percent(70) => self.tape.one_of(busy),
                _ => self.tape.one_of(&holders),
            };
            return (user(name), connection(&item.connection));
        }
        if choice < 9 && !self.connections.is_empty() {
            let (number, name) = self.tape.one_of(&self.connections);
            return (user(format!("u{number}")), connection(name));
        }
        (user(format!("u{}", self.tape.below(USERS))), connection("ghost"))
    }

    /// Few, and the same for all users: so they repeat, also in other conversations.
    fn any_message_id(&mut self) -> MessageId {
        let id = message_id(self.tape.below(24) as u32);
        if self.tape.percent(10) { MessageId::parse(&id.as_str().to_uppercase()).expect("a message id") } else { id }
    }

    /// Mostly the user's own.
    fn any_conversation(&mut self, user: &UserId) -> ConversationId {
        let number: Option<u32> = user.as_str().strip_prefix('u').and_then(|number| number.parse().ok());
        match (self.tape.below(12) as u32, number.filter(|number| *number < USERS as u32)) {
            (11, _) => ConversationId::parse("not-a-uuid").expect("a conversation id"),
            (choice @ 2.., Some(user)) => conversation(TALKS * user + choice % TALKS),
            _ => conversation(self.tape.below(TALKS as usize * USERS) as u32),
        }
    }

    /// Of a worker, on any message that was ever stored; or of the janitor.
    fn any_work(&mut self) -> Operation {
        let choice = self.tape.below(10);
        let wanted = |message: &&MessageItem| choice >= 8 || !message.is_answered();
        let messages: Vec<_> = self.state.messages.values().filter(wanted).cloned().collect();
        if choice == 0 || messages.is_empty() {
            return Operation::Forget { user: user(format!("u{}", self.tape.below(USERS))) };
        }
        let message = self.tape.one_of(&messages).clone();
        let (user, id) = (user(&message.user), MessageId::parse(&message.id).expect("a message id"));
        if message.is_answered() && choice == 8 {
            Operation::Uncount { user, id }
        } else {
            Operation::Answer { user, id, fails: self.tape.percent(20) }
        }
    }

    fn pass_time(&mut self) -> Result<(), Broken> {
        let now = self.now();
        let ends = self.state.users.values().map(|item| item.expires_at);
        let ends: Vec<_> =
            ends.chain(self.state.slots.values().map(|slot| slot.expires_at)).filter(|&end| end > now).collect();
        let until = |end: Timestamp| end.since(now);
        let millisecond = Duration::from_millis(1);
        let by = match self.tape.below(24) {
            0..6 => millisecond,
            6..13 => Duration::from_millis(self.tape.below(3000) as u64),
            13..15 if !ends.is_empty() => until(*self.tape.one_of(&ends)),
            15..19 if !ends.is_empty() => until(*self.tape.one_of(&ends)).saturating_sub(millisecond),
            19 if !ends.is_empty() => until(*self.tape.one_of(&ends)) + millisecond,
            20 => self.stack.config.lease,
            21 => self.stack.config.first_message,
            22 => LONG,
            _ => Duration::from_secs(1),
        };
        self.let_pass(by)
    }

    fn let_pass(&mut self, by: Duration) -> Result<(), Broken> {
        self.stack.clock.advance(by);
        self.log(format!("{} ms pass", by.as_millis()));
        for running in self.running.iter_mut().flatten() {
            running.alone = false;
        }
        self.look()
    }

    /// What becomes of a lane's held call. `None`: its caller dies, here or after the call.
    fn any_fault(&mut self, lane: usize) -> Option<Fault> {
        let held = self.running[lane].as_ref().and_then(|running| running.held.as_ref());
        let (items, write) = held.map_or((0, false), |held| (held.items, held.is_write()));
        let contended = self.running[lane].as_ref().is_some_and(|running| running.contended);
        if contended && write {
            return Some(self.contention(items));
        }
        if !self.tape.percent(self.fault_percent) {
            return Some(Fault::none());
        }
        let internal = || Heard::Instead(faults::internal_server_error());
        match self.tape.below(60) {
            0..17 => Some(self.contention(items)),
            17..23 => Some(Fault::dropped(internal())),
            23..29 => Some(Fault::lost(internal())),
            29..35 => Some(Fault::dropped(Heard::Break)),
            35..41 => Some(Fault::lost(Heard::Break)),
            41..50 => Some(Fault::lost(Heard::Nothing)),
            50..59 => None,
            // Rarely: giving up takes a second or two of real time.
            _ => {
                if let Some(running) = &mut self.running[lane] {
                    running.contended = true;
                }
                Some(self.contention(items))
            }
        }
    }

    /// "Later": in all the words that DynamoDB has for it.
    fn contention(&mut self, items: usize) -> Fault {
        let answer: Answer = match self.tape.below(4) {
            0 | 1 if items > 0 => {
                let mut codes = vec!["None"; items];
                let at = self.tape.below(items);
                codes[at] = *self.tape.one_of(&["TransactionConflict", "ThrottlingError"]);
                // DynamoDB need not have evaluated the other conditions.
                if items > 1 && self.tape.percent(20) {
                    let other = codes.iter().position(|code| *code == "None").unwrap_or(0);
                    codes[other] = "ConditionalCheckFailed";
                }
                faults::transaction_cancelled(&codes)
            }
            0 => faults::transaction_conflict(),
            2 => faults::throughput_exceeded(),
            _ => faults::throttled(),
        };
        Fault::refused(answer)
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
            seen: Seen { free, ..Seen::default() },
        });
        self.observe();
        self.wait(lane).await
    }

    /// Lets a lane's call go, and waits for what comes of it.
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

    /// The crash of a function: what it did stays, what it wanted to do never happens.
    async fn kill(&mut self, lane: usize) -> Result<(), Broken> {
        if let Some(running) = self.running[lane].take() {
            running.task.abort();
            let _ = running.task.await;
        }
        Ok(())
    }

    /// Until a lane's operation is held at its next call, or has ended.
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

    /// Every state that there is passes here.
    fn look(&mut self) -> Result<(), Broken> {
        self.observe();
        rules::state(&self.state, self.now(), &self.stack.config, &self.stack.limits)
    }

    fn observe(&mut self) {
        let now = self.now();
        for running in self.running.iter_mut().flatten() {
            let seen = &mut running.seen;
            let user = running.operation.user().as_str();
            seen.free.retain(|&slot| self.state.is_free(slot, running.started_at));
            if let Some(connection) = running.operation.connection() {
                let held = self.state.is_held_by(user, connection.as_str(), now);
                seen.held |= self.state.is_held_by(user, connection.as_str(), running.started_at);
                seen.not_held |= !held;
            }
            if let Some(item) = self.state.users.get(user).filter(|item| !item.is_released()) {
                seen.holders.insert(item.connection.clone());
            }
            if let Some(lease) = self.state.lease(user, running.started_at) {
                if let Operation::Connect { handshake, .. } = &running.operation {
                    seen.other_session |= !rules::may_take(handshake, lease);
                }
                seen.full_pending |= lease.pending.len() >= self.stack.limits.max_pending_per_client;
            }
        }
    }

    /// Whether an answer was true at some moment while the operation ran; or, if it ran alone, the only right one.
    fn judge(&self, running: &Running, outcome: &Result<Outcome>) -> Result<(), Broken> {
        if running.alone {
            let (before, after, now) = (&running.before, &self.state, self.now());
            let (config, limits) = (&self.stack.config, &self.stack.limits);
            let alone = Alone { operation: &running.operation, before, after, now, config, limits };
            return alone.check(outcome);
        }
        let (operation, seen) = (&running.operation, &running.seen);
        let user = operation.user().as_str();
        match outcome {
            Ok(Outcome::Connected(Connected::Granted { replaced, .. })) => {
                rule!(seen.held, "{operation} was granted a place and never had it");
                let took = replaced.as_ref().is_none_or(|connection| seen.holders.contains(connection.as_str()));
                rule!(took, "{operation} replaced {replaced:?}, and that had no place");
            }
            Ok(Outcome::Connected(Connected::AlreadyConnected)) => {
                rule!(seen.other_session, "{operation}: there was no other session");
            }
            Ok(Outcome::Connected(Connected::Full)) => {
                rule!(seen.free.is_empty(), "I7: {operation} was refused, and {:?} were free all the time", seen.free);
            }
            Ok(Outcome::Renewed(_)) => rule!(seen.held, "{operation} renewed what it did not hold"),
            Ok(Outcome::Admitted(admission)) => {
                let (Admission::New(message) | Admission::Duplicate(message)) = admission;
                let place = (message.conversation.as_str().to_owned(), message.seq);
                let named = self.state.names.get(&(user.to_owned(), message.id.key()));
                rule!(named == Some(&place), "{operation} answered {admission:?}, and that is {named:?}");
            }
            Ok(Outcome::Closed(closed)) => {
                let had = closed.as_ref().is_none_or(|connection| seen.holders.contains(connection.as_str()));
                rule!(had, "{operation} closed {closed:?}, and that had no place");
            }
            Ok(Outcome::Released(_) | Outcome::Answered(_) | Outcome::Uncounted | Outcome::Forgotten) => {}
            Err(Error::LeaseExpired) => rule!(seen.not_held, "{operation} held its lease all the time"),
            Err(Error::TooManyPending { .. }) => rule!(seen.full_pending, "{operation} had room"),
            Err(Error::ConversationNotFound) => {
                let Operation::Admit { conversation, .. } = operation else { return Err("No such error".to_owned()) };
                let mine = (user.to_owned(), conversation.as_str().to_owned());
                rule!(!running.before.conversations.contains_key(&mine), "{operation}: it is the user's own");
            }
            Err(Error::Service { .. } | Error::Contended { .. }) if running.faulted => {}
            Err(error) => return Err(format!("{operation} failed: {error}")),
        }
        Ok(())
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
        // Whatever died, the user may speak again.
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
