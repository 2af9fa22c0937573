//! Event source mappings: messages of an SQS queue become invocations of a function, as Lambda's pollers do it.
//!
//! Invariant: a message is received only when there is a place to run it, so nothing is in flight without running, and at
//! most `maximum_concurrency` invocations of one source run at once. A place is a semaphore's permit; the only task that
//! receives takes permits first, then asks for as many messages as they are good for, gives back what it did not need, and
//! moves one permit into the task of each batch. One receiver per source means that 500 running batches wake one task.
//!
//! A batch's messages are deleted when its invocation says so, and otherwise left alone: they come back when their visibility
//! timeout is over, and the queue's redrive policy counts. This is the same for every reason not to succeed, throttling
//! included, as on Lambda. Throttling does not happen as long as no more concurrency is asked for here than is reserved.
//!
//! Messages of a FIFO queue are received one batch at a time. Those of one group that come together are then in one
//! invocation, in order, and the queue holds back the rest of the group while they are in flight.
//!
//! What differs from Lambda: it starts with 5 batches at once and adds up to 300 a minute, here the maximum is there at once.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

mod batch;
#[cfg(test)]
mod tests;

use batch::{Event, split};

/// The most that SQS gives, or deletes, with one request.
const MESSAGES_PER_REQUEST: usize = 10;
/// The longest long poll there is.
const LONG_POLL: Duration = Duration::from_secs(20);
/// After an error, doubled up to the second; the first also after a poll that came back empty at once.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// A mapping as the template declares it.
#[derive(Debug, Clone)]
pub struct EventSource {
    /// For the log.
    pub function: String,
    /// A name ending in `.fifo` makes it a FIFO queue.
    pub queue_arn: String,
    /// As events name it.
    pub region: String,
    /// 1–10,000; at most 10 for FIFO.
    pub batch_size: usize,
    /// How long to wait for a batch to be full, from its first message on. Not for FIFO.
    pub maximum_batching_window: Duration,
    /// 2–1,000 on AWS.
    pub maximum_concurrency: usize,
    /// `ReportBatchItemFailures`.
    pub report_batch_item_failures: bool,
}

/// A message as SQS gives it.
#[derive(Debug, Clone, Default)]
pub struct Message {
    /// Given by the queue.
    pub message_id: String,
    /// To delete it by.
    pub receipt_handle: String,
    /// The text that was sent.
    pub body: String,
    /// Of the body, in hexadecimal.
    pub md5_of_body: String,
    /// `ApproximateReceiveCount`, `SentTimestamp` and so on: all of them, Lambda asks for all.
    pub attributes: BTreeMap<String, String>,
    /// What the sender has attached.
    pub message_attributes: BTreeMap<String, MessageAttribute>,
}

/// What a sender has attached to a message.
#[derive(Debug, Clone, Default, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MessageAttribute {
    /// `String`, `Number` or `Binary`.
    pub data_type: String,
    /// The value of a `String` or `Number`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub string_value: Option<String>,
    /// Base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub binary_value: Option<String>,
}

/// The queue that a source reads, as much of it as is needed.
pub trait Queue: Send + Sync + 'static {
    /// Why a queue can't be read.
    type Error: Display + Send + 'static;

    /// Receives up to `max_messages` (at most 10), with the queue's own visibility timeout; waits up to `wait` for the first.
    ///
    /// Must be cancel safe: dropped before it is ready, it has received nothing. Otherwise a stop could leave messages
    /// invisible until their visibility timeout is over.
    fn receive(
        &self,
        max_messages: usize,
        wait: Duration,
    ) -> impl Future<Output = Result<Vec<Message>, Self::Error>> + Send;

    /// Deletes up to 10 messages by their receipt handles.
    fn delete(&self, receipt_handles: &[String]) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

/// Starts to poll. After `shutdown` nothing more is received, and the task ends when the last running batch has.
pub fn start<Q, I, F, E>(source: EventSource, queue: Q, invoke: I, shutdown: CancellationToken) -> JoinHandle<()>
where
    Q: Queue,
    I: Fn(Bytes) -> F + Send + Sync + 'static,
    F: Future<Output = Result<Bytes, E>> + Send + 'static,
    E: Display + Send + 'static,
{
    let poller = Poller { source, queue, invoke, shutdown };
    tokio::spawn(Arc::new(poller).run())
}

struct Poller<Q, I> {
    source: EventSource,
    queue: Q,
    invoke: I,
    shutdown: CancellationToken,
}

