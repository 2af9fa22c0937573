//! Invokes functions, either in the built-in host or at an invoke endpoint such as `cargo lambda watch`.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use reqwest::redirect::Policy;
use serde_json::Value;
use tokio_util::task::TaskTracker;

use samovar_host::{self as host, Ended, Host, Request};

/// The reasons why an invocation has no usable result, as the APIs need to distinguish them.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IntegrationError {
    /// The `errorMessage` that the function reported.
    #[error("{function} failed: {message}")]
    FunctionError { function: String, message: String },
    #[error("{0}")]
    Throttled(String),
    #[error("The integration timed out after {} s", after.as_secs())]
    IntegrationTimeout { after: Duration },
    #[error("The function's response is not JSON")]
    MalformedResponse,
    /// What was sent or answered does not fit what an API's integration takes.
    #[error("{0}")]
    Mapping(String),
    /// An integration takes nothing that it has no template for.
    #[error("There is no request template for this request, and PassthroughBehavior lets nothing else through")]
    NoTemplate,
    /// The function crashed, timed out, did not start, or could not be reached.
    #[error("{0}")]
    Host(String),
}

/// Invokes a function for an API, for at most the integration's time. A function that takes longer goes on as one of
/// the API's tasks, without effect.
pub(crate) async fn within(
    after: Duration,
    invoker: &Arc<dyn Invoker>,
    tasks: &TaskTracker,
    function: &str,
    payload: Bytes,
) -> Result<Bytes, IntegrationError> {
    let (invoker, function) = (Arc::clone(invoker), function.to_owned());
    let running = tasks.spawn(async move { invoker.invoke(&function, payload).await });
    match tokio::time::timeout(after, running).await {
        Ok(Ok(answered)) => answered,
        Ok(Err(failed)) => Err(IntegrationError::Host(failed.to_string())),
        Err(_) => Err(IntegrationError::IntegrationTimeout { after }),
    }
}

pub(crate) trait Invoker: Send + Sync + fmt::Debug {
    fn invoke<'a>(&'a self, function: &'a str, payload: Bytes) -> BoxFuture<'a, Result<Bytes, IntegrationError>> {
        Box::pin(async move {
            let ended = self.call(function, Request { payload, ..Request::default() }).await?;
            ended.result.map_err(|error| match error {
                host::InvokeError::FunctionError { payload } => function_error(function, &payload),
                other => IntegrationError::Host(format!("{function}: {other}")),
            })
        })
    }

    /// The same, with all that a caller of Lambda can ask for and is told. An invocation that was not begun is an error
    /// of the call. A function's own error is in [`Ended::result`].
    fn call<'a>(&'a self, function: &'a str, request: Request) -> BoxFuture<'a, Result<Ended, IntegrationError>>;
}

impl Invoker for Host {
    fn call<'a>(&'a self, function: &'a str, request: Request) -> BoxFuture<'a, Result<Ended, IntegrationError>> {
        Box::pin(async move {
            Host::call(self, function, request).await.map_err(|error| match error {
                throttled @ host::InvokeError::Throttled { .. } => IntegrationError::Throttled(throttled.to_string()),
                other => IntegrationError::Host(format!("{function}: {other}")),
            })
        })
    }
}

/// An endpoint that speaks Lambda's Invoke API.
#[derive(Debug, Clone)]
pub(crate) struct InvokeEndpoint {
    http: reqwest::Client,
    url: String,
}

impl InvokeEndpoint {
    pub(crate) fn new(url: &str) -> Self {
        // Events contain tokens, so no redirect is followed.
        let http = reqwest::Client::builder().redirect(Policy::none()).build().expect("a client without settings");
        Self { http, url: url.trim_end_matches('/').to_owned() }
    }
}

impl Invoker for InvokeEndpoint {
    fn call<'a>(&'a self, function: &'a str, request: Request) -> BoxFuture<'a, Result<Ended, IntegrationError>> {
        let payload = request.payload;
        Box::pin(async move {
            let failed = |error: reqwest::Error| {
                IntegrationError::Host(format!("{function} cannot be invoked at {}: {error}", self.url))
            };
            let url = format!("{}/2015-03-31/functions/{function}/invocations", self.url);
            let response = self.http.post(url).body(payload).send().await.map_err(failed)?;
            let (status, headers) = (response.status(), response.headers().clone());
            let body = response.bytes().await.map_err(failed)?;
            match status.as_u16() {
                429 => Err(IntegrationError::Throttled(format!("{function} is throttled"))),
                // AWS answers a function's error with 200 and a header, `cargo lambda watch` with 500 and no header.
                200..=299 if !headers.contains_key("x-amz-function-error") => Ok(Ended { result: Ok(body), log: None }),
                200..=299 | 500 => {
                    Ok(Ended { result: Err(host::InvokeError::FunctionError { payload: body }), log: None })
                }
                _ => Err(IntegrationError::Host(format!("{function}: {status}: {}", String::from_utf8_lossy(&body)))),
            }
        })
    }
}

fn function_error(function: &str, payload: &[u8]) -> IntegrationError {
    let reported: Option<Value> = serde_json::from_slice(payload).ok();
    let message = reported.as_ref().and_then(|error| error.get("errorMessage")).and_then(Value::as_str);
    let message = message.map_or_else(|| String::from_utf8_lossy(payload).into_owned(), str::to_owned);
    IntegrationError::FunctionError { function: function.to_owned(), message }
}
