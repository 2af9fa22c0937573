//! Child processes: how they are started, tied to the host's life, and asked to stop.
//!
//! One thread starts every child, and lives as long as the pool, for two reasons. First, starting a child blocks (from
//! vfork until exec) and must not hold up the async threads. Second, where `setpriv` (util-linux) is available, a child
//! gets a parent death signal, so that not even SIGKILL on the host leaves a function running. That signal is bound to
//! the *thread* that started the child, and a thread of tokio's blocking pool ends after some idle seconds.
//!
//! Without `setpriv` (macOS) an orphan ends when it next calls the Runtime API: `lambda_runtime` returns an error from
//! `run` when its poll fails. This also covers a child whose parent dies in the instant before the signal is set.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;

use tokio::net::unix::pipe;
use tokio::process::Child;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// The program to start. The environment is complete, and nothing is inherited.
#[derive(Debug)]
pub(super) struct Program<'a> {
    pub(super) path: &'a Path,
    pub(super) args: &'a [String],
    pub(super) directory: &'a Path,
    pub(super) environment: std::collections::BTreeMap<String, String>,
}

/// A started child and its output.
pub(super) struct Started {
    pub(super) child: Child,
    pub(super) output: pipe::Receiver,
}

struct StartRequest {
    command: Command,
    runtime: Handle,
    reply: oneshot::Sender<io::Result<Started>>,
}

/// The thread that starts processes.
#[derive(Debug)]
pub(super) struct Spawner {
    requests: mpsc::Sender<StartRequest>,
    setpriv: Option<&'static str>,
}

impl Spawner {
    pub(super) fn new() -> Spawner {
        let (requests, queue) = mpsc::channel::<StartRequest>();
        let serve = move || {
            for StartRequest { command, runtime, reply } in queue {
                // The runtime of the requesting task watches the child's pipe and exit.
                let _entered = runtime.enter();
                let _ = reply.send(start(command));
            }
        };
        std::thread::Builder::new().name("function-spawner".into()).spawn(serve).expect("a thread can be started");
        Spawner { requests, setpriv: find_setpriv() }
    }

    pub(super) async fn start(&self, program: Program<'_>) -> io::Result<Started> {
        // Checked here, because under setpriv a missing program would only show as an odd exit status.
        if !program.path.is_file() {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                format!("There is no program {}", program.path.display()),
            ));
        }
        let mut command = match self.setpriv {
            Some(setpriv) => {
                let mut command = Command::new(setpriv);
                command.args(["--pdeathsig", "KILL", "--"]).arg(program.path);
                command
            }
            None => Command::new(program.path),
        };
        command.args(program.args).current_dir(program.directory).env_clear().envs(program.environment);
        let (reply, started) = oneshot::channel();
        let gone = || io::Error::other("The function host has stopped");
        self.requests.send(StartRequest { command, runtime: Handle::current(), reply }).map_err(|_| gone())?;
        started.await.map_err(|_| gone())?
    }
}

fn start(mut command: Command) -> io::Result<Started> {
    // One pipe for both streams needs half the descriptors and keeps the order of their output.
    let (reader, writer) = io::pipe()?;
    command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    let child = tokio::process::Command::from(command)
        .kill_on_drop(true)
        // Ctrl-C in a terminal signals the whole process group. Functions have their own groups, so they may finish
        // first.
        .process_group(0)
        .spawn()?;
    Ok(Started { child, output: pipe::Receiver::from_owned_fd(OwnedFd::from(reader))? })
}

/// The path of `setpriv`, if it can set a parent death signal (the one of BusyBox cannot).
fn find_setpriv() -> Option<&'static str> {
    ["/usr/bin/setpriv", "/bin/setpriv"].into_iter().find(|setpriv| {
        Command::new(setpriv)
            .args(["--pdeathsig", "KILL", "--", "/bin/true"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    })
}

/// Sends SIGTERM to the process groups that these processes lead.
///
/// It uses the shell's `kill`, because std and tokio offer no safe way to send another signal than SIGKILL. One shell
/// signals all of them.
pub(super) async fn terminate(pids: &[u32]) {
    if pids.is_empty() {
        return;
    }
    let groups = pids.iter().map(|pid| format!("-{pid}"));
    let sent = tokio::process::Command::new("/bin/sh")
        .args(["-c", r#"kill -s TERM -- "$@""#, "kill"])
        .args(groups)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null()) // Some of them may already be gone.
        .status()
        .await;
    if let Err(error) = sent {
        tracing::warn!("functions: SIGTERM could not be sent ({error}), so they are killed with SIGKILL");
    }
}
