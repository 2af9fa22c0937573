//! Schedules: invokes functions at a rate, at the times of a calendar, or once, as EventBridge does.
//!
//! A failed invocation is logged and not repeated; the next one follows on schedule. An invocation that is still
//! running when the next one is due does not delay it. A time at which the stack does not run is missed.

use std::fmt::Display;
use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use samovar_eventbridge::{Schedule as Expression, TimeZone};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::clock;

/// The longest sleep. The wall clock may be set, or stand still while the machine sleeps.
const LONGEST_SLEEP: Duration = Duration::from_secs(20);

/// A schedule as the template declares it.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// The target's name, for the log.
    pub function: String,
    /// The schedule's name, in its ARN.
    pub name: String,
    /// When it is due. With a rate, the first invocation comes after one interval.
    pub expression: Expression,
    /// The time zone of the calendar.
    pub time_zone: TimeZone,
    /// The event as JSON. Without it the service's own event is sent.
    pub input: Option<String>,
    /// The service whose event is sent.
    pub service: Service,
    /// The region in the ARN and in the service's own event.
    pub region: String,
    /// The account in the ARN and in the service's own event.
    pub account_id: String,
}

/// The service that keeps a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// A rule of EventBridge.
    Rule,
    /// EventBridge Scheduler.
    Scheduler,
}

/// Invokes the function whenever the schedule is due, until `stop`. Returns when the last running invocation has ended.
pub async fn run<I, F, T, E>(schedule: Schedule, invoke: I, stop: CancellationToken)
where
    I: Fn(Bytes) -> F,
    F: Future<Output = Result<T, E>> + Send + 'static,
    E: Display,
{
    let running = TaskTracker::new();
    let mut clock = Due::of(&schedule);
    while let Some(Some(())) = stop.run_until_cancelled(clock.next()).await {
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

/// The times at which a schedule is due.
enum Due {
    Every(tokio::time::Interval),
    At { schedule: Expression, time_zone: TimeZone, last: Timestamp },
}

impl Due {
    fn of(schedule: &Schedule) -> Self {
        match &schedule.expression {
            Expression::Rate(every) => {
                let mut due = tokio::time::interval_at(tokio::time::Instant::now() + *every, *every);
                due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
                Self::Every(due)
            }
            other => Self::At { schedule: other.clone(), time_zone: schedule.time_zone.clone(), last: now() },
        }
    }

    /// Waits until the schedule is due. `None`: it never is again.
    async fn next(&mut self) -> Option<()> {
        match self {
            Self::Every(due) => {
                due.tick().await;
            }
            Self::At { schedule, time_zone, last } => {
                let next = schedule.next(*last, time_zone)?;
                while let Ok(left) = Duration::try_from(next.duration_since(now()))
                    && !left.is_zero()
                {
                    tokio::time::sleep(left.min(LONGEST_SLEEP)).await;
                }
                // Times that were missed because the machine slept are not made up for.
                *last = next.max(now());
            }
        }
        Some(())
    }
}

fn now() -> Timestamp {
    let now_ms = i64::try_from(clock::since_epoch().as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_millisecond(now_ms).unwrap_or_default()
}

/// The event that the service sends, if the schedule has none of its own.
fn event(schedule: &Schedule) -> String {
    let Schedule { name, region, account_id, .. } = schedule;
    // The detail of the one is an empty object, and that of the other an empty object as text.
    let (source, resource, detail) = match schedule.service {
        Service::Rule => ("aws.events", format!("arn:aws:events:{region}:{account_id}:rule/{name}"), json!({})),
        Service::Scheduler => {
            let arn = format!("arn:aws:scheduler:{region}:{account_id}:schedule/default/{name}");
            ("aws.scheduler", arn, Value::from("{}"))
        }
    };
    json!({
        "version": "0",
        "id": clock::new_id().to_string(),
        "detail-type": "Scheduled Event",
        "source": source,
        "account": account_id,
        "time": format!("{:.0}", now()),
        "region": region,
        "resources": [resource],
        "detail": detail,
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    fn schedule(expression: &str, service: Service) -> Schedule {
        Schedule {
            function: "f".into(),
            name: "FDaily".into(),
            expression: Expression::parse(expression).unwrap(),
            time_zone: TimeZone::UTC,
            input: None,
            service,
            region: "eu-central-1".into(),
            account_id: "000000000000".into(),
        }
    }

    /// Runs a schedule until it ends or has been due so often.
    async fn events(schedule: Schedule, most: usize) -> Vec<Value> {
        let stop = CancellationToken::new();
        let (send, mut events) = mpsc::unbounded_channel();
        let invoke = move |event: Bytes| {
            send.send(serde_json::from_slice(&event).unwrap()).unwrap();
            async { Err::<(), _>("it failed, which is only logged") }
        };
        let running = tokio::spawn(run(schedule, invoke, stop.clone()));
        let mut all = Vec::new();
        while all.len() < most
            && let Some(event) = events.recv().await
        {
            all.push(event);
        }
        stop.cancel();
        running.await.unwrap();
        all
    }

    #[tokio::test]
    async fn a_schedule_for_one_time_is_due_once_and_ends() {
        let at = now().checked_add(jiff::SignedDuration::from_secs(2)).unwrap();
        let expression = format!("at({})", format!("{at:.0}").trim_end_matches('Z'));
        let sent = events(schedule(&expression, Service::Scheduler), 2).await;
        let [event] = sent.as_slice() else { panic!("{sent:?}") };
        assert_eq!((&event["source"], &event["detail"]), (&json!("aws.scheduler"), &json!("{}")));
        let arn = "arn:aws:scheduler:eu-central-1:000000000000:schedule/default/FDaily";
        assert_eq!(event["resources"], json!([arn]));
        let past = schedule("at(2020-01-01T00:00:00)", Service::Scheduler);
        assert!(events(past, 1).await.is_empty());
    }

    #[tokio::test]
    async fn a_rate_is_due_after_each_interval_until_the_stop() {
        let every = Duration::from_millis(20);
        let (began, fast) = (std::time::Instant::now(), schedule("rate(1 minute)", Service::Rule));
        let sent = events(Schedule { expression: Expression::Rate(every), ..fast }, 2).await;
        assert!(began.elapsed() >= every * 2);
        let event = &sent[0];
        assert_eq!((&event["source"], &event["detail"]), (&json!("aws.events"), &json!({})));
        assert_eq!(event["resources"], json!(["arn:aws:events:eu-central-1:000000000000:rule/FDaily"]));
        assert_eq!(event["detail-type"], "Scheduled Event");
    }

    #[tokio::test]
    async fn a_stop_ends_a_schedule_that_is_not_due_yet() {
        assert!(events(schedule("cron(0 0 1 1 ? *)", Service::Rule), 0).await.is_empty());
    }
}
