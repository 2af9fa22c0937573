//! The load generator: `just load`. It starts what it measures, and says the same of each target.
//!
//! The generator runs on the same machine as its targets and takes processor time from them, so compare the figures of
//! one run with each other and not with those of another machine.

mod client;
mod load;
mod model;
mod processes;
mod report;
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
    /// Scenarios to run. All, if none is given.
    #[arg(value_enum)]
    scenarios: Vec<Scenario>,
    /// Targets: parley, ephemeral, or a peer's name (a folder in bench/peers).
    #[arg(long, value_delimiter = ',', default_value = "parley,ephemeral,fastapi_postgres")]
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
    /// All clients get a long answer at once, at the speed of a model: 500 tokens, 100 a second. Parley only.
    Stream,
}

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options::parse();
    let scenarios = if options.scenarios.is_empty() { Scenario::value_variants() } else { &options.scenarios[..] };
    let mut outcomes = Vec::new();
    for round in 1..=options.rounds {
        for name in &options.targets {
            for scenario in scenarios {
                let Some(target) = start(name, *scenario, &options).await? else { continue };
                let target = Arc::new(target);
                eprintln!("round {round}: {scenario:?} on {}", target.name);
                outcomes.push(run(*scenario, &target, &options).await?);
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
    println!("{}", report::table(&outcomes));
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
        let url = model::serve().await?;
        for param in ["LlmProvider=openai", "LlmModel=any", &format!("LlmBaseUrl={url}")] {
            args.extend(["--param".to_owned(), param.to_owned()]);
        }
    }
    let parley = |durable| {
        let max_clients = (options.clients > 50).then_some(options.clients);
        Parley { durable, max_clients, args: args.clone() }
    };
    match name {
        peer if matches!(scenario, Scenario::Stream | Scenario::Heartbeat)
            && !["parley", "ephemeral"].contains(&peer) =>
        {
            Ok(None)
        }
        "parley" => Ok(Some(target::parley(&parley(true)).await?)),
        "ephemeral" => Ok(Some(target::parley(&parley(false)).await?)),
        peer => match target::peer(peer)? {
            Ok(target) => Ok(Some(target)),
            Err(target::Skipped(why)) => {
                eprintln!("{peer} is left out: {why}");
                Ok(None)
            }
        },
    }
}

async fn run(scenario: Scenario, target: &Arc<Target>, options: &Options) -> Result<Outcome> {
    let load = Load {
        clients: options.clients,
        warm_up: Duration::from_secs_f64(options.warm_up),
        time: Duration::from_secs_f64(options.seconds),
    };
    match scenario {
        Scenario::Closed => load::closed("closed", target, load).await,
        Scenario::Alone => load::closed("alone", target, Load { clients: 1, ..load }).await,
        Scenario::Open => load::open(target, load, options.rate).await,
        Scenario::Heartbeat => load::heartbeats(target, load).await,
        Scenario::Storm => load::storm(target, load).await,
        Scenario::Stream => load::stream(target, options.clients).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_scenario_measures_something_and_the_figures_become_a_table_and_a_picture() {
        let options = Options::parse_from(["bench", "--clients", "3", "--seconds", "1", "--warm-up", "0.2"]);
        let mut outcomes = Vec::new();
        for scenario in [Scenario::Closed, Scenario::Open, Scenario::Heartbeat, Scenario::Storm] {
            let target = start("ephemeral", scenario, &options).await.expect("a stack").expect("it can be measured");
            let outcome = run(scenario, &Arc::new(target), &options).await.expect("figures");
            assert!(outcome.count > 0 && outcome.cpu_ms() > 0.0 && outcome.end.p50 <= outcome.end.max, "{outcome:?}");
            outcomes.push(outcome);
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
