//! Runs the program `samovar` in a copy of an example, from its start to its end.
//!
//! The copy is in a temporary folder, so nothing that a build leaves beside its sources stays in the repository. What
//! stacks share (the runtimes of languages) is kept in cargo's folder for the files of tests.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use reqwest::Method;
use serde_json::Value;

/// What a build or a run leaves beside the sources.
const LEFT: [&str; 4] = [".aws-sam", ".samovar", "node_modules", "target"];

/// No step of a test takes this long, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running example.
pub(crate) struct Example {
    child: Child,
    // Open for as long as the program may write to it.
    _stdout: BufReader<ChildStdout>,
    /// `http://127.0.0.1:PORT`.
    pub(crate) url: String,
    dir: tempfile::TempDir,
    /// The copy, within `dir`.
    project: PathBuf,
    args: &'static [&'static str],
}

impl Example {
    /// Starts the example in the folder `examples/NAME`, and returns when it can be used.
    pub(crate) fn start(name: &str) -> Self {
        Self::start_with(name, &["--ephemeral"])
    }

    /// The same with a data directory.
    pub(crate) fn start_kept(name: &str) -> Self {
        Self::start_with(name, &[])
    }

    fn start_with(name: &str, args: &'static [&'static str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
        let project = dir.path().join(name);
        copy(&examples.join(name), &project);
        share_builds(dir.path());
        let (child, _stdout, url) = run(&project, args);
        Self { child, _stdout, url, dir, project, args }
    }

    /// Kills the program as a crash would, and starts it again with the same data.
    pub(crate) fn killed_and_started_again(mut self) -> Self {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        (self.child, self._stdout, self.url) = run(&self.project, self.args);
        self
    }

    /// The status and the JSON of the answer to this request.
    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        answer(reqwest::Client::new().get(format!("{}{path}", self.url))).await
    }

    /// The same for a request with a body.
    pub(crate) async fn post(&self, path: &str, body: &str) -> (u16, Value) {
        self.send(Method::POST, path, body).await
    }

    /// The same with any method.
    pub(crate) async fn send(&self, method: Method, path: &str, body: &str) -> (u16, Value) {
        answer(reqwest::Client::new().request(method, format!("{}{path}", self.url)).body(body.to_owned())).await
    }

    /// Ends the program in order, as Ctrl-C does, and returns everything that it has written to its log.
    pub(crate) fn stop(mut self) -> String {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", "INT", &pid]).status().unwrap().success());
        assert!(self.child.wait().unwrap().success());
        self.log()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(log_in(self.dir.path())).unwrap_or_default()
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("The log of samovar:\n{}", self.log());
        }
        // After a failed test. Otherwise it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs the program in a project until it is ready. Returns its address too.
fn run(project: &Path, args: &[&str]) -> (Child, BufReader<ChildStdout>, String) {
    // A file, because a build may say more than a pipe holds.
    let log = File::options().create(true).append(true).open(log_in(project.parent().unwrap())).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_samovar"))
        .args(["--port", "0"])
        .args(args)
        .current_dir(project)
        .env("XDG_CACHE_HOME", env!("CARGO_TARGET_TMPDIR"))
        .env("XDG_DATA_HOME", env!("CARGO_TARGET_TMPDIR"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    let ready: Value = serde_json::from_str(&line).unwrap_or_default();
    match ready["url"].as_str() {
        Some(url) => (child, stdout, url.to_owned()),
        None => {
            let _ = child.kill();
            let _ = child.wait();
            let said = std::fs::read_to_string(log_in(project.parent().unwrap())).unwrap_or_default();
            panic!("{} is not ready: {line:?}\n{said}", project.display())
        }
    }
}

/// Lets packages in Rust below `dir` be built in the target folder of the repository and with its profile, so that a
/// dependency with the same version and features is compiled once.
fn share_builds(dir: &Path) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let manifest = std::fs::read_to_string(root.join("Cargo.toml")).unwrap();
    // `target/PROFILE/samovar`
    let target = Path::new(env!("CARGO_BIN_EXE_samovar")).ancestors().nth(2).unwrap();
    let mut config = format!("[build]\ntarget-dir = {:?}\n", target.to_str().unwrap());
    let mut is_profile = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            is_profile = line.starts_with("[profile.dev");
        }
        if is_profile {
            config.push_str(line);
            config.push('\n');
        }
    }
    std::fs::create_dir(dir.join(".cargo")).unwrap();
    std::fs::write(dir.join(".cargo/config.toml"), config).unwrap();
}

fn log_in(dir: &Path) -> PathBuf {
    dir.join("samovar.log")
}

async fn answer(request: reqwest::RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let body = response.bytes().await.unwrap();
    (status, serde_json::from_slice(&body).unwrap_or_else(|error| panic!("{error}: {body:?}")))
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let name = entry.file_name();
        if LEFT.iter().any(|left| name == *left) {
            continue;
        }
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to.join(name)),
            false => drop(std::fs::copy(entry.path(), to.join(name)).unwrap()),
        }
    }
}

/// Waits for a future, but not for ever.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(result) => result,
        Err(_) => panic!("Waited in vain until: {what}"),
    }
}

/// Whether there are Python and the index of its packages. If not, the test is skipped with a word.
pub(crate) fn there_is_python() -> bool {
    let dir = tempfile::tempdir().unwrap();
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "download", "--no-deps", "--quiet", "awslambdaric", "-d"]).arg(dir.path());
    there_is("Python with venv", Command::new("python3").args(["-m", "venv", "--help"]))
        && there_is("package index for Python", &mut pip)
}

/// Whether this command succeeds. If not, the test is skipped with a word.
pub(crate) fn there_is(what: &str, command: &mut Command) -> bool {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    let there = status.is_ok_and(|status| status.success());
    if !there {
        eprintln!("skipped: there is no {what} here");
    }
    there
}
