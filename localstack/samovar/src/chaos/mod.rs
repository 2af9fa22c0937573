//! Faults for a whole stack: processes that die, and services that fail, contend, hang, lose answers or repeat calls.
//!
//! All of this happens on AWS now and then. The local engines never do it, so a program that can't bear it looks sound
//! here. With `--chaos SEED`, about one call in a hundred gets a fault, which `plan` chooses. A test can also ask for
//! one fault at one call of one invocation (a rule). Every decision is logged, and a log can be replayed.
//!
//! The faults happen at the door that every call passes (`samovar_services::door`), and in three places that have no
//! call: the end of a connection, the end of a batch, and the process itself, which the function host kills. The
//! session token that signs a call tells its process, and the host knows the event of that process.
//!
//! Everything is under one lock, which is never held across an await. A call is counted, decided and logged in one
//! step, so the log has each number once and without gaps.

mod api;
mod kinds;
mod plan;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use samovar_host::Host;
use samovar_services::faults::{Call, Fault, Faults, Heard, Hook};
use samovar_services::{Answer, OTHER};
use serde::{Deserialize, Serialize};

pub(crate) use api::router;
use kinds::Kind;
pub(crate) use kinds::{CONNECTIONS, DELETE_BATCH, DISCONNECT, GATEWAY};
use plan::{Chosen, DEFAULT_RATE, Decision, Plan};

/// The file of the log in the data directory.
const LOG_FILE: &str = "chaos.jsonl";

/// The number of invocations whose calls are remembered.
const INVOCATIONS: usize = 10_000;

/// The faults of one stack. There are none until they are asked for.
#[derive(Debug)]
pub(crate) struct Chaos {
    /// `None` if the functions run elsewhere. Then their processes can't be killed.
    host: Option<Host>,
    faults: Arc<Faults>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    plan: Plan,
    rules: Vec<Rule>,
    /// The calls so far, by function, service and operation.
    counts: HashMap<(String, &'static str, String), u64>,
    invocations: HashMap<String, Made>,
    /// The ids of the invocations, oldest first.
    order: VecDeque<String>,
    log: Vec<Decision>,
    file: Option<File>,
    /// The calls after which their process is killed.
    kill_after: HashSet<u64>,
}

/// One fault, once: at one call of the first invocation that fits.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule {
    function: String,
    /// A part of the invocation's event.
    #[serde(default)]
    event: String,
    /// The number of the call in its invocation, counted from 1.
    call: usize,
    fault: Kind,
    /// How long a delayed call takes.
    #[serde(default)]
    ms: u64,
    #[serde(default, skip_deserializing)]
    met: bool,
}

/// The calls that an invocation has made.
#[derive(Debug)]
struct Made {
    function: String,
    event: Bytes,
    calls: Vec<MadeCall>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct MadeCall {
    service: &'static str,
    operation: String,
}

impl Chaos {
    pub(crate) fn new(host: Option<Host>, faults: Arc<Faults>, data_dir: Option<&Path>) -> Result<Arc<Self>> {
        let file = data_dir.map(|dir| {
            let path = dir.join(LOG_FILE);
            let opened = OpenOptions::new().create(true).append(true).open(&path);
            opened.with_context(|| format!("{} could not be opened", path.display()))
        });
        let state = State { file: file.transpose()?, ..State::default() };
        Ok(Arc::new(Self { host, faults, state: Mutex::new(state) }))
    }

    /// From now on, the seed decides.
    pub(crate) fn start(self: &Arc<Self>, seed: u64) {
        self.follow(Plan::Seed { seed, rate: DEFAULT_RATE, kinds: None });
    }

    /// Begins anew with this plan.
    fn follow(self: &Arc<Self>, plan: Plan) {
        let mut state = self.lock();
        let file = state.file.take();
        *state = State { plan, file, ..State::default() };
        drop(state);
        self.faults.install(Arc::clone(self) as Arc<dyn Hook>);
    }

    fn add(self: &Arc<Self>, rule: Rule) {
        self.lock().rules.push(rule);
        // A rule works without a plan, too.
        self.faults.install(Arc::clone(self) as Arc<dyn Hook>);
    }

