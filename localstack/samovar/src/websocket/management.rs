//! `@connections`: posts to a connection, inspects it and closes it. Errors have the form that the SDKs need: without
//! the header `x-amzn-ErrorType` they do not recognise a 410 as `GoneException`.
//!
//! Signatures are not verified: anyone who can reach this machine's loopback address may post.

use axum::body::Body;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{Method, Response, StatusCode};
use samovar_services::permissions::{Denied, Need};
use samovar_services::{Answer, Caller, broken};
use serde_json::{Value, json};

use super::Api;
use super::registry::SendError;
use crate::chaos::CONNECTIONS;
use crate::ids::{gateway_id, is_gateway_id};

/// The largest payload of a post.
pub(crate) const MAX_PAYLOAD_BYTES: usize = 131_072;

/// The connection id of a management path, percent-encoded or not: the rest after the stage. An SDK whose endpoint ends
/// with a slash sends two slashes.
pub(crate) fn connection_id(rest: &str) -> Option<String> {
    let (marker, id) = rest.trim_start_matches('/').split_once('/')?;
    (crate::uri::decode(marker) == "@connections").then(|| crate::uri::decode(id))
}

/// Takes a call through the door of the services.
pub(crate) async fn call(api: &Api, request: &Parts, id: &str, body: Bytes) -> Response<Body> {
    let operation = match request.method {
        Method::POST => "PostToConnection",
        Method::GET => "GetConnection",
        Method::DELETE => "DeleteConnection",
        _ => return forbidden(),
    };
    let caller = Caller::of(&request.headers);
    if let Err(Denied(message)) = api.door.check(&caller.function, |_| vec![needed(api, &request.method, id)]) {
        let body = json!({ "message": message });
        return error(StatusCode::FORBIDDEN, "ForbiddenException", body);
    }
    let passage = api.door.enter(&caller, CONNECTIONS, operation, &body).await;
    let response = (!passage.dropped()).then(|| {
        let response = handle(api, &request.method, id, body);
        let status = response.status().as_u16();
        passage.executed(&Answer { status, headers: Vec::new(), body: Vec::new() });
        response
    });
    passage.heard(response).await.unwrap_or_else(broken)
}

/// The permission for a call.
fn needed(api: &Api, method: &Method, id: &str) -> Need {
    let Api { region, account_id, spec, .. } = api;
    let of_api = format!("arn:aws:execute-api:{region}:{account_id}:{}/{}", spec.api_id, spec.stage);
    let (action, resource) = ("execute-api:ManageConnections".into(), format!("{of_api}/{method}/@connections/{id}"));
    Need { action, resource }
}

fn handle(api: &Api, method: &Method, id: &str, body: Bytes) -> Response<Body> {
    if !is_gateway_id(id) {
        return error(
            StatusCode::BAD_REQUEST,
            "BadRequestException",
            json!({ "message": "Invalid connectionId", "connectionId": id }),
        );
    }
    let gone = || error(StatusCode::GONE, "GoneException", json!({ "message": "The connection is gone" }));
    let Some(connection) = api.registry.get(id) else { return gone() };
    match *method {
        Method::POST if body.len() > MAX_PAYLOAD_BYTES => {
            let message = format!("The payload has more than {MAX_PAYLOAD_BYTES} bytes");
            error(StatusCode::PAYLOAD_TOO_LARGE, "PayloadTooLargeException", json!({ "message": message }))
        }
        Method::POST => match connection.send(body.to_vec(), api.limits.buffer_bytes) {
            Ok(()) => respond(StatusCode::OK, Body::empty()),
            Err(SendError::Gone) => gone(),
            Err(SendError::BufferFull) => error(
                StatusCode::TOO_MANY_REQUESTS,
                "LimitExceededException",
                json!({ "message": "The client reads too slowly" }),
            ),
        },
        Method::GET => {
            let client = &connection.client;
            let mut identity = json!({ "sourceIp": client.source_ip });
            if let Some(agent) = &client.user_agent {
                identity["userAgent"] = agent.as_str().into();
            }
            let status = json!({
                "connectedAt": iso8601(client.connected_at_ms),
                "lastActiveAt": iso8601(connection.last_active_ms()),
                "identity": identity,
            });
            json_response(StatusCode::OK, &status)
        }
        Method::DELETE => {
            if let Some(connection) = api.registry.remove(id) {
                connection.close(1000, "Connection Closed Normally");
            }
            respond(StatusCode::NO_CONTENT, Body::empty())
        }
        _ => forbidden(),
    }
}

/// The answer to an unknown path or method.
pub(crate) fn forbidden() -> Response<Body> {
    error(StatusCode::FORBIDDEN, "ForbiddenException", json!({ "message": "Forbidden" }))
}

fn iso8601(epoch_ms: i64) -> String {
    let time = jiff::Timestamp::from_millisecond(epoch_ms).unwrap_or_default();
    format!("{time:.3}")
}

fn error(status: StatusCode, kind: &'static str, mut body: Value) -> Response<Body> {
    body["requestId"] = gateway_id().into();
    let mut response = json_response(status, &body);
    response.headers_mut().insert("x-amzn-errortype", http::HeaderValue::from_static(kind));
    response
}

fn json_response(status: StatusCode, body: &Value) -> Response<Body> {
    let mut response = respond(status, Body::from(body.to_string()));
    response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    response
}

fn respond(status: StatusCode, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}
