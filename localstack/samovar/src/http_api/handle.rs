//! The way of a request through its API: route, authorizer, function, and CORS headers on every response.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::body::{Body, Bytes};
use axum::response::Response;
use http::{Method, StatusCode};
use serde_json::Value;

use super::identity::Identity;
use super::incoming::Incoming;
use super::routes::Selected;
use super::{Api, cors, event, event_v1, response, routes};
use crate::ids::gateway_id;
use crate::invoke::{self, IntegrationError};
use samovar_host::MAX_REQUEST_BYTES;
use samovar_services::permissions::{Denied, Need};
use samovar_template::{HttpRoute, PayloadFormat};

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
    let request = Read { api, incoming, body, selected: &selected, request_id };
    let identity = authorize(&request).await?;
    let event = request.event(route.payload_format, identity.as_ref());
    let answer = invoke(api, route, &event).await.map_err(|failure| match failure {
        HandlerError::TooLarge => refuse(StatusCode::PAYLOAD_TOO_LARGE, "Request Entity Too Large"),
        HandlerError::Unavailable => refuse(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable"),
        HandlerError::Internal => refuse(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error"),
    })?;
    let response = match route.payload_format {
        PayloadFormat::V1 => response::of_answer_v1(&answer),
        PayloadFormat::V2 => response::of_answer(&answer),
    };
    response.map_err(|why| {
        tracing::warn!("{}: the function's answer is not a valid response: {why}", route.function);
        refuse(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error")
    })
}

/// The name of the authorizer that AWS itself is.
const IAM: &str = "AWS_IAM";
/// The service that requests are signed for.
const SERVICE: &str = "execute-api";

/// A request that has a route.
pub(super) struct Read<'a> {
    pub(super) api: &'a Api,
    pub(super) incoming: &'a Incoming,
    pub(super) body: &'a [u8],
    pub(super) selected: &'a Selected<'a>,
    pub(super) request_id: &'a str,
}

impl Read<'_> {
    /// The event of this request.
    pub(super) fn event(&self, format: PayloadFormat, identity: Option<&Identity>) -> Value {
        let Self { api, incoming, body, selected, request_id } = *self;
        match format {
            PayloadFormat::V1 => event_v1::event(api, incoming, body, selected, identity, request_id),
            PayloadFormat::V2 => event::event(api, incoming, body, selected, identity, request_id),
        }
    }

    /// The ARN of this request, for policies.
    pub(super) fn arn(&self) -> String {
        let head = &self.incoming.head;
        self.api.method_arn(head.method.as_str(), self.api.route_path(head.uri.path()))
    }
}

async fn authorize(request: &Read<'_>) -> Result<Option<Identity>, Response> {
    let (api, head) = (request.api, &request.incoming.head);
    let Some(needed) = &request.selected.route.authorization else { return Ok(None) };
    if let Some(jwt) = api.authorizers.get(&needed.authorizer) {
        let claims = jwt.authorize(head, &needed.scopes).await.map_err(|refused| refused.response())?;
        return Ok(Some(Identity::Jwt(claims)));
    }
    if let Some(lambda) = api.lambda_authorizers.get(&needed.authorizer) {
        return lambda.authorize(request).await.map(Some).map_err(|refused| refused.response());
    }
    if needed.authorizer == IAM {
        let edge = &api.edge;
        let forbidden = || response::refusal(StatusCode::FORBIDDEN, "Forbidden");
        let signer = edge.keys.verify(head, request.body, SERVICE).map_err(|refused| {
            tracing::debug!("A request was refused: {refused:?}");
            forbidden()
        })?;
        let need = Need { action: "execute-api:Invoke".into(), resource: request.arn() };
        edge.door.check(&signer.caller.function, |_| vec![need]).map_err(|Denied(_)| forbidden())?;
        return Ok(Some(Identity::Iam(signer)));
    }
    // The template reader makes sure that the authorizer exists. Without it the request is refused.
    Err(response::refusal(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error"))
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
    let invoked =
        invoke::within(route.integration_timeout, &api.edge.invoker, &api.tasks, &route.function, payload).await;
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
