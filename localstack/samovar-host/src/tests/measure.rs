//! A speed measurement, on demand: `cargo test --workspace --lib tests::measure -- --ignored --nocapture`.

use std::time::Instant;

use super::*;

async fn per_second(host: &TestHost, callers: usize, calls: usize) -> f64 {
    let began = Instant::now();
    let callers: Vec<_> = (0..callers)
        .map(|_| {
            let host = host.host.clone();
            tokio::spawn(async move {
                for _ in 0..calls {
                    host.invoke("fixture", Bytes::from_static(b"{}"), None).await.unwrap();
                }
            })
        })
        .collect();
    let total = callers.len() * calls;
    for caller in callers {
        caller.await.unwrap();
    }
    total as f64 / began.elapsed().as_secs_f64()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn invocations_per_second() {
    let host = TestHost::start(vec![function(Some(500))]).await;
    let began = Instant::now();
    host.invoke(json!({})).await.unwrap();
    println!("cold start: {:.1} ms", began.elapsed().as_secs_f64() * 1e3);
    println!("warm, 1 caller: {:.0}/s", per_second(&host, 1, 5000).await);
    per_second(&host, 50, 5).await;
    println!("warm, 50 callers: {:.0}/s", per_second(&host, 50, 400).await);

    let gate = Gate::open().await;
    let began = Instant::now();
    let invocations: Vec<_> = (0..500)
        .map(|_| {
            let (host, event) = (host.host.clone(), gate.event());
            tokio::spawn(async move { host.invoke("fixture", event, None).await.unwrap() })
        })
        .collect();
    let mut running = Vec::new();
    while running.len() < 500 {
        running.push(gate.next().await);
    }
    let state = host.state();
    println!("500 at once after {:.2} s, {} processes", began.elapsed().as_secs_f64(), state.pids.len());
    let descriptors = std::fs::read_dir("/proc/self/fd").unwrap().count();
    println!("open files: {descriptors}; host {}, a process {}", rss("self"), rss(&state.pids[0].to_string()));
    drop(running);
    for invocation in invocations {
        invocation.await.unwrap();
    }
    println!("warm, 500 callers: {:.0}/s", per_second(&host, 500, 40).await);
    let began = Instant::now();
    host.end().await;
    println!("shutdown: {:.2} s", began.elapsed().as_secs_f64());
}

fn rss(pid: &str) -> String {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default().trim().to_owned()
}
