//! DynamoDB: the embedded engine (dynoxide, on SQLite) or another emulator.
//!
//! A call to the engine takes a fraction of a millisecond of processor time, so it runs where it arrives: handing it to
//! another thread and back took a seventh of a message's time. Only calls that walk through a table run elsewhere.
//!
//! The disk is synced after a call, without the engine's lock and for many calls at once (`disk.rs`). Only when SQLite
//! moves its log into the database, every 4 MB, does a call wait for the disk while it has the lock.
//!
//! A timer deletes items whose TTL has expired. Nothing depends on its timing.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use dynoxide::actions::{
    batch_get_item::BatchGetItemRequest, batch_write_item::BatchWriteItemRequest, delete_item::DeleteItemRequest,
    get_item::GetItemRequest, put_item::PutItemRequest, query::QueryRequest, scan::ScanRequest,
    transact_get_items::TransactGetItemsRequest, transact_write_items::TransactWriteItemsRequest,
    update_item::UpdateItemRequest,
};
use dynoxide::types::ConsumedCapacity;
use dynoxide::{Database, DynoxideError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::answer::Answer;
use super::disk::{self, Disk, Synced};
use super::idempotency::Tokens;
use super::meter::Capacity;
use super::remote::Remote;
use super::streams::{self, Arns};
use samovar_template::Table;

/// The tables.
#[derive(Clone)]
pub enum DynamoDb {
    /// In this process.
    Embedded(Engine),
    /// In another emulator.
    Remote(Remote),
}

/// The embedded engine.
#[derive(Clone)]
pub struct Engine {
    database: Database,
    /// `None` if the tables are in memory.
    disk: Option<Disk>,
    tokens: Arc<Tokens>,
    streams: Arc<OnceLock<Arns>>,
    /// Changes after each call that may have written.
    written: watch::Sender<()>,
}

impl Engine {
    fn new(database: Database, disk: Option<Disk>) -> Self {
        let (tokens, streams, written) = (Arc::default(), Arc::default(), watch::Sender::new(()));
        Self { database, disk, tokens, streams, written }
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").finish_non_exhaustive()
    }
}

impl From<Database> for DynamoDb {
    /// Tables in memory.
    fn from(database: Database) -> Self {
        Self::Embedded(Engine::new(database, None))
    }
}

impl std::fmt::Debug for DynamoDb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Embedded(_) => "DynamoDb::Embedded",
            Self::Remote(_) => "DynamoDb::Remote",
        })
    }
}

impl DynamoDb {
    /// Opens the tables in the data directory, or in memory.
    pub fn open(data_dir: Option<&Path>) -> Result<Self> {
        let Some(dir) = data_dir else {
            return Ok(Database::memory().context("The in-memory database cannot be opened")?.into());
        };
        let path = dir.join("dynamodb.sqlite");
        let name = path.to_str().with_context(|| format!("{} is not valid UTF-8", path.display()))?;
        let opened = || {
            let database = Database::new(name)?;
            // The engine's name for `synchronous = NORMAL`, with SQLite's other defaults. `Disk` syncs.
            database.disable_bulk_loading()?;
            Ok::<_, DynoxideError>(database)
        };
        let database = opened().with_context(|| format!("{name} cannot be opened as a database"))?;
        streams::index(&path).with_context(|| format!("The records of streams in {name} cannot be indexed"))?;
        let disk = Disk::start(dir.join("dynamodb.sqlite-wal")).context("The thread that syncs the tables")?;
        Ok(Self::Embedded(Engine::new(database, Some(disk))))
    }

    /// Makes one call of the JSON protocol, from the operation's name and the body.
    pub async fn call(&self, operation: &str, body: Bytes) -> Answer {
        self.metered(operation, body).await.0
    }

