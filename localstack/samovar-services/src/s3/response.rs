//! Answers of our own, in S3's form.

use axum::body::Body;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};

/// An error in S3's XML, with more than its code and message.
pub(super) fn error_response(
    status: StatusCode,
    code: &str,
    message: &str,
    details: &[(&str, &str)],
) -> Response<Body> {
    let details: String = details.iter().map(|(name, value)| format!("<{name}>{}</{name}>", escaped(value))).collect();
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{}</Message>{details}</Error>",
        escaped(message)
    );
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    response
}

pub(super) fn into_response(error: s3s::S3Error) -> Response<Body> {
    let status = error.status_code().unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    error_response(status, error.code().as_str(), error.message().unwrap_or_default(), &[])
}

pub(super) fn escaped(text: &str) -> String {
    let escape = |c: char| match c {
        '&' => "&amp;".to_owned(),
        '<' => "&lt;".to_owned(),
        '>' => "&gt;".to_owned(),
        '"' => "&quot;".to_owned(),
        c => c.to_string(),
    };
    text.chars().map(escape).collect()
}
