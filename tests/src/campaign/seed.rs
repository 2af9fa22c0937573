//! Runs one seed: a stack of its own, users, faults, the end and the verdict.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use tokio::time::{sleep, timeout};

use super::backstage::{Backstage, template};
use super::scene::{Scene, Settings};
use super::settle::{sample, settle};
use super::user::User;
use super::{faults, sometimes};
use crate::checker::{Event, Recorder, check_file, lines_of};
use crate::{Stack, StackOptions};

/// The time between two samples of the stack's state.
const SAMPLE_EVERY: Duration = Duration::from_millis(150);

/// The time between two runs of the janitor. Its schedule is slower, and then it would hardly meet a fault.
const JANITOR_EVERY: Duration = Duration::from_secs(4);

/// After this time users begin nothing new, even if they are not done.
const TALK_FOR: Duration = Duration::from_secs(600);

/// The result of a seed.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Outcome {
    pub seed: u64,
    pub seconds: f64,
    /// The part of `seconds` from the end of the faults until everything had ended.
    pub settling_seconds: f64,
    /// Processor time of the stack, its functions and its clients. It includes all stacks that ran at the same time.
    pub cpu_seconds: f64,
    pub messages: u64,
    pub lines: u64,
    pub calls: u64,
    pub faults: u64,
    /// How often each event happened.
    pub counts: BTreeMap<String, u64>,
    /// Each break of a rule.
    pub violations: Vec<String>,
    /// The directory of the history and the fault log, if they were kept.
    pub kept: Option<PathBuf>,
}

fn options(settings: &Settings, template: &Path) -> StackOptions {
    let options = StackOptions::default()
        .param("MockLatencyMs", 30)
        .param("MaxClients", settings.places)
        .param("LeaseSeconds", settings.lease_seconds)
        .param("FirstMessageSeconds", settings.first_message_seconds)
        .arg("--template")
        .arg(&template.display().to_string());
    // Functions of a debug build take several times as much processor time.
    if cfg!(debug_assertions) { options } else { options.arg("--release") }
}

