//! SQS: the embedded server, or another emulator's.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use serde_json::{Value, json};

use super::answer::Answer;
use super::remote::Remote;
use samovar_sqs::{QueueCounts, Sqs};
use samovar_template::Queue;

/// The queues.
#[derive(Debug, Clone)]
pub enum Queues {
    /// In this process.
    Embedded(Sqs),
    /// In another emulator.
    Remote(Remote),
}

impl Queues {
    /// One call of the JSON protocol: the operation's name and the body.
    pub async fn call(&self, operation: &str, body: Bytes) -> Answer {
        match self {
            Self::Embedded(sqs) => {
                let response = sqs.call(operation, &body).await;
                Answer { status: response.status, headers: response.headers, body: response.body }
            }
            Self::Remote(remote) => remote.call(operation, body).await,
        }
    }

    /// Makes the template's queues, those first that others name as their dead-letter queue.
    pub async fn create(&self, queues: &[Queue]) -> Result<()> {
        let (referring, others): (Vec<_>, Vec<_>) =
            queues.iter().partition(|queue| queue.attributes.contains_key("RedrivePolicy"));
        for queue in others.into_iter().chain(referring) {
            match self {
                Self::Embedded(sqs) => {
                    let made = sqs.create_queue(&queue.name, &queue.attributes).await;
                    made.with_context(|| format!("The queue {} can't be made", queue.name))?;
                }
                Self::Remote(_) => {
                    let request = json!({ "QueueName": queue.name, "Attributes": queue.attributes });
                    self.expect("CreateQueue", &request).await?;
                }
            }
        }
        Ok(())
    }

    /// A call that must succeed; nothing where it has no result.
    pub async fn expect(&self, operation: &str, request: &Value) -> Result<Value> {
        let answer = self.call(operation, request.to_string().into()).await;
        if answer.status != 200 {
            bail!("{operation}: {}", String::from_utf8_lossy(&answer.body));
        }
        if answer.body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&answer.body).with_context(|| format!("{operation}: the answer is not JSON"))
    }

    /// What is in the queues; of another emulator's, nothing is known here.
    pub fn counts(&self) -> BTreeMap<String, QueueCounts> {
        match self {
            Self::Embedded(sqs) => sqs.counts(),
            Self::Remote(_) => BTreeMap::new(),
        }
    }

    /// Ends long polls, and returns once everything is written.
    pub async fn close(&self) {
        if let Self::Embedded(sqs) = self {
            sqs.close().await;
        }
    }
}