    /// The same, with the capacity that the call used. Of another emulator, that is not known, and counts as none.
    pub(super) async fn metered(&self, operation: &str, body: Bytes) -> (Answer, Capacity) {
        match self {
            Self::Remote(remote) => (remote.call(operation, body).await, Capacity::default()),
            Self::Embedded(engine) => {
                let executed = if is_long(operation) {
                    let (engine, name) = (engine.clone(), operation.to_owned());
                    let executed = tokio::task::spawn_blocking(move || engine.execute(&name, &body)).await;
                    executed.map_err(|failed| failed.to_string())
                } else {
                    Ok(engine.execute(operation, &body))
                };
                let synced = match executed {
                    Ok((executed, None)) => Ok(executed),
                    Ok((executed, Some(synced))) => disk::wait(synced).await.map(|()| executed),
                    Err(failed) => Err(failed),
                };
                let (result, used) = match synced {
                    Ok(executed) => executed,
                    Err(failed) => {
                        return (Answer::error(500, "InternalServerError", &failed), Capacity::default());
                    }
                };
                let answer = match result {
                    Ok(body) => Answer { status: 200, headers: Vec::new(), body },
                    Err(error) => {
                        Answer { status: error.status_code(), headers: Vec::new(), body: error.to_json().into_bytes() }
                    }
                };
                (answer, used)
            }
        }
    }

    /// Creates the template's tables, unless they already exist.
    pub async fn create(&self, tables: &[Table]) -> Result<()> {
        if let Self::Embedded(engine) = self {
            let arns = tables.iter().map(|table| (table.name.clone(), table.stream_arn.clone()));
            // Only the first tables are those of the template.
            let _ = engine.streams.set(arns.collect());
        }
        for table in tables {
            if let Some(existing) = self.describe(&table.name).await? {
                let same = |field: &str| existing.get(field) == table.create_table.get(field);
                if !same("KeySchema") {
                    bail!(
                        "The table {} has another key in the data directory than {} has in the template; use another \
                         --data-dir, or delete this one",
                        table.name,
                        table.logical_id
                    );
                }
                self.stream(table, &existing["StreamSpecification"]).await?;
            } else {
                self.expect("CreateTable", &table.create_table).await?;
            }
            if let Some(attribute) = &table.ttl_attribute {
                let specification = json!({ "AttributeName": attribute, "Enabled": true });
                let request = json!({ "TableName": table.name, "TimeToLiveSpecification": specification });
                let answer = self.call("UpdateTimeToLive", request.to_string().into()).await;
                // DynamoDB reports an error if TTL is already enabled.
                let enabled = String::from_utf8_lossy(&answer.body).contains("already enabled");
                if answer.status != 200 && !enabled {
                    bail!("UpdateTimeToLive of {}: {}", table.name, String::from_utf8_lossy(&answer.body));
                }
            }
        }
        Ok(())
    }

    /// Gives a table that exists the stream that the template has.
    async fn stream(&self, table: &Table, existing: &Value) -> Result<()> {
        let wanted = &table.create_table["StreamSpecification"];
        let is_enabled = existing["StreamEnabled"] == true;
        if is_enabled && wanted["StreamViewType"] == existing["StreamViewType"] || !is_enabled && wanted.is_null() {
            return Ok(());
        }
        let update = |specification: &Value| json!({ "TableName": table.name, "StreamSpecification": specification });
        if is_enabled {
            self.expect("UpdateTable", &update(&json!({ "StreamEnabled": false }))).await?;
        }
        if !wanted.is_null() {
            self.expect("UpdateTable", &update(wanted)).await?;
        }
        Ok(())
    }

    /// The ARNs of the template's streams. There are none in another emulator.
    pub(super) fn stream_arns(&self) -> &Arns {
        static NONE: Arns = Arns::new();
        match self {
            Self::Embedded(engine) => engine.streams.get().unwrap_or(&NONE),
            Self::Remote(_) => &NONE,
        }
    }

    /// Changes after each call that may have written to a table. `None` for another emulator.
    pub fn written(&self) -> Option<watch::Receiver<()>> {
        match self {
            Self::Embedded(engine) => Some(engine.written.subscribe()),
            Self::Remote(_) => None,
        }
    }

