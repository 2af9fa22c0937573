//! The SQLite file: its schema, how changes are written and how queues are read back.
//!
//! Invariants: a transaction holds all changes of whole operations, so a redrive is never half done. A message's row
//! contains everything about it, and whether it is in flight or delayed follows from `visible_ms` and `token`. So a
//! restart needs no repair.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, Row, Transaction, params};

use super::attributes::Attributes;
use super::deduplication::{FirstSend, Key, WINDOW_MS};
use super::error::OpenError;
use super::message::{Content, Delivery, Stored};
use super::queue::Queue;

const SCHEMA_VERSION: i64 = 1;
const SCHEMA: &str = "
    CREATE TABLE queue (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        attributes TEXT NOT NULL,
        tags TEXT NOT NULL,
        created_ms INTEGER NOT NULL,
        modified_ms INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE message (
        sequence INTEGER PRIMARY KEY,
        queue INTEGER NOT NULL,
        message_id TEXT NOT NULL,
        body TEXT NOT NULL,
        message_group TEXT,
        deduplication_id TEXT,
        attributes TEXT NOT NULL,
        trace_header TEXT,
        sent_ms INTEGER NOT NULL,
        dead_letter_source TEXT,
        visible_ms INTEGER NOT NULL,
        token INTEGER,
        received_ms INTEGER NOT NULL,
        first_received_ms INTEGER,
        receive_count INTEGER NOT NULL,
        receives_here INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX message_queue ON message (queue);
    -- The scope is a group with DeduplicationScope messageGroup, else empty: no group has an empty name.
    CREATE TABLE sent (
        queue INTEGER NOT NULL,
        scope TEXT NOT NULL,
        deduplication_id TEXT NOT NULL,
        message_id TEXT NOT NULL,
        sequence INTEGER NOT NULL,
        sent_ms INTEGER NOT NULL,
        PRIMARY KEY (queue, scope, deduplication_id)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX sent_age ON sent (queue, sent_ms);
    PRAGMA user_version = 1;
";

/// A change that an operation has made.
#[derive(Debug)]
pub(super) enum Change {
    PutQueue(QueueRow),
    DropQueue {
        queue: i64,
    },
    Purge {
        queue: i64,
    },
    PutMessage {
        queue: i64,
        message: Stored,
    },
    Deliver {
        sequence: i64,
        delivery: Delivery,
    },
    Remove {
        sequence: i64,
    },
    RecordSend {
        queue: i64,
        key: Key,
        first: FirstSend,
    },
    ForgetSends {
        queue: i64,
        now_ms: i64,
    },
    /// Changes nothing, but is acknowledged only when every earlier change is on disk.
    Barrier,
}

impl Change {
    /// Whether the change must survive a power cut, and not only the death of this process. If a receive or a
    /// deduplication id is lost, a message is seen again early, and receivers of SQS must be prepared for that anyway.
    pub(super) fn is_durable(&self) -> bool {
        !matches!(self, Self::Deliver { .. } | Self::ForgetSends { .. })
    }
}

#[derive(Debug)]
pub(super) struct QueueRow {
    id: i64,
    name: String,
    attributes: String,
    tags: String,
    created_ms: i64,
    modified_ms: i64,
}

impl QueueRow {
    pub(super) fn of(queue: &Queue) -> Self {
        Self {
            id: queue.id,
            name: queue.name.clone(),
            attributes: to_json(&queue.attributes.render()),
            tags: to_json(&queue.tags),
            created_ms: queue.created_ms,
            modified_ms: queue.modified_ms,
        }
    }
}

fn to_json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("maps of strings have a JSON form")
}

/// Opens or creates the file. Only one process may use it: two would hand out the same messages.
pub(super) fn open(path: &Path) -> Result<Connection, OpenError> {
    let at = || path.to_owned();
    let failed = |source: rusqlite::Error| match source.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => OpenError::InUse { path: at() },
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            OpenError::Corrupt { path: at(), reason: source.to_string() }
        }
        _ => OpenError::Sqlite { path: at(), source },
    };
    let connection = Connection::open(path).map_err(failed)?;
    // A process that was just killed may take a moment to release the file.
    connection.busy_timeout(Duration::from_millis(500)).map_err(failed)?;
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE").map_err(failed)?;
    connection.pragma_update(None, "journal_mode", "WAL").map_err(failed)?;
    // In WAL mode the first write takes the lock, so this makes one.
    connection.execute_batch("BEGIN IMMEDIATE; COMMIT").map_err(failed)?;
    let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(failed)?;
    match found {
        0 => connection.execute_batch(&format!("BEGIN; {SCHEMA} COMMIT")).map_err(failed)?,
        SCHEMA_VERSION => {}
        found => return Err(OpenError::NewerSchema { path: at(), found, known: SCHEMA_VERSION }),
    }
    Ok(connection)
}

