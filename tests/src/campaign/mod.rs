//! Campaigns run many seeds. Each seed has its own stack, with many clients and with faults at any call. Its history is
//! checked.
//!
//! A seed decides what the clients do and which calls get which fault. The machine decides which of two events comes
//! first, so two runs of a seed differ. The fault log has the decisions, and the history has the events.
//!
//! A seed mostly waits: if a worker dies before it holds its message, the message waits for a minute in the queue. So
//! several stacks run side by side.

pub mod backstage;
pub mod faults;
pub mod line;
pub mod scene;
pub mod seed;
pub mod settle;
pub mod sometimes;
pub mod user;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Instant;

use futures_util::StreamExt as _;
use serde::{Deserialize, Serialize};

pub use seed::Outcome;

/// The options of a campaign.
#[derive(Debug, Clone)]
pub struct Options {
    pub seeds: RangeInclusive<u64>,
    pub clients: u32,
    pub messages: u32,
    pub rate: f64,
    /// The number of stacks at a time.
    pub jobs: usize,
    /// In one of so many seeds, the stack is killed in the middle. 0 means never.
    pub crash_every: u64,
    /// The directory of the histories. Those of seeds that broke a rule stay there.
    pub directory: PathBuf,
    /// Whether the histories of all seeds stay there.
    pub keep: bool,
    /// The file of the report, which is written after each seed.
    pub report: PathBuf,
    /// Whether to continue that report. Its seeds are not run again.
    pub resume: bool,
}

/// The results of a campaign.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Report {
    pub seeds: Vec<Outcome>,
}

impl Report {
    /// Reads the report of an earlier campaign.
    pub fn read(path: &Path) -> std::io::Result<Self> {
        serde_json::from_slice(&std::fs::read(path)?).map_err(std::io::Error::other)
    }

    /// Writes the whole report or nothing, because a campaign may be stopped at any moment.
    pub fn write(&self, path: &Path) -> std::io::Result<()> {
        let next = path.with_extension("next");
        std::fs::write(&next, serde_json::to_vec_pretty(self)?)?;
        std::fs::rename(next, path)
    }

    pub fn counts(&self) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        for (what, count) in self.seeds.iter().flat_map(|seed| &seed.counts) {
            *counts.entry(what.clone()).or_default() += count;
        }
        counts
    }

    pub fn broken(&self) -> impl Iterator<Item = &Outcome> {
        self.seeds.iter().filter(|seed| !seed.violations.is_empty())
    }

    /// The events that must happen now and then and never did. Nothing is expected of a few seeds.
    pub fn missing(&self) -> Vec<&'static str> {
        if self.seeds.len() < sometimes::SEEDS { Vec::new() } else { sometimes::missing(&self.counts()) }
    }
}

impl Options {
    fn settings(&self, seed: u64) -> scene::Settings {
        let crash = self.crash_every > 0 && seed.is_multiple_of(self.crash_every);
        scene::Settings {
            seed,
            clients: self.clients,
            messages: self.messages,
            // One client in ten finds no place, now and then.
            places: (self.clients * 9 / 10).max(1),
            lease_seconds: 10,
            first_message_seconds: 8,
            rate: self.rate,
            crash,
            directory: self.directory.join(format!("seed-{seed}")),
        }
    }
}

/// Runs the seeds that the report does not have.
///
/// # Errors
/// The report can't be read or written.
pub async fn run(options: &Options) -> std::io::Result<Report> {
    let mut report = if options.resume { Report::read(&options.report)? } else { Report::default() };
    std::fs::create_dir_all(&options.directory)?;
    let known: Vec<u64> = report.seeds.iter().map(|seed| seed.seed).collect();
    let seeds: Vec<u64> = options.seeds.clone().filter(|seed| !known.contains(seed)).collect();
    // The stack is built once for all seeds, because building takes a lock.
    tokio::task::spawn_blocking(crate::program).await.expect("the stack builds");
    let (began, all) = (Instant::now(), seeds.len());
    let running = futures_util::stream::iter(seeds).map(|seed| {
        let settings = options.settings(seed);
        async move {
            let directory = settings.directory.clone();
            let run = tokio::spawn(seed::run(settings)).await;
            run.unwrap_or_else(|error| Outcome {
                seed,
                violations: vec![format!("The seed could not be run to its end: {error}")],
                kept: Some(directory),
                ..Outcome::default()
            })
        }
    });
    let mut running = running.buffer_unordered(options.jobs.max(1));
    let mut done = 0;
    while let Some(mut outcome) = running.next().await {
        done += 1;
        if outcome.violations.is_empty()
            && !options.keep
            && let Some(directory) = outcome.kept.take()
        {
            std::fs::remove_dir_all(directory)?;
        }
        eprintln!("{} [{done}/{all}, {:.0} s]", line(&outcome), began.elapsed().as_secs_f64());
        report.seeds.push(outcome);
        report.write(&options.report)?;
    }
    Ok(report)
}

fn line(outcome: &Outcome) -> String {
    let Outcome { seed, seconds, settling_seconds, cpu_seconds, messages, faults, lines, .. } = outcome;
    let verdict = match outcome.violations.len() {
        0 => "no violations".to_owned(),
        count => format!("{count} VIOLATIONS, see {}", outcome.kept.as_deref().unwrap_or(Path::new("-")).display()),
    };
    format!(
        "seed {seed}: {verdict}; {messages} messages, {faults} faults, {lines} lines, {seconds:.1} s of which \
         {settling_seconds:.1} s settling, {cpu_seconds:.1} s of processors"
    )
}
