//! Leases and admission against a model, under every order of calls that a seed can produce.
//!
//! A seed makes a case: operations of several users on few slots, up to three of them at once. Each is held at its next
//! call of DynamoDB until the case lets it go. Time passes between any two calls, and any call may fail or crash. After
//! every write the case reads the tables and checks the invariants of [`crate::leases`] on them. It also checks each
//! operation's answer against the states during that operation. See `docs/testing.md`.
//!
//! A seed always makes the same case, to the byte: the case lets one thing happen at a time, and everything random is
//! seeded. Real time decides nothing: a pause between tries waits while nothing else runs. The SDK's idempotency tokens
//! and the door's request ids are random, but no decision and no line of a history depends on them.

mod case;
mod expected;
mod gate;
mod operation;
mod rules;
mod tape;

use case::{Case, Mood};
use tape::Tape;

use crate::clock::Clock as _;
use crate::testing::{Snapshot, Stack};

/// The number of cases of each test, unless `LEASE_CASES` says otherwise.
const CASES: u64 = 30;

/// The number of cases that run twice, to see that both runs are the same.
const REPEATED_CASES: u64 = 10;

fn setting(name: &str) -> Option<u64> {
    crate::config::environment(name)
        .map(|value| value.parse().unwrap_or_else(|_| panic!("{name} is no number: {value}")))
}

/// Checks the invariants on one state, for tests that reach a state in another way.
pub(super) fn check_state(state: &Snapshot, stack: &Stack) -> Result<(), String> {
    rules::state(state, stack.clock.now(), &stack.config, &stack.limits)
}

#[derive(Debug)]
struct Failure {
    report: String,
    /// How much of the tape the case used.
    used: usize,
}

/// Runs a case and gives its failure.
fn failure(numbers: &[u32], mood: Mood) -> Option<Failure> {
    let (case, broken) = run(numbers, mood);
    let report = |broken| format!("{broken}\n\n{}\n\n{}", case.history.join("\n"), case.tables());
    broken.map(|broken| Failure { report: report(broken), used: case.used() })
}

/// Runs a case. Gives its last state, and the rule that it broke.
fn run(numbers: &[u32], mood: Mood) -> (Case, Option<String>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let mut case = Case::new(numbers, mood);
        let watch = case.watch();
        let broken = case.run().await.err();
        watch.abort();
        (case, broken)
    })
}

fn explore(mood: Mood) {
    let first = setting("LEASE_SEED").unwrap_or(1);
    let cases = setting("LEASE_CASES").unwrap_or(if setting("LEASE_SEED").is_some() { 1 } else { CASES });
    for seed in first..first + cases {
        let numbers = Tape::from_seed(seed);
        let Some(whole) = failure(&numbers, mood) else { continue };
        let least = tape::shrink(&numbers[..whole.used], |numbers| failure(numbers, mood).is_some());
        let small = failure(&least, mood).map_or_else(|| "It does not fail always.".to_owned(), |least| least.report);
        panic!(
            "Seed {seed}, case {} of {cases}. Replay it with LEASE_SEED={seed}.\n\nAs small as it was made:\n{small}\n\n\
             The whole case:\n{}",
            seed - first + 1,
            whole.report,
        );
    }
}

#[test]
fn whatever_the_order_of_calls_the_invariants_hold() {
    explore(Mood { faults: false });
}

#[test]
fn whatever_fails_or_dies_at_any_call_the_invariants_hold() {
    explore(Mood { faults: true });
}

/// Replaying a seed and shrinking a failing case are of use only because of this.
#[test]
fn the_same_seed_twice_is_the_same_history_to_the_byte() {
    for seed in 1..=REPEATED_CASES {
        let numbers = Tape::from_seed(seed);
        let once = || {
            let (case, broken) = run(&numbers, Mood { faults: true });
            assert_eq!(broken, None, "seed {seed}");
            (case.history.join("\n"), case.tables())
        };
        let (first, second) = (once(), once());
        let lines = first.0.lines().zip(second.0.lines()).enumerate();
        let differing: Vec<_> = lines.filter(|(_, (one, other))| one != other).take(3).collect();
        assert!(first == second, "seed {seed}: {differing:#?}");
    }
}
