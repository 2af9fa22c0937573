//! Turns a function's answer into a response: the output format of a proxy integration of a REST API.
//!
//! The answer is read strictly. If a field does not have its documented type, the answer is malformed, and the client
//! gets a 502. AWS may accept some of these answers (unconfirmed), but an answer that works here must also work there.

use axum::body::Body;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderValue, StatusCode};
use samovar_template::{RestCors, RestMock};
use serde_json::{Map, Value, json};

use super::handle::Ids;
use crate::http_api::response::{body_of, final_status};

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Headers that concern only one connection. The length is computed from the body that is sent.
const NOT_SENT: [HeaderName; 6] = [CONNECTION, CONTENT_LENGTH, TE, TRAILER, TRANSFER_ENCODING, UPGRADE];

/// A response of API Gateway itself. `kind` is that of its gateway responses.
pub(super) fn refusal(status: StatusCode, message: &str, kind: &'static str) -> Response {
    let mut response = Response::new(Body::from(json!({ "message": message }).to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response.headers_mut().insert("x-amzn-errortype", HeaderValue::from_static(kind));
    response
}

/// The response to a caller whom a policy does not let in.
pub(super) fn denied(message: &str) -> Response {
    let mut response = refusal(StatusCode::FORBIDDEN, message, "AccessDeniedException");
    // AWS writes it with a capital letter in these responses alone.
    *response.body_mut() = Body::from(json!({ "Message": message }).to_string());
    response
}

/// The response if an authorizer has failed.
pub(super) fn authorizer_failed() -> Response {
    let status = StatusCode::INTERNAL_SERVER_ERROR;
    let mut response = refusal(status, "", "AuthorizerConfigurationException");
    *response.body_mut() = Body::from(r#"{"message":null}"#);
    response
}

/// Puts the request's ids on any response.
pub(super) fn identify(mut response: Response, ids: &Ids) -> Response {
    for (name, id) in [("x-amzn-requestid", &ids.request), ("x-amz-apigw-id", &ids.extended)] {
        if let Ok(id) = HeaderValue::from_str(id) {
            response.headers_mut().insert(name, id);
        }
    }
    response
}

/// The answer of the `OPTIONS` method that SAM adds to each path of an API with `Cors`.
pub(super) fn preflight(cors: &RestCors, methods: &str) -> Response {
    let mut response = Response::new(Body::from("{}\n"));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, JSON);
    let credentials = cors.allow_credentials.then(|| "true".to_owned());
    for (name, value) in [
        ("access-control-allow-origin", Some(cors.allow_origin.clone())),
        ("access-control-allow-methods", Some(cors.allow_methods.clone().unwrap_or_else(|| methods.to_owned()))),
        ("access-control-allow-headers", cors.allow_headers.clone()),
        ("access-control-max-age", cors.max_age.clone()),
        ("access-control-allow-credentials", credentials),
    ] {
        if let Some(value) = value.and_then(|value| HeaderValue::from_str(&value).ok()) {
            headers.insert(name, value);
        }
    }
    response
}

/// The response of a mock. `None` if it can't be sent.
pub(super) fn of_mock(mock: &RestMock) -> Option<Response> {
    let mut response = Response::new(Body::from(mock.body.clone()));
    *response.status_mut() = final_status(Some(mock.status)).ok()?;
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    for (name, value) in &mock.headers {
        response.headers_mut().insert(HeaderName::try_from(name).ok()?, HeaderValue::from_str(value).ok()?);
    }
    Some(response)
}

/// The response for a function's answer, or the reason why the answer is malformed. A body in base64 is decoded for a
/// client that asks for bytes.
pub(super) fn of_answer(answer: &[u8], bytes: bool) -> Result<Response, String> {
    of_answer_with(answer, bytes, &JSON)
}

/// The same, with the type of an answer that names none.
pub(crate) fn of_answer_with(answer: &[u8], bytes: bool, default_type: &HeaderValue) -> Result<Response, String> {
    let value: Value = serde_json::from_slice(answer).map_err(|error| format!("it is not JSON: {error}"))?;
    let fields = value.as_object().ok_or("it is not an object")?;
    let status = match fields.get("statusCode") {
        Some(Value::String(text)) => text.parse().ok(),
        Some(number) => number.as_u64().and_then(|status| u16::try_from(status).ok()),
        None => None,
    };
    let status = final_status(status)?;
    let (body, is_base64) = body_of(fields)?;
    let body = match is_base64 && bytes {
        true => STANDARD.decode(body).map_err(|error| format!("its body is not base64: {error}"))?,
        false => body.as_bytes().to_vec(),
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    add_headers(fields, response.headers_mut())?;
    response.headers_mut().entry(CONTENT_TYPE).or_insert_with(|| default_type.clone());
    Ok(response)
}

/// Adds `multiValueHeaders`, and those of `headers` that are not among them.
fn add_headers(fields: &Map<String, Value>, headers: &mut HeaderMap) -> Result<(), String> {
    for (name, values) in map(fields, "multiValueHeaders")? {
        for value in values.as_array().ok_or_else(|| format!("its header {name} is not a list"))? {
            add(headers, name, value)?;
        }
    }
    for (name, value) in map(fields, "headers")? {
        let sent = headers
            .get_all(name.as_str())
            .iter()
            .any(|sent| Some(sent.as_bytes()) == value.as_str().map(str::as_bytes));
        if !sent {
            add(headers, name, value)?;
        }
    }
    Ok(())
}

fn add(headers: &mut HeaderMap, name: &str, value: &Value) -> Result<(), String> {
    let value = value.as_str().ok_or_else(|| format!("its header {name} is not a string"))?;
    let invalid = || format!("its header {name} cannot be sent: {value:?}");
    let name = HeaderName::try_from(name).map_err(|_| invalid())?;
    let value = HeaderValue::from_str(value).map_err(|_| invalid())?;
    if !NOT_SENT.contains(&name) {
        headers.append(name, value);
    }
    Ok(())
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
