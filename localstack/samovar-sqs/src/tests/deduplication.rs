//! The five minutes during which a FIFO queue ignores repeats.

use super::*;

async fn send(bench: &Bench, group: &str, id: &str, body: &str) -> (String, String) {
    let sent = bench
        .call(
            "SendMessage",
            json!({ "QueueUrl": "q.fifo", "MessageBody": body, "MessageGroupId": group, "MessageDeduplicationId": id }),
        )
        .await
        .unwrap();
    let text = |name: &str| sent[name].as_str().unwrap().to_owned();
    (text("MessageId"), text("SequenceNumber"))
}

#[tokio::test]
async fn a_repeat_within_five_minutes_gets_the_answer_of_the_first_send() {
    let bench = Bench::memory();
    bench.queue("q.fifo", [("FifoQueue", "true")]).await;
    let first = send(&bench, "g", "id", "one").await;
    assert_eq!(send(&bench, "g", "id", "two").await, first);
    let message = bench.receive_one("q.fifo").await;
    assert_eq!((message.body.as_str(), &message.attributes["SequenceNumber"]), ("one", &first.1));
    bench.delete("q.fifo", &message).await.unwrap();
    // Deleting the message does not end the window, and a repeat does not extend it.
    bench.clock.advance(Duration::from_millis(299_999));
    assert_eq!(send(&bench, "g", "id", "three").await, first);
    assert_eq!(bench.counts("q.fifo"), (0, 0, 0));
    bench.clock.advance(Duration::from_millis(1));
    let second = send(&bench, "g", "id", "four").await;
    assert_ne!(second.0, first.0);
    assert!(second.1 > first.1, "sequence numbers grow");
    assert_eq!(second.1.len(), 20);
    assert_eq!(bodies(&bench.receive("q.fifo").await), ["four"]);
}

#[tokio::test]
async fn content_based_deduplication_goes_by_the_body_unless_an_id_is_given() {
    let bench = Bench::memory();
    bench.fifo("q.fifo").await;
    let first = bench.send_to_group("q.fifo", "g", "same").await;
    assert_eq!(bench.send_to_group("q.fifo", "other", "same").await.len(), 36);
    assert_eq!(bench.counts("q.fifo").0, 1);
    assert_ne!(send(&bench, "g", "own-id", "same").await.0, first);
    let ids: Vec<_> =
        bench.receive("q.fifo").await.iter().map(|m| m.attributes["MessageDeduplicationId"].clone()).collect();
    let sha256 = "0967115f2813a3541eaef77de9d9d5773f1c0c04314b0bbfe4ff3b3b1c55b5d5";
    assert_eq!(ids, [sha256, "own-id"]);
}

#[tokio::test]
async fn with_the_scope_message_group_the_same_id_is_used_once_per_group() {
    let bench = Bench::memory();
    bench.queue("q.fifo", [("FifoQueue", "true"), ("DeduplicationScope", "messageGroup")]).await;
    let a = send(&bench, "a", "id", "x").await;
    let b = send(&bench, "b", "id", "x").await;
    assert_ne!(a, b);
    assert_eq!(send(&bench, "a", "id", "x").await, a);
    assert_eq!(bench.counts("q.fifo").0, 2);
}

#[tokio::test]
async fn purging_forgets_the_ids() {
    let bench = Bench::memory();
    bench.queue("q.fifo", [("FifoQueue", "true")]).await;
    send(&bench, "g", "id", "one").await;
    bench.call("PurgeQueue", json!({ "QueueUrl": "q.fifo" })).await.unwrap();
    assert_eq!(bench.counts("q.fifo"), (0, 0, 0));
    send(&bench, "g", "id", "two").await;
    assert_eq!(bodies(&bench.receive("q.fifo").await), ["two"]);
}
