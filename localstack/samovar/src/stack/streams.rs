//! Adapts the stream of a table to an event source. The position in it is a file of the data directory.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use samovar_host::event_source::Filter;
use samovar_host::event_source::stream::{self, Failure, Record, Shard, StreamSource};
use samovar_services::Services;
use samovar_services::dynamodb::DynamoDb;
use samovar_services::queues::Queues;
use samovar_services::streams::shard_id;
use samovar_template::{Function, StreamEventSource, Template, Trigger};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::invoke::{IntegrationError, Invoker};

/// The folder of the positions in the data directory.
const FOLDER: &str = "streams";

/// Starts to read the streams for the functions, until `stop`. Must be called before anything can write to the tables:
/// a mapping that starts at the end of its stream starts here.
pub(super) async fn start(
    template: &Template,
    services: &Arc<Services>,
    data_dir: Option<&Path>,
    invoker: &Arc<dyn Invoker>,
    stop: &CancellationToken,
) -> Result<Vec<JoinHandle<()>>> {
    let mut running = Vec::new();
    for function in &template.functions {
        let sources = function.triggers.iter().filter_map(|trigger| match trigger {
            Trigger::DynamoDb(source) => Some(source),
            _ => None,
        });
        for source in sources.filter(|source| source.enabled) {
            let Some(written) = services.dynamodb.written() else {
                tracing::warn!("{}: the stream of {} is in another emulator and not read", function.name, source.table);
                continue;
            };
            let file = data_dir.map(|dir| dir.join(FOLDER).join(format!("{}.json", source.logical_id)));
            let position = Position { table: source.table.clone(), file };
            let after = position.open(&services.dynamodb, source.from_beginning).await?;
            let to = source.on_failure.as_ref().and_then(|arn| template.queues.iter().find(|queue| queue.arn == *arn));
            let shard = TableShard {
                dynamodb: services.dynamodb.clone(),
                position,
                written,
                destination: to.map(|queue| (services.queues.clone(), queue.url.clone())),
            };
            let invoke = invoking(invoker, function);
            running.push(stream::start(mapping(function, source), shard, after, invoke, stop.clone()));
        }
    }
    Ok(running)
}

fn mapping(function: &Function, source: &StreamEventSource) -> StreamSource {
    StreamSource {
        function: function.name.clone(),
        function_arn: function.arn.clone(),
        stream_arn: source.stream_arn.clone(),
        shard_id: shard_id(&source.table),
        batch_size: source.batch_size as usize,
        maximum_batching_window: source.maximum_batching_window,
        bisect: source.bisect_batch_on_function_error,
        maximum_retry_attempts: source.maximum_retry_attempts,
        maximum_record_age: source.maximum_record_age,
        report_batch_item_failures: source.report_batch_item_failures,
        filter: Filter(source.filters.clone()),
    }
}

fn invoking(
    invoker: &Arc<dyn Invoker>,
    function: &Function,
) -> impl Fn(Bytes) -> BoxFuture<'static, Result<Bytes, Failure>> + Send + Sync + 'static {
    let (invoker, name) = (Arc::clone(invoker), function.name.clone());
    move |payload| {
        let (invoker, name) = (Arc::clone(&invoker), name.clone());
        Box::pin(async move {
            invoker.invoke(&name, payload).await.map_err(|error| match error {
                IntegrationError::Throttled(reason) => Failure::NotBegun(reason),
                error => Failure::Failed(error.to_string()),
            })
        })
    }
}

/// The one shard of a table's stream.
struct TableShard {
    dynamodb: DynamoDb,
    position: Position,
    written: watch::Receiver<()>,
    /// The queue that hears of discarded records, with its URL.
    destination: Option<(Queues, String)>,
}

impl Shard for TableShard {
    type Error = anyhow::Error;

    async fn read(&self, after: Option<&str>, max: usize) -> Result<Vec<Record>> {
        let records = self.dynamodb.stream_records(&self.position.table, after, max).await?;
        records.iter().map(record).collect()
    }

    async fn more(&mut self) {
        // Without a sender there is no more.
        if self.written.changed().await.is_err() {
            std::future::pending().await
        }
    }

    async fn commit(&self, sequence_number: &str) -> Result<()> {
        self.position.write(Some(sequence_number.to_owned())).await
    }

