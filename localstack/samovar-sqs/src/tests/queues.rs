//! Creating, finding and configuring queues, and the protocol's error cases.

use super::*;

async fn refused(bench: &Bench, operation: &str, body: Value) -> (String, String) {
    bench.call(operation, body).await.unwrap_err()
}

#[tokio::test]
async fn creating_a_queue_again_succeeds_only_with_the_same_attributes() {
    let bench = Bench::memory();
    let create = |delay: &str| json!({ "QueueName": "q", "Attributes": { "DelaySeconds": delay } });
    let url = bench.call("CreateQueue", create("3")).await.unwrap();
    assert_eq!(url["QueueUrl"], format!("{BASE_URL}/000000000000/q"));
    assert_eq!(bench.call("CreateQueue", create("3")).await.unwrap(), url);
    assert_eq!(bench.call("CreateQueue", json!({ "QueueName": "q" })).await.unwrap(), url);
    let (code, text) = refused(&bench, "CreateQueue", create("4")).await;
    assert_eq!(code, "QueueAlreadyExists");
    assert_eq!(text, "A queue already exists with the same name and a different value for attribute DelaySeconds");
    // In process, as for a changed template, the attributes are updated.
    bench.queue("q", [("DelaySeconds", "4")]).await;
    assert_eq!(bench.call("CreateQueue", create("4")).await.unwrap(), url);
}

#[tokio::test]
async fn invalid_names_and_attributes_are_refused() {
    let bench = Bench::memory();
    bench.queue("q", []).await;
    bench.fifo("q.fifo").await;
    for (name, attributes, code, text) in [
        ("no spaces", json!({}), "InvalidParameterValue", "Can only include alphanumeric"),
        (&"x".repeat(81), json!({}), "InvalidParameterValue", "1 to 80"),
        ("x.fifo", json!({}), "InvalidParameterValue", "needs the attribute FifoQueue=true"),
        ("x", json!({ "FifoQueue": "true" }), "InvalidParameterValue", "must end with .fifo"),
        ("x", json!({ "FifoQueue": "false" }), "InvalidAttributeName", "Unknown Attribute FifoQueue."),
        ("x", json!({ "ContentBasedDeduplication": "true" }), "InvalidAttributeName", "Unknown Attribute"),
        ("x", json!({ "DeduplicationScope": "queue" }), "InvalidAttributeName", "only when FifoQueue is set to true"),
        ("x", json!({ "VisibilityTimeout": "43201" }), "InvalidAttributeValue", "from 0 to 43200"),
        ("x", json!({ "MaximumMessageSize": "1048577" }), "InvalidAttributeValue", "from 1024 to 1048576"),
        ("x", json!({ "DelaySeconds": "soon" }), "InvalidAttributeValue", "whole number"),
        ("x", json!({ "Colour": "red" }), "InvalidAttributeName", "Unknown Attribute Colour."),
        (
            "x.fifo",
            json!({ "FifoQueue": "true", "FifoThroughputLimit": "perMessageGroupId" }),
            "InvalidAttributeValue",
            "DeduplicationScope is messageGroup",
        ),
    ] {
        let error = refused(&bench, "CreateQueue", json!({ "QueueName": name, "Attributes": attributes })).await;
        assert!(error.0 == code && error.1.contains(text), "{name} {attributes}: {error:?}");
    }
    let error =
        refused(&bench, "SetQueueAttributes", json!({ "QueueUrl": "q.fifo", "Attributes": { "FifoQueue": "false" } }));
    let text = "Invalid value for the parameter FifoQueue. Reason: Modifying queue type is not supported.";
    assert_eq!(error.await, ("InvalidAttributeValue".to_owned(), text.to_owned()));
    let error = refused(&bench, "GetQueueAttributes", json!({ "QueueUrl": "q", "AttributeNames": ["Colour"] })).await;
    assert_eq!(error.0, "InvalidAttributeName");
}

