//! What functions and queues are told about objects.

use std::time::Duration;

use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart, Delete, ObjectIdentifier};
use samovar_sqs::Receive;
use samovar_template::{Notification, Queue, Target, Template};
use serde_json::{Value, json};

use super::*;
use crate::event_queues::EventQueues;
use crate::targets::Targets;

const QUEUE: &str = "told";
const RESIZER: &str = "local-Resizer";

/// A bucket whose events go to a function's event queue and to a queue.
struct Told {
    served: Served,
    functions: EventQueues,
    sqs: Sqs,
}

fn notification(target: Target, event: &str, prefix: &str, suffix: &str) -> Notification {
    Notification { target, event: event.into(), prefix: prefix.into(), suffix: suffix.into() }
}

impl Told {
    async fn new(notifications: Vec<Notification>) -> Self {
        let sqs = Sqs::open(Storage::Memory, "us-east-1", "000000000000", "http://127.0.0.1", Arc::new(SystemClock));
        let (sqs, queues) = sqs.map(|sqs| (sqs.clone(), Queues::Embedded(sqs))).expect("queues in memory");
        let url = sqs.create_queue(QUEUE, &BTreeMap::new()).await.expect("a queue");
        let declared = Queue {
            logical_id: String::new(),
            name: QUEUE.to_owned(),
            arn: String::new(),
            url,
            attributes: BTreeMap::new(),
        };
        let functions = EventQueues::open(None, [RESIZER].into_iter()).await.expect("event queues");
        let template = Template { queues: vec![declared], ..Template::default() };
        let targets = Targets::new(functions.clone(), queues.clone(), &template).expect("targets");
        let mut buckets = buckets();
        buckets[0].notifications = notifications;
        let dir = tempfile::tempdir().expect("a directory");
        let notifications = Notifications::of(&buckets, &[], targets);
        let s3 = S3::open(Some(dir.path()), &buckets, [FUNCTION].into_iter(), DAY, notifications).expect("buckets");
        let dynamodb = DynamoDb::open(None).expect("a database in memory");
        let served = Served::of(Services::new(dynamodb, queues, Some(s3)), dir).await;
        Self { served, functions, sqs }
    }

    /// Of all objects, to the queue.
    async fn everything() -> Self {
        let queue = || Target::Queue(QUEUE.to_owned());
        let kinds = ["s3:ObjectCreated:*", "s3:ObjectRemoved:*", "s3:LifecycleExpiration:*"];
        Self::new(kinds.map(|kind| notification(queue(), kind, "", "")).to_vec()).await
    }

    /// The events that the queue has, in their order.
    async fn events(&self) -> Vec<Value> {
        let request = Receive { max_messages: 100, wait: Duration::ZERO, visibility_timeout: None };
        let messages = self.sqs.receive(QUEUE, request).await.expect("messages");
        messages.iter().map(|message| serde_json::from_str(&message.body).expect("JSON")).collect()
    }

    async fn names(&self) -> Vec<(String, String)> {
        let events = self.events().await;
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        let records = events.iter().map(|event| &event["Records"][0]);
        records.map(|record| (text(&record["eventName"]), text(&record["s3"]["object"]["key"]))).collect()
    }
}

#[tokio::test]
async fn a_stored_object_is_told_in_the_form_of_s3() {
    let told = Told::everything().await;
    let put = told.served.client().put_object().bucket(BUCKET).key("in/red flower.txt");
    put.body(b"words".to_vec().into()).send().await.expect("stored");
    let mut event = told.events().await.remove(0);
    let record = &mut event["Records"][0];
    let time: jiff::Timestamp = record["eventTime"].take().as_str().and_then(|it| it.parse().ok()).expect("a time");
    assert!((crate::clock::now_ms() - time.as_millisecond()).abs() < 60_000, "{time}");
    let sequencer = record["s3"]["object"]["sequencer"].take();
    assert_eq!(sequencer.as_str().map(str::len), Some(18));
    let id = record["responseElements"].take();
    assert_eq!(id["x-amz-request-id"].as_str().map(str::len), Some(16));
    assert_eq!(
        event,
        json!({ "Records": [{
            "eventVersion": "2.1",
            "eventSource": "aws:s3",
            "awsRegion": "us-east-1",
            "eventTime": null,
            "eventName": "ObjectCreated:Put",
            "userIdentity": { "principalId": "AWS:AROALOCAL:worker" },
            "requestParameters": { "sourceIPAddress": "127.0.0.1" },
            "responseElements": null,
            "s3": {
                "s3SchemaVersion": "1.0",
                "configurationId": "notification-1",
                "bucket": {
                    "name": BUCKET,
                    "ownerIdentity": { "principalId": "A0LOCAL00000000" },
                    "arn": "arn:aws:s3:::local-media",
                },
                "object": {
                    "key": "in/red+flower.txt",
                    "size": 5,
                    "eTag": "89759e1284e2479b991d2669de104942",
                    "sequencer": null,
                },
            },
        }] })
    );
}

#[tokio::test]
async fn an_event_has_the_id_of_the_request() {
    let told = Told::everything().await;
    let request = told.served.client().put_object().bucket(BUCKET).key("a").body(b"x".to_vec().into());
    let presigned = request.presigned(presigned::for_seconds(60)).await.expect("an address");
    let mut put = reqwest::Client::new().put(presigned.uri()).body("x");
    for (name, value) in presigned.headers() {
        put = put.header(name, value);
    }
    let answer = put.send().await.expect("an answer");
    let id = answer.headers()["x-amz-request-id"].to_str().expect("text").to_owned();
    assert_eq!(answer.status(), 200);
    assert_eq!(told.events().await[0]["Records"][0]["responseElements"]["x-amz-request-id"], id);
}

