//! Moving dead letters back.

use super::*;

async fn with_letters(count: usize) -> (Bench, String) {
    let bench = Bench::memory();
    bench.queue("dead", []).await;
    for name in ["one", "two"] {
        bench.queue(name, [("RedrivePolicy", &redrive_policy("dead", 1)), ("VisibilityTimeout", "1")]).await;
        for i in 0..count {
            bench.send(name, &format!("{name} {i}")).await;
        }
        while !bench.receive(name).await.is_empty() {}
        bench.advance_seconds(1);
        assert!(bench.receive(name).await.is_empty());
    }
    assert_eq!(bench.counts("dead"), (2 * count as u64, 0, 0));
    let arn = bench.sqs.queue_arn("dead");
    (bench, arn)
}

async fn settle() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn dead_letters_go_back_to_their_source_queue_as_new_messages() {
    let (bench, arn) = with_letters(3).await;
    bench.call("StartMessageMoveTask", json!({ "SourceArn": arn })).await.unwrap();
    settle().await;
    assert_eq!((bench.counts("one"), bench.counts("two"), bench.counts("dead")), ((3, 0, 0), (3, 0, 0), (0, 0, 0)));
    let message = bench.receive_one("one").await;
    assert_eq!(message.attributes["ApproximateReceiveCount"], "1");
    assert!(!message.attributes.contains_key("DeadLetterQueueSourceArn"));
    let list = bench.call("ListMessageMoveTasks", json!({ "SourceArn": arn })).await.unwrap();
    let task = &list["Results"][0];
    assert_eq!((&task["Status"], &task["ApproximateNumberOfMessagesMoved"]), (&json!("COMPLETED"), &json!(6)));
    assert!(task.get("TaskHandle").is_none());
}

#[tokio::test]
async fn a_task_keeps_its_rate_excludes_other_tasks_and_can_be_cancelled() {
    let (bench, arn) = with_letters(3).await;
    let destination = bench.sqs.queue_arn("one");
    let start = json!({ "SourceArn": arn, "DestinationArn": destination, "MaxNumberOfMessagesPerSecond": 2 });
    let handle = bench.call("StartMessageMoveTask", start.clone()).await.unwrap();
    settle().await;
    assert_eq!(bench.counts("one").0, 1);
    let (_, text) = bench.call("StartMessageMoveTask", start).await.unwrap_err();
    assert!(text.contains("already a task running"), "{text}");
    bench.clock.advance(Duration::from_millis(499));
    settle().await;
    assert_eq!(bench.counts("one").0, 1);
    bench.clock.advance(Duration::from_millis(1));
    settle().await;
    assert_eq!(bench.counts("one").0, 2);
    let cancelled = bench.call("CancelMessageMoveTask", handle.clone()).await.unwrap();
    assert_eq!(cancelled["ApproximateNumberOfMessagesMoved"], 2);
    bench.advance_seconds(10);
    settle().await;
    assert_eq!((bench.counts("one").0, bench.counts("dead").0), (2, 4));
    let (code, text) = bench.call("CancelMessageMoveTask", handle).await.unwrap_err();
    assert_eq!((code.as_str(), text.as_str()), ("ResourceNotFoundException", "Task does not exist."));
}

#[tokio::test]
async fn a_task_fails_when_its_destination_goes_away() {
    let (bench, arn) = with_letters(3).await;
    let destination = bench.sqs.queue_arn("one");
    let start = json!({ "SourceArn": arn, "DestinationArn": destination, "MaxNumberOfMessagesPerSecond": 1 });
    bench.call("StartMessageMoveTask", start).await.unwrap();
    settle().await;
    bench.call("DeleteQueue", json!({ "QueueUrl": "one" })).await.unwrap();
    bench.advance_seconds(1);
    settle().await;
    let list = bench.call("ListMessageMoveTasks", json!({ "SourceArn": arn })).await.unwrap();
    assert_eq!(list["Results"][0]["Status"], "FAILED");
    assert_eq!(list["Results"][0]["FailureReason"], "AWS.SimpleQueueService.NonExistentQueue");
    assert_eq!(bench.counts("dead").0, 5);
}

#[tokio::test]
async fn a_wrong_source_or_destination_is_refused() {
    let (bench, arn) = with_letters(1).await;
    let one = bench.sqs.queue_arn("one");
    let missing = bench.sqs.queue_arn("missing");
    for (request, code, text) in [
        (json!({ "SourceArn": one }), "InvalidParameterValue", "must be configured as a Dead Letter Queue"),
        (json!({ "SourceArn": missing }), "ResourceNotFoundException", "SourceArn parameter doesn't exist"),
        (
            json!({ "SourceArn": arn, "DestinationArn": missing }),
            "ResourceNotFoundException",
            "DestinationArn parameter",
        ),
        (json!({ "SourceArn": arn, "DestinationArn": arn }), "InvalidParameterValue", "another queue"),
        (json!({}), "MissingParameter", "SourceArn"),
    ] {
        let error = bench.call("StartMessageMoveTask", request).await.unwrap_err();
        assert!(error.0 == code && error.1.contains(text), "{error:?}");
    }
    let (_, text) = bench.call("CancelMessageMoveTask", json!({ "TaskHandle": "x" })).await.unwrap_err();
    assert_eq!(text, "Value for parameter TaskHandle is invalid.");
}
