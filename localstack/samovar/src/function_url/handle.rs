//! The way of a request to its function: signature, function, response, and CORS headers.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::response::Response;
use http::{Method, StatusCode};
use samovar_host::MAX_REQUEST_BYTES;
use samovar_services::permissions::{Denied, Need};

use super::Url;
use super::event::event;
use super::response::{self, broken, refusal};
use crate::http_api::cors;
use crate::http_api::incoming::Incoming;
use crate::ids;
use crate::invoke::IntegrationError;
use crate::sigv4::Signer;

/// The service that requests are signed for.
const SERVICE: &str = "lambda";

/// Handles a request for this path, which is without the prefix of the URL.
pub(super) async fn handle(url: Arc<Url>, incoming: Incoming, path: String) -> Response {
    let request_id = ids::request_id();
    let preflight = url.spec.cors.is_some()
        && incoming.head.method == Method::OPTIONS
        && incoming.head.headers.contains_key(http::header::ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = match preflight {
        // Lambda answers it. The function is not invoked.
        true => Response::new(Body::empty()),
        false => match answer(&url, &incoming, &path, &request_id).await {
            Ok(response) | Err(response) => response,
        },
    };
    if let Some(configuration) = &url.spec.cors {
        cors::apply(configuration, &incoming.head, response.headers_mut());
    }
    response::identify(response, &request_id)
}

async fn answer(url: &Arc<Url>, incoming: &Incoming, path: &str, request_id: &str) -> Result<Response, Response> {
    let too_large = || {
        let message =
            format!("Request must be smaller than {MAX_REQUEST_BYTES} bytes for the InvokeFunction operation");
        refusal(StatusCode::PAYLOAD_TOO_LARGE, "RequestTooLargeException", &message)
    };
    let body = incoming.body.as_ref().ok_or_else(too_large)?;
    let signer = signer(url, incoming, body).map_err(|Forbidden| response::forbidden())?;
    let event = event(url, incoming, path, body, signer.as_ref(), request_id);
    let payload: Bytes = event.to_string().into();
    if payload.len() > MAX_REQUEST_BYTES {
        return Err(too_large());
    }
    let answer = match url.edge.invoker.invoke(&url.function, payload).await {
        Ok(answer) => answer,
        Err(IntegrationError::Throttled(why)) => {
            tracing::warn!("{why}");
            return Err(refusal(StatusCode::TOO_MANY_REQUESTS, "TooManyRequestsException", "Rate Exceeded."));
        }
        Err(error) => {
            tracing::warn!("{error}");
            return Err(broken());
        }
    };
    response::of_answer(&answer, url.spec.streaming).map_err(|why| {
        tracing::warn!("{}: the function's answer is not a valid response: {why}", url.function);
        broken()
    })
}

/// The caller may not use the URL.
struct Forbidden;

/// The signer of a request, if the URL needs one.
fn signer(url: &Url, incoming: &Incoming, body: &[u8]) -> Result<Option<Signer>, Forbidden> {
    if !url.spec.iam_authorization {
        return Ok(None);
    }
    let edge = &url.edge;
    let signer = edge.keys.verify(&incoming.head, body, SERVICE).map_err(|refused| {
        tracing::debug!("A request for {} was refused: {refused:?}", url.function);
        Forbidden
    })?;
    // Since October 2025 a new URL needs both.
    let needed = ["lambda:InvokeFunctionUrl", "lambda:InvokeFunction"]
        .map(|action| Need { action: action.into(), resource: url.arn.clone() });
    edge.door.check(&signer.caller.function, |_| needed.to_vec()).map_err(|Denied(_)| Forbidden)?;
    Ok(Some(signer))
}