impl<Q, I, F, E> Poller<Q, I>
where
    Q: Queue,
    I: Fn(Bytes) -> F + Send + Sync + 'static,
    F: Future<Output = Result<Bytes, E>> + Send + 'static,
    E: Display + Send + 'static,
{
    async fn run(self: Arc<Self>) {
        let places = Arc::new(Semaphore::new(self.source.maximum_concurrency));
        let running = TaskTracker::new();
        let mut pause = BACKOFF.0;
        while let Some(mut free) = self.free_places(&places).await {
            let asked = Instant::now();
            let messages = match self.collect(free.num_permits() * self.source.batch_size).await {
                Ok(messages) => messages,
                Err(error) => {
                    tracing::warn!("{}: cannot receive from {}: {error}", self.source.function, self.source.queue_arn);
                    self.shutdown.run_until_cancelled(tokio::time::sleep(pause)).await;
                    pause = (pause * 2).min(BACKOFF.1);
                    continue;
                }
            };
            pause = BACKOFF.0;
            if messages.is_empty() && asked.elapsed() < BACKOFF.0 {
                // This queue does not wait, as some emulators do not.
                self.shutdown.run_until_cancelled(tokio::time::sleep(BACKOFF.0)).await;
            }
            for batch in split(messages, self.source.batch_size) {
                let place = free.split(1).expect("no more messages are received than there are places for");
                let poller = Arc::clone(&self);
                running.spawn(async move {
                    poller.process(batch).await;
                    drop(place);
                });
            }
        }
        running.close();
        running.wait().await;
    }

    /// Waits for a place, and takes more if they are free and one receive can fill them. None at shutdown.
    async fn free_places(&self, places: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
        let mut free = tokio::select! {
            biased;
            () = self.shutdown.cancelled() => return None,
            first = Arc::clone(places).acquire_owned() => first.ok()?,
        };
        let at_once = match self.is_fifo() || !self.source.maximum_batching_window.is_zero() {
            true => 1,
            false => MESSAGES_PER_REQUEST / self.source.batch_size,
        };
        while free.num_permits() < at_once {
            let Ok(another) = Arc::clone(places).try_acquire_owned() else { break };
            free.merge(another);
        }
        Some(free)
    }

    fn is_fifo(&self) -> bool {
        self.source.queue_arn.ends_with(".fifo")
    }

    /// Receives up to `max` messages: what one request gives or, with a window, what comes in that time.
    ///
    /// What has been received is returned, whatever happens next.
    async fn collect(&self, max: usize) -> Result<Vec<Message>, Q::Error> {
        let mut messages = self.receive(max, LONG_POLL).await?;
        let until = Instant::now() + self.source.maximum_batching_window;
        while !messages.is_empty() && messages.len() < max && !self.shutdown.is_cancelled() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || batch::is_full(&messages) {
                break;
            }
            match self.receive(max - messages.len(), left.min(LONG_POLL)).await {
                Ok(more) if more.is_empty() => tokio::time::sleep(left.min(BACKOFF.0)).await,
                Ok(more) => messages.extend(more),
                Err(_) => break, // The next request will say so again.
            }
        }
        Ok(messages)
    }

    /// One request, or nothing at shutdown.
    async fn receive(&self, max: usize, wait: Duration) -> Result<Vec<Message>, Q::Error> {
        tokio::select! {
            // Shutdown first: when both are ready, nothing more is to be started.
            biased;
            () = self.shutdown.cancelled() => Ok(Vec::new()),
            received = self.queue.receive(max.min(MESSAGES_PER_REQUEST), wait) => received,
        }
    }

    /// Invokes the function with a batch, in more than one event if it is too large for one.
    async fn process(&self, batch: Vec<Message>) {
        for event in Event::of(batch, &self.source) {
            let all = self.run_event(event).await;
            if !all && self.is_fifo() {
                // What is left may follow a failed message of its group; it comes back after it.
                return;
            }
        }
    }

    /// True if every message has succeeded.
    async fn run_event(&self, event: Event) -> bool {
        let (function, count) = (&self.source.function, event.messages.len());
        let failed = match (self.invoke)(event.payload).await {
            Err(error) => {
                tracing::warn!("{function}: batch of {count} failed, to be retried: {error}");
                return false;
            }
            Ok(_) if !self.source.report_batch_item_failures => Vec::new(),
            Ok(response) => match batch::reported_failures(&response, &event.messages) {
                Ok(failed) => failed,
                Err(reason) => {
                    tracing::warn!("{function}: batch of {count} failed, to be retried: {reason}");
                    return false;
                }
            },
        };
        let succeeded = event.messages.into_iter().filter(|(id, _)| !failed.contains(id));
        let handles: Vec<_> = succeeded.map(|(_, receipt_handle)| receipt_handle).collect();
        for handles in handles.chunks(MESSAGES_PER_REQUEST) {
            if let Err(error) = self.queue.delete(handles).await {
                // At least once is all that a queue promises.
                tracing::warn!("{function}: messages done but not deleted, they will come again: {error}");
            }
        }
        failed.is_empty()
    }
}
