//! The AWS SDK for Rust against the server over HTTP: the SDK parses what we say, and recognises the errors.

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_sqs::error::ProvideErrorMetadata as _;
use aws_sdk_sqs::primitives::Blob;
use aws_sdk_sqs::types::{
    DeleteMessageBatchRequestEntry, MessageAttributeValue, MessageSystemAttributeName,
    MessageSystemAttributeNameForSends, MessageSystemAttributeValue, QueueAttributeName, SendMessageBatchRequestEntry,
};
use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::IntoResponse;

use super::*;

/// As the services' door does: the operation from the header, the rest from `Sqs::call`.
async fn edge(State(sqs): State<Sqs>, headers: HeaderMap, body: Bytes) -> axum::response::Response {
    let target = headers["x-amz-target"].to_str().unwrap();
    let response = sqs.call(target.strip_prefix("AmazonSQS.").unwrap(), &body).await;
    let mut http = (axum::http::StatusCode::from_u16(response.status).unwrap(), response.body).into_response();
    for (name, value) in response.headers {
        http.headers_mut().insert(name, value.parse().unwrap());
    }
    http
}

async fn serve() -> (Bench, Client) {
    let bench = Bench::memory();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let router = axum::Router::new().route("/", axum::routing::post(edge)).with_state(bench.sqs.clone());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let config = aws_sdk_sqs::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("local", "local", None, None, "test"))
        .endpoint_url(endpoint)
        .build();
    (bench, Client::from_conf(config))
}

#[tokio::test]
async fn the_sdk_sends_receives_and_deletes_with_attributes() {
    let (bench, client) = serve().await;
    let create = client.create_queue().queue_name("q.fifo").attributes(QueueAttributeName::FifoQueue, "true");
    let url = create.send().await.unwrap().queue_url.unwrap();
    let text = MessageAttributeValue::builder().data_type("String").string_value("There").build().unwrap();
    let number = MessageAttributeValue::builder().data_type("Number").string_value("42.5").build().unwrap();
    let bytes = MessageAttributeValue::builder().data_type("Binary.png").binary_value(Blob::new([0, 159, 146])).build();
    let trace = MessageSystemAttributeValue::builder().data_type("String").string_value("Root=1-5759e988").build();
    let sent = client
        .send_message()
        .queue_url(&url)
        .message_body("msg")
        .message_group_id("g")
        .message_deduplication_id("d")
        .message_attributes("Hello", text)
        .message_attributes("Size", number)
        .message_attributes("Bytes", bytes.unwrap())
        .message_system_attributes(MessageSystemAttributeNameForSends::AwsTraceHeader, trace.unwrap())
        .send()
        .await
        .unwrap();
    assert_eq!(sent.md5_of_message_body(), Some("6e2baaf3b97dbeef01c0043275f9a0e7"));
    assert!(sent.sequence_number().is_some() && sent.md5_of_message_system_attributes().is_some());

    let receive = || client.receive_message().queue_url(&url).visibility_timeout(0);
    let plain = receive().send().await.unwrap().messages.unwrap();
    assert!(plain[0].attributes().is_none() && plain[0].message_attributes().is_none());
    let full = receive()
        .message_system_attribute_names(MessageSystemAttributeName::All)
        .message_attribute_names("All")
        .visibility_timeout(30)
        .send()
        .await
        .unwrap()
        .messages
        .unwrap();
    let message = &full[0];
    let attributes = message.attributes().unwrap();
    assert_eq!(attributes[&MessageSystemAttributeName::MessageGroupId], "g");
    assert_eq!(attributes[&MessageSystemAttributeName::ApproximateReceiveCount], "2");
    assert_eq!(attributes[&MessageSystemAttributeName::AwsTraceHeader], "Root=1-5759e988");
    assert_eq!(message.message_attributes().unwrap()["Bytes"].binary_value().unwrap().as_ref(), [0, 159, 146]);
    assert_eq!(message.md5_of_message_attributes(), sent.md5_of_message_attributes());
    let handle = message.receipt_handle().unwrap();
    client
        .change_message_visibility()
        .queue_url(&url)
        .receipt_handle(handle)
        .visibility_timeout(9)
        .send()
        .await
        .unwrap();
    client.delete_message().queue_url(&url).receipt_handle(handle).send().await.unwrap();
    assert_eq!(bench.counts("q.fifo"), (0, 0, 0));
}

