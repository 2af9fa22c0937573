//! The AWS services that functions call, behind one door: `/_aws` takes the AWS JSON protocols of DynamoDB and SQS and
//! dispatches on `X-Amz-Target`, in process.
//!
//! Everything a function asks of a service passes `Services::call`: here it is counted, here [`faults`] are injected, and
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
use dynamodb::DynamoDb;
use faults::{Call, Fault, Faults, Heard};
use meter::Meter;
use queues::Queues;

/// Where functions find the services; below it, queue URLs.
pub const PATH: &str = "/_aws";

/// The access key that a function is given: it names the function, so that calls can be told apart.
pub fn access_key(function: &str) -> String {
    format!("LOCAL-{function}")
}

#[derive(Debug)]
pub struct Services {
    pub dynamodb: DynamoDb,
    pub queues: Queues,
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
        let Some(hook) = self.faults.hook() else {
            return Some(self.execute(caller, service, operation, body).await);
        };
        let call = Call { caller: caller.to_owned(), service, operation: operation.to_owned(), body: body.clone() };
        let Fault { dropped, heard } = hook.decide(call).await;
        let answer = if dropped { None } else { Some(self.execute(caller, service, operation, body).await) };
        if let Some(answer) = &answer {
            hook.executed(caller, answer);
        }
        match (heard, answer) {
            (Heard::TheAnswer, Some(answer)) | (Heard::Instead(answer), _) => Some(answer),
            (Heard::Break, _) => None,
            (Heard::TheAnswer, None) | (Heard::Nothing, _) => std::future::pending().await,
        }
    }

    async fn execute(&self, caller: &str, service: &'static str, operation: &str, body: Bytes) -> Answer {
        self.meter.count(caller, service, operation);
        match service {
            "sqs" => self.queues.call(operation, body).await,
            _ => self.dynamodb.call(operation, body).await,
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
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.0"));
    for (name, value) in answer.headers.into_iter().chain([("x-amzn-requestid", gateway_id())]) {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    response
}

/// A response that can't be finished, so that the connection breaks.
fn broken() -> Response<Body> {
    let error = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
    Response::new(Body::from_stream(futures_util::stream::once(async { Err::<Bytes, _>(error) })))
}

/// The function that signed a request; nobody in particular where it was somebody else.
fn caller(authorization: &str) -> &str {
    let credential = authorization.split_once("Credential=").map_or("", |(_, rest)| rest);
    let access_key = credential.split('/').next().unwrap_or_default();
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
