//! An HTTP API as API Gateway runs it: route selection, JWT authorizers, CORS, the events of payload format 2.0 and what
//! functions may answer to them.
//!
//! - [`router()`] is where requests come in and which API they are for; [`handle`] is a request's way through its API.
//! - [`routes`] selects the route, [`jwt`] decides who may use it ([`keys`] are the issuer's), [`cors`] who may read the
//!   answer.
//! - [`event`] is what the function sees, [`response`] what its answer comes to.
//!
//! A request that was read runs to its end in a task of the API's own, as on AWS: a client that leaves cancels nothing but
//! the response.
//!
//! Where AWS publishes no answer, the code says "unconfirmed": nothing should be built on it.

pub(crate) mod cors;
pub(crate) mod event;
pub(crate) mod handle;
mod incoming;
pub(crate) mod jwt;
pub(crate) mod keys;
pub(crate) mod response;
mod router;
pub(crate) mod routes;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio_util::task::TaskTracker;

use crate::invoke::Invoker;
use jwt::JwtAuthorizer;
pub(crate) use router::{have, router};
use samovar_template::HttpApi;

/// One HTTP API of the template, running.
#[derive(Debug)]
pub(crate) struct Api {
    pub spec: HttpApi,
    /// `requestContext.domainName`: with the port, as for WebSocket APIs.
    pub domain: String,
    pub account_id: String,
    pub invoker: Arc<dyn Invoker>,
    /// By name.
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
            tasks: TaskTracker::new(),
        }
    }

    /// Waits for the requests that run. That no new ones come is the caller's affair.
    pub(crate) async fn shutdown(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}
