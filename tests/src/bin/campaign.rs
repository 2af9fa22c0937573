//! `just campaign` runs stacks under faults and checks them. See docs/reliability.md.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use e2e::campaign::{self, Options, sometimes};
use e2e::{checker, soak};

/// Runs real stacks under faults and checks that no rule is broken
#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Command {
    #[command(subcommand)]
    other: Option<Other>,
    #[command(flatten)]
    campaign: Campaign,
}

#[derive(Debug, Subcommand)]
enum Other {
    /// Check the history in a file once more
    Check { file: PathBuf },
    /// Measure how many lines of a history are checked in a second
    BenchChecker {
        #[arg(long, default_value_t = 1_000_000)]
        lines: u64,
    },
    /// Runs one stack at a steady load and measures its memory
    Soak {
        #[arg(long, default_value_t = 22.0)]
        minutes: f64,
        #[arg(long, default_value_t = 50)]
        clients: u32,
        /// Messages a second, of all clients together
        #[arg(long, default_value_t = 20.0)]
        per_second: f64,
        /// Where the table and the picture go
        #[arg(long, default_value = "target/soak")]
        directory: PathBuf,
    },
}

#[derive(Debug, Args)]
struct Campaign {
    /// The seeds, as FIRST..LAST with both included, or a single seed
    #[arg(long, default_value = "1..10", value_parser = seeds)]
    seeds: RangeInclusive<u64>,
    /// Clients of each seed. There are places for nine in ten
    #[arg(long, default_value_t = 50)]
    clients: u32,
    /// Messages of each client
    #[arg(long, default_value_t = 20)]
    messages: u32,
    /// The share of calls that get a fault, 0 for none
    #[arg(long, default_value_t = 0.01)]
    rate: f64,
    /// Stacks at a time
    #[arg(long, default_value_t = 4)]
    jobs: usize,
    /// Kill the stack in the middle of one of so many seeds, 0 for never
    #[arg(long, default_value_t = 5)]
    crash_every: u64,
    /// The directory of the histories
    #[arg(long, default_value = "target/campaign")]
    directory: PathBuf,
    /// Keep the histories of seeds that broke no rule too
    #[arg(long)]
    keep: bool,
    /// Continue this report: do not run its seeds again, and add the new ones
    #[arg(long, value_name = "REPORT")]
    resume: Option<PathBuf>,
}

fn seeds(text: &str) -> Result<RangeInclusive<u64>, String> {
    let (first, last) = text.split_once("..").unwrap_or((text, text));
    match (first.parse(), last.trim_start_matches('=').parse()) {
        (Ok(first), Ok(last)) if first <= last => Ok(first..=last),
        _ => Err("write them as FIRST..LAST, for example 1..100".to_owned()),
    }
}

fn main() -> ExitCode {
    let command = Command::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    match command.other {
        Some(Other::Soak { minutes, clients, per_second, directory }) => {
            runtime.block_on(soak(&soak::Options { minutes, clients, per_second, directory }))
        }
        Some(Other::Check { file }) => check(&file),
        Some(Other::BenchChecker { lines }) => bench(lines),
        None => runtime.block_on(run(command.campaign)),
    }
}

fn check(file: &std::path::Path) -> ExitCode {
    let verdict = match checker::check_file(file) {
        Ok(verdict) => verdict,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    for violation in &verdict.violations {
        let lines = checker::lines_of(file, violation).unwrap_or_default();
        println!("{violation}\n{}", lines.join("\n"));
    }
    println!("{} lines, {} messages, {} violations", verdict.lines, verdict.messages, verdict.violations.len());
    if verdict.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn bench(lines: u64) -> ExitCode {
    let (verdict, time) = checker::bench(lines);
    let rate = verdict.lines as f64 / time.as_secs_f64();
    println!("{} lines in {:.2} s: {rate:.0} a second", verdict.lines, time.as_secs_f64());
    if verdict.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The memory may grow by this ratio between the beginning and the end of a soak.
const MOST_GROWTH: f64 = 1.1;

async fn soak(options: &soak::Options) -> ExitCode {
    let measurements = match soak::run(options).await {
        Ok(measurements) => measurements,
        Err(error) => {
            eprintln!("The measurements can't be kept: {error}");
            return ExitCode::from(2);
        }
    };
    let Some((stack, functions)) = soak::growth(&measurements) else {
        println!("The soak was too short for a verdict");
        return ExitCode::from(2);
    };
    println!(
        "From the first third to the last, the stack has grown {stack:.3} times, the functions {functions:.3} times"
    );
    if stack.max(functions) <= MOST_GROWTH { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn run(campaign: Campaign) -> ExitCode {
    let Campaign { seeds, clients, messages, rate, jobs, crash_every, directory, keep, resume } = campaign;
    let (report, resume) = match resume {
        Some(report) => (report, true),
        None => (directory.join("report.json"), false),
    };
    let options = Options { seeds, clients, messages, rate, jobs, crash_every, directory, keep, report, resume };
    let report = match campaign::run(&options).await {
        Ok(report) => report,
        Err(error) => {
            eprintln!("The report {} can't be read or written: {error}", options.report.display());
            return ExitCode::from(2);
        }
    };
    println!("Events in {} seeds:", report.seeds.len());
    for (what, count) in report.counts() {
        println!("{count:>10}  {what}");
    }
    for outcome in report.broken() {
        println!("seed {}: {}", outcome.seed, outcome.violations.first().map_or("", String::as_str));
    }
    let missing = report.missing();
    if !missing.is_empty() {
        println!(
            "These events never happened, but must happen in {} seeds or more: {}",
            sometimes::SEEDS,
            missing.join(", ")
        );
    }
    let broken = report.broken().count();
    println!("{} of {} seeds broke no rule", report.seeds.len() - broken, report.seeds.len());
    if broken == 0 && missing.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
