//! The template allows each function exactly the calls that its code makes, and no name in it would be the same for two
//! stacks.
//!
//! The calls are those of the modules in a function. A transaction needs the permissions of its writes. For the
//! storage: an address is signed with the permissions of its signer, and a copy reads and writes. Without the
//! permission to list the bucket, S3 answers "forbidden" for a missing object.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{template, template_path};

/// The calls, by resource.
type Calls = &'static [(&'static str, &'static [&'static str])];

/// Each function and its calls.
const CALLS: [(&str, Calls); 11] = [
    ("authorizer", &[]),
    (
        "cancel",
        &[
            (CONNECTIONS, &["GetItem", "UpdateItem"]),
            (CHAT, &["GetItem", "UpdateItem"]),
            (MEDIA, &["GetObject"]),
            (POST, &["ManageConnections"]),
        ],
    ),
    (
        "connect",
        &[
            (CONNECTIONS, &["BatchGetItem", "PutItem", "UpdateItem"]),
            (POST, &["ManageConnections"]),
            (DELETE, &["ManageConnections"]),
        ],
    ),
    (
        "dead_letters",
        &[
            (CONNECTIONS, &["GetItem", "UpdateItem"]),
            (CHAT, &["Query", "GetItem", "UpdateItem"]),
            (MEDIA, &["GetObject"]),
            (POST, &["ManageConnections"]),
            // SAM adds these for the event source.
            ("*", &["DeleteMessage", "GetQueueAttributes", "ReceiveMessage"]),
        ],
    ),
    ("default_route", &[]),
    ("disconnect", &[(CONNECTIONS, &["UpdateItem", "DeleteItem"])]),
    ("heartbeat", &[(CONNECTIONS, &["GetItem", "UpdateItem"]), (CHAT, &["GetItem"]), (QUEUE, &["SendMessage"])]),
    (
        "janitor",
        &[
            (CONNECTIONS, &["Scan", "GetItem", "UpdateItem", "DeleteItem"]),
            (CHAT, &["Query", "GetItem", "UpdateItem", "DeleteItem", "BatchWriteItem"]),
            (MEDIA, &["DeleteObject"]),
            (POST, &["ManageConnections"]),
            (DELETE, &["ManageConnections"]),
            (QUEUE, &["SendMessage"]),
        ],
    ),
    (
        "rest_api",
        &[
            (CONNECTIONS, &["GetItem", "BatchGetItem", "UpdateItem", "DeleteItem"]),
            (CHAT, &["GetItem", "Query", "PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem"]),
            (BY_USE, &["Query"]),
            (MEDIA, &["GetObject", "DeleteObject"]),
            (UPLOADS, &["GetObject", "PutObject"]),
            (BUCKET, &["ListBucket"]),
            (POST, &["ManageConnections"]),
            (DELETE, &["ManageConnections"]),
        ],
    ),
    (
        "send_message",
        &[
            (CONNECTIONS, &["BatchGetItem", "UpdateItem"]),
            (CHAT, &["BatchGetItem", "GetItem", "PutItem", "UpdateItem", "DeleteItem"]),
            (MEDIA, &["GetObject", "PutObject"]),
            (UPLOADS, &["GetObject"]),
            (BUCKET, &["ListBucket"]),
            (QUEUE, &["SendMessage"]),
        ],
    ),
    (
        "worker",
        &[
            (CONNECTIONS, &["GetItem", "UpdateItem"]),
            (CHAT, &["Query", "GetItem", "PutItem", "UpdateItem", "DeleteItem"]),
            (MEDIA, &["GetObject", "PutObject"]),
            (BUCKET, &["ListBucket"]),
            (POST, &["ManageConnections"]),
            (QUEUE, &["ChangeMessageVisibility"]),
            // The calls of the event source. SAM adds these permissions.
            ("*", &["DeleteMessage", "GetQueueAttributes", "ReceiveMessage"]),
        ],
    ),
];

/// The ends of the resources' names.
const CONNECTIONS: &str = "table/tests-ConnectionsTable";
const CHAT: &str = "table/tests-ChatTable";
const BY_USE: &str = "table/tests-ChatTable/index/by_updated_at";
const BUCKET: &str = "mediabucket";
const MEDIA: &str = "mediabucket/media/*";
const UPLOADS: &str = "mediabucket/uploads/*";
const QUEUE: &str = "tests-messages.fifo";
const POST: &str = "ws/POST/@connections/*";
const DELETE: &str = "ws/DELETE/@connections/*";

fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::Array(values) => values.iter().filter_map(Value::as_str).collect(),
        one => one.as_str().into_iter().collect(),
    }
}

#[test]
fn each_function_may_make_exactly_the_calls_that_it_makes() {
    let template = template();
    assert_eq!(template.functions.len(), CALLS.len());
    for (name, calls) in CALLS {
        let function = template.functions.iter().find(|function| function.name == name).expect(name);
        let mut allowed = BTreeSet::new();
        for statement in function.policies.iter().flat_map(|policy| policy["Statement"].as_array().expect("a list")) {
            for action in texts(&statement["Action"]) {
                let action = action.split(':').nth(1).expect("an action");
                allowed.extend(texts(&statement["Resource"]).into_iter().map(|of| (of.to_owned(), action.to_owned())));
            }
        }
        for (resource, actions) in calls {
            for action in *actions {
                let statement = allowed.iter().find(|(of, may)| of.ends_with(resource) && may == action).cloned();
                let statement = statement.unwrap_or_else(|| panic!("{name}: {action} of {resource}: {allowed:#?}"));
                allowed.remove(&statement);
            }
        }
        assert!(allowed.is_empty(), "{name} has no use for {allowed:?}");
    }
}

#[test]
fn two_stacks_fit_into_one_region_because_names_have_the_stacks_name() {
    let text = std::fs::read_to_string(template_path()).expect("the template");
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    for line in &lines {
        let Some((key, value)) = line.split_once(": ") else { continue };
        if ["Name", "QueueName", "UserPoolName", "TableName", "BucketName", "FunctionName"].contains(&key) {
            assert!(value.contains("${AWS::StackName}"), "{line}");
        }
    }
    // SAM names a schedule that has no name.
    for (at, _) in lines.iter().enumerate().filter(|(_, line)| **line == "Type: ScheduleV2") {
        assert!(lines[at..at + 5].iter().any(|line| line.starts_with("Name: ")), "the schedule of line {}", at + 1);
    }
}
