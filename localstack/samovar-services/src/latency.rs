//! Calls that take as long as on AWS. The local engines answer in a fraction of a millisecond, so a chain of calls that
//! costs a user 50 ms on AWS is not noticed here. With a latency, it is.
//!
//! Only calls of functions are slowed down, not those of a developer's tools.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::credentials::{Caller, OTHER};

/// The time of calls to services.
#[derive(Debug, Default)]
pub struct Latency {
    /// The processes that have a connection to a service.
    connected: Mutex<HashSet<(String, &'static str)>>,
}

/// The first call of a process to a service also makes a connection, with TLS.
const CONNECTING: Duration = Duration::from_millis(10);

/// Processes that are remembered. When there are more, all are forgotten.
const MOST_PROCESSES: usize = 10_000;

impl Latency {
    /// The time that this call takes. These are medians of small calls within a region.
    pub(crate) fn of(&self, caller: &Caller, service: &'static str, operation: &str) -> Duration {
        if caller.function == OTHER {
            return Duration::ZERO;
        }
        let millis = match (service, operation) {
            ("dynamodb", "TransactWriteItems" | "TransactGetItems") => 9,
            ("dynamodb", "GetItem" | "BatchGetItem" | "Query" | "Scan") => 3,
            ("dynamodb", _) => 5,
            ("sqs", _) | ("connections", _) => 8,
            ("s3", _) => 20,
            _ => 0,
        };
        let call = Duration::from_millis(millis);
        if self.connects(caller, service) { call + CONNECTING } else { call }
    }

    fn connects(&self, caller: &Caller, service: &'static str) -> bool {
        // A function that runs elsewhere does not name its process.
        let Some(instance) = &caller.instance else { return false };
        let mut connected = self.connected.lock().unwrap_or_else(PoisonError::into_inner);
        if connected.len() >= MOST_PROCESSES {
            connected.clear();
        }
        connected.insert((instance.clone(), service))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(function: &str, instance: Option<&str>) -> Caller {
        Caller { function: function.to_owned(), instance: instance.map(str::to_owned) }
    }

    #[test]
    fn the_first_call_of_a_process_to_a_service_takes_longer_and_a_tools_call_takes_none() {
        let latency = Latency::default();
        let millis = |caller: &Caller, service, operation| latency.of(caller, service, operation).as_millis();
        let (one, two) = (caller("worker", Some("1")), caller("worker", Some("2")));
        assert_eq!([(); 2].map(|()| millis(&one, "dynamodb", "Query")), [13, 3]);
        assert_eq!([(); 2].map(|()| millis(&one, "sqs", "SendMessage")), [18, 8]);
        assert_eq!([(); 2].map(|()| millis(&two, "dynamodb", "TransactWriteItems")), [19, 9]);
        assert_eq!(millis(&caller("worker", None), "dynamodb", "PutItem"), 5);
        assert_eq!(millis(&caller(OTHER, None), "s3", "GetObject"), 0);
    }
}
