//! A well-behaved OpenAI-compatible endpoint. It repeats the text that it got. In the middle of the answer, it waits as
//! long as the test wants.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::routing::post;
use futures_util::stream::{self, StreamExt as _};
use http::HeaderMap;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio_util::sync::{CancellationToken, DropGuard};

/// The pause between two words of a text that is said slowly.
const BETWEEN_WORDS: Duration = Duration::from_millis(20);

/// A text that begins like this is said word by word.
pub const SLOWLY: &str = "slowly ";

/// In the answer to a text that begins like this, the model falls silent until [`Endpoint::go_on`].
pub const SILENTLY: &str = "silently ";

#[derive(Debug, Clone, Default)]
struct Shared {
    requests: Arc<Mutex<Vec<(String, Value)>>>,
    go_on: Arc<Notify>,
}

#[derive(Debug)]
pub struct Endpoint {
    /// The value for `LlmBaseUrl`.
    pub url: String,
    shared: Shared,
    _stop: DropGuard,
}

impl Endpoint {
    pub async fn start() -> Self {
        let shared = Shared::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}/v1", listener.local_addr().expect("its address"));
        let router = Router::new().route("/v1/chat/completions", post(answer)).with_state(shared.clone());
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        tokio::spawn(async move {
            axum::serve(listener, router).with_graceful_shutdown(stopped.cancelled_owned()).await.expect("it serves");
        });
        Self { url, shared, _stop: stop.drop_guard() }
    }

    /// `Authorization` and body of each request so far.
    pub fn requests(&self) -> Vec<(String, Value)> {
        self.shared.requests.lock().expect("requests").clone()
    }

    /// The texts that the model got with a request, the oldest first.
    pub fn told(&self, request: usize) -> Vec<String> {
        let requests = self.requests();
        let messages = requests[request].1["messages"].as_array().expect("messages");
        messages.iter().map(|message| message["content"].as_str().expect("a text").to_owned()).collect()
    }

    /// Ends the silence of one answer.
    pub fn go_on(&self) {
        self.shared.go_on.notify_one();
    }
}

async fn answer(State(shared): State<Shared>, headers: HeaderMap, body: String) -> Body {
    let authorization = headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let body: Value = serde_json::from_str(&body).expect("JSON");
    let last = &body["messages"].as_array().and_then(|messages| messages.last()).expect("a message")["content"];
    let text = last.as_str().or_else(|| last[0]["text"].as_str()).unwrap_or_default().to_owned();
    shared.requests.lock().expect("requests").push((authorization.to_owned(), body));
    let piece = |text: &str| json!({ "choices": [{ "index": 0, "delta": { "content": text } }] });
    let mut events = vec![piece("You said: ")];
    if text.starts_with(SLOWLY) {
        events.extend(text.split_inclusive(' ').map(piece));
    } else {
        events.push(piece(&text));
    }
    events.extend([
        json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": "stop" }] }),
        json!({ "choices": [], "usage": { "prompt_tokens": 7, "completion_tokens": 5 } }),
    ]);
    let lines = events.into_iter().map(|event| event.to_string()).chain(["[DONE]".to_owned()]).enumerate();
    Body::from_stream(stream::iter(lines).then(move |(index, line)| {
        let (go_on, text) = (Arc::clone(&shared.go_on), text.clone());
        async move {
            if index == 1 && text.starts_with(SILENTLY) {
                go_on.notified().await;
            } else if text.starts_with(SLOWLY) {
                tokio::time::sleep(BETWEEN_WORDS).await;
            }
            Ok::<_, std::convert::Infallible>(format!("data: {line}\n\n"))
        }
    }))
}
