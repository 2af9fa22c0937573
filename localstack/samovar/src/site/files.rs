//! The files of a directory over HTTP: `tower-http` reads, measures and names their types; what it lacks is here.
//!
//! Entity tags: dates alone have two faults. They are whole seconds, and a client that knows a file of *another* site under
//! the same address (everything here is `localhost`) with a later date would be told that it is unmodified.

use std::io::ErrorKind;
use std::path::Path;

use axum::body::Body;
use axum::response::Response;
use http::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
    LAST_MODIFIED, RANGE, VARY,
};
use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri, request};
use tower_http::services::ServeDir;

use super::build::STAMP;

#[derive(Debug)]
pub(super) struct Files {
    directory: ServeDir,
}

impl Files {
    pub(super) fn new(directory: &Path) -> Self {
        // Without its redirects to folders: a path that ends with / is asked for as the file below.
        let directory = ServeDir::new(directory).append_index_html_on_directories(false);
        Self { directory: directory.precompressed_br().precompressed_gzip() }
    }

    /// The file at this path (still encoded), for the request's headers; nothing where there is none.
    pub(super) async fn get(&self, request: &request::Parts, path: &str) -> Option<Response> {
        let index = if path.ends_with('/') { "index.html" } else { "" };
        let path = format!("{path}{index}");
        if crate::uri::decode(&path).ends_with(&format!("/{STAMP}")) {
            return None;
        }
        let mut inner = Request::new(Body::empty());
        *inner.method_mut() = request.method.clone();
        *inner.uri_mut() = path.parse::<Uri>().ok()?;
        *inner.headers_mut() = request.headers.clone();
        if inner.headers().contains_key(IF_NONE_MATCH) {
            inner.headers_mut().remove(IF_MODIFIED_SINCE);
        }
        if inner.headers().contains_key(IF_RANGE) {
            // Weak tags can't vouch for parts: all of it is always right.
            inner.headers_mut().remove(RANGE);
        }
        let response = match self.directory.clone().try_call(inner).await {
            Ok(response) if response.status() == StatusCode::NOT_FOUND => return None,
            Ok(response) => response.map(Body::new),
            // No file has such a name.
            Err(error) if [ErrorKind::InvalidFilename, ErrorKind::InvalidInput].contains(&error.kind()) => return None,
            Err(error) => {
                tracing::error!(path, "A file of the site can't be read: {error}");
                let mut response = Response::new(Body::empty());
                *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
                response
            }
        };
        Some(tagged(response, &request.headers))
    }
}

fn tagged(mut response: Response, request: &HeaderMap) -> Response {
    let headers = response.headers_mut();
    headers.insert(VARY, ACCEPT_ENCODING.into());
    let text = |headers: &HeaderMap, name| {
        headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok().map(str::to_owned))
    };
    if let Some(content_type) = text(headers, CONTENT_TYPE).filter(|one| one.starts_with("text/"))
        && let Ok(value) = HeaderValue::from_str(&format!("{content_type}; charset=utf-8"))
    {
        headers.insert(CONTENT_TYPE, value);
    }
    if response.status() != StatusCode::OK {
        return response;
    }
    let headers = response.headers_mut();
    let parts = [LAST_MODIFIED, CONTENT_LENGTH, CONTENT_ENCODING].map(|name| text(headers, name).unwrap_or_default());
    let tag: String = parts.join("x").chars().filter(char::is_ascii_alphanumeric).collect();
    let tag = format!("\"{tag}\"");
    if let Ok(value) = HeaderValue::from_str(&format!("W/{tag}")) {
        headers.insert(ETAG, value);
    }
    let known = request.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut known = known.flat_map(|value| value.split(',')).map(str::trim);
    if known.any(|one| one == "*" || one.strip_prefix("W/").unwrap_or(one) == tag) {
        for name in [CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE] {
            headers.remove(name);
        }
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        *response.body_mut() = Body::empty();
    }
    response
}
