//! Connections that remember what they were told.

use std::collections::HashSet;
use std::sync::Mutex;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde_json::Value;

use crate::Error;
use crate::ids::ConnectionId;
use crate::push::{Push, PushError};

#[derive(Debug, Default)]
pub(crate) struct Connections(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    told: Vec<(ConnectionId, Value)>,
    closed: Vec<ConnectionId>,
    broken: HashSet<ConnectionId>,
    /// Posts that are still refused for being too many.
    slow: usize,
}

impl Connections {
    /// From now on, nothing can be sent to this one, and nobody knows why.
    pub(crate) fn break_line(&self, connection: &ConnectionId) {
        self.0.lock().expect("connections").broken.insert(connection.clone());
    }

    /// The next so many posts are too many.
    pub(crate) fn slow_down(&self, posts: usize) {
        self.0.lock().expect("connections").slow = posts;
    }

    /// The frames of a connection, in order.
    pub(crate) fn told(&self, connection: &ConnectionId) -> Vec<Value> {
        let state = self.0.lock().expect("connections");
        state.told.iter().filter(|(to, _)| to == connection).map(|(_, frame)| frame.clone()).collect()
    }

    /// How often a connection was closed.
    pub(crate) fn closed(&self, connection: &ConnectionId) -> usize {
        self.0.lock().expect("connections").closed.iter().filter(|closed| *closed == connection).count()
    }

    fn reach(&self, connection: &ConnectionId, act: impl FnOnce(&mut State)) -> Result<(), PushError> {
        let mut state = self.0.lock().expect("connections");
        if state.broken.contains(connection) {
            return Err(Error::Service { operation: "PostToConnection", detail: "out of order".to_owned() }.into());
        }
        if state.slow > 0 {
            state.slow -= 1;
            return Err(PushError::Slow);
        }
        if state.closed.contains(connection) {
            return Err(PushError::Gone);
        }
        act(&mut state);
        Ok(())
    }
}

impl Push for Connections {
    fn post<'a>(&'a self, connection: &'a ConnectionId, frame: String) -> BoxFuture<'a, Result<(), PushError>> {
        let frame = serde_json::from_str(&frame).expect("a frame is JSON");
        let told = self.reach(connection, |state| state.told.push((connection.clone(), frame)));
        async move { told }.boxed()
    }

    fn close<'a>(&'a self, connection: &'a ConnectionId) -> BoxFuture<'a, Result<(), PushError>> {
        let closed = self.reach(connection, |state| state.closed.push(connection.clone()));
        async move { closed }.boxed()
    }
}
