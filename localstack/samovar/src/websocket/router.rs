//! `/{stage}` and below it: where the WebSocket APIs and their management APIs are. What is of none of their stages is the
//! fallback's.

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

/// What API Gateway takes of any request.
const MAX_BODY_BYTES: usize = 10 * 1024 * 1024;

/// Serves all paths: nothing is behind them.
#[cfg(test)]
pub(crate) fn router(apis: Vec<Arc<Api>>) -> Router {
    Router::new().fallback_service(serve.with_state(apis))
}

/// Serves the paths of the APIs, and leaves the others to the fallback.
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
                Ok(body) => management::handle(api, &parts.method, &id, body),
                // Nobody hears it: the client broke off.
                Err(_) => StatusCode::BAD_REQUEST.into_response(),
            }
        }
        (Some(_), None) | (None, Some(_)) => management::forbidden(),
        (None, None) => (StatusCode::NOT_FOUND, Json(json!({ "message": "Not Found" }))).into_response(),
    }
}

/// The stage of a path, and what follows it.
fn split(path: &str) -> (&str, &str) {
    let path = path.trim_start_matches('/');
    path.split_once('/').unwrap_or((path, ""))
}

/// As much of a body as can be posted, and one byte more where it is too large. It is read to its end all the same: a
/// response over unread bytes can be lost to a reset.
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
