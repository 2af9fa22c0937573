//! Counts everything that a deployed stack would be billed for, apart from the time of functions, which their host
//! knows: the calls of each caller by service and operation, the capacity that they use of tables, and the traffic of
//! WebSocket APIs and queues.

use std::collections::BTreeMap;
use std::ops::AddAssign;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use serde_json::{Value, json};

/// A message of a WebSocket API is billed by this many bytes, begun ones too.
const WEBSOCKET_UNIT_BYTES: usize = 32 * 1024;

/// A request to a queue is billed by this many bytes, begun ones too.
const QUEUE_UNIT_BYTES: usize = 64 * 1024;

/// Calls by caller, service and operation.
type Calls = BTreeMap<String, BTreeMap<&'static str, BTreeMap<String, u64>>>;

/// DynamoDB's units: a write of up to 1 KB, a consistent read of up to 4 KB. A transaction uses twice as many.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Capacity {
    /// Write request units.
    pub write_units: f64,
    /// Read request units.
    pub read_units: f64,
}

impl AddAssign for Capacity {
    fn add_assign(&mut self, other: Self) {
        self.write_units += other.write_units;
        self.read_units += other.read_units;
    }
}

/// Traffic since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traffic {
    /// Messages of WebSocket APIs in either direction, in units of 32 KB.
    pub websocket_messages: u64,
    /// The time that closed WebSocket connections were open, in milliseconds.
    pub connection_ms: u64,
    /// Requests to FIFO queues, in units of 64 KB; of event sources too.
    pub fifo_requests: u64,
    /// Requests to standard queues, counted alike.
    pub standard_requests: u64,
}

/// The counts.
#[derive(Debug, Default)]
pub struct Meter {
    calls: Mutex<Calls>,
    capacity: Mutex<BTreeMap<String, Capacity>>,
    websocket_messages: AtomicU64,
    connection_ms: AtomicU64,
    fifo_requests: AtomicU64,
    standard_requests: AtomicU64,
}

impl Meter {
    /// Counts one call.
    pub fn count(&self, caller: &str, service: &'static str, operation: &str) {
        let mut counts = lock(&self.calls);
        // After the first call the names are known, so later calls do not allocate.
        if let Some(count) = counts
            .get_mut(caller)
            .and_then(|services| services.get_mut(service))
            .and_then(|operations| operations.get_mut(operation))
        {
            *count += 1;
            return;
        }
        *counts
            .entry(caller.to_owned())
            .or_default()
            .entry(service)
            .or_default()
            .entry(operation.to_owned())
            .or_default() += 1;
    }

    /// Counts the capacity that a call used.
    pub fn use_capacity(&self, caller: &str, used: Capacity) {
        let mut capacity = lock(&self.capacity);
        match capacity.get_mut(caller) {
            Some(all) => *all += used,
            None => _ = capacity.insert(caller.to_owned(), used),
        }
    }

    /// Counts a message of a WebSocket API, in either direction.
    pub fn websocket_message(&self, bytes: usize) {
        add(&self.websocket_messages, units(bytes, WEBSOCKET_UNIT_BYTES));
    }

    /// Counts the time that a connection was open.
    pub fn connection_closed(&self, open_ms: u64) {
        add(&self.connection_ms, open_ms);
    }

    /// Counts a request to a queue. `queue` is its name or its URL.
    pub fn queue_request(&self, queue: &str, bytes: usize) {
        let requests = if queue.ends_with(".fifo") { &self.fifo_requests } else { &self.standard_requests };
        add(requests, units(bytes, QUEUE_UNIT_BYTES));
    }

    /// The calls as JSON: by caller, service and operation.
    pub fn snapshot(&self) -> Value {
        json!(*lock(&self.calls))
    }

    /// The number of calls of all callers by operation of one service.
    pub fn calls_of(&self, service: &str) -> BTreeMap<String, u64> {
        let mut all = BTreeMap::new();
        for operations in lock(&self.calls).values().filter_map(|services| services.get(service)) {
            for (operation, count) in operations {
                *all.entry(operation.clone()).or_default() += count;
            }
        }
        all
    }

    /// The capacity by caller.
    pub fn capacity(&self) -> BTreeMap<String, Capacity> {
        lock(&self.capacity).clone()
    }

    /// The traffic since the start.
    pub fn traffic(&self) -> Traffic {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Traffic {
            websocket_messages: read(&self.websocket_messages),
            connection_ms: read(&self.connection_ms),
            fifo_requests: read(&self.fifo_requests),
            standard_requests: read(&self.standard_requests),
        }
    }
}

fn lock<T>(counts: &Mutex<T>) -> MutexGuard<'_, T> {
    counts.lock().unwrap_or_else(PoisonError::into_inner)
}

fn add(count: &AtomicU64, more: u64) {
    count.fetch_add(more, Ordering::Relaxed);
}

/// A message without bytes is one unit too.
fn units(bytes: usize, unit: usize) -> u64 {
    bytes.div_ceil(unit).max(1) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_by_caller_service_and_operation() {
        let meter = Meter::default();
        for _ in 0..2 {
            meter.count("worker", "dynamodb", "GetItem");
        }
        meter.count("worker", "sqs", "SendMessage");
        meter.count("cancel", "dynamodb", "GetItem");
        let expected = json!({
            "cancel": { "dynamodb": { "GetItem": 1 } },
            "worker": { "dynamodb": { "GetItem": 2 }, "sqs": { "SendMessage": 1 } },
        });
        assert_eq!(meter.snapshot(), expected);
        assert_eq!(meter.calls_of("dynamodb"), BTreeMap::from([("GetItem".to_owned(), 3)]));
    }

    #[test]
    fn traffic_is_counted_in_the_units_of_the_bill() {
        let meter = Meter::default();
        for bytes in [0, 1, 32 * 1024, 32 * 1024 + 1] {
            meter.websocket_message(bytes);
        }
        for (queue, bytes) in [("a.fifo", 10), ("http://host/1/b", 64 * 1024 + 1)] {
            meter.queue_request(queue, bytes);
        }
        meter.connection_closed(1500);
        let expected = Traffic { websocket_messages: 5, connection_ms: 1500, fifo_requests: 1, standard_requests: 2 };
        assert_eq!(meter.traffic(), expected);
    }
}
