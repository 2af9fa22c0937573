//! An HTTP API in the way API Gateway runs it: route selection, authorizers, CORS, events of the payload formats 2.0
//! and 1.0, and the responses of functions.
//!
//! - [`router()`] receives requests and finds their API; [`handle`] is the way of a request through its API.
//! - [`routes`] selects the route, and [`cors`] decides which pages may read the response.
//! - [`jwt`] checks a token (with the issuer's [`keys`]), and `lambda` asks a function. Both give an `identity`.
//! - [`event`] builds the function's event in the format 2.0, `event_v1` in the format 1.0. [`response`] turns the
//!   answer into a response.
//!
//! A request that has been read runs to its end in a task of the API's own, as on AWS. If the client leaves, only the
//! response is lost.
//!
//! Where AWS publishes no answer, the code says "unconfirmed", and nobody should rely on it.

pub(crate) mod cors;
pub(crate) mod event;
mod event_v1;
pub(crate) mod handle;
mod identity;
pub(crate) mod incoming;
pub(crate) mod jwt;
pub(crate) mod keys;
mod lambda;
pub(crate) mod response;
mod router;
pub(crate) mod routes;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;

use tokio_util::task::TaskTracker;

use crate::edge::Edge;
use jwt::JwtAuthorizer;
use lambda::LambdaAuthorizer;
pub(crate) use router::{have, read, router};
use samovar_template::HttpApi;

/// One HTTP API of the template, running.
#[derive(Debug)]
pub(crate) struct Api {
    pub spec: HttpApi,
    edge: Edge,
    /// The requests so far.
    pub requests: AtomicU64,
    /// The JWT authorizers by name.
    pub authorizers: BTreeMap<String, JwtAuthorizer>,
    /// The Lambda authorizers by name.
    lambda_authorizers: BTreeMap<String, LambdaAuthorizer>,
    /// The requests that have been read, and the invocations that outlive them.
    pub tasks: TaskTracker,
}

impl Api {
    pub(crate) fn new(spec: HttpApi, edge: &Edge) -> Self {
        let running = |(name, spec): (&String, &_)| (name.clone(), JwtAuthorizer::new(spec));
        let of_lambda = |(name, spec): (&String, &_)| (name.clone(), LambdaAuthorizer::new(spec));
        Self {
            authorizers: spec.authorizers.iter().map(running).collect(),
            lambda_authorizers: spec.lambda_authorizers.iter().map(of_lambda).collect(),
            edge: edge.clone(),
            spec,
            requests: AtomicU64::new(0),
            tasks: TaskTracker::new(),
        }
    }

    /// The ARN of a request with this method for this path, which is without the stage, for policies.
    fn method_arn(&self, method: &str, path: &str) -> String {
        let Edge { region, account_id, .. } = &self.edge;
        format!("arn:aws:execute-api:{region}:{account_id}:{}/{}/{method}{path}", self.spec.api_id, self.spec.stage)
    }

    /// Waits for the running requests. The caller must make sure that no new ones come.
    pub(crate) async fn shutdown(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}
