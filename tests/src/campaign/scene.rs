//! What the users of one seed share: where the stack is, and how they ask it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::line::Exchange;
use crate::checker::Recorder;

/// What a seed is run with.
#[derive(Debug, Clone)]
pub struct Settings {
    pub seed: u64,
    pub clients: u32,
    /// Of each client.
    pub messages: u32,
    /// Fewer than there are clients, so that some are refused.
    pub places: u32,
    pub lease_seconds: u64,
    pub first_message_seconds: u64,
    /// Of calls, the share that meets a fault; 0 for none.
    pub rate: f64,
    /// The stack is killed in the middle, and started again.
    pub crash: bool,
    /// Where history and logs are kept.
    pub directory: PathBuf,
}

#[derive(Debug)]
pub struct Scene {
    pub settings: Settings,
    pub exchange: Exchange,
    pub recorder: Arc<Recorder>,
    http: reqwest::Client,
    /// Users who have no place and want one.
    pub waiting: AtomicUsize,
    /// Messages that were sent for the first time.
    pub sent: AtomicUsize,
    /// Nobody begins anything new any more.
    pub over: AtomicBool,
    /// By then nobody begins anything new, done or not.
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

    /// A token, as soon as the stack gives one.
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

    /// Asks the REST API; `None`: there was no answer.
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

    /// Sends a presigned form; whether the file is there now.
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
