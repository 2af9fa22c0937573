//! A WebSocket API as API Gateway runs it: handshake with authorizer and `$connect`, route selection, route responses,
//! limits and close codes, `$disconnect`, and the management API.
//!
//! - [`handshake`] decides whether a client gets in; [`connection`] owns an open socket until it is closed.
//! - [`events`] are the shapes that functions see; [`routes`] which function sees a frame and what comes back.
//! - [`registry`] knows the open connections; [`management`] is `@connections`; [`router()`] is where requests come in.
//!
//! A connection is in the registry exactly from the moment its `$connect` has answered until its socket begins to close:
//! before and after, `@connections` says 410. Each connection that was let in ends with one `$disconnect`, even one whose
//! client left during the handshake.

pub(crate) mod connection;
pub(crate) mod events;
pub(crate) mod handshake;
pub(crate) mod management;
pub(crate) mod policy;
pub(crate) mod registry;
mod router;
pub(crate) mod routes;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::task::TaskTracker;

use crate::invoke::Invoker;
use registry::Registry;
pub(crate) use router::router_before;
use samovar_template::WebSocketApi;

/// API Gateway's quotas. Only tests and impatient developers change them.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    pub frame_bytes: usize,
    pub message_bytes: usize,
    /// Without a message in either direction for this long, the connection is closed with 1001.
    pub idle: Duration,
    pub life: Duration,
    /// What may wait for a client that does not read, before `@connections` says 429. API Gateway does not publish its own.
    pub buffer_bytes: usize,
    /// How long a client may take to answer a close, or to read what was sent before it.
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
    /// `requestContext.domainName`: with the port, so that a management endpoint can be made of it.
    pub domain: String,
    pub region: String,
    pub account_id: String,
    pub limits: Limits,
    pub invoker: Arc<dyn Invoker>,
    pub registry: Registry,
    /// Everything that outlives a request: handshakes, connections, invocations.
    pub tasks: TaskTracker,
}

impl Api {
    /// Closes every connection, as a deployment's end would, and waits for the `$disconnect`s.
    pub(crate) async fn shutdown(&self) {
        self.registry.close_all(connection::GOING_AWAY, "Going away");
        self.tasks.close();
        self.tasks.wait().await;
    }
}
