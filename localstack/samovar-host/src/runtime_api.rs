//! The Lambda Runtime API over HTTP, and the part of the Extensions API that the runtime itself uses.
//!
//! Every instance has a base URL of its own, `http://…/_runtime/{function}/{id}`. `lambda_runtime` accepts it in
//! `AWS_LAMBDA_RUNTIME_API`; it needs the scheme, because `HOST:PORT/path` is not a URI, though `HOST:PORT` is. The id
//! is random, so neither another function nor a web page in the developer's browser can take an event or answer it.
//! This module only translates; the `instance` decides which call is allowed when.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http_body_util::BodyExt;
use serde_json::{Value, json};

use super::clock;
use super::error::MAX_RESPONSE_BYTES;
use super::exchange::{CallRefused, Event, RuntimeAnswer};
use super::function::Function;
use super::pool::{Handle, Pool};

pub(super) fn router(pool: Arc<Pool>) -> Router {
    let runtime = Router::new()
        .route("/init/error", post(init_error))
        .route("/invocation/next", get(next))
        .route("/invocation/{request}/response", post(response))
        .route("/invocation/{request}/error", post(error));
    let extension = Router::new()
        .route("/register", post(register))
        .route("/event/next", get(next_extension_event))
        .route("/init/error", post(extension_error))
        .route("/exit/error", post(extension_error));
    let instance = Router::new().nest("/2018-06-01/runtime", runtime).nest("/2020-01-01/extension", extension);
    Router::new().nest("/_runtime/{function}/{instance}", instance).with_state(pool)
}

/// The instance whose base path a request used.
struct Caller {
    function: Arc<Function>,
    instance: Handle,
}

impl FromRequestParts<Arc<Pool>> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, pool: &Arc<Pool>) -> Result<Self, ApiError> {
        #[derive(serde::Deserialize)]
        struct Base {
            function: String,
            instance: String,
        }
        let Ok(Path(base)) = Path::<Base>::from_request_parts(parts, pool).await else {
            return Err(ApiError::Gone);
        };
        let (function, instance) = pool.find(&base.function, &base.instance).ok_or(ApiError::Gone)?;
        Ok(Caller { function, instance })
    }
}

async fn next(caller: Caller) -> Result<Response, ApiError> {
    let event: Event = caller.instance.next().await?;
    let headers = [
        ("content-type", "application/json".to_owned()),
        ("lambda-runtime-aws-request-id", event.request_id),
        ("lambda-runtime-deadline-ms", event.deadline_epoch_ms.to_string()),
        ("lambda-runtime-invoked-function-arn", caller.function.spec.arn.clone()),
        ("lambda-runtime-trace-id", event.trace_id),
    ];
    Ok((headers, event.payload).into_response())
}

async fn response(
    caller: Caller,
    Path(request): Path<InvocationPath>,
    body: Body,
) -> Result<(StatusCode, axum::Json<Value>), ApiError> {
    match collect(body).await? {
        Collected::Whole(payload) => {
            caller.instance.answer(request.request, RuntimeAnswer::Response(payload)).await?;
            Ok(accepted())
        }
        Collected::TooLarge(bytes) => {
            caller.instance.answer(request.request, RuntimeAnswer::TooLarge(bytes)).await?;
            Err(ApiError::TooLarge)
        }
    }
}

async fn error(
    caller: Caller,
    Path(request): Path<InvocationPath>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, axum::Json<Value>), ApiError> {
    let answer = match collect(body).await? {
        Collected::Whole(report) => RuntimeAnswer::Error(as_json(report, &headers)),
        Collected::TooLarge(bytes) => RuntimeAnswer::TooLarge(bytes),
    };
    caller.instance.answer(request.request, answer).await?;
    Ok(accepted())
}

async fn init_error(
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, axum::Json<Value>), ApiError> {
    let report = match collect(body).await? {
        Collected::Whole(report) => as_json(report, &headers),
        Collected::TooLarge(_) => return Err(ApiError::TooLarge),
    };
    let report: Value = serde_json::from_slice(&report).unwrap_or_default();
    let field = |name: &str| report[name].as_str().unwrap_or("unknown").to_owned();
    caller.instance.init_error(format!("{}: {}", field("errorType"), field("errorMessage"))).await?;
    Ok(accepted())
}

