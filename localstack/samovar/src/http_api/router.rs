//! Reads a request and finds its HTTP API.
//!
//! On AWS each API has a host name, and the path begins with the stage unless that is `$default`. Here all APIs share
//! one host, so the path alone decides: first the name of a stage, then the API with the stage `$default`.
//! [`crate::stack`] makes sure that this is never ambiguous.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, State};
use axum::handler::Handler as _;
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt as _;
use http::{Method, Request, StatusCode};

use super::handle::handle;
use super::incoming::Incoming;
use super::{Api, response, routes};
use crate::ids::gateway_id;

/// API Gateway's quota on the payload of a request.
const MAX_BODY_BYTES: usize = 10 * 1024 * 1024;

/// The rest of an oversized body that is read and discarded. A response over unread bytes can be lost to a reset.
const MAX_DRAINED_BYTES: usize = 8 * MAX_BODY_BYTES;

/// Serves all paths, so it must come after every other router.
pub(crate) fn router(apis: Vec<Arc<Api>>) -> Router {
    Router::new().fallback_service(serve.with_state(apis))
}

async fn serve(
    State(apis): State<Vec<Arc<Api>>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request<Body>,
) -> Response {
    let Some(api) = select(&apis, request.uri().path()) else {
        return response::identify(response::refusal(StatusCode::NOT_FOUND, "Not Found"), &gateway_id());
    };
    let (head, body) = request.into_parts();
    let body = match read(body).await {
        Ok(body) => body,
        // The client has left, so nobody reads this.
        Err(_) => return StatusCode::BAD_REQUEST.into_response(),
    };
    let handling = handle(Arc::clone(api), Incoming { head, body, peer });
    match api.tasks.spawn(handling).await {
        Ok(response) => response,
        Err(error) => {
            tracing::error!("A request could not be handled: {error}");
            response::refusal(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error")
        }
    }
}

/// Whether a path belongs to one of the APIs. It does if a route matches, or if a route's path has the same first
/// segment (as `/api/{proxy+}` has for `/api`). A client that asks an API for a missing resource must not get a page
/// instead.
pub(crate) fn have(apis: &[Arc<Api>], method: &Method, path: &str) -> bool {
    select(apis, path).is_some_and(|api| !api.is_default() || routes::concern(&api.spec.routes, method, path))
}

fn select<'a>(apis: &'a [Arc<Api>], path: &str) -> Option<&'a Arc<Api>> {
    let stage = path.strip_prefix('/').unwrap_or(path).split('/').next().unwrap_or_default();
    let of_stage = |stage: &str| apis.iter().find(|api| api.spec.stage == stage);
    of_stage(stage).filter(|api| !api.is_default()).or_else(|| apis.iter().find(|api| api.is_default()))
}

/// Reads the body; returns `None` if it is too large.
pub(crate) async fn read(body: Body) -> Result<Option<Bytes>, axum::Error> {
    let (mut kept, mut read_bytes) = (Vec::new(), 0);
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await.transpose()? {
        read_bytes += chunk.len();
        if read_bytes > MAX_DRAINED_BYTES {
            break;
        }
        if read_bytes <= MAX_BODY_BYTES {
            kept.extend_from_slice(&chunk);
        } else {
            kept = Vec::new();
        }
    }
    Ok((read_bytes <= MAX_BODY_BYTES).then(|| kept.into()))
}
