//! The web site from the terminal's side: the messages when a stack starts, and the processes of its build. Also the
//! settings of the web client at `/config.json`.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use e2e::{Stack, StackOptions};
use serde_json::{Value, json};

/// A stack with nothing but a site, which `run` builds.
fn project(run: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    let template = format!(
        "Metadata:
  StaticSite:
    Directory: dist
    Build:
      Directory: .
      Needs: Node.js 20.19 or newer
      Run: {run}
      Sources: [page.html]
Resources: {{Q: {{Type: AWS::SQS::Queue}}}}
"
    );
    std::fs::write(dir.path().join("template.yaml"), template).expect("written");
    std::fs::write(dir.path().join("page.html"), "<title>Here</title>").expect("written");
    dir
}

/// A stack that is stopped, and whose output is read, by the test itself.
struct Parley {
    child: Child,
    stdout: BufReader<std::process::ChildStdout>,
}

impl Parley {
    fn start(dir: &Path, path: Option<&str>) -> Self {
        let mut command = Command::new(e2e::program());
        command.args(["--ephemeral", "--port", "0", "--template"]).arg(dir.join("template.yaml"));
        if let Some(path) = path {
            command.env("PATH", path);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        Self { child, stdout }
    }

    /// Waits until the stack is ready and gives its URL.
    fn ready(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("a line");
        let ready: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("not ready, but {line:?}"));
        ready["url"].as_str().expect("a URL").to_owned()
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([format!("-{signal}"), self.child.id().to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill -{signal}");
    }

    /// Waits for its end. Gives the exit code and its output.
    fn end(mut self) -> (Option<i32>, String) {
        let mut said = String::new();
        self.child.stderr.take().expect("it is piped").read_to_string(&mut said).expect("text");
        (self.child.wait().expect("it ends").code(), said)
    }

    fn stop(self) -> String {
        self.signal("TERM");
        let (code, said) = self.end();
        assert_eq!(code, Some(0), "{said}");
        said
    }
}

/// Waits for a file that a build writes and gives its line.
fn appears(path: &Path) -> String {
    let deadline = Instant::now() + Duration::from_secs(90);
    loop {
        match std::fs::read_to_string(path) {
            Ok(text) if text.ends_with('\n') => return text.trim().to_owned(),
            _ => assert!(Instant::now() < deadline, "never there: {}", path.display()),
        }
        // A file sends no event. This is the polling interval.
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn is_gone(pid: &str) {
    let state = || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(')').and_then(|(_, rest)| rest.trim_start().chars().next())
    };
    let deadline = Instant::now() + Duration::from_secs(10);
    while state().is_some_and(|state| state != 'Z') {
        assert!(Instant::now() < deadline, "process {pid} is still there");
        std::thread::sleep(Duration::from_millis(10));
    }
}

async fn get(url: &str, path: &str) -> (u16, String) {
    let response = reqwest::get(format!("{url}{path}")).await.expect("an answer");
    (response.status().as_u16(), response.text().await.expect("text"))
}

#[tokio::test]
async fn without_npm_one_sentence_says_what_to_install_and_all_else_works() {
    let dir = project("npm run build");
    let empty = tempfile::tempdir().expect("a directory");
    let mut stack = Parley::start(dir.path(), empty.path().to_str());
    let url = stack.ready();
    let sentence = "The site is not built, because npm was not found: install Node.js 20.19 or newer and start again";
    let (status, page) = get(&url, "/").await;
    assert!(status == 503 && page.contains(sentence), "{status} {page}");
    assert_eq!(get(&url, "/_local/health").await.0, 200);
    let said = stack.stop();
    assert_eq!(said.matches(sentence).count(), 1, "{said}");
}

#[tokio::test]
async fn a_build_that_fails_is_shown_and_all_else_works() {
    let dir = project("echo this is wrong; echo and that >&2; exit 7");
    let mut stack = Parley::start(dir.path(), None);
    let url = stack.ready();
    let (status, page) = get(&url, "/").await;
    assert!(status == 503 && page.contains("(exit status: 7)"), "{status} {page}");
    assert_eq!(get(&url, "/_local/health").await.0, 200);
    let said = stack.stop();
    for part in ["this is wrong", "and that", "The site is not built, because", "(exit status: 7)"] {
        assert!(said.contains(part), "no {part:?} in: {said}");
    }
}

#[test]
fn interrupt_stops_a_build_at_once_and_leaves_no_process() {
    let dir = project("mkdir dist; (echo $$ > pid; sleep 600; true)");
    let stack = Parley::start(dir.path(), None);
    let pid = appears(&dir.path().join("pid"));
    stack.signal("INT");
    let (code, said) = stack.end();
    assert_eq!(code, Some(0), "{said}");
    is_gone(&pid);
    assert!(!dir.path().join("dist/.build-stamp").exists());
}

#[test]
fn a_stack_that_is_killed_takes_its_build_with_it() {
    let dir = project("mkdir dist; (echo $$ > pid; sleep 600; true)");
    let stack = Parley::start(dir.path(), None);
    let pid = appears(&dir.path().join("pid"));
    stack.signal("KILL");
    stack.end();
    is_gone(&pid);
}

#[tokio::test]
async fn when_several_stacks_start_at_once_one_builds_and_all_serve() {
    let dir = project("mkdir building && sleep 0.2 && mkdir dist && cp page.html dist/index.html && rmdir building");
    let mut stacks: Vec<_> = (0..3).map(|_| Parley::start(dir.path(), None)).collect();
    for stack in &mut stacks {
        let url = stack.ready();
        assert_eq!(get(&url, "/").await, (200, "<title>Here</title>".to_owned()));
    }
    let said: String = stacks.into_iter().map(Parley::stop).collect();
    assert_eq!(said.matches("Building the site").count(), 1, "{said}");
    // A later stack does not build either, even if its template has another path to the same place.
    let link = tempfile::tempdir().expect("a directory");
    std::os::unix::fs::symlink(dir.path(), link.path().join("link")).expect("a link");
    let mut later = Parley::start(&link.path().join("link"), None);
    later.ready();
    assert!(!later.stop().contains("Building"));
}

#[tokio::test]
async fn the_web_client_is_told_where_everything_is() {
    let stack = StackOptions::default().param("MaxClients", 7).start().await;
    let config: Value = stack.get("/config.json").await.json().await.expect("JSON");
    assert_eq!(
        config,
        json!({
            "websocketUrl": stack.websocket_url,
            "apiUrl": stack.url,
            "auth": { "mode": "local", "issuer": format!("{}/_local/oidc", stack.url), "clientId": "UserPoolClient" },
            "limits": {
                "maxClients": 7,
                "leaseSeconds": 60,
                "firstMessageSeconds": 60,
                "maxPendingPerClient": 10,
                "maxTextBytes": 16384,
                "maxMediaBytes": 26_214_400,
            },
        })
    );
    let unknown = stack.get("/api/nothing").await;
    assert_eq!(unknown.status().as_u16(), 401, "it is the API's, which wants to know who asks");
    assert_eq!(stack.get("/docs").await.status().as_u16(), 200);
}

#[tokio::test]
async fn with_an_issuer_of_ones_own_the_web_client_is_sent_there() {
    let issuer = "https://id.example/realms/parley";
    let stack: Stack = StackOptions::default().param("OidcIssuer", issuer).param("OidcAudience", "web").start().await;
    let response = stack.get("/config.json").await;
    let policy = response.headers()["content-security-policy"].to_str().expect("text").to_owned();
    assert!(policy.contains("https://id.example;"), "{policy}");
    assert!(!policy.contains("amazon"), "{policy}");
    let config: Value = response.json().await.expect("JSON");
    assert_eq!(config["auth"], json!({ "mode": "oidc", "issuer": issuer, "clientId": "web" }));
}
