//! A REST API in the way API Gateway runs it, with functions behind its methods (`AWS_PROXY`), and
//! answers that are always the same (`MOCK`).
//!
//! - [`router_before()`] receives requests and finds their API; `handle` is the way of a request through its API.
//! - `event` builds the function's event, and `response` turns its answer into a response. Routes are selected as in
//!   HTTP APIs.
//! - `authorizers` decide who may call a method.
//!
//! A route that needs an API key takes those of the usage plans that name its API and stage.
//!
//! A request that has been read runs to its end in a task of the API's own, as on AWS. If the client leaves, only the
//! response is lost.

mod authorizers;
pub(crate) mod event;
mod handle;
mod media;
pub(crate) mod response;
mod router;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use samovar_template::{HttpRoute, PayloadFormat, RestApi, RouteKey};
use tokio_util::task::TaskTracker;

use crate::edge::Edge;
use authorizers::Authorizer;
pub(crate) use router::router_before;

/// One REST API of the template, running.
#[derive(Debug)]
pub(crate) struct Api {
    pub spec: RestApi,
    edge: Edge,
    /// The routes in the order of the specification.
    routes: Vec<HttpRoute>,
    /// The same for every method: they tell the path of a request.
    paths: Vec<HttpRoute>,
    /// By name.
    authorizers: BTreeMap<String, Authorizer>,
    /// The keys that routes with `ApiKeyRequired` take.
    api_keys: Vec<String>,
    /// The requests so far.
    pub requests: AtomicU64,
    /// The requests that have been read, and the invocations that outlive them.
    pub tasks: TaskTracker,
}

impl Api {
    pub(crate) fn new(spec: RestApi, edge: &Edge) -> Self {
        let mocks = || {
            spec.mocks.iter().map(|mock| HttpRoute {
                key: mock.key.clone(),
                // None is called.
                function: String::new(),
                integration_timeout: Duration::ZERO,
                payload_format: PayloadFormat::V1,
                authorization: None,
            })
        };
        let routes = || {
            let of_functions = spec.routes.iter().map(|route| HttpRoute {
                key: route.key.clone(),
                function: route.function.clone(),
                integration_timeout: route.integration_timeout,
                payload_format: PayloadFormat::V1,
                authorization: route.authorization.clone(),
            });
            of_functions.chain(mocks())
        };
        let of_every_method = |route: HttpRoute| HttpRoute { key: of_every_method(&route.key), ..route };
        Self {
            routes: routes().collect(),
            paths: routes().map(of_every_method).collect(),
            authorizers: spec
                .authorizers
                .iter()
                .map(|(name, one)| (name.clone(), Authorizer::new(one, &edge.issuer)))
                .collect(),
            api_keys: spec.api_key.iter().cloned().collect(),
            edge: edge.clone(),
            requests: AtomicU64::new(0),
            tasks: TaskTracker::new(),
            spec,
        }
    }

    /// Takes these keys too: those of the template whose usage plans name the API and its stage.
    pub(crate) fn with_keys(mut self, keys: impl Iterator<Item = String>) -> Self {
        self.api_keys.extend(keys);
        self
    }

    /// The ARN of a request with this method for this path, for policies.
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

fn of_every_method(key: &RouteKey) -> RouteKey {
    match key {
        RouteKey::Path { segments, .. } => RouteKey::Path { method: None, segments: segments.clone() },
        RouteKey::Default => RouteKey::Default,
    }
}
