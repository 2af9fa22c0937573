//! Campaigns: many seeds, each a stack of its own with many clients and faults at any call, each checked.
//!
//! A seed decides what clients do and which calls meet which fault. What then happens first is decided by the machine,
//! so a seed is a kind of run rather than one run; what was decided is in the fault log, and what happened in the
//! history.
//!
//! Most of a seed is waiting: a worker that dies before it holds its message costs the queue's visibility of a minute.
//! So several stacks run side by side.

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

/// What a campaign is run with.
#[derive(Debug, Clone)]
pub struct Options {
    pub seeds: RangeInclusive<u64>,
    pub clients: u32,
    pub messages: u32,
    pub rate: f64,
    /// Stacks at a time.
    pub jobs: usize,
    /// Every so many seeds the stack is killed in the middle; 0: never.
    pub crash_every: u64,
    /// Where histories of broken rules are kept, and those under way.
    pub directory: PathBuf,
    /// Keep the histories of all seeds.
    pub keep: bool,
    /// Where what was found is written down, after each seed.
    pub report: PathBuf,
    /// Go on with what is there: its seeds are not run again.
    pub resume: bool,
}

/// What a campaign has found.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Report {
    pub seeds: Vec<Outcome>,
}

impl Report {
    /// What was found so far; nothing, where there is no such file.
    pub fn read(path: &Path) -> std::io::Result<Self> {
        match std::fs::read(path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(std::io::Error::other),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }

    /// Whole or not at all: a campaign may be stopped at any moment.
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

    /// What has to happen now and then, and never did. Nothing is expected of a few seeds.
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
            // One in ten is too many, now and then.
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
    // Once for all of them: building takes a lock.
    tokio::task::spawn_blocking(crate::program).await.expect("the stack builds");
    let (began, all) = (Instant::now(), seeds.len());
    let running = futures_util::stream::iter(seeds).map(|seed| {
        let settings = options.settings(seed);
        async move {
            let directory = settings.directory.clone();
            let run = tokio::spawn(seed::run(settings)).await;
            run.unwrap_or_else(|error| Outcome {
                seed,
                violations: vec![format!("The seed could not be run: {error}")],
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
        0 => "right".to_owned(),
        count => format!("{count} VIOLATIONS, see {}", outcome.kept.as_deref().unwrap_or(Path::new("-")).display()),
    };
    format!(
        "seed {seed}: {verdict}; {messages} messages, {faults} faults, {lines} lines, {seconds:.1} s of which \
         {settling_seconds:.1} s settling, {cpu_seconds:.1} s of processors"
    )
}
