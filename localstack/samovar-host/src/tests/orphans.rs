//! No function outlives its host, even when the host is killed with SIGKILL.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use super::*;

#[allow(clippy::disallowed_methods, reason = "tells the two roles of this program apart")]
fn is_host_process() -> bool {
    std::env::var_os("HOST_TO_BE_KILLED").is_some()
}

/// Does nothing unless the test below runs it. Then it is a host with one idle and one busy function, and prints their
/// process ids.
#[test]
fn host_process() {
    if !is_host_process() {
        return;
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let host = TestHost::start(vec![function(None)]).await;
        let (_busy, _invocation) = host.hold().await;
        host.invoke(json!({})).await.unwrap();
        println!("\npids {}", serde_json::to_string(&host.state().pids).unwrap());
        std::future::pending::<()>().await;
    });
}

#[test]
fn a_host_that_is_killed_leaves_no_process() {
    let this = concat!(module_path!(), "::host_process");
    let mut host = Command::new(std::env::current_exe().unwrap())
        .args([this.split_once("::").unwrap().1, "--exact", "--nocapture"])
        .env("HOST_TO_BE_KILLED", "yes")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(host.stdout.take().unwrap()).lines().map(Result::unwrap);
    let pids = lines.find_map(|line| Some(line.strip_prefix("pids ")?.to_owned())).unwrap();
    let pids: Vec<u32> = serde_json::from_str(&pids).unwrap();
    assert_eq!(pids.len(), 2);
    assert!(pids.iter().all(|pid| is_alive(*pid)));
    host.kill().unwrap();
    host.wait().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(eventually(|| pids.iter().all(|pid| !is_alive(*pid))));
}
