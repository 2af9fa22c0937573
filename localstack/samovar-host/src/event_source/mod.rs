//! Event source mappings: turns the messages of an SQS queue into invocations of a function, as Lambda's pollers do.
//!
//! Invariant: a message is received only when there is a place to run it, so no message is in flight without being
//! processed, and at most `maximum_concurrency` invocations of one source run at once. A place is a permit of a
//! semaphore. Only one task receives. It takes permits first, asks for as many messages as the permits allow, gives
//! back the permits that it did not need, and moves one permit into the task of each batch. Because there is one
//! receiver per source, the end of any of 500 running batches wakes one task.
//!
//! A batch's messages are deleted when its invocation succeeds, and otherwise left alone. They come back after their
//! visibility timeout, and the queue's redrive policy counts the receives. This holds for every failure, including
//! throttling, as on Lambda. Throttling does not happen as long as a source's maximum is within the reservation.
//!
//! Messages that do not pass the source's filter are deleted without an invocation.
//!
//! Messages of a FIFO queue are received one batch at a time. The messages of one group that arrive together are in one
//! invocation, in order, and the queue holds back the rest of the group while they are in flight.
//!
//! One difference from Lambda: Lambda starts with 5 batches at once and adds up to 300 a minute; here the maximum is
//! available at once.

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
mod filter;
pub mod stream;
#[cfg(test)]
mod stream_tests;
#[cfg(test)]
mod tests;

use batch::{Event, split};

pub use filter::Filter;

/// The number of messages that SQS receives or deletes with one request.
const MESSAGES_PER_REQUEST: usize = 10;
/// The longest long poll that SQS allows.
const LONG_POLL: Duration = Duration::from_secs(20);
/// The pause after an error, doubled up to the second value. The first value also follows a poll that returned empty at
/// once.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// An event source mapping as the template declares it.
#[derive(Debug, Clone)]
pub struct EventSource {
    /// The function's name, for the log.
    pub function: String,
    /// The queue's ARN. A name that ends in `.fifo` makes it a FIFO queue.
    pub queue_arn: String,
    /// The region that events name.
    pub region: String,
    /// From 1 to 10,000; at most 10 for FIFO queues.
    pub batch_size: usize,
    /// How long to wait for a full batch, from its first message on. Not for FIFO queues.
    pub maximum_batching_window: Duration,
    /// From 2 to 1,000 on AWS.
    pub maximum_concurrency: usize,
    /// `ReportBatchItemFailures`.
    pub report_batch_item_failures: bool,
    /// `FilterCriteria`.
    pub filter: Filter,
}

/// A message in the form in which SQS returns it.
#[derive(Debug, Clone, Default)]
pub struct Message {
    /// The id that the queue gave it.
    pub message_id: String,
    /// The handle for deleting it.
    pub receipt_handle: String,
    /// The text of the message.
    pub body: String,
    /// The MD5 of the body, in hexadecimal.
    pub md5_of_body: String,
    /// The system attributes, such as `ApproximateReceiveCount` and `SentTimestamp`. Lambda asks for all of them.
    pub attributes: BTreeMap<String, String>,
    /// The attributes that the sender attached.
    pub message_attributes: BTreeMap<String, MessageAttribute>,
}

/// An attribute that a sender attached to a message.
#[derive(Debug, Clone, Default, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MessageAttribute {
    /// `String`, `Number` or `Binary`.
    pub data_type: String,
    /// The value of a `String` or `Number`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub string_value: Option<String>,
    /// The value of a `Binary`, in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub binary_value: Option<String>,
}

/// The part of a queue that an event source needs.
pub trait Queue: Send + Sync + 'static {
    /// The error of a failed request to the queue.
    type Error: Display + Send + 'static;

    /// Receives up to `max_messages` (at most 10) with the queue's own visibility timeout. Waits up to `wait` for the
    /// first.
    ///
    /// Must be cancel safe: a future that is dropped before it completes has received nothing. Otherwise a stop could
    /// leave messages invisible until their visibility timeout ends.
    fn receive(
        &self,
        max_messages: usize,
        wait: Duration,
    ) -> impl Future<Output = Result<Vec<Message>, Self::Error>> + Send;

    /// Deletes up to 10 messages by their receipt handles.
    fn delete(&self, receipt_handles: &[String]) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

/// Starts to poll. After `shutdown` nothing more is received, and the task ends together with the last running batch.
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
                // This queue does not wait for messages, as is the case with some emulators.
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

    /// Waits for a place, and takes further free places as long as one receive can fill them. Returns `None` at
    /// shutdown.
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

    /// Receives up to `max` messages: the result of one request or, with a window, everything that arrives during the
    /// window.
    ///
    /// Messages that have been received are always returned, even if a later request fails.
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
                Err(_) => break, // The next call reports the error again.
            }
        }
        Ok(messages)
    }

    /// Makes one request. At shutdown it returns no messages.
    async fn receive(&self, max: usize, wait: Duration) -> Result<Vec<Message>, Q::Error> {
        tokio::select! {
            // Shutdown comes first: when both are ready, no new request starts.
            biased;
            () = self.shutdown.cancelled() => Ok(Vec::new()),
            received = self.queue.receive(max.min(MESSAGES_PER_REQUEST), wait) => received,
        }
    }

    /// Invokes the function with a batch, in several events if the batch is too large for one.
    async fn process(&self, mut batch: Vec<Message>) {
        if !self.source.filter.is_empty() {
            let (passing, others): (Vec<_>, Vec<_>) =
                batch.into_iter().partition(|message| self.source.filter.passes(&batch::record(message, &self.source)));
            batch = passing;
            self.delete(others.into_iter().map(|message| message.receipt_handle).collect()).await;
        }
        for event in Event::of(batch, &self.source) {
            let all = self.run_event(event).await;
            if !all && self.is_fifo() {
                // The remaining messages may follow a failed message of their group. They come back after it.
                return;
            }
        }
    }

    /// Returns whether every message has succeeded.
    async fn run_event(&self, event: Event) -> bool {
        let (function, count) = (&self.source.function, event.messages.len());
        let failed = match (self.invoke)(event.payload).await {
            Err(error) => {
                tracing::warn!("{function}: a batch of {count} failed and will be retried: {error}");
                return false;
            }
            Ok(_) if !self.source.report_batch_item_failures => Vec::new(),
            Ok(response) => match batch::reported_failures(&response, &event.messages) {
                Ok(failed) => failed,
                Err(reason) => {
                    tracing::warn!("{function}: a batch of {count} failed and will be retried: {reason}");
                    return false;
                }
            },
        };
        let succeeded = event.messages.into_iter().filter(|(id, _)| !failed.contains(id));
        self.delete(succeeded.map(|(_, receipt_handle)| receipt_handle).collect()).await;
        failed.is_empty()
    }

    async fn delete(&self, handles: Vec<String>) {
        for handles in handles.chunks(MESSAGES_PER_REQUEST) {
            if let Err(error) = self.queue.delete(handles).await {
                // A queue only promises delivery at least once, so this is allowed.
                let function = &self.source.function;
                tracing::warn!(
                    "{function}: processed messages could not be deleted and will be delivered again: {error}"
                );
            }
        }
    }
}
