//! The time that the queues use.
//!
//! Visibility, delays, deduplication, retention and long polls all use one [`Clock`]. So a test can advance five
//! minutes in no time, and a waiting receiver wakes at exactly that moment.
//!
//! Invariant: this crate reads the time and sleeps only through the clock given to `Sqs::open`.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use tokio::sync::watch;

/// A sleep until a moment of a clock.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Milliseconds since the epoch, and a way to wait for a later one.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// Milliseconds since 1970-01-01T00:00:00Z.
    fn now_ms(&self) -> i64;

    /// Completes once [`Clock::now_ms`] is at least `deadline_ms`; spurious early completion is allowed.
    fn sleep_until(&self, deadline_ms: i64) -> Sleep;
}

/// The machine's wall clock. It cannot be a monotonic clock, because visibility deadlines must keep their meaning after
/// a restart.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "The one place where the SQS server reads the machine's clock")]
    fn now_ms(&self) -> i64 {
        let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
    }

    fn sleep_until(&self, deadline_ms: i64) -> Sleep {
        // On a suspended or adjusted machine the two clocks diverge, so this looks again at least every minute.
        let wait_ms = (deadline_ms - self.now_ms()).clamp(0, 60_000);
        Box::pin(tokio::time::sleep(Duration::from_millis(wait_ms.unsigned_abs())))
    }
}

/// A clock that stands still until a test advances it. Then it wakes the sleepers whose time has come.
#[derive(Debug)]
pub struct ManualClock {
    now_ms: watch::Sender<i64>,
}

impl ManualClock {
    /// Creates a clock that stands at this moment.
    pub fn new(now_ms: i64) -> Self {
        Self { now_ms: watch::Sender::new(now_ms) }
    }

    /// Advances the clock, and wakes the sleepers whose time has come.
    pub fn advance(&self, by: Duration) {
        let by_ms = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        self.now_ms.send_modify(|now_ms| *now_ms = now_ms.saturating_add(by_ms));
    }
}

impl Clock for ManualClock {
    fn now_ms(&self) -> i64 {
        *self.now_ms.borrow()
    }

    fn sleep_until(&self, deadline_ms: i64) -> Sleep {
        let mut now_ms = self.now_ms.subscribe();
        Box::pin(async move {
            if now_ms.wait_for(|now_ms| *now_ms >= deadline_ms).await.is_err() {
                // The clock is gone, so time will not advance again.
                std::future::pending::<()>().await;
            }
        })
    }
}
