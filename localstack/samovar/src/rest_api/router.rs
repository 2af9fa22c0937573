//! Reads a request and finds its REST API: the first segment of the path is the stage of the API. Other paths go to the
//! fallback.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, State};
use axum::handler::Handler as _;
use axum::response::{IntoResponse, Response};
use http::{Request, StatusCode};
use tower_service::Service as _;

use super::Api;
use super::handle::handle;
use crate::http_api::incoming::Incoming;
use crate::http_api::read;

/// Serves the paths of the APIs, and passes others to the fallback.
pub(crate) fn router_before(apis: Vec<Arc<Api>>, fallback: Router) -> Router {
    match apis.is_empty() {
        true => fallback,
        false => Router::new().fallback_service(serve.with_state((apis, fallback))),
    }
}

async fn serve(
    State((apis, mut fallback)): State<(Vec<Arc<Api>>, Router)>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request<Body>,
) -> Response {
    let path = request.uri().path();
    let whole = path.strip_prefix('/').unwrap_or(path);
    let (stage, rest) = whole.split_at(whole.find('/').unwrap_or(whole.len()));
    let Some(api) = apis.iter().find(|api| api.spec.stage == stage) else {
        return match fallback.call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
    };
    // API Gateway has the same resource for a path with a slash at its end.
    let bare = rest.strip_suffix('/').unwrap_or(rest);
    let path = if bare.is_empty() { "/".to_owned() } else { bare.to_owned() };
    let (head, body) = request.into_parts();
    let body = match read(body).await {
        Ok(body) => body,
        // The client has left, so nobody reads this.
        Err(_) => return StatusCode::BAD_REQUEST.into_response(),
    };
    let handling = handle(Arc::clone(api), Incoming { head, body, peer }, path);
    match api.tasks.spawn(handling).await {
        Ok(response) => response,
        Err(error) => {
            tracing::error!("A request could not be handled: {error}");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
