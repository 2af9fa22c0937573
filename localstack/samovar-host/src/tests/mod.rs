//! The host with real child processes: this test program again, run as the function that [`fixture`] is.

use std::io::Write;
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::*;

mod api;
mod debugging;
mod failures;
mod fixture;
mod hostile;
mod measure;
mod orphans;
mod scheduling;

/// A host with its Runtime API served, and the function processes it had. Call [`TestHost::end`] at the end.
struct TestHost {
    host: Host,
    output: Captured,
}

impl TestHost {
    async fn start(functions: Vec<FunctionSpec>) -> TestHost {
        TestHost::with_limits(functions, Limits::default()).await
    }

    async fn with_limits(functions: Vec<FunctionSpec>, limits: Limits) -> TestHost {
        let captured = Captured::default();
        let output = Output::to(captured.clone(), false);
        let host = Host::of(Pool::new(functions, "us-east-1".into(), 1000, limits, output));
        TestHost { host, output: captured }
    }

    /// Invokes the only function.
    async fn invoke(&self, event: Value) -> Result<Value, InvokeError> {
        let response = self.host.invoke("fixture", event.to_string().into(), None).await?;
        Ok(serde_json::from_slice(&response).unwrap())
    }

    /// Invokes it with an event that holds it until the [`Hold`] is dropped; returns when it runs.
    async fn hold(&self) -> (Hold, JoinHandle<Result<Bytes, InvokeError>>) {
        let gate = Gate::open().await;
        let (host, event) = (self.host.clone(), gate.event());
        let invocation = tokio::spawn(async move { host.invoke("fixture", event, None).await });
        (gate.next().await, invocation)
    }

    /// The ids of the function's processes.
    fn instances(&self) -> Vec<Arc<str>> {
        self.host.pool.ids("fixture")
    }

    fn state(&self) -> FunctionState {
        self.host.state()["fixture"].clone()
    }

    /// Waits until the function's state is such.
    async fn when(&self, condition: impl Fn(&FunctionState) -> bool) {
        eventually(|| condition(&self.state())).await;
    }

    /// Shuts down and checks that nothing is left.
    async fn end(self) -> String {
        let pids = self.host.pool.pids();
        self.host.shutdown(Duration::from_secs(10)).await;
        assert!(self.host.state().values().all(|state| state.pids.is_empty() && state.in_flight.now == 0));
        assert!(pids.iter().all(|pid| !is_alive(*pid)), "a process is left");
        self.output.text()
    }
}

/// The test program itself, as a function.
fn function(concurrency: Option<u32>) -> FunctionSpec {
    FunctionSpec {
        name: "fixture".into(),
        arn: "arn:aws:lambda:us-east-1:000000000000:function:fixture".into(),
        function_name: "local-Fixture-1".into(),
        runtime: "provided.al2023".into(),
        handler: "fixture.handler".into(),
        code: Code { args: fixture::arguments(), ..Code::of_program(std::env::current_exe().unwrap()) },
        memory_mb: 128,
        timeout: Duration::from_secs(60),
        concurrency,
        environment: [("FIXTURE".to_owned(), "serve".to_owned())].into(),
        own_credentials: true,
        debug: None,
    }
}

/// A function whose init does something else than succeed.
fn function_with_init(init: &str) -> FunctionSpec {
    let mut function = function(Some(2));
    function.environment.insert("FIXTURE".into(), init.into());
    function
}

/// The address where held invocations report that they run, and wait.
struct Gate(TcpListener);

/// A running invocation. It answers when this is dropped.
struct Hold {
    stream: TcpStream,
}

impl Gate {
    async fn open() -> Gate {
        Gate(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    fn event(&self) -> Bytes {
        json!({"do": "hold", "at": self.0.local_addr().unwrap().to_string()}).to_string().into()
    }

    async fn next(&self) -> Hold {
        Hold { stream: self.0.accept().await.unwrap().0 }
    }
}

impl Hold {
    /// The invocation's report: the URL of its Runtime API, and its request id.
    async fn url_and_request_id(&mut self) -> (String, String) {
        let mut line = String::new();
        while !line.ends_with('\n') {
            line.push(char::from(self.stream.read_u8().await.unwrap()));
        }
        let (base, id) = line.trim().split_once(' ').unwrap();
        (format!("http://{base}/2018-06-01/runtime"), id.to_owned())
    }
}

#[derive(Debug, Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Captured {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Polls a condition that has no event. The limit only turns a hang into a failure.
async fn eventually(condition: impl Fn() -> bool) {
    let waited = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waited).await.expect("it comes true");
}

/// A zombie does not count as alive: in a container perhaps no process reaps orphans.
fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or_default().starts_with(" Z"))
}

fn kill(pid: u32) {
    let status = std::process::Command::new("/bin/sh").args(["-c", &format!("kill -KILL {pid}")]).status().unwrap();
    assert!(status.success());
}
