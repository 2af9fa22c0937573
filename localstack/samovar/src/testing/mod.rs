//! What tests of several modules share: scripted functions, captured events, patience.
#![allow(clippy::unwrap_used, reason = "A test that panics has failed, as it should")]

pub(crate) mod functions;
pub(crate) mod shapes;

use std::fmt::Display;
use std::time::Duration;

/// Nothing here takes that long: what does not come by then does not come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Far beyond [`PATIENCE`]: what only a time-out would end fails its test.
pub(crate) const NEVER: Duration = Duration::from_secs(600);

/// Waits, but not for ever.
pub(crate) async fn within<T>(what: impl Display, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(result) => result,
        Err(_) => panic!("Waited in vain until: {what}"),
    }
}
