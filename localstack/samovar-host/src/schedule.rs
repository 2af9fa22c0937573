//! Schedules: functions invoked at a rate, as EventBridge Scheduler does it.
//!
//! An invocation that fails is logged and not repeated; the next comes anyway. One that is still running when the next is due
//! does not hold it up.

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
    /// For the log.
    pub function: String,
    /// The schedule's name, in its ARN.
    pub name: String,
    /// How often; the first time after one of them.
    pub every: Duration,
    /// The event, as JSON; without it, the scheduler's own.
    pub input: Option<String>,
    /// Of the ARN, and in the scheduler's own event.
    pub region: String,
    /// Of the ARN, and in the scheduler's own event.
    pub account_id: String,
}

/// Invokes every [`Schedule::every`] until `stop`; returns when the last running invocation has ended.
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
                tracing::warn!("{function}: the scheduled invocation failed: {error}");
            }
        });
    }
    running.close();
    running.wait().await;
}

fn event(schedule: &Schedule) -> String {
    let Schedule { name, region, account_id, .. } = schedule;
    let now_ms = i64::try_from(clock::epoch().as_millis()).unwrap_or(i64::MAX);
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
