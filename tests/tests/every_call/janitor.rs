//! The janitor's cases. Each run has something to tidy up: a socket whose lease has ended. The run with the fault is
//! followed by a run without one, and then the socket must be closed.

use std::sync::Arc;
use std::time::Duration;

use e2e::campaign::faults::Aim;
use e2e::campaign::user::User;
use tokio::time::{Instant, sleep};

use super::{FAULTS, TRIES, Theatre, scenario};

/// The number of stacks. Each has a share of the cases.
const STACKS: usize = 3;

/// This is long enough for a slow start, and short enough for a test that waits for the lease to end.
const LEASE_SECONDS: u64 = 2;

const PATIENCE: Duration = Duration::from_secs(90);

pub(crate) async fn cases() -> Vec<Aim> {
    let shares = (0..STACKS).map(share);
    let shares = futures_util::future::join_all(shares).await;
    shares.into_iter().flatten().collect()
}

/// Each stack finds out the janitor's calls by itself, and runs every third case.
async fn share(stack: usize) -> Vec<Aim> {
    let theatre = Theatre::open(10 + stack as u64, LEASE_SECONDS).await;
    let (mut users, mut met, mut unmet) = (Vec::new(), Vec::new(), Vec::new());
    let mut learner = lose_place(&theatre, "learner").await;
    run(&theatre, "learner").await;
    let calls = theatre.backstage.calls("janitor", "learner").await.expect("the stack notes calls").len();
    assert!(calls > 0, "the janitor has made no calls");
    gone(&mut learner).await;
    users.push(learner);
    let cases = (1..=calls).flat_map(|call| FAULTS.map(|fault| (call, fault)));
    for (call, fault) in cases.skip(stack).step_by(STACKS) {
        let mut is_met = false;
        let mut aim =
            Aim { function: "janitor".to_owned(), event: String::new(), call, fault: fault.to_owned(), met: false };
        for attempt in 0..TRIES {
            aim.event = format!("janitor-{stack}-{call}-{fault}-{attempt}");
            let mut user = lose_place(&theatre, &aim.event).await;
            theatre.backstage.aim(&aim).await.expect("the stack takes the rule");
            run(&theatre, &aim.event).await;
            // The next run does what that run left undone.
            run(&theatre, &format!("after-{}", aim.event)).await;
            gone(&mut user).await;
            users.push(user);
            let rules = theatre.backstage.faults().await.expect("the rules").rules;
            is_met = rules.iter().any(|rule| rule.event == aim.event && rule.met);
            if is_met {
                break;
            }
        }
        if is_met { met.push(aim) } else { unmet.push(aim) }
    }
    theatre.backstage.end_faults().await.expect("no more faults");
    theatre.close(users).await;
    println!("not met: {unmet:?}");
    assert!(unmet.len() <= met.len() / 10, "{unmet:?}");
    met
}

/// Makes a user whose lease has ended and whose socket is still open.
async fn lose_place(theatre: &Theatre, name: &str) -> User {
    let mut user = User::named(Arc::clone(&theatre.scene), 0, name.to_owned()).await;
    scenario::speak(&mut user).await;
    // One second more, because the janitor allows for clocks that differ.
    sleep(Duration::from_secs(LEASE_SECONDS + 1)).await;
    let since = Instant::now();
    while theatre.backstage.places().await.is_ok_and(|places| !places.leases.is_empty()) {
        assert!(since.elapsed() < PATIENCE, "leases do not end");
        sleep(Duration::from_millis(100)).await;
    }
    user
}

/// Runs the janitor and waits until that run has ended, with or without success.
async fn run(theatre: &Theatre, case: &str) {
    let invocations = async || {
        let state = theatre.backstage.state().await.expect("the state");
        let janitor = &state["functions"]["janitor"];
        (janitor["invocations"].as_u64().unwrap_or(0), state["inFlight"]["janitor"]["now"].as_u64().unwrap_or(0))
    };
    let (before, _) = invocations().await;
    theatre.backstage.run_janitor(case).await.expect("it is queued");
    let since = Instant::now();
    loop {
        let (now, running) = invocations().await;
        if now > before && running == 0 {
            return;
        }
        assert!(since.elapsed() < PATIENCE, "the janitor does not end");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until all sockets of the user are closed.
async fn gone(user: &mut User) {
    let since = Instant::now();
    let lines: Vec<_> = user.left.drain(..).chain(user.line.take()).collect();
    while lines.iter().any(e2e::campaign::line::Line::is_open) {
        assert!(since.elapsed() < PATIENCE, "{} has lost its place, but its socket is still open", user.name);
        sleep(Duration::from_millis(20)).await;
    }
}
