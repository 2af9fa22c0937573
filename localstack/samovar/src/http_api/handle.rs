//! The way of a request through its API: route, authorizer, function, and CORS headers on every response.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::body::{Body, Bytes};
use axum::response::Response;
use http::{Method, StatusCode, request};
use serde_json::Value;

use super::event::event;
use super::incoming::Incoming;
use super::jwt::Identity;
use super::{Api, cors, response, routes};
use crate::ids::gateway_id;
use crate::invoke::{self, IntegrationError};
use samovar_host::MAX_REQUEST_BYTES;
use samovar_template::HttpRoute;

pub(crate) async fn handle(api: Arc<Api>, incoming: Incoming) -> Response {
    let request_id = gateway_id();
    api.requests.fetch_add(1, Ordering::Relaxed);
    let mut response = match answer(&api, &incoming, &request_id).await {
        Ok(response) | Err(response) => response,
    };
    if let Some(configuration) = &api.spec.cors {
        // Refusals get them too. AWS documents CORS headers only for integrations' responses. But a browser that was
        // refused on AWS reports the status, which it could not see without them.
        cors::apply(configuration, &incoming.head, response.headers_mut());
    }
    response::identify(response, &request_id)
}

async fn answer(api: &Arc<Api>, incoming: &Incoming, request_id: &str) -> Result<Response, Response> {
    let refuse = response::refusal;
    // Unconfirmed: that the size goes before route and authorizer.
    let body = incoming.body.as_ref();
    let body = body.ok_or_else(|| refuse(StatusCode::PAYLOAD_TOO_LARGE, "Request Entity Too Large"))?;
    let head = &incoming.head;
    let path = api.route_path(head.uri.path());
    let Some(selected) = routes::select(&api.spec.routes, &head.method, path) else {
        // With CORS, an API answers OPTIONS itself. A matching route takes precedence, also `ANY` and `$default`, and
        // so does the route's authorizer. AWS documents this for `$default`, and its users report it for `ANY`.
        if api.spec.cors.is_some() && head.method == Method::OPTIONS {
            return Ok(no_content());
        }
        return Err(refuse(StatusCode::NOT_FOUND, "Not Found"));
    };
    let route = selected.route;
    let identity = authorize(api, route, head).await?;
    let event = event(api, incoming, body, &selected, identity.as_ref(), request_id);
    let answer = invoke(api, route, &event).await.map_err(|failure| match failure {
        HandlerError::TooLarge => refuse(StatusCode::PAYLOAD_TOO_LARGE, "Request Entity Too Large"),
        HandlerError::Unavailable => refuse(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable"),
        HandlerError::Internal => refuse(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error"),
    })?;
    response::of_answer(&answer).map_err(|why| {
        tracing::warn!("{}: the function's answer is not a valid response: {why}", route.function);
        refuse(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error")
    })
}

async fn authorize(api: &Api, route: &HttpRoute, head: &request::Parts) -> Result<Option<Identity>, Response> {
    let Some(needed) = &route.authorization else { return Ok(None) };
    let Some(authorizer) = api.authorizers.get(&needed.authorizer) else {
        // The template reader makes sure that the authorizer exists. Without it the request is refused.
        return Err(response::refusal(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error"));
    };
    authorizer.authorize(head, &needed.scopes).await.map(Some).map_err(|refused| refused.response())
}

/// The response to a client if the integration gave no answer.
#[derive(Debug)]
enum HandlerError {
    TooLarge,
    Unavailable,
    Internal,
}

/// Calls a route's function, for at most the integration's time. A function that takes longer goes on, without effect
/// here.
async fn invoke(api: &Arc<Api>, route: &HttpRoute, event: &Value) -> Result<Bytes, HandlerError> {
    let payload: Bytes = event.to_string().into();
    // Lambda's limit is lower than API Gateway's, and the event is larger than its body. Unconfirmed: the status.
    if payload.len() > MAX_REQUEST_BYTES {
        tracing::warn!(
            "{}: the event has {} bytes, but Lambda takes at most {MAX_REQUEST_BYTES}",
            route.function,
            payload.len()
        );
        return Err(HandlerError::TooLarge);
    }
    let invoked = invoke::within(route.integration_timeout, &api.invoker, &api.tasks, &route.function, payload).await;
    let error = match invoked {
        Ok(answer) => return Ok(answer),
        Err(error) => error,
    };
    tracing::warn!(route = %route.key, "{error}");
    Err(match error {
        // AWS's answer to a timeout, as its users report it. Unconfirmed: that throttling looks the same.
        IntegrationError::IntegrationTimeout { .. } | IntegrationError::Throttled(_) => HandlerError::Unavailable,
        _ => HandlerError::Internal,
    })
}

fn no_content() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}
