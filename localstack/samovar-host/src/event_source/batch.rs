//! Turns messages into a function's event, and the function's report into the list of failed messages.
//!
//! Invariant: an event never exceeds Lambda's payload limit unless a single message does. An event that cannot be
//! delivered would come back for ever.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{EventSource, Message, MessageAttribute};

/// Lambda's limit on the payload of an invocation.
pub(super) const MAX_EVENT_BYTES: usize = 6 * 1024 * 1024;

/// One invocation's payload, and the messages to settle afterwards.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) payload: Bytes,
    /// Message id and receipt handle of each message.
    pub(super) messages: Vec<(String, String)>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Record<'a> {
    message_id: &'a str,
    receipt_handle: &'a str,
    body: &'a str,
    attributes: &'a BTreeMap<String, String>,
    message_attributes: BTreeMap<&'a str, Attribute<'a>>,
    md5_of_body: &'a str,
    event_source: &'a str,
    #[serde(rename = "eventSourceARN")]
    event_source_arn: &'a str,
    aws_region: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Attribute<'a> {
    #[serde(flatten)]
    attribute: &'a MessageAttribute,
    // SQS always sends these two, and they are always empty: it does not have lists yet.
    string_list_values: [(); 0],
    binary_list_values: [(); 0],
}

impl Event {
    /// Events with the messages in their order. There is one event unless the messages are too large for one.
    pub(super) fn of(messages: Vec<Message>, source: &EventSource) -> Vec<Event> {
        const AROUND: usize = r#"{"Records":[]}"#.len();
        let mut events = Vec::new();
        let (mut records, mut bytes, mut ids) = (Vec::new(), AROUND, Vec::new());
        for message in messages {
            let record = record(&message, source);
            if !ids.is_empty() && bytes + record.len() + 1 > MAX_EVENT_BYTES {
                events.push(Event::new(&std::mem::take(&mut records), std::mem::take(&mut ids)));
                bytes = AROUND;
            }
            bytes += record.len() + 1;
            records.push(record);
            ids.push((message.message_id, message.receipt_handle));
        }
        if !ids.is_empty() {
            events.push(Event::new(&records, ids));
        }
        events
    }

