//! Schedules: invokes functions at a rate, as EventBridge Scheduler does.
//!
//! A failed invocation is logged and not repeated; the next one follows on schedule. An invocation that is still
//! running when the next one is due does not delay it.

use std::fmt::Display;
use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::clock;

/// A schedule as the template declares it.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// The function's name, for the log.
    pub function: String,
    /// The schedule's name, in its ARN.
    pub name: String,
    /// The interval. The first invocation comes after one interval.
    pub every: Duration,
    /// The event as JSON. Without it the scheduler's own event is sent.
    pub input: Option<String>,
    /// The region in the ARN and in the scheduler's own event.
    pub region: String,
    /// The account in the ARN and in the scheduler's own event.
    pub account_id: String,
}

/// Invokes the function every [`Schedule::every`] until `stop`. Returns when the last running invocation has ended.
pub async fn run<I, F, E>(schedule: Schedule, invoke: I, stop: CancellationToken)
where
    I: Fn(Bytes) -> F,
    F: Future<Output = Result<Bytes, E>> + Send + 'static,
    E: Display,
{
    let running = TaskTracker::new();
    let mut due = tokio::time::interval_at(tokio::time::Instant::now() + schedule.every, schedule.every);
    due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            _ = due.tick() => {}
            () = stop.cancelled() => break,
        }
        let event = schedule.input.clone().unwrap_or_else(|| event(&schedule));
        let (invocation, function) = (invoke(event.into()), schedule.function.clone());
        running.spawn(async move {
            if let Err(error) = invocation.await {
                tracing::warn!("{function}: a scheduled invocation failed: {error}");
            }
        });
    }
    running.close();
    running.wait().await;
}

fn event(schedule: &Schedule) -> String {
    let Schedule { name, region, account_id, .. } = schedule;
    let now_ms = i64::try_from(clock::since_epoch().as_millis()).unwrap_or(i64::MAX);
    let time = jiff::Timestamp::from_millisecond(now_ms).unwrap_or_default();
    json!({
        "version": "0",
        "id": clock::new_id().to_string(),
        "detail-type": "Scheduled Event",
        "source": "aws.scheduler",
        "account": account_id,
        "time": format!("{time:.0}"),
        "region": region,
        "resources": [format!("arn:aws:scheduler:{region}:{account_id}:schedule/default/{name}")],
        "detail": "{}",
    })
    .to_string()
}
