//! Selects the function for a frame, and returns its answer.
//!
//! Frames of one connection are handled at once and in any order, as on AWS ([a report]: there is no control over it).
//! So a client that needs an order must wait for its acknowledgement. [`Api::in_order`] is for clients that can't: the
//! frames of one connection and route are then handled one after the other, in the order in which they came, and those
//! of different routes still at once.
//!
//! The number of frames that are handled or wait is bounded. At the bound, the client is not read from.
//!
//! [a report]: https://repost.aws/questions/QUa2N5ZwL4QjSFuJkuI4nGcg

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::registry::Connection;
use super::throttle::Buckets;
use super::{Api, events, integration, model};
use crate::ids::gateway_id;
use crate::invoke::IntegrationError;
use crate::json_path;
use samovar_template::{Route, Selection};

/// The frames of one connection that may be handled at once; in order, the frames of one route that may wait.
const FRAMES: usize = 64;

/// The client has sent more messages than its route takes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooMany;

/// The frames of a connection that are being handled.
#[derive(Debug)]
pub(crate) struct Dispatcher {
    api: Arc<Api>,
    connection: Arc<Connection>,
    buckets: Buckets,
    /// The queues to the routes, in order.
    lanes: HashMap<String, mpsc::Sender<String>>,
    running: JoinSet<()>,
}

impl Dispatcher {
    pub(crate) fn new(api: Arc<Api>, connection: Arc<Connection>) -> Self {
        Self { api, connection, buckets: Buckets::default(), lanes: HashMap::new(), running: JoinSet::new() }
    }

    /// Hands a frame to its route.
    pub(crate) async fn dispatch(&mut self, frame: String) -> Result<(), TooMany> {
        let Some((route_key, route)) = select(&self.api, &frame) else {
            let id = &self.connection.client.connection_id;
            send(&self.api, &self.connection, events::error_frame("Forbidden", id, &gateway_id()).into_bytes());
            return Ok(());
        };
        if let Some(limit) = route.throttle
            && !self.buckets.take(route_key, limit, Instant::now())
        {
            return Err(TooMany);
        }
        let route_key = route_key.to_owned();
        match self.api.in_order {
            true => self.queue(route_key, frame).await,
            false => self.begin(route_key, frame).await,
        }
        Ok(())
    }

    async fn begin(&mut self, route_key: String, frame: String) {
        while self.running.try_join_next().is_some() {}
        if self.running.len() >= FRAMES {
            self.running.join_next().await;
        }
        let (api, connection) = (Arc::clone(&self.api), Arc::clone(&self.connection));
        let handled = async move { handle(&api, &connection, &route_key, &frame).await };
        self.running.spawn(self.api.tasks.track_future(handled));
    }

    async fn queue(&mut self, route_key: String, frame: String) {
        let lane = match self.lanes.get(&route_key) {
            Some(lane) => lane,
            None => {
                let (lane, mut frames) = mpsc::channel::<String>(FRAMES);
                let (api, connection, key) = (Arc::clone(&self.api), Arc::clone(&self.connection), route_key.clone());
                let handled = async move {
                    while let Some(frame) = frames.recv().await {
                        handle(&api, &connection, &key, &frame).await;
                    }
                };
                self.running.spawn(self.api.tasks.track_future(handled));
                self.lanes.entry(route_key).or_insert(lane)
            }
        };
        // The lane's task lives as long as its sender.
        let _ = lane.send(frame).await;
    }

    /// Waits for up to `time` until every accepted frame has been handled. Later frames are still handled after that.
    pub(crate) async fn finish(mut self, time: std::time::Duration) {
        self.lanes.clear();
        let handled = async { while self.running.join_next().await.is_some() {} };
        if tokio::time::timeout(time, handled).await.is_err() {
            tracing::debug!(connection = self.connection.client.connection_id, "Closed while frames are still handled");
            self.running.detach_all();
        }
    }
}

async fn handle(api: &Arc<Api>, connection: &Connection, route_key: &str, frame: &str) {
    let Some(route) = api.spec.routes.get(route_key) else { return };
    let request_id = gateway_id();
    if route.api_key_required && !connection.client.has_api_key {
        return refuse(api, connection, "Forbidden", &request_id);
    }
    let event = events::message(api, &connection.client, route_key, &request_id, frame);
    if let Err(why) = model::check(api, route, &event) {
        tracing::warn!(route = route_key, connection = connection.client.connection_id, "A message was refused: {why}");
        return refuse(api, connection, "Bad request body", &request_id);
    }
    let error = match integration::call(api, route, &event).await {
        Ok(answer) => {
            if let Some(body) = answer.body.filter(|_| route.route_response) {
                send(api, connection, body);
            }
            return;
        }
        Err(error) => error,
    };
    tracing::warn!(route = route_key, connection = connection.client.connection_id, "{error}");
    let message = match error {
        IntegrationError::IntegrationTimeout { .. } => "Endpoint request timed out",
        IntegrationError::NoTemplate => "Unsupported Media Type",
        _ => "Internal server error",
    };
    refuse(api, connection, message, &request_id);
}

/// The route for a frame, with its key; `None` if there is not even `$default`.
fn select<'a>(api: &'a Api, frame: &str) -> Option<(&'a str, &'a Route)> {
    let routes = &api.spec.routes;
    let selected = evaluate(&api.spec.route_selection, frame);
    // The predefined routes cannot be called by name.
    let custom = selected.filter(|key| !key.starts_with('$')).and_then(|key| routes.get_key_value(&key));
    let found = custom.or_else(|| routes.get_key_value("$default"))?;
    Some((found.0.as_str(), found.1))
}

/// The key for a frame, or `None` if the frame is not JSON. What the frame does not have is empty.
pub(super) fn evaluate(selection: &Selection, frame: &str) -> Option<String> {
    let body: Value = serde_json::from_str(frame).ok()?;
    Some(selection.evaluate(|name| match json_path::find(&body, name.strip_prefix("request.body.")?)?.as_ref() {
        Value::String(text) => Some(text.clone()),
        Value::Null => None,
        other => Some(other.to_string()),
    }))
}

/// Tells the client that its message could not be handled.
fn refuse(api: &Api, connection: &Connection, message: &str, request_id: &str) {
    let frame = events::error_frame(message, &connection.client.connection_id, request_id);
    send(api, connection, frame.into_bytes());
}

fn send(api: &Api, connection: &Connection, frame: Vec<u8>) {
    if let Err(error) = connection.send(frame, api.limits.buffer_bytes) {
        tracing::debug!(connection = connection.client.connection_id, ?error, "A route response could not be sent");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_key_is_made_of_values_of_the_message() {
        let key = |expression: &str, frame: &str| evaluate(&Selection::parse(expression).expect("valid"), frame);
        for (expression, frame, expected) in [
            ("$request.body.action", r#"{"action":"join"}"#, "join"),
            ("${request.body.a.b}", r#"{"a":{"b":"join"}}"#, "join"),
            ("$request.body.a[1].b", r#"{"a":[0,{"b":"join"}]}"#, "join"),
            ("${request.body.action}-v${request.body.version}", r#"{"action":"join","version":2}"#, "join-v2"),
            ("$request.body.action", r#"{"action":7}"#, "7"),
            ("$request.body.action", "[]", ""),
            ("$request.body.action", r#"{"action":null}"#, ""),
            ("$request.body.action", r#""action""#, ""),
        ] {
            assert_eq!(key(expression, frame).as_deref(), Some(expected), "{expression} {frame}");
        }
        for frame in ["not json", ""] {
            assert_eq!(key("$request.body.action", frame), None, "{frame}");
        }
    }
}
