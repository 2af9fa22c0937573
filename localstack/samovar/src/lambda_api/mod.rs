//! Lambda's Invoke API, for functions that call functions and for a developer's tools: `POST
//! /2015-03-31/functions/NAME/invocations`.
//!
//! A function is found by its name on AWS, by its ARN, and, as with the tools of SAM, by its logical id. Calls pass the
//! door of the services: whether the caller may invoke is checked there, calls are counted, and faults are injected.
//!
//! An invocation of the type `Event` is put into the event queue of its function, and the call is answered when it is
//! there (see [`asynchronous`](crate::asynchronous)).

#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::StreamExt as _;
use http::{HeaderMap, HeaderValue, StatusCode};
use samovar_host::{Ended, InvokeError, MAX_REQUEST_BYTES, Request};
use samovar_services::door::Door;
use samovar_services::event_queues::{Event, EventQueues, MAX_EVENT_BYTES};
use samovar_services::permissions::{Account, Denied, Need};
use samovar_services::{Answer, Caller, broken};
use samovar_template::Function;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::ids::request_id;
use crate::invoke::{IntegrationError, Invoker};

/// The service in counts, faults and permissions.
pub(crate) const LAMBDA: &str = "lambda";
/// The beginning of all paths of Lambda's API.
pub(crate) const VERSION: &str = "2015-03-31";

/// The rest of a payload that is too large is read up to here, so that the caller can read the answer.
const MAX_READ_BYTES: usize = 64 * 1024 * 1024;

/// A function as callers know it.
#[derive(Debug)]
struct Callee {
    /// The invoker's name for it.
    name: String,
    function_name: String,
    logical_id: String,
    arn: String,
    has_reserved_concurrency: bool,
}

/// The API of one stack.
#[derive(Debug)]
pub(crate) struct LambdaApi {
    functions: Vec<Callee>,
    account: Account,
    invoker: Arc<dyn Invoker>,
    door: Door,
    events: EventQueues,
}

impl LambdaApi {
    /// Invocations of the type `Event` go to `events`.
    pub(crate) fn new(
        functions: &[Function],
        account: Account,
        invoker: Arc<dyn Invoker>,
        door: Door,
        events: EventQueues,
    ) -> Self {
        let callee = |function: &Function| Callee {
            name: function.name.clone(),
            function_name: function.function_name.clone(),
            logical_id: function.logical_id.clone(),
            arn: function.arn.clone(),
            has_reserved_concurrency: function.reserved_concurrency.is_some(),
        };
        let functions = functions.iter().map(callee).collect();
        Self { functions, account, invoker, door, events }
    }

    pub(crate) fn router(self: Arc<Self>) -> Router {
        Router::new().route(&format!("/{VERSION}/functions/{{function}}/invocations"), post(handle)).with_state(self)
    }

    /// The function of a name or an ARN, which may end in a qualifier; and the ARN that was meant.
    fn find(&self, given: &str, qualifier: Option<&str>) -> (String, Option<&Callee>) {
        let of_arn = given.rsplit_once(":function:").map(|(_, name)| name);
        let named = of_arn.or_else(|| given.strip_prefix("function:")).unwrap_or(given);
        let (name, own_qualifier) = named.split_once(':').map_or((named, None), |(name, it)| (name, Some(it)));
        let qualifier = qualifier.or(own_qualifier).filter(|qualifier| *qualifier != "$LATEST");
        let by = |key: fn(&Callee) -> &str| self.functions.iter().find(|function| key(function) == name);
        let found = by(|it| &it.function_name).or_else(|| by(|it| &it.logical_id)).or_else(|| by(|it| &it.name));
        let Account { region, id } = &self.account;
        let arn = found.map_or_else(|| format!("arn:aws:lambda:{region}:{id}:function:{name}"), |it| it.arn.clone());
        match qualifier {
            // There are no versions and aliases.
            Some(qualifier) => (format!("{arn}:{qualifier}"), None),
            None => (arn, found),
        }
    }
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Asked {
    qualifier: Option<String>,
}

async fn handle(
    State(api): State<Arc<LambdaApi>>,
    Path(given): Path<String>,
    Query(Asked { qualifier }): Query<Asked>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let id = request_id();
    let answer = invoke(&api, &given, qualifier.as_deref(), &headers, body, &id).await;
    let mut response = match answer {
        Ok(Some(response)) => response,
        Ok(None) => return broken(),
        Err(error) => error.response(),
    };
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert("x-amzn-requestid", id);
    }
    response
}