    async fn describe(&self, table: &str) -> Result<Option<Value>> {
        let answer = self.call("DescribeTable", json!({ "TableName": table }).to_string().into()).await;
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        if answer.status == 200 {
            return Ok(body.get("Table").cloned());
        }
        if body["__type"].as_str().is_some_and(|kind| kind.ends_with("ResourceNotFoundException")) {
            return Ok(None);
        }
        bail!("DescribeTable of {table}: {}", String::from_utf8_lossy(&answer.body));
    }

    /// Makes a call that must succeed.
    pub async fn expect(&self, operation: &str, request: &Value) -> Result<Value> {
        let answer = self.call(operation, request.to_string().into()).await;
        if answer.status != 200 {
            bail!("{operation}: {}", String::from_utf8_lossy(&answer.body));
        }
        serde_json::from_slice(&answer.body).with_context(|| format!("The answer to {operation} is not JSON"))
    }

    /// Deletes expired items, each time after this long, until stopped.
    pub async fn sweep(&self, every: Duration, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(every) => {}
                () = stop.cancelled() => return,
            }
            match self.sweep_now().await {
                Ok(0) => {}
                Ok(deleted) => tracing::debug!(deleted, "TTL sweep"),
                Err(error) => tracing::warn!(%error, "Expired items could not be deleted"),
            }
        }
    }

    /// Deletes expired items, and gives their number.
    pub(super) async fn sweep_now(&self) -> Result<usize> {
        let Self::Embedded(engine) = self else { return Ok(0) };
        let engine = engine.clone();
        Ok(tokio::task::spawn_blocking(move || engine.sweep()).await??)
    }
}

/// An old state. Reads that do not ask for the present state see it.
///
/// DynamoDB answers such a read from any replica, and says nothing of how far behind that is. The engine has one copy
/// and is always up to date, so a program that asks for too little never notices. With a stale state, it does.
#[derive(Debug, Default)]
pub struct StaleReads(RwLock<Option<DynamoDb>>);

impl StaleReads {
    /// From now on, reads without `ConsistentRead` see only this.
    pub fn see(&self, old: Database) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(old.into());
    }

    /// The old state, where a call may be answered from it.
    pub(super) fn answering(&self, operation: &str, body: &[u8]) -> Option<DynamoDb> {
        let old = self.0.read().unwrap_or_else(PoisonError::into_inner).clone()?;
        may_be_stale(operation, body).then_some(old)
    }
}

/// Earlier answers to reads that may see an old state, so that the same read can get its answer again.
#[derive(Debug, Default)]
pub(super) struct EarlierReads(Mutex<HashMap<(String, Bytes), Answer>>);

/// The answers that are remembered. When there are more, all are forgotten.
const EARLIER_READS: usize = 4096;

impl EarlierReads {
    pub(super) fn answer(&self, operation: &str, body: &Bytes) -> Option<Answer> {
        let answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        answers.get(&(operation.to_owned(), body.clone())).cloned()
    }

    pub(super) fn remember(&self, operation: &str, body: Bytes, answer: &Answer) {
        if answer.status != 200 || !may_be_stale(operation, &body) {
            return;
        }
        let mut answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.len() >= EARLIER_READS {
            answers.clear();
        }
        answers.insert((operation.to_owned(), body), answer.clone());
    }
}

fn may_be_stale(operation: &str, body: &[u8]) -> bool {
    let request: Value = serde_json::from_slice(body).unwrap_or_default();
    let consistent = |request: &Value| request["ConsistentRead"] == true;
    match operation {
        "GetItem" | "Query" | "Scan" => !consistent(&request),
        "BatchGetItem" => request["RequestItems"].as_object().is_some_and(|tables| !tables.values().all(consistent)),
        _ => false,
    }
}

/// The most operators that DynamoDB takes in an expression. The engine has no such limit, and each parenthesis and each
/// `NOT` takes a part of its stack, so an expression of 4 KB would end the process.
const MAX_OPERATORS: usize = 300;

