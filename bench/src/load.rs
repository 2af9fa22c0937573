//! The scenarios.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use hdrhistogram::Histogram;
use serde::Serialize;
use serde_json::Value;
use tokio::task::JoinSet;

use crate::client::{self, Client, Moments};
use crate::processes::{self, Usage};
use crate::target::Target;

/// How long and how hard.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) clients: u32,
    pub(crate) warm_up: Duration,
    pub(crate) time: Duration,
}

/// Times, in milliseconds.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Percentiles {
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) max: f64,
}

/// The figures of one scenario on one target.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Outcome {
    pub(crate) scenario: &'static str,
    pub(crate) target: String,
    pub(crate) clients: u32,
    pub(crate) seconds: f64,
    /// Messages, or handshakes.
    pub(crate) count: u64,
    pub(crate) per_second: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) accepted: Option<Percentiles>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) first_delta: Option<Percentiles>,
    /// To the end of each.
    pub(crate) end: Percentiles,
    /// Frames from the server for each message.
    pub(crate) frames: f64,
    /// The processes by kind. The processor time is that of one message.
    pub(crate) processes: BTreeMap<String, Usage>,
    /// Calls to services for each message: `FUNCTION SERVICE OPERATION`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) calls: BTreeMap<String, f64>,
    /// What a million messages would cost on AWS, in dollars by item, as the local stack's bill has it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) dollars_per_million: BTreeMap<String, f64>,
}

impl Outcome {
    pub(crate) fn cpu_ms(&self) -> f64 {
        self.processes.values().map(|kind| kind.cpu_ms).sum()
    }
}

/// Times of many messages.
#[derive(Debug)]
pub(crate) struct Times {
    accepted: Histogram<u64>,
    first_delta: Histogram<u64>,
    pub(crate) end: Histogram<u64>,
    pub(crate) frames: u64,
}

impl Times {
    pub(crate) fn new() -> Self {
        let histogram = || Histogram::new(3).expect("three digits are possible");
        Self { accepted: histogram(), first_delta: histogram(), end: histogram(), frames: 0 }
    }

    fn add(&mut self, begin: Instant, moments: &Moments) {
        record(&mut self.accepted, begin, moments.accepted);
        if let Some(first) = moments.first_delta {
            record(&mut self.first_delta, begin, first);
        }
        record(&mut self.end, begin, moments.end);
        self.frames += moments.frames;
    }

    fn join(&mut self, other: &Self) {
        for (all, these) in [
            (&mut self.accepted, &other.accepted),
            (&mut self.first_delta, &other.first_delta),
            (&mut self.end, &other.end),
        ] {
            all.add(these).expect("they have the same bounds or grow");
        }
        self.frames += other.frames;
    }
}

pub(crate) fn record(histogram: &mut Histogram<u64>, begin: Instant, end: Instant) {
    let micros = u64::try_from(end.saturating_duration_since(begin).as_micros()).unwrap_or(u64::MAX);
    histogram.record(micros).expect("the histogram grows");
}

fn percentiles(histogram: &Histogram<u64>) -> Option<Percentiles> {
    if histogram.is_empty() {
        return None;
    }
    let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1000.0;
    Some(Percentiles {
        p50: at(0.5),
        p90: at(0.9),
        p99: at(0.99),
        p999: at(0.999),
        max: histogram.max() as f64 / 1000.0,
    })
}

/// What the target had used and counted at one moment.
struct Look {
    at: Instant,
    usage: BTreeMap<String, Usage>,
    state: Option<Value>,
}

impl Look {
    async fn at(target: &Target) -> Self {
        Self { state: target.state().await, usage: processes::usage(target.root), at: Instant::now() }
    }

