//! The mapping with a queue in memory that counts its requests, and with functions that wait until the test releases
//! them.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Notify, mpsc, oneshot};

use super::*;

#[derive(Default)]
struct State {
    visible: VecDeque<Message>,
    received: usize,
    deleted: Vec<String>,
    asked_for: Vec<usize>,
    failures: usize,
}

#[derive(Clone, Default)]
struct TestQueue {
    state: Arc<Mutex<State>>,
    changed: Arc<Notify>,
}

impl TestQueue {
    fn with(messages: usize) -> TestQueue {
        let queue = TestQueue::default();
        (0..messages).for_each(|id| queue.send(&id.to_string()));
        queue
    }

    fn send(&self, id: &str) {
        let message = Message {
            message_id: id.into(),
            receipt_handle: format!("receipt-{id}"),
            body: format!("body {id}"),
            ..Message::default()
        };
        self.state.lock().unwrap().visible.push_back(message);
        self.changed.notify_waiters();
    }

    /// Waits until `condition` holds, by notification of every change.
    async fn when(&self, condition: impl Fn(&State) -> bool) {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            if condition(&self.state.lock().unwrap()) {
                return;
            }
            changed.await;
        }
    }

    fn deleted(&self) -> Vec<String> {
        let mut deleted = self.state.lock().unwrap().deleted.clone();
        deleted.sort();
        deleted
    }
}

impl Queue for TestQueue {
    type Error = &'static str;

    async fn receive(&self, max_messages: usize, wait: Duration) -> Result<Vec<Message>, &'static str> {
        {
            let mut state = self.state.lock().unwrap();
            state.asked_for.push(max_messages);
            if state.failures > 0 {
                state.failures -= 1;
                return Err("the queue is out of order");
            }
        }
        let _ = tokio::time::timeout(wait, self.when(|state| !state.visible.is_empty())).await;
        let mut state = self.state.lock().unwrap();
        let count = max_messages.min(state.visible.len());
        state.received += count;
        let messages = state.visible.drain(..count).collect();
        drop(state);
        self.changed.notify_waiters();
        Ok(messages)
    }

    async fn delete(&self, receipt_handles: &[String]) -> Result<(), &'static str> {
        assert!(receipt_handles.len() <= MESSAGES_PER_REQUEST);
        self.state.lock().unwrap().deleted.extend_from_slice(receipt_handles);
        self.changed.notify_waiters();
        Ok(())
    }
}

fn source() -> EventSource {
    EventSource {
        function: "worker".into(),
        queue_arn: "arn:aws:sqs:us-east-1:000000000000:messages".into(),
        region: "us-east-1".into(),
        batch_size: 1,
        maximum_batching_window: Duration::ZERO,
        maximum_concurrency: 10,
        report_batch_item_failures: true,
        filter: Filter::default(),
    }
}

fn ids(payload: &[u8]) -> Vec<String> {
    let event: serde_json::Value = serde_json::from_slice(payload).unwrap();
    let records = event["Records"].as_array().unwrap();
    records.iter().map(|record| record["messageId"].as_str().unwrap().to_owned()).collect()
}

/// An invocation that waits for its result.
struct Held {
    ids: Vec<String>,
    end: oneshot::Sender<Result<Bytes, &'static str>>,
}

type Invocation = futures_util::future::BoxFuture<'static, Result<Bytes, &'static str>>;

/// A function whose invocations the test ends one by one.
fn held() -> (impl Fn(Bytes) -> Invocation + Send + Sync + 'static, mpsc::UnboundedReceiver<Held>) {
    let (started, invocations) = mpsc::unbounded_channel();
    let function = move |payload: Bytes| -> Invocation {
        let (end, result) = oneshot::channel();
        started.send(Held { ids: ids(&payload), end }).unwrap_or_else(|_| panic!("the test is over"));
        Box::pin(async move { result.await.unwrap() })
    };
    (function, invocations)
}

fn returning(result: Result<&'static str, &'static str>) -> impl Fn(Bytes) -> Invocation + Send + Sync + 'static {
    move |_| Box::pin(async move { result.map(Bytes::from) })
}

async fn stop(shutdown: CancellationToken, source: JoinHandle<()>) {
    shutdown.cancel();
    source.await.unwrap();
}

#[tokio::test]
async fn messages_of_a_successful_batch_are_deleted() {
    let (queue, shutdown) = (TestQueue::with(3), CancellationToken::new());
    let task = start(source(), queue.clone(), returning(Ok("null")), shutdown.clone());
    queue.when(|state| state.deleted.len() == 3).await;
    stop(shutdown, task).await;
    assert_eq!(queue.deleted(), ["receipt-0", "receipt-1", "receipt-2"]);
}

