//! How long a function takes from the start of its process until it asks for an event, and until it has answered the
//! first one. The same functions in other languages are peers.
//!
//! This is the Lambda side of the Runtime API, for one process. The services are those of a Parley stack.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::StatusCode;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::{Mutex, mpsc};
use tokio::time::timeout;

use crate::client::{self, Client};
use crate::processes;
use crate::target::Target;

/// How often each function is started. The fastest and the slowest half are told apart by the median.
const STARTS: usize = 11;

/// Invocations of a warm process.
const WARM: u32 = 60;

const PATIENCE: Duration = Duration::from_secs(30);

/// One row of figures, in milliseconds. All are medians.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Started {
    pub(crate) function: String,
    /// From the start of the process until it asks for an event.
    pub(crate) ready: f64,
    /// From the start of the process until its first answer.
    pub(crate) first: f64,
    /// The time of an answer of a warm process.
    pub(crate) warm: f64,
    /// Processor time from the start to the first answer.
    pub(crate) cpu_first: f64,
    /// Processor time of an answer of a warm process.
    pub(crate) cpu_warm: f64,
    /// Memory of the process after that, in MB.
    pub(crate) memory_mb: f64,
}

/// A function to start.
struct Candidate {
    name: String,
    program: PathBuf,
    args: Vec<String>,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Echo,
    Connect,
    SendMessage,
}

/// Measures the functions of this workspace and of the peers in other languages.
pub(crate) async fn start(target: &Target) -> Result<Vec<Started>> {
    let own = std::env::current_exe()?;
    let own = own.parent().context("The program is in a folder")?;
    // Tests run from a folder within it.
    let own = if own.ends_with("deps") { own.parent().context("It has a parent")? } else { own };
    let mut candidates = Vec::new();
    for (name, kind) in [("echo", Kind::Echo), ("connect", Kind::Connect), ("send_message", Kind::SendMessage)] {
        candidates.push(Candidate { name: format!("rust {name}"), program: own.join(name), args: Vec::new(), kind });
    }
    for language in ["node", "python"] {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers").join(language).join("bootstrap");
        let installed = Command::new(&program).arg("install").output().await?;
        match installed.status.code() {
            Some(0) => {}
            Some(77) => {
                eprintln!("{language} is left out: {}", String::from_utf8_lossy(&installed.stdout).trim());
                continue;
            }
            code => bail!("{language} can't be installed ({code:?}): {}", String::from_utf8_lossy(&installed.stderr)),
        }
        for (name, kind) in [("connect", Kind::Connect), ("send_message", Kind::SendMessage)] {
            let name_of = format!("{language} {name}");
            candidates.push(Candidate { name: name_of, program: program.clone(), args: vec![name.to_owned()], kind });
        }
    }
    let environment = environment(target).await?;
    let mut rows = Vec::new();
    for candidate in &candidates {
        eprintln!("start: {}", candidate.name);
        rows.push(measure(target, candidate, &environment).await?);
    }
    Ok(rows)
}

