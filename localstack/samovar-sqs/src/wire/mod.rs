//! The AWS JSON 1.0 protocol, as the SDKs and the AWS CLI speak it.
//!
//! This directory owns the names and forms of parameters and results, and the checks of a request by itself; what depends on
//! the queues is in `state`. Invariant: whatever comes in, a response goes out; an error has the type, the query code in the
//! header `x-amzn-query-error` (by which SDKs recognise it) and a message that says what to do.

mod batch;
mod messages;
mod moves;
mod queues;
mod validate;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Sqs;
use super::error::Error;

/// What goes back over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// The content type; of an error, also its query code.
    pub headers: Vec<(&'static str, String)>,
    /// JSON.
    pub body: Vec<u8>,
}

pub(super) async fn call(sqs: &Sqs, operation: &str, body: &[u8]) -> Response {
    let content_type = ("content-type", "application/x-amz-json-1.0".to_owned());
    match dispatch(sqs, operation, body).await {
        Ok(body) => Response { status: 200, headers: vec![content_type], body },
        Err(error) => {
            let fault = if error.is_sender_fault() { "Sender" } else { "Receiver" };
            let query_error = ("x-amzn-query-error", format!("{};{fault}", error.code()));
            let body = serde_json::json!({ "__type": error.type_name(), "message": error.to_string() });
            Response {
                status: error.status(),
                headers: vec![content_type, query_error],
                body: body.to_string().into_bytes(),
            }
        }
    }
}

async fn dispatch(sqs: &Sqs, operation: &str, body: &[u8]) -> Result<Vec<u8>, Error> {
    match operation {
        "CreateQueue" => output(&queues::create(sqs, input(body)?).await?),
        "GetQueueUrl" => output(&queues::url(sqs, input(body)?)?),
        "ListQueues" => output(&queues::list(sqs, input(body)?)?),
        "GetQueueAttributes" => output(&queues::get_attributes(sqs, input(body)?)?),
        "SetQueueAttributes" => output(&queues::set_attributes(sqs, input(body)?).await?),
        "PurgeQueue" => output(&queues::purge(sqs, input(body)?).await?),
        "DeleteQueue" => output(&queues::delete(sqs, input(body)?).await?),
        "ListDeadLetterSourceQueues" => output(&queues::dead_letter_sources(sqs, input(body)?)?),
        "TagQueue" => output(&queues::tag(sqs, input(body)?).await?),
        "UntagQueue" => output(&queues::untag(sqs, input(body)?).await?),
        "ListQueueTags" => output(&queues::tags(sqs, input(body)?)?),
        "SendMessage" => output(&messages::send(sqs, input(body)?).await?),
        "SendMessageBatch" => output(&batch::send(sqs, input(body)?).await?),
        "ReceiveMessage" => output(&messages::receive(sqs, input(body)?).await?),
        "DeleteMessage" => output(&messages::delete(sqs, input(body)?).await?),
        "DeleteMessageBatch" => output(&batch::delete(sqs, input(body)?).await?),
        "ChangeMessageVisibility" => output(&messages::change_visibility(sqs, input(body)?).await?),
        "ChangeMessageVisibilityBatch" => output(&batch::change_visibility(sqs, input(body)?).await?),
        "StartMessageMoveTask" => output(&moves::start(sqs, input(body)?).await?),
        "ListMessageMoveTasks" => output(&moves::list(sqs, input(body)?)?),
        "CancelMessageMoveTask" => output(&moves::cancel(sqs, input(body)?).await?),
        // AddPermission and RemovePermission are missing on purpose: nothing here evaluates a queue policy.
        _ => Err(Error::UnknownOperation(operation.to_owned())),
    }
}

/// A result without members.
#[derive(Debug, Serialize)]
struct Nothing {}

fn input<T: DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    let body = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(body).map_err(|error| Error::Serialization(error.to_string()))
}

fn output(value: &impl Serialize) -> Result<Vec<u8>, Error> {
    Ok(serde_json::to_vec(value).expect("results are maps with string keys, which have a JSON form"))
}

fn required<T>(value: Option<T>, name: &'static str) -> Result<T, Error> {
    value.ok_or(Error::MissingParameter(name))
}

/// The queue that a URL names: its last segment, so that host, port and account may differ. A bare name does too, on AWS
/// as here.
fn queue_of(url: Option<String>) -> Result<String, Error> {
    let url = required(url, "QueueUrl")?;
    match url.trim_end_matches('/').rsplit_once('/') {
        Some((_, name)) => Ok(name.to_owned()),
        None => Ok(url),
    }
}
