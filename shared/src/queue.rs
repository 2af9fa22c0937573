//! The queue between admission and answer: SQS FIFO, with one message group per conversation. So a conversation is
//! answered in order, and conversations are answered side by side. The deduplication id is the message's id, so a
//! message that is sent again within five minutes is queued once.
//!
//! Each conversation has a second group: its rescue lane ([`crate::answer::Rescuer`]).

use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::ProvideErrorMetadata as _;
use serde::{Deserialize, Serialize};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::config::QueueConfig;
use crate::ids::{ConversationId, MessageId, UserId};
use crate::messages::{Lane, StoredMessage};
use crate::{Error, Result};

/// SQS's error codes for a message that came back to the queue or was deleted, with the prefix of its older protocol or
/// without.
const NOT_HELD: [&str; 5] = [
    "InvalidParameterValue",
    "MessageNotInflight",
    "AWS.SimpleQueueService.MessageNotInflight",
    "ReceiptHandleIsInvalid",
    "InvalidParameterValueException",
];

/// A job names the message to answer. The text stays in the table.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Job {
    pub user_id: UserId,
    pub conversation_id: ConversationId,
    pub message_id: MessageId,
    pub seq: u64,
    /// The message has ended, and its sender asks again how.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tell: bool,
    /// The job came by the rescue lane.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rescue: bool,
}

impl Job {
    pub fn lane(&self) -> Lane {
        if self.rescue { Lane::Rescue } else { Lane::Ordinary }
    }
}

impl From<&StoredMessage> for Job {
    fn from(message: &StoredMessage) -> Self {
        Self {
            user_id: message.user.clone(),
            conversation_id: message.conversation.clone(),
            message_id: message.id.clone(),
            seq: message.seq,
            tell: false,
            rescue: false,
        }
    }
}

#[derive(Debug, Clone)]
pub struct Queue {
    sqs: Client,
    url: String,
}

impl Queue {
    pub fn new(sqs: Client, config: QueueConfig) -> Self {
        Self { sqs, url: config.url }
    }

    pub async fn send(&self, job: &Job) -> Result<()> {
        self.send_as(job, job.message_id.key()).await
    }

    /// Queues the message again, for the `time`th time, also within five minutes of the first. Each `time` is queued
    /// once.
    pub async fn send_again(&self, job: &Job, time: u32) -> Result<()> {
        self.send_as(job, format!("{}-{time}", job.message_id.key())).await
    }

    /// Queues the message in the rescue lane, beside the jobs that wait in its conversation: those may wait for a
    /// delivery to come back. Within five minutes it is queued once, however often this is called.
    pub async fn rescue(&self, message: &StoredMessage) -> Result<()> {
        let job = Job { rescue: true, ..Job::from(message) };
        self.send_as(&job, format!("{}-rescue", message.id.key())).await
    }

    /// Does the same, once for each `now`.
    pub(crate) async fn rescue_at(&self, message: &StoredMessage, now: Timestamp) -> Result<()> {
        let job = Job { rescue: true, ..Job::from(message) };
        self.send_as(&job, format!("{}-rescue-{}", message.id.key(), now.0)).await
    }

    /// Has the user told again how a message has ended. `request` names the wish: each wish is met once.
    pub async fn tell(&self, message: &StoredMessage, request: &str) -> Result<()> {
        let job = Job { tell: true, ..Job::from(message) };
        let digest = uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, request.as_bytes());
        self.send_as(&job, format!("{}-tell-{digest}", message.id.key())).await
    }

    async fn send_as(&self, job: &Job, deduplication_id: String) -> Result<()> {
        let body = serde_json::to_string(job)
            .map_err(|error| Error::Corrupt { key: job.message_id.to_string(), detail: error.to_string() })?;
        self.sqs
            .send_message()
            .queue_url(&self.url)
            .message_group_id(match job.lane() {
                Lane::Ordinary => job.conversation_id.to_string(),
                Lane::Rescue => format!("{}.rescue", job.conversation_id),
            })
            .message_deduplication_id(deduplication_id)
            .message_body(body)
            .send()
            .await
            .map_err(|error| Error::service("SendMessage", &error))?;
        Ok(())
    }

    /// Lets a received message come back `timeout` from now, unless it is deleted before. `false`: the caller does not
    /// hold the message any more, and need not try again.
    pub async fn hold(&self, receipt_handle: &str, timeout: Duration) -> Result<bool> {
        let held = self
            .sqs
            .change_message_visibility()
            .queue_url(&self.url)
            .receipt_handle(receipt_handle)
            .visibility_timeout(i32::try_from(timeout.as_secs()).unwrap_or(i32::MAX))
            .send()
            .await;
        match held {
            Ok(_) => Ok(true),
            Err(error) if error.code().is_some_and(|code| NOT_HELD.contains(&code)) => Ok(false),
            Err(error) => Err(Error::service("ChangeMessageVisibility", &error)),
        }
    }
}