    fn new(records: &[String], messages: Vec<(String, String)>) -> Event {
        Event { payload: format!(r#"{{"Records":[{}]}}"#, records.join(",")).into(), messages }
    }
}

/// A message in the form of the function's event.
pub(super) fn record(message: &Message, source: &EventSource) -> String {
    let message_attributes = message
        .message_attributes
        .iter()
        .map(|(name, attribute)| (&**name, Attribute { attribute, string_list_values: [], binary_list_values: [] }))
        .collect();
    let record = Record {
        message_id: &message.message_id,
        receipt_handle: &message.receipt_handle,
        body: &message.body,
        attributes: &message.attributes,
        message_attributes,
        md5_of_body: &message.md5_of_body,
        event_source: "aws:sqs",
        event_source_arn: &source.queue_arn,
        aws_region: &source.region,
    };
    serde_json::to_string(&record).expect("strings and maps of strings are JSON")
}

/// Whether more messages would no longer fit into the same event.
pub(super) fn is_full(messages: &[Message]) -> bool {
    // A rough estimate on the safe side: the rest of a record is small, and escaping rarely doubles a body.
    messages.iter().map(|message| message.body.len()).sum::<usize>() > MAX_EVENT_BYTES / 2
}

/// Splits messages into batches of `size`, in order.
pub(super) fn split(messages: Vec<Message>, size: usize) -> Vec<Vec<Message>> {
    let mut messages = messages.into_iter();
    std::iter::from_fn(|| Some(messages.by_ref().take(size).collect::<Vec<_>>()).filter(|batch| !batch.is_empty()))
        .collect()
}

/// The ids that a function reports as failed, by Lambda's rules. No report, `null` and an empty list mean that all
/// messages succeeded. A report that cannot be understood, or that names a message outside the batch, means that all
/// failed.
pub(super) fn reported_failures(response: &[u8], messages: &[(String, String)]) -> Result<Vec<String>, String> {
    #[derive(Deserialize, Default)]
    #[serde(rename_all = "camelCase")]
    struct Report {
        batch_item_failures: Option<Vec<Failure>>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Failure {
        item_identifier: String,
    }
    if response.is_empty() {
        return Ok(Vec::new());
    }
    let report: Option<Report> = serde_json::from_slice(response)
        .map_err(|error| format!("its response is not a report of batchItemFailures ({error})"))?;
    let failures = report.and_then(|report| report.batch_item_failures).unwrap_or_default();
    let failed: Vec<_> = failures.into_iter().map(|failure| failure.item_identifier).collect();
    match failed.iter().find(|id| !messages.iter().any(|(known, _)| known == *id)) {
        Some(unknown) => Err(format!("its report names {unknown:?}, which is not in the batch")),
        None => Ok(failed),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Filter;
    use super::*;

    fn source() -> EventSource {
        EventSource {
            function: "worker".into(),
            queue_arn: "arn:aws:sqs:us-east-1:000000000000:messages".into(),
            region: "us-east-1".into(),
            batch_size: 10,
            maximum_batching_window: std::time::Duration::ZERO,
            maximum_concurrency: 2,
            report_batch_item_failures: true,
            filter: Filter::default(),
        }
    }

    #[test]
    fn the_event_is_what_the_lambda_crates_expect() {
        let attribute =
            MessageAttribute { data_type: "String".into(), string_value: Some("v".into()), binary_value: None };
        let message = Message {
            message_id: "m-1".into(),
            receipt_handle: "r-1".into(),
            body: "a \"body\"".into(),
            md5_of_body: "0123".into(),
            attributes: [("ApproximateReceiveCount".to_owned(), "1".to_owned())].into(),
            message_attributes: [("kind".to_owned(), attribute)].into(),
        };
        let events = Event::of(vec![message], &source());
        assert_eq!(events.len(), 1);
        let json: serde_json::Value = serde_json::from_slice(&events[0].payload).unwrap();
        assert_eq!(
            json,
            serde_json::json!({"Records": [{
                "messageId": "m-1", "receiptHandle": "r-1", "body": "a \"body\"", "md5OfBody": "0123",
                "attributes": {"ApproximateReceiveCount": "1"},
                "messageAttributes": {"kind": {
                    "dataType": "String", "stringValue": "v", "stringListValues": [], "binaryListValues": []}},
                "eventSource": "aws:sqs", "eventSourceARN": "arn:aws:sqs:us-east-1:000000000000:messages",
                "awsRegion": "us-east-1",
            }]})
        );
        let parsed: aws_lambda_events::event::sqs::SqsEvent = serde_json::from_slice(&events[0].payload).unwrap();
        assert_eq!(parsed.records[0].message_id.as_deref(), Some("m-1"));
        assert_eq!(parsed.records[0].message_attributes["kind"].string_value.as_deref(), Some("v"));
    }

    #[test]
    fn messages_too_large_for_one_event_make_several_in_order() {
        let message =
            |id: usize| Message { message_id: id.to_string(), body: "x".repeat(1 << 20), ..Message::default() };
        let events = Event::of((0..10).map(message).collect(), &source());
        assert_eq!(events.iter().map(|event| event.messages.len()).collect::<Vec<_>>(), [5, 5]);
        assert!(events.iter().all(|event| event.payload.len() <= MAX_EVENT_BYTES));
        let ids: Vec<_> =
            events.iter().flat_map(|event| &event.messages).map(|(id, _)| id.parse::<usize>().unwrap()).collect();
        assert_eq!(ids, (0..10).collect::<Vec<_>>());
    }

    #[test]
    fn a_report_is_read_by_lambdas_rules() {
        let messages = [("a".to_owned(), "ra".to_owned()), ("b".to_owned(), "rb".to_owned())];
        let read = |report: &str| reported_failures(report.as_bytes(), &messages);
        for all_succeeded in ["", "null", "{}", r#"{"batchItemFailures":null}"#, r#"{"batchItemFailures":[]}"#] {
            assert_eq!(read(all_succeeded), Ok(vec![]), "{all_succeeded}");
        }
        assert_eq!(read(r#"{"batchItemFailures":[{"itemIdentifier":"b"}]}"#), Ok(vec!["b".to_owned()]));
        for all_failed in [
            "not json",
            r#"{"batchItemFailures":[{"itemIdentifier":"c"}]}"#,
            r#"{"batchItemFailures":[{"itemIdentifier":""}]}"#,
            r#"{"batchItemFailures":[{"itemIdentifier":null}]}"#,
            r#"{"batchItemFailures":[{"wrongKey":"a"}]}"#,
        ] {
            assert!(read(all_failed).is_err(), "{all_failed}");
        }
    }
}