/// Registers an extension, which is never sent an event. On Lambda, registering makes a function receive SIGTERM before
/// its end; here it receives it anyway.
async fn register(caller: Caller, headers: HeaderMap, body: Bytes) -> Response {
    let request: Value = serde_json::from_slice(&body).unwrap_or_default();
    if let Some(events) = request["events"].as_array().filter(|events| !events.is_empty()) {
        let extension = headers.get("lambda-extension-name").and_then(|name| name.to_str().ok()).unwrap_or("unnamed");
        let events: Vec<_> = events.iter().filter_map(Value::as_str).collect();
        let name = &caller.function.spec.name;
        tracing::warn!(
            "{name}: extension {extension} asks for {} events, which the local stack does not send",
            events.join(" and ")
        );
    }
    let id = clock::new_id().to_string();
    let function = &caller.function.spec.name;
    let body = json!({"functionName": function, "functionVersion": "$LATEST", "handler": "bootstrap"});
    ([("lambda-extension-identifier", id)], axum::Json(body)).into_response()
}

async fn next_extension_event(_: Caller) -> Response {
    // It ends when the process closes the connection.
    std::future::pending().await
}

async fn extension_error(_: Caller) -> (StatusCode, axum::Json<Value>) {
    accepted()
}

/// The last part of a path such as `…/invocation/{request}/response`.
#[derive(serde::Deserialize)]
struct InvocationPath {
    request: String,
}

fn accepted() -> (StatusCode, axum::Json<Value>) {
    (StatusCode::ACCEPTED, axum::Json(json!({"status": "OK"})))
}

enum Collected {
    Whole(Bytes),
    TooLarge(usize),
}

/// Reads a body to its end even when it is too large. A client whose upload is cut off sees a broken connection instead
/// of the status: `lambda_runtime` exits on a broken connection, but survives an error status.
async fn collect(mut body: Body) -> Result<Collected, ApiError> {
    let mut whole = Vec::new();
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        // The process is gone or does not speak HTTP, so nobody reads the status.
        let Ok(data) = frame.map_err(|_| ApiError::Gone)?.into_data() else { continue };
        bytes += data.len();
        match bytes <= MAX_RESPONSE_BYTES {
            true => whole.extend_from_slice(&data),
            false => whole = Vec::new(),
        }
    }
    match bytes <= MAX_RESPONSE_BYTES {
        true => Ok(Collected::Whole(whole.into())),
        false => Ok(Collected::TooLarge(bytes)),
    }
}

/// Error reports are JSON. Any other text is wrapped in JSON, so that callers can rely on it.
fn as_json(report: Bytes, headers: &HeaderMap) -> Bytes {
    if serde_json::from_slice::<&serde_json::value::RawValue>(&report).is_ok() {
        return report;
    }
    let kind = headers.get("lambda-runtime-function-error-type").and_then(|kind| kind.to_str().ok());
    let message = String::from_utf8_lossy(&report);
    json!({"errorMessage": message, "errorType": kind.unwrap_or("Unhandled")}).to_string().into()
}

/// The errors of the Runtime API.
enum ApiError {
    InvalidRequestId,
    InvalidStateTransition,
    TooLarge,
    /// The instance has ended.
    Gone,
}

impl From<CallRefused> for ApiError {
    fn from(refused: CallRefused) -> ApiError {
        match refused {
            CallRefused::RequestId => ApiError::InvalidRequestId,
            CallRefused::State => ApiError::InvalidStateTransition,
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, kind, message) = match self {
            ApiError::InvalidRequestId => (StatusCode::BAD_REQUEST, "InvalidRequestID", "Invalid request ID"),
            ApiError::InvalidStateTransition => {
                (StatusCode::FORBIDDEN, "InvalidStateTransition", "Not allowed in the current state")
            }
            ApiError::TooLarge => {
                (StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", "Exceeded maximum allowed payload size")
            }
            ApiError::Gone => (StatusCode::GONE, "Gone", "This instance has ended"),
        };
        (status, axum::Json(json!({"errorMessage": message, "errorType": kind}))).into_response()
    }
}
