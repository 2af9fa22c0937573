//! The mapping of a stream with a shard in memory, and functions that follow a script.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Filter;
use super::stream::*;
use crate::clock;

#[derive(Debug, Default, Clone)]
struct Seen {
    /// The records of each invocation.
    batches: Vec<Vec<u32>>,
    committed: Vec<u32>,
    discarded: Vec<Value>,
    requests: usize,
    /// The numbers of the requests to the shard that fail, from 1.
    failing: Vec<usize>,
}

/// A shard that holds the numbers below a watched one.
struct TestShard {
    written: watch::Receiver<u32>,
    created_seconds: u64,
    seen: Arc<watch::Sender<Seen>>,
}

impl TestShard {
    fn fails(&self) -> Result<(), String> {
        let mut fails = false;
        self.seen.send_modify(|seen| {
            seen.requests += 1;
            fails = seen.failing.contains(&seen.requests);
        });
        if fails { Err("out of order".to_owned()) } else { Ok(()) }
    }
}

impl Shard for TestShard {
    type Error = String;

    async fn read(&self, after: Option<&str>, max: usize) -> Result<Vec<Record>, String> {
        self.fails()?;
        let from = after.map_or(0, |after| after.parse::<u32>().unwrap() + 1);
        let record = |number: u32| Record {
            sequence_number: number.to_string(),
            created_seconds: self.created_seconds,
            json: json!({ "n": number }).to_string(),
        };
        Ok((from..*self.written.borrow()).take(max).map(record).collect())
    }

    async fn more(&mut self) {
        self.written.changed().await.unwrap();
    }

    async fn commit(&self, sequence_number: &str) -> Result<(), String> {
        self.fails()?;
        self.seen.send_modify(|seen| seen.committed.push(sequence_number.parse().unwrap()));
        Ok(())
    }

    async fn discard(&self, description: String) -> Result<(), String> {
        self.fails()?;
        self.seen.send_modify(|seen| seen.discarded.push(serde_json::from_str(&description).unwrap()));
        Ok(())
    }
}

fn source() -> StreamSource {
    StreamSource {
        function: "f".into(),
        function_arn: "arn:f".into(),
        stream_arn: "arn:s".into(),
        shard_id: "shard".into(),
        batch_size: 4,
        maximum_batching_window: Duration::ZERO,
        bisect: false,
        maximum_retry_attempts: None,
        maximum_record_age: None,
        report_batch_item_failures: false,
        filter: Filter::default(),
    }
}

/// A function.
trait Answer: Fn(&[u32], usize) -> Result<Value, Failure> + Send + 'static {}

impl<F: Fn(&[u32], usize) -> Result<Value, Failure> + Send + 'static> Answer for F {}

struct Bench {
    write: watch::Sender<u32>,
    seen: watch::Receiver<Seen>,
    shutdown: CancellationToken,
    task: Option<tokio::task::JoinHandle<()>>,
}

impl Bench {
    /// With so many records, and a function that answers by the records and the number of earlier invocations.
    fn start(source: StreamSource, records: u32, answer: impl Answer) -> Self {
        Self::start_until(CancellationToken::new(), source, records, answer)
    }

    fn start_until(shutdown: CancellationToken, source: StreamSource, records: u32, answer: impl Answer) -> Self {
        Self::start_with(shutdown, source, records, Seen::default(), clock::since_epoch().as_secs(), answer)
    }

    fn start_with(
        shutdown: CancellationToken,
        source: StreamSource,
        records: u32,
        first: Seen,
        created_seconds: u64,
        answer: impl Answer,
    ) -> Self {
        let (write, written) = watch::channel(records);
        let (sender, seen) = watch::channel(first);
        let sender = Arc::new(sender);
        let shard = TestShard { written, created_seconds, seen: Arc::clone(&sender) };
        let answer = Arc::new(Mutex::new(answer));
        let invoke = move |payload: Bytes| {
            let (sender, answer) = (Arc::clone(&sender), Arc::clone(&answer));
            async move {
                let event: Value = serde_json::from_slice(&payload).unwrap();
                let numbers = event["Records"].as_array().unwrap().iter().map(|record| record["n"].as_u64().unwrap());
                let numbers: Vec<u32> = numbers.map(|number| u32::try_from(number).unwrap()).collect();
                let earlier = sender.borrow().batches.len();
                let answer = answer.lock().unwrap()(&numbers, earlier);
                sender.send_modify(|seen| seen.batches.push(numbers));
                answer.map(|value| value.to_string().into())
            }
        };
        let task = Some(start(source, shard, None, invoke, shutdown.clone()));
        Self { write, seen, shutdown, task }
    }

