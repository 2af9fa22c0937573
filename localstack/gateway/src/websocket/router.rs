//! `/{stage}` and below it: where the WebSocket APIs and their management APIs are.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{ConnectInfo, State};
use axum::handler::Handler as _;
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use http::{Request, StatusCode};
use serde_json::json;

use super::{Api, handshake, management};

/// Serves all paths: to be put behind whatever else is served.
pub fn router(apis: Vec<Arc<Api>>) -> Router {
    Router::new().fallback_service(serve.with_state(apis))
}

async fn serve(
    State(apis): State<Vec<Arc<Api>>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request<Body>,
) -> Response {
    let path = request.uri().path().trim_start_matches('/').to_owned();
    let (stage, rest) = path.split_once('/').unwrap_or((&path, ""));
    let message = |status: StatusCode, message: &str| (status, Json(json!({ "message": message }))).into_response();
    let Some(api) = apis.iter().find(|api| api.spec.stage == stage) else {
        return message(StatusCode::NOT_FOUND, "Not Found");
    };
    if rest.is_empty() {
        return handshake::upgrade(Arc::clone(api), request, peer).await;
    }
    let Some(id) = management::connection_id(rest) else { return message(StatusCode::FORBIDDEN, "Forbidden") };
    let (parts, body) = request.into_parts();
    // One byte more than is allowed is enough to know.
    match axum::body::to_bytes(body, 2 * management::MAX_PAYLOAD_BYTES).await {
        Ok(body) => management::handle(api, &parts.method, &id, body),
        Err(_) => management::too_large(),
    }
}