/// `None` means that the connection breaks without an answer.
async fn invoke(
    api: &Arc<LambdaApi>,
    given: &str,
    qualifier: Option<&str>,
    headers: &HeaderMap,
    body: Body,
    id: &str,
) -> Result<Option<Response>, ApiError> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let kind = match text("x-amz-invocation-type").unwrap_or("RequestResponse") {
        "RequestResponse" => Kind::RequestResponse,
        "Event" => Kind::Event,
        "DryRun" => Kind::DryRun,
        other => return Err(ApiError::Parameter(format!("{other} is no invocation type"))),
    };
    let payload = payload(body, kind).await?;
    let caller = Caller::of(headers);
    let (arn, callee) = api.find(given, qualifier);
    let needed = Need { action: "lambda:InvokeFunction".into(), resource: arn.clone() };
    api.door.check(&caller.function, |_| vec![needed]).map_err(|Denied(message)| ApiError::Denied(message))?;
    let callee = callee.ok_or(ApiError::NotFound(arn))?;
    // No event is an empty one.
    let payload = if payload.is_empty() { Bytes::from_static(b"{}") } else { payload };
    let json: Box<RawValue> = serde_json::from_slice(&payload)
        .map_err(|error| ApiError::Content(format!("Could not parse request body into json: {error}")))?;
    let client_context = text("x-amz-client-context").map(client_context).transpose()?;
    let request = Request {
        payload: payload.clone(),
        request_id: Some(id.to_owned()),
        trace_id: text("x-amzn-trace-id").map(str::to_owned),
        client_context,
        log: text("x-amz-log-type") == Some("Tail") && kind == Kind::RequestResponse,
    };
    let passage = api.door.enter(&caller, LAMBDA, "Invoke", &payload).await;
    if passage.dropped() {
        return Ok(passage.heard(None).await);
    }
    let answer = match kind {
        Kind::DryRun => Ok(StatusCode::NO_CONTENT.into_response()),
        Kind::Event => {
            let Request { trace_id, client_context, .. } = request;
            let event = Event { trace_id, client_context, ..Event::new(json, id.to_owned()) };
            match api.events.accept(vec![(callee.function_name.clone(), event)]).await {
                Ok(()) => Ok(StatusCode::ACCEPTED.into_response()),
                Err(error) => Err(ApiError::Service(format!("{error:#}"))),
            }
        }
        Kind::RequestResponse => match api.invoker.call(&callee.name, request).await {
            Ok(ended) => ended_response(ended, id),
            Err(IntegrationError::Throttled(_)) => Err(ApiError::Throttled(callee.has_reserved_concurrency)),
            Err(other) => Err(ApiError::Service(other.to_string())),
        },
    };
    let response = answer.unwrap_or_else(ApiError::response);
    passage.executed(&Answer { status: response.status().as_u16(), headers: Vec::new(), body: Vec::new() });
    Ok(passage.heard(Some(response)).await)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    RequestResponse,
    Event,
    DryRun,
}

/// Reads a payload to its end, also when it is too large.
async fn payload(body: Body, kind: Kind) -> Result<Bytes, ApiError> {
    let limit = if kind == Kind::Event { MAX_EVENT_BYTES } else { MAX_REQUEST_BYTES };
    let mut whole = Vec::new();
    let mut bytes = 0;
    let mut parts = body.into_data_stream();
    while let Some(part) = parts.next().await {
        let part = part.map_err(|error| ApiError::Content(format!("The request broke off: {error}")))?;
        bytes += part.len();
        match bytes <= limit {
            true => whole.extend_from_slice(&part),
            false if bytes <= MAX_READ_BYTES => whole = Vec::new(),
            false => break,
        }
    }
    match (bytes <= limit, kind) {
        (true, _) => Ok(whole.into()),
        (false, Kind::Event) => Err(ApiError::TooLarge(format!(
            "{bytes} byte payload is too large for the Event invocation type (limit {limit} bytes)"
        ))),
        (false, _) => Err(ApiError::TooLarge(format!(
            "Request must be smaller than {limit} bytes for the InvokeFunction operation"
        ))),
    }
}

