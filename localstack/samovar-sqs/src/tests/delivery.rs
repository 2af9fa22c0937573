//! Sending and receiving: visibility, order, groups, handles, delays, retention.

use super::*;

#[tokio::test]
async fn a_received_message_is_invisible_until_its_timeout_and_each_receive_is_counted() {
    let bench = Bench::memory();
    bench.queue("q", [("VisibilityTimeout", "5")]).await;
    let id = bench.send("q", "hello").await;

    let first = bench.receive_one("q").await;
    assert_eq!((first.message_id.as_str(), first.body.as_str()), (id.as_str(), "hello"));
    assert_eq!(first.md5_of_body, "5d41402abc4b2a76b9719d911017c592");
    assert_eq!(first.attributes["ApproximateReceiveCount"], "1");
    assert_eq!(first.attributes["SentTimestamp"], START_MS.to_string());
    bench.clock.advance(Duration::from_millis(4_999));
    assert!(bench.receive("q").await.is_empty());
    bench.clock.advance(Duration::from_millis(1));

    let second = bench.receive_one("q").await;
    assert_eq!(second.attributes["ApproximateReceiveCount"], "2");
    assert_eq!(second.attributes["ApproximateFirstReceiveTimestamp"], START_MS.to_string());
    assert_ne!(second.receipt_handle, first.receipt_handle);
}

#[tokio::test]
async fn a_group_with_a_message_in_flight_hands_out_nothing_more() {
    let bench = Bench::memory();
    bench.fifo("q.fifo").await;
    for (group, body) in [("a", "a1"), ("b", "b1"), ("a", "a2")] {
        bench.send_to_group("q.fifo", group, body).await;
    }
    let a1 = bench.receive_one("q.fifo").await;
    assert_eq!(a1.body, "a1");
    assert_eq!(bodies(&bench.receive("q.fifo").await), ["b1"]);
    bench.delete("q.fifo", &a1).await.unwrap();
    assert_eq!(bodies(&bench.receive("q.fifo").await), ["a2"]);
}

#[tokio::test]
async fn one_receive_takes_a_group_in_order_before_the_next_group() {
    // As LocalStack recorded from AWS.
    let bench = Bench::memory();
    bench.fifo("q.fifo").await;
    for (group, body) in [("g1", "g1-m1"), ("g2", "g2-m1"), ("g1", "g1-m2"), ("g1", "g1-m3")] {
        bench.send_to_group("q.fifo", group, body).await;
    }
    assert_eq!(bodies(&bench.receive("q.fifo").await), ["g1-m1", "g1-m2", "g1-m3", "g2-m1"]);
}

#[tokio::test]
async fn groups_take_turns() {
    // As LocalStack recorded from AWS, with a visibility timeout of zero.
    let bench = Bench::memory();
    bench.fifo("q.fifo").await;
    for (group, body) in [("g1", "g1-m1"), ("g2", "g2-m1"), ("g2", "g2-m2"), ("g3", "g3-m1"), ("g1", "g1-m2")] {
        bench.send_to_group("q.fifo", group, body).await;
    }
    let receive = async |max_messages| {
        let request = Receive { max_messages, wait: Duration::ZERO, visibility_timeout: Some(Duration::ZERO) };
        bench.sqs.receive("q.fifo", request).await.unwrap()
    };
    assert_eq!(bodies(&receive(3).await), ["g1-m1", "g1-m2", "g2-m1"]);
    assert_eq!(bodies(&receive(10).await), ["g3-m1", "g1-m1", "g1-m2", "g2-m1", "g2-m2"]);
}

#[tokio::test]
async fn a_group_keeps_its_order_when_visibility_runs_out() {
    let bench = Bench::memory();
    bench.fifo("q.fifo").await;
    for body in ["1", "2", "3"] {
        bench.send_to_group("q.fifo", "g", body).await;
    }
    assert_eq!(bodies(&bench.receive_up_to("q.fifo", 2).await), ["1", "2"]);
    bench.advance_seconds(30);
    assert_eq!(bodies(&bench.receive("q.fifo").await), ["1", "2", "3"]);
}

#[tokio::test]
async fn no_message_overtakes_one_of_its_group_that_is_still_in_flight() {
    // As LocalStack recorded from AWS: of three messages in flight, the extended one holds back itself and later ones.
    for (extended, expected) in [(0, vec![]), (1, vec!["1"]), (2, vec!["1", "2"])] {
        let bench = Bench::memory();
        bench.fifo("q.fifo").await;
        for body in ["1", "2", "3"] {
            bench.send_to_group("q.fifo", "g", body).await;
        }
        let all = bench.receive("q.fifo").await;
        bench.hide("q.fifo", &all[extended], 60).await.unwrap();
        bench.advance_seconds(31);
        assert_eq!(bodies(&bench.receive("q.fifo").await), expected);
    }
}

