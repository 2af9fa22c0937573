#![doc = include_str!("../README.md")]
//!
//! # Inside
//!
//! | file | concern |
//! |---|---|
//! | `wire/` | the AWS JSON protocol: operations, parameters, limits, errors |
//! | `state` | all queues, and how they refer to each other |
//! | `delivery` | the life of a message: send, receive and redrive, delete, visibility |
//! | `queue` | one queue: decides which message may be handed out when |
//! | `deduplication`, `attributes`, `message`, `ids`, `moves`, `tasks` | the concern in their name |
//! | `store`, `writer` | the SQLite file, and the thread that writes it |
//! | `clock` | time, real or moved by a test |
//!
//! ## Why this is right under concurrency
//!
//! **One lock.** All queues are in memory under one mutex, and an operation is one critical section. It reads the
//! clock, decides, changes the memory and puts its changes into the writer's channel. So operations have one order,
//! which is the same in memory and in the file. Neither two receivers nor a receive and a redrive can get hold of the
//! same message. The section has no `await` and no I/O and takes microseconds, so a plain mutex is fine on async
//! threads.
//!
//! **Acknowledged means written.** After the lock, a call waits for its commit and only then answers. Others can see a
//! change before it is written: a receiver may get a message whose sender still waits. But their own changes commit
//! later, in the same order. If a write fails, the server acknowledges nothing any more (see `writer`).
//!
//! **No lost wake-up.** A receiver that finds nothing registers with its queue's `arrivals` *before* it looks again, so
//! a message that arrives in between wakes it. It also sleeps no longer than until the next moment at which a message
//! becomes visible by itself, or until its waiting time is over. To avoid a stampede of 500 receivers, an arrival wakes
//! only one (`notify_one`). This is enough because of one rule: *a receiver that stops waiting, for any reason, wakes
//! the next one* (`Baton`). So while a message is available, or a new timer has to be watched, some receiver has been
//! woken and looks. It takes the message and wakes the next one, or sleeps again until the timer as it is now.
//!
//! **No lost receive.** Messages are marked in flight under the lock, and returned once that is written. If a receive
//! is dropped in between because its client left, the messages go back as if it had not happened
//! (`UnconfirmedReceive`). A receive that is dropped while it waits holds no messages. After `call` or `receive` has
//! returned, the messages belong to the caller, as after a response of AWS.
#![warn(missing_docs)]

mod attributes;
mod clock;
mod deduplication;
mod delivery;
mod error;
mod ids;
mod message;
mod moves;
mod queue;
mod state;
mod store;
mod tasks;
mod wire;
mod writer;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use tokio::sync::Notify;

pub use clock::{Clock, ManualClock, Sleep, SystemClock};
pub use error::{Error, OpenError};
pub use message::{Message, MessageAttribute};
pub use wire::Response;

use delivery::{Handout, Outgoing};
use ids::Ids;
use state::State;
use tasks::Step;
use writer::{Commit, Writer};

/// The queue server. Clones share it.
#[derive(Clone, Debug)]
pub struct Sqs {
    inner: Arc<Inner>,
}

/// The place where the queues are stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Storage {
    /// In memory: the queues end with the process.
    Memory,
    /// In a SQLite file, which is created if it does not exist. Only one process can use it at a time.
    File(PathBuf),
}

/// The parameters of a receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receive {
    /// The largest number of messages. Within the process it is not limited to 10.
    pub max_messages: u32,
    /// The time to wait for the first message.
    pub wait: Duration,
    /// The visibility timeout, in place of the queue's own.
    pub visibility_timeout: Option<Duration>,
}

/// The number of messages in a queue, and the age of the oldest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueCounts {
    /// Messages that a receive could get now.
    pub visible: u64,
    /// Messages that were received, and neither deleted nor visible again.
    pub in_flight: u64,
    /// Messages that were sent and are not visible yet.
    pub delayed: u64,
    /// The age of the oldest message that is not deleted.
    pub oldest: Option<Duration>,
    /// The name of this queue's dead-letter queue.
    pub dead_letter_queue: Option<String>,
}

#[derive(Debug)]
struct Inner {
    state: Mutex<State>,
    writer: Option<Writer>,
    clock: Arc<dyn Clock>,
    base_url: String,
}

