//! Arbitrary calls over the wire. Each gets a result or a client error, and the server goes on.

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::*;

const OPERATIONS: [&str; 22] = [
    "CreateQueue",
    "GetQueueUrl",
    "ListQueues",
    "GetQueueAttributes",
    "SetQueueAttributes",
    "PurgeQueue",
    "DeleteQueue",
    "ListDeadLetterSourceQueues",
    "TagQueue",
    "UntagQueue",
    "ListQueueTags",
    "SendMessage",
    "SendMessageBatch",
    "ReceiveMessage",
    "DeleteMessage",
    "DeleteMessageBatch",
    "ChangeMessageVisibility",
    "ChangeMessageVisibilityBatch",
    "StartMessageMoveTask",
    "ListMessageMoveTasks",
    "CancelMessageMoveTask",
    "Nothing",
];

/// The members of calls, without those that make a call wait.
const MEMBERS: [&str; 18] = [
    "QueueName",
    "QueueUrl",
    "Attributes",
    "AttributeNames",
    "MessageBody",
    "MessageGroupId",
    "MessageDeduplicationId",
    "DelaySeconds",
    "MessageAttributes",
    "MessageSystemAttributes",
    "MaxNumberOfMessages",
    "VisibilityTimeout",
    "ReceiptHandle",
    "Entries",
    "SourceArn",
    "TaskHandle",
    "Tags",
    "NextToken",
];

fn config() -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::default() }
}

fn value() -> impl Strategy<Value = Value> {
    let texts = prop_oneof![
        proptest::sample::select(vec![
            "q",
            "q.fifo",
            "http://x/q",
            "arn:aws:sqs:us-east-1:000000000000:q",
            "FifoQueue",
            "RedrivePolicy",
            "{\"maxReceiveCount\":1e99,\"deadLetterTargetArn\":\"q\"}",
            "true",
            "-1",
            "All",
            "String",
            "\u{0}",
            "",
        ])
        .prop_map(str::to_owned),
        any::<String>(),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        texts.prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inside| {
        prop_oneof![
            proptest::collection::vec(inside.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(member(), inside, 0..4).prop_map(|map| json!(map)),
        ]
    })
}

fn member() -> impl Strategy<Value = String> {
    prop_oneof![
        proptest::sample::select(MEMBERS.as_slice()).prop_map(str::to_owned),
        proptest::sample::select(vec!["Id", "StringValue", "BinaryValue", "DataType"]).prop_map(str::to_owned),
        "[a-zA-Z.]{0,6}",
    ]
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    let call = proptest::collection::btree_map(member(), value(), 0..6);
    let call = (call, any::<bool>()).prop_map(|(mut call, named)| {
        if named {
            call.insert("QueueUrl".to_owned(), json!("http://x/q"));
        }
        json!(call).to_string().into_bytes()
    });
    prop_oneof![
        8 => call,
        1 => proptest::collection::vec(any::<u8>(), 0..64),
        1 => Just("[".repeat(100_000).into_bytes()),
    ]
}

#[test]
fn any_call_gets_a_result_or_a_client_error() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let bench = Bench::memory();
    let calls = (proptest::sample::select(OPERATIONS.as_slice()), body());
    let tested = TestRunner::new(config()).run(&calls, |(operation, body)| {
        // An earlier call may have deleted the queue, so it is made again.
        runtime.block_on(bench.queue("q", []));
        let response = runtime.block_on(bench.sqs.call(operation, &body));
        let answer: Value = serde_json::from_slice(&response.body).unwrap_or_default();
        match response.status {
            200 => prop_assert!(answer.is_object(), "{}", answer),
            400..500 => {
                prop_assert!(answer["__type"].is_string() && answer["message"].is_string(), "{}", answer);
                prop_assert!(response.headers.iter().any(|(name, _)| *name == "x-amzn-query-error"));
            }
            status => prop_assert!(false, "{}: {} {}", operation, status, answer),
        }
        Ok(())
    });
    tested.unwrap();
}

#[test]
fn a_text_comes_back_as_it_was_sent() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let bench = Bench::memory();
    runtime.block_on(bench.queue("q", []));
    let tested = TestRunner::new(config()).run(&"\\PC{1,64}", |text| {
        let call = |operation: &'static str, mut body: Value| {
            body["QueueUrl"] = json!("http://x/q");
            let response = runtime.block_on(bench.sqs.call(operation, body.to_string().as_bytes()));
            assert_eq!(response.status, 200, "{}", String::from_utf8_lossy(&response.body));
            serde_json::from_slice::<Value>(&response.body).unwrap_or_default()
        };
        call("SendMessage", json!({ "MessageBody": text }));
        let received = call("ReceiveMessage", json!({}))["Messages"][0].take();
        prop_assert_eq!(&received["Body"], &json!(text));
        call("DeleteMessage", json!({ "ReceiptHandle": received["ReceiptHandle"] }));
        Ok(())
    });
    tested.unwrap();
}