#[tokio::test]
async fn visibility_zero_gives_a_message_back_at_once() {
    let bench = Bench::memory();
    bench.fifo("q.fifo").await;
    bench.send_to_group("q.fifo", "g", "x").await;
    let message = bench.receive_one("q.fifo").await;
    bench.hide("q.fifo", &message, 0).await.unwrap();
    assert_eq!(bench.receive_one("q.fifo").await.attributes["ApproximateReceiveCount"], "2");
}

#[tokio::test]
async fn a_fifo_queue_refuses_to_delete_by_an_expired_handle() {
    let bench = Bench::memory();
    bench.fifo("q.fifo").await;
    bench.send_to_group("q.fifo", "g", "x").await;
    let stale = bench.receive_one("q.fifo").await;
    bench.advance_seconds(30);
    let expired = Err(Error::ReceiptHandleExpired(stale.receipt_handle.clone()));
    assert_eq!(bench.delete("q.fifo", &stale).await, expired);
    let current = bench.receive_one("q.fifo").await;
    assert_eq!(bench.delete("q.fifo", &stale).await, expired);
    assert_eq!(bench.delete("q.fifo", &current).await, Ok(()));
    // The message is gone, so a repeated delete succeeds.
    assert_eq!(bench.delete("q.fifo", &current).await, Ok(()));
    assert_eq!(bench.counts("q.fifo"), (0, 0, 0));
}

#[tokio::test]
async fn a_standard_queue_deletes_by_the_latest_handle_only() {
    let bench = Bench::memory();
    bench.queue("q", []).await;
    bench.send("q", "x").await;
    let first = bench.receive_one("q").await;
    bench.advance_seconds(30);
    let second = bench.receive_one("q").await;
    assert_eq!(bench.delete("q", &first).await, Ok(()));
    assert_eq!(bench.counts("q"), (0, 1, 0));
    bench.advance_seconds(30);
    // Expired, but nobody has received it since.
    assert_eq!(bench.delete("q", &second).await, Ok(()));
    assert_eq!(bench.counts("q"), (0, 0, 0));
}

#[tokio::test]
async fn visibility_can_be_changed_only_by_the_handle_of_the_latest_receive() {
    let bench = Bench::memory();
    for queue in ["q", "q.fifo"] {
        match queue {
            "q" => bench.queue(queue, []).await,
            _ => bench.fifo(queue).await,
        }
        bench.send_to_group(queue, "g", "x").await;
        let stale = bench.receive_one(queue).await;
        bench.advance_seconds(30);
        let current = bench.receive_one(queue).await;
        let refused = Err(Error::ReceiptHandleNotCurrent(stale.receipt_handle.clone()));
        assert_eq!(bench.hide(queue, &stale, 0).await, refused);
        bench.hide(queue, &current, 10).await.unwrap();
        bench.delete(queue, &current).await.unwrap();
        assert!(matches!(bench.hide(queue, &current, 1).await, Err(Error::ReceiptHandleNotCurrent(_))));
    }
}

#[tokio::test]
async fn an_expired_handle_can_change_visibility_on_a_standard_queue_only() {
    let bench = Bench::memory();
    bench.queue("q", []).await;
    bench.fifo("q.fifo").await;
    for (queue, allowed) in [("q", true), ("q.fifo", false)] {
        bench.send_to_group(queue, "g", "x").await;
        let message = bench.receive_one(queue).await;
        bench.advance_seconds(31);
        assert_eq!(bench.hide(queue, &message, 10).await.is_ok(), allowed);
        assert_eq!(bench.receive(queue).await.is_empty(), allowed);
    }
}

#[tokio::test]
async fn visibility_ends_twelve_hours_after_the_receive_at_the_latest() {
    let bench = Bench::memory();
    bench.queue("q", []).await;
    bench.send("q", "x").await;
    let message = bench.receive_one("q").await;
    bench.advance_seconds(10);
    assert!(bench.hide("q", &message, 43_190).await.is_ok());
    assert!(matches!(bench.hide("q", &message, 43_191).await, Err(Error::InvalidParameter { .. })));
}

#[tokio::test]
async fn foreign_and_malformed_handles_are_refused() {
    let bench = Bench::memory();
    bench.queue("q", []).await;
    bench.queue("other", []).await;
    bench.send("q", "x").await;
    let message = bench.receive_one("q").await;
    assert!(matches!(bench.delete("other", &message).await, Err(Error::ReceiptHandleIsInvalid(_))));
    let garbage =
        bench.call("DeleteMessage", json!({ "QueueUrl": "q", "ReceiptHandle": "garbage" })).await.unwrap_err();
    let text = "The input receipt handle \"garbage\" is not a valid receipt handle.";
    assert_eq!(garbage, ("ReceiptHandleIsInvalid".to_owned(), text.to_owned()));
}

