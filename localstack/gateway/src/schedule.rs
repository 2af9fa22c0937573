//! Schedules: functions invoked at a rate, as EventBridge Scheduler does it.
//!
//! An invocation that fails is logged and not repeated; the next comes anyway. One that is still running when the next is due
//! does not hold it up.

use std::sync::Arc;

use serde_json::json;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::now_ms;
use crate::ids::gateway_id;
use crate::invoke::Invoker;
use samovar_template::Schedule;

/// What an event says of where it comes from.
#[derive(Debug, Clone)]
pub struct Origin {
    pub region: String,
    pub account_id: String,
}

/// Invokes `function` every [`Schedule::every`], the first time after one of them, until `stop`.
pub async fn run(
    schedule: Schedule,
    function: String,
    origin: Origin,
    invoker: Arc<dyn Invoker>,
    stop: CancellationToken,
) {
    let running = TaskTracker::new();
    let mut due = tokio::time::interval_at(tokio::time::Instant::now() + schedule.every, schedule.every);
    due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            _ = due.tick() => {}
            () = stop.cancelled() => break,
        }
        let event = schedule.input.clone().unwrap_or_else(|| event(&schedule, &origin));
        let (invoker, function) = (Arc::clone(&invoker), function.clone());
        running.spawn(async move {
            if let Err(error) = invoker.invoke(&function, event.into()).await {
                tracing::warn!("{function}: the scheduled invocation failed: {error}");
            }
        });
    }
    running.close();
    running.wait().await;
}

fn event(schedule: &Schedule, origin: &Origin) -> String {
    let Origin { region, account_id } = origin;
    let time = jiff::Timestamp::from_millisecond(now_ms()).unwrap_or_default();
    json!({
        "version": "0",
        "id": gateway_id(),
        "detail-type": "Scheduled Event",
        "source": "aws.scheduler",
        "account": account_id,
        "time": format!("{time:.0}"),
        "region": region,
        "resources": [format!("arn:aws:scheduler:{region}:{account_id}:schedule/default/{}", schedule.logical_id)],
        "detail": "{}",
    })
    .to_string()
}
