//! Time as the queues see it.
//!
//! Visibility, delays, deduplication, retention and long polls all measure by one [`Clock`], so that a test can move five
//! minutes in no time and a waiting receiver wakes exactly then.
//!
//! Invariant: nothing in this module tree reads the time or sleeps except through the clock given to `Sqs::open`.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use tokio::sync::watch;

/// A sleep until a moment of some clock.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Milliseconds since the epoch, and a way to wait for a later one.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// Milliseconds since 1970-01-01T00:00:00Z.
    fn now_ms(&self) -> i64;

    /// Completes once [`Clock::now_ms`] is at least `deadline_ms`; spurious early completion is allowed.
    fn sleep_until(&self, deadline_ms: i64) -> Sleep;
}

/// The machine's wall clock: visibility deadlines must mean the same after a restart, so it cannot be a monotonic one.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "The one place where the SQS server reads the machine's clock")]
    fn now_ms(&self) -> i64 {
        let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
    }

    fn sleep_until(&self, deadline_ms: i64) -> Sleep {
        // A suspended or adjusted machine makes the two clocks differ: look again at least every minute.
        let wait_ms = (deadline_ms - self.now_ms()).clamp(0, 60_000);
        Box::pin(tokio::time::sleep(Duration::from_millis(wait_ms.unsigned_abs())))
    }
}

/// A clock that stands still until a test advances it, and then wakes whoever slept until then.
#[derive(Debug)]
pub struct ManualClock {
    now_ms: watch::Sender<i64>,
}

impl ManualClock {
    /// It stands at this moment.
    pub fn new(now_ms: i64) -> Self {
        Self { now_ms: watch::Sender::new(now_ms) }
    }

    /// Moves it, and wakes those who slept until then.
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
                // The clock is gone: time will not move again.
                std::future::pending::<()>().await;
            }
        })
    }
}
