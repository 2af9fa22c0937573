//! Long polls: how they wake, how they end, and the effects of a dropped one.
//!
//! The tests run on one thread: `settle` lets every task run until it waits, so nothing depends on real time.

use super::*;
use tokio::task::JoinHandle;

async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

fn poll(bench: &Bench, queue: &'static str) -> JoinHandle<Vec<Message>> {
    let bench = bench.clone();
    let request = Receive { max_messages: 1, wait: Duration::from_secs(20), visibility_timeout: None };
    tokio::spawn(async move { bench.sqs.receive(queue, request).await.unwrap() })
}

#[tokio::test]
async fn a_send_wakes_a_waiting_receiver() {
    let bench = Bench::memory();
    bench.queue("q", []).await;
    let waiting = poll(&bench, "q");
    settle().await;
    assert!(!waiting.is_finished());
    bench.send("q", "x").await;
    assert_eq!(bodies(&waiting.await.unwrap()), ["x"]);
}

#[tokio::test]
async fn every_waiting_receiver_gets_one_of_a_batch() {
    let bench = Bench::memory();
    bench.queue("q", []).await;
    let waiting: Vec<_> = (0..10).map(|_| poll(&bench, "q")).collect();
    settle().await;
    let entries: Vec<_> = (0..10).map(|i| json!({ "Id": i.to_string(), "MessageBody": i.to_string() })).collect();
    bench.call("SendMessageBatch", json!({ "QueueUrl": "q", "Entries": entries })).await.unwrap();
    for task in waiting {
        assert_eq!(task.await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn deleting_or_returning_a_message_wakes_a_receiver_of_its_group() {
    let bench = Bench::memory();
    bench.fifo("q.fifo").await;
    for body in ["1", "2", "3"] {
        bench.send_to_group("q.fifo", "g", body).await;
    }
    let first = bench.receive_one("q.fifo").await;
    let waiting = poll(&bench, "q.fifo");
    settle().await;
    assert!(!waiting.is_finished());
    bench.delete("q.fifo", &first).await.unwrap();
    let second = waiting.await.unwrap().pop().unwrap();
    assert_eq!(second.body, "2");

    let waiting = poll(&bench, "q.fifo");
    settle().await;
    bench.hide("q.fifo", &second, 0).await.unwrap();
    assert_eq!(bodies(&waiting.await.unwrap()), ["2"]);
}

#[tokio::test]
async fn a_waiting_receiver_wakes_when_a_message_becomes_visible_by_itself() {
    let bench = Bench::memory();
    bench.queue("q", [("VisibilityTimeout", "5")]).await;
    let delayed = json!({ "QueueUrl": "q", "MessageBody": "delayed", "DelaySeconds": 7 });
    bench.send("q", "expiring").await;
    bench.receive_one("q").await;
    let (one, other) = (poll(&bench, "q"), poll(&bench, "q"));
    settle().await;
    bench.call("SendMessage", delayed).await.unwrap();
    bench.advance_seconds(5);
    settle().await;
    assert_ne!(one.is_finished(), other.is_finished(), "one has the expired message, the other waits on");
    bench.advance_seconds(2);
    let mut got = [one.await.unwrap().pop().unwrap().body, other.await.unwrap().pop().unwrap().body];
    got.sort();
    assert_eq!(got, ["delayed", "expiring"]);
}

#[tokio::test]
async fn another_receiver_watches_the_timer_of_one_that_left() {
    let bench = Bench::memory();
    bench.queue("q", []).await;
    bench.send("q", "x").await;
    let message = bench.receive_one("q").await;
    let (one, other) = (poll(&bench, "q"), poll(&bench, "q"));
    settle().await;
    // One of the two is woken for the shortened timeout. Whichever it is, the other must still notice its end.
    bench.hide("q", &message, 3).await.unwrap();
    settle().await;
    one.abort();
    settle().await;
    bench.advance_seconds(3);
    assert_eq!(bodies(&other.await.unwrap()), ["x"]);
}

#[tokio::test]
async fn a_long_poll_ends_empty_after_its_wait() {
    let bench = Bench::memory();
    bench.queue("q", [("ReceiveMessageWaitTimeSeconds", "10")]).await;
    let request = json!({ "QueueUrl": "q" });
    let waiting = tokio::spawn({
        let bench = bench.clone();
        async move { bench.call("ReceiveMessage", request).await.unwrap() }
    });
    settle().await;
    bench.clock.advance(Duration::from_millis(9_999));
    settle().await;
    assert!(!waiting.is_finished());
    bench.clock.advance(Duration::from_millis(1));
    assert_eq!(waiting.await.unwrap(), json!({}));
    let short = json!({ "QueueUrl": "q", "WaitTimeSeconds": 0 });
    assert_eq!(bench.call("ReceiveMessage", short).await.unwrap(), json!({}));
}

#[tokio::test]
async fn an_aborted_long_poll_takes_no_message_with_it() {
    let bench = Bench::memory();
    bench.queue("q", []).await;
    let (leaving, staying) = (poll(&bench, "q"), poll(&bench, "q"));
    settle().await;
    // The send wakes the first; it leaves before it could run, so the second must get the message.
    bench.send("q", "x").await;
    leaving.abort();
    assert_eq!(bodies(&staying.await.unwrap()), ["x"]);
    assert!(leaving.await.unwrap_err().is_cancelled());
}

#[tokio::test]
async fn a_receive_that_is_dropped_while_it_is_written_takes_no_message() {
    let directory = tempfile::tempdir().unwrap();
    let bench = Bench::file(&directory.path().join("sqs"), START_MS);
    bench.fifo("q.fifo").await;
    bench.send_to_group("q.fifo", "g", "x").await;
    let request = Receive { max_messages: 1, wait: Duration::ZERO, visibility_timeout: None };
    {
        let mut receive = std::pin::pin!(bench.sqs.receive("q.fifo", request));
        // Polled once: the message is in flight, and waits for its commit.
        let first = std::future::poll_fn(|context| std::task::Poll::Ready(receive.as_mut().poll(context))).await;
        match first {
            std::task::Poll::Pending => assert_eq!(bench.counts("q.fifo"), (0, 1, 0)),
            // The writer was faster: nothing to drop.
            std::task::Poll::Ready(_) => return,
        }
    }
    assert_eq!(bench.counts("q.fifo"), (1, 0, 0));
    assert_eq!(bench.receive_one("q.fifo").await.attributes["ApproximateReceiveCount"], "1");
}

#[tokio::test]
async fn deleting_the_queue_or_closing_the_server_ends_long_polls() {
    let bench = Bench::memory();
    bench.queue("deleted", []).await;
    bench.queue("closed", []).await;
    let sqs = bench.sqs.clone();
    let request = Receive { max_messages: 1, wait: Duration::from_secs(20), visibility_timeout: None };
    let deleted = tokio::spawn(async move { sqs.receive("deleted", request).await });
    let closed = poll(&bench, "closed");
    settle().await;
    bench.call("DeleteQueue", json!({ "QueueUrl": "deleted" })).await.unwrap();
    assert_eq!(deleted.await.unwrap(), Err(Error::QueueDoesNotExist));
    bench.sqs.close().await;
    assert!(closed.await.unwrap().is_empty());
    assert_eq!(bench.sqs.receive("closed", request).await, Err(Error::Closed));
}
