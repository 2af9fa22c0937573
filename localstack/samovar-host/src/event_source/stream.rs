//! Event source mappings of streams: turns the records of a DynamoDB stream into invocations of a function.
//!
//! One task reads a shard. It has one batch at a time, so records are processed in their order, and the position is
//! committed after the batch that it follows. A process that ends in between has committed less than it has done, so no
//! record is lost, and some are processed again.
//!
//! A batch that fails blocks its shard: it is tried again until it succeeds, until its retries are used up, or until
//! its records are too old. Then they are discarded, and the destination is told if there is one. These are the rules
//! of "Retain discarded records for a DynamoDB event source" and of "Partial batch response" in Lambda's developer
//! guide (`services-dynamodb-errors`, `services-ddb-batchfailurereporting`):
//! - A function that reports failures is tried again from the lowest sequence number that it names. What came before is
//!   done, and the rest counts as a new batch.
//! - A batch that is split in two because it failed does not use up a retry.
//! - An invocation that was not begun, such as a throttled one, is tried again without being counted.

use std::collections::VecDeque;
use std::fmt::Display;
use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::batch::{MAX_EVENT_BYTES, reported_failures};
use super::filter::Filter;
use crate::clock;

/// The pause before the next try, doubled up to the second value.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// An event source mapping of a stream, as the template declares it.
#[derive(Debug, Clone)]
pub struct StreamSource {
    /// The function's name, for the log.
    pub function: String,
    /// The function's ARN, for the destination.
    pub function_arn: String,
    /// The stream's ARN, for the log and the destination.
    pub stream_arn: String,
    /// The shard's id, for the destination.
    pub shard_id: String,
    /// From 1 to 10,000 records.
    pub batch_size: usize,
    /// How long to wait for a full batch, from its first record on.
    pub maximum_batching_window: Duration,
    /// `BisectBatchOnFunctionError`.
    pub bisect: bool,
    /// How often a failed batch is tried again. Without it there is no limit.
    pub maximum_retry_attempts: Option<u32>,
    /// Records that are older are discarded. Without it there is no limit.
    pub maximum_record_age: Option<Duration>,
    /// `ReportBatchItemFailures`.
    pub report_batch_item_failures: bool,
    /// `FilterCriteria`.
    pub filter: Filter,
}

/// A record of a stream.
#[derive(Debug, Clone)]
pub struct Record {
    /// Its place in its shard.
    pub sequence_number: String,
    /// When it was written, in seconds since the epoch.
    pub created_seconds: u64,
    /// The record in the form of the function's event.
    pub json: String,
}

/// The reason why an invocation has no result.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Failure {
    /// The function was not invoked.
    #[error("{0}")]
    NotBegun(String),
    /// The function has failed.
    #[error("{0}")]
    Failed(String),
}

/// The shard that a mapping reads.
pub trait Shard: Send + Sync + 'static {
    /// The error of a failed request.
    type Error: Display + Send;

    /// The records after a sequence number, or from the oldest, in their order.
    fn read(&self, after: Option<&str>, max: usize) -> impl Future<Output = Result<Vec<Record>, Self::Error>> + Send;

    /// Completes when there may be records that the last `read` has not seen. Must be cancel safe.
    fn more(&mut self) -> impl Future<Output = ()> + Send;

    /// Makes the position durable: the next start of the mapping goes on after this record.
    fn commit(&self, sequence_number: &str) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Tells the destination of the mapping, if there is one, about discarded records.
    fn discard(&self, description: String) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

/// Starts to read after a position. After `shutdown` no batch begins, and the task ends with the running one.
pub fn start<S, I, F>(
    source: StreamSource,
    shard: S,
    after: Option<String>,
    invoke: I,
    shutdown: CancellationToken,
) -> JoinHandle<()>
where
    S: Shard,
    I: Fn(Bytes) -> F + Send + Sync + 'static,
    F: Future<Output = Result<Bytes, Failure>> + Send + 'static,
{
    tokio::spawn(Reader { source, shard, after, invoke, shutdown }.run())
}

struct Reader<S, I> {
    source: StreamSource,
    shard: S,
    after: Option<String>,
    invoke: I,
    shutdown: CancellationToken,
}

/// Records that are invoked together, and how often they have failed.
struct Batch {
    records: Vec<Record>,
    failures: u32,
}

/// The mapping stops. What is not committed comes again.
struct Stopped;