#[tokio::test]
async fn all_attributes_of_a_queue_are_those_of_aws() {
    let bench = Bench::memory();
    bench.queue("q.fifo", [("FifoQueue", "True")]).await;
    bench.advance_seconds(5);
    let set = json!({ "QueueUrl": "q.fifo", "Attributes": { "VisibilityTimeout": "7" } });
    bench.call("SetQueueAttributes", set).await.unwrap();
    let all = json!({ "QueueUrl": "q.fifo", "AttributeNames": ["All"] });
    let created_s = START_MS / 1000;
    let expected = json!({
        "ApproximateNumberOfMessages": "0",
        "ApproximateNumberOfMessagesDelayed": "0",
        "ApproximateNumberOfMessagesNotVisible": "0",
        "ContentBasedDeduplication": "false",
        "CreatedTimestamp": created_s.to_string(),
        "DeduplicationScope": "queue",
        "DelaySeconds": "0",
        "FifoQueue": "true",
        "FifoThroughputLimit": "perQueue",
        "LastModifiedTimestamp": (created_s + 5).to_string(),
        "MaximumMessageSize": "1048576",
        "MessageRetentionPeriod": "345600",
        "QueueArn": "arn:aws:sqs:us-east-1:000000000000:q.fifo",
        "ReceiveMessageWaitTimeSeconds": "0",
        "SqsManagedSseEnabled": "true",
        "VisibilityTimeout": "7",
    });
    assert_eq!(bench.call("GetQueueAttributes", all).await.unwrap()["Attributes"], expected);
    let none = json!({ "QueueUrl": "q.fifo" });
    assert_eq!(bench.call("GetQueueAttributes", none).await.unwrap(), json!({}));
}

#[tokio::test]
async fn a_queue_is_found_by_the_last_segment_of_its_url() {
    let bench = Bench::memory();
    bench.queue("q", []).await;
    for url in ["http://other-host:1/_aws/sqs/123/q", "https://sqs.us-east-1.amazonaws.com/1/q/", "q"] {
        bench.send(url, "x").await;
    }
    assert_eq!(bench.counts("q").0, 3);
    let error = refused(&bench, "SendMessage", json!({ "QueueUrl": "http://h/1/nope", "MessageBody": "x" })).await;
    let text = "The specified queue does not exist.";
    assert_eq!(error, ("AWS.SimpleQueueService.NonExistentQueue".to_owned(), text.to_owned()));
}

#[tokio::test]
async fn queues_are_listed_by_prefix_in_pages() {
    let bench = Bench::memory();
    for name in ["a1", "b1", "b2", "b3", "c1"] {
        bench.queue(name, []).await;
    }
    let names = |page: &Value| -> Vec<String> {
        let urls = page["QueueUrls"].as_array().unwrap();
        urls.iter().map(|url| url.as_str().unwrap().rsplit('/').next().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&bench.call("ListQueues", json!({})).await.unwrap()).len(), 5);
    let mut request = json!({ "QueueNamePrefix": "b", "MaxResults": 2 });
    let first = bench.call("ListQueues", request.clone()).await.unwrap();
    assert_eq!(names(&first), ["b1", "b2"]);
    request["NextToken"] = first["NextToken"].clone();
    let second = bench.call("ListQueues", request).await.unwrap();
    assert_eq!(names(&second), ["b3"]);
    assert!(second.get("NextToken").is_none());
}

#[tokio::test]
async fn a_purge_is_refused_for_a_minute_after_another() {
    let bench = Bench::memory();
    bench.queue("q", []).await;
    bench.send("q", "in flight").await;
    bench.receive_one("q").await;
    bench.send("q", "visible").await;
    bench.call("PurgeQueue", json!({ "QueueUrl": "q" })).await.unwrap();
    assert_eq!(bench.counts("q"), (0, 0, 0));
    let (code, text) = refused(&bench, "PurgeQueue", json!({ "QueueUrl": "q" })).await;
    assert_eq!(code, "AWS.SimpleQueueService.PurgeQueueInProgress");
    assert_eq!(text, "Only one PurgeQueue operation on q is allowed every 60 seconds.");
    bench.advance_seconds(60);
    bench.call("PurgeQueue", json!({ "QueueUrl": "q" })).await.unwrap();
}

