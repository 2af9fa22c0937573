//! Selects the function for a frame, and returns its answer.
//!
//! Frames of one connection and route are handled one after the other, in the order in which they came. Frames of
//! different routes are handled at the same time. AWS promises no order at all, so a client that needs an order must
//! wait for its acknowledgement. Here, a client that does not wait sees its frames handled in order, and a slow route
//! does not delay others.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::registry::Connection;
use super::{Api, events};
use crate::ids::gateway_id;
use crate::invoke::IntegrationError;
use samovar_template::Route;

/// The frames of one route that may wait. Beyond that, the client is not read from.
const LANE_FRAMES: usize = 64;

/// The queues of a connection to its routes.
#[derive(Debug)]
pub(crate) struct Dispatcher {
    api: Arc<Api>,
    connection: Arc<Connection>,
    lanes: HashMap<String, mpsc::Sender<String>>,
    running: JoinSet<()>,
}

impl Dispatcher {
    pub(crate) fn new(api: Arc<Api>, connection: Arc<Connection>) -> Self {
        Self { api, connection, lanes: HashMap::new(), running: JoinSet::new() }
    }

    pub(crate) async fn dispatch(&mut self, frame: String) {
        let Some(route_key) = select(&self.api, &frame) else {
            let id = &self.connection.client.connection_id;
            send(&self.api, &self.connection, events::error_frame("Forbidden", id, &gateway_id()).into_bytes());
            return;
        };
        let lane = match self.lanes.get(&route_key) {
            Some(lane) => lane,
            None => {
                let (lane, frames) = mpsc::channel(LANE_FRAMES);
                let (api, connection) = (Arc::clone(&self.api), Arc::clone(&self.connection));
                let tracked = self.api.tasks.track_future(serve(api, connection, route_key.clone(), frames));
                self.running.spawn(tracked);
                self.lanes.entry(route_key).or_insert(lane)
            }
        };
        // The lane's task lives as long as its sender.
        let _ = lane.send(frame).await;
    }

    /// Waits for up to `time` until every accepted frame has been handled. Later frames are still handled after that.
    pub(crate) async fn finish(mut self, time: Duration) {
        self.lanes.clear();
        let handled = async { while self.running.join_next().await.is_some() {} };
        if tokio::time::timeout(time, handled).await.is_err() {
            tracing::debug!(connection = self.connection.client.connection_id, "Closed while frames are still handled");
            self.running.detach_all();
        }
    }
}

async fn serve(api: Arc<Api>, connection: Arc<Connection>, route_key: String, mut frames: mpsc::Receiver<String>) {
    let Some(route) = api.spec.routes.get(&route_key).cloned() else { return };
    while let Some(frame) = frames.recv().await {
        let request_id = gateway_id();
        let event = events::message(&api, &connection.client, &route_key, &request_id, &frame);
        match invoke(&api, &route, &event).await {
            Ok(answer) => {
                if let Some(body) = route.route_response.then(|| body_of(&answer)).flatten() {
                    send(&api, &connection, body);
                }
            }
            Err(error) => {
                let client = &connection.client;
                tracing::warn!(route = route_key, connection = client.connection_id, "{error}");
                let frame = events::error_frame("Internal server error", &client.connection_id, &request_id);
                send(&api, &connection, frame.into_bytes());
            }
        }
    }
}

/// Calls a route's function, for at most the integration's time. A function that takes longer goes on, without effect
/// here.
pub(crate) async fn invoke(api: &Arc<Api>, route: &Route, event: &Value) -> Result<Value, IntegrationError> {
    let (invoker, function) = (Arc::clone(&api.invoker), route.function.clone());
    let payload = event.to_string().into();
    let running = api.tasks.spawn(async move { invoker.invoke(&function, payload).await });
    let answer = match tokio::time::timeout(route.integration_timeout, running).await {
        Ok(Ok(answer)) => answer?,
        Ok(Err(failed)) => return Err(IntegrationError::Host(failed.to_string())),
        Err(_) => return Err(IntegrationError::IntegrationTimeout { after: route.integration_timeout }),
    };
    serde_json::from_slice(&answer).map_err(|_| IntegrationError::MalformedResponse)
}

/// The route key for a frame; `None` if there is not even `$default`.
fn select(api: &Api, frame: &str) -> Option<String> {
    let routes = &api.spec.routes;
    let selected = evaluate(&api.spec.route_selection, frame);
    // The predefined routes cannot be called by name.
    let custom = selected.filter(|key| !key.starts_with('$') && routes.contains_key(key));
    custom.or_else(|| routes.contains_key("$default").then(|| "$default".to_owned()))
}

/// The value of `$request.body.a.b`, or `None` if the frame is not JSON or does not have this key.
pub(super) fn evaluate(path: &[String], frame: &str) -> Option<String> {
    let body: Value = serde_json::from_str(frame).ok()?;
    match path.iter().try_fold(&body, |value, key| value.get(key))? {
        Value::String(text) => Some(text.clone()),
        Value::Null => None,
        other => Some(other.to_string()),
    }
}

/// The body that a proxy integration returns to the client.
fn body_of(answer: &Value) -> Option<Vec<u8>> {
    let body = answer.get("body")?.as_str()?;
    if answer.get("isBase64Encoded").and_then(Value::as_bool) == Some(true) {
        return base64::engine::general_purpose::STANDARD.decode(body).ok();
    }
    Some(body.as_bytes().to_vec())
}

fn send(api: &Api, connection: &Connection, frame: Vec<u8>) {
    if let Err(error) = connection.send(frame, api.limits.buffer_bytes) {
        tracing::debug!(connection = connection.client.connection_id, ?error, "A route response could not be sent");
    }
}

#[cfg(test)]
mod tests {
    use super::evaluate;

    #[test]
    fn a_route_key_is_the_value_at_the_path() {
        let path = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>();
        let action = path(&["action"]);
        assert_eq!(evaluate(&action, r#"{"action":"join"}"#).as_deref(), Some("join"));
        assert_eq!(evaluate(&path(&["a", "b"]), r#"{"a":{"b":"join"}}"#).as_deref(), Some("join"));
        assert_eq!(evaluate(&action, r#"{"action":7}"#).as_deref(), Some("7"));
        for frame in ["not json", "[]", "{}", r#"{"action":null}"#, r#""action""#, ""] {
            assert_eq!(evaluate(&action, frame), None, "{frame}");
        }
    }
}
