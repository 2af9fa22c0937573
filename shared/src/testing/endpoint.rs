//! An endpoint of a model or of another service. It does what a test tells it, byte by byte, right or wrong.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::servers;

/// A step in the answer to one request.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Send(Vec<u8>),
    Pause(Duration),
    /// Sends nothing more until the test says so.
    Await(Arc<Notify>),
    /// Sends neither another byte nor an end.
    Hang,
}

#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) url: String,
    requests: Arc<Mutex<Vec<Request>>>,
    stop: CancellationToken,
}

#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// In lower case.
    pub(crate) head: String,
    pub(crate) body: Value,
}

impl Endpoint {
    /// Each request gets the next script. Requests after the last script get the last one again.
    pub(crate) fn start(scripts: Vec<Vec<Step>>) -> Self {
        Self::with_url(|_| scripts)
    }

    /// The same, for scripts that contain the endpoint's address.
    pub(crate) fn with_url(scripts: impl FnOnce(&str) -> Vec<Vec<Step>>) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("non-blocking");
        let url = format!("http://{}/v1", listener.local_addr().expect("its address"));
        let scripts = scripts(&url);
        let (requests, stop) = (Arc::new(Mutex::new(Vec::new())), CancellationToken::new());
        let (seen, stopped) = (Arc::clone(&requests), stop.clone());
        servers().spawn(async move {
            let listener = TcpListener::from_std(listener).expect("the listener");
            let serve = async {
                loop {
                    let (stream, _) = listener.accept().await.expect("a connection");
                    let (seen, scripts) = (Arc::clone(&seen), scripts.clone());
                    tokio::spawn(async move { serve(stream, &seen, &scripts).await });
                }
            };
            tokio::select! {
                () = serve => {}
                () = stopped.cancelled() => {}
            }
        });
        Self { url, requests, stop }
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().expect("requests").clone()
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn serve(mut stream: TcpStream, seen: &Mutex<Vec<Request>>, scripts: &[Vec<Step>]) -> Option<()> {
    let mut bytes = Vec::new();
    let end_of_head = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        stream.read_buf(&mut bytes).await.ok().filter(|read| *read > 0)?;
    };
    let head = String::from_utf8_lossy(&bytes[..end_of_head]).to_lowercase();
    let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next()?.parse().ok());
    let length: usize = length.unwrap_or(0);
    while bytes.len() < end_of_head + length {
        stream.read_buf(&mut bytes).await.ok().filter(|read| *read > 0)?;
    }
    let script = {
        let mut seen = seen.lock().expect("requests");
        let body = &bytes[end_of_head..];
        let body = if body.is_empty() { Value::Null } else { serde_json::from_slice(body).expect("a JSON body") };
        seen.push(Request { head, body });
        scripts[(seen.len() - 1).min(scripts.len() - 1)].clone()
    };
    for step in script {
        match step {
            Step::Send(bytes) => stream.write_all(&bytes).await.ok()?,
            Step::Pause(time) => tokio::time::sleep(time).await,
            Step::Await(signal) => signal.notified().await,
            Step::Hang => std::future::pending().await,
        }
    }
    Some(())
}

/// The head of a streamed answer. The answer ends when the connection does.
pub(crate) fn stream_head() -> Step {
    Step::Send(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n".to_vec())
}

pub(crate) fn event(data: &Value) -> Step {
    Step::Send(format!("data: {data}\n\n").into_bytes())
}

pub(crate) fn delta(text: &str) -> Step {
    event(&json!({ "choices": [{ "index": 0, "delta": { "content": text }, "finish_reason": null }] }))
}

pub(crate) fn finish() -> Step {
    event(&json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": "stop" }] }))
}

pub(crate) fn done() -> Step {
    Step::Send(b"data: [DONE]\n\n".to_vec())
}

/// An answer that streams these texts correctly.
pub(crate) fn says(texts: &[&str]) -> Vec<Step> {
    let mut steps = vec![stream_head()];
    steps.extend(texts.iter().map(|text| delta(text)));
    steps.extend([finish(), done()]);
    steps
}

/// A plain answer with a status.
pub(crate) fn status(line: &str, headers: &str, body: &str) -> Vec<Step> {
    let length = body.len();
    let text = format!("HTTP/1.1 {line}\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}");
    vec![Step::Send(text.into_bytes())]
}
