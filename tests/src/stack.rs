//! A stack under test: a process of its own, started as `cargo run` starts it, or the one that all tests share.

use std::io::{BufRead as _, BufReader, Read as _, Seek as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::host::{self, Shared, left_out};
use crate::rest::Rest;

/// How long anything may take before a test gives up, on a loaded machine with two cores.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

#[derive(Debug, Default)]
pub struct StackOptions {
    args: Vec<String>,
    environment: Vec<(String, String)>,
    data_dir: Option<PathBuf>,
    port: Option<u16>,
    refused: Vec<String>,
}

impl StackOptions {
    pub fn param(mut self, name: &str, value: impl std::fmt::Display) -> Self {
        self.args.extend(["--param".to_owned(), format!("{name}={value}")]);
        self
    }

    pub fn arg(mut self, arg: &str) -> Self {
        self.args.push(arg.to_owned());
        self
    }

    /// Sets a variable in the process's environment.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Keeps the data in this directory, for another stack to use. Without this, the data is in memory.
    pub fn data_dir(mut self, path: &Path) -> Self {
        self.data_dir = Some(path.to_owned());
        self
    }

    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Expects that calls of this function are refused for want of a permission. The test fails if one of another
    /// function is.
    pub fn refused(mut self, function: &str) -> Self {
        self.refused.push(function.to_owned());
        self
    }

    pub async fn start(self) -> Stack {
        if let Some(shared) = host::shared().await {
            return Stack::sharing(shared, &self);
        }
        tokio::task::spawn_blocking(|| Stack::start(self)).await.expect("the stack starts")
    }
}

#[derive(Debug)]
pub struct Stack {
    pub url: String,
    pub websocket_url: String,
    host: Host,
    http: reqwest::Client,
}

#[derive(Debug)]
enum Host {
    Own(Process),
    Shared {
        stack: &'static Shared,
        /// Makes the names of this test's users unlike all others.
        suffix: String,
        /// The test's users so far.
        users: Mutex<Vec<String>>,
    },
}

/// The process of a stack.
#[derive(Debug)]
struct Process {
    child: Child,
    killed: bool,
    /// The functions whose calls may be refused.
    refused: Vec<String>,
    log: std::fs::File,
    _dir: TempDir,
}

impl Stack {
    /// A stack in memory whose mock model answers at once.
    pub async fn quick() -> Self {
        StackOptions::default().param("MockLatencyMs", 0).start().await
    }

    fn sharing(stack: &'static Shared, options: &StackOptions) -> Self {
        let StackOptions { args, environment, data_dir, port, refused: _ } = options;
        let quick = args == &["--param", "MockLatencyMs=0"];
        if !quick || !environment.is_empty() || data_dir.is_some() || port.is_some() {
            left_out("it needs a stack of its own with other settings");
        }
        let suffix = crate::new_id().chars().take(8).collect();
        let http = reqwest::Client::builder().timeout(PATIENCE).build().expect("an HTTP client");
        let host = Host::Shared { stack, suffix, users: Mutex::default() };
        Self { url: stack.url.clone(), websocket_url: stack.websocket_url.clone(), host, http }
    }

    fn start(options: StackOptions) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .read(true)
            .open(dir.path().join("log"))
            .expect("a log file");
        let mut command = Command::new(program());
        command.current_dir(workspace()).args(["--port", &options.port.unwrap_or(0).to_string()]).args(&options.args);
        // Tests of the site build their own. All other tests need only Rust.
        command.arg("--no-site-build");
        // Tests send several messages in a row and say what each of them gets. On AWS they could overtake each other.
        command.arg("--websocket-in-order");
        // All stacks of a run write down which permissions their functions use: `just permissions`.
        #[expect(clippy::disallowed_methods, reason = "the harness has no settings but this one")]
        let permissions = std::env::vars_os().find(|(name, _)| name == "PERMISSIONS_LOG").map(|(_, log)| log);
        if let Some(log) = permissions.filter(|_| !options.args.iter().any(|arg| arg == "--no-iam")) {
            command.arg("--permissions-log").arg(log);
        }
        // The stack's authority for certificates is with the data of its user, and tests leave nothing there.
        command.env("XDG_DATA_HOME", workspace().join("target/tmp"));
        command.envs(options.environment.iter().map(|(name, value)| (name, value)));
        match &options.data_dir {
            Some(path) => command.arg("--data-dir").arg(path),
            None => command.arg("--ephemeral"),
        };
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log.try_clone().expect("a handle"));
        let mut child = command.spawn().expect("the program starts");
        let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let ready = stdout.lines().map_while(Result::ok).find_map(|line| serde_json::from_str::<Value>(&line).ok());
        let Some(ready) = ready.filter(|line| line["ready"] == true) else {
            let status = child.wait();
            panic!("the stack did not become ready: {status:?}\n{}", read(&log));
        };
        let text = |name: &str| ready[name].as_str().expect("a URL in the ready line").to_owned();
        let http = reqwest::Client::builder().timeout(PATIENCE).build().expect("an HTTP client");
        let host = Host::Own(Process { child, killed: false, refused: options.refused, log, _dir: dir });
        Self { url: text("url"), websocket_url: text("websocketUrl"), host, http }
    }

    /// The port that has both the REST API and the WebSocket API.
    pub fn port(&self) -> u16 {
        let port = self.url.strip_prefix("http://127.0.0.1:").and_then(|port| port.parse().ok());
        port.filter(|port| self.websocket_url == format!("ws://127.0.0.1:{port}/ws"))
            .unwrap_or_else(|| left_out("it needs one port of this machine for both APIs"))
    }

    fn process(&self) -> &Process {
        match &self.host {
            Host::Own(process) => process,
            Host::Shared { .. } => left_out("it needs the stack's process"),
        }
    }

    fn process_mut(&mut self) -> &mut Process {
        match &mut self.host {
            Host::Own(process) => process,
            Host::Shared { .. } => left_out("it needs the stack's process"),
        }
    }

    pub fn pid(&self) -> u32 {
        self.process().child.id()
    }

    /// Leaves the test out where others use the stack too.
    pub fn alone(&self) {
        if matches!(self.host, Host::Shared { .. }) {
            left_out("it needs a stack that no other test uses");
        }
    }

    /// The name by which the stack knows a user of this test.
    pub fn name_of(&self, username: &str) -> String {
        match &self.host {
            Host::Own(_) => username.to_owned(),
            Host::Shared { suffix, .. } => format!("{username}-{suffix}"),
        }
    }

    /// A bearer token of the local issuer.
    pub async fn token(&self, username: &str) -> String {
        self.token_in(username, &[]).await
    }

    /// The same, for a member of these groups.
    pub async fn token_in(&self, username: &str, groups: &[&str]) -> String {
        match &self.host {
            Host::Own(_) => host::token_from(&self.http, &format!("{}/_local/token", self.url), username, groups).await,
            Host::Shared { stack, users, .. } => {
                let user = self.name_of(username);
                let index = {
                    let mut users = users.lock().expect("the users");
                    let known = users.iter().position(|other| *other == user);
                    known.unwrap_or_else(|| {
                        users.push(user.clone());
                        users.len() - 1
                    })
                };
                stack.token(&self.http, &user, index, groups).await
            }
        }
    }

    /// The REST API as this user sees it.
    pub async fn rest(&self, username: &str) -> Rest {
        self.rest_with(&self.token(username).await)
    }

    /// The REST API as an administrator sees it.
    pub async fn admin(&self) -> Rest {
        self.rest_with(&self.token_in("root", &["admin"]).await)
    }

    /// The REST API with this token.
    pub fn rest_with(&self, token: &str) -> Rest {
        Rest::new(&self.url, token, &self.http)
    }

    /// Leaves the test out where its users are given by their tokens: they may have conversations, and other names.
    pub fn with_new_users(&self) {
        if let Host::Shared { stack, .. } = &self.host
            && stack.has_given_users()
        {
            left_out("it needs a new user");
        }
    }

    /// Leaves the test out where the stack is not the local one.
    pub fn with_console(&self) {
        if let Host::Shared { stack: Shared { console: false, .. }, .. } = &self.host {
            left_out("it needs the local console");
        }
    }

    /// Checks that there is what the path asks for.
    fn check(&self, path: &str) {
        if path.starts_with("/_local") || path.starts_with("/_aws") {
            self.with_console();
        }
    }

    pub async fn get(&self, path: &str) -> reqwest::Response {
        self.check(path);
        self.http.get(format!("{}{path}", self.url)).send().await.expect("an answer")
    }

    pub async fn post(&self, path: &str, body: &str) -> reqwest::Response {
        self.check(path);
        let request = self.http.post(format!("{}{path}", self.url)).header("content-type", "application/json");
        request.body(body.to_owned()).send().await.expect("an answer")
    }

    /// Calls SQS as an operator does.
    pub async fn sqs(&self, operation: &str, body: &Value) -> Value {
        self.aws(&format!("AmazonSQS.{operation}"), body).await
    }

    /// Calls DynamoDB as an operator does.
    pub async fn dynamodb(&self, operation: &str, body: &Value) -> Value {
        self.aws(&format!("DynamoDB_20120810.{operation}"), body).await
    }

    async fn aws(&self, operation: &str, body: &Value) -> Value {
        self.check("/_aws");
        let call = self.http.post(format!("{}/_aws", self.url)).header("x-amz-target", operation);
        let response = call.body(body.to_string()).send().await.expect("an answer");
        let (status, answer) = (response.status(), response.text().await.expect("a body"));
        assert!(status.is_success(), "{operation}: {answer}");
        serde_json::from_str(&answer).unwrap_or_default()
    }

    pub async fn state(&self) -> Value {
        if let Host::Shared { stack: Shared { console: true, counts: false, .. }, .. } = &self.host {
            left_out("it needs the counts of functions, which run elsewhere");
        }
        self.get("/_local/state").await.json().await.expect("JSON")
    }

    /// Reads the state until it is as wanted.
    pub async fn until(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let state = self.state().await;
            if wanted(&state) {
                return state;
            }
            assert!(Instant::now() < deadline, "never {what}:\n{state:#}\n{}", self.log_if_any());
            // The state sends no notification. This is the polling interval, and not a wait for time to pass.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Process ids of a function's instances.
    pub async fn pids(&self, function: &str) -> Vec<u64> {
        self.process();
        let state = self.state().await;
        let pids = state["functions"][function]["pids"].as_array().cloned().unwrap_or_default();
        pids.iter().filter_map(Value::as_u64).collect()
    }

    /// Everything that the stack and its functions have logged.
    pub fn log(&self) -> String {
        read(&self.process().log)
    }

    /// The same, or nothing where the log is elsewhere.
    pub fn log_if_any(&self) -> String {
        match &self.host {
            Host::Own(process) => read(&process.log),
            Host::Shared { .. } => String::new(),
        }
    }

    pub fn signal(&self, signal: &str) {
        signal_process(signal, u64::from(self.pid()));
    }

    /// Sends SIGKILL, so the stack can tell nobody.
    pub fn kill(mut self) {
        self.process_mut().killed = true;
        self.signal("KILL");
    }

    /// Sends SIGTERM and gives the exit code.
    pub fn stop(&mut self) -> Option<i32> {
        self.process_mut().stop()
    }
}

