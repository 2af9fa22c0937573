//! The rules of EventBridge that follow a schedule.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use samovar_eventbridge::TimeZone;
use samovar_host::schedule::{self, Schedule, Service};
use samovar_services::Services;
use samovar_template::EventRule;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{ACCOUNT_ID, REGION};

/// Sends the events of rules with a schedule to their targets, until `stop`.
pub(super) fn start(services: &Arc<Services>, stop: &CancellationToken) -> Vec<JoinHandle<()>> {
    let rules = services.eventbridge().map(|eventbridge| eventbridge.rules()).unwrap_or_default();
    let scheduled = rules.iter().filter_map(|rule| Some((rule.clone(), rule.schedule.clone()?)));
    let run = |(rule, expression): (EventRule, _)| {
        let schedule = Schedule {
            function: rule.name.clone(),
            name: rule.name.clone(),
            expression,
            time_zone: TimeZone::UTC,
            input: None,
            service: Service::Rule,
            region: REGION.to_owned(),
            account_id: ACCOUNT_ID.to_owned(),
        };
        let services = Arc::clone(services);
        let deliver = move |event: Bytes| deliver(Arc::clone(&services), rule.clone(), event);
        tokio::spawn(schedule::run(schedule, deliver, stop.clone()))
    };
    scheduled.map(run).collect()
}

async fn deliver(services: Arc<Services>, rule: EventRule, event: Bytes) -> Result<()> {
    let eventbridge = services.eventbridge().context("EventBridge is not served")?;
    eventbridge.deliver(&rule, &serde_json::from_slice(&event)?).await
}
