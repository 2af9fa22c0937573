//! An OpenAI-compatible endpoint, well-behaved: it says what it was told.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::routing::post;
use http::HeaderMap;
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};

type Requests = Arc<Mutex<Vec<(String, Value)>>>;

#[derive(Debug)]
pub struct Endpoint {
    /// What `LlmBaseUrl` is to be.
    pub url: String,
    requests: Requests,
    _stop: DropGuard,
}

impl Endpoint {
    pub async fn start() -> Self {
        let requests = Requests::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}/v1", listener.local_addr().expect("its address"));
        let router = Router::new().route("/v1/chat/completions", post(answer)).with_state(Arc::clone(&requests));
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        tokio::spawn(async move {
            axum::serve(listener, router).with_graceful_shutdown(stopped.cancelled_owned()).await.expect("it serves");
        });
        Self { url, requests, _stop: stop.drop_guard() }
    }

    /// `Authorization` and body of each request so far.
    pub fn requests(&self) -> Vec<(String, Value)> {
        self.requests.lock().expect("requests").clone()
    }
}

async fn answer(State(requests): State<Requests>, headers: HeaderMap, body: String) -> Body {
    let authorization = headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let body: Value = serde_json::from_str(&body).expect("JSON");
    let last = &body["messages"].as_array().and_then(|messages| messages.last()).expect("a message")["content"];
    let text = last.as_str().or_else(|| last[0]["text"].as_str()).unwrap_or_default().to_owned();
    requests.lock().expect("requests").push((authorization.to_owned(), body));
    let piece = |text: &str| json!({ "choices": [{ "index": 0, "delta": { "content": text } }] });
    let events = [
        piece("You said: "),
        piece(&text),
        json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": "stop" }] }),
        json!({ "choices": [], "usage": { "prompt_tokens": 7, "completion_tokens": 5 } }),
    ];
    let stream: String = events.iter().map(|event| format!("data: {event}\n\n")).collect();
    Body::from(stream + "data: [DONE]\n\n")
}
