//! The calls that only a user within the process has.

use super::*;

fn messages<const N: usize>(messages: [(&str, &str); N]) -> Vec<(String, String)> {
    messages.map(|(queue, body)| (queue.to_owned(), body.to_owned())).to_vec()
}

#[tokio::test]
async fn messages_for_several_queues_are_all_sent_or_none_is() {
    let bench = Bench::memory();
    bench.queue("a", [("MaximumMessageSize", "1024")]).await;
    bench.queue("b", []).await;
    let refused = bench.sqs.send(messages([("a", "1"), ("none", "2")])).await;
    assert_eq!(refused, Err(Error::QueueDoesNotExist));
    assert_eq!(bench.counts("a"), (0, 0, 0));
    let large = "x".repeat(2 << 20);
    bench.sqs.send(messages([("a", "1"), ("b", "2"), ("a", &large)])).await.unwrap();
    assert_eq!(bodies(&bench.receive("a").await), ["1", &large]);
    assert_eq!(bodies(&bench.receive("b").await), ["2"]);
}

#[tokio::test]
async fn a_message_is_replaced_by_one_that_comes_later_also_after_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("sqs");
    let before = Bench::file(&path, START_MS);
    before.queue("q", []).await;
    before.sqs.send(messages([("q", "first")])).await.unwrap();
    let first = before.receive_one("q").await;
    before.sqs.replace("q", &first.receipt_handle, "second".to_owned(), Duration::from_secs(60)).await.unwrap();
    assert_eq!(before.counts("q"), (0, 0, 1));
    before.sqs.close().await;

    let after = Bench::file(&path, START_MS + 59_000);
    assert_eq!(after.counts("q"), (0, 0, 1));
    after.advance_seconds(1);
    let second = after.receive_one("q").await;
    assert_eq!((second.body.as_str(), second.attributes["ApproximateReceiveCount"].as_str()), ("second", "1"));
    let foreign = after.sqs.replace("q", "none", String::new(), Duration::ZERO).await;
    assert!(matches!(foreign, Err(Error::ReceiptHandleIsInvalid(_))), "{foreign:?}");
    assert_eq!(after.counts("q"), (0, 1, 0), "nothing was sent in its place");
}

#[tokio::test]
async fn messages_of_receivers_that_are_gone_are_released_and_delayed_ones_are_not() {
    let bench = Bench::memory();
    bench.queue("q", []).await;
    bench.sqs.send(messages([("q", "1"), ("q", "2")])).await.unwrap();
    let one = bench.receive_one("q").await;
    bench.sqs.replace("q", &one.receipt_handle, "1 again".to_owned(), Duration::from_secs(60)).await.unwrap();
    bench.receive_one("q").await;
    assert_eq!(bench.counts("q"), (0, 1, 1));
    bench.sqs.release("q").await.unwrap();
    assert_eq!(bench.counts("q"), (1, 0, 1));
    assert_eq!(bodies(&bench.receive("q").await), ["2"]);
    assert_eq!(bench.sqs.release("none").await, Err(Error::QueueDoesNotExist));
}
