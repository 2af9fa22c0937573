//! The load generator: `just load`. It starts what it measures, and says the same of each target.
//!
//! The generator runs on the same machine as its targets and takes processor time from them, so compare the figures of
//! one run with each other and not with those of another machine.

mod client;
mod echo;
mod history;
mod load;
mod model;
mod processes;
mod report;
mod start;
mod target;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use clap::{Parser, ValueEnum};

use crate::load::{Load, Outcome};
use crate::target::{Parley, Target};

/// Measures the speed of a message.
#[derive(Debug, Parser)]
struct Options {
    /// Scenarios to run. All of a chat, if none is given.
    #[arg(value_enum)]
    scenarios: Vec<Scenario>,
    /// Targets: parley, ephemeral, samovar (for the echo), or a peer's name (a folder in bench/peers). Those that can
    /// run the scenario, if none is given.
    #[arg(long, value_delimiter = ',')]
    targets: Vec<String>,
    /// Clients that send at once.
    #[arg(long, default_value_t = 50)]
    clients: u32,
    /// Measured seconds of each scenario.
    #[arg(long, default_value_t = 15.0)]
    seconds: f64,
    /// Seconds before that, for caches and first processes.
    #[arg(long, default_value_t = 4.0)]
    warm_up: f64,
    /// Messages a second of the open scenario.
    #[arg(long, default_value_t = 50.0)]
    rate: f64,
    /// Tokens of each answer of the stream scenario, 100 a second.
    #[arg(long, default_value_t = 500)]
    tokens: u32,
    /// Idle connections of the idle scenario.
    #[arg(long, default_value_t = 10_000)]
    idle: u32,
    /// Messages of other users, with their answers, that are in Parley's tables beforehand.
    #[arg(long, default_value_t = 0)]
    history: u32,
    /// Rounds. Targets take turns, so that a machine that gets slower is fair to all.
    #[arg(long, default_value_t = 1)]
    rounds: u32,
    /// An argument for Parley, such as --arg=--latency=aws.
    #[arg(long = "arg")]
    args: Vec<String>,
    /// Shows processes and calls too.
    #[arg(long)]
    details: bool,
    /// Writes all figures to this file.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Draws the closed and the alone scenario into this SVG file.
    #[arg(long)]
    picture: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Scenario {
    /// Each client has one message in flight.
    Closed,
    /// The same with one client.
    Alone,
    /// Messages at a fixed rate.
    Open,
    /// Each client sends heartbeats, one after the other. Parley only: the peers write nothing for them.
    Heartbeat,
    /// All clients connect at once.
    Storm,
    /// All clients get a long answer at once, at the speed of a model. Parley only.
    Stream,
    /// Frames come back as they were sent.
    Echo,
    /// The echo, beside many clients that are connected and silent. The local gateway only.
    Idle,
    /// How fast functions start, in Rust and in other languages. Parley only.
    Start,
}

impl Scenario {
    const OF_A_CHAT: [Self; 6] = [Self::Closed, Self::Alone, Self::Open, Self::Heartbeat, Self::Storm, Self::Stream];