impl<S, I, F> Reader<S, I>
where
    S: Shard,
    I: Fn(Bytes) -> F + Send + Sync + 'static,
    F: Future<Output = Result<Bytes, Failure>> + Send + 'static,
{
    async fn run(mut self) {
        let mut pause = BACKOFF.0;
        while !self.shutdown.is_cancelled() {
            let outcome = match self.collect().await {
                Ok(records) if records.is_empty() => self.more(None).await,
                Ok(records) => self.process(records).await,
                Err(error) => {
                    tracing::warn!("{}: cannot read {}: {error}", self.source.function, self.source.stream_arn);
                    self.wait(&mut pause).await
                }
            };
            if outcome.is_err() {
                return;
            }
        }
    }

    /// Waits for more records, at most until then.
    async fn more(&mut self, until: Option<Instant>) -> Result<(), Stopped> {
        let over = async {
            match until {
                Some(until) => tokio::time::sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.shutdown.cancelled() => Err(Stopped),
            () = self.shard.more() => Ok(()),
            () = over => Ok(()),
        }
    }

    async fn wait(&self, pause: &mut Duration) -> Result<(), Stopped> {
        let waited = self.shutdown.run_until_cancelled(tokio::time::sleep(*pause)).await;
        *pause = (*pause * 2).min(BACKOFF.1);
        waited.ok_or(Stopped)
    }

    /// Reads a batch: what is there or, with a window, what comes during the window.
    async fn collect(&mut self) -> Result<Vec<Record>, S::Error> {
        let max = self.source.batch_size;
        let mut records = self.shard.read(self.after.as_deref(), max).await?;
        let until = Instant::now() + self.source.maximum_batching_window;
        while !records.is_empty() && records.len() < max && Instant::now() < until {
            if self.more(Some(until)).await.is_err() {
                break;
            }
            let last = records.last().map(|record| record.sequence_number.clone());
            match self.shard.read(last.as_deref(), max - records.len()).await {
                Ok(more) => records.extend(more),
                Err(_) => break, // The next call reports the error again.
            }
        }
        Ok(records)
    }

    async fn process(&mut self, mut records: Vec<Record>) -> Result<(), Stopped> {
        let end = records.last().map(|record| record.sequence_number.clone());
        records.retain(|record| self.source.filter.is_empty() || self.source.filter.passes(&record.json));
        let mut batches: VecDeque<Batch> = split(records).map(|records| Batch { records, failures: 0 }).collect();
        let mut pause = BACKOFF.0;
        while let Some(batch) = batches.pop_front() {
            let left = self.attempt(batch).await?;
            let failed = !left.is_empty();
            left.into_iter().rev().for_each(|batch| batches.push_front(batch));
            match failed {
                true => self.wait(&mut pause).await?,
                false => pause = BACKOFF.0,
            }
        }
        // Also the records after the last one that has passed the filter are done.
        match end {
            Some(end) => self.commit(&end).await,
            None => Ok(()),
        }
    }

    /// Tries a batch once. Returns what is left of it.
    async fn attempt(&mut self, Batch { mut records, failures }: Batch) -> Result<Vec<Batch>, Stopped> {
        let function = self.source.function.clone();
        if let Some(age) = self.source.maximum_record_age {
            let oldest = clock::since_epoch().saturating_sub(age).as_secs();
            let young = records.iter().position(|record| record.created_seconds >= oldest).unwrap_or(records.len());
            if young > 0 {
                let old: Vec<Record> = records.drain(..young).collect();
                tracing::warn!(
                    "{function}: {} records are older than {} s and are discarded",
                    old.len(),
                    age.as_secs()
                );
                self.discard(&old, "RecordAgeExceeded", failures).await?;
            }
        }
        let (Some(first), Some(last)) = (records.first(), records.last()) else { return Ok(Vec::new()) };
        tracing::debug!("{function}: records {} to {}", first.sequence_number, last.sequence_number);
        if self.shutdown.is_cancelled() {
            return Err(Stopped);
        }
        let last = last.sequence_number.clone();
        let joined: Vec<&str> = records.iter().map(|record| record.json.as_str()).collect();
        let payload = format!(r#"{{"Records":[{}]}}"#, joined.join(","));
        let failure = match (self.invoke)(payload.into()).await {
            Ok(_) if !self.source.report_batch_item_failures => {
                self.commit(&last).await?;
                return Ok(Vec::new());
            }
            Ok(report) => match first_failed(&report, &records) {
                Ok(None) => {
                    self.commit(&last).await?;
                    return Ok(Vec::new());
                }
                Ok(Some(0)) => Failure::Failed("its report names the first record".to_owned()),
                Ok(Some(failed)) => {
                    let rest = records.split_off(failed);
                    tracing::warn!("{function}: {} of its records failed and will be retried", rest.len());
                    if let Some(done) = records.last() {
                        self.commit(&done.sequence_number).await?;
                    }
                    return Ok(vec![Batch { records: rest, failures: 0 }]);
                }
                Err(reason) => Failure::Failed(reason),
            },
            Err(failure) => failure,
        };
        if self.shutdown.is_cancelled() {
            // It may have failed because its process was stopped.
            return Err(Stopped);
        }
        let count = records.len();
        match failure {
            Failure::NotBegun(reason) => {
                tracing::warn!("{function}: a batch of {count} was not begun and will be retried: {reason}");
                Ok(vec![Batch { records, failures }])
            }
            Failure::Failed(reason) if self.source.bisect && count > 1 => {
                tracing::warn!("{function}: a batch of {count} failed and is split in two: {reason}");
                let second = records.split_off(count / 2);
                Ok(vec![Batch { records, failures }, Batch { records: second, failures }])
            }
            Failure::Failed(reason) if self.source.maximum_retry_attempts.is_some_and(|most| failures >= most) => {
                tracing::warn!("{function}: a batch of {count} failed and is discarded: {reason}");
                self.discard(&records, "RetryAttemptsExhausted", failures + 1).await?;
                Ok(Vec::new())
            }
            Failure::Failed(reason) => {
                tracing::warn!("{function}: a batch of {count} failed and will be retried: {reason}");
                Ok(vec![Batch { records, failures: failures + 1 }])
            }
        }
    }

    /// Goes on after these records, once the destination knows of them.
    async fn discard(&mut self, records: &[Record], condition: &str, invocations: u32) -> Result<(), Stopped> {
        let (Some(first), Some(last)) = (records.first(), records.last()) else { return Ok(()) };
        let description = self.description(first, last, records.len(), condition, invocations);
        let mut pause = BACKOFF.0;
        while let Err(error) = self.shard.discard(description.clone()).await {
            tracing::warn!("{}: the destination cannot be told of discarded records: {error}", self.source.function);
            self.wait(&mut pause).await?;
        }
        self.commit(&last.sequence_number).await
    }

    /// The message for the destination, as in `services-dynamodb-errors`.
    fn description(&self, first: &Record, last: &Record, count: usize, condition: &str, invocations: u32) -> String {
        let time = |seconds: u64| {
            let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
            jiff::Timestamp::from_second(seconds).unwrap_or_default().to_string()
        };
        let now_ms = i64::try_from(clock::since_epoch().as_millis()).unwrap_or(i64::MAX);
        let now = jiff::Timestamp::from_millisecond(now_ms).unwrap_or_default();
        let mut description = json!({
            "requestContext": {
                "requestId": clock::new_id().to_string(),
                "functionArn": self.source.function_arn,
                "condition": condition,
                "approximateInvokeCount": invocations,
            },
            "version": "1.0",
            "timestamp": format!("{now:.3}"),
            "DDBStreamBatchInfo": {
                "shardId": self.source.shard_id,
                "startSequenceNumber": first.sequence_number,
                "endSequenceNumber": last.sequence_number,
                "approximateArrivalOfFirstRecord": time(first.created_seconds),
                "approximateArrivalOfLastRecord": time(last.created_seconds),
                "batchSize": count,
                "streamArn": self.source.stream_arn,
            },
        });
        if invocations > 0 {
            description["responseContext"] =
                json!({ "statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled" });
        }
        description.to_string()
    }

    /// Makes the position durable. It does not go on without.
    async fn commit(&mut self, sequence_number: &str) -> Result<(), Stopped> {
        let mut pause = BACKOFF.0;
        if self.after.as_deref() == Some(sequence_number) {
            return Ok(());
        }
        while let Err(error) = self.shard.commit(sequence_number).await {
            tracing::warn!("{}: the position in the stream cannot be kept: {error}", self.source.function);
            self.wait(&mut pause).await?;
        }
        self.after = Some(sequence_number.to_owned());
        Ok(())
    }
}

/// The place of the first record that a function reports as failed.
fn first_failed(report: &[u8], records: &[Record]) -> Result<Option<usize>, String> {
    let known: Vec<_> = records.iter().map(|record| (record.sequence_number.clone(), String::new())).collect();
    let failed = reported_failures(report, &known)?;
    Ok(records.iter().position(|record| failed.contains(&record.sequence_number)))
}

/// Splits records so that each event is within Lambda's limit, unless one record alone is not.
fn split(records: Vec<Record>) -> impl Iterator<Item = Vec<Record>> {
    let mut records = records.into_iter().peekable();
    std::iter::from_fn(move || {
        let mut batch = vec![records.next()?];
        let mut bytes = r#"{"Records":[]}"#.len() + batch[0].json.len();
        while let Some(next) = records.next_if(|next| bytes + next.json.len() < MAX_EVENT_BYTES) {
            bytes += next.json.len() + 1;
            batch.push(next);
        }
        Some(batch)
    })
}