/// The variables of the stack's functions.
async fn environment(target: &Target) -> Result<Vec<(String, String)>> {
    let text = target.http.get(format!("{}/_local/environment", target.url)).send().await?.text().await?;
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    Ok(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

async fn measure(target: &Target, candidate: &Candidate, environment: &[(String, String)]) -> Result<Started> {
    let (mut ready, mut first, mut cpu_first) = (Vec::new(), Vec::new(), Vec::new());
    let (mut warm, mut cpu_warm, mut memory) = (Vec::new(), Vec::new(), Vec::new());
    for start in 0..STARTS {
        let mut events = Events::new(target, candidate.kind).await?;
        let mut process = Process::start(candidate, environment).await?;
        let (began, pid) = (process.began, process.child.id().context("It runs")?);
        ready.push(ms(process.ready().await?.duration_since(began)));
        process.invoke(&events.next()).await?;
        first.push(ms(began.elapsed()));
        cpu_first.push(processes::cpu_ms(pid));
        if start + 1 == STARTS {
            let before = processes::cpu_ms(pid);
            for _ in 0..WARM {
                let event = events.next();
                let sent = Instant::now();
                process.invoke(&event).await?;
                warm.push(ms(sent.elapsed()));
            }
            cpu_warm.push((processes::cpu_ms(pid) - before) / f64::from(WARM));
            memory.push(processes::memory(pid) as f64 / 1e6);
        }
        process.child.kill().await?;
        events.close().await;
    }
    let (ready, first, cpu_first) = (median(ready), median(first), median(cpu_first));
    let (warm, cpu_warm, memory_mb) = (median(warm), median(cpu_warm), median(memory));
    Ok(Started { function: candidate.name.clone(), ready, first, warm, cpu_first, cpu_warm, memory_mb })
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Events for one process, each of which can be answered well.
struct Events {
    kind: Kind,
    /// A connected client, for messages.
    speaker: Option<Speaker>,
}

struct Speaker {
    client: Client,
    conversation: String,
    user: String,
    connection: String,
}

impl Events {
    async fn new(target: &Target, kind: Kind) -> Result<Self> {
        let speaker = match kind {
            Kind::SendMessage => Some(Speaker::connect(target).await?),
            Kind::Echo | Kind::Connect => None,
        };
        Ok(Self { kind, speaker })
    }

    fn next(&mut self) -> String {
        let (route, event_type) = match self.kind {
            Kind::Connect => ("$connect", "CONNECT"),
            Kind::Echo => ("$default", "MESSAGE"),
            Kind::SendMessage => ("sendMessage", "MESSAGE"),
        };
        let (mut user, mut connection, mut body) = (e2e::new_id(), e2e::new_id(), None);
        match (&self.speaker, self.kind) {
            (Some(speaker), _) => {
                (user, connection) = (speaker.user.clone(), speaker.connection.clone());
                let message = json!({
                    "action": "sendMessage",
                    "id": e2e::new_id(),
                    "conversationId": speaker.conversation,
                    "text": "hello",
                });
                body = Some(message.to_string());
            }
            (None, Kind::Echo) => body = Some("hello".to_owned()),
            (None, _) => {}
        }
        let context = json!({
            "routeKey": route,
            "eventType": event_type,
            "extendedRequestId": "x",
            "requestTime": "28/Nov/2026:12:00:00 +0000",
            "messageDirection": "IN",
            "stage": "ws",
            "connectedAt": 1_795_910_400_000_i64,
            "requestTimeEpoch": 1_795_910_400_000_i64,
            "identity": { "sourceIp": "127.0.0.1" },
            "requestId": "x",
            "domainName": "localhost",
            "connectionId": connection,
            "apiId": "api",
            "authorizer": { "principalId": user, "username": user },
        });
        let mut event = json!({ "requestContext": context, "isBase64Encoded": false });
        match body {
            Some(body) => event["body"] = body.into(),
            None => {
                event["headers"] = json!({ "Host": "localhost" });
                event["multiValueHeaders"] = json!({ "Host": ["localhost"] });
            }
        }
        event.to_string()
    }

    async fn close(self) {
        if let Some(speaker) = self.speaker {
            speaker.client.close().await;
        }
    }
}

impl Speaker {
    async fn connect(target: &Target) -> Result<Self> {
        let token = client::token(target, &format!("speaker-{}", e2e::new_id())).await?;
        let conversation = client::conversation(target, &token).await?;
        let before = leases(target).await;
        let client = Client::connect(target, &token).await?;
        let new = leases(target).await.into_iter().find(|lease| !before.contains(lease));
        let lease = new.context("The client has a place")?;
        let text = |field: &str| lease[field].as_str().map(str::to_owned).context("It has a user and a connection");
        Ok(Self { client, conversation, user: text("userId")?, connection: text("connectionId")? })
    }
}

async fn leases(target: &Target) -> Vec<Value> {
    let state = target.state().await.unwrap_or_default();
    state["leases"].as_array().cloned().unwrap_or_default()
}

/// A process, and the Runtime API that it uses.
struct Process {
    child: Child,
    began: Instant,
    asked: mpsc::UnboundedReceiver<Instant>,
    events: mpsc::UnboundedSender<String>,
    answers: mpsc::UnboundedReceiver<Result<Bytes, Bytes>>,
    /// The process has asked for the event that comes next.
    waits: bool,
}

struct Api {
    asked: mpsc::UnboundedSender<Instant>,
    events: Mutex<mpsc::UnboundedReceiver<String>>,
    answers: mpsc::UnboundedSender<Result<Bytes, Bytes>>,
}

impl Process {
    async fn start(candidate: &Candidate, environment: &[(String, String)]) -> Result<Self> {
        let ((asked_to, asked), (events, events_of)) = (mpsc::unbounded_channel(), mpsc::unbounded_channel());
        let (answers_to, answers) = mpsc::unbounded_channel();
        let api = Api { asked: asked_to, events: Mutex::new(events_of), answers: answers_to };
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let router = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route("/2018-06-01/runtime/invocation/{id}/response", post(response))
            .route("/2018-06-01/runtime/invocation/{id}/error", post(error))
            .route("/2018-06-01/runtime/init/error", post(error))
            .with_state(Arc::new(api));
        tokio::spawn(async move { axum::serve(listener, router).await });
        let mut command = Command::new(&candidate.program);
        command.args(&candidate.args).env_clear().kill_on_drop(true).stdin(Stdio::null()).stderr(Stdio::null());
        // Other languages are found by the path.
        command
            .envs(std::env::vars().filter(|(name, _)| ["PATH", "HOME", "CARGO_TARGET_DIR"].contains(&name.as_str())));
        command.envs(environment.iter().map(|(name, value)| (name, value))).stdout(Stdio::null());
        for (name, value) in [
            ("AWS_LAMBDA_RUNTIME_API", address.as_str()),
            ("AWS_DEFAULT_REGION", "us-east-1"),
            ("AWS_LAMBDA_FUNCTION_NAME", "function"),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"),
            ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/function"),
            ("AWS_LAMBDA_LOG_STREAM_NAME", "stream"),
        ] {
            command.env(name, value);
        }
        let began = Instant::now();
        let child = command.spawn().with_context(|| format!("{} does not start", candidate.program.display()))?;
        Ok(Self { child, began, asked, events, answers, waits: false })
    }

    /// The moment when the process asked for an event.
    async fn ready(&mut self) -> Result<Instant> {
        let asked = timeout(PATIENCE, self.asked.recv()).await.context("It asks for no event")?;
        self.waits = true;
        asked.context("The process has ended")
    }

    async fn invoke(&mut self, event: &str) -> Result<()> {
        if !self.waits {
            self.ready().await?;
        }
        self.waits = false;
        self.events.send(event.to_owned())?;
        let answer = timeout(PATIENCE, self.answers.recv()).await.context("It does not answer")?;
        let answer = match answer.context("The process has ended")? {
            Ok(answer) => answer,
            Err(report) => bail!("The function failed: {}", String::from_utf8_lossy(&report)),
        };
        let answer: Value = serde_json::from_slice(&answer)?;
        let well = answer["statusCode"] == 200
            && answer["body"].as_str().is_none_or(|body| body == "hello" || !body.contains(r#""type":"error""#));
        ensure!(well, "The function refused its event: {answer}");
        Ok(())
    }
}

async fn next(State(api): State<Arc<Api>>) -> Response {
    // Nobody listens after the process was killed.
    let _ = api.asked.send(Instant::now());
    let Some(event) = api.events.lock().await.recv().await else { return StatusCode::GONE.into_response() };
    let headers = [
        ("content-type", "application/json".to_owned()),
        ("lambda-runtime-aws-request-id", e2e::new_id()),
        ("lambda-runtime-deadline-ms", "4102444800000".to_owned()),
        ("lambda-runtime-invoked-function-arn", "arn:aws:lambda:us-east-1:000000000000:function:function".to_owned()),
        ("lambda-runtime-trace-id", "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=0".to_owned()),
    ];
    (headers, event).into_response()
}

async fn response(State(api): State<Arc<Api>>, body: Bytes) -> StatusCode {
    let _ = api.answers.send(Ok(body));
    StatusCode::ACCEPTED
}

async fn error(State(api): State<Arc<Api>>, body: Bytes) -> StatusCode {
    let _ = api.answers.send(Err(body));
    StatusCode::ACCEPTED
}
