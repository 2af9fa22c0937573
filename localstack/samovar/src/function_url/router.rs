//! Reads a request and finds its function URL. Paths of no URL go to the fallback.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, State};
use axum::handler::Handler as _;
use axum::response::{IntoResponse as _, Response};
use http::{Request, StatusCode};
use tower_service::Service as _;

use super::handle::handle;
use super::{PATH, Url, response};
use crate::http_api::incoming::Incoming;
use crate::http_api::read;

/// Serves the paths of the URLs, and passes others to the fallback.
pub(crate) fn router_before(urls: Vec<Arc<Url>>, fallback: Router) -> Router {
    match urls.is_empty() {
        true => fallback,
        false => Router::new().fallback_service(serve.with_state((urls, fallback))),
    }
}

async fn serve(
    State((urls, mut fallback)): State<(Vec<Arc<Url>>, Router)>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request<Body>,
) -> Response {
    let path = request.uri().path();
    let Some(whole) = path.strip_prefix('/').and_then(|path| path.strip_prefix(PATH)?.strip_prefix('/')) else {
        return match fallback.call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
    };
    let (id, rest) = whole.split_at(whole.find('/').unwrap_or(whole.len()));
    let Some(url) = urls.iter().find(|url| url.id == id) else {
        return response::refusal(StatusCode::NOT_FOUND, "ResourceNotFoundException", "There is no such function URL");
    };
    let rest = if rest.is_empty() { "/".to_owned() } else { rest.to_owned() };
    let (head, body) = request.into_parts();
    let body = match read(body).await {
        Ok(body) => body,
        // The client has left, so nobody reads this.
        Err(_) => return StatusCode::BAD_REQUEST.into_response(),
    };
    let handling = handle(Arc::clone(url), Incoming { head, body, peer }, rest);
    match url.tasks.spawn(handling).await {
        Ok(response) => response,
        Err(error) => {
            tracing::error!("A request could not be handled: {error}");
            response::broken()
        }
    }
}
