//! The event queues of Lambda: events that wait for an asynchronous invocation of a function.
//!
//! Each function has a queue. Services put events into it, and the stack takes them out and invokes the function. The
//! queues are those of `samovar-sqs`, in a file of their own, so that no function sees them.
//!
//! Invariant: an event that has been accepted ([`EventQueues::accept`] has returned) is on the disk, and stays there
//! until it is done. An event that is taken out is only hidden. This process is the only one that takes events out, so
//! what is hidden when the queues are opened was given to a process that is gone, and is shown again at once. So after
//! a crash an event may come a second time, as on Lambda, and none is lost. A retry replaces the event in one commit.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use samovar_sqs::{QueueCounts, Receive, Sqs, Storage, SystemClock};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::clock::now_ms;

/// Lambda's limit on the payload of an asynchronous invocation.
pub const MAX_EVENT_BYTES: usize = 1024 * 1024;

/// The longest time that SQS keeps a message. Events are given up earlier, by their age.
const RETENTION_SECONDS: u32 = 1_209_600;
/// The longest time that SQS hides a message, and longer than any invocation takes.
const HIDDEN: Duration = Duration::from_secs(43_200);
const LONG_POLL: Duration = Duration::from_secs(20);
const MESSAGES_AT_ONCE: u32 = 10;

/// An event for a function.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Event {
    /// JSON.
    pub payload: Box<RawValue>,
    /// The id of the request, which is the same in all attempts.
    pub request_id: String,
    /// The value of `X-Amzn-Trace-Id`, if the caller has sent one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// JSON that the function finds in its context, if the caller has sent some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_context: Option<String>,
    /// When it was accepted, in epoch milliseconds.
    pub accepted_ms: i64,
    /// The number of attempts that have ended with an error of the function.
    #[serde(default)]
    pub errors: u32,
    /// The number of attempts at which the function could not be invoked, such as when it was throttled.
    #[serde(default)]
    pub refusals: u32,
}

impl Event {
    /// A new event.
    pub fn new(payload: Box<RawValue>, request_id: String) -> Self {
        let accepted_ms = now_ms();
        Self { payload, request_id, trace_id: None, client_context: None, accepted_ms, errors: 0, refusals: 0 }
    }

    /// The time since it was accepted.
    pub fn age(&self) -> Duration {
        Duration::from_millis(u64::try_from(now_ms() - self.accepted_ms).unwrap_or_default())
    }
}

/// An event that has been taken out of its queue, and comes back unless it is done or replaced.
#[derive(Debug)]
pub struct Taken {
    /// The event.
    pub event: Event,
    handle: String,
}

/// The event queues of all functions. Clones are the same queues.
#[derive(Debug, Clone)]
pub struct EventQueues {
    sqs: Sqs,
}

impl EventQueues {
    /// Opens the queues of these functions, by their names on AWS, in the data directory or in memory.
    ///
    /// # Errors
    /// The file can't be used.
    pub async fn open(data_dir: Option<&Path>, functions: impl Iterator<Item = &str>) -> Result<Self> {
        let storage = data_dir.map_or(Storage::Memory, |dir| Storage::File(dir.join("events.sqlite")));
        // Nobody sees the region, the account and the URLs of these queues.
        let sqs = Sqs::open(storage, "", "", "", Arc::new(SystemClock))?;
        let attributes = BTreeMap::from([("MessageRetentionPeriod".to_owned(), RETENTION_SECONDS.to_string())]);
        for function in functions {
            let made = sqs.create_queue(function, &attributes).await;
            made.with_context(|| format!("The event queue of {function} could not be made"))?;
            sqs.release(function).await?;
        }
        Ok(Self { sqs })
    }

    /// Accepts events, each for the function of this name. All of them are accepted or none.
    ///
    /// # Errors
    /// There is no such function, or the events could not be written.
    pub async fn accept(&self, events: Vec<(String, Event)>) -> Result<()> {
        let messages = events.into_iter().map(|(function, event)| Ok((function, serde_json::to_string(&event)?)));
        self.sqs.send(messages.collect::<Result<_>>()?).await.context("An event could not be accepted")
    }

    /// Waits for events of a function, up to 20 seconds, and takes at most `max` and ten out of its queue. A future
    /// that is dropped has taken none.
    ///
    /// # Errors
    /// The queues are closed, or could not be written.
    pub async fn take(&self, function: &str, max: usize) -> Result<Vec<Taken>> {
        let max_messages = u32::try_from(max).unwrap_or(u32::MAX).min(MESSAGES_AT_ONCE);
        let request = Receive { max_messages, wait: LONG_POLL, visibility_timeout: Some(HIDDEN) };
        let mut taken = Vec::new();
        for message in self.sqs.receive(function, request).await? {
            match serde_json::from_str(&message.body) {
                Ok(event) => taken.push(Taken { event, handle: message.receipt_handle }),
                Err(error) => {
                    tracing::error!(%error, "{function}: an event in the queue can't be read, and is dropped");
                    self.delete(function, message.receipt_handle).await?;
                }
            }
        }
        Ok(taken)
    }