/// The JSON that a caller has sent in base64.
fn client_context(encoded: &str) -> Result<String, ApiError> {
    let decoded = STANDARD.decode(encoded).ok();
    let json: Option<Value> = decoded.and_then(|text| serde_json::from_slice(&text).ok());
    let wrong = || ApiError::Content("Client context must be a valid Base64-encoded JSON object.".to_owned());
    json.filter(Value::is_object).map(|json| json.to_string()).ok_or_else(wrong)
}

/// The answer to an invocation that has been begun: 200, also if the function has failed.
fn ended_response(Ended { result, log }: Ended, id: &str) -> Result<Response, ApiError> {
    let (payload, failed) = match result {
        Ok(payload) => (payload, false),
        Err(InvokeError::ShuttingDown) => return Err(ApiError::Service(InvokeError::ShuttingDown.to_string())),
        Err(error) => (report(&error, id), true),
    };
    let mut response =
        ([("content-type", "application/json"), ("x-amz-executed-version", "$LATEST")], payload).into_response();
    if failed {
        response.headers_mut().insert("x-amz-function-error", HeaderValue::from_static("Unhandled"));
    }
    if let Some(log) = log.and_then(|log| HeaderValue::from_str(&STANDARD.encode(log)).ok()) {
        response.headers_mut().insert("x-amz-log-result", log);
    }
    Ok(response)
}

/// The function's own report, or the one that Lambda makes.
pub(crate) fn report(error: &InvokeError, id: &str) -> Bytes {
    let (kind, message) = match error {
        InvokeError::FunctionError { payload } => return payload.clone(),
        InvokeError::TimedOut { .. } => ("Sandbox.Timedout", error.to_string()),
        InvokeError::Crashed { status } => ("Runtime.ExitError", format!("Runtime exited with error: {status}")),
        InvokeError::InitFailed { reason, .. } => ("Runtime.ExitError", reason.clone()),
        other => ("Runtime.Unknown", other.to_string()),
    };
    json!({ "errorType": kind, "errorMessage": format!("RequestId: {id} Error: {message}") }).to_string().into()
}

/// An answer that is no result of an invocation.
#[derive(Debug)]
enum ApiError {
    NotFound(String),
    Denied(String),
    Parameter(String),
    Content(String),
    TooLarge(String),
    /// Whether the function's own limit was reached, and not the account's.
    Throttled(bool),
    Service(String),
}

impl ApiError {
    fn response(self) -> Response {
        let user = |message: String| json!({ "Type": "User", "message": message });
        let (status, kind, body) = match self {
            Self::NotFound(arn) => {
                let body = json!({ "Type": "User", "Message": format!("Function not found: {arn}") });
                (StatusCode::NOT_FOUND, "ResourceNotFoundException", body)
            }
            Self::Denied(message) => (StatusCode::FORBIDDEN, "AccessDeniedException", json!({ "Message": message })),
            Self::Parameter(message) => (StatusCode::BAD_REQUEST, "InvalidParameterValueException", user(message)),
            Self::Content(message) => (StatusCode::BAD_REQUEST, "InvalidRequestContentException", user(message)),
            Self::TooLarge(message) => (StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLargeException", user(message)),
            Self::Throttled(reserved) => {
                let reason = match reserved {
                    true => "ReservedFunctionConcurrentInvocationLimitExceeded",
                    false => "ConcurrentInvocationLimitExceeded",
                };
                let body = json!({ "Reason": reason, "Type": "User", "message": "Rate Exceeded." });
                (StatusCode::TOO_MANY_REQUESTS, "TooManyRequestsException", body)
            }
            Self::Service(message) => {
                let body = json!({ "Type": "Service", "Message": message });
                (StatusCode::INTERNAL_SERVER_ERROR, "ServiceException", body)
            }
        };
        (status, [("x-amzn-errortype", kind)], axum::Json(body)).into_response()
    }
}