#[tokio::test]
async fn only_reported_failures_stay_in_the_queue() {
    let (queue, shutdown) = (TestQueue::with(3), CancellationToken::new());
    let report = r#"{"batchItemFailures":[{"itemIdentifier":"1"}]}"#;
    let source = EventSource { batch_size: 3, ..source() };
    let task = start(source, queue.clone(), returning(Ok(report)), shutdown.clone());
    queue.when(|state| state.deleted.len() == 2).await;
    stop(shutdown, task).await;
    assert_eq!(queue.deleted(), ["receipt-0", "receipt-2"]);
}

#[tokio::test]
async fn a_function_error_and_a_report_of_unknown_messages_delete_nothing() {
    for result in [Err("it failed"), Ok(r#"{"batchItemFailures":[{"itemIdentifier":"unheard-of"}]}"#)] {
        let (queue, shutdown) = (TestQueue::with(2), CancellationToken::new());
        let task = start(source(), queue.clone(), returning(result), shutdown.clone());
        queue.when(|state| state.received == 2).await;
        stop(shutdown, task).await; // Waits for the running batches.
        assert!(queue.deleted().is_empty(), "{result:?}");
    }
}

#[tokio::test]
async fn a_report_is_ignored_without_report_batch_item_failures() {
    let (queue, shutdown) = (TestQueue::with(1), CancellationToken::new());
    let report = r#"{"batchItemFailures":[{"itemIdentifier":"0"}]}"#;
    let source = EventSource { report_batch_item_failures: false, ..source() };
    let task = start(source, queue.clone(), returning(Ok(report)), shutdown.clone());
    queue.when(|state| state.deleted.len() == 1).await;
    stop(shutdown, task).await;
}

#[tokio::test]
async fn every_received_message_runs_and_never_more_than_the_maximum_at_once() {
    for fifo in ["", ".fifo"] {
        let (queue, shutdown) = (TestQueue::with(200), CancellationToken::new());
        let (function, mut invocations) = held();
        let source = EventSource { queue_arn: source().queue_arn + fifo, maximum_concurrency: 7, ..source() };
        let task = start(source, queue.clone(), function, shutdown.clone());
        let mut running = VecDeque::new();
        let mut seen = Vec::new();
        let mut most = 0;
        while seen.len() < 200 {
            let next = invocations.recv().await.unwrap();
            seen.extend(next.ids.clone());
            running.push_back(next);
            most = most.max(running.len());
            let deleted = queue.state.lock().unwrap().deleted.len();
            let received = queue.state.lock().unwrap().received;
            assert!(received - deleted <= 7, "{received} received, {deleted} done");
            if running.len() == 7 || seen.len() == 200 {
                running.pop_front().unwrap().end.send(Ok(Bytes::new())).unwrap();
            }
        }
        running.drain(..).for_each(|held| held.end.send(Ok(Bytes::new())).unwrap());
        queue.when(|state| state.deleted.len() == 200).await;
        stop(shutdown, task).await;
        assert_eq!(most, 7);
        assert_eq!(seen, (0..200).map(|id| id.to_string()).collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_maximum_is_exact_under_racing_completions() {
    let (queue, shutdown) = (TestQueue::with(2000), CancellationToken::new());
    let running = Arc::new((AtomicUsize::new(0), AtomicUsize::new(0)));
    let counters = Arc::clone(&running);
    let function = move |_| {
        let counters = Arc::clone(&counters);
        async move {
            let now = counters.0.fetch_add(1, Ordering::SeqCst) + 1;
            counters.1.fetch_max(now, Ordering::SeqCst);
            for _ in 0..fastrand::u8(0..20) {
                tokio::task::yield_now().await;
            }
            counters.0.fetch_sub(1, Ordering::SeqCst);
            Ok::<_, &str>(Bytes::new())
        }
    };
    let source = EventSource { maximum_concurrency: 20, ..source() };
    let task = start(source, queue.clone(), function, shutdown.clone());
    queue.when(|state| state.deleted.len() == 2000).await;
    stop(shutdown, task).await;
    let most = running.1.load(Ordering::SeqCst);
    assert!((2..=20).contains(&most), "{most}");
}

#[tokio::test]
async fn shutdown_stops_receiving_and_waits_for_running_batches() {
    let (queue, shutdown) = (TestQueue::with(2), CancellationToken::new());
    let (function, mut invocations) = held();
    let source = EventSource { maximum_concurrency: 3, ..source() };
    let mut task = start(source, queue.clone(), function, shutdown.clone());
    let running = [invocations.recv().await.unwrap(), invocations.recv().await.unwrap()];
    shutdown.cancel();
    queue.send("late");
    assert!(futures_util::poll!(&mut task).is_pending());
    running.into_iter().for_each(|held| held.end.send(Ok(Bytes::new())).unwrap());
    task.await.unwrap();
    assert_eq!(queue.deleted(), ["receipt-0", "receipt-1"]);
    assert_eq!(queue.state.lock().unwrap().visible.len(), 1);
}

#[tokio::test]
async fn a_fifo_batch_holds_the_messages_of_one_receive() {
    let (queue, shutdown) = (TestQueue::with(25), CancellationToken::new());
    let (function, mut invocations) = held();
    let source = EventSource { queue_arn: source().queue_arn + ".fifo", batch_size: 10, ..source() };
    let task = start(source, queue.clone(), function, shutdown.clone());
    for expected in [0..10, 10..20, 20..25] {
        let batch = invocations.recv().await.unwrap();
        assert_eq!(batch.ids, expected.map(|id| id.to_string()).collect::<Vec<_>>());
        batch.end.send(Ok(Bytes::new())).unwrap();
    }
    stop(shutdown, task).await;
    assert!(queue.state.lock().unwrap().asked_for.iter().all(|count| *count == 10));
}

#[tokio::test]
async fn a_standard_queue_is_asked_for_as_many_messages_as_there_are_free_places() {
    let (queue, shutdown) = (TestQueue::with(12), CancellationToken::new());
    let (function, mut invocations) = held();
    let source = EventSource { maximum_concurrency: 12, ..source() };
    let task = start(source, queue.clone(), function, shutdown.clone());
    let mut running = Vec::new();
    for _ in 0..12 {
        running.push(invocations.recv().await.unwrap());
    }
    assert_eq!(queue.state.lock().unwrap().asked_for, [10, 2]);
    running.into_iter().for_each(|held| held.end.send(Ok(Bytes::new())).unwrap());
    stop(shutdown, task).await;
}

#[tokio::test]
async fn a_batching_window_waits_for_a_batch_to_be_full() {
    let (queue, shutdown) = (TestQueue::with(1), CancellationToken::new());
    let (function, mut invocations) = held();
    let window = Duration::from_secs(3600);
    let source = EventSource { batch_size: 3, maximum_batching_window: window, ..source() };
    let task = start(source, queue.clone(), function, shutdown.clone());
    for received in 1..3 {
        queue.when(|state| state.received == received).await;
        assert!(invocations.try_recv().is_err(), "not full yet");
        queue.send(&received.to_string());
    }
    let full = invocations.recv().await.unwrap();
    assert_eq!(full.ids, ["0", "1", "2"]);
    full.end.send(Ok(Bytes::new())).unwrap();
    stop(shutdown, task).await;
}

#[tokio::test]
async fn a_batch_that_is_not_full_runs_when_its_window_is_over_or_at_shutdown() {
    for (window, stopped) in [(Duration::from_millis(50), false), (Duration::from_secs(3600), true)] {
        let (queue, shutdown) = (TestQueue::with(1), CancellationToken::new());
        let (function, mut invocations) = held();
        let source = EventSource { batch_size: 3, maximum_batching_window: window, ..source() };
        let began = Instant::now();
        let task = start(source, queue.clone(), function, shutdown.clone());
        queue.when(|state| state.received == 1).await;
        if stopped {
            shutdown.cancel();
        }
        let batch = invocations.recv().await.unwrap();
        assert!(stopped || began.elapsed() >= window);
        batch.end.send(Ok(Bytes::new())).unwrap();
        stop(shutdown, task).await;
        assert_eq!(queue.deleted(), ["receipt-0"]);
    }
}

#[tokio::test]
async fn polling_goes_on_after_an_error_of_the_queue() {
    let (queue, shutdown) = (TestQueue::with(1), CancellationToken::new());
    queue.state.lock().unwrap().failures = 2;
    let began = Instant::now();
    let task = start(source(), queue.clone(), returning(Ok("{}")), shutdown.clone());
    queue.when(|state| state.deleted.len() == 1).await;
    assert!(began.elapsed() >= BACKOFF.0 + BACKOFF.0 * 2);
    stop(shutdown, task).await;
}

#[tokio::test]
async fn messages_that_do_not_pass_the_filter_are_deleted_without_an_invocation() {
    let (queue, shutdown) = (TestQueue::with(4), CancellationToken::new());
    let pattern = samovar_eventbridge::Pattern::parse(r#"{"body":["body 1",{"suffix":" 3"}]}"#).unwrap();
    let source = EventSource { batch_size: 10, filter: Filter(vec![pattern]), ..source() };
    let (function, mut invocations) = held();
    let task = start(source, queue.clone(), function, shutdown.clone());
    let batch = invocations.recv().await.unwrap();
    assert_eq!(batch.ids, ["1", "3"]);
    assert_eq!(queue.deleted(), ["receipt-0", "receipt-2"]);
    batch.end.send(Ok(Bytes::new())).unwrap();
    queue.when(|state| state.deleted.len() == 4).await;
    queue.send("4");
    queue.when(|state| state.deleted.len() == 5).await;
    assert!(invocations.try_recv().is_err(), "nothing of that batch has passed");
    stop(shutdown, task).await;
}
