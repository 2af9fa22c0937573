//! A target is a Parley stack of this workspace, or a peer that speaks the same contract.
//!
//! A peer is a script `bench/peers/NAME/run`. It prints the same line as Parley when it is ready, and all that it
//! starts ends with it. A peer that can't run here says so and exits with 77, as tests that skip themselves do.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use e2e::{Stack, StackOptions};
use serde_json::Value;
use tempfile::TempDir;

#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) url: String,
    pub(crate) websocket_url: String,
    pub(crate) http: reqwest::Client,
    /// The process whose family does the work.
    pub(crate) root: u32,
    running: Running,
}

#[derive(Debug)]
enum Running {
    /// The directory is deleted after the stack has stopped.
    Stack {
        stack: Box<Stack>,
        _directory: Option<TempDir>,
    },
    Peer(Child),
}

/// The settings of a Parley stack.
#[derive(Debug, Clone)]
pub(crate) struct Parley {
    pub(crate) durable: bool,
    /// `MaxClients`, where it is not the default.
    pub(crate) max_clients: Option<u32>,
    /// More arguments of the command line.
    pub(crate) args: Vec<String>,
}

/// A peer that can't run on this machine. The text says why.
#[derive(Debug)]
pub(crate) struct Skipped(pub(crate) String);

/// Starts Parley.
pub(crate) async fn parley(settings: &Parley) -> Result<Target> {
    let mut options = StackOptions::default().param("MockLatencyMs", 0);
    if let Some(clients) = settings.max_clients {
        options = options.param("MaxClients", clients);
    }
    if !cfg!(debug_assertions) {
        options = options.arg("--release");
    }
    for arg in &settings.args {
        options = options.arg(arg);
    }
    let directory = if settings.durable { Some(tempfile::tempdir()?) } else { None };
    if let Some(directory) = &directory {
        options = options.data_dir(directory.path());
    }
    let stack = options.start().await;
    Ok(Target {
        name: if settings.durable { "parley".to_owned() } else { "parley --ephemeral".to_owned() },
        url: stack.url.clone(),
        websocket_url: stack.websocket_url.clone(),
        http: reqwest::Client::new(),
        root: stack.pid(),
        running: Running::Stack { stack: Box::new(stack), _directory: directory },
    })
}

/// Starts the local gateway with the echo.
pub(crate) async fn samovar() -> Result<Target> {
    let template = Path::new(env!("CARGO_MANIFEST_DIR")).join("echo").join("template.yaml");
    let mut options = StackOptions::default().arg("--template").arg(&template.to_string_lossy());
    if !cfg!(debug_assertions) {
        options = options.arg("--release");
    }
    let stack = options.start().await;
    Ok(Target {
        name: "samovar".to_owned(),
        url: stack.url.clone(),
        websocket_url: stack.websocket_url.clone(),
        http: reqwest::Client::new(),
        root: stack.pid(),
        running: Running::Stack { stack: Box::new(stack), _directory: None },
    })
}

/// Starts a peer.
pub(crate) fn peer(name: &str) -> Result<Result<Target, Skipped>> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers").join(name).join("run");
    ensure!(script.exists(), "There is no peer {name}: {} is missing", script.display());
    let mut command = Command::new(&script);
    // A peer that runs functions can have the same one.
    if let Some(echo) = std::env::current_exe()?.parent().map(|folder| folder.join("echo")).filter(|file| file.exists())
    {
        command.env("ECHO_BOOTSTRAP", echo);
    }
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut said = Vec::new();
    let lines = BufReader::new(child.stdout.take().context("It is piped")?).lines();
    for line in lines.map_while(Result::ok) {
        let ready: Option<Value> = serde_json::from_str(&line).ok();
        let Some(ready) = ready.filter(|line| line["ready"] == true) else {
            said.push(line);
            continue;
        };
        let text = |field: &str| ready[field].as_str().map(str::to_owned).context("A URL in the ready line");
        return Ok(Ok(Target {
            name: name.replace('_', " + "),
            url: text("url")?,
            websocket_url: text("websocketUrl")?,
            http: reqwest::Client::new(),
            root: child.id(),
            running: Running::Peer(child),
        }));
    }
    match child.wait()?.code() {
        Some(77) => Ok(Err(Skipped(said.pop().unwrap_or_default()))),
        code => bail!("The peer {name} did not start ({code:?}): {}", said.join("\n")),
    }
}

impl Target {
    /// The local stack's own counts. A peer has none.
    pub(crate) async fn state(&self) -> Option<Value> {
        match &self.running {
            Running::Stack { stack, .. } => Some(stack.state().await),
            Running::Peer(_) => None,
        }
    }

    pub(crate) fn stop(mut self) {
        if let Running::Peer(child) = &mut self.running {
            // The script ends when its input does.
            drop(child.stdin.take());
            let _ = child.wait();
        }
    }
}