    async fn discard(&self, description: String) -> Result<()> {
        if let Some((queues, url)) = &self.destination {
            queues.expect("SendMessage", &json!({ "QueueUrl": url, "MessageBody": description })).await?;
        }
        Ok(())
    }
}

fn record(record: &Value) -> Result<Record> {
    let change = &record["dynamodb"];
    Ok(Record {
        sequence_number: change["SequenceNumber"].as_str().context("A record has no SequenceNumber")?.to_owned(),
        created_seconds: change["ApproximateCreationDateTime"].as_u64().unwrap_or_default(),
        json: record.to_string(),
    })
}

/// The place up to which a mapping has processed a stream.
#[derive(Debug, Clone)]
struct Position {
    table: String,
    /// `None` if nothing is kept.
    file: Option<PathBuf>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    /// Where the mapping names another table, it is a new one.
    table: String,
    /// `None` is before the oldest record.
    after: Option<String>,
}

impl Position {
    /// The kept position. A new mapping gets its first one, which is kept too: what is written after this start is
    /// read, also after a crash.
    async fn open(&self, dynamodb: &DynamoDb, from_beginning: bool) -> Result<Option<String>> {
        if let Some(file) = &self.file
            && let Ok(text) = std::fs::read(file)
            && let Ok(kept) = serde_json::from_slice::<Kept>(&text)
            && kept.table == self.table
        {
            return Ok(kept.after);
        }
        let after = if from_beginning { None } else { dynamodb.stream_end(&self.table).await? };
        self.write(after.clone()).await?;
        Ok(after)
    }

    async fn write(&self, after: Option<String>) -> Result<()> {
        let Some(file) = self.file.clone() else { return Ok(()) };
        let kept = serde_json::to_vec(&Kept { table: self.table.clone(), after })?;
        tokio::task::spawn_blocking(move || replace(&file, &kept)).await?
    }
}

/// Replaces a file, so that a crash leaves the old one or the new one.
fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let written = || {
        let folder = path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder)?;
        let new = path.with_extension("new");
        let mut file = File::create(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&new, path)?;
        File::open(folder)?.sync_all()
    };
    written().with_context(|| format!("{} can't be written", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_position_is_kept_for_its_table_and_a_new_one_begins_where_the_mapping_says() {
        let dynamodb = DynamoDb::open(None).unwrap();
        let table = |name: &str| {
            json!({
                "TableName": name,
                "AttributeDefinitions": [{ "AttributeName": "pk", "AttributeType": "S" }],
                "KeySchema": [{ "AttributeName": "pk", "KeyType": "HASH" }],
                "BillingMode": "PAY_PER_REQUEST",
                "StreamSpecification": { "StreamEnabled": true, "StreamViewType": "KEYS_ONLY" },
            })
        };
        let put = |key: &str| json!({ "TableName": "one", "Item": { "pk": { "S": key } } });
        dynamodb.expect("CreateTable", &table("one")).await.unwrap();
        dynamodb.expect("CreateTable", &table("two")).await.unwrap();
        dynamodb.expect("PutItem", &put("a")).await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        let file = Some(dir.path().join("streams/M.json"));
        let position = Position { table: "one".to_owned(), file: file.clone() };
        let end = position.open(&dynamodb, false).await.unwrap();
        assert_eq!(end, dynamodb.stream_end("one").await.unwrap());
        dynamodb.expect("PutItem", &put("b")).await.unwrap();
        assert_eq!(position.open(&dynamodb, false).await.unwrap(), end, "what was written meanwhile is not lost");
        position.write(Some("7".to_owned())).await.unwrap();
        assert_eq!(position.open(&dynamodb, true).await.unwrap().as_deref(), Some("7"));
        let other = Position { table: "two".to_owned(), file };
        assert_eq!(other.open(&dynamodb, true).await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_position_that_cannot_be_written_is_an_error_with_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("streams");
        std::fs::write(&file, "a file").unwrap();
        let position = Position { table: "one".to_owned(), file: Some(file.join("M.json")) };
        let error = position.write(None).await.unwrap_err().to_string();
        assert!(error.ends_with("streams/M.json can't be written"), "{error}");
    }
}
