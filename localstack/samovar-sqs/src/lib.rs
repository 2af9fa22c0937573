#![doc = include_str!("../README.md")]
//!
//! # Inside
//!
//! | file | concern |
//! |---|---|
//! | `wire/` | the AWS JSON protocol: operations, parameters, limits, errors |
//! | `state` | all queues, and how they refer to each other |
//! | `delivery` | the life of a message: send, receive and redrive, delete, visibility |
//! | `queue` | one queue: which message may be handed out when |
//! | `deduplication`, `attributes`, `message`, `ids`, `moves`, `tasks` | what their names say |
//! | `store`, `writer` | the SQLite file, and the thread that writes it |
//! | `clock` | time, real or moved by a test |
//!
//! ## Why this is right under concurrency
//!
//! **One lock.** All queues are in memory under one mutex, and an operation is one critical section: it reads the clock,
//! decides, changes the memory and puts what it changed into the writer's channel. So operations have one order, the same in
//! memory and in the file, and neither two receivers nor a receive and a redrive can get hold of one message. The section
//! has no `await` and no I/O; it takes microseconds, so a plain mutex does on async threads.
//!
//! **Acknowledged is written.** After the lock, a call waits for its commit, and only then answers. What is not yet written
//! can be seen by others before (a receiver may get a message whose sender still waits), but whatever they then do commits
//! later in the same order. If a write fails, the server acknowledges nothing any more (see `writer`).
//!
//! **No lost wake-up.** A receiver that finds nothing registers with its queue's `arrivals` *before* it looks again, so what
//! arrives in between wakes it. It also sleeps until the next moment at which something becomes visible by itself, or its
//! time is over. To spare 500 receivers a stampede, an arrival wakes one (`notify_one`), and this is enough because of one
//! rule: *who stops waiting, for whatever reason, wakes the next* (`Baton`). So while anything is there to be had, or a
//! new timer is to be watched, some waiter has been woken and looks; it takes and passes on, or re-arms with the timer as it
//! is now.
//!
//! **No lost receive.** Messages are marked in flight under the lock and returned once that is written. A receive dropped in
//! between, because its client left, takes them back as if it had not happened (`Handed`); one dropped while it waits
//! holds nothing. After `call` or `receive` has returned, the messages are the caller's, as after a response of AWS.
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

use delivery::Handout;
use ids::Ids;
use state::State;
use tasks::Step;
use writer::{Commit, Writer};

/// The queue server; clones share it.
#[derive(Clone, Debug)]
pub struct Sqs {
    inner: Arc<Inner>,
}

/// Where the queues are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Storage {
    /// Gone with the process.
    Memory,
    /// A SQLite file, made when it is not there. One process at a time.
    File(PathBuf),
}

/// What a receiver asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receive {
    /// In process there is no limit of 10.
    pub max_messages: u32,
    /// How long to wait for the first message.
    pub wait: Duration,
    /// Instead of the queue's.
    pub visibility_timeout: Option<Duration>,
}