/// Runs one seed. Its files stay in the settings' directory.
pub async fn run(settings: Settings) -> Outcome {
    let (began, cpu) = (Instant::now(), cpu_seconds());
    let directory = settings.directory.clone();
    // Files of an earlier run belong to another stack.
    let _ = std::fs::remove_dir_all(&directory);
    std::fs::create_dir_all(&directory).expect("a directory for the seed");
    let history = directory.join("history.jsonl");
    let recorder = Arc::new(Recorder::create(&history).expect("a file for the history"));
    let template = template(&directory);
    let data = directory.join("data");
    let on = |port: Option<u16>| {
        let options = options(&settings, &template);
        let options = if settings.crash { options.data_dir(&data) } else { options };
        match port {
            Some(port) => options.port(port),
            None => options,
        }
    };
    let stack = on(None).start().await;
    let backstage = Backstage::open(&stack.url).await;
    recorder.write(Event::Began {
        seed: settings.seed,
        max_clients: settings.places,
        max_processing: 500,
        faults: settings.rate > 0.0 || settings.crash,
    });
    let scene = Arc::new(Scene::new(settings.clone(), Arc::clone(&recorder), stack.port(), TALK_FOR));
    if settings.rate > 0.0 {
        backstage.start_faults(settings.seed, settings.rate).await.expect("the stack has a fault machine");
    }
    let talking = join_all((0..settings.clients).map(|number| {
        let scene = Arc::clone(&scene);
        tokio::spawn(async move {
            let mut user = User::new(scene, number).await;
            user.talk().await;
            user
        })
    }));
    let sampling = tokio::spawn({
        let (scene, backstage) = (Arc::clone(&scene), backstage.clone());
        async move {
            let mut janitor_at = Instant::now() + JANITOR_EVERY;
            while !scene.is_over() {
                // These calls pass the same door as those of functions, so they may get no answer.
                let _ = timeout(Duration::from_secs(2), sample(&scene, &backstage)).await;
                if Instant::now() >= janitor_at {
                    janitor_at = Instant::now() + JANITOR_EVERY;
                    let _ = timeout(Duration::from_secs(2), backstage.run_janitor("campaign")).await;
                }
                sleep(SAMPLE_EVERY).await;
            }
        }
    });
    let crashing = async {
        let (mut logs, mut calls) = (Vec::new(), 0);
        if !settings.crash {
            return (stack, logs, calls);
        }
        let all = (settings.clients * settings.messages) as usize;
        while scene.sent.load(Ordering::Relaxed) < all / 2 && !scene.is_over() {
            sleep(Duration::from_millis(20)).await;
        }
        logs.push(backstage.fault_log().await.unwrap_or_default());
        calls += backstage.calls_so_far().await;
        let stack = crash(stack, &backstage, &recorder, on).await;
        if settings.rate > 0.0 {
            let seed = settings.seed ^ 0xC4A5;
            backstage.start_faults(seed, settings.rate).await.expect("the stack has a fault machine");
        }
        (stack, logs, calls)
    };
    let (users, (stack, mut logs, mut calls)) = tokio::join!(talking, crashing);
    let users: Vec<User> = users.into_iter().map(|user| user.expect("a user does not panic")).collect();
    scene.over.store(true, Ordering::Relaxed);
    sampling.await.expect("sampling does not panic");
    if settings.rate > 0.0 {
        logs.push(backstage.fault_log().await.expect("the fault log"));
        backstage.end_faults().await.expect("faults end");
    }
    recorder.write(Event::FaultsEnded);
    let settling = settle(users, &backstage).await;
    calls += backstage.calls_so_far().await;
    std::fs::write(directory.join("chaos.jsonl"), logs.concat()).expect("the fault log can be kept");
    std::fs::write(directory.join("stack.log"), stack.log()).expect("the log can be kept");
    let stopped = tokio::task::spawn_blocking(move || drop(stack)).await;

    let verdict = check_file(&history).expect("the history can be read");
    let mut counts = sometimes::count(&history).expect("the history can be read");
    faults::count(&logs.concat(), |function, fault| {
        *counts.entry(format!("fault {fault}")).or_default() += 1;
        if fault.starts_with("kill") {
            *counts.entry(format!("killed {function}")).or_default() += 1;
        }
    });
    if settling.janitors > 0 {
        counts.insert("settled by the janitor".to_owned(), settling.janitors.into());
    }
    let mut violations: Vec<String> = verdict.violations.iter().map(ToString::to_string).collect();
    if stopped.is_err() {
        violations.push("stack: it did not stop cleanly, or it left processes behind".to_owned());
    }
    if settling.given_up {
        violations.push("ends: not everything had ended in time".to_owned());
    }
    // The first few are printed with the lines that contain their ids.
    for violation in verdict.violations.iter().take(5) {
        let lines = lines_of(&history, violation).unwrap_or_default();
        eprintln!("seed {}: {violation}\n{}", settings.seed, lines.join("\n"));
    }
    Outcome {
        seed: settings.seed,
        seconds: began.elapsed().as_secs_f64(),
        settling_seconds: settling.waited.as_secs_f64(),
        cpu_seconds: cpu_seconds() - cpu,
        messages: verdict.messages,
        lines: verdict.lines,
        calls,
        faults: counts.iter().filter(|(name, _)| name.starts_with("fault ")).map(|(_, count)| count).sum(),
        counts,
        violations,
        kept: Some(directory),
    }
}

/// Kills the stack and starts it again on the same port and data.
async fn crash(
    stack: Stack,
    backstage: &Backstage,
    recorder: &Recorder,
    on: impl Fn(Option<u16>) -> StackOptions,
) -> Stack {
    let port = stack.port();
    let state = backstage.state().await.unwrap_or_default();
    let processing = state["inFlight"]["worker"]["now"].as_u64().unwrap_or(0);
    recorder.write(Event::Killed { processing: u32::try_from(processing).unwrap_or(u32::MAX) });
    tokio::task::spawn_blocking(move || stack.kill()).await.expect("it is killed");
    let stack = on(Some(port)).start().await;
    recorder.write(Event::Restarted);
    stack
}

/// The processor time of this process and of all its children that have ended.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
    let ticks: u64 = fields.iter().skip(11).take(4).filter_map(|field| field.parse::<u64>().ok()).sum();
    ticks as f64 / 100.0
}
