//! The server as its users see it: through the AWS SDK over HTTP, within the process, over time that tests move, over
//! restarts.
#![allow(clippy::unwrap_used, reason = "A test that panics has failed, as it should")]

mod bench;
mod concurrency;
mod deduplication;
mod delivery;
mod hostile;
mod http;
mod in_process;
mod model;
mod moves;
mod persistence;
mod polling;
mod queues;
mod redrive;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Clock, Error, ManualClock, Message, Receive, Sqs, Storage};

const BASE_URL: &str = "http://127.0.0.1:8000/_aws/sqs";
/// Some moment in 2026.
const START_MS: i64 = 1_770_000_000_000;

/// A server whose time stands still until the test advances it.
#[derive(Clone, Debug)]
struct Bench {
    sqs: Sqs,
    clock: Arc<ManualClock>,
}

impl Bench {
    fn memory() -> Self {
        Self::open(Storage::Memory, START_MS)
    }

    fn file(path: &Path, now_ms: i64) -> Self {
        Self::open(Storage::File(path.to_owned()), now_ms)
    }

    fn open(storage: Storage, now_ms: i64) -> Self {
        let clock = Arc::new(ManualClock::new(now_ms));
        let sqs = Sqs::open(storage, "us-east-1", "000000000000", BASE_URL, Arc::clone(&clock) as Arc<dyn Clock>);
        Self { sqs: sqs.unwrap(), clock }
    }

    fn advance_seconds(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    async fn queue<const N: usize>(&self, name: &str, attributes: [(&str, &str); N]) {
        self.sqs.create_queue(name, &map(attributes)).await.unwrap();
    }

    /// A FIFO queue with content-based deduplication, so that tests need not give ids.
    async fn fifo(&self, name: &str) {
        self.queue(name, [("FifoQueue", "true"), ("ContentBasedDeduplication", "true")]).await;
    }

    async fn call(&self, operation: &str, body: Value) -> Result<Value, (String, String)> {
        let response = self.sqs.call(operation, body.to_string().as_bytes()).await;
        let body: Value = serde_json::from_slice(&response.body).unwrap();
        if response.status == 200 {
            return Ok(body);
        }
        let query_error = response.headers.iter().find(|(name, _)| *name == "x-amzn-query-error").unwrap();
        let code = query_error.1.split(';').next().unwrap().to_owned();
        Err((code, body["message"].as_str().unwrap().to_owned()))
    }

    async fn send(&self, queue: &str, body: &str) -> String {
        let sent = self.call("SendMessage", json!({ "QueueUrl": queue, "MessageBody": body })).await.unwrap();
        sent["MessageId"].as_str().unwrap().to_owned()
    }

    async fn send_to_group(&self, queue: &str, group: &str, body: &str) -> String {
        let request = json!({ "QueueUrl": queue, "MessageBody": body, "MessageGroupId": group });
        self.call("SendMessage", request).await.unwrap()["MessageId"].as_str().unwrap().to_owned()
    }

    /// Receives up to ten messages without waiting.
    async fn receive(&self, queue: &str) -> Vec<Message> {
        self.receive_up_to(queue, 10).await
    }

    async fn receive_up_to(&self, queue: &str, max_messages: u32) -> Vec<Message> {
        let request = Receive { max_messages, wait: Duration::ZERO, visibility_timeout: None };
        self.sqs.receive(queue, request).await.unwrap()
    }

    async fn receive_one(&self, queue: &str) -> Message {
        self.receive_up_to(queue, 1).await.pop().unwrap()
    }

    async fn delete(&self, queue: &str, message: &Message) -> Result<(), Error> {
        self.sqs.delete(queue, std::slice::from_ref(&message.receipt_handle)).await.pop().unwrap()
    }

    async fn hide(&self, queue: &str, message: &Message, seconds: u64) -> Result<(), Error> {
        self.sqs.change_visibility(queue, &message.receipt_handle, Duration::from_secs(seconds)).await
    }

    /// The numbers of visible, in-flight and delayed messages.
    fn counts(&self, queue: &str) -> (u64, u64, u64) {
        let counts = &self.sqs.counts()[queue];
        (counts.visible, counts.in_flight, counts.delayed)
    }
}

fn map<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn bodies(messages: &[Message]) -> Vec<&str> {
    messages.iter().map(|message| message.body.as_str()).collect()
}

fn redrive_policy(target: &str, max_receive_count: u32) -> String {
    let arn = format!("arn:aws:sqs:us-east-1:000000000000:{target}");
    json!({ "deadLetterTargetArn": arn, "maxReceiveCount": max_receive_count }).to_string()
}
