//! How often each caller used each operation of each service since the start: what a deployed stack would be billed for.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};

type Counts = BTreeMap<String, BTreeMap<&'static str, BTreeMap<String, u64>>>;

/// The counts.
#[derive(Debug, Default)]
pub struct Meter(Mutex<Counts>);

impl Meter {
    /// Counts one call.
    pub fn count(&self, caller: &str, service: &'static str, operation: &str) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // The names are known after the first call: no allocation on the path of later ones.
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

    /// The counts, as JSON: by caller, service, operation.
    pub fn snapshot(&self) -> Value {
        json!(*self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
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
        let expected = json!({ "worker": { "dynamodb": { "GetItem": 2 }, "sqs": { "SendMessage": 1 } } });
        assert_eq!(meter.snapshot(), expected);
    }
}