    /// The targets that can run it.
    fn targets(self) -> &'static [&'static str] {
        match self {
            Self::Closed | Self::Alone | Self::Open | Self::Storm => &["parley", "ephemeral", "fastapi_postgres"],
            Self::Heartbeat | Self::Stream => &["parley", "ephemeral"],
            Self::Echo => &["samovar", "serverless_offline", "ministack"],
            Self::Idle => &["samovar"],
            Self::Start => &["ephemeral"],
        }
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options::parse();
    let scenarios = if options.scenarios.is_empty() { &Scenario::OF_A_CHAT[..] } else { &options.scenarios[..] };
    let (mut outcomes, mut others) = (Vec::new(), Vec::new());
    for round in 1..=options.rounds {
        for scenario in scenarios {
            let wanted = |name: &&&str| options.targets.is_empty() || options.targets.iter().any(|one| one == *name);
            for name in scenario.targets().iter().filter(wanted) {
                let Some(target) = start(name, *scenario, &options).await? else { continue };
                let target = Arc::new(target);
                eprintln!("round {round}: {scenario:?} on {}", target.name);
                let (figures, other) = run(*scenario, &target, &options).await?;
                outcomes.extend(figures);
                others.extend(other);
                if let Some(target) = Arc::into_inner(target) {
                    target.stop();
                }
            }
        }
    }
    outcomes.sort_by_key(|outcome: &Outcome| outcome.scenario);
    if options.details {
        outcomes.iter().for_each(|outcome| println!("{}", report::details(outcome)));
    }
    if !outcomes.is_empty() {
        println!("{}", report::table(&outcomes));
    }
    others.iter().for_each(|other| println!("{other}"));
    if let Some(path) = &options.picture {
        report::picture(path, &outcomes)?;
    }
    if let Some(path) = &options.json {
        std::fs::write(path, serde_json::to_vec_pretty(&outcomes)?)?;
    }
    Ok(())
}

/// `None`: this can't be measured here.
async fn start(name: &str, scenario: Scenario, options: &Options) -> Result<Option<Target>> {
    let mut args = options.args.clone();
    if scenario == Scenario::Stream {
        let url = model::serve(options.tokens).await?;
        for param in ["LlmProvider=openai", "LlmModel=any", &format!("LlmBaseUrl={url}")] {
            args.extend(["--param".to_owned(), param.to_owned()]);
        }
    }
    if scenario == Scenario::Start {
        // No message of a process is refused because others of it still wait.
        args.extend(["--param".to_owned(), "MaxPendingPerClient=100".to_owned()]);
    }
    let parley = async |durable| {
        let max_clients = match scenario {
            Scenario::Start => Some(10_000),
            _ => (options.clients > 50).then_some(options.clients),
        };
        let target = target::parley(&Parley { durable, max_clients, args: args.clone() }).await?;
        history::fill(&target, options.history).await?;
        anyhow::Ok(Some(target))
    };
    match name {
        "parley" => parley(true).await,
        "ephemeral" => parley(false).await,
        "samovar" => Ok(Some(target::samovar().await?)),
        peer => match target::peer(peer)? {
            Ok(target) => Ok(Some(target)),
            Err(target::Skipped(why)) => {
                eprintln!("{peer} is left out: {why}");
                Ok(None)
            }
        },
    }
}

/// The figures of a scenario, and what else there is to say.
async fn run(scenario: Scenario, target: &Arc<Target>, options: &Options) -> Result<(Vec<Outcome>, Option<String>)> {
    let load = Load {
        clients: options.clients,
        warm_up: Duration::from_secs_f64(options.warm_up),
        time: Duration::from_secs_f64(options.seconds),
    };
    let outcomes = match scenario {
        Scenario::Closed => vec![load::closed("closed", target, load).await?],
        Scenario::Alone => vec![load::closed("alone", target, Load { clients: 1, ..load }).await?],
        Scenario::Open => vec![load::open(target, load, options.rate).await?],
        Scenario::Heartbeat => vec![load::heartbeats(target, load).await?],
        Scenario::Storm => vec![load::storm(target, load).await?],
        Scenario::Stream => vec![load::stream(target, options.clients).await?],
        Scenario::Echo => {
            let all = echo::echo("echo", target, load).await?;
            vec![all, echo::echo("echo alone", target, Load { clients: 1, ..load }).await?]
        }
        Scenario::Idle => {
            let (outcomes, cost) = echo::idle(target, load, options.idle).await?;
            return Ok((outcomes, Some(report::idle(&target.name, &cost))));
        }
        Scenario::Start => return Ok((Vec::new(), Some(report::starts(&start::start(target).await?)))),
    };
    Ok((outcomes, None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_scenario_measures_something_and_the_figures_become_a_table_and_a_picture() {
        let options =
            Options::parse_from(["bench", "--clients=3", "--seconds=1", "--warm-up=0.2", "--idle=60", "--history=30"]);
        let mut outcomes = Vec::new();
        for scenario in [Scenario::Closed, Scenario::Open, Scenario::Heartbeat, Scenario::Storm, Scenario::Idle] {
            let name = scenario.targets().iter().find(|name| **name != "parley").expect("a target");
            let target = start(name, scenario, &options).await.expect("a stack").expect("it can be measured");
            let (figures, other) = run(scenario, &Arc::new(target), &options).await.expect("figures");
            assert_eq!(other.is_some(), scenario == Scenario::Idle);
            for outcome in &figures {
                let sane = outcome.count > 0 && outcome.cpu_ms() > 0.0 && outcome.end.p50 <= outcome.end.max;
                assert!(sane, "{outcome:?}");
            }
            outcomes.extend(figures);
        }
        let (message, calls) = (&outcomes[0], outcomes[0].calls.values().sum::<f64>());
        assert!(message.accepted.is_some() && message.frames >= 3.0 && calls > 8.0, "{message:?}");
        let table = report::table(&outcomes);
        assert_eq!(table.lines().count(), 1 + outcomes.len(), "{table}");
        assert!(report::details(message).contains("send_message"), "{}", report::details(message));
        let directory = tempfile::tempdir().expect("a directory");
        let picture = directory.path().join("picture.svg");
        report::picture(&picture, &outcomes).expect("a picture");
        assert!(std::fs::read_to_string(&picture).expect("a file").contains("parley --ephemeral"));
    }

    #[test]
    fn a_peer_that_does_not_exist_is_named() {
        let error = target::peer("nobody").expect_err("there is none");
        assert!(error.to_string().contains("There is no peer nobody"), "{error}");
    }
}
