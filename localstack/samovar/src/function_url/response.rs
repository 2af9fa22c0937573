//! Turns a function's answer into a response, and makes those of Lambda itself.
//!
//! The forms are those of the payload format 2.0. A streamed answer is raw bytes, or begins with its status and headers
//! as JSON, which eight zero bytes separate from the body ("Response streaming" in Lambda's developer guide).
//!
//! Unconfirmed: the type `application/json` of an answer that names none.

use axum::body::Body;
use axum::response::Response;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use serde_json::{Map, Value, json};

use crate::http_api::response;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const BYTES: HeaderValue = HeaderValue::from_static("application/octet-stream");
/// What stands between the head and the body of a streamed answer.
const SEPARATOR: [u8; 8] = [0; 8];

/// A response of Lambda itself, with the type of the error.
pub(super) fn refusal(status: StatusCode, kind: &'static str, message: &str) -> Response {
    let mut response = Response::new(Body::from(json!({ "Message": message }).to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response.headers_mut().insert("x-amzn-errortype", HeaderValue::from_static(kind));
    response
}

/// The response to a caller that may not use the URL.
pub(super) fn forbidden() -> Response {
    let message = "Forbidden. For troubleshooting Function URL authorization issues, see: \
                   https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html";
    refusal(StatusCode::FORBIDDEN, "AccessDeniedException", message)
}

/// The response where the function has failed, or has given no valid answer.
pub(super) fn broken() -> Response {
    let mut response = Response::new(Body::from("Internal Server Error"));
    *response.status_mut() = StatusCode::BAD_GATEWAY;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

/// Puts the request's id on any response.
pub(super) fn identify(mut response: Response, request_id: &str) -> Response {
    if let Ok(id) = HeaderValue::from_str(request_id) {
        response.headers_mut().insert("x-amzn-requestid", id);
    }
    response
}

/// The response for a function's answer, or the reason why the answer is malformed.
pub(super) fn of_answer(answer: &[u8], streaming: bool) -> Result<Response, String> {
    if !streaming {
        return response::of_answer_with(answer, &JSON);
    }
    let Some(end) = answer.windows(SEPARATOR.len()).position(|bytes| bytes == SEPARATOR) else {
        return Ok(raw(answer));
    };
    let Ok(mut fields) = serde_json::from_slice::<Map<String, Value>>(&answer[..end]) else { return Ok(raw(answer)) };
    // A streamed answer needs no status.
    fields.entry("statusCode").or_insert(200.into());
    let head = response::of_answer_with(Value::from(fields).to_string().as_bytes(), &BYTES)?;
    let (parts, _) = head.into_parts();
    Ok(Response::from_parts(parts, answer[end + SEPARATOR.len()..].to_vec().into()))
}

fn raw(answer: &[u8]) -> Response {
    let mut response = Response::new(Body::from(answer.to_vec()));
    response.headers_mut().insert(CONTENT_TYPE, BYTES);
    response
}