#[tokio::test]
async fn each_way_to_change_an_object_has_its_event() {
    let told = Told::everything().await;
    let client = told.served.client();
    told.served.put("a", b"x", "text/plain").await;
    let copy = client.copy_object().bucket(BUCKET).key("b").copy_source(format!("{BUCKET}/a"));
    copy.send().await.expect("copied");
    forms::Form::new("uploads/c").post(&told.served, b"meow").await;
    let upload = client.create_multipart_upload().bucket(BUCKET).key("d").send().await.expect("an upload");
    let id = upload.upload_id().expect("an id");
    let part = client.upload_part().bucket(BUCKET).key("d").upload_id(id).part_number(1);
    let part = part.body(b"x".to_vec().into()).send().await.expect("a part");
    let part = CompletedPart::builder().part_number(1).e_tag(part.e_tag().expect("an ETag")).build();
    let parts = CompletedMultipartUpload::builder().parts(part).build();
    let complete = client.complete_multipart_upload().bucket(BUCKET).key("d").upload_id(id).multipart_upload(parts);
    complete.send().await.expect("completed");
    client.delete_object().bucket(BUCKET).key("a").send().await.expect("deleted");
    client.delete_object().bucket(BUCKET).key("a").send().await.expect("deleted before");
    let key = |key| ObjectIdentifier::builder().key(key).build().expect("a key");
    let delete = Delete::builder().objects(key("b")).objects(key("none")).build().expect("keys");
    client.delete_objects().bucket(BUCKET).delete(delete).send().await.expect("deleted");
    let later = crate::clock::now_ms() + i64::try_from(DAY.as_millis()).expect("a day");
    assert_eq!(told.served.s3().expire(later).await, 1);
    let expected = [
        ("ObjectCreated:Put", "a"),
        ("ObjectCreated:Copy", "b"),
        ("ObjectCreated:Post", "uploads/c"),
        ("ObjectCreated:CompleteMultipartUpload", "d"),
        ("ObjectRemoved:Delete", "a"),
        ("ObjectRemoved:Delete", "b"),
        ("LifecycleExpiration:Delete", "uploads/c"),
    ];
    assert_eq!(told.names().await, expected.map(|(name, key)| (name.to_owned(), key.to_owned())));
}

#[tokio::test]
async fn a_deletion_has_no_size_and_a_later_sequencer() {
    let told = Told::everything().await;
    told.served.put("uploads/1", b"x", "text/plain").await;
    let later = crate::clock::now_ms() + i64::try_from(DAY.as_millis()).expect("a day");
    told.served.s3().expire(later).await;
    let events = told.events().await;
    let objects: Vec<&Value> = events.iter().map(|event| &event["Records"][0]["s3"]["object"]).collect();
    assert_eq!((&objects[1]["size"], &objects[1]["eTag"]), (&Value::Null, &Value::Null));
    assert!(objects[0]["sequencer"].as_str() < objects[1]["sequencer"].as_str(), "{objects:?}");
    let record = &events[1]["Records"][0];
    assert_eq!(record["userIdentity"]["principalId"], "s3.amazonaws.com");
    assert_eq!(record["requestParameters"]["sourceIPAddress"], "s3.amazonaws.com");
}

#[tokio::test]
async fn a_filter_lets_keys_through_by_their_beginning_and_end_and_a_function_gets_them() {
    let resizer = Target::Function(RESIZER.to_owned());
    let told = Told::new(vec![
        notification(resizer, "s3:ObjectCreated:Put", "in/", ".png"),
        notification(Target::Queue(QUEUE.to_owned()), "s3:ObjectRemoved:Delete", "in/", ""),
    ])
    .await;
    for key in ["in/a.png", "in/a.txt", "out/a.png", "in/b.PNG"] {
        told.served.put(key, b"x", "image/png").await;
    }
    told.served.client().delete_object().bucket(BUCKET).key("in/a.txt").send().await.expect("deleted");
    let taken = told.functions.take(RESIZER, 10).await.expect("events");
    let payloads: Vec<Value> =
        taken.iter().map(|taken| serde_json::from_str(taken.event.payload.get()).expect("JSON")).collect();
    assert_eq!(payloads.len(), 1, "{payloads:?}");
    assert_eq!(payloads[0]["Records"][0]["s3"]["object"]["key"], "in/a.png");
    assert_eq!(told.names().await, [("ObjectRemoved:Delete".to_owned(), "in/a.txt".to_owned())]);
}

#[tokio::test]
async fn a_target_that_takes_no_event_makes_the_call_fail_so_that_it_is_repeated() {
    let told = Told::everything().await;
    told.sqs.call("DeleteQueue", json!({ "QueueUrl": QUEUE }).to_string().as_bytes()).await;
    let client = told.served.client();
    let put = client.put_object().bucket(BUCKET).key("a").body(b"x".to_vec().into()).send().await;
    let status = put.expect_err("no queue").raw_response().map(|response| response.status().as_u16());
    assert_eq!(status, Some(500));
    let delete = client.delete_object().bucket(BUCKET).key("a").send().await;
    assert!(delete.is_err());
}