#[tokio::test]
async fn the_checksum_over_attributes_is_that_of_aws() {
    // Recorded from AWS by LocalStack.
    let (_bench, client) = serve().await;
    let url = client.create_queue().queue_name("q").send().await.unwrap().queue_url.unwrap();
    let value = |text: &str| MessageAttributeValue::builder().data_type("String").string_value(text).build().unwrap();
    let send = client.send_message().queue_url(&url).message_body("msg");
    let send = send.message_attributes("Help.Me", value("Me")).message_attributes("Hello", value("There"));
    let sent = send.message_attributes("General", value("Kenobi")).send().await.unwrap();
    assert_eq!(sent.md5_of_message_attributes(), Some("4c360f3fdafd970e05fae2f149d997f5"));
    for (names, expected) in [
        (vec!["All"], Some("4c360f3fdafd970e05fae2f149d997f5")),
        (vec!["General", "Hello"], Some("fca026605781cb4126a1e9044df24232")),
        (vec!["Hello", "Missing"], Some("a311262e065454b75da111d535b8dacd")),
        (vec!["Hel.*"], Some("83fee93c1bcd8b9a5a923ffacdc636c7")),
        (vec!["Missing"], None),
    ] {
        let receive = client.receive_message().queue_url(&url).visibility_timeout(0);
        let receive = receive.set_message_attribute_names(Some(names.iter().map(|&name| name.to_owned()).collect()));
        let messages = receive.send().await.unwrap().messages.unwrap();
        assert_eq!(messages[0].md5_of_message_attributes(), expected, "{names:?}");
    }
}

#[tokio::test]
async fn the_sdk_recognises_the_errors() {
    let (_bench, client) = serve().await;
    let missing = client.get_queue_url().queue_name("missing").send().await.unwrap_err().into_service_error();
    assert!(missing.is_queue_does_not_exist(), "{missing:?}");
    let url = client.create_queue().queue_name("q").send().await.unwrap().queue_url.unwrap();
    let again = client.create_queue().queue_name("q").attributes(QueueAttributeName::DelaySeconds, "5");
    assert!(again.send().await.unwrap_err().into_service_error().is_queue_name_exists());
    let delete = client.delete_message().queue_url(&url).receipt_handle("garbage").send();
    assert!(delete.await.unwrap_err().into_service_error().is_receipt_handle_is_invalid());
    let unsupported = client.send_message().queue_url(&url).message_body("\u{1}").send();
    assert!(unsupported.await.unwrap_err().into_service_error().is_invalid_message_contents());
    client.purge_queue().queue_url(&url).send().await.unwrap();
    let purge = client.purge_queue().queue_url(&url).send().await.unwrap_err().into_service_error();
    assert!(purge.is_purge_queue_in_progress());
    let wait = client.receive_message().queue_url(&url).wait_time_seconds(21).send().await.unwrap_err();
    assert_eq!(wait.into_service_error().code(), Some("InvalidParameterValue"));
    let task = client.start_message_move_task().source_arn("arn:aws:sqs:us-east-1:000000000000:x").send();
    assert!(task.await.unwrap_err().into_service_error().is_resource_not_found_exception());
}

fn entry(id: &str, body: &str) -> SendMessageBatchRequestEntry {
    SendMessageBatchRequestEntry::builder().id(id).message_body(body).build().unwrap()
}

