//! The wall clock of the edge. (The queues have their own, which tests can move.)

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since the epoch.
#[allow(clippy::disallowed_methods, reason = "the one place where the edge reads the machine's clock")]
pub(crate) fn now_ms() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
}