#[tokio::test]
async fn an_invalid_message_is_refused() {
    let bench = Bench::memory();
    bench.queue("q", [("MaximumMessageSize", "1024")]).await;
    bench.queue("q.fifo", [("FifoQueue", "true")]).await;
    let attribute = |name: &str, value: Value| json!({ "MessageAttributes": { name: value } });
    let string = |value: &str| json!({ "DataType": "String", "StringValue": value });
    for (queue, extra, code, text) in [
        ("q", json!({ "MessageBody": "" }), "MissingParameter", "MessageBody"),
        ("q", json!({ "MessageBody": "\u{0}" }), "InvalidMessageContents", "#x0"),
        (
            "q",
            json!({ "MessageBody": "x".repeat(1025) }),
            "InvalidParameterValue",
            "Reason: Message must be shorter than 1024 bytes.",
        ),
        // 1,023 of body, 1 of name, 6 of type: the attributes count.
        (
            "q",
            json!({ "MessageBody": "x".repeat(1023), "MessageAttributes": { "a": string("v") } }),
            "InvalidParameterValue",
            "shorter than 1024",
        ),
        ("q", json!({ "DelaySeconds": 901 }), "InvalidParameterValue", "DelaySeconds must be >= 0 and <= 900."),
        ("q", json!({ "MessageDeduplicationId": "x" }), "InvalidParameterValue", "not valid for this queue type"),
        ("q", json!({ "MessageGroupId": "with space" }), "InvalidParameterValue", "alphanumeric and punctuation"),
        ("q", attribute("a", string("")), "InvalidParameterValue", "must contain a non-empty value of type 'String'"),
        ("q", attribute("AWS.a", string("v")), "InvalidParameterValue", "must not start with AWS."),
        (
            "q",
            attribute("a", json!({ "DataType": "Text", "StringValue": "v" })),
            "InvalidParameterValue",
            "supported type prefixes",
        ),
        (
            "q",
            attribute("a", json!({ "DataType": "Number", "StringValue": "v" })),
            "InvalidParameterValue",
            "to a number",
        ),
        ("q.fifo", json!({}), "MissingParameter", "MessageGroupId"),
        ("q.fifo", json!({ "MessageGroupId": "g" }), "InvalidParameterValue", "ContentBasedDeduplication enabled or"),
        ("q.fifo", json!({ "MessageGroupId": "g", "MessageDeduplicationId": "" }), "InvalidParameterValue", "1 to 128"),
        ("q", json!({ "MessageBody": 5 }), "SerializationException", "expected a string"),
    ] {
        let mut request = json!({ "QueueUrl": queue, "MessageBody": "x" });
        request.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let error = refused(&bench, "SendMessage", request).await;
        assert!(error.0 == code && error.1.contains(text), "{extra}: {error:?}");
    }
    assert_eq!((bench.counts("q"), bench.counts("q.fifo")), ((0, 0, 0), (0, 0, 0)));
}

#[tokio::test]
async fn invalid_receive_parameters_are_refused() {
    let bench = Bench::memory();
    bench.queue("q", []).await;
    for (name, value, text) in [
        (
            "MaxNumberOfMessages",
            json!(11),
            "Value 11 for parameter MaxNumberOfMessages is invalid. Reason: Must be between 1 and 10, if provided.",
        ),
        (
            "WaitTimeSeconds",
            json!(21),
            "Value 21 for parameter WaitTimeSeconds is invalid. Reason: Must be >= 0 and <= 20, if provided.",
        ),
        ("VisibilityTimeout", json!(43201), "Must be between 0 and 43200"),
        ("MessageSystemAttributeNames", json!(["Nope"]), "Unknown Attribute Nope."),
    ] {
        let (_, got) = refused(&bench, "ReceiveMessage", json!({ "QueueUrl": "q", name: value })).await;
        assert!(got.contains(text), "{got}");
    }
}

#[tokio::test]
async fn an_unknown_operation_or_broken_json_is_an_error_with_its_own_type() {
    let bench = Bench::memory();
    let (code, text) = refused(&bench, "AddPermission", json!({})).await;
    assert_eq!(code, "UnknownOperationException");
    assert!(text.contains("AddPermission"), "{text}");
    let response = bench.sqs.call("SendMessage", b"{").await;
    let body: Value = serde_json::from_slice(&response.body).unwrap();
    assert_eq!((response.status, &body["__type"]), (400, &json!("com.amazon.coral.service#SerializationException")));
    let response = bench.sqs.call("GetQueueUrl", br#"{"QueueName":"nope"}"#).await;
    let body: Value = serde_json::from_slice(&response.body).unwrap();
    assert_eq!(body["__type"], "com.amazonaws.sqs#QueueDoesNotExist");
    let header = ("x-amzn-query-error", "AWS.SimpleQueueService.NonExistentQueue;Sender".to_owned());
    assert!(response.headers.contains(&header));
}
