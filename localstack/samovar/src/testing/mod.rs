//! Shared by the tests of several modules: scripted functions, captured events, time limits.
#![allow(clippy::unwrap_used, reason = "A test that panics has failed, as it should")]

pub(crate) mod functions;
pub(crate) mod hostile;
pub(crate) mod log;
pub(crate) mod shapes;
pub(crate) mod signing;

use std::fmt::Display;
use std::time::Duration;

/// No step of a test takes this long. An event that has not come by then will not come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Far longer than [`PATIENCE`]: a test fails if only such a time-out would end its wait.
pub(crate) const NEVER: Duration = Duration::from_secs(600);

/// Waits for a future, but not for ever.
pub(crate) async fn within<T>(what: impl Display, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(result) => result,
        Err(_) => panic!("Waited in vain until: {what}"),
    }
}
