//! The AWS services that functions call, behind one door: `/_aws` takes the AWS JSON protocols of DynamoDB and SQS and
//! dispatches on `X-Amz-Target`, in process; requests to `/{bucket}` are S3's.
//!
//! Everything a function asks of a service passes `Services::enter`: here it is counted, here [`faults`] are injected, and
//! here permission checks belong. The engines are embedded, or other emulators' (`--dynamodb-endpoint-url` and the like), behind
//! the same door.

pub mod dynamodb;
pub mod faults;
pub mod meter;
pub mod queues;
pub mod remote;

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::routing::post;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use serde_json::json;

use crate::ids::gateway_id;
use crate::s3::S3;
use dynamodb::DynamoDb;
use faults::{Call, Fault, Faults, Heard, Hook};
use meter::Meter;
use queues::Queues;

/// Where functions find the services; below it, queue URLs.
pub const PATH: &str = "/_aws";

/// The access key that a function is given: it names the function, so that calls can be told apart.
pub fn access_key(function: &str) -> String {
    format!("LOCAL-{function}")
}

/// The rest of every function's credentials.
pub const SECRET_KEY: &str = "local";
pub const SESSION_TOKEN: &str = "local";

#[derive(Debug)]
pub struct Services {
    pub dynamodb: DynamoDb,
    pub queues: Queues,
    /// Nothing where another emulator's is used: functions go there directly, because signatures are over the address.
    pub s3: Option<S3>,
    pub meter: Meter,
    pub faults: Faults,
}

/// What a service answers.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
}

impl Services {
    pub fn router(self: &Arc<Self>) -> Router {
        Router::new()
            .route(PATH, post(handle))
            .route(&format!("{PATH}/"), post(handle))
            .route(&format!("{PATH}/{{*path}}"), post(handle))
            // DynamoDB takes up to 16 MB (a batch), SQS 1 MB.
            .layer(axum::extract::DefaultBodyLimit::max(17 * 1024 * 1024))
            .with_state(Arc::clone(self))
            .merge(self.s3.as_ref().map_or_else(Router::new, |s3| s3.router(Arc::clone(self))))
    }

    /// Where every call of a service begins: it is counted, unless a fault keeps it from the service.
    pub(crate) async fn enter(&self, caller: &str, service: &'static str, operation: &str, body: &Bytes) -> Passage {
        let hook = self.faults.hook();
        let fault = match &hook {
            Some(hook) => {
                let (caller, operation, body) = (caller.to_owned(), operation.to_owned(), body.clone());
                hook.decide(Call { caller, service, operation, body }).await
            }
            None => Fault::none(),
        };
        if !fault.dropped {
            self.meter.count(caller, service, operation);
        }
        Passage { caller: caller.to_owned(), hook, fault }
    }

    /// One call of one service by one caller. `None`: the connection is to break without an answer.
    async fn call(&self, caller: &str, target: &str, body: Bytes) -> Option<Answer> {
        let (service, operation) = match target.split_once('.') {
            Some(("DynamoDB_20120810", operation)) => ("dynamodb", operation),
            Some(("AmazonSQS", operation)) => ("sqs", operation),
            _ => {
                let message = format!("There is no service for X-Amz-Target \"{target}\" here: only DynamoDB and SQS");
                return Some(Answer::error(400, "UnknownOperationException", &message));
            }
        };
        let passage = self.enter(caller, service, operation, &body).await;
        let answer = if passage.dropped() { None } else { Some(self.execute(service, operation, body).await) };
        if let Some(answer) = &answer {
            passage.executed(answer);
        }
        passage.heard(answer).await
    }

    async fn execute(&self, service: &str, operation: &str, body: Bytes) -> Answer {
        match service {
            "sqs" => self.queues.call(operation, body).await,
            _ => self.dynamodb.call(operation, body).await,
        }
    }
}

/// A call on its way through the door.
#[derive(Debug)]
pub(crate) struct Passage {
    caller: String,
    hook: Option<Arc<dyn Hook>>,
    fault: Fault,
}

impl Passage {
    /// Whether the service must not execute the call.
    pub(crate) fn dropped(&self) -> bool {
        self.fault.dropped
    }

    /// To be said of a call that the service has executed.
    pub(crate) fn executed(&self, answer: &Answer) {
        if let Some(hook) = &self.hook {
            hook.executed(&self.caller, answer);
        }
    }

    /// What the caller hears of it. `None`: the connection is to break without an answer.
    pub(crate) async fn heard<Response: From<Answer>>(self, answer: Option<Response>) -> Option<Response> {
        match (self.fault.heard, answer) {
            (Heard::TheAnswer, Some(answer)) => Some(answer),
            (Heard::Instead(answer), _) => Some(answer.into()),
            (Heard::Break, _) => None,
            (Heard::TheAnswer, None) | (Heard::Nothing, _) => std::future::pending().await,
        }
    }
}

impl Answer {
    pub fn error(status: u16, kind: &str, message: &str) -> Self {
        let body = json!({ "__type": kind, "message": message }).to_string().into_bytes();
        Self { status, headers: Vec::new(), body }
    }
}

async fn handle(State(services): State<Arc<Services>>, headers: HeaderMap, body: Bytes) -> Response<Body> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let caller = caller(text("authorization"));
    let Some(answer) = services.call(caller, text("x-amz-target"), body).await else { return broken() };
    let mut response = Response::from(answer);
    let headers = response.headers_mut();
    headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.0"));
    if let Ok(id) = HeaderValue::from_str(&gateway_id()) {
        headers.insert("x-amzn-requestid", id);
    }
    response
}

impl From<Answer> for Response<Body> {
    fn from(answer: Answer) -> Self {
        let mut response = Response::new(Body::from(answer.body));
        *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        for (name, value) in answer.headers {
            if let Ok(value) = HeaderValue::from_str(&value) {
                response.headers_mut().insert(HeaderName::from_static(name), value);
            }
        }
        response
    }
}

/// A response that can't be finished, so that the connection breaks.
pub(crate) fn broken() -> Response<Body> {
    let error = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
    Response::new(Body::from_stream(futures_util::stream::once(async { Err::<Bytes, _>(error) })))
}

/// The function that signed a request; nobody in particular where it was somebody else.
fn caller(authorization: &str) -> &str {
    let credential = authorization.split_once("Credential=").map_or("", |(_, rest)| rest);
    function_of(credential.split('/').next().unwrap_or_default())
}

/// The function that an access key is of.
pub(crate) fn function_of(access_key: &str) -> &str {
    access_key.strip_prefix("LOCAL-").unwrap_or("other")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_its_functions_by_the_access_key() {
        let key = access_key("send_message");
        let authorization =
            format!("AWS4-HMAC-SHA256 Credential={key}/20260101/us-east-1/sqs/aws4_request, Signature=0");
        assert_eq!(caller(&authorization), "send_message");
        assert_eq!(caller("AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/sqs/aws4_request"), "other");
        assert_eq!(caller(""), "other");
    }
}