    fn outcome(
        &self,
        scenario: &'static str,
        target: &Target,
        clients: u32,
        times: &Times,
        after: &Self,
    ) -> Result<Outcome> {
        let count = times.end.len();
        let each = |total: f64| total / count.max(1) as f64;
        let mut processes = processes::since(&self.usage, &after.usage);
        for kind in processes.values_mut() {
            kind.cpu_ms = each(kind.cpu_ms);
        }
        let seconds = after.at.duration_since(self.at).as_secs_f64();
        let each_of = |part: &str, factor: f64| {
            let (before, after) = (billed(self.state.as_ref(), part), billed(after.state.as_ref(), part));
            let new = after.into_iter().filter_map(|(name, much)| {
                let much = much - before.get(&name).copied().unwrap_or(0.0);
                (much > 0.0).then(|| (name, each(much) * factor))
            });
            new.collect::<BTreeMap<_, _>>()
        };
        Ok(Outcome {
            scenario,
            target: target.name.clone(),
            clients,
            seconds,
            count,
            per_second: count as f64 / seconds,
            accepted: percentiles(&times.accepted),
            first_delta: percentiles(&times.first_delta),
            end: percentiles(&times.end).context("Nothing was answered in the measured time")?,
            frames: each(times.frames as f64),
            processes,
            calls: each_of("calls", 1.0),
            dollars_per_million: each_of("dollars", 1e6),
        })
    }
}

/// A part of the local stack's bill, made flat.
fn billed(state: Option<&Value>, part: &str) -> BTreeMap<String, f64> {
    let mut flat = BTreeMap::new();
    if let Some(state) = state {
        flatten(&state["bill"][part], "", &mut flat);
    }
    flat
}

fn flatten(value: &Value, name: &str, flat: &mut BTreeMap<String, f64>) {
    match value {
        Value::Object(members) => {
            for (member, value) in members {
                let name = if name.is_empty() { member.clone() } else { format!("{name} {member}") };
                flatten(value, &name, flat);
            }
        }
        Value::Number(number) => {
            flat.insert(name.to_owned(), number.as_f64().unwrap_or_default());
        }
        _ => {}
    }
}

/// A client of a user of its own, with a conversation.
async fn enter(target: &Target, number: u32) -> Result<(Client, String)> {
    let token = client::token(target, &format!("user-{number}")).await?;
    let conversation = client::conversation(target, &token).await?;
    Ok((Client::connect(target, &token).await?, conversation))
}

/// Each client has one message in flight, and sends the next when it is answered.
pub(crate) async fn closed(scenario: &'static str, target: &Arc<Target>, load: Load) -> Result<Outcome> {
    messages(scenario, target, load, None).await
}

/// Messages are due at a fixed rate, whether or not the ones before are answered. The time of a message begins when it
/// is due, so a slow answer also counts for the messages that it delays.
pub(crate) async fn open(target: &Arc<Target>, load: Load, per_second: f64) -> Result<Outcome> {
    messages("open", target, load, Some(per_second)).await
}

async fn messages(scenario: &'static str, target: &Arc<Target>, load: Load, rate: Option<f64>) -> Result<Outcome> {
    let mut clients = Vec::new();
    for number in 0..load.clients {
        clients.push(enter(target, number).await?);
    }
    let begin = Instant::now() + load.warm_up;
    let end = begin + load.time;
    let each = rate.map(|rate| Duration::from_secs_f64(f64::from(load.clients) / rate));
    let mut running = JoinSet::new();
    for (number, (mut client, conversation)) in (0..).zip(clients) {
        let offset = each.map(|each| each.mul_f64(f64::from(number) / f64::from(load.clients)));
        running.spawn(async move {
            let mut times = Times::new();
            let mut due = Instant::now() + offset.unwrap_or_default();
            for message in 0_u64.. {
                match each {
                    Some(_) => tokio::time::sleep_until(due.into()).await,
                    None => due = Instant::now(),
                }
                if due >= end {
                    break;
                }
                let moments = client.ask(&conversation, &format!("message {message}")).await?;
                if moments.end >= begin && moments.end < end {
                    times.add(due, &moments);
                }
                due += each.unwrap_or_default();
            }
            client.close().await;
            anyhow::Ok(times)
        });
    }
    measured(scenario, target, load, begin, end, running).await
}

