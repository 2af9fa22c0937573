//! Each call that a function makes in a scenario gets each fault once. The process is killed before or after the call,
//! the call's answer is lost, the call is refused, or the call is never answered. Each fault has its own run of the
//! scenario with its own user, and the promises must hold in every run. The scenario first runs without any fault, and
//! the stack then lists its calls.
//!
//! Many runs go on at once, because most of their time is waiting for a time-out or for a dead worker's message. A run
//! of the janitor works for all users. So the janitor's cases have stacks of their own, with one run at a time on each.

mod janitor;
mod scenario;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use e2e::campaign::backstage::{Backstage, template};
use e2e::campaign::faults::Aim;
use e2e::campaign::scene::{Scene, Settings};
use e2e::campaign::settle::settle;
use e2e::campaign::user::User;
use e2e::checker::{Event, Recorder, Verdict, check_file, lines_of};
use e2e::{Stack, StackOptions};
use futures_util::StreamExt as _;

const FAULTS: [&str; 5] = ["kill_before", "kill_after", "lost", "refused", "hung"];

/// The number of runs at a time on one stack.
const AT_ONCE: usize = 48;

/// The number of runs without a fault that show the calls. There are several, because the calls depend on the order in
/// which processes happen to run.
const LEARNERS: u32 = 3;

/// The number of tries for a call that does not come every time.
const TRIES: u32 = 3;

/// A stack with its own history.
struct Theatre {
    stack: Stack,
    backstage: Backstage,
    scene: Arc<Scene>,
    directory: tempfile::TempDir,
}

impl Theatre {
    async fn open(number: u64, lease_seconds: u64) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let places = 400;
        let stack = StackOptions::default()
            .param("MockLatencyMs", 0)
            .param("MaxClients", places)
            .param("LeaseSeconds", lease_seconds)
            .arg("--template")
            .arg(&template(directory.path()).display().to_string())
            .start()
            .await;
        let backstage = Backstage::open(&stack.url).await;
        backstage.note_calls().await.expect("the stack notes calls");
        let recorder = Recorder::create(&directory.path().join("history.jsonl")).expect("a file");
        let recorder = Arc::new(recorder);
        recorder.write(Event::Began { seed: number, max_clients: places, max_processing: 500, faults: true });
        let settings = Settings {
            seed: number,
            clients: 0,
            messages: 0,
            places,
            lease_seconds,
            first_message_seconds: 60,
            rate: 0.0,
            crash: false,
            directory: directory.path().to_owned(),
        };
        let scene = Scene::new(settings, recorder, stack.port(), Duration::from_secs(600));
        Self { stack, backstage, scene: Arc::new(scene), directory }
    }

    /// Lets everything end and checks what was written down.
    async fn close(self, users: Vec<User>) {
        let settling = settle(users, &self.backstage).await;
        let history = self.directory.path().join("history.jsonl");
        let Verdict { lines, messages, violations } = check_file(&history).expect("the history can be read");
        println!("{lines} lines, {messages} messages, settled in {:?}", settling.waited);
        for violation in &violations {
            println!("{violation}\n{}", lines_of(&history, violation).expect("the history").join("\n"));
        }
        let log = self.backstage.fault_log().await.expect("the fault log");
        assert!(violations.is_empty() && !settling.given_up, "{} violations\n{log}", violations.len());
        let stack = self.stack;
        tokio::task::spawn_blocking(move || drop(stack)).await.expect("the stack stops cleanly");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_call_of_each_function_may_fail_in_each_way() {
    let began = Instant::now();
    let (of_routes, of_janitor) = tokio::join!(scenario_cases(), janitor::cases());
    let mut all: BTreeMap<&str, usize> = BTreeMap::new();
    for aim in of_routes.iter().chain(&of_janitor) {
        *all.entry(aim.function.as_str()).or_default() += 1;
    }
    println!("{} cases in {:?}: {all:?}", all.values().sum::<usize>(), began.elapsed());
    for function in ["connect", "send_message", "worker", "cancel", "heartbeat", "disconnect", "janitor"] {
        assert!(all.get(function).is_some_and(|cases| *cases >= FAULTS.len()), "{function}: {all:?}");
    }
}

/// Runs the cases of all functions that the scenario invokes. Returns those whose fault was met.
async fn scenario_cases() -> Vec<Aim> {
    let theatre = Theatre::open(1, 30).await;
    let (scene, backstage) = (&theatre.scene, &theatre.backstage);
    let mut users = Vec::new();
    // The highest number of calls that was seen in each step.
    let mut steps: BTreeMap<(&'static str, &'static str), usize> = BTreeMap::new();
    for number in 0..LEARNERS {
        let mut user = User::named(Arc::clone(scene), number, format!("learner-{number}")).await;
        let script = scenario::Script::of(&user).await;
        let mut director = scenario::Director { backstage, aim: None, learned: Some(BTreeMap::new()) };
        scenario::play(&mut user, &script, &mut director, true).await;
        for (step, calls) in director.learned.into_iter().flatten() {
            let longest = steps.entry(step).or_default();
            *longest = calls.max(*longest);
        }
        users.push(user);
    }
    assert_eq!(steps.len(), scenario::STEPS.len(), "{steps:?}");
    println!("calls by function and step: {steps:?}");
    let mut cases = Vec::new();
    for ((function, step), calls) in &steps {
        for call in 1..=*calls {
            cases.extend(FAULTS.map(|fault| (*function, *step, call, fault)));
        }
    }
    let runs = futures_util::stream::iter(cases.into_iter().enumerate()).map(|(number, case)| {
        let (function, step, call, fault) = case;
        async move {
            let mut users = Vec::new();
            let aim =
                |event: String| Aim { function: function.to_owned(), event, call, fault: fault.to_owned(), met: false };
            for attempt in 0..TRIES {
                let name = format!("{function}-{step}-{call}-{fault}-{attempt}");
                let number = LEARNERS + u32::try_from(number).expect("fewer cases") * TRIES + attempt;
                let mut user = User::named(Arc::clone(scene), number, name).await;
                let script = scenario::Script::of(&user).await;
                let aim = aim(script.event(step));
                let mut director = scenario::Director { backstage, aim: Some((step, aim.clone())), learned: None };
                scenario::play(&mut user, &script, &mut director, step == "picture").await;
                users.push(user);
                if director.met().await {
                    return (users, aim, true);
                }
            }
            (users, aim(step.to_owned()), false)
        }
    });
    let runs: Vec<_> = runs.buffer_unordered(AT_ONCE).collect().await;
    let (mut met, mut unmet) = (Vec::new(), Vec::new());
    for (some, aim, is_met) in runs {
        users.extend(some);
        if is_met { met.push(aim) } else { unmet.push(aim) }
    }
    backstage.end_faults().await.expect("no more faults");
    theatre.close(users).await;
    // A call that comes only now and then may stay away three times. There must be few of them.
    println!("not met: {unmet:?}");
    assert!(unmet.len() * 20 <= met.len(), "{} of {} cases were not met", unmet.len(), unmet.len() + met.len());
    met
}
