//! The host names that a stack answers to.
//!
//! The stack listens on 127.0.0.1 and gives a token for any user to anybody who asks. A web page from elsewhere must
//! not be able to ask. A browser keeps a page from reading another origin. But the owner of a page can make its name
//! resolve to 127.0.0.1 (DNS rebinding), and then the browser takes the stack for a part of that page. Only the `Host`
//! header shows this. So a stack answers to names that always mean this machine, and to those that its user has
//! allowed, and to no other.
//!
//! A page of another origin may still send requests without reading the answers. The stack's own paths (`/_local`,
//! `/_aws`, Lambda's API) are not for pages of others, so they also look at `Origin`. The APIs are the template's: it
//! says with CORS who may call them.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use http::header::{HOST, ORIGIN};
use http::uri::Authority;
use http::{HeaderMap, StatusCode};
use serde_json::json;

use crate::lambda_api;

/// The paths of the stack itself.
const OWN: [&str; 3] = ["_aws", "_local", lambda_api::VERSION];

/// Lets requests through to `router` that are for this machine or for one of the names in `allowed`.
pub(crate) fn guard(router: Router, allowed: &[String]) -> Router {
    let allowed: Arc<[String]> = allowed.into();
    router.layer(middleware::from_fn_with_state(allowed, check))
}

async fn check(State(allowed): State<Arc<[String]>>, request: Request, next: Next) -> Response {
    match refusal(&request, &allowed) {
        Some((status, message)) => (status, Json(json!({ "message": message }))).into_response(),
        None => next.run(request).await,
    }
}

fn refusal(request: &Request, allowed: &[String]) -> Option<(StatusCode, String)> {
    if request.headers().get_all(HOST).iter().count() > 1 {
        return Some((StatusCode::BAD_REQUEST, "A request has one Host header".to_owned()));
    }
    // Browsers always name a host, so a request without one may pass.
    let named = request.uri().authority().map(Authority::as_str).or_else(|| text(request.headers(), &HOST));
    if let Some(host) = named
        && !is_known(host, allowed)
    {
        let name = name_of(host).unwrap_or(host);
        let message = format!(
            "This local stack does not answer to the name {name}. Use localhost or 127.0.0.1, or start it with \
             --allow-host {name}"
        );
        return Some((StatusCode::MISDIRECTED_REQUEST, message));
    }
    let first_segment = request.uri().path().trim_start_matches('/').split('/').next().unwrap_or_default();
    if OWN.contains(&first_segment)
        && let Some(origin) = text(request.headers(), &ORIGIN)
        && !origin.split_once("://").is_some_and(|(_, host)| is_known(host, allowed))
    {
        let message = format!("Pages of {origin} may not use /{first_segment}, which is for this machine alone");
        return Some((StatusCode::FORBIDDEN, message));
    }
    None
}

/// A header's text. It is empty if the header is not ASCII, and then it is no known name.
fn text<'a>(headers: &'a HeaderMap, name: &http::HeaderName) -> Option<&'a str> {
    headers.get(name).map(|value| value.to_str().unwrap_or_default())
}

fn is_known(host: &str, allowed: &[String]) -> bool {
    is_loopback(host)
        || name_of(host).is_some_and(|name| allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(name)))
}

/// Whether this is a name of this machine, with or without a port. A name under `localhost` is one too, and nobody can
/// register it.
pub(crate) fn is_loopback(host: &str) -> bool {
    name_of(host).is_some_and(|name| {
        let name = name.to_ascii_lowercase();
        name == "localhost" || name.ends_with(".localhost") || name == "127.0.0.1" || name == "[::1]"
    })
}

/// The host without its port; none where it is not well formed.
fn name_of(host: &str) -> Option<&str> {
    let end = if host.starts_with('[') { host.find(']')? + 1 } else { host.find(':').unwrap_or(host.len()) };
    let (name, port) = host.split_at(end);
    let is_port = port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok());
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._[]:".contains(&byte);
    (is_port && !name.is_empty() && name.bytes().all(is_name)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_loopback() {
        for host in ["localhost", "LOCALHOST:8000", "media.localhost:1", "127.0.0.1:1", "[::1]:8000", "[::1]"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "",
            ":80",
            "localhost.example",
            "evil-localhost",
            "localhost:",
            "localhost:x",
            "localhost:80/",
            "user@localhost",
            "127.0.0.1.example",
            "127.0.0.1.nip.io",
            "::1",
            "[::1",
            "é.localhost",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    fn status(uri: &str, headers: &[(&str, &str)]) -> Option<u16> {
        let mut request = http::Request::builder().uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(axum::body::Body::empty()).expect("a request");
        refusal(&request, &["tunnel.example".to_owned()]).map(|(status, _)| status.as_u16())
    }

    #[test]
    fn a_request_for_another_name_is_misdirected() {
        for path in ["/", "/_local/token", "/_aws", "/api/users/me", "/ws"] {
            for host in ["localhost:8000", "127.0.0.1:8000", "[::1]:8000", "tunnel.example", "TUNNEL.example:443"] {
                assert_eq!(status(path, &[("host", host)]), None, "{path} {host}");
            }
            for host in ["evil.example", "evil.example:8000", "a.tunnel.example", "0.0.0.0:8000", "", "evil.example:x"]
            {
                assert_eq!(status(path, &[("host", host)]), Some(421), "{path} {host}");
            }
            assert_eq!(status(path, &[]), None, "{path}");
        }
        // The host in the request line counts, not the one in the header.
        assert_eq!(status("http://evil.example/", &[("host", "localhost")]), Some(421));
    }

    #[test]
    fn the_stacks_own_paths_are_not_for_pages_of_others() {
        let local = ("host", "localhost:8000");
        for path in ["/_local/token", "/_local", "/_aws/sqs/000000000000/q", "//_local/token"] {
            for origin in ["http://localhost:5173", "http://127.0.0.1:8000", "https://tunnel.example"] {
                assert_eq!(status(path, &[local, ("origin", origin)]), None, "{path} {origin}");
            }
            for origin in ["https://evil.example", "null", "", "http://localhost.evil.example", "http://a@localhost"] {
                assert_eq!(status(path, &[local, ("origin", origin)]), Some(403), "{path} {origin}");
            }
        }
        // CORS of the template says who may call an API.
        assert_eq!(status("/api/users/me", &[local, ("origin", "https://evil.example")]), None);
    }
}
