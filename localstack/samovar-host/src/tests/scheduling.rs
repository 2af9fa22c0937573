//! The choice of a process for each invocation, and throttling.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

#[tokio::test]
async fn the_first_invocation_starts_a_process_and_the_next_one_reuses_it() {
    let host = TestHost::start(vec![function(None)]).await;
    let first = host.invoke(json!({"n": 1})).await.unwrap();
    let second = host.invoke(json!({"n": 2})).await.unwrap();
    assert_eq!((&first["event"], &second["event"]), (&json!({"n": 1}), &json!({"n": 2})));
    assert_eq!(first["pid"], second["pid"]);
    let state = host.state();
    assert_eq!((state.cold_starts, state.invocations, state.errors), (1, 2, 0));
    assert_eq!(state.in_flight, InFlight { now: 0, max: 1, limit: None });
    assert_eq!(json!(state.pids), json!([first["pid"]]));
    host.end().await;
}

#[tokio::test]
async fn the_most_recently_used_process_is_taken_first() {
    let host = TestHost::start(vec![function(None)]).await;
    let (first, first_invocation) = host.hold().await;
    let (second, second_invocation) = host.hold().await;
    let [older, newer] = host.state().pids[..] else { panic!("two processes") };
    drop(second);
    second_invocation.await.unwrap().unwrap();
    let newest = host.invoke(json!({})).await.unwrap()["pid"].clone();
    drop(first);
    first_invocation.await.unwrap().unwrap();
    let other = host.invoke(json!({})).await.unwrap()["pid"].clone();
    assert_ne!(newest, other);
    assert_eq!([newest, other].iter().filter(|pid| **pid == json!(older) || **pid == json!(newer)).count(), 2);
    assert_eq!(host.state().cold_starts, 2);
    host.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifty_racing_invocations_run_up_to_the_limit_and_the_rest_is_throttled() {
    let host = TestHost::start(vec![function(Some(10))]).await;
    for round in 0..3 {
        let gate = Gate::open().await;
        let invocations: Vec<_> = (0..50)
            .map(|_| {
                let (host, event) = (host.host.clone(), gate.event());
                tokio::spawn(async move { host.invoke("fixture", event, None).await })
            })
            .collect();
        let mut running = Vec::new();
        while running.len() < 10 {
            running.push(gate.next().await);
        }
        host.when(|state| state.throttles == 40 * (round + 1)).await;
        assert_eq!(host.state().in_flight, InFlight { now: 10, max: 10, limit: Some(10) });
        drop(running);
        let mut done = 0;
        for invocation in invocations {
            match invocation.await.unwrap() {
                Ok(_) => done += 1,
                Err(InvokeError::Throttled { limit: 10, .. }) => {}
                Err(other) => panic!("{other}"),
            }
        }
        assert_eq!(done, 10);
    }
    let state = host.state();
    assert_eq!((state.cold_starts, state.pids.len()), (10, 10));
    host.end().await;
}

#[tokio::test]
async fn a_caller_is_never_throttled_by_its_own_previous_call() {
    let host = TestHost::start(vec![function(Some(1))]).await;
    for n in 0..200 {
        assert_eq!(host.invoke(json!(n)).await.unwrap()["event"], json!(n));
    }
    assert_eq!((host.state().cold_starts, host.state().in_flight.max), (1, 1));
    host.end().await;
}

#[tokio::test]
async fn functions_without_a_reservation_share_the_unreserved_concurrency() {
    let mut other = function(None);
    other.name = "other".into();
    let mut disabled = function(Some(0));
    disabled.name = "disabled".into();
    let functions = vec![function(None), other, disabled];
    let host = Host::of(Pool::new(functions, String::new(), 2, Limits::default(), Output::stderr()));
    let places = [host.pool.admit("fixture").unwrap(), host.pool.admit("other").unwrap()];
    assert!(matches!(host.pool.admit("fixture"), Err(InvokeError::Throttled { limit: 2, .. })));
    drop(places);
    assert!(host.pool.admit("fixture").is_ok());
    assert!(matches!(host.pool.admit("disabled"), Err(InvokeError::Throttled { limit: 0, .. })));
    assert!(matches!(host.pool.admit("missing"), Err(InvokeError::Unknown { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn each_invocation_gets_its_own_result_within_the_limit_while_processes_die() {
    let host = TestHost::start(vec![function(Some(8))]).await;
    let over = Arc::new(AtomicBool::new(false));
    let killer = {
        let (host, over) = (host.host.clone(), Arc::clone(&over));
        tokio::spawn(async move {
            let mut killed = 0;
            while !over.load(Ordering::SeqCst) {
                let pids = host.state()["fixture"].pids.clone();
                if !pids.is_empty() {
                    // It may be gone by itself in this moment.
                    let kill = format!("kill -KILL {}", pids[fastrand::usize(..pids.len())]);
                    let mut command = tokio::process::Command::new("/bin/sh");
                    let status = command.args(["-c", &kill]).stderr(std::process::Stdio::null()).status().await;
                    killed += u32::from(status.unwrap().success());
                }
                tokio::time::sleep(Duration::from_millis(3)).await;
            }
            killed
        })
    };
    let callers: Vec<_> = (0..12)
        .map(|caller| {
            let host = host.host.clone();
            tokio::spawn(async move {
                let mut done = 0;
                for n in 0..60 {
                    let event = json!([caller, n]);
                    match host.invoke("fixture", event.to_string().into(), None).await {
                        Ok(response) => {
                            let response: Value = serde_json::from_slice(&response).unwrap();
                            assert_eq!(response["event"], event);
                            done += 1;
                        }
                        Err(InvokeError::Throttled { .. }) => tokio::task::yield_now().await,
                        Err(InvokeError::Crashed { .. } | InvokeError::InitFailed { .. }) => {}
                        Err(other) => panic!("{other}"),
                    }
                }
                done
            })
        })
        .collect();
    let mut done = 0;
    for caller in callers {
        done += caller.await.unwrap();
    }
    over.store(true, Ordering::SeqCst);
    assert!(killer.await.unwrap() > 0);
    assert!(done > 0);
    let state = host.state();
    assert_eq!(state.in_flight.now, 0);
    assert!(state.in_flight.max <= 8 && state.pids.len() <= 8, "{state:?}");
    assert_eq!(state.invocations + state.throttles, 12 * 60);
    host.end().await;
}

#[tokio::test]
async fn an_idle_process_is_stopped_after_a_while_and_replaced_on_demand() {
    let limits = Limits { idle: Duration::from_millis(20), ..Limits::default() };
    let host = TestHost::with_limits(vec![function(None)], limits).await;
    host.invoke(json!({})).await.unwrap();
    host.when(|state| state.pids.is_empty()).await;
    host.invoke(json!({})).await.unwrap();
    assert_eq!((host.state().cold_starts, host.state().errors), (2, 0));
    host.end().await;
}

#[tokio::test]
async fn shutdown_lets_a_running_invocation_finish_and_refuses_new_ones() {
    let host = TestHost::start(vec![function(None)]).await;
    let (running, invocation) = host.hold().await;
    let stopping = {
        let host = host.host.clone();
        tokio::spawn(async move { host.shutdown(Duration::from_secs(10)).await })
    };
    while !matches!(host.invoke(json!({})).await, Err(InvokeError::ShuttingDown)) {}
    assert!(!stopping.is_finished());
    drop(running);
    invocation.await.unwrap().unwrap();
    stopping.await.unwrap();
    host.end().await;
}

#[tokio::test]
async fn shutdown_stops_invocations_that_do_not_finish_in_time() {
    let host = TestHost::start(vec![function(None)]).await;
    let (_running, invocation) = host.hold().await;
    let [pid] = host.state().pids[..] else { panic!("one process") };
    host.host.shutdown(Duration::from_millis(10)).await;
    assert!(matches!(invocation.await.unwrap(), Err(InvokeError::ShuttingDown)));
    assert!(!is_alive(pid));
    host.end().await;
}

#[tokio::test]
async fn a_host_that_is_dropped_stops_its_processes() {
    let host = TestHost::start(vec![function(None)]).await;
    host.invoke(json!({})).await.unwrap();
    let [pid] = host.state().pids[..] else { panic!("one process") };
    drop(host);
    eventually(|| !is_alive(pid)).await;
}

/// The same program, told apart by a variable.
fn code(version: &str) -> Code {
    Code { environment: [("VERSION".to_owned(), version.to_owned())].into(), ..function(None).code }
}

async fn version(host: &TestHost) -> Value {
    host.invoke(json!({"do": "environment"})).await.unwrap()["environment"]["VERSION"].clone()
}

#[tokio::test]
async fn after_a_replacement_running_invocations_finish_in_old_code_and_the_next_one_begins_in_new() {
    let mut function = function(Some(3));
    function.code = code("1");
    let host = TestHost::start(vec![function]).await;
    let (held, invocation) = host.hold().await;
    assert_eq!(version(&host).await, "1");
    let old = host.state().pids;
    assert!(host.host.replace_code("fixture", code("2")));
    assert_eq!(version(&host).await, "2");
    // The idle process stops. The busy one goes on, and stops when it has answered.
    let alive = || old.iter().copied().filter(|pid| is_alive(*pid)).collect::<Vec<_>>();
    eventually(|| alive().len() == 1).await;
    let busy = alive()[0];
    drop(held);
    assert!(String::from_utf8_lossy(&invocation.await.unwrap().unwrap()).contains("hold"));
    host.when(|state| !state.pids.contains(&busy)).await;
    assert_eq!(version(&host).await, "2");
    assert_eq!((host.state().errors, host.state().in_flight.max), (0, 2));
    assert!(!host.host.replace_code("unknown", code("3")));
    host.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_invocation_that_begins_after_a_replacement_sees_old_code_while_many_run() {
    let mut function = function(Some(8));
    function.code = code("0");
    let host = Arc::new(TestHost::start(vec![function]).await);
    let replaced = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let callers: Vec<_> = (0..6)
        .map(|_| {
            let (host, replaced) = (Arc::clone(&host), Arc::clone(&replaced));
            tokio::spawn(async move {
                for _ in 0..60 {
                    let at_least = replaced.load(Ordering::SeqCst);
                    let seen: u64 = version(&host).await.as_str().unwrap().parse().unwrap();
                    assert!(seen >= at_least, "{seen} after {at_least}");
                }
            })
        })
        .collect();
    for number in 1..=20 {
        assert!(host.host.replace_code("fixture", code(&number.to_string())));
        replaced.store(number, Ordering::SeqCst);
        version(&host).await;
    }
    for caller in callers {
        caller.await.unwrap();
    }
    assert_eq!(version(&host).await, "20");
    assert_eq!(host.state().errors, 0);
    Arc::into_inner(host).expect("the callers are gone").end().await;
}

#[tokio::test]
async fn invocations_errors_throttles_and_concurrency_are_metrics_under_the_functions_name_on_aws() {
    let mut unused = function(Some(7));
    (unused.name, unused.arn) = ("unused".to_owned(), "arn:aws:lambda:us-east-1:000000000000:function:none".to_owned());
    let host = TestHost::start(vec![function(Some(1)), unused]).await;
    let (hold, invocation) = host.hold().await;
    assert!(matches!(host.invoke(json!({})).await, Err(InvokeError::Throttled { .. })));
    drop(hold);
    invocation.await.unwrap().unwrap();
    host.invoke(json!({"do": "error"})).await.unwrap_err();
    let metrics = host.host.metrics();
    let shown: Vec<_> = metrics
        .iter()
        .map(|metric| {
            assert_eq!(metric.namespace, "AWS/Lambda");
            let function = metric.dimensions.get("FunctionName").map_or("-", String::as_str);
            let (statistic, value) = metric.statistics.iter().next().unwrap();
            format!("{function} {} {statistic} {value}", metric.name)
        })
        .collect();
    let expected = [
        "fixture Invocations Sum 2",
        "fixture Errors Sum 1",
        "fixture Throttles Sum 1",
        "fixture ConcurrentExecutions Maximum 1",
        "- ClaimedAccountConcurrency Maximum 8",
    ];
    assert_eq!(shown, expected, "a function that was never invoked has none, and its reservation counts as used");
    host.end().await;
}
