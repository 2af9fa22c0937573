//! An HTTP API in the way API Gateway runs it: route selection, JWT authorizers, CORS, events of payload format 2.0,
//! and the responses of functions.
//!
//! - [`router()`] receives requests and finds their API; [`handle`] is the way of a request through its API.
//! - [`routes`] selects the route, [`jwt`] checks the token (with the issuer's [`keys`]), and [`cors`] decides which
//!   pages may read the response.
//! - [`event`] builds the function's event, and [`response`] turns its answer into a response.
//!
//! A request that has been read runs to its end in a task of the API's own, as on AWS. If the client leaves, only the
//! response is lost.
//!
//! Where AWS publishes no answer, the code says "unconfirmed", and nobody should rely on it.

pub(crate) mod cors;
pub(crate) mod event;
pub(crate) mod handle;
pub(crate) mod incoming;
pub(crate) mod jwt;
pub(crate) mod keys;
pub(crate) mod response;
mod router;
pub(crate) mod routes;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use tokio_util::task::TaskTracker;

use crate::invoke::Invoker;
use jwt::JwtAuthorizer;
pub(crate) use router::{have, read, router};
use samovar_template::HttpApi;

/// One HTTP API of the template, running.
#[derive(Debug)]
pub(crate) struct Api {
    pub spec: HttpApi,
    /// `requestContext.domainName`: with the port, as for WebSocket APIs.
    pub domain: String,
    pub account_id: String,
    pub invoker: Arc<dyn Invoker>,
    /// The requests so far.
    pub requests: AtomicU64,
    /// The authorizers by name.
    pub authorizers: BTreeMap<String, JwtAuthorizer>,
    /// The requests that have been read, and the invocations that outlive them.
    pub tasks: TaskTracker,
}

impl Api {
    pub(crate) fn new(spec: HttpApi, domain: &str, account_id: &str, invoker: &Arc<dyn Invoker>) -> Self {
        let running = |(name, spec): (&String, &_)| (name.clone(), JwtAuthorizer::new(spec));
        Self {
            authorizers: spec.authorizers.iter().map(running).collect(),
            spec,
            domain: domain.to_owned(),
            account_id: account_id.to_owned(),
            invoker: Arc::clone(invoker),
            requests: AtomicU64::new(0),
            tasks: TaskTracker::new(),
        }
    }

    /// Waits for the running requests. The caller must make sure that no new ones come.
    pub(crate) async fn shutdown(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}
