#![doc = include_str!("../README.md")]
//!
//! # Inside
//!
//! `/_aws` takes the AWS JSON protocols of DynamoDB and SQS and dispatches on `X-Amz-Target`, in process; requests to `/{bucket}`
//! are S3's.
//!
//! Everything a function asks of a service passes `door::Door::enter`: here it is counted, here [`faults`] are injected, and
//! here permission checks belong. The engines are embedded, or other emulators' ([`remote`]), behind the same door.
#![warn(missing_docs)]

mod answer;
mod clock;
mod credentials;
mod door;
pub mod dynamodb;
pub mod faults;
mod ids;
pub mod meter;
pub mod queues;
pub mod remote;
pub mod s3;

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::routing::post;
use axum::serve::ListenerExt as _;
use http::{HeaderMap, HeaderValue, Response};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use answer::Answer;
pub use credentials::{SECRET_KEY, SESSION_TOKEN, access_key};

use door::Door;
use dynamodb::DynamoDb;
use faults::Faults;
use meter::Meter;
use queues::Queues;
use s3::S3;

/// Where functions find the services; below it, queue URLs.
pub const PATH: &str = "/_aws";

/// The services of one stack.
#[derive(Debug)]
pub struct Services {
    /// The tables.
    pub dynamodb: DynamoDb,
    /// The queues.
    pub queues: Queues,
    /// Nothing where another emulator's is used: functions go there directly, because signatures are over the address.
    pub s3: Option<Arc<S3>>,
    /// What has been counted at the door.
    pub meter: Arc<Meter>,
    /// What goes wrong at the door.
    pub faults: Arc<Faults>,
    door: Door,
}

impl Services {
    /// These, behind a door of their own: nothing counted yet, and no faults.
    pub fn new(dynamodb: DynamoDb, queues: Queues, s3: Option<S3>) -> Arc<Self> {
        let door = Door::default();
        let (meter, faults) = (Arc::clone(&door.meter), Arc::clone(&door.faults));
        Arc::new(Self { dynamodb, queues, s3: s3.map(Arc::new), meter, faults, door })
    }

    /// Serves only them until `stop`, then lets open requests finish.
    ///
    /// # Errors
    /// None as of now: what goes wrong with a connection is that connection's affair.
    pub async fn serve(self: &Arc<Self>, listener: TcpListener, stop: CancellationToken) -> std::io::Result<()> {
        let listener = listener.tap_io(|stream| {
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "TCP_NODELAY");
            }
        });
        axum::serve(listener, self.router()).with_graceful_shutdown(stop.cancelled_owned()).await
    }

    /// Their routes: [`PATH`], and the buckets.
    pub fn router(self: &Arc<Self>) -> Router {
        Router::new()
            .route(PATH, post(handle))
            .route(&format!("{PATH}/"), post(handle))
            .route(&format!("{PATH}/{{*path}}"), post(handle))
            // DynamoDB takes up to 16 MB (a batch), SQS 1 MB.
            .layer(axum::extract::DefaultBodyLimit::max(17 * 1024 * 1024))
            .with_state(Arc::clone(self))
            .merge(self.s3.as_ref().map_or_else(Router::new, |s3| s3.router(self.door.clone())))
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
        let passage = self.door.enter(caller, service, operation, &body).await;
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

async fn handle(State(services): State<Arc<Services>>, headers: HeaderMap, body: Bytes) -> Response<Body> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let caller = credentials::caller(text("authorization"));
    let Some(answer) = services.call(caller, text("x-amz-target"), body).await else { return answer::broken() };
    let mut response = Response::from(answer);
    let headers = response.headers_mut();
    headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.0"));
    if let Ok(id) = HeaderValue::from_str(&ids::request_id()) {
        headers.insert("x-amzn-requestid", id);
    }
    response
}