#[tokio::test]
async fn a_messages_own_delay_replaces_that_of_its_queue() {
    let bench = Bench::memory();
    bench.queue("q", [("DelaySeconds", "5")]).await;
    bench.send("q", "queue's").await;
    let own = json!({ "QueueUrl": "q", "MessageBody": "own", "DelaySeconds": 9 });
    bench.call("SendMessage", own).await.unwrap();
    let none = json!({ "QueueUrl": "q", "MessageBody": "none", "DelaySeconds": 0 });
    bench.call("SendMessage", none).await.unwrap();
    assert_eq!(bench.counts("q"), (1, 0, 2));
    assert_eq!(bodies(&bench.receive("q").await), ["none"]);
    bench.advance_seconds(5);
    assert_eq!(bodies(&bench.receive("q").await), ["queue's"]);
    bench.advance_seconds(4);
    assert_eq!(bodies(&bench.receive("q").await), ["own"]);
}

#[tokio::test]
async fn a_fifo_queue_refuses_a_messages_own_delay_and_applies_a_changed_queue_delay_to_its_messages() {
    let bench = Bench::memory();
    bench.fifo("q.fifo").await;
    let own = json!({ "QueueUrl": "q.fifo", "MessageBody": "x", "MessageGroupId": "g", "DelaySeconds": 2 });
    let (code, text) = bench.call("SendMessage", own).await.unwrap_err();
    assert_eq!(code, "InvalidParameterValue");
    assert!(text.contains("not valid for this queue type"), "{text}");
    bench.send_to_group("q.fifo", "g", "x").await;
    let attributes = json!({ "QueueUrl": "q.fifo", "Attributes": { "DelaySeconds": "60" } });
    bench.call("SetQueueAttributes", attributes).await.unwrap();
    assert_eq!(bench.counts("q.fifo"), (0, 0, 1));
    bench.advance_seconds(60);
    assert_eq!(bodies(&bench.receive("q.fifo").await), ["x"]);
}

#[tokio::test]
async fn a_message_ends_with_its_retention_period_even_in_flight() {
    let bench = Bench::memory();
    bench.queue("q", [("MessageRetentionPeriod", "60"), ("VisibilityTimeout", "300")]).await;
    bench.send("q", "in flight").await;
    bench.receive_one("q").await;
    bench.advance_seconds(30);
    bench.send("q", "younger").await;
    bench.advance_seconds(30);
    assert_eq!(bench.counts("q"), (1, 0, 0));
    bench.advance_seconds(30);
    assert_eq!(bench.counts("q"), (0, 0, 0));
}

#[tokio::test]
async fn a_message_that_keeps_failing_does_not_block_a_standard_queue() {
    let bench = Bench::memory();
    bench.queue("q", [("VisibilityTimeout", "1")]).await;
    bench.send("q", "poison").await;
    bench.send("q", "good").await;
    assert_eq!(bench.receive_one("q").await.body, "poison");
    bench.advance_seconds(1);
    assert_eq!(bench.receive_one("q").await.body, "good");
}

#[tokio::test]
async fn counts_distinguish_visible_in_flight_and_delayed() {
    // On FIFO as LocalStack recorded from AWS: the rest of a locked group counts as visible.
    let bench = Bench::memory();
    bench.fifo("q.fifo").await;
    for (group, body) in [("1", "a"), ("1", "b"), ("2", "c"), ("2", "d"), ("3", "e"), ("3", "f")] {
        bench.send_to_group("q.fifo", group, body).await;
    }
    bench.receive_one("q.fifo").await;
    bench.receive_one("q.fifo").await;
    assert_eq!(bench.counts("q.fifo"), (4, 2, 0));
    bench.advance_seconds(30);
    assert_eq!(bench.counts("q.fifo"), (6, 0, 0));
}

#[tokio::test]
async fn the_age_of_the_oldest_message_counts_until_the_message_is_deleted() {
    let bench = Bench::memory();
    bench.queue("q", []).await;
    let oldest = || bench.sqs.counts()["q"].oldest;
    assert_eq!(oldest(), None);
    bench.send("q", "first").await;
    bench.advance_seconds(5);
    bench.send("q", "second").await;
    bench.advance_seconds(2);
    assert_eq!(oldest(), Some(Duration::from_secs(7)));
    let first = bench.receive_one("q").await;
    assert_eq!(oldest(), Some(Duration::from_secs(7)), "it is received and not deleted");
    bench.delete("q", &first).await.unwrap();
    assert_eq!(oldest(), Some(Duration::from_secs(2)));
}