    async fn when(&mut self, condition: impl Fn(&Seen) -> bool) -> Seen {
        let seen = tokio::time::timeout(Duration::from_secs(20), self.seen.wait_for(|seen| condition(seen)));
        seen.await.expect("it happens").unwrap().clone()
    }

    async fn stop(self) -> Seen {
        self.shutdown.cancel();
        self.ended().await
    }

    async fn ended(mut self) -> Seen {
        self.task.take().unwrap().await.unwrap();
        self.seen.borrow().clone()
    }
}

fn failed() -> Result<Value, Failure> {
    Err(Failure::Failed("it is broken".into()))
}

#[tokio::test]
async fn records_come_in_their_order_and_the_position_follows_each_batch() {
    let mut bench = Bench::start(source(), 6, |_, _| Ok(Value::Null));
    bench.when(|seen| seen.committed.last() == Some(&5)).await;
    bench.write.send(7).unwrap();
    let seen = bench.when(|seen| seen.committed.last() == Some(&6)).await;
    assert_eq!(seen.batches, [vec![0, 1, 2, 3], vec![4, 5], vec![6]]);
    assert_eq!(seen.committed, [3, 5, 6]);
    bench.stop().await;
}

#[tokio::test]
async fn a_batch_that_fails_blocks_the_shard_until_it_succeeds() {
    let mut bench = Bench::start(source(), 5, |_, earlier| if earlier < 2 { failed() } else { Ok(Value::Null) });
    let seen = bench.when(|seen| seen.committed.last() == Some(&4)).await;
    assert_eq!(seen.batches, [vec![0, 1, 2, 3], vec![0, 1, 2, 3], vec![0, 1, 2, 3], vec![4]]);
    assert_eq!((seen.committed, seen.discarded.len()), (vec![3, 4], 0));
    bench.stop().await;
}

#[tokio::test]
async fn a_stop_between_two_tries_leaves_the_position_before_the_batch() {
    let mut bench = Bench::start(source(), 4, |_, _| failed());
    bench.when(|seen| !seen.batches.is_empty()).await;
    assert!(bench.stop().await.committed.is_empty());
}

#[tokio::test]
async fn a_batch_that_fails_while_the_mapping_stops_is_not_discarded() {
    let (source, shutdown) = (StreamSource { maximum_retry_attempts: Some(0), ..source() }, CancellationToken::new());
    let stopping = shutdown.clone();
    let bench = Bench::start_until(shutdown, source, 1, move |_, _| {
        stopping.cancel();
        failed()
    });
    let seen = bench.ended().await;
    assert_eq!((seen.batches.len(), seen.committed, seen.discarded.len()), (1, vec![], 0));
}

#[tokio::test]
async fn retries_end_and_the_destination_hears_of_the_batch() {
    let source = StreamSource { maximum_retry_attempts: Some(1), ..source() };
    let mut bench = Bench::start(source, 5, |numbers, _| if numbers.contains(&2) { failed() } else { Ok(Value::Null) });
    let seen = bench.when(|seen| seen.committed.last() == Some(&4)).await;
    assert_eq!(seen.batches, [vec![0, 1, 2, 3], vec![0, 1, 2, 3], vec![4]]);
    let [discarded] = seen.discarded.as_slice() else { panic!("{seen:?}") };
    assert_eq!(discarded["requestContext"]["condition"], "RetryAttemptsExhausted");
    assert_eq!(discarded["requestContext"]["approximateInvokeCount"], 2);
    assert_eq!(discarded["requestContext"]["functionArn"], "arn:f");
    assert_eq!(discarded["responseContext"]["functionError"], "Unhandled");
    let info = &discarded["DDBStreamBatchInfo"];
    assert_eq!([&info["startSequenceNumber"], &info["endSequenceNumber"]], ["0", "3"]);
    assert_eq!(
        (&info["batchSize"], &info["streamArn"], &info["shardId"]),
        (&json!(4), &json!("arn:s"), &json!("shard"))
    );
    bench.stop().await;
}

#[tokio::test]
async fn a_split_finds_the_record_that_fails_without_using_up_retries() {
    let source = StreamSource { maximum_retry_attempts: Some(0), bisect: true, ..source() };
    let mut bench = Bench::start(source, 4, |numbers, _| if numbers.contains(&2) { failed() } else { Ok(Value::Null) });
    let seen = bench.when(|seen| seen.committed.last() == Some(&3)).await;
    assert_eq!(seen.batches, [vec![0, 1, 2, 3], vec![0, 1], vec![2, 3], vec![2], vec![3]]);
    assert_eq!(seen.discarded.len(), 1);
    assert_eq!(seen.discarded[0]["DDBStreamBatchInfo"]["startSequenceNumber"], "2");
    bench.stop().await;
}