fn check_operators(body: &[u8]) -> Result<(), DynoxideError> {
    let few = |text: &[u8]| {
        let negations = text.windows(3).filter(|word| word.eq_ignore_ascii_case(b"not")).count();
        text.iter().filter(|byte| **byte == b'(').count() + negations <= MAX_OPERATORS
    };
    // Values, such as a user's text, may have more of these characters. Only expressions are limited.
    let is_few =
        few(body) || expressions(&serde_json::from_slice(body).unwrap_or_default()).all(|text| few(text.as_bytes()));
    if is_few {
        return Ok(());
    }
    let message = format!("The expression contains too many operators; at most {MAX_OPERATORS} are allowed");
    Err(DynoxideError::ValidationException(message))
}

/// All expressions of a request, wherever they are.
fn expressions(request: &Value) -> Box<dyn Iterator<Item = &str> + '_> {
    match request {
        Value::Array(items) => Box::new(items.iter().flat_map(expressions)),
        Value::Object(members) => Box::new(members.iter().flat_map(|(name, value)| {
            let own = value.as_str().filter(|_| name.ends_with("Expression"));
            own.into_iter().chain(expressions(value))
        })),
        _ => Box::new(std::iter::empty()),
    }
}

/// Whether a call may take more than a moment, because it reads or changes a whole table.
fn is_long(operation: &str) -> bool {
    matches!(operation, "CreateTable" | "DeleteTable" | "Scan" | "UpdateTable")
}

/// Whether a call changes nothing.
fn is_read(operation: &str) -> bool {
    matches!(
        operation,
        "BatchGetItem"
            | "DescribeStream"
            | "DescribeTable"
            | "DescribeTimeToLive"
            | "GetItem"
            | "GetRecords"
            | "GetShardIterator"
            | "ListStreams"
            | "ListTables"
            | "Query"
            | "Scan"
            | "TransactGetItems"
    )
}

impl Engine {
    /// Deletes expired items, and gives their number. Nobody waits for the sync, but reads that have seen the deletion
    /// do.
    fn sweep(&self) -> Result<usize, DynoxideError> {
        let write = self.disk.as_ref().map(Disk::begin);
        let deleted = self.database.sweep_ttl();
        drop(self.disk.as_ref().and_then(|disk| disk.executed(write)));
        self.written.send_replace(());
        deleted
    }

    /// Executes a call. The answer must wait for the sync that it gives, if any.
    fn execute(&self, operation: &str, body: &[u8]) -> (Executed, Option<Synced>) {
        let write = self.disk.as_ref().filter(|_| !is_read(operation)).map(Disk::begin);
        let mut units = 0.0;
        let result = dispatch(&self.database, &self.tokens, operation, body, &mut units);
        if !is_read(operation) && self.written.receiver_count() > 0 {
            self.written.send_replace(());
        }
        // A write is billed even if its condition was not met. The engine does not say how large the item was.
        match &result {
            Err(DynoxideError::ConditionalCheckFailedException(..)) => units += 1.0,
            Err(DynoxideError::TransactionCanceledException(_, reasons)) => units += 2.0 * reasons.len() as f64,
            _ => {}
        }
        let used = match is_read(operation) {
            true => Capacity { read_units: units, ..Capacity::default() },
            false => Capacity { write_units: units, ..Capacity::default() },
        };
        ((result, used), self.disk.as_ref().and_then(|disk| disk.executed(write)))
    }
}

/// A call's result, and the capacity that it used.
type Executed = (Result<Vec<u8>, DynoxideError>, Capacity);

/// The capacity in an answer.
trait Consumed {
    fn units(&self) -> f64;
}

impl Consumed for Option<ConsumedCapacity> {
    fn units(&self) -> f64 {
        self.as_ref().map_or(0.0, |consumed| consumed.capacity_units)
    }
}

impl Consumed for Option<Vec<ConsumedCapacity>> {
    fn units(&self) -> f64 {
        self.iter().flatten().map(|consumed| consumed.capacity_units).sum()
    }
}

