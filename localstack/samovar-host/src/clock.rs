//! The wall clock and the random ids of the function host, in one place.
//!
//! Elapsed times come from tokio's clock. Wall-clock time is used only where a function sees it: in deadlines and
//! dates.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

#[allow(clippy::disallowed_methods, reason = "the one place where the host reads the wall clock")]
pub(super) fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// A request id, or the secret part of an instance's base path.
#[allow(clippy::disallowed_methods, reason = "the one place where the host makes ids")]
pub(super) fn new_id() -> uuid::Uuid {
    uuid::Uuid::new_v4()
}

/// An X-Ray trace header for an invocation that came without one: new, and not sampled.
pub(super) fn unsampled_trace_header() -> String {
    let id = new_id().simple().to_string();
    format!("Root=1-{:08x}-{};Sampled=0", since_epoch().as_secs(), &id[..24])
}