#[tokio::test]
async fn a_report_goes_on_from_the_lowest_failed_record() {
    let report = |ids: &[&str]| {
        let failures: Vec<_> = ids.iter().map(|id| json!({ "itemIdentifier": id })).collect();
        Ok(json!({ "batchItemFailures": failures }))
    };
    let source = StreamSource { maximum_retry_attempts: Some(1), report_batch_item_failures: true, ..source() };
    let mut bench = Bench::start(source, 5, move |_, earlier| match earlier {
        0 => report(&["3", "1"]),
        // The first record, a record that is not in the batch, and no report at all: the whole batch has failed.
        1 => report(&["1"]),
        2 => report(&["0"]),
        3 => Ok(json!({ "batchItemFailures": 1 })),
        _ => report(&[]),
    });
    let seen = bench.when(|seen| seen.committed.last() == Some(&4)).await;
    assert_eq!(seen.batches, [vec![0, 1, 2, 3], vec![1, 2, 3], vec![1, 2, 3], vec![4], vec![4]]);
    assert_eq!(seen.committed, [0, 3, 4]);
    assert_eq!(seen.discarded.len(), 1);
    bench.stop().await;
}

#[tokio::test]
async fn an_invocation_that_was_not_begun_does_not_use_up_retries() {
    let source = StreamSource { maximum_retry_attempts: Some(0), ..source() };
    let mut bench = Bench::start(source, 1, |_, earlier| match earlier {
        0 | 1 => Err(Failure::NotBegun("throttled".into())),
        _ => Ok(Value::Null),
    });
    let seen = bench.when(|seen| !seen.committed.is_empty()).await;
    assert_eq!((seen.batches.len(), seen.discarded.len()), (3, 0));
    bench.stop().await;
}

#[tokio::test]
async fn records_that_are_too_old_are_discarded_before_an_invocation() {
    let source = StreamSource { maximum_record_age: Some(Duration::from_secs(60)), ..source() };
    let old = clock::since_epoch().as_secs() - 100;
    let mut bench =
        Bench::start_with(CancellationToken::new(), source, 2, Seen::default(), old, |_, _| Ok(Value::Null));
    let seen = bench.when(|seen| seen.committed.last() == Some(&1)).await;
    assert!(seen.batches.is_empty(), "{seen:?}");
    assert_eq!(seen.discarded[0]["requestContext"]["condition"], "RecordAgeExceeded");
    assert_eq!(seen.discarded[0]["requestContext"]["approximateInvokeCount"], 0);
    assert!(seen.discarded[0].get("responseContext").is_none());
    bench.stop().await;
}

#[tokio::test]
async fn records_that_do_not_pass_the_filter_are_skipped() {
    let pattern = samovar_eventbridge::Pattern::parse(r#"{"n":[1,2]}"#).unwrap();
    let source = StreamSource { filter: Filter(vec![pattern]), ..source() };
    let mut bench = Bench::start(source, 8, |_, _| Ok(Value::Null));
    let seen = bench.when(|seen| seen.committed.last() == Some(&7)).await;
    assert_eq!((seen.batches, seen.committed), (vec![vec![1, 2]], vec![2, 3, 7]));
    bench.stop().await;
}

#[tokio::test]
async fn a_window_waits_for_a_full_batch_and_ends_by_itself() {
    let source = StreamSource { maximum_batching_window: Duration::from_secs(3600), batch_size: 3, ..source() };
    let mut bench = Bench::start(source.clone(), 1, |_, _| Ok(Value::Null));
    bench.write.send(2).unwrap();
    bench.write.send(3).unwrap();
    let seen = bench.when(|seen| !seen.committed.is_empty()).await;
    assert_eq!(seen.batches, [vec![0, 1, 2]]);
    bench.stop().await;
    let source = StreamSource { maximum_batching_window: Duration::from_millis(50), ..source };
    let mut bench = Bench::start(source, 1, |_, _| Ok(Value::Null));
    assert_eq!(bench.when(|seen| !seen.committed.is_empty()).await.batches, [vec![0]]);
    bench.stop().await;
}

#[tokio::test]
async fn failing_requests_to_the_shard_are_made_again() {
    let source = StreamSource { maximum_retry_attempts: Some(0), ..source() };
    // The first read, the first word to the destination, and the first commit.
    let first = Seen { failing: vec![1, 3, 5], ..Seen::default() };
    let now = clock::since_epoch().as_secs();
    let mut bench = Bench::start_with(CancellationToken::new(), source, 1, first, now, |_, _| failed());
    let seen = bench.when(|seen| seen.committed == [0]).await;
    assert_eq!((seen.batches.len(), seen.discarded.len()), (1, 1));
    assert!(seen.requests >= 6, "{seen:?}");
    bench.stop().await;
}
