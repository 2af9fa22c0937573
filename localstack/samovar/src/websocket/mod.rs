//! A WebSocket API in the way API Gateway runs it: handshake with authorizer and `$connect`, route selection, route
//! responses, limits and close codes, `$disconnect`, and the management API.
//!
//! - [`handshake`] decides whether a client gets in, and [`connection`] owns an open socket until it is closed.
//! - [`events`] builds events, [`routes`] selects the route for a frame and returns its answer, and [`integration`]
//!   calls what a route calls. [`model`] and [`throttle`] decide which messages are taken, [`iam`] and [`api_key`]
//!   which signatures and keys.
//! - [`registry`] knows the open connections, [`management`] is `@connections`, and [`router()`] receives requests.
//!
//! A connection is in the registry from the moment its `$connect` has answered until its socket begins to close. Before
//! and after that, `@connections` answers 410. Each connection that was let in ends with one `$disconnect`, even if its
//! client left during the handshake.

mod answer;
mod api_key;
pub(crate) mod connection;
pub(crate) mod events;
pub(crate) mod handshake;
mod iam;
pub(crate) mod integration;
pub(crate) mod management;
mod model;
pub(crate) mod registry;
mod router;
pub(crate) mod routes;
mod throttle;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use samovar_services::door::Door;
use tokio_util::task::TaskTracker;

use crate::invoke::Invoker;
use crate::sigv4::Keys;
use integration::Backends;
use registry::Registry;
pub(crate) use router::router_before;
use samovar_template::WebSocketApi;

/// API Gateway's quotas. Tests change them, and so do the options for rehearsals.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    pub frame_bytes: usize,
    pub message_bytes: usize,
    /// Without a message in either direction for this long, the connection is closed with 1001.
    pub idle: Duration,
    pub life: Duration,
    /// The bytes that may wait for a client that does not read, before `@connections` answers 429. API Gateway does not
    /// publish its limit.
    pub buffer_bytes: usize,
    /// The time that a client may take to answer a close, or to read the frames sent before it.
    pub close: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            frame_bytes: 32 * 1024,
            message_bytes: 128 * 1024,
            idle: Duration::from_secs(10 * 60),
            life: Duration::from_secs(2 * 60 * 60),
            buffer_bytes: 1024 * 1024,
            close: Duration::from_secs(5),
        }
    }
}

/// One WebSocket API of the template, running.
#[derive(Debug)]
pub(crate) struct Api {
    pub spec: WebSocketApi,
    /// `requestContext.domainName`, with the port, so that functions can build a management endpoint from it.
    pub domain: String,
    pub region: String,
    pub account_id: String,
    pub limits: Limits,
    /// Whether a function gets the frames of one connection and route one after the other, and not at once.
    pub in_order: bool,
    pub invoker: Arc<dyn Invoker>,
    /// The credentials that handshakes may be signed with.
    pub keys: Keys,
    /// The API keys that a usage plan takes for this API and its stage.
    pub api_keys: Vec<String>,
    /// What integrations call that are no functions behind a proxy.
    pub backends: Backends,
    /// The calls of functions to `@connections` pass this door, and so does each `$disconnect`.
    pub door: Door,
    pub registry: Registry,
    /// The tasks that outlive a request: handshakes, connections, invocations.
    pub tasks: TaskTracker,
}

impl Api {
    /// Closes every connection, as the end of a deployment would, and waits for the `$disconnect`s.
    pub(crate) async fn shutdown(&self) {
        self.registry.close_all(connection::GOING_AWAY, "Going away");
        self.tasks.close();
        self.tasks.wait().await;
    }
}
