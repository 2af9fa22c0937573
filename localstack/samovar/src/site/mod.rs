//! The static site that a template declares in its `Metadata`: built when necessary, and served on the public port.
//!
//! - `build` builds the directory from its sources; `fingerprint` detects changes, and `command` runs tools.
//! - `files` serves the directory. This module decides which requests go to the site, and which headers it sends.
//!
//! The site gets only requests that belong to nobody else: `GET` and `HEAD` of a path without a route, stage or bucket.
//! If the site has no file either, the answer is the same as without a site.
//!
//! The stack also starts if the site cannot be built. Then its pages show one sentence that says what to do.

mod build;
mod command;
mod files;
mod fingerprint;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::handler::Handler as _;
use axum::response::Response;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HOST};
use http::{HeaderName, HeaderValue, Method, Request, StatusCode, request};
use serde_json::Value;
use tower_service::Service as _;

use crate::addresses::Addresses;
use crate::hosts::is_loopback;
use crate::http_api;
use crate::server::Scheme;
use build::NotBuilt;
use files::Files;
use samovar_template::StaticSite;

/// First path segments that the local stack itself uses.
const TAKEN: [&str; 2] = ["_aws", "_local"];

/// For files that may change: browsers keep them, but ask about them each time.
const REVALIDATED: HeaderValue = HeaderValue::from_static("no-cache");
const NOT_KEPT: HeaderValue = HeaderValue::from_static("no-store");
/// For files whose content determines their name. A year is the longest time that all clients understand.
const IMMUTABLE: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");

#[derive(Debug)]
pub(crate) struct Site {
    spec: StaticSite,
    addresses: Addresses,
    /// The stack's own address.
    url: String,
    files: Files,
    /// The reason why there is no site.
    missing: Option<NotBuilt>,
}

impl Site {
    /// Builds the site if `may_build`, and returns when that is done. A failure is logged. Otherwise the files are
    /// served as they are.
    pub(crate) async fn open(spec: StaticSite, addresses: Addresses, url: &str, may_build: bool) -> Self {
        let missing = build::prepare(&spec, may_build).await.err();
        if let Some(why) = &missing {
            tracing::warn!("{why}");
        }
        Self { files: Files::new(&spec.directory), spec, addresses, url: url.to_owned(), missing }
    }

    /// The response, or `None` if the site has nothing at this path.
    async fn answer(&self, request: &request::Parts) -> Option<Response> {
        let path = crate::uri::decode(request.uri.path());
        let (mut response, cache) = if let Some(content) = self.spec.files.get(path.trim_start_matches('/')) {
            (self.made(content, request), REVALIDATED)
        } else if let Some(why) = &self.missing {
            (is_page(request, &path).then(|| why_page(why))?, NOT_KEPT)
        } else if let Some(file) = self.files.get(request, request.uri.path()).await {
            let below = |folder: &String| path.trim_start_matches('/').starts_with(&format!("{folder}/"));
            let is_immutable = self.spec.immutable.as_ref().is_some_and(below);
            (file, if is_immutable { IMMUTABLE } else { REVALIDATED })
        } else {
            let fallback = self.spec.fallback.as_ref().filter(|_| is_page(request, &path))?;
            (self.files.get(request, &format!("/{fallback}")).await?, REVALIDATED)
        };
        let own_url = self.own_url(request);
        let response_is_kept = response.status().is_success() || response.status() == StatusCode::NOT_MODIFIED;
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, if response_is_kept { cache } else { NOT_KEPT });
        for (name, value) in &self.spec.headers {
            let value = self.addresses.localize(value, &own_url);
            if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(&value)) {
                headers.insert(name, value);
            }
        }
        Some(response)
    }

    /// A file that is generated from the stack's values.
    fn made(&self, content: &Value, request: &request::Parts) -> Response {
        let mut content = content.clone();
        let own_url = self.own_url(request);
        for_each_text(&mut content, &mut |text| *text = self.addresses.localize(text, &own_url));
        let mut response = Response::new(Body::from(content.to_string()));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }

    /// The stack's address under the host name that the client used, so that it is the page's own origin. Only names of
    /// this machine are used, so that a forged header cannot send a browser elsewhere.
    fn own_url(&self, request: &request::Parts) -> String {
        let host = request.headers.get(HOST).and_then(|host| host.to_str().ok()).filter(|host| is_loopback(host));
        host.map_or_else(|| self.url.clone(), |host| format!("{}://{host}", Scheme::of(&request.extensions)))
    }
}

/// Puts the site in front of the HTTP APIs. It answers requests for which none of them has a route.
pub(crate) fn router_before(site: Option<Arc<Site>>, apis: Vec<Arc<http_api::Api>>, fallback: Router) -> Router {
    match site {
        Some(site) => Router::new().fallback_service(serve_or_leave.with_state((site, apis, fallback))),
        None => fallback,
    }
}

async fn serve_or_leave(
    State((site, apis, mut fallback)): State<(Arc<Site>, Vec<Arc<http_api::Api>>, Router)>,
    request: Request<Body>,
) -> Response {
    let (head, body) = request.into_parts();
    let first_segment = head.uri.path().trim_start_matches('/').split('/').next().unwrap_or_default();
    let is_read = head.method == Method::GET || head.method == Method::HEAD;
    if is_read
        && !TAKEN.contains(&first_segment)
        && !http_api::have(&apis, &head.method, head.uri.path())
        && let Some(response) = site.answer(&head).await
    {
        return response;
    }
    match fallback.call(Request::from_parts(head, body)).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

/// Whether a request is for a page, and not for a part of one.
fn is_page(request: &request::Parts, path: &str) -> bool {
    let accepts = request.headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let wants_html = accepts.flat_map(|value| value.split(',')).any(|one| one.trim().starts_with("text/html"));
    let is_file = path.rsplit('/').next().is_some_and(|name| name.contains('.'));
    path == "/" || (wants_html && !is_file)
}

fn why_page(why: &NotBuilt) -> Response {
    let escaped = why.to_string().replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>There is no site</title>\n\
         <p>{escaped}.</p>\n</html>\n"
    );
    let mut response = Response::new(Body::from(page));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    response
}

fn for_each_text(value: &mut Value, change: &mut dyn FnMut(&mut String)) {
    match value {
        Value::String(text) => change(text),
        Value::Array(items) => items.iter_mut().for_each(|item| for_each_text(item, change)),
        Value::Object(entries) => entries.values_mut().for_each(|entry| for_each_text(entry, change)),
        _ => {}
    }
}
