//! The servers: one for clients and one for the functions, and the periodic sweeps.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State as Shared;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use samovar_services::Services;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::chaos::{self, Chaos};
use crate::oidc::Issuer;
use crate::proxy::Proxy;
use crate::server::serve;
use crate::site::{self, Site};
use crate::state::State;
use crate::tls::Tls;
use crate::{aws_names, function_url, hosts, http_api, other_services, rest_api, websocket};

/// The tasks of the servers, and the signals that stop them.
#[derive(Debug, Default)]
pub(super) struct Servers {
    pub(super) tasks: TaskTracker,
    pub(super) stop_public: CancellationToken,
    pub(super) stop_internal: CancellationToken,
    /// `None` if there is no authority for certificates.
    pub(super) tls: Option<Arc<Tls>>,
}

/// The stack's own paths, below `/_local`.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) state: State,
    pub(super) issuer: Issuer,
    pub(super) dotenv: String,
    pub(super) chaos: Arc<Chaos>,
}

/// The APIs of a stack.
#[derive(Debug, Clone)]
pub(super) struct Apis {
    pub(super) websocket: Vec<Arc<websocket::Api>>,
    pub(super) http: Vec<Arc<http_api::Api>>,
    pub(super) rest: Vec<Arc<rest_api::Api>>,
    pub(super) function_urls: Vec<Arc<function_url::Url>>,
}

impl Servers {
    /// Serves the functions: the services. The APIs are included, because functions may call them, also
    /// while the public listener is already closed.
    pub(super) fn serve_functions(
        &self,
        listener: TcpListener,
        services: &Arc<Services>,
        apis: &Apis,
        lambda: Router,
    ) -> std::io::Result<()> {
        let rest = rest_api::router_before(apis.rest.clone(), http_api::router(apis.http.clone()));
        let gateway = websocket::router_before(apis.websocket.clone(), rest);
        let apis = function_url::router_before(apis.function_urls.clone(), gateway);
        let router = services.router().merge(other_services::router(lambda)).fallback_service(apis);
        let router = services.before(router);
        let router = aws_names::before(router.clone(), hosts::guard(router, &[]));
        let stack = listener.local_addr()?;
        let proxy = Proxy { stack, tasks: self.tasks.clone(), stop: self.stop_internal.clone() };
        self.tasks.spawn(serve(listener, proxy.before(router), self.tls.clone(), self.stop_internal.clone()));
        Ok(())
    }

    /// Serves the clients: the local stack's own paths, services, APIs, the site.
    pub(super) fn serve_clients(
        &self,
        listener: TcpListener,
        Shown { state, issuer, dotenv, chaos }: Shown,
        apis: &Apis,
        lambda: Router,
        site: Option<Arc<Site>>,
        allowed_hosts: &[String],
    ) {
        let services = Arc::clone(&state.services);
        let http_apis = site::router_before(site, apis.http.clone(), http_api::router(apis.http.clone()));
        let rest_apis = rest_api::router_before(apis.rest.clone(), http_apis);
        let gateway = websocket::router_before(apis.websocket.clone(), rest_apis);
        let router = Router::new()
            .route("/_local/health", get(|| async { Json(json!({ "status": "ok" })) }))
            .route("/_local/state", get(snapshot).with_state(Arc::new(state)))
            .route("/_local/ca.pem", get(certificate).with_state(self.tls.clone()))
            .route("/_local/environment", get(move || async move { dotenv }))
            .merge(chaos::router(chaos))
            .merge(Arc::new(issuer).router())
            .merge(services.router())
            .merge(other_services::router(lambda.clone()))
            .merge(lambda)
            .fallback_service(function_url::router_before(apis.function_urls.clone(), gateway));
        let router = hosts::guard(services.before(router), allowed_hosts);
        self.tasks.spawn(serve(listener, router, self.tls.clone(), self.stop_public.clone()));
    }

    /// Deletes expired items, each time after this long, and expired objects.
    pub(super) fn sweep(&self, services: &Arc<Services>, ttl_every: Duration) {
        let (tables, stop) = (Arc::clone(services), self.stop_internal.clone());
        self.tasks.spawn(async move { tables.dynamodb.sweep(ttl_every, stop).await });
        if let Some(s3) = services.s3.clone() {
            let stop = self.stop_internal.clone();
            self.tasks.spawn(async move { s3.sweep(stop).await });
        }
    }
}

/// The certificate of the authority, for clients that are to accept it.
async fn certificate(Shared(tls): Shared<Option<Arc<Tls>>>) -> Response {
    match tls {
        Some(tls) => ([(CONTENT_TYPE, "application/x-pem-file")], tls.certificate().to_owned()).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn snapshot(Shared(state): Shared<Arc<State>>) -> Response {
    match state.snapshot().await {
        Ok(snapshot) => Json(snapshot).into_response(),
        Err(error) => {
            (StatusCode::INTERNAL_SERVER_ERROR, Json(json!({ "message": format!("{error:#}") }))).into_response()
        }
    }
}
