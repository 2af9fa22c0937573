//! Connections that remember the frames that they were sent.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde_json::Value;
use tokio::sync::Notify;

use crate::Error;
use crate::ids::ConnectionId;
use crate::push::{Push, PushError};

/// How long to wait for something before it counts as not happening.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug, Default)]
pub(crate) struct Connections {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    told: Vec<(ConnectionId, Value)>,
    closed: Vec<ConnectionId>,
    broken: HashSet<ConnectionId>,
    /// The connections whose handshakes are not over.
    pending: HashSet<ConnectionId>,
    /// How often something was sent to each, with whatever result.
    tries: HashMap<ConnectionId, usize>,
    /// How many posts are still refused as too many.
    slow: usize,
    /// For each of the next posts that fail for their sender: whether the frame arrives all the same.
    lost: Vec<bool>,
    /// How long a post takes.
    delay: Duration,
}

impl Connections {
    /// From now on, posts to this connection fail for an unknown reason.
    pub(crate) fn break_line(&self, connection: &ConnectionId) {
        self.change(|state| {
            state.broken.insert(connection.clone());
        });
    }

    /// The management API says that this connection is gone, until it is opened.
    pub(crate) fn keep_waiting(&self, connection: &ConnectionId) {
        self.change(|state| {
            state.pending.insert(connection.clone());
        });
    }

    pub(crate) fn open(&self, connection: &ConnectionId) {
        self.change(|state| {
            state.pending.remove(connection);
        });
    }

    /// The client closes this connection's line.
    pub(crate) fn hang_up(&self, connection: &ConnectionId) {
        self.change(|state| state.closed.push(connection.clone()));
    }

    /// The next posts, this many, are refused as too many.
    pub(crate) fn slow_down(&self, posts: usize) {
        self.change(|state| state.slow = posts);
    }

    /// The sender of the next post gets an error, whether or not the frame arrives.
    pub(crate) fn lose_answer(&self, arrives: bool) {
        self.change(|state| state.lost.push(arrives));
    }

    /// From now on, a post takes this long.
    pub(crate) fn delay(&self, delay: Duration) {
        self.change(|state| state.delay = delay);
    }

    /// The frames of a connection, in order.
    pub(crate) fn told(&self, connection: &ConnectionId) -> Vec<Value> {
        let state = self.state.lock().expect("connections");
        state.told.iter().filter(|(to, _)| to == connection).map(|(_, frame)| frame.clone()).collect()
    }

    /// How often something was sent to a connection, with whatever result.
    pub(crate) fn tries(&self, connection: &ConnectionId) -> usize {
        self.state.lock().expect("connections").tries.get(connection).copied().unwrap_or(0)
    }

    /// How often a connection was closed.
    pub(crate) fn closed(&self, connection: &ConnectionId) -> usize {
        self.state.lock().expect("connections").closed.iter().filter(|closed| *closed == connection).count()
    }

    /// Returns when the condition holds.
    pub(crate) async fn until(&self, is_so: impl Fn(&Self) -> bool) {
        let came_to_be = tokio::time::timeout(PATIENCE, self.wait_until(is_so)).await;
        assert!(came_to_be.is_ok(), "It never came to be: {self:#?}");
    }

    async fn wait_until(&self, is_so: impl Fn(&Self) -> bool) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // This comes before the check, so that no change is missed.
            changed.as_mut().enable();
            if is_so(self) {
                return;
            }
            changed.await;
        }
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().expect("connections"));
        self.changed.notify_waiters();
    }

    fn reach(&self, connection: &ConnectionId, act: impl FnOnce(&mut State)) -> Result<(), PushError> {
        let mut reached = Ok(());
        self.change(|state| {
            *state.tries.entry(connection.clone()).or_default() += 1;
            reached = state.reach(connection, act);
        });
        reached
    }
}

impl State {
    fn reach(&mut self, connection: &ConnectionId, act: impl FnOnce(&mut Self)) -> Result<(), PushError> {
        let unknown = || Error::Service { operation: "PostToConnection", detail: "out of order".to_owned() }.into();
        if self.broken.contains(connection) {
            return Err(unknown());
        }
        if self.slow > 0 {
            self.slow -= 1;
            return Err(PushError::Slow);
        }
        if self.closed.contains(connection) || self.pending.contains(connection) {
            return Err(PushError::Gone);
        }
        if !self.lost.is_empty() {
            if self.lost.remove(0) {
                act(self);
            }
            return Err(unknown());
        }
        act(self);
        Ok(())
    }
}

impl Push for Connections {
    fn post<'a>(&'a self, connection: &'a ConnectionId, frame: String) -> BoxFuture<'a, Result<(), PushError>> {
        let frame = serde_json::from_str(&frame).expect("a frame is JSON");
        let delay = self.state.lock().expect("connections").delay;
        async move {
            tokio::time::sleep(delay).await;
            self.reach(connection, |state| state.told.push((connection.clone(), frame)))
        }
        .boxed()
    }

    fn close<'a>(&'a self, connection: &'a ConnectionId) -> BoxFuture<'a, Result<(), PushError>> {
        let closed = self.reach(connection, |state| state.closed.push(connection.clone()));
        async move { closed }.boxed()
    }
}
