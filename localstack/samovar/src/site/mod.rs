//! The static site that a template declares in its `Metadata`: built when it has to be, and served on the public port.
//!
//! - `build` makes the directory what its sources say; `fingerprint` is how it knows, `command` how it runs a tool.
//! - `files` serves the directory; this module decides what is the site's at all, and what headers it gets.
//!
//! The site takes what nobody else has: `GET` and `HEAD` of a path that no route, stage or bucket of the template has. What
//! it does not have either is left to be answered as if there were no site.
//!
//! A site that can't be built is no reason not to start: its pages then say in one sentence what to do.

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
use crate::http_api;
use build::NotBuilt;
use files::Files;
use samovar_template::StaticSite;

/// First segments of paths that are the local stack's own.
const TAKEN: [&str; 2] = ["_aws", "_local"];

/// For what may be another at the next request: kept, but asked about each time.
const REVALIDATED: HeaderValue = HeaderValue::from_static("no-cache");
const NOT_KEPT: HeaderValue = HeaderValue::from_static("no-store");
/// For files whose content is in their name. A year is the most that is understood everywhere.
const IMMUTABLE: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");

#[derive(Debug)]
pub(crate) struct Site {
    spec: StaticSite,
    addresses: Addresses,
    /// The address that the stack gives itself.
    url: String,
    files: Files,
    /// Why there is none.
    missing: Option<NotBuilt>,
}

impl Site {
    /// Returns when the site is built, or can't be; then that is said at the terminal. `may_build`: otherwise it is
    /// served as it is.
    pub(crate) async fn open(spec: StaticSite, addresses: Addresses, url: &str, may_build: bool) -> Self {
        let missing = build::prepare(&spec, may_build).await.err();
        if let Some(why) = &missing {
            tracing::warn!("{why}");
        }
        Self { files: Files::new(&spec.directory), spec, addresses, url: url.to_owned(), missing }
    }

    /// Nothing where the site has nothing under this path.
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

    /// A file that is made of the stack's values.
    fn made(&self, content: &Value, request: &request::Parts) -> Response {
        let mut content = content.clone();
        let own_url = self.own_url(request);
        for_each_text(&mut content, &mut |text| *text = self.addresses.localize(text, &own_url));
        let mut response = Response::new(Body::from(content.to_string()));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }

    /// The stack's address by the name that the client knows it under: then it is the page's own origin. Only for names of
    /// this machine, so that nobody is sent elsewhere by a header.
    fn own_url(&self, request: &request::Parts) -> String {
        let host = request.headers.get(HOST).and_then(|host| host.to_str().ok()).filter(|host| is_loopback(host));
        host.map_or_else(|| self.url.clone(), |host| format!("http://{host}"))
    }
}

/// Puts the site before the HTTP APIs: it answers what none of them has a route for.
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

/// Whether a page is asked for, as opposed to something that a page consists of.
fn is_page(request: &request::Parts, path: &str) -> bool {
    let accepts = request.headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let wants_html = accepts.flat_map(|value| value.split(',')).any(|one| one.trim().starts_with("text/html"));
    let is_file = path.rsplit('/').next().is_some_and(|name| name.contains('.'));
    path == "/" || (wants_html && !is_file)
}

fn why_page(why: &NotBuilt) -> Response {
    let escaped = why.to_string().replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>The site is not there</title>\n\
         <p>{escaped}.</p>\n</html>\n"
    );
    let mut response = Response::new(Body::from(page));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    response
}

fn is_loopback(host: &str) -> bool {
    let after_name = ["localhost", "127.0.0.1", "[::1]"].iter().find_map(|name| {
        host.get(..name.len()).filter(|begin| begin.eq_ignore_ascii_case(name)).map(|_| &host[name.len()..])
    });
    after_name
        .is_some_and(|rest| rest.is_empty() || rest.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok()))
}

fn for_each_text(value: &mut Value, change: &mut dyn FnMut(&mut String)) {
    match value {
        Value::String(text) => change(text),
        Value::Array(items) => items.iter_mut().for_each(|item| for_each_text(item, change)),
        Value::Object(entries) => entries.values_mut().for_each(|entry| for_each_text(entry, change)),
        _ => {}
    }
}
