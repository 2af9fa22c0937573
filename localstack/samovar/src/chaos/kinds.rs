//! The kinds of faults, the calls that each can hit, and the answers that callers then get.

use bytes::Bytes;
use http::StatusCode;
use samovar_services::Answer;
use samovar_services::eventbridge::EVENTS;
use samovar_services::faults::{self, Call};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::lambda_api::LAMBDA;

/// The service name of `@connections`.
pub(crate) const CONNECTIONS: &str = "connections";
/// The service name of events that are not calls: the end of a connection, the end of a batch.
pub(crate) const GATEWAY: &str = "gateway";
/// The operation of [`GATEWAY`] that ends a connection.
pub(crate) const DISCONNECT: &str = "$disconnect";
/// The operation of [`GATEWAY`] that ends a batch.
pub(crate) const DELETE_BATCH: &str = "DeleteBatch";

/// A fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// SIGKILL of the calling process before the service executes the call.
    KillBefore,
    /// SIGKILL of the calling process after the service has executed the call.
    KillAfter,
    /// The service executes the call, and the connection breaks before the answer.
    Lost,
    /// The connection breaks before the service executes the call.
    Dropped,
    /// The service fails with a server error.
    Refused,
    /// The service throttles the call.
    Throttled,
    /// DynamoDB refuses a write because of another transaction on the same item.
    Conflict,
    /// The service neither executes nor answers the call.
    Hung,
    /// The service executes the call and does not answer it.
    HungAfter,
    /// The call takes longer.
    Delayed,
    /// The service executes the call twice.
    Repeated,
    /// An eventually consistent read gets its earlier answer.
    Stale,
    /// `@connections` says that the connection is gone.
    Gone,
    /// `$disconnect` is not invoked, as AWS may do at any time.
    NoDisconnect,
    /// A batch that has succeeded is delivered again.
    Redelivered,
}

impl Kind {
    /// Whether this fault can hit the call.
    pub(super) fn can_hit(self, call: &Call) -> bool {
        Self::that_hit(call).iter().any(|(kind, _)| *kind == self)
    }

    /// The kinds that can hit a call, each with its share.
    pub(super) fn that_hit(call: &Call) -> Vec<(Kind, u32)> {
        use Kind::*;
        match (call.service, call.operation.as_str()) {
            (GATEWAY, DISCONNECT) => vec![(NoDisconnect, 1)],
            (GATEWAY, DELETE_BATCH) => vec![(Redelivered, 1)],
            (GATEWAY, _) => Vec::new(),
            (service, operation) => {
                // A call that hangs costs its time-out, so there are fewer of these.
                let mut kinds = vec![(Lost, 2), (Dropped, 2), (Refused, 2), (Throttled, 2), (Delayed, 3)];
                kinds.extend([(Hung, 1), (HungAfter, 1)]);
                if call.instance.is_some() {
                    kinds.extend([(KillBefore, 3), (KillAfter, 3)]);
                }
                match service {
                    "dynamodb" if matches!(operation, "GetItem" | "Query" | "Scan" | "BatchGetItem") => {
                        kinds.extend((!is_consistent(&call.body)).then_some((Stale, 4)));
                    }
                    "dynamodb" => kinds.extend([(Conflict, 3), (Repeated, 2)]),
                    "sqs" => kinds.push((Repeated, 2)),
                    CONNECTIONS => kinds.push((Gone, 2)),
                    _ => {}
                }
                kinds
            }
        }
    }
}

fn is_consistent(body: &[u8]) -> bool {
    let request: Value = serde_json::from_slice(body).unwrap_or_default();
    let tables = request["RequestItems"].as_object();
    match tables {
        Some(tables) => tables.values().any(|table| table["ConsistentRead"] == true),
        None => request["ConsistentRead"] == true,
    }
}

/// The answer of a server error in the call's service.
pub(super) fn refused(call: &Call) -> Answer {
    match call.service {
        "dynamodb" | "dynamodbstreams" => faults::internal_server_error(),
        EVENTS => Answer::error(500, "InternalException", "An internal error occurred"),
        "sqs" => Answer::error(503, "com.amazonaws.sqs#ServiceUnavailable", "The service is unavailable"),
        "s3" => s3_error(500, "InternalError", "We encountered an internal error. Please try again."),
        LAMBDA => lambda_error(500, "ServiceException", "Internal error"),
        _ => connections_error(StatusCode::INTERNAL_SERVER_ERROR, "InternalServerErrorException", "Internal error"),
    }
}

/// The answer of the call's service when it throttles.
pub(super) fn throttled(call: &Call) -> Answer {
    match call.service {
        "dynamodb" => faults::throughput_exceeded(),
        "s3" => s3_error(503, "SlowDown", "Please reduce your request rate."),
        LAMBDA => lambda_error(429, "TooManyRequestsException", "Rate Exceeded."),
        CONNECTIONS => connections_error(StatusCode::TOO_MANY_REQUESTS, "ThrottlingException", "Rate exceeded"),
        _ => faults::throttled(),
    }
}

/// The answer of DynamoDB when another transaction has the item, or one of the items.
pub(super) fn conflict(call: &Call) -> Answer {
    if call.operation != "TransactWriteItems" {
        return faults::transaction_conflict();
    }
    let request: Value = serde_json::from_slice(&call.body).unwrap_or_default();
    let items = request["TransactItems"].as_array().map_or(1, Vec::len);
    let mut codes = vec!["None"; items];
    if let Some(last) = codes.last_mut() {
        *last = "TransactionConflict";
    }
    faults::transaction_cancelled(&codes)
}

/// The answer of `@connections` when the connection is gone.
pub(super) fn gone() -> Answer {
    connections_error(StatusCode::GONE, "GoneException", "The connection is gone")
}

fn lambda_error(status: u16, kind: &str, message: &str) -> Answer {
    let headers = vec![("x-amzn-errortype", kind.to_owned()), ("content-type", "application/json".to_owned())];
    Answer { status, headers, body: json!({ "message": message }).to_string().into_bytes() }
}

fn connections_error(status: StatusCode, kind: &str, message: &str) -> Answer {
    let headers = vec![("x-amzn-errortype", kind.to_owned()), ("content-type", "application/json".to_owned())];
    Answer { status: status.as_u16(), headers, body: json!({ "message": message }).to_string().into_bytes() }
}

fn s3_error(status: u16, code: &str, message: &str) -> Answer {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    );
    Answer { status, headers: vec![("content-type", "application/xml".to_owned())], body: Bytes::from(body).to_vec() }
}
