//! Cross-origin requests as the bucket's rules say: the answer to a browser's preflight, and headers on actual responses.

use axum::body::Body;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, HeaderName, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use super::response::error_response;
use samovar_template::CorsRule;

/// The answer to an OPTIONS request.
pub(super) fn preflight(rules: &[CorsRule], headers: &HeaderMap, is_object: bool) -> Response<Body> {
    let Some(origin) = text(headers, &ORIGIN) else {
        let message = "Insufficient information. Origin request header needed.";
        return error_response(StatusCode::BAD_REQUEST, "BadRequest", message, &[]);
    };
    let method = text(headers, &ACCESS_CONTROL_REQUEST_METHOD).unwrap_or("null");
    if !["DELETE", "GET", "HEAD", "POST", "PUT"].contains(&method) {
        let message = format!("Invalid Access-Control-Request-Method: {method}");
        return error_response(StatusCode::BAD_REQUEST, "BadRequest", &message, &[]);
    }
    let asked = text(headers, &ACCESS_CONTROL_REQUEST_HEADERS).unwrap_or_default();
    let asked: Vec<String> =
        asked.split(',').map(|name| name.trim().to_ascii_lowercase()).filter(|name| !name.is_empty()).collect();
    let fits_all = |rule: &&CorsRule| {
        let allowed = |name: &String| rule.allowed_headers.iter().any(|it| fits(&it.to_ascii_lowercase(), name));
        allows(rule, origin, method) && asked.iter().all(allowed)
    };
    let Some(rule) = rules.iter().find(fits_all) else {
        let message = match rules.is_empty() {
            true => "CORSResponse: CORS is not enabled for this bucket.",
            // The spelling is S3's.
            false => {
                "CORSResponse: This CORS request is not allowed. This is usually because the evalution of Origin, request \
                 method / Access-Control-Request-Method or Access-Control-Request-Headers are not whitelisted by the \
                 resource's CORS spec."
            }
        };
        let resource = if is_object { "OBJECT" } else { "BUCKET" };
        let details = [("Method", method), ("ResourceType", resource)];
        return error_response(StatusCode::FORBIDDEN, "AccessForbidden", message, &details);
    };
    let mut response = Response::new(Body::empty());
    apply(rule, origin, response.headers_mut());
    if !asked.is_empty() {
        insert(response.headers_mut(), ACCESS_CONTROL_ALLOW_HEADERS, &asked.join(", "));
    }
    response
}

/// The headers of an actual response. No rule that allows it: no headers, and the browser refuses it to its page.
pub(super) fn decorate(rules: &[CorsRule], method: &Method, request: &HeaderMap, response: &mut HeaderMap) {
    let Some(origin) = text(request, &ORIGIN) else { return };
    if let Some(rule) = rules.iter().find(|rule| allows(rule, origin, method.as_str())) {
        apply(rule, origin, response);
    }
}

fn allows(rule: &CorsRule, origin: &str, method: &str) -> bool {
    rule.allowed_methods.iter().any(|it| it == method) && rule.allowed_origins.iter().any(|it| fits(it, origin))
}

fn apply(rule: &CorsRule, origin: &str, headers: &mut HeaderMap) {
    // An origin that is named may send credentials; "everybody" may not.
    if rule.allowed_origins.iter().any(|it| it == "*") {
        insert(headers, ACCESS_CONTROL_ALLOW_ORIGIN, "*");
    } else {
        insert(headers, ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        insert(headers, ACCESS_CONTROL_ALLOW_CREDENTIALS, "true");
    }
    insert(headers, ACCESS_CONTROL_ALLOW_METHODS, &rule.allowed_methods.join(", "));
    if !rule.exposed_headers.is_empty() {
        insert(headers, ACCESS_CONTROL_EXPOSE_HEADERS, &rule.exposed_headers.join(", "));
    }
    if let Some(seconds) = rule.max_age_seconds {
        insert(headers, ACCESS_CONTROL_MAX_AGE, &seconds.to_string());
    }
    insert(headers, VARY, "Origin, Access-Control-Request-Headers, Access-Control-Request-Method");
}

/// Whether the text is the pattern, in which one `*` stands for anything.
fn fits(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        Some((start, end)) => text.len() >= start.len() + end.len() && text.starts_with(start) && text.ends_with(end),
        None => pattern == text,
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_star_stands_for_anything() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("https://*.example", "https://a.b.example", true),
            ("https://*.example", "https://example", false),
            ("a*a", "a", false),
            ("x-amz-*", "x-amz-date", true),
            ("https://a.example", "https://a.example.evil", false),
        ] {
            assert_eq!(fits(pattern, text), expected, "{pattern} {text}");
        }
    }
}