impl Process {
    fn stop(&mut self) -> Option<i32> {
        if let Ok(Some(status)) = self.child.try_wait() {
            return status.code();
        }
        if !self.killed {
            signal_process("TERM", u64::from(self.child.id()));
        }
        let deadline = Instant::now() + Duration::from_secs(20);
        while Instant::now() < deadline {
            if let Ok(Some(status)) = self.child.try_wait() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        self.child.kill().ok();
        self.child.wait().ok();
        None
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let functions = descendants(self.child.id());
        let code = self.stop();
        if std::thread::panicking() {
            eprintln!("--- log of the stack ---\n{}", read(&self.log));
            return;
        }
        let log = read(&self.log);
        if !self.killed {
            assert_eq!(code, Some(0), "the stack stops cleanly\n{log}");
        }
        // Retries, and the functions that do again what another one could not, would hide a permission that is missing.
        let unexpected = refusals(&log).find(|(function, _)| !self.refused.iter().any(|expected| expected == function));
        assert!(unexpected.is_none(), "{}\n{log}", unexpected.map(|(_, line)| line).unwrap_or_default());
        // The processes of a killed stack notice its end a moment later.
        let deadline = Instant::now() + Duration::from_secs(if self.killed { 10 } else { 0 });
        let mut left = functions;
        loop {
            left.retain(|pid| is_alive(*pid));
            if left.is_empty() || Instant::now() >= deadline {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(left.is_empty(), "processes are left behind: {left:?}\n{}", read(&self.log));
    }
}

/// The calls that were refused for want of a permission: the function, and the line of the log.
fn refusals(log: &str) -> impl Iterator<Item = (&str, &str)> {
    log.lines().filter_map(|line| {
        let (before, _) = line.split_once(" may not do this")?;
        Some((before.rsplit(' ').next()?, line))
    })
}

/// Sends a signal to a process of the stack.
pub(crate) fn signal_process(signal: &str, pid: u64) {
    let status = Command::new("kill").args([format!("-{signal}"), pid.to_string()]).status();
    assert!(status.is_ok_and(|status| status.success()), "kill -{signal} {pid}");
}

fn read(mut log: &std::fs::File) -> String {
    let mut text = String::new();
    log.rewind().and_then(|()| log.read_to_string(&mut text)).expect("the log can be read");
    text
}

/// The children of a process, from `/proc`.
fn descendants(pid: u32) -> Vec<u32> {
    let children = std::fs::read_dir("/proc").into_iter().flatten().filter_map(|entry| {
        let child: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
        (parent(child)? == pid).then_some(child)
    });
    children.collect()
}

fn parent(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().next()).is_some_and(|state| state != "Z")
}

/// The program that `cargo run` starts. It is built once per process, in the profile of that process. Cargo's own lock
/// keeps parallel builds apart, and cargo builds only what has changed.
pub fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    if host::is_shared() {
        left_out("it starts stacks of its own");
    }
    PROGRAM.get_or_init(|| {
        // target/PROFILE/deps/this-test, or target/PROFILE/this-program
        let this = std::env::current_exe().expect("the program's own path");
        let folder = this.parent().expect("a folder");
        let profile = if folder.ends_with("deps") { folder.parent().expect("a target directory") } else { folder };
        let mut command = Command::new(env!("CARGO"));
        command.current_dir(workspace()).args(["build", "--bins", "--quiet"]);
        if profile.ends_with("release") {
            command.arg("--release");
        }
        // The variables that cargo sets for a test would make build scripts run anew.
        #[allow(clippy::disallowed_methods, reason = "cargo's interface is the environment")]
        let names: Vec<_> = std::env::vars_os().map(|(name, _)| name).collect();
        for name in names {
            let text = name.to_string_lossy();
            if ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"].iter().any(|set| text.starts_with(set)) {
                command.env_remove(&name);
            }
        }
        assert!(command.status().is_ok_and(|status| status.success()), "the workspace does not build");
        profile.join("parley")
    })
}

pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace's folder")
}
