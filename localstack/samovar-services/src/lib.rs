#![doc = include_str!("../README.md")]
//!
//! # Inside
//!
//! The path `/_aws` takes the AWS JSON protocols of DynamoDB and SQS, and dispatches on `X-Amz-Target` within the
//! process. It takes the Query protocol of SNS, too. Requests to `/{bucket}` go to S3.
//!
//! Every call of a function to a service passes the [`door`]. There it is checked whether the function may make the
//! call ([`permissions`]), calls are counted ([`meter`]), and [`faults`] are injected. An engine is embedded or another
//! emulator ([`remote`]), behind the same door.
#![warn(missing_docs)]

mod answer;
mod clock;
mod credentials;
mod disk;
pub mod door;
pub mod dynamodb;
pub mod event_queues;
pub mod eventbridge;
pub mod faults;
#[cfg(test)]
mod hostile;
mod idempotency;
mod ids;
pub mod latency;
pub mod meter;
mod needs;
pub mod permissions;
pub mod queues;
pub mod remote;
pub mod s3;
mod sns;
pub mod streams;
pub mod targets;

use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::routing::post;
use axum::serve::ListenerExt as _;
use http::{HeaderMap, HeaderValue, Response};
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use answer::{Answer, broken};
pub use credentials::{Caller, Credentials, OTHER, SECRET_KEY, SESSION_TOKEN, access_key};

use door::Door;
use dynamodb::{DynamoDb, EarlierReads, StaleReads};
use eventbridge::{EVENTS, EventBridge};
use faults::Faults;
use meter::Meter;
use permissions::{Account, Denied};
use queues::Queues;
use s3::S3;
use sns::Query;
use targets::Targets;

/// The path under which functions find the services. Queue URLs are below it.
pub const PATH: &str = "/_aws";

/// The streams' API in counts and faults.
const STREAMS: &str = "dynamodbstreams";

/// The services of one stack.
#[derive(Debug)]
pub struct Services {
    /// The tables.
    pub dynamodb: DynamoDb,
    /// The state that eventually consistent reads see. It is the present state, unless a test says otherwise.
    pub stale_reads: StaleReads,
    /// The queues.
    pub queues: Queues,
    /// The topics, once they are served.
    targets: OnceLock<Targets>,
    /// `None` if another emulator is used. Functions then call it directly, because signatures cover the address.
    pub s3: Option<Arc<S3>>,
    /// The counts of the calls at the door.
    pub meter: Arc<Meter>,
    /// The faults to inject at the door.
    pub faults: Arc<Faults>,
    eventbridge: OnceLock<Arc<EventBridge>>,
    door: Door,
    earlier_reads: EarlierReads,
}

impl Services {
    /// Puts these services behind a new door, without counts or faults.
    pub fn new(dynamodb: DynamoDb, queues: Queues, s3: Option<S3>) -> Arc<Self> {
        let door = Door::default();
        let (meter, faults) = (Arc::clone(&door.meter), Arc::clone(&door.faults));
        Arc::new(Self {
            dynamodb,
            stale_reads: StaleReads::default(),
            queues,
            targets: OnceLock::new(),
            s3: s3.map(Arc::new),
            meter,
            faults,
            eventbridge: OnceLock::new(),
            door,
            earlier_reads: EarlierReads::default(),
        })
    }

    /// From now on, `PutEvents` is served. It can't be changed afterwards.
    pub fn serve_events(&self, eventbridge: Arc<EventBridge>) {
        // A second one is ignored.
        let _ = self.eventbridge.set(eventbridge);
    }

    /// The buses and rules, if they are served.
    pub fn eventbridge(&self) -> Option<&EventBridge> {
        self.eventbridge.get().map(Arc::as_ref)
    }

    /// From now on, the topics of these targets are served. It can't be changed afterwards.
    pub fn serve_topics(&self, targets: Targets) {
        // Second targets are ignored.
        let _ = self.targets.set(targets);
    }

    /// The door of these services, for others that functions call.
    pub fn door(&self) -> &Door {
        &self.door
    }

