//! A function that is debugged: its process waits, and no time runs out.

use std::process::Command;

use super::*;

fn debugged(debug: Debug) -> FunctionSpec {
    FunctionSpec { debug: Some(debug), timeout: Duration::from_secs(3600), ..function(Some(1)) }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn an_event_is_handed_out_when_a_debugger_has_attached() {
    if Command::new("gdb").arg("--version").output().is_err() {
        eprintln!("skipped: there is no gdb here");
        return;
    }
    let host = TestHost::start(vec![debugged(Debug::UntilAttached)]).await;
    let invocation = tokio::spawn({
        let host = host.host.clone();
        async move { host.invoke("fixture", "{}".into(), None).await }
    });
    host.when(|state| !state.pids.is_empty()).await;
    let pid = host.state().pids[0];
    // The process asks for its first event within some milliseconds. It must not get it.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!invocation.is_finished());
    let throttled = host.host.invoke("fixture", "{}".into(), None).await.unwrap_err();
    assert!(matches!(throttled, InvokeError::Throttled { limit: 1, .. }), "{throttled}");

    let commands = ["-batch", "-nx", "-ex", "shell sleep 0.5", "-p", &pid.to_string()].map(str::to_owned);
    let gdb = tokio::process::Command::new("gdb").args(commands).output().await.unwrap();
    if String::from_utf8_lossy(&gdb.stderr).contains("Operation not permitted") {
        eprintln!("skipped: this machine lets only root attach (kernel.yama.ptrace_scope)");
        return;
    }
    let Ok(answer) = tokio::time::timeout(Duration::from_secs(30), invocation).await else {
        panic!("gdb did not attach: {gdb:?}");
    };
    let answer: Value = serde_json::from_slice(&answer.unwrap().unwrap()).unwrap();
    assert_eq!(answer["pid"], pid);
    assert_eq!(host.invoke(json!({})).await.unwrap()["pid"], pid, "it waits only once");
    host.end().await;
}

#[tokio::test]
async fn no_process_is_stopped_for_a_slow_start_or_for_idleness() {
    // The debugger's user decides how long the start takes. Without the debugger, these limits would end each process.
    let limits = Limits { init: Duration::ZERO, idle: Duration::from_millis(20) };
    let host = TestHost::with_limits(vec![debugged(Debug::Listening { port: 1 })], limits).await;
    let pid = host.invoke(json!({})).await.unwrap()["pid"].clone();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(host.invoke(json!({})).await.unwrap()["pid"], pid);
    assert_eq!(host.state().cold_starts, 1);
    host.end().await;
}

#[tokio::test]
async fn a_new_process_starts_when_the_old_one_has_gone() {
    // Its debugger listens at a port, which two processes can't share.
    let host = TestHost::start(vec![debugged(Debug::Listening { port: 1 })]).await;
    for _ in 0..3 {
        let old = host.invoke(json!({})).await.unwrap()["pid"].as_u64().unwrap();
        host.host.replace_code("fixture", function(None).code);
        let new = host.invoke(json!({})).await.unwrap()["pid"].as_u64().unwrap();
        assert_ne!(new, old);
        assert!(!is_alive(u32::try_from(old).unwrap()));
    }
    host.end().await;
}