pub(super) fn apply(transaction: &Transaction<'_>, change: &Change) -> rusqlite::Result<()> {
    let run = |sql: &str, values: &[&dyn rusqlite::ToSql]| -> rusqlite::Result<()> {
        transaction.prepare_cached(sql)?.execute(values).map(|_| ())
    };
    match change {
        Change::PutQueue(row) => run(
            "INSERT OR REPLACE INTO queue VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![row.id, row.name, row.attributes, row.tags, row.created_ms, row.modified_ms],
        ),
        Change::DropQueue { queue } => {
            run("DELETE FROM queue WHERE id = ?1", params![queue])?;
            apply(transaction, &Change::Purge { queue: *queue })
        }
        Change::Purge { queue } => {
            run("DELETE FROM message WHERE queue = ?1", params![queue])?;
            run("DELETE FROM sent WHERE queue = ?1", params![queue])
        }
        Change::PutMessage { queue, message: Stored { sequence, content, delivery } } => run(
            "INSERT INTO message VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
            params![
                sequence,
                queue,
                content.message_id,
                content.body,
                content.group,
                content.deduplication_id,
                to_json(&content.attributes),
                content.trace_header,
                content.sent_ms,
                content.dead_letter_source,
                delivery.visible_ms,
                delivery.token,
                delivery.received_ms,
                delivery.first_received_ms,
                delivery.receive_count,
                delivery.receives_here,
            ],
        ),
        Change::Deliver { sequence, delivery } => run(
            "UPDATE message SET visible_ms = ?2, token = ?3, received_ms = ?4, first_received_ms = ?5,
                receive_count = ?6, receives_here = ?7 WHERE sequence = ?1",
            params![
                sequence,
                delivery.visible_ms,
                delivery.token,
                delivery.received_ms,
                delivery.first_received_ms,
                delivery.receive_count,
                delivery.receives_here,
            ],
        ),
        Change::Remove { sequence } => run("DELETE FROM message WHERE sequence = ?1", params![sequence]),
        Change::RecordSend { queue, key: (scope, id), first } => run(
            "INSERT OR REPLACE INTO sent VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![queue, scope.as_deref().unwrap_or(""), id, first.message_id, first.sequence, first.sent_ms],
        ),
        Change::ForgetSends { queue, now_ms } => {
            run("DELETE FROM sent WHERE queue = ?1 AND sent_ms <= ?2", params![queue, now_ms - WINDOW_MS])
        }
        Change::Barrier => Ok(()),
    }
}

/// Loads all queues, and the last sequence number that was assigned.
pub(super) fn load(connection: &Connection, path: &Path, now_ms: i64) -> Result<(Vec<Queue>, i64), OpenError> {
    let sqlite = |source| OpenError::Sqlite { path: path.to_owned(), source };
    let corrupt = |reason: String| OpenError::Corrupt { path: path.to_owned(), reason };
    let mut queues = HashMap::new();
    for row in rows(connection, "SELECT id, name, attributes, tags, created_ms, modified_ms FROM queue", |row| {
        Ok(QueueRow {
            id: row.get(0)?,
            name: row.get(1)?,
            attributes: row.get(2)?,
            tags: row.get(3)?,
            created_ms: row.get(4)?,
            modified_ms: row.get(5)?,
        })
    })
    .map_err(sqlite)?
    {
        let attributes: BTreeMap<String, String> =
            serde_json::from_str(&row.attributes).map_err(|error| corrupt(error.to_string()))?;
        let attributes = Attributes::new(attributes.contains_key("FifoQueue"))
            .with(&attributes)
            .map_err(|error| corrupt(format!("queue {}: {error}", row.name)))?;
        let mut queue = Queue::new(row.id, row.name, attributes, row.created_ms);
        queue.modified_ms = row.modified_ms;
        queue.tags = serde_json::from_str(&row.tags).map_err(|error| corrupt(error.to_string()))?;
        queues.insert(row.id, queue);
    }
    let mut last_sequence = 0;
    for (queue, attributes, mut message) in
        rows(connection, "SELECT * FROM message ORDER BY sequence", message_row).map_err(sqlite)?
    {
        last_sequence = last_sequence.max(message.sequence);
        if let (Some(queue), Some(content)) = (queues.get_mut(&queue), Arc::get_mut(&mut message.content)) {
            content.attributes = serde_json::from_str(&attributes)
                .map_err(|error| corrupt(format!("message {}: {error}", content.message_id)))?;
            queue.insert(message, now_ms);
        }
    }
    for (queue, key, first) in rows(connection, "SELECT * FROM sent ORDER BY sent_ms", sent_row).map_err(sqlite)? {
        last_sequence = last_sequence.max(first.sequence);
        if let Some(queue) = queues.get_mut(&queue) {
            queue.sent.record(key, first);
        }
    }
    Ok((queues.into_values().collect(), last_sequence))
}

fn rows<T>(
    connection: &Connection,
    sql: &str,
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    connection.prepare(sql)?.query_map([], read)?.collect()
}

/// The message's attributes are returned as text, so that the caller can name the message if they cannot be parsed.
fn message_row(row: &Row<'_>) -> rusqlite::Result<(i64, String, Stored)> {
    let content = Content {
        message_id: row.get("message_id")?,
        body: row.get("body")?,
        group: row.get("message_group")?,
        deduplication_id: row.get("deduplication_id")?,
        attributes: BTreeMap::new(),
        trace_header: row.get("trace_header")?,
        sent_ms: row.get("sent_ms")?,
        dead_letter_source: row.get("dead_letter_source")?,
    };
    let delivery = Delivery {
        visible_ms: row.get("visible_ms")?,
        token: row.get("token")?,
        received_ms: row.get("received_ms")?,
        first_received_ms: row.get("first_received_ms")?,
        receive_count: row.get("receive_count")?,
        receives_here: row.get("receives_here")?,
    };
    let stored = Stored { sequence: row.get("sequence")?, content: Arc::new(content), delivery };
    Ok((row.get("queue")?, row.get("attributes")?, stored))
}

fn sent_row(row: &Row<'_>) -> rusqlite::Result<(i64, Key, FirstSend)> {
    let scope: String = row.get("scope")?;
    let key = (Some(scope).filter(|scope| !scope.is_empty()), row.get("deduplication_id")?);
    let first =
        FirstSend { message_id: row.get("message_id")?, sequence: row.get("sequence")?, sent_ms: row.get("sent_ms")? };
    Ok((row.get("queue")?, key, first))
}