    /// Ends all faults. The log of decisions stays.
    fn end(&self) {
        self.faults.clear();
        let mut state = self.lock();
        (state.plan, state.rules) = (Plan::Rules, Vec::new());
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn kill(&self, call: &Call) {
        if let (Some(host), Some(instance)) = (&self.host, &call.instance) {
            host.kill(&call.caller, instance);
        }
    }

    /// Counts the call and decides about it.
    fn choose(&self, call: &Call) -> Option<Chosen> {
        // A call without a function comes from a developer or a tool, which are not under test.
        if call.caller == OTHER {
            return None;
        }
        let invocation = match (&self.host, &call.instance) {
            (Some(host), Some(instance)) => host.invocation(&call.caller, instance),
            _ => None,
        };
        let mut state = self.lock();
        let key = (call.caller.clone(), call.service, call.operation.clone());
        let number = state.counts.entry(key).or_default();
        *number += 1;
        let number = *number;
        let place = match &invocation {
            Some(invocation) => state.made(call, &invocation.request_id, &invocation.event),
            None => 1,
        };
        // A connection's or a batch's end has no invocation yet, so its own body is the event.
        let event = invocation.as_ref().map_or(&call.body, |invocation| &invocation.event);
        let chosen = match state.meet_rule(call, place, event) {
            Some(chosen) => Some(chosen),
            None => state.plan.choose(call, number),
        };
        if let Some(Chosen { kind, ms }) = chosen {
            if kind == Kind::KillAfter {
                state.kill_after.insert(call.number);
            }
            state.write_down(Decision {
                function: call.caller.clone(),
                service: call.service.to_owned(),
                operation: call.operation.clone(),
                call: number,
                fault: kind,
                ms: (kind == Kind::Delayed).then_some(ms),
                invocation: invocation.map(|invocation| invocation.request_id),
            });
        }
        chosen
    }

    async fn fate(&self, call: &Call, Chosen { kind, ms }: Chosen) -> Fault {
        match kind {
            Kind::KillBefore => {
                self.kill(call);
                Fault::dropped(Heard::Nothing)
            }
            Kind::KillAfter | Kind::HungAfter => Fault::lost(Heard::Nothing),
            Kind::Lost => Fault::lost(Heard::Break),
            Kind::Dropped => Fault::dropped(Heard::Break),
            Kind::Refused => Fault::refused(kinds::refused(call)),
            Kind::Throttled => Fault::refused(kinds::throttled(call)),
            Kind::Conflict => Fault::refused(kinds::conflict(call)),
            Kind::Gone => Fault::refused(kinds::gone()),
            Kind::Hung | Kind::NoDisconnect | Kind::Redelivered => Fault::dropped(Heard::Nothing),
            Kind::Delayed => {
                tokio::time::sleep(Duration::from_millis(ms)).await;
                Fault::none()
            }
            Kind::Repeated => Fault { repeated: true, ..Fault::none() },
            Kind::Stale => Fault { stale: true, ..Fault::none() },
        }
    }
}

impl Hook for Chaos {
    fn decide(&self, call: Call) -> BoxFuture<'_, Fault> {
        match self.choose(&call) {
            None => Box::pin(std::future::ready(Fault::none())),
            Some(chosen) => Box::pin(async move { self.fate(&call, chosen).await }),
        }
    }

    fn executed(&self, call: &Call, _answer: &Answer) {
        if self.lock().kill_after.remove(&call.number) {
            self.kill(call);
        }
    }
}

impl State {
    /// Notes a call of an invocation. Returns its number there, counted from 1.
    fn made(&mut self, call: &Call, request_id: &str, event: &Bytes) -> usize {
        if !self.invocations.contains_key(request_id) {
            if self.order.len() == INVOCATIONS
                && let Some(oldest) = self.order.pop_front()
            {
                self.invocations.remove(&oldest);
            }
            self.order.push_back(request_id.to_owned());
            let made = Made { function: call.caller.clone(), event: event.clone(), calls: Vec::new() };
            self.invocations.insert(request_id.to_owned(), made);
        }
        let Some(made) = self.invocations.get_mut(request_id) else { return 1 };
        made.calls.push(MadeCall { service: call.service, operation: call.operation.clone() });
        made.calls.len()
    }

    fn meet_rule(&mut self, call: &Call, place: usize, event: &[u8]) -> Option<Chosen> {
        let met = self.rules.iter_mut().find(|rule| {
            !rule.met
                && rule.call == place
                && rule.function == call.caller
                && rule.fault.can_hit(call)
                && contains(event, rule.event.as_bytes())
        })?;
        met.met = true;
        Some(Chosen { kind: met.fault, ms: met.ms })
    }

    fn write_down(&mut self, decision: Decision) {
        let Decision { function, service, operation, call, fault, .. } = &decision;
        tracing::info!("chaos: {fault:?} at call {call} of {function} to {service} {operation}");
        if let Some(file) = &mut self.file
            && let Ok(mut line) = serde_json::to_vec(&decision)
        {
            line.push(b'\n');
            if let Err(error) = file.write_all(&line) {
                tracing::warn!(%error, "{LOG_FILE} could not be written");
            }
        }
        self.log.push(decision);
    }

    /// The calls of the latest invocation of `function` whose event contains `event`.
    fn calls(&self, function: &str, event: &str) -> Vec<MadeCall> {
        let latest_first = self.order.iter().rev().filter_map(|id| self.invocations.get(id));
        let mut fitting =
            latest_first.filter(|made| made.function == function && contains(&made.event, event.as_bytes()));
        fitting.next().map(|made| made.calls.clone()).unwrap_or_default()
    }

    /// How often each fault was decided on.
    fn faults(&self) -> BTreeMap<Kind, u64> {
        let mut faults = BTreeMap::new();
        for decision in &self.log {
            *faults.entry(decision.fault).or_default() += 1;
        }
        faults
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    part.is_empty() || memchr::memmem::find(text, part).is_some()
}
