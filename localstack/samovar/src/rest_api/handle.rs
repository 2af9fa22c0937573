//! The way of a request through its API: route, authorizer, function, response.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::body::Bytes;
use axum::response::Response;
use http::header::ACCEPT;
use http::{Method, StatusCode};
use samovar_host::MAX_REQUEST_BYTES;
use samovar_template::{HttpRoute, RestRoute, RouteKey};

use super::event::event;
use super::response::{self, refusal};
use super::{Api, authorizers, media, of_every_method};
use crate::http_api::incoming::Incoming;
use crate::http_api::routes::select;
use crate::ids;
use crate::invoke::{self, IntegrationError};

/// The methods of a route for every method, as SAM lists them for CORS.
const ALL_METHODS: [&str; 7] = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"];

/// The header with the key of a usage plan.
const API_KEY: &str = "x-api-key";

/// A request's ids, which are in its event and in the headers of its response.
#[derive(Debug)]
pub(super) struct Ids {
    pub(super) request: String,
    pub(super) extended: String,
}

/// Handles a request for this path of the API, which is without the stage.
pub(super) async fn handle(api: Arc<Api>, incoming: Incoming, path: String) -> Response {
    let ids = Ids { request: ids::request_id(), extended: ids::gateway_id() };
    api.requests.fetch_add(1, Ordering::Relaxed);
    let response = match answer(&api, &incoming, &path, &ids).await {
        Ok(response) | Err(response) => response,
    };
    response::identify(response, &ids)
}

async fn answer(api: &Arc<Api>, incoming: &Incoming, path: &str, ids: &Ids) -> Result<Response, Response> {
    let too_large = || refusal(StatusCode::PAYLOAD_TOO_LARGE, "Request Too Long", "RequestTooLargeException");
    let body = incoming.body.as_ref().ok_or_else(too_large)?;
    let head = &incoming.head;
    let selected = select(&api.routes, &head.method, path);
    // A method of the template's own goes before the one that SAM adds, and this one before ANY.
    let own = selected.as_ref().is_some_and(|selected| method(&selected.route.key).is_some());
    if head.method == Method::OPTIONS
        && !own
        && let Some(cors) = &api.spec.cors
        && let Some(methods) = methods(api, path)
    {
        return Ok(response::preflight(cors, &methods));
    }
    let Some(selected) = selected else {
        let kind = "MissingAuthenticationTokenException";
        return Err(refusal(StatusCode::FORBIDDEN, "Missing Authentication Token", kind));
    };
    if let Some(mock) = api.spec.mocks.iter().find(|mock| mock.key == selected.route.key) {
        return response::of_mock(mock).ok_or_else(internal);
    }
    let route = spec(api, selected.route);
    let mut event = event(api, incoming, path, body, &selected, ids);
    if let Some(needed) = &selected.route.authorization {
        authorizers::authorize(api, incoming, needed, &mut event).await?;
    }
    if route.is_some_and(|route| route.api_key_required) {
        let given = head.headers.get(API_KEY).and_then(|key| key.to_str().ok());
        let key = api.api_keys.iter().find(|key| Some(key.as_str()) == given);
        let key = key.ok_or_else(|| refusal(StatusCode::FORBIDDEN, "Forbidden", "ForbiddenException"))?;
        event["requestContext"]["identity"]["apiKey"] = key.as_str().into();
        // On AWS it is random. Here it names the API.
        event["requestContext"]["identity"]["apiKeyId"] = format!("{}apikey", api.spec.api_id).into();
    }
    let payload: Bytes = event.to_string().into();
    // Lambda's limit is lower than API Gateway's. Unconfirmed: the status.
    if payload.len() > MAX_REQUEST_BYTES {
        return Err(too_large());
    }
    let answer = invoke(api, selected.route, payload).await?;
    let accepted = head.headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let bytes = media::is_binary(&api.spec.binary_media_types, accepted);
    response::of_answer(&answer, bytes).map_err(|why| {
        tracing::warn!("{}: the function's answer is not a valid response: {why}", selected.route.function);
        internal()
    })
}

/// Calls a route's function, for at most the integration's time. A function that takes longer goes on, without effect
/// here.
async fn invoke(api: &Arc<Api>, route: &HttpRoute, payload: Bytes) -> Result<Bytes, Response> {
    let invoked =
        invoke::within(route.integration_timeout, &api.edge.invoker, &api.tasks, &route.function, payload).await;
    let error = match invoked {
        Ok(answer) => return Ok(answer),
        Err(error) => error,
    };
    tracing::warn!(route = %route.key, "{error}");
    Err(match error {
        IntegrationError::IntegrationTimeout { .. } => {
            refusal(StatusCode::GATEWAY_TIMEOUT, "Endpoint request timed out", "InternalServerErrorException")
        }
        // Unconfirmed: that throttling looks the same.
        _ => internal(),
    })
}

fn internal() -> Response {
    refusal(StatusCode::BAD_GATEWAY, "Internal server error", "InternalServerErrorException")
}

fn method(key: &RouteKey) -> Option<&str> {
    if let RouteKey::Path { method, .. } = key { method.as_deref() } else { None }
}

fn spec<'a>(api: &'a Api, route: &HttpRoute) -> Option<&'a RestRoute> {
    api.spec.routes.iter().find(|one| one.key == route.key)
}

/// The methods of the request's path, and `OPTIONS`, if the API has the path.
fn methods(api: &Api, path: &str) -> Option<String> {
    let found = select(&api.paths, &Method::OPTIONS, path)?;
    let of_path = api.routes.iter().filter(|route| of_every_method(&route.key).equals_but_for_names(&found.route.key));
    let mut methods = BTreeSet::from(["OPTIONS"]);
    for route in of_path {
        match method(&route.key) {
            Some(method) => drop(methods.insert(method)),
            None => methods.extend(ALL_METHODS),
        }
    }
    Some(methods.into_iter().collect::<Vec<_>>().join(","))
}