    /// Puts a changed event back in place of the one that was taken. It is taken again after `delay`, which has whole
    /// seconds.
    ///
    /// # Errors
    /// The change could not be written.
    pub async fn put_back(&self, function: &str, taken: &Taken, event: &Event, delay: Duration) -> Result<()> {
        Ok(self.sqs.replace(function, &taken.handle, serde_json::to_string(event)?, delay).await?)
    }

    /// Removes an event whose invocation has ended.
    ///
    /// # Errors
    /// The change could not be written.
    pub async fn done(&self, function: &str, taken: Taken) -> Result<()> {
        self.delete(function, taken.handle).await
    }

    async fn delete(&self, function: &str, handle: String) -> Result<()> {
        self.sqs.delete(function, &[handle]).await.into_iter().collect::<Result<(), _>>().map_err(Into::into)
    }

    /// The number of events in each queue.
    pub fn counts(&self) -> BTreeMap<String, QueueCounts> {
        self.sqs.counts()
    }

    /// Ends waits, and returns once every change is written.
    pub async fn close(&self) {
        self.sqs.close().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(text: &str) -> Event {
        Event::new(RawValue::from_string(text.to_owned()).expect("JSON"), "the-id".to_owned())
    }

    async fn open(dir: &Path) -> EventQueues {
        EventQueues::open(Some(dir), ["f", "g"].into_iter()).await.expect("queues")
    }

    #[tokio::test]
    async fn an_event_that_was_taken_and_not_done_comes_again_after_a_restart() {
        let dir = tempfile::tempdir().expect("a directory");
        let queues = open(dir.path()).await;
        let with_context = Event { client_context: Some("{}".to_owned()), ..event(r#"{"a": 1.0}"#) };
        queues.accept(vec![("f".to_owned(), with_context), ("g".to_owned(), event("2"))]).await.expect("accepted");
        let [taken] = queues.take("f", 5).await.expect("events").try_into().expect("one event");
        assert_eq!((taken.event.payload.get(), taken.event.request_id.as_str()), (r#"{"a": 1.0}"#, "the-id"));
        let [other] = queues.take("g", 5).await.expect("events").try_into().expect("one event");
        queues.done("g", other).await.expect("done");
        queues.close().await;

        let queues = open(dir.path()).await;
        let [again] = queues.take("f", 5).await.expect("events").try_into().expect("one event");
        assert_eq!(again.event.payload.get(), taken.event.payload.get());
        assert_eq!(again.event.client_context.as_deref(), Some("{}"));
        let counts = queues.counts();
        assert_eq!((counts["f"].in_flight, counts["g"].visible + counts["g"].in_flight), (1, 0));
    }

    #[tokio::test]
    async fn an_event_is_put_back_changed() {
        let queues = EventQueues::open(None, ["f"].into_iter()).await.expect("queues");
        queues.accept(vec![("f".to_owned(), event("1"))]).await.expect("accepted");
        let [taken] = queues.take("f", 1).await.expect("events").try_into().expect("one event");
        let changed = Event { errors: 1, ..taken.event.clone() };
        queues.put_back("f", &taken, &changed, Duration::ZERO).await.expect("put back");
        let [again] = queues.take("f", 1).await.expect("events").try_into().expect("one event");
        assert_eq!((again.event.errors, again.event.accepted_ms), (1, taken.event.accepted_ms));
        queues.put_back("f", &again, &changed, Duration::from_secs(60)).await.expect("put back");
        assert_eq!((queues.counts()["f"].visible, queues.counts()["f"].delayed), (0, 1));
    }

    #[tokio::test]
    async fn events_for_an_unknown_function_are_not_accepted_and_what_is_no_event_is_dropped() {
        let queues = EventQueues::open(None, ["f"].into_iter()).await.expect("queues");
        let both = vec![("f".to_owned(), event("1")), ("none".to_owned(), event("2"))];
        let error = queues.accept(both).await.expect_err("an unknown function");
        assert!(format!("{error:#}").starts_with("An event could not be accepted: "), "{error:#}");
        queues.sqs.send(vec![("f".to_owned(), "not an event".to_owned())]).await.expect("sent");
        assert!(queues.take("f", 5).await.expect("events").is_empty());
        assert_eq!(queues.counts()["f"], QueueCounts::default());
    }
}
