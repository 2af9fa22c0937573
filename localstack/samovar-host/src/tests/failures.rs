//! Timeouts, crashes and failed inits: the caller's result, and that the next invocation works.

use super::*;

#[tokio::test]
async fn a_timed_out_invocation_is_killed_and_the_next_one_gets_a_new_process() {
    let mut function = function(Some(1));
    function.timeout = Duration::from_millis(300);
    let host = TestHost::start(vec![function]).await;
    let (mut held, invocation) = host.hold().await;
    let [pid] = host.state().pids[..] else { panic!("one process") };
    let (url, id) = held.url_and_request_id().await;
    let error = invocation.await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "Task timed out after 0.30 seconds");
    assert!(!is_alive(pid), "the place is free only when the process is dead");

    // A late response of the killed process finds nobody.
    let late = reqwest::Client::new().post(format!("{url}/invocation/{id}/response")).body("null");
    assert!(late.send().await.unwrap_err().is_connect());

    assert_ne!(host.invoke(json!({})).await.unwrap()["pid"], json!(pid));
    assert_eq!((host.state().errors, host.state().in_flight.max), (1, 1));
    host.end().await;
}

#[tokio::test]
async fn a_crash_fails_its_own_invocation_and_no_other() {
    let host = TestHost::start(vec![function(Some(2))]).await;
    let (other, other_invocation) = host.hold().await;
    for (event, status) in [("exit", "exit status: 7"), ("panic", "exit status: 101")] {
        match host.invoke(json!({"do": event})).await {
            Err(InvokeError::Crashed { status: found }) => assert_eq!(found.to_string(), status),
            unexpected => panic!("{unexpected:?}"),
        }
    }
    host.invoke(json!({})).await.unwrap();
    drop(other);
    other_invocation.await.unwrap().unwrap();
    assert_eq!((host.state().errors, host.state().in_flight.max), (2, 2));
    let output = host.end().await;
    assert!(output.contains("as told"), "{output}");
}

#[tokio::test]
async fn a_process_killed_during_an_invocation_fails_it_with_the_signal() {
    let host = TestHost::start(vec![function(None)]).await;
    let (_held, invocation) = host.hold().await;
    kill(host.state().pids[0]);
    let error = invocation.await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "The process exited during the invocation with signal: 9 (SIGKILL)");
    host.end().await;
}

#[tokio::test]
async fn a_process_that_dies_while_idle_fails_no_invocation() {
    let host = TestHost::start(vec![function(Some(1))]).await;
    for _ in 0..5 {
        host.invoke(json!({})).await.unwrap();
        kill(host.state().pids[0]);
        host.when(|state| state.pids.is_empty()).await;
    }
    host.invoke(json!({})).await.unwrap();
    assert_eq!((host.state().cold_starts, host.state().errors), (6, 0));
    host.end().await;
}

#[tokio::test]
async fn a_process_that_never_polls_again_is_replaced_at_its_timeout() {
    let mut function = function(Some(1));
    function.timeout = Duration::from_millis(300);
    let host = TestHost::start(vec![function]).await;
    assert_eq!(host.invoke(json!({"do": "answer and stay away"})).await.unwrap(), Value::Null);
    // Parked at the silent process at first, then given to a new one.
    assert_eq!(host.invoke(json!("next")).await.unwrap()["event"], "next");
    assert_eq!((host.state().cold_starts, host.state().errors), (2, 0));
    host.end().await;
}

#[tokio::test]
async fn an_exit_during_init_fails_the_invocation_with_the_functions_output() {
    let host = TestHost::start(vec![function_with_init("exit in init")]).await;
    for attempt in 1..=3 {
        match host.invoke(json!({})).await {
            Err(InvokeError::InitFailed { reason, output }) => {
                assert_eq!(reason, "the process exited with exit status: 3");
                assert!(output.contains("no such table: chat"), "{output}");
            }
            unexpected => panic!("{unexpected:?}"),
        }
        assert_eq!(host.state().cold_starts, attempt, "one try for each invocation");
    }
    assert!(host.end().await.contains("fixture │ no such table: chat\n"));
}

#[tokio::test]
async fn a_reported_init_error_fails_the_invocation_with_the_report() {
    let host = TestHost::start(vec![function_with_init("error in init")]).await;
    match host.invoke(json!({})).await {
        Err(InvokeError::InitFailed { reason, output }) => {
            assert_eq!(reason, "Config: CHAT_TABLE is not set");
            assert!(output.contains("last words"), "{output}");
        }
        unexpected => panic!("{unexpected:?}"),
    }
    host.end().await;
}

#[tokio::test]
async fn an_init_that_does_not_end_is_killed_at_its_limit() {
    let limits = Limits { init: Duration::from_millis(300), ..Limits::default() };
    let host = TestHost::with_limits(vec![function_with_init("hang in init")], limits).await;
    assert!(matches!(host.invoke(json!({})).await, Err(InvokeError::InitFailed { .. })));
    assert_eq!(host.state().pids, [0; 0]);
    host.end().await;
}

#[tokio::test]
async fn a_missing_program_fails_the_invocation_with_its_path() {
    let mut function = function(None);
    function.code.program = "/nowhere/bootstrap".into();
    let host = TestHost::start(vec![function]).await;
    let error = host.invoke(json!({})).await.unwrap_err().to_string();
    assert!(error.contains("There is no program /nowhere/bootstrap"), "{error}");
    host.end().await;
}

#[tokio::test]
async fn a_function_error_is_passed_through() {
    let host = TestHost::start(vec![function(None)]).await;
    match host.invoke(json!({"do": "error"})).await {
        Err(InvokeError::FunctionError { payload }) => {
            assert_eq!(payload, r#"{"errorMessage":"no","errorType":"Refusal"}"#);
        }
        unexpected => panic!("{unexpected:?}"),
    }
    host.invoke(json!({})).await.unwrap();
    assert_eq!((host.state().cold_starts, host.state().errors), (1, 1));
    host.end().await;
}

#[tokio::test]
async fn a_process_is_killed_by_its_id_and_its_invocation_is_known_while_it_runs() {
    let host = TestHost::start(vec![function(None)]).await;
    let (mut held, invocation) = host.hold().await;
    let (_, request_id) = held.url_and_request_id().await;
    let instance = &*host.instances()[0];
    let known = host.host.invocation("fixture", instance).expect("it works");
    assert_eq!(known.request_id, request_id);
    host.host.kill("fixture", instance);
    let error = invocation.await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "The process exited during the invocation with signal: 9 (SIGKILL)");
    assert!(host.host.invocation("fixture", instance).is_none());
    host.host.kill("fixture", instance); // Nobody is there any more.
    host.end().await;
}
