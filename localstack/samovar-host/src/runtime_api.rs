//! The Lambda Runtime API over HTTP, and the part of the Extensions API that the runtime itself uses.
//!
//! Runtimes read `AWS_LAMBDA_RUNTIME_API` as `HOST:PORT` and nothing else, and no header says which process calls. So
//! every instance has a listener of its own, and the address alone tells who calls. A listener serves one instance, and
//! is closed, with all its connections, when the process has been reaped.
//!
//! On Linux the address is a random one of 127.0.0.0/8, at a free port. So an address is not used again within reach of
//! any program that knew it, such as a subprocess that outlives its function, and neither another function nor a web
//! page in the developer's browser can find it. Elsewhere only 127.0.0.1 can be listened on, and only the port differs;
//! then a page could try all ports. Requests that a browser has marked as those of a page are refused everywhere.
//!
//! A listener costs one file descriptor for each process, and half a millisecond of a cold start in a debug build. Warm
//! processes are as fast as with one listener for all: no path has to be parsed, and no instance to be looked up.
//!
//! This module only translates; the `instance` decides which call is allowed when.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, Request, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tower_service::Service;

use super::clock;
use super::error::MAX_RESPONSE_BYTES;
use super::exchange::{CallRefused, Event, RuntimeAnswer};
use super::function::Function;
use super::pool::Handle;

/// A new listener for one instance, and its `HOST:PORT`.
pub(super) async fn bind() -> io::Result<(TcpListener, String)> {
    let listener = TcpListener::bind(SocketAddrV4::new(loopback_address(), 0)).await?;
    let address = listener.local_addr()?.to_string();
    Ok((listener, address))
}

fn loopback_address() -> Ipv4Addr {
    if !cfg!(target_os = "linux") {
        return Ipv4Addr::LOCALHOST;
    }
    let [a, b, c, ..] = *clock::new_id().as_bytes();
    // Neither the network's own address nor its broadcast address.
    Ipv4Addr::new(127, a, b, c.clamp(1, 254))
}

/// Serves the calls of one instance. It never ends; dropping it closes the listener and all connections.
pub(super) async fn serve(listener: TcpListener, router: Router, function: Arc<Function>, instance: Handle) {
    let caller = Caller { function, instance };
    let mut connections = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(connections.spawn(serve_connection(stream, router.clone(), caller.clone()))),
            Err(error) => {
                // Most likely the host has no free file descriptor, and others will be closed.
                tracing::warn!("functions: a connection could not be accepted: {error}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn serve_connection(stream: TcpStream, router: Router, caller: Caller) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!("functions: TCP_NODELAY: {error}");
    }
    let service = service_fn(move |mut request: Request<Incoming>| {
        let (mut router, of_page) = (router.clone(), is_of_a_page(request.headers()));
        request.extensions_mut().insert(caller.clone());
        async move {
            match of_page {
                true => Ok(ApiError::OfAPage.into_response()),
                false => router.call(request.map(Body::new)).await,
            }
        }
    });
    let served = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    if let Err(error) = served {
        tracing::debug!("functions: a connection of the Runtime API ended: {error}");
    }
}

/// Browsers send these headers with the requests of pages, and no runtime does.
fn is_of_a_page(headers: &HeaderMap) -> bool {
    headers.contains_key("origin") || headers.contains_key("sec-fetch-site")
}

/// The routes for all instances. It is made once, because that takes longer than to start a process.
pub(super) fn router() -> Router {
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
    Router::new().nest("/2018-06-01/runtime", runtime).nest("/2020-01-01/extension", extension)
}

/// The instance whose listener a request came to.
#[derive(Debug, Clone)]
struct Caller {
    function: Arc<Function>,
    instance: Handle,
}

async fn next(Extension(caller): Extension<Caller>) -> Result<Response, ApiError> {
    let event: Event = caller.instance.next().await?;
    let mut response = event.payload.into_response();
    if let Some(context) = event.client_context.and_then(|context| HeaderValue::from_bytes(context.as_bytes()).ok()) {
        response.headers_mut().insert("lambda-runtime-client-context", context);
    }
    let headers = [
        ("content-type", "application/json".to_owned()),
        ("lambda-runtime-aws-request-id", event.request_id),
        ("lambda-runtime-deadline-ms", event.deadline_epoch_ms.to_string()),
        ("lambda-runtime-invoked-function-arn", caller.function.spec.arn.clone()),
        ("lambda-runtime-trace-id", event.trace_id),
    ];
    Ok((headers, response).into_response())
}

async fn response(
    Extension(caller): Extension<Caller>,
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
    Extension(caller): Extension<Caller>,
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
    Extension(caller): Extension<Caller>,
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
async fn register(Extension(caller): Extension<Caller>, headers: HeaderMap, body: Bytes) -> Response {
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
    let spec = &caller.function.spec;
    let body = json!({"functionName": spec.function_name, "functionVersion": "$LATEST", "handler": spec.handler});
    ([("lambda-extension-identifier", id)], axum::Json(body)).into_response()
}

async fn next_extension_event() -> Response {
    // It ends when the process closes the connection.
    std::future::pending().await
}

async fn extension_error() -> (StatusCode, axum::Json<Value>) {
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
    OfAPage,
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
            ApiError::OfAPage => {
                (StatusCode::FORBIDDEN, "Forbidden", "The Runtime API is for the function's process, not for web pages")
            }
            ApiError::Gone => (StatusCode::GONE, "Gone", "This instance has ended"),
        };
        (status, axum::Json(json!({"errorMessage": message, "errorType": kind}))).into_response()
    }
}