/// Makes a call that tells the capacity that it uses, whether or not the caller has asked for that. The types of the
/// requests have the field in common, and no trait for it.
macro_rules! metered {
    ($units:expr, $request:ty, $call:expr) => {
        |mut request: $request| {
            let asked = request.return_consumed_capacity.is_some();
            if !asked {
                request.return_consumed_capacity = Some("TOTAL".to_owned());
            }
            let mut response = $call(request)?;
            *$units += response.consumed_capacity.units();
            if !asked {
                response.consumed_capacity = None;
            }
            Ok::<_, DynoxideError>(response)
        }
    };
}

fn dispatch(
    db: &Database,
    tokens: &Tokens,
    operation: &str,
    body: &[u8],
    units: &mut f64,
) -> Result<Vec<u8>, DynoxideError> {
    check_operators(body)?;
    match operation {
        "BatchGetItem" => run(body, metered!(units, BatchGetItemRequest, |request| db.batch_get_item(request))),
        "BatchWriteItem" => run(body, metered!(units, BatchWriteItemRequest, |request| db.batch_write_item(request))),
        "CreateTable" => run(body, |request| db.create_table(request)),
        "DeleteItem" => run(body, metered!(units, DeleteItemRequest, |request| db.delete_item(request))),
        "DeleteTable" => run(body, |request| db.delete_table(request)),
        "DescribeStream" => run(body, |request| db.describe_stream(request)),
        "DescribeTable" => run(body, |request| db.describe_table(request)),
        "DescribeTimeToLive" => run(body, |request| db.describe_time_to_live(request)),
        "GetItem" => run(body, metered!(units, GetItemRequest, |request| db.get_item(request))),
        "GetRecords" => run(body, |request| db.get_records(request)),
        "GetShardIterator" => run(body, |request| db.get_shard_iterator(request)),
        "ListStreams" => run(body, |request| db.list_streams(request)),
        "ListTables" => run(body, |request| db.list_tables(request)),
        "PutItem" => run(body, metered!(units, PutItemRequest, |request| db.put_item(request))),
        "Query" => run(body, metered!(units, QueryRequest, |request| db.query(request))),
        "Scan" => run(body, metered!(units, ScanRequest, |request| db.scan(request))),
        "TransactGetItems" => {
            run(body, metered!(units, TransactGetItemsRequest, |request| db.transact_get_items(request)))
        }
        "TransactWriteItems" => {
            let mut call = metered!(units, TransactWriteItemsRequest, |request| db.transact_write_items(request));
            tokens.once(body, Instant::now(), |request| answer_of(&call(request)?))
        }
        "UpdateItem" => run(body, metered!(units, UpdateItemRequest, |request| db.update_item(request))),
        "UpdateTable" => run(body, |request| db.update_table(request)),
        "UpdateTimeToLive" => run(body, |request| db.update_time_to_live(request)),
        _ => Err(DynoxideError::ValidationException(format!("The local DynamoDB does not support {operation}"))),
    }
}

fn run<Request: DeserializeOwned, Response: Serialize>(
    body: &[u8],
    call: impl FnOnce(Request) -> Result<Response, DynoxideError>,
) -> Result<Vec<u8>, DynoxideError> {
    let request =
        serde_json::from_slice(body).map_err(|error| DynoxideError::SerializationException(error.to_string()))?;
    answer_of(&call(request)?)
}

