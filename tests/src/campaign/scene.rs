//! The users of one seed share a scene. It says where the stack is and asks it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::line::Exchange;
use crate::checker::Recorder;

/// The settings of one seed.
#[derive(Debug, Clone)]
pub struct Settings {
    pub seed: u64,
    pub clients: u32,
    /// The messages of each client.
    pub messages: u32,
    /// There are fewer places than clients, so that some clients are refused.
    pub places: u32,
    pub lease_seconds: u64,
    pub first_message_seconds: u64,
    /// The share of calls that get a fault. 0 means none.
    pub rate: f64,
    /// Whether the stack is killed in the middle and started again.
    pub crash: bool,
    /// The directory of the history and the logs.
    pub directory: PathBuf,
}

#[derive(Debug)]
pub struct Scene {
    pub settings: Settings,
    pub exchange: Exchange,
    pub recorder: Arc<Recorder>,
    http: reqwest::Client,
    /// The number of users who have no place and want one.
    pub waiting: AtomicUsize,
    /// The number of messages, each counted when it was first sent.
    pub sent: AtomicUsize,
    /// Users begin nothing new any more.
    pub over: AtomicBool,
    /// From then on users begin nothing new, even if they are not done.
    pub deadline: Instant,
}

impl Scene {
    pub fn new(settings: Settings, recorder: Arc<Recorder>, port: u16, time: Duration) -> Self {
        let http = reqwest::Client::builder().timeout(Duration::from_secs(40)).build().expect("an HTTP client");
        Self {
            settings,
            exchange: Exchange::new(Arc::clone(&recorder), port),
            recorder,
            http,
            waiting: AtomicUsize::new(0),
            sent: AtomicUsize::new(0),
            over: AtomicBool::new(false),
            deadline: Instant::now() + time,
        }
    }

    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed) || Instant::now() >= self.deadline
    }

    /// Waits until the stack gives a token.
    pub async fn token(&self, user: &str) -> String {
        loop {
            if let Some((200, body)) =
                self.rest("", Method::POST, "/_local/token", Some(&json!({ "username": user }))).await
                && let Some(token) = body["accessToken"].as_str()
            {
                return token.to_owned();
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Asks the REST API. Returns `None` if there was no answer.
    pub async fn rest(&self, token: &str, method: Method, path: &str, body: Option<&Value>) -> Option<(u16, Value)> {
        let url = format!("http://127.0.0.1:{}{path}", self.exchange.port);
        let mut request = self.http.request(method, url);
        if !token.is_empty() {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.ok()?;
        let status = answer.status().as_u16();
        let bytes = answer.bytes().await.ok()?;
        Some((status, serde_json::from_slice(&bytes).unwrap_or_default()))
    }

    /// Sends a presigned form. Returns whether the file was stored.
    pub async fn upload(&self, upload: &Value, file: &[u8]) -> bool {
        let mut form = reqwest::multipart::Form::new();
        for (name, value) in upload["fields"].as_object().into_iter().flatten() {
            form = form.text(name.clone(), value.as_str().unwrap_or_default().to_owned());
        }
        let form = form.part("file", reqwest::multipart::Part::bytes(file.to_vec()).file_name("file"));
        let request = self.http.post(upload["url"].as_str().unwrap_or_default()).multipart(form);
        request.send().await.is_ok_and(|answer| answer.status().as_u16() == 204)
    }
}