/// How many messages a queue holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueCounts {
    /// What a receive could get now.
    pub visible: u64,
    /// Received, and neither deleted nor visible again.
    pub in_flight: u64,
    /// Sent, and not visible yet.
    pub delayed: u64,
    /// Name of the queue that takes what this one gives up.
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
    /// `base_url` is what queue URLs start with: `{base_url}/{account}/{name}`. Requests find a queue by the last path
    /// segment, so that a URL survives a changed port.
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

    /// One call of the AWS JSON protocol: the operation's name from `X-Amz-Target`, without `AmazonSQS.`, and the body.
    pub async fn call(&self, operation: &str, body: &[u8]) -> Response {
        wire::call(self, operation, body).await
    }

    /// Makes a queue, or gives an existing one these attributes; returns its URL.
    pub async fn create_queue(&self, name: &str, attributes: &BTreeMap<String, String>) -> Result<String, Error> {
        self.inner
            .run(|state, now_ms| match state.queues.contains_key(name) {
                true => state.set_attributes(name, attributes, now_ms),
                false => state.create(name, attributes, now_ms).map(|_| ()),
            })
            .await?;
        Ok(self.queue_url(name))
    }

    /// Waits for messages and takes them. Dropping the future takes nothing.
    pub async fn receive(&self, queue: &str, request: Receive) -> Result<Vec<Message>, Error> {
        let visibility_ms = request.visibility_timeout.map(to_ms);
        self.inner.receive(queue, request.max_messages as usize, to_ms(request.wait), visibility_ms).await
    }

    /// Deletes messages in one commit; one result per handle.
    pub async fn delete(&self, queue: &str, receipt_handles: &[String]) -> Vec<Result<(), Error>> {
        let deleted = self
            .inner
            .run(|state, now_ms| Ok(receipt_handles.iter().map(|handle| state.delete(queue, handle, now_ms)).collect()))
            .await;
        deleted.unwrap_or_else(|error| vec![Err(error); receipt_handles.len()])
    }

    /// Counts anew from now: zero makes the message visible at once.
    pub async fn change_visibility(&self, queue: &str, receipt_handle: &str, timeout: Duration) -> Result<(), Error> {
        self.inner.run(|state, now_ms| state.change_visibility(queue, receipt_handle, to_ms(timeout), now_ms)).await
    }

    /// Every queue and what it holds.
    pub fn counts(&self) -> BTreeMap<String, QueueCounts> {
        let (counts, _unawaited) = self.inner.transact(|state, now_ms| {
            let names: Vec<String> = state.queues.keys().cloned().collect();
            let mut counts = BTreeMap::new();
            for name in names {
                let Ok(queue) = state.queue(&name, now_ms) else { continue };
                let (visible, in_flight, delayed) = (queue.visible(), queue.in_flight(), queue.delayed());
                let target_arn = queue.attributes.redrive.as_ref().map(|policy| policy.target_arn.clone());
                let dead_letter_queue = target_arn.and_then(|arn| state.name_of_arn(&arn).map(str::to_owned));
                let counted = QueueCounts {
                    visible: visible as u64,
                    in_flight: in_flight as u64,
                    delayed: delayed as u64,
                    dead_letter_queue,
                };
                counts.insert(name, counted);
            }
            counts
        });
        counts
    }

    /// The ARN of a queue of this name, whether it is there or not.
    pub fn queue_arn(&self, queue: &str) -> String {
        self.inner.lock().arn(queue)
    }

    /// Ends long polls, refuses further calls, and returns once everything is in the file.
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
            tracing::error!(%error, "The queue file was not closed cleanly");
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
        self.state.lock().expect("an operation that panicked half way left the queues in doubt")
    }

    /// One critical section, and the commit of what it changed.
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

    /// An operation that is answered once it is written.
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
                Ok((Handed { inner: Arc::clone(self), queue, handouts }, next_ms, now_ms))
            });
            let (handed, next_ms, now_ms) = match attempt {
                // A long poll that the shutdown cuts short has simply found nothing.
                Err(Error::Closed) if deadline_ms.is_some() => return Ok(Vec::new()),
                attempt => attempt?,
            };
            if !handed.handouts.is_empty() {
                commit.wait().await?;
                return Ok(handed.over());
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

    /// Moves dead letters back, until done or the server is gone.
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
            // Without a rate the next step is due at once: let others have the lock.
            tokio::task::yield_now().await;
        }
    }
}

/// Held by a receiver of a queue: whichever way it stops waiting, the next one looks.
#[derive(Debug, Default)]
struct Baton(Option<Arc<Notify>>);

impl Drop for Baton {
    fn drop(&mut self) {
        if let Some(arrivals) = &self.0 {
            arrivals.notify_one();
        }
    }
}

/// Messages marked in flight, but not yet with their receiver: dropped, they go back.
#[derive(Debug)]
struct Handed<'a> {
    inner: Arc<Inner>,
    queue: &'a str,
    handouts: Vec<Handout>,
}

impl Handed<'_> {
    fn over(mut self) -> Vec<Message> {
        std::mem::take(&mut self.handouts).into_iter().map(|handout| handout.message).collect()
    }
}

impl Drop for Handed<'_> {
    fn drop(&mut self) {
        if !self.handouts.is_empty() {
            let handouts = std::mem::take(&mut self.handouts);
            let ((), _unawaited) = self.inner.transact(|state, now_ms| state.take_back(self.queue, &handouts, now_ms));
        }
    }
}
