//! Turns a function's answer into a response: format 2.0, or the inferred form for an answer without `statusCode`.
//!
//! The answer is read strictly. If a field does not have its documented type, the answer is malformed, and the client
//! gets a 500. AWS may accept some of these answers (unconfirmed), but an answer that works here must also work there.

use axum::body::Body;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, SET_COOKIE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderValue, StatusCode};
use serde_json::{Map, Value, json};

const REQUEST_ID: HeaderName = HeaderName::from_static("apigw-requestid");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// The type of a response that names none. It was observed on AWS and is not published.
const DEFAULT_TYPE: HeaderValue = HeaderValue::from_static("text/plain;charset=UTF-8");

/// Headers that concern only one connection. The length is computed from the body that is sent.
const NOT_SENT: [HeaderName; 6] = [CONNECTION, CONTENT_LENGTH, TE, TRAILER, TRANSFER_ENCODING, UPGRADE];

/// A response of API Gateway itself.
pub(crate) fn refusal(status: StatusCode, message: &str) -> Response {
    let mut response = Response::new(Body::from(json!({ "message": message }).to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
}

/// Puts the request's id on any response.
pub(crate) fn identify(mut response: Response, request_id: &str) -> Response {
    if let Ok(id) = HeaderValue::from_str(request_id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// The response for an answer in the payload format 1.0, which is that of REST APIs, or the reason why it is malformed.
pub(crate) fn of_answer_v1(answer: &[u8]) -> Result<Response, String> {
    crate::rest_api::response::of_answer_with(answer, true, &DEFAULT_TYPE)
}

/// The response for a function's answer, or the reason why the answer is malformed.
pub(crate) fn of_answer(answer: &[u8]) -> Result<Response, String> {
    of_answer_with(answer, &DEFAULT_TYPE)
}

/// The same, with the type of an answer that has a status and names no type.
pub(crate) fn of_answer_with(answer: &[u8], default_type: &HeaderValue) -> Result<Response, String> {
    let value: Value = serde_json::from_slice(answer).map_err(|error| format!("it is not JSON: {error}"))?;
    match &value {
        Value::Object(fields) if fields.contains_key("statusCode") => explicit(fields, default_type),
        // A string is sent as it is, any other value as the JSON that the function wrote.
        Value::String(text) => Ok(inferred(text.clone().into())),
        _ => Ok(inferred(answer.to_vec().into())),
    }
}

fn inferred(body: Body) -> Response {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
}

/// The status of an answer. An interim status cannot end a request.
pub(crate) fn final_status(status: Option<u16>) -> Result<StatusCode, &'static str> {
    let status = status.filter(|status| (200..600).contains(status));
    let status = status.and_then(|status| StatusCode::from_u16(status).ok());
    status.ok_or("its statusCode is not a number from 200 to 599")
}

/// The body of an answer, and whether it is base64.
pub(crate) fn body_of(fields: &Map<String, Value>) -> Result<(&str, bool), &'static str> {
    let body = match fields.get("body") {
        None | Some(Value::Null) => "",
        Some(body) => body.as_str().ok_or("its body is not a string")?,
    };
    let is_base64 = match fields.get("isBase64Encoded") {
        None | Some(Value::Null) => false,
        Some(is) => is.as_bool().ok_or("its isBase64Encoded is neither true nor false")?,
    };
    Ok((body, is_base64))
}

fn explicit(fields: &Map<String, Value>, default_type: &HeaderValue) -> Result<Response, String> {
    let status = fields.get("statusCode").and_then(Value::as_u64).and_then(|status| u16::try_from(status).ok());
    let status = final_status(status)?;
    let (body, is_base64) = body_of(fields)?;
    let body = if is_base64 {
        STANDARD.decode(body).map_err(|error| format!("its body is not base64: {error}"))?
    } else {
        body.as_bytes().to_vec()
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    for (name, value) in map(fields, "headers")? {
        let value = value.as_str().ok_or_else(|| format!("its header {name} is not a string"))?;
        let invalid = || format!("its header {name} cannot be sent: {value:?}");
        let name = HeaderName::try_from(name).map_err(|_| invalid())?;
        let value = HeaderValue::from_str(value).map_err(|_| invalid())?;
        if !NOT_SENT.contains(&name) {
            headers.append(name, value);
        }
    }
    for cookie in list(fields, "cookies")? {
        let cookie = cookie.as_str().and_then(|cookie| HeaderValue::from_str(cookie).ok());
        headers.append(SET_COOKIE, cookie.ok_or("one of its cookies cannot be sent")?);
    }
    headers.entry(CONTENT_TYPE).or_insert_with(|| default_type.clone());
    Ok(response)
}

fn map<'a>(
    fields: &'a Map<String, Value>,
    name: &str,
) -> Result<impl Iterator<Item = (&'a String, &'a Value)>, String> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(None.into_iter().flatten()),
        Some(Value::Object(map)) => Ok(Some(map).into_iter().flatten()),
        Some(_) => Err(format!("its {name} are not an object")),
    }
}

fn list<'a>(fields: &'a Map<String, Value>, name: &str) -> Result<&'a [Value], String> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(&[]),
        Some(Value::Array(list)) => Ok(list),
        Some(_) => Err(format!("its {name} are not a list")),
    }
}
