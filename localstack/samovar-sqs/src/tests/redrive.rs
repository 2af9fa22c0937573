//! Messages that are received too often go to the dead-letter queue.

use super::*;

async fn with_dead_letters(max_receive_count: u32, fifo: bool) -> (Bench, &'static str, &'static str) {
    let bench = Bench::memory();
    let (source, dead) = if fifo { ("q.fifo", "dead.fifo") } else { ("q", "dead") };
    let policy = redrive_policy(dead, max_receive_count);
    if fifo {
        bench.fifo(dead).await;
        let attributes = [("FifoQueue", "true"), ("ContentBasedDeduplication", "true"), ("RedrivePolicy", &policy)];
        bench.queue(source, attributes).await;
    } else {
        bench.queue(dead, []).await;
        bench.queue(source, [("RedrivePolicy", &policy)]).await;
    }
    (bench, source, dead)
}

#[tokio::test]
async fn a_message_is_received_exactly_as_often_as_allowed_and_then_found_in_the_dead_letter_queue() {
    for fifo in [false, true] {
        let (bench, source, dead) = with_dead_letters(3, fifo).await;
        let id = bench.send_to_group(source, "g", "poison").await;
        for count in ["1", "2", "3"] {
            assert_eq!(bench.receive_one(source).await.attributes["ApproximateReceiveCount"], count);
            bench.advance_seconds(30);
        }
        // It moves when it is asked for once more, not before.
        assert_eq!((bench.counts(source), bench.counts(dead)), ((1, 0, 0), (0, 0, 0)));
        assert!(bench.receive(source).await.is_empty());
        assert_eq!((bench.counts(source), bench.counts(dead)), ((0, 0, 0), (1, 0, 0)));

        let letter = bench.receive_one(dead).await;
        assert_eq!((&letter.message_id, letter.body.as_str()), (&id, "poison"));
        assert_eq!(letter.attributes["DeadLetterQueueSourceArn"], bench.sqs.queue_arn(source));
        // As LocalStack recorded from AWS: the count goes on over both queues.
        assert_eq!(letter.attributes["ApproximateReceiveCount"], "4");
        assert_eq!(bench.sqs.counts()[source].dead_letter_queue.as_deref(), Some(dead));
    }
}

#[tokio::test]
async fn the_receive_that_dead_letters_a_message_returns_the_next_one_of_its_group() {
    let (bench, source, dead) = with_dead_letters(1, true).await;
    for body in ["poison", "next"] {
        bench.send_to_group(source, "g", body).await;
    }
    assert_eq!(bench.receive_one(source).await.body, "poison");
    bench.advance_seconds(30);
    assert_eq!(bench.receive_one(source).await.body, "next");
    assert_eq!(bodies(&bench.receive(dead).await), ["poison"]);
}

#[tokio::test]
async fn a_receiver_waiting_at_the_dead_letter_queue_is_woken() {
    let (bench, source, dead) = with_dead_letters(1, false).await;
    bench.send(source, "poison").await;
    let message = bench.receive_one(source).await;
    let waiting = tokio::spawn({
        let bench = bench.clone();
        let request = Receive { max_messages: 1, wait: Duration::from_secs(20), visibility_timeout: None };
        async move { bench.sqs.receive(dead, request).await.unwrap() }
    });
    tokio::task::yield_now().await;
    bench.hide(source, &message, 0).await.unwrap();
    assert!(bench.receive(source).await.is_empty());
    assert_eq!(bodies(&waiting.await.unwrap()), ["poison"]);
}

#[tokio::test]
async fn a_message_keeps_being_delivered_if_its_dead_letter_queue_is_missing() {
    let (bench, source, dead) = with_dead_letters(1, false).await;
    bench.send(source, "x").await;
    bench.call("DeleteQueue", json!({ "QueueUrl": dead })).await.unwrap();
    for _ in 0..3 {
        assert_eq!(bench.receive_one(source).await.body, "x");
        bench.advance_seconds(30);
    }
}

#[tokio::test]
async fn a_redrive_policy_must_name_an_existing_queue_of_the_same_type_that_allows_it() {
    let bench = Bench::memory();
    bench.queue("standard", []).await;
    bench.queue("closed", [("RedriveAllowPolicy", r#"{"redrivePermission":"denyAll"}"#)]).await;
    let create = async |name: &str, policy: String, fifo: bool| {
        let mut attributes = json!({ "RedrivePolicy": policy });
        if fifo {
            attributes["FifoQueue"] = json!("true");
        }
        bench.call("CreateQueue", json!({ "QueueName": name, "Attributes": attributes })).await.unwrap_err()
    };
    for (error, expected) in [
        (create("a", redrive_policy("missing", 1), false).await, "Dead letter target does not exist."),
        (create("a.fifo", redrive_policy("standard", 1), true).await, "must be same type of queue"),
        (create("a", redrive_policy("closed", 1), false).await, "does not allow"),
        (create("a", redrive_policy("standard", 0), false).await, "valid values are from 1 to 1000"),
        (create("a", r#"{"maxReceiveCount":1}"#.to_owned(), false).await, "mandatory attribute: deadLetterTargetArn"),
        (create("standard", redrive_policy("standard", 1), false).await, "different value for attribute RedrivePolicy"),
    ] {
        assert!(error.1.contains(expected), "{error:?}");
    }
}