/// Each client sends a heartbeat as soon as the one before is answered.
pub(crate) async fn heartbeats(target: &Arc<Target>, load: Load) -> Result<Outcome> {
    let mut clients = Vec::new();
    for number in 0..load.clients {
        let (mut client, conversation) = enter(target, number).await?;
        // The first message makes the lease renewable.
        client.ask(&conversation, "hello").await?;
        clients.push(client);
    }
    let begin = Instant::now() + load.warm_up;
    let end = begin + load.time;
    let mut running = JoinSet::new();
    for mut client in clients {
        running.spawn(async move {
            let mut times = Times::new();
            loop {
                let sent = Instant::now();
                if sent >= end {
                    client.close().await;
                    return anyhow::Ok(times);
                }
                client.heartbeat().await?;
                let answered = Instant::now();
                if answered >= begin && answered < end {
                    times.frames += 1;
                    record(&mut times.end, sent, answered);
                }
            }
        });
    }
    measured("heartbeat", target, load, begin, end, running).await
}

/// Waits for the measured time and for all clients.
pub(crate) async fn measured(
    scenario: &'static str,
    target: &Arc<Target>,
    load: Load,
    begin: Instant,
    end: Instant,
    mut running: JoinSet<Result<Times>>,
) -> Result<Outcome> {
    tokio::time::sleep_until(begin.into()).await;
    let before = Look::at(target).await;
    tokio::time::sleep_until(end.into()).await;
    let after = Look::at(target).await;
    let mut times = Times::new();
    while let Some(ended) = running.join_next().await {
        times.join(&ended??);
    }
    before.outcome(scenario, target, load.clients, &times, &after)
}

/// All clients connect at the same moment, and leave, until the time is over.
pub(crate) async fn storm(target: &Arc<Target>, load: Load) -> Result<Outcome> {
    let mut tokens = Vec::new();
    for number in 0..load.clients {
        tokens.push(client::token(target, &format!("user-{number}")).await?);
    }
    let (mut times, before) = (Times::new(), Look::at(target).await);
    let end = Instant::now() + load.time;
    while Instant::now() < end {
        let mut running = JoinSet::new();
        for token in &tokens {
            let (target, token) = (Arc::clone(target), token.clone());
            running.spawn(async move {
                let begin = Instant::now();
                let client = Client::connect(&target, &token).await?;
                anyhow::Ok((client, begin, Instant::now()))
            });
        }
        let mut clients = Vec::new();
        while let Some(connected) = running.join_next().await {
            let (client, begin, end) = connected??;
            record(&mut times.end, begin, end);
            clients.push(client);
        }
        for client in clients {
            client.close().await;
        }
        left(target).await;
    }
    let after = Look::at(target).await;
    before.outcome("storm", target, load.clients, &times, &after)
}

/// All clients send one message at the same moment, and each answer is a stream at the speed of the model. The first
/// round, which starts the processes, does not count.
pub(crate) async fn stream(target: &Arc<Target>, clients: u32) -> Result<Outcome> {
    let mut connected = Vec::new();
    for number in 0..clients {
        connected.push(enter(target, number).await?);
    }
    let (mut times, mut before) = (Times::new(), Look::at(target).await);
    for is_measured in [false, true] {
        let begin = Instant::now();
        let mut running = JoinSet::new();
        for (mut client, conversation) in connected.drain(..) {
            running.spawn(async move {
                let moments = client.ask(&conversation, "Tell me a story.").await?;
                anyhow::Ok((client, conversation, moments))
            });
        }
        while let Some(ended) = running.join_next().await {
            let (client, conversation, moments) = ended??;
            connected.push((client, conversation));
            if is_measured {
                times.add(begin, &moments);
            }
        }
        if !is_measured {
            before = Look::at(target).await;
        }
    }
    let after = Look::at(target).await;
    for (client, _) in connected {
        client.close().await;
    }
    before.outcome("stream", target, clients, &times, &after)
}

/// Waits until all places are free: a place is given back a moment after its socket is closed.
async fn left(target: &Target) {
    while let Some(state) = target.state().await {
        if state["leases"].as_array().is_none_or(Vec::is_empty) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
