//! What a destination or a dead-letter queue gets of an event, by "Capturing records of Lambda asynchronous
//! invocations" in Lambda's developer guide.

use bytes::Bytes;
use jiff::Timestamp;
use samovar_host::InvokeError;
use samovar_services::event_queues::Event;
use samovar_services::targets::Message;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::clock::now_ms;
use crate::lambda_api::report;

/// The most bytes of a message's attribute `ErrorMessage`.
const MAX_ERROR_BYTES: usize = 1024;

/// The reason why an event is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Condition {
    RetriesExhausted,
    EventAgeExceeded,
}

pub(super) fn success(arn: &str, event: &Event, answer: &Bytes) -> Message {
    let mut record = record(arn, event, "Success", event.errors + 1);
    record["responseContext"] = json!({ "statusCode": 200, "executedVersion": "$LATEST" });
    record["responsePayload"] = parsed(answer);
    Message::of(record.to_string())
}

/// `failure` is the function's last error, if it has been invoked.
pub(super) fn failure(arn: &str, event: &Event, condition: Condition, failure: Option<&InvokeError>) -> Message {
    let name = match condition {
        Condition::RetriesExhausted => "RetriesExhausted",
        Condition::EventAgeExceeded => "EventAgeExceeded",
    };
    let mut record = record(arn, event, name, event.errors);
    if let Some(error) = failure {
        record["responseContext"] =
            json!({ "statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled" });
        record["responsePayload"] = parsed(&report(error, &event.request_id));
    }
    Message::of(record.to_string())
}

/// The event itself, with what has happened in attributes.
pub(super) fn dead_letter(event: &Event, failure: Option<&InvokeError>) -> Message {
    // The status of the invocation: also a function that fails has been invoked.
    let status = if failure.is_some() { "200" } else { "429" };
    let report = failure.map(|error| report(error, &event.request_id));
    let text = report.as_ref().and_then(|report| parsed(report)["errorMessage"].as_str().map(str::to_owned));
    let mut text = text.unwrap_or_else(|| "The function could not be invoked".to_owned());
    text.truncate(text.floor_char_boundary(MAX_ERROR_BYTES));
    let message = Message::of(event.payload.get().to_owned()).with("RequestID", "String", &event.request_id);
    let message = message.with("ErrorCode", "Number", status);
    // SQS takes no empty value.
    if text.is_empty() { message } else { message.with("ErrorMessage", "String", &text) }
}

fn record(arn: &str, event: &Event, condition: &str, invoke_count: u32) -> Value {
    let now = Timestamp::from_millisecond(now_ms()).unwrap_or_default();
    json!({
        "version": "1.0",
        "timestamp": format!("{now:.3}"),
        "requestContext": {
            "requestId": event.request_id,
            "functionArn": format!("{arn}:$LATEST"),
            "condition": condition,
            "approximateInvokeCount": invoke_count,
        },
        "requestPayload": whole(&event.payload),
    })
}

fn whole(payload: &RawValue) -> Value {
    serde_json::from_str(payload.get()).unwrap_or_default()
}

/// A payload as JSON. What is none is a text.
fn parsed(payload: &Bytes) -> Value {
    serde_json::from_slice(payload).unwrap_or_else(|_| String::from_utf8_lossy(payload).into())
}