    /// Serves only the services until `stop`, then lets open requests finish.
    ///
    /// # Errors
    /// None at present: a connection that fails does not affect the others.
    pub async fn serve(self: &Arc<Self>, listener: TcpListener, stop: CancellationToken) -> std::io::Result<()> {
        let listener = listener.tap_io(|stream| {
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "TCP_NODELAY");
            }
        });
        axum::serve(listener, self.before(self.router())).with_graceful_shutdown(stop.cancelled_owned()).await
    }

    /// The routes of the services: [`PATH`] and the buckets.
    pub fn router(self: &Arc<Self>) -> Router {
        Router::new()
            .route(PATH, post(handle))
            .route(&format!("{PATH}/"), post(handle))
            .route(&format!("{PATH}/{{*path}}"), post(handle))
            // DynamoDB takes up to 16 MB in a batch, SQS 1 MB.
            .layer(axum::extract::DefaultBodyLimit::max(17 * 1024 * 1024))
            .with_state(Arc::clone(self))
            .merge(self.s3.as_ref().map_or_else(Router::new, |s3| s3.router(self.door.clone())))
    }

    /// Takes the requests from `others` that are signed for S3, whatever their path is: the list of the buckets, and
    /// requests for a bucket that does not exist.
    pub fn before(&self, others: Router) -> Router {
        match &self.s3 {
            Some(s3) => s3.before(self.door.clone(), others),
            None => others,
        }
    }

    /// Makes one call to one service, named by its `X-Amz-Target`. `None` means that the connection breaks without an
    /// answer.
    pub async fn call(&self, caller: Caller, target: &str, body: Bytes) -> Option<Answer> {
        let (service, operation) = match target.split_once('.') {
            Some(("DynamoDB_20120810", operation)) if !streams::is_operation(operation) => ("dynamodb", operation),
            Some(("DynamoDBStreams_20120810", operation)) => (STREAMS, operation),
            Some(("AmazonSQS", operation)) => ("sqs", operation),
            Some(("AWSEvents", operation)) if self.eventbridge.get().is_some() => (EVENTS, operation),
            _ => {
                let message = format!(
                    "The local stack has no service for X-Amz-Target \"{target}\", \
                                       only DynamoDB and SQS"
                );
                return Some(Answer::error(400, "UnknownOperationException", &message));
            }
        };
        let queue = if service == "sqs" { queue_of(&body) } else { String::new() };
        let needed = |account: &Account| match service {
            "sqs" => needs::of_queue_call(operation, &queue, account),
            EVENTS => eventbridge::needs(operation, &body, account),
            STREAMS => streams::needs(operation, &body, account, self.dynamodb.stream_arns()),
            _ => needs::of_table_call(operation, &body, account),
        };
        if let Err(Denied(message)) = self.door.check(&caller.function, needed) {
            let status = if service == "sqs" { 403 } else { 400 };
            return Some(Answer::error(status, "com.amazon.coral.service#AccessDeniedException", &message));
        }
        let passage = self.door.enter(&caller, service, operation, &body).await;
        if passage.dropped() {
            return passage.heard(None).await;
        }
        let earlier = if passage.watched() { Some(&self.earlier_reads) } else { None };
        let old = earlier.filter(|_| passage.stale()).and_then(|earlier| earlier.answer(operation, &body));
        let answer = match old {
            Some(answer) => answer,
            None => self.execute(&caller, (service, &queue), operation, body.clone()).await,
        };
        if passage.repeated() {
            self.execute(&caller, (service, &queue), operation, body.clone()).await;
        }
        if let Some(earlier) = earlier {
            earlier.remember(operation, body, &answer);
        }
        passage.executed(&answer);
        passage.heard(Some(answer)).await
    }

    /// Makes one call of SNS. `None` means that the connection breaks without an answer.
    async fn call_topics(&self, caller: Caller, query: Query, body: Bytes) -> Option<Answer> {
        let Some(targets) = self.targets.get() else {
            return Some(sns::error(501, "NotImplementedException", "The local stack has no topics"));
        };
        let operation = query.get("Action").unwrap_or_default().to_owned();
        let needed = |_: &Account| needs::of_topic_call(&operation, sns::topic_of(&query));
        if let Err(Denied(message)) = self.door.check(&caller.function, needed) {
            return Some(sns::error(403, "AuthorizationError", &message));
        }
        let passage = self.door.enter(&caller, "sns", &operation, &body).await;
        if passage.dropped() {
            return passage.heard(None).await;
        }
        let answer = sns::call(targets, &operation, &query).await;
        if passage.repeated() {
            sns::call(targets, &operation, &query).await;
        }
        passage.executed(&answer);
        passage.heard(Some(answer)).await
    }

    /// `queue` is that of a call of SQS.
    async fn execute(&self, caller: &Caller, (service, queue): (&str, &str), operation: &str, body: Bytes) -> Answer {
        if service == "sqs" {
            self.meter.queue_request(queue, body.len());
            return self.queues.call(operation, body).await;
        }
        if let (EVENTS, Some(eventbridge)) = (service, self.eventbridge.get()) {
            return eventbridge.call(operation, &body).await;
        }
        if service == STREAMS {
            return self.dynamodb.streams_call(operation, body).await;
        }
        let (answer, used) = match self.stale_reads.answering(operation, &body) {
            Some(old) => old.metered(operation, body).await,
            None => self.dynamodb.metered(operation, body).await,
        };
        self.meter.use_capacity(&caller.function, used);
        answer
    }
}

/// Whether a request is one of SNS: a form with the version of its API.
fn is_of_topics(headers: &HeaderMap, query: &Query) -> bool {
    let kind = headers.get(http::header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.starts_with("application/x-www-form-urlencoded") && query.get("Version") == Some("2010-03-31")
}

/// The queue of a request, by its URL or name. Empty if the request names none.
fn queue_of(body: &[u8]) -> String {
    #[derive(Deserialize, Default)]
    #[serde(rename_all = "PascalCase", default)]
    struct Named {
        queue_url: String,
        queue_name: String,
    }
    let named: Named = serde_json::from_slice(body).unwrap_or_default();
    if named.queue_url.is_empty() { named.queue_name } else { named.queue_url }
}

async fn handle(State(services): State<Arc<Services>>, headers: HeaderMap, body: Bytes) -> Response<Body> {
    let target = headers.get("x-amz-target").and_then(|value| value.to_str().ok()).unwrap_or_default();
    if target.is_empty() {
        let query = Query::read(&body);
        if is_of_topics(&headers, &query) {
            let answer = services.call_topics(Caller::of(&headers), query, body).await;
            return answer.map_or_else(answer::broken, Response::from);
        }
    }
    let Some(answer) = services.call(Caller::of(&headers), target, body).await else { return answer::broken() };
    let mut response = Response::from(answer);
    let headers = response.headers_mut();
    headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.0"));
    if let Ok(id) = HeaderValue::from_str(&ids::request_id()) {
        headers.insert("x-amzn-requestid", id);
    }
    response
}
