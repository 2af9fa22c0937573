//! `/{stage}` and the paths below it: the WebSocket APIs and their management APIs. Paths of other stages go to the
//! fallback.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, State};
use axum::handler::Handler as _;
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use futures_util::StreamExt as _;
use http::{Request, StatusCode};
use serde_json::json;
use tower_service::Service as _;

use super::{Api, handshake, management};

/// API Gateway's limit on the body of any request.
const MAX_BODY_BYTES: usize = 10 * 1024 * 1024;

/// Serves all paths, with nothing behind them.
#[cfg(test)]
pub(crate) fn router(apis: Vec<Arc<Api>>) -> Router {
    Router::new().fallback_service(serve.with_state(apis))
}

/// Serves the paths of the APIs, and passes others to the fallback.
pub(crate) fn router_before(apis: Vec<Arc<Api>>, fallback: Router) -> Router {
    Router::new().fallback_service(serve_or_leave.with_state((apis, fallback)))
}

async fn serve_or_leave(
    State((apis, mut fallback)): State<(Vec<Arc<Api>>, Router)>,
    peer: ConnectInfo<SocketAddr>,
    request: Request<Body>,
) -> Response {
    let (stage, _) = split(request.uri().path());
    if apis.iter().any(|api| api.spec.stage == stage) {
        return serve(State(apis), peer, request).await;
    }
    match fallback.call(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

async fn serve(
    State(apis): State<Vec<Arc<Api>>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request<Body>,
) -> Response {
    let path = request.uri().path().to_owned();
    let (stage, rest) = split(&path);
    let api = apis.iter().find(|api| api.spec.stage == stage);
    match (api, management::connection_id(rest)) {
        (Some(api), None) if rest.is_empty() => handshake::upgrade(Arc::clone(api), request, peer).await,
        (Some(api), Some(id)) => {
            let (parts, body) = request.into_parts();
            match payload(body).await {
                Ok(body) => management::call(api, &parts, &id, body).await,
                // The client has left, so nobody reads this.
                Err(_) => StatusCode::BAD_REQUEST.into_response(),
            }
        }
        (Some(_), None) | (None, Some(_)) => management::forbidden(),
        (None, None) => (StatusCode::NOT_FOUND, Json(json!({ "message": "Not Found" }))).into_response(),
    }
}

/// The stage of a path, and the rest of the path.
fn split(path: &str) -> (&str, &str) {
    let path = path.trim_start_matches('/');
    path.split_once('/').unwrap_or((path, ""))
}

/// Reads the part of a body that can be posted, or one byte more if the body is too large. The rest is read too, and
/// discarded: a response over unread bytes can be lost to a reset.
async fn payload(body: Body) -> Result<Bytes, axum::Error> {
    let (mut kept, mut read_bytes) = (Vec::new(), 0);
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await.transpose()? {
        let room = management::MAX_PAYLOAD_BYTES + 1 - kept.len();
        kept.extend_from_slice(&chunk[..chunk.len().min(room)]);
        read_bytes += chunk.len();
        if read_bytes > MAX_BODY_BYTES {
            break;
        }
    }
    Ok(kept.into())
}