#[tokio::test]
async fn a_batch_reports_each_entry_and_refuses_what_is_wrong_as_a_whole() {
    let (bench, client) = serve().await;
    let create = client.create_queue().queue_name("q").attributes(QueueAttributeName::MaximumMessageSize, "1024");
    let url = create.send().await.unwrap().queue_url.unwrap();
    let batch = |entries: Vec<SendMessageBatchRequestEntry>| {
        let request = client.send_message_batch().queue_url(&url).set_entries(Some(entries));
        async move { request.send().await.map_err(|error| error.into_service_error()) }
    };
    let delayed = SendMessageBatchRequestEntry::builder().id("late").message_body("x").delay_seconds(901).build();
    let big = "x".repeat(1025);
    let result =
        batch(vec![entry("ok", "one"), entry("big", &big), entry("ok-2", "two"), delayed.unwrap()]).await.unwrap();
    let successful: Vec<_> = result.successful.iter().map(|entry| entry.id()).collect();
    assert_eq!(successful, ["ok", "ok-2"]);
    let failed: Vec<_> = result.failed.iter().map(|entry| (entry.id(), entry.code(), entry.sender_fault())).collect();
    assert_eq!(failed, [("big", "InvalidParameterValue", true), ("late", "InvalidParameterValue", true)]);
    assert_eq!(bench.counts("q").0, 2);

    assert!(batch(vec![]).await.unwrap_err().is_empty_batch_request());
    let eleven = (0..11).map(|i| entry(&i.to_string(), "x")).collect();
    assert!(batch(eleven).await.unwrap_err().is_too_many_entries_in_batch_request());
    assert!(batch(vec![entry("a", "x"), entry("a", "y")]).await.unwrap_err().is_batch_entry_ids_not_distinct());
    assert!(batch(vec![entry("a b", "x")]).await.unwrap_err().is_invalid_batch_entry_id());
    let half = "x".repeat(524_289);
    let too_long = batch(vec![entry("a", &half), entry("b", &half)]).await.unwrap_err();
    assert!(too_long.is_batch_request_too_long());
    let text = "Batch requests cannot be longer than 1048576 bytes. You have sent 1048578 bytes.";
    assert_eq!(too_long.message(), Some(text));

    let received = bench.receive("q").await;
    let handle = |id: &str, handle: &str| {
        DeleteMessageBatchRequestEntry::builder().id(id).receipt_handle(handle).build().unwrap()
    };
    let entries = vec![handle("good", &received[0].receipt_handle), handle("bad", "garbage")];
    let deleted = client.delete_message_batch().queue_url(&url).set_entries(Some(entries)).send().await.unwrap();
    assert_eq!((deleted.successful[0].id(), deleted.failed[0].code()), ("good", "ReceiptHandleIsInvalid"));
    assert_eq!(bench.counts("q"), (0, 1, 0));
}

#[tokio::test]
async fn a_message_of_a_mebibyte_is_accepted_and_one_byte_more_is_not() {
    let (_bench, client) = serve().await;
    let url = client.create_queue().queue_name("q").send().await.unwrap().queue_url.unwrap();
    let body = "x".repeat(1_048_576);
    client.send_message().queue_url(&url).message_body(&body).send().await.unwrap();
    let error = client.send_message().queue_url(&url).message_body(body + "x").send().await.unwrap_err();
    let text = "One or more parameters are invalid. Reason: Message must be shorter than 1048576 bytes.";
    assert_eq!(error.into_service_error().message(), Some(text));
}

#[tokio::test]
async fn a_client_that_hangs_up_during_a_long_poll_loses_nothing() {
    let (bench, client) = serve().await;
    let url = client.create_queue().queue_name("q").send().await.unwrap().queue_url.unwrap();
    let poll = client.receive_message().queue_url(&url).wait_time_seconds(20).send();
    // Real time: the server must see the closed socket.
    assert!(tokio::time::timeout(Duration::from_millis(300), poll).await.is_err());
    tokio::time::sleep(Duration::from_millis(200)).await;
    bench.send("q", "x").await;
    tokio::task::yield_now().await;
    assert_eq!(bench.counts("q"), (1, 0, 0));
    let next = client.receive_message().queue_url(&url).wait_time_seconds(20).send().await.unwrap();
    assert_eq!(next.messages()[0].body(), Some("x"));
}