impl Sqs {
    /// `base_url` is the beginning of queue URLs: `{base_url}/{account}/{name}`. Requests find a queue by the last path
    /// segment, so a URL stays valid when the port changes.
    pub fn open(
        storage: Storage,
        region: &str,
        account_id: &str,
        base_url: &str,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, OpenError> {
        let (state, writer) = match storage {
            Storage::Memory => (State::new(region, account_id, Ids::new(0)), None),
            Storage::File(path) => {
                let connection = store::open(&path)?;
                let (queues, last_sequence) = store::load(&connection, &path, clock.now_ms())?;
                let mut state = State::new(region, account_id, Ids::new(last_sequence));
                state.restore(queues);
                (state, Some(Writer::start(connection)?))
            }
        };
        let base_url = base_url.trim_end_matches('/').to_owned();
        Ok(Self { inner: Arc::new(Inner { state: Mutex::new(state), writer, clock, base_url }) })
    }

    /// Makes one call of the AWS JSON protocol: the operation's name from `X-Amz-Target`, without `AmazonSQS.`, and the
    /// body.
    pub async fn call(&self, operation: &str, body: &[u8]) -> Response {
        wire::call(self, operation, body).await
    }

    /// Creates a queue, or gives these attributes to an existing one. Returns its URL.
    pub async fn create_queue(&self, name: &str, attributes: &BTreeMap<String, String>) -> Result<String, Error> {
        self.inner
            .run(|state, now_ms| match state.queues.contains_key(name) {
                true => state.set_attributes(name, attributes, now_ms),
                false => state.create(name, attributes, now_ms).map(|_| ()),
            })
            .await?;
        Ok(self.queue_url(name))
    }

    /// Sends messages, each to the queue of this name, in one commit: all of them are sent or none. Within the process,
    /// the size of a message is not limited.
    pub async fn send(&self, messages: Vec<(String, String)>) -> Result<(), Error> {
        let send = |state: &mut State, now_ms| {
            for (queue, _) in &messages {
                state.queue(queue, now_ms)?;
            }
            for (queue, body) in messages {
                state.send(&queue, Outgoing { body, ..Outgoing::default() }, now_ms)?;
            }
            Ok(())
        };
        self.inner.run(send).await
    }

    /// Deletes a message and sends another one to its queue, in one commit. The new one is visible after `delay`, which
    /// has whole seconds.
    pub async fn replace(&self, queue: &str, receipt_handle: &str, body: String, delay: Duration) -> Result<(), Error> {
        let delay_seconds = Some(u32::try_from(delay.as_secs()).unwrap_or(u32::MAX));
        let replace = |state: &mut State, now_ms| {
            state.delete(queue, receipt_handle, now_ms)?;
            state.send(queue, Outgoing { body, delay_seconds, ..Outgoing::default() }, now_ms).map(|_| ())
        };
        self.inner.run(replace).await
    }

    /// Makes all messages in flight visible, for a queue whose receivers are known to be gone.
    pub async fn release(&self, queue: &str) -> Result<(), Error> {
        self.inner.run(|state, now_ms| state.release(queue, now_ms)).await
    }

    /// Waits for messages and receives them. A dropped future has received nothing.
    pub async fn receive(&self, queue: &str, request: Receive) -> Result<Vec<Message>, Error> {
        let visibility_ms = request.visibility_timeout.map(to_ms);
        self.inner.receive(queue, request.max_messages as usize, to_ms(request.wait), visibility_ms).await
    }

    /// Deletes messages in one commit. Returns one result per handle.
    pub async fn delete(&self, queue: &str, receipt_handles: &[String]) -> Vec<Result<(), Error>> {
        let deleted = self
            .inner
            .run(|state, now_ms| Ok(receipt_handles.iter().map(|handle| state.delete(queue, handle, now_ms)).collect()))
            .await;
        deleted.unwrap_or_else(|error| vec![Err(error); receipt_handles.len()])
    }

    /// Sets the visibility timeout, counted from now. Zero makes the message visible at once.
    pub async fn change_visibility(&self, queue: &str, receipt_handle: &str, timeout: Duration) -> Result<(), Error> {
        self.inner.run(|state, now_ms| state.change_visibility(queue, receipt_handle, to_ms(timeout), now_ms)).await
    }

    /// All queues and the numbers of their messages.
    pub fn counts(&self) -> BTreeMap<String, QueueCounts> {
        let (counts, _unawaited) = self.inner.transact(|state, now_ms| {
            let names: Vec<String> = state.queues.keys().cloned().collect();
            let mut counts = BTreeMap::new();
            for name in names {
                let Ok(queue) = state.queue(&name, now_ms) else { continue };
                let (visible, in_flight, delayed) = (queue.visible(), queue.in_flight(), queue.delayed());
                let age = |sent_ms| Duration::from_millis(u64::try_from(now_ms - sent_ms).unwrap_or(0));
                let oldest = queue.oldest_ms().map(age);
                let target_arn = queue.attributes.redrive.as_ref().map(|policy| policy.target_arn.clone());
                let dead_letter_queue = target_arn.and_then(|arn| state.name_of_arn(&arn).map(str::to_owned));
                let counted = QueueCounts {
                    visible: visible as u64,
                    in_flight: in_flight as u64,
                    delayed: delayed as u64,
                    oldest,
                    dead_letter_queue,
                };
                counts.insert(name, counted);
            }
            counts
        });
        counts
    }

    /// The ARN of a queue of this name, whether it exists or not.
    pub fn queue_arn(&self, queue: &str) -> String {
        self.inner.lock().arn(queue)
    }

    /// Ends long polls, refuses further calls, and returns once every change is in the file.
    pub async fn close(&self) {
        let commit = {
            let mut state = self.inner.lock();
            if std::mem::replace(&mut state.closed, true) {
                return;
            }
            for queue in state.queues.values() {
                queue.arrivals.notify_waiters();
            }
            self.inner.writer.as_ref().map_or_else(Commit::none, Writer::close)
        };
        if let Err(error) = commit.wait().await {
            tracing::error!(%error, "The queue file could not be closed cleanly");
        }
    }

    fn queue_url(&self, name: &str) -> String {
        let account_id = self.inner.lock().account_id.clone();
        format!("{}/{account_id}/{name}", self.inner.base_url)
    }
}

fn to_ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4)
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("an operation panicked half way, so the state of the queues is unknown")
    }

    /// Runs one critical section, and returns the commit of its changes.
    fn transact<T>(&self, operate: impl FnOnce(&mut State, i64) -> T) -> (T, Commit) {
        let mut state = self.lock();
        let now_ms = self.clock.now_ms();
        let result = operate(&mut state, now_ms);
        let changes = std::mem::take(&mut state.changes);
        let commit = match &self.writer {
            Some(writer) if !changes.is_empty() => writer.submit(changes),
            _ => Commit::none(),
        };
        (result, commit)
    }

    /// Runs an operation and returns its result once it is written.
    async fn run<T>(&self, operate: impl FnOnce(&mut State, i64) -> Result<T, Error>) -> Result<T, Error> {
        let (result, commit) =
            self.transact(|state, now_ms| if state.closed { Err(Error::Closed) } else { operate(state, now_ms) });
        let value = result?;
        commit.wait().await?;
        Ok(value)
    }

    async fn receive(
        self: &Arc<Self>,
        queue: &str,
        max: usize,
        wait_ms: i64,
        visibility_ms: Option<i64>,
    ) -> Result<Vec<Message>, Error> {
        let mut baton = Baton::default();
        let mut deadline_ms = None;
        loop {
            let arrivals = Arc::clone(&self.lock().queues.get(queue).ok_or(Error::QueueDoesNotExist)?.arrivals);
            let mut notified = std::pin::pin!(arrivals.notified());
            notified.as_mut().enable();
            baton.0 = Some(Arc::clone(&arrivals));

            let (attempt, commit) = self.transact(|state, now_ms| {
                if state.closed {
                    return Err(Error::Closed);
                }
                let handouts = state.receive(queue, max, visibility_ms, now_ms)?;
                let next_ms = state.queue(queue, now_ms)?.next_visible_ms();
                Ok((UnconfirmedReceive { inner: Arc::clone(self), queue, handouts }, next_ms, now_ms))
            });
            let (unconfirmed, next_ms, now_ms) = match attempt {
                // A long poll that ends because of the shutdown has found no messages.
                Err(Error::Closed) if deadline_ms.is_some() => return Ok(Vec::new()),
                attempt => attempt?,
            };
            if !unconfirmed.handouts.is_empty() {
                commit.wait().await?;
                return Ok(unconfirmed.confirm());
            }
            let deadline_ms = *deadline_ms.get_or_insert(now_ms.saturating_add(wait_ms));
            if now_ms >= deadline_ms {
                return Ok(Vec::new());
            }
            let wake_ms = next_ms.map_or(deadline_ms, |next_ms| next_ms.min(deadline_ms));
            tokio::select! {
                () = &mut notified => {}
                () = self.clock.sleep_until(wake_ms) => {}
            }
        }
    }

    /// Moves dead letters back until the task is done or the server is gone.
    async fn drive_move_task(inner: Weak<Self>, id: String) {
        loop {
            let Some(inner) = inner.upgrade() else { return };
            let (step, commit) = inner.transact(|state, now_ms| state.step_move_task(&id, now_ms));
            if commit.wait().await.is_err() {
                return;
            }
            let Step::At(next_ms) = step else { return };
            let sleep = inner.clock.sleep_until(next_ms);
            drop(inner);
            sleep.await;
            // Without a rate the next step is due at once. Others get the lock in between.
            tokio::task::yield_now().await;
        }
    }
}

/// Held by a waiting receiver of a queue. Whatever ends its wait, dropping this wakes the next receiver.
#[derive(Debug, Default)]
struct Baton(Option<Arc<Notify>>);

impl Drop for Baton {
    fn drop(&mut self) {
        if let Some(arrivals) = &self.0 {
            arrivals.notify_one();
        }
    }
}

/// Messages that are marked in flight but have not reached their receiver yet. If this is dropped, they go back.
#[derive(Debug)]
struct UnconfirmedReceive<'a> {
    inner: Arc<Inner>,
    queue: &'a str,
    handouts: Vec<Handout>,
}

impl UnconfirmedReceive<'_> {
    fn confirm(mut self) -> Vec<Message> {
        std::mem::take(&mut self.handouts).into_iter().map(|handout| handout.message).collect()
    }
}

impl Drop for UnconfirmedReceive<'_> {
    fn drop(&mut self) {
        if !self.handouts.is_empty() {
            let handouts = std::mem::take(&mut self.handouts);
            let ((), _unawaited) = self.inner.transact(|state, now_ms| state.take_back(self.queue, &handouts, now_ms));
        }
    }
}
