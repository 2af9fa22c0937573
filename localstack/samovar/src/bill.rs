//! The bill that a deployed stack would get for what the local stack has done so far: quantities, and what they cost in
//! US dollars in us-east-1 in 2026. Free tiers, data transfer and storage are left out, and so are the lines that
//! Lambda itself writes to the logs.

use samovar_host::{FunctionState, Host};
use samovar_services::meter::{Capacity, Meter};
use serde_json::{Map, Value, json};

/// Dollars for one of each quantity.
mod price {
    pub(super) const WEBSOCKET_MESSAGE: f64 = 1.00e-6;
    pub(super) const CONNECTION_MINUTE: f64 = 0.25e-6;
    pub(super) const HTTP_REQUEST: f64 = 1.00e-6;
    pub(super) const REST_REQUEST: f64 = 3.50e-6;
    pub(super) const INVOCATION: f64 = 0.20e-6;
    /// On arm64.
    pub(super) const GIGABYTE_SECOND: f64 = 0.000_013_333_4;
    /// On demand.
    pub(super) const WRITE_UNIT: f64 = 0.625e-6;
    pub(super) const READ_UNIT: f64 = 0.125e-6;
    pub(super) const FIFO_REQUEST: f64 = 0.50e-6;
    pub(super) const STANDARD_REQUEST: f64 = 0.40e-6;
    pub(super) const S3_WRITE: f64 = 5e-6;
    pub(super) const S3_READ: f64 = 0.4e-6;
    pub(super) const LOG_GIGABYTE: f64 = 0.50;
}

/// What the bill is made from.
#[derive(Debug)]
pub(crate) struct Metered<'a> {
    pub meter: &'a Meter,
    /// `None` if functions run elsewhere. Their time is then not known.
    pub host: Option<&'a Host>,
    pub http_requests: u64,
    pub rest_requests: u64,
    /// The time that the open WebSocket connections have been open, in milliseconds.
    pub open_ms: u64,
}

impl Metered<'_> {
    pub(crate) fn bill(&self) -> Value {
        let capacity = self.meter.capacity();
        let mut all = Capacity::default();
        for used in capacity.values() {
            all += *used;
        }
        let (mut s3_writes, mut s3_reads) = (0, 0);
        for (operation, count) in self.meter.calls_of("s3") {
            match operation.as_str() {
                // These are free.
                "DeleteObject" | "DeleteObjects" | "AbortMultipartUpload" => {}
                name if name.starts_with("Get") || name.starts_with("Head") => s3_reads += count,
                _ => s3_writes += count,
            }
        }
        let functions = self.host.map(Host::state).unwrap_or_default();
        let invocations: u64 = functions.values().map(|function| function.invocations).sum();
        let gigabyte_seconds: f64 = functions.values().map(gigabyte_seconds).sum();
        let traffic = self.meter.traffic();
        let minutes = (traffic.connection_ms + self.open_ms) as f64 / 60_000.0;
        let log_gigabytes = self.host.map_or(0, Host::log_bytes) as f64 / 1e9;
        let items = [
            ("webSocketMessages", traffic.websocket_messages as f64, price::WEBSOCKET_MESSAGE),
            ("connectionMinutes", minutes, price::CONNECTION_MINUTE),
            ("httpRequests", self.http_requests as f64, price::HTTP_REQUEST),
            ("restRequests", self.rest_requests as f64, price::REST_REQUEST),
            ("invocations", invocations as f64, price::INVOCATION),
            ("gigabyteSeconds", gigabyte_seconds, price::GIGABYTE_SECOND),
            ("writeUnits", all.write_units, price::WRITE_UNIT),
            ("readUnits", all.read_units, price::READ_UNIT),
            ("fifoRequests", traffic.fifo_requests as f64, price::FIFO_REQUEST),
            ("standardRequests", traffic.standard_requests as f64, price::STANDARD_REQUEST),
            ("s3Writes", s3_writes as f64, price::S3_WRITE),
            ("s3Reads", s3_reads as f64, price::S3_READ),
            ("logGigabytes", log_gigabytes, price::LOG_GIGABYTE),
        ];
        let quantities: Map<_, _> = items.iter().map(|(name, much, _)| ((*name).to_owned(), json!(much))).collect();
        let mut dollars: Map<_, _> =
            items.iter().map(|(name, much, price)| ((*name).to_owned(), json!(much * price))).collect();
        let total: f64 = items.iter().map(|(_, much, price)| much * price).sum();
        dollars.insert("total".to_owned(), json!(total));
        json!({
            "calls": self.meter.snapshot(),
            "capacity": capacity,
            "quantities": quantities,
            "dollars": dollars,
        })
    }
}

fn gigabyte_seconds(function: &FunctionState) -> f64 {
    f64::from(function.memory_mb) / 1024.0 * function.billed_ms as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_quantity_has_its_price_and_the_total_is_their_sum() {
        let meter = Meter::default();
        for _ in 0..3 {
            meter.websocket_message(10);
        }
        meter.connection_closed(90_000);
        meter.use_capacity("a", Capacity { write_units: 10.0, read_units: 1.0 });
        meter.use_capacity("b", Capacity { write_units: 2.0, read_units: 3.0 });
        meter.queue_request("q.fifo", 1);
        meter.queue_request("q", 1);
        for operation in ["PutObject", "GetObject", "HeadObject", "DeleteObject", "PostObject"] {
            meter.count("a", "s3", operation);
        }
        let bill = Metered { meter: &meter, host: None, http_requests: 2, rest_requests: 4, open_ms: 30_000 }.bill();
        let quantities = [
            ("webSocketMessages", 3.0, 3e-6),
            ("connectionMinutes", 2.0, 0.5e-6),
            ("httpRequests", 2.0, 2e-6),
            ("restRequests", 4.0, 14e-6),
            ("invocations", 0.0, 0.0),
            ("gigabyteSeconds", 0.0, 0.0),
            ("writeUnits", 12.0, 7.5e-6),
            ("readUnits", 4.0, 0.5e-6),
            ("fifoRequests", 1.0, 0.5e-6),
            ("standardRequests", 1.0, 0.4e-6),
            ("s3Writes", 2.0, 10e-6),
            ("s3Reads", 2.0, 0.8e-6),
            ("logGigabytes", 0.0, 0.0),
        ];
        let near = |value: &Value, expected: f64| (value.as_f64().expect("a number") - expected).abs() < 1e-12;
        let mut total = 0.0;
        for (name, much, dollars) in quantities {
            assert_eq!(bill["quantities"][name], json!(much), "{name}");
            assert!(near(&bill["dollars"][name], dollars), "{name}: {}", bill["dollars"][name]);
            total += dollars;
        }
        assert_eq!(bill["quantities"].as_object().map(Map::len), Some(quantities.len()));
        assert!(near(&bill["dollars"]["total"], total), "{bill:#}");
        assert_eq!(bill["capacity"]["a"], json!({ "writeUnits": 10.0, "readUnits": 1.0 }));
    }

    #[test]
    fn a_functions_time_counts_by_its_memory() {
        let in_flight = samovar_host::InFlight { now: 0, max: 0, limit: None };
        let function = FunctionState {
            pids: Vec::new(),
            invocations: 1,
            errors: 0,
            throttles: 0,
            cold_starts: 1,
            in_flight,
            memory_mb: 128,
            billed_ms: 4000,
        };
        assert!((gigabyte_seconds(&function) - 0.5).abs() < 1e-12);
    }
}