fn answer_of(response: &impl Serialize) -> Result<Vec<u8>, DynoxideError> {
    serde_json::to_vec(response).map_err(|error| DynoxideError::InternalServerError(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = r#"{"TableName":"tab","AttributeDefinitions":[{"AttributeName":"pk","AttributeType":"S"}],
        "KeySchema":[{"AttributeName":"pk","KeyType":"HASH"}],"BillingMode":"PAY_PER_REQUEST"}"#;

    #[test]
    fn every_call_that_may_have_written_waits_for_a_sync_and_a_read_waits_for_open_writes_only() {
        let directory = tempfile::tempdir().expect("a directory");
        let DynamoDb::Embedded(engine) = DynamoDb::open(Some(directory.path())).expect("tables") else {
            panic!("it is embedded");
        };
        let wait = |((result, _), synced): (Executed, Option<Synced>)| {
            if let Some(synced) = synced {
                synced.blocking_recv().expect("an answer").expect("a sync");
            }
            result
        };
        wait(engine.execute("CreateTable", TABLE.as_bytes())).expect("a table");
        let key = r#"{"pk":{"S":"a"}}"#;
        let item = format!(r#"{{"TableName":"tab","Item":{key}}}"#);
        let keyed = format!(r#"{{"TableName":"tab","Key":{key}}}"#);
        let transaction = format!(r#"{{"TransactItems":[{{"Put":{item}}}]}}"#);
        let batch = format!(r#"{{"RequestItems":{{"tab":[{{"PutRequest":{{"Item":{key}}}}}]}}}}"#);
        let refused = format!(r#"{{"TableName":"tab","Item":{key},"ConditionExpression":"attribute_not_exists(pk)"}}"#);
        for (operation, body) in [
            ("PutItem", &item),
            ("UpdateItem", &keyed),
            ("TransactWriteItems", &transaction),
            ("BatchWriteItem", &batch),
            ("PutItem", &refused),
            ("DeleteItem", &keyed),
        ] {
            let executed = engine.execute(operation, body.as_bytes());
            assert!(executed.1.is_some(), "{operation} {body}");
            let is_refused = wait(executed).is_err();
            assert_eq!(is_refused, body.contains("Condition"), "{operation} {body}");
            let ((read, _), synced) = engine.execute("GetItem", keyed.as_bytes());
            assert!(read.is_ok() && synced.is_none(), "all that it could see is on the disk");
        }
        engine.sweep().expect("a sweep");
    }

    #[test]
    fn the_capacity_of_a_call_is_known_and_told_only_to_a_caller_that_asks() {
        let DynamoDb::Embedded(engine) = DynamoDb::open(None).expect("tables") else { panic!("it is embedded") };
        let call = |operation: &str, body: &str| {
            let ((result, used), _) = engine.execute(operation, body.as_bytes());
            let answer = result.map(|bytes| serde_json::from_slice::<Value>(&bytes).expect("JSON")).unwrap_or_default();
            (used.write_units, used.read_units, answer["ConsumedCapacity"].clone())
        };
        call("CreateTable", TABLE);
        let large = "x".repeat(1500);
        let put = |key: &str, more: &str| {
            format!(r#"{{"TableName":"tab","Item":{{"pk":{{"S":"{key}"}},"text":{{"S":"{large}"}}}}{more}}}"#)
        };
        let get = r#"{"TableName":"tab","Key":{"pk":{"S":"a"}},"ConsistentRead":true}"#;
        let transaction = format!(r#"{{"TransactItems":[{{"Put":{}}},{{"Put":{}}}]}}"#, put("b", ""), put("c", ""));
        let new = r#","ConditionExpression":"attribute_not_exists(pk)""#;
        let refused = format!(r#"{{"TransactItems":[{{"Put":{}}},{{"Put":{}}}]}}"#, put("b", new), put("d", new));
        assert_eq!(call("PutItem", &put("a", "")), (2.0, 0.0, Value::Null));
        assert_eq!(call("GetItem", get), (0.0, 1.0, Value::Null));
        assert_eq!(call("TransactWriteItems", &transaction), (8.0, 0.0, Value::Null));
        assert_eq!(call("PutItem", &put("a", new)), (1.0, 0.0, Value::Null));
        assert_eq!(call("TransactWriteItems", &refused), (4.0, 0.0, Value::Null));
        let (written, _, told) = call("PutItem", &put("a", r#","ReturnConsumedCapacity":"TOTAL""#));
        assert_eq!((written, &told["CapacityUnits"]), (2.0, &json!(2.0)));
    }
}
