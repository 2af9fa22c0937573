//! CORS headers of an API with `CorsConfiguration`: its own on every response, in place of the function's.
//!
//! AWS: CORS headers from integrations are ignored, and own ones need an `Origin`, and for `OPTIONS` also an
//! `Access-Control-Request-Method`. An origin that is not allowed gets none, and the browser keeps the response to itself.
//!
//! Unconfirmed: which of the headers are on preflights only. Here, as the standard has it: methods, headers and age.

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD,
    HeaderName, ORIGIN,
};
use http::{HeaderMap, HeaderValue, Method, request};

use samovar_template::Cors;

const PREFIX: &str = "access-control-";

pub(crate) fn apply(cors: &Cors, request: &request::Parts, headers: &mut HeaderMap) {
    let foreign: Vec<HeaderName> = headers.keys().filter(|name| name.as_str().starts_with(PREFIX)).cloned().collect();
    for name in foreign {
        headers.remove(name);
    }
    let Some(origin) = request.headers.get(ORIGIN) else { return };
    let is_options = request.method == Method::OPTIONS;
    if is_options && !request.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD) {
        return;
    }
    let Some(allowed) = allowed(cors, origin) else { return };
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
    if cors.allow_credentials {
        headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    }
    let mut list = |name: HeaderName, values: &[String]| {
        if let Some(value) = HeaderValue::from_str(&values.join(",")).ok().filter(|value| !value.is_empty()) {
            headers.insert(name, value);
        }
    };
    if is_options {
        list(ACCESS_CONTROL_ALLOW_METHODS, &cors.allow_methods);
        list(ACCESS_CONTROL_ALLOW_HEADERS, &cors.allow_headers);
        if let Some(seconds) = cors.max_age_seconds {
            headers.insert(ACCESS_CONTROL_MAX_AGE, seconds.into());
        }
    } else {
        list(ACCESS_CONTROL_EXPOSE_HEADERS, &cors.expose_headers);
    }
}

/// What to allow the origin as: `*` where all are allowed, else itself.
fn allowed(cors: &Cors, origin: &HeaderValue) -> Option<HeaderValue> {
    let text = origin.to_str().ok()?;
    if cors.allow_origins.iter().any(|one| one == "*") {
        return Some(HeaderValue::from_static("*"));
    }
    // `https://*` and `http://*` are the only wildcards that AWS documents beside `*`.
    let matches = |one: &String| match one.strip_suffix("://*") {
        Some(scheme) => text.strip_prefix(scheme).is_some_and(|rest| rest.starts_with("://")),
        None => one == text,
    };
    cors.allow_origins.iter().any(matches).then(|| origin.clone())
}
