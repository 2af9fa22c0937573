//! Event notifications: tells functions, queues, topics and EventBridge what happens to the objects of a bucket, by
//! "Amazon S3 Event Notifications" in the S3 user guide.
//!
//! An event is sent after the object has changed, and before the call is answered. A target keeps what it has taken on
//! the disk ([`Targets`]). So an event of an answered call is not lost. The change and the sending are a task of their
//! own, which goes on when the client leaves. If the process dies between the two, the client has no answer and
//! repeats its call, and that sends the event. If a target can't take the event, the call is answered with an error
//! for the same reason. Only the deletion of an expired object has nobody who repeats it: a process that dies between
//! the deletion and the sending loses this event.
//!
//! Some things differ from S3. There is no `s3:TestEvent` at the start. A deletion of an object that is not there sends
//! nothing. Objects have no versions, tags and ACLs, so their events never come.

mod record;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::Result;
use samovar_template::{Bucket, Function, Target, Trigger};

use crate::eventbridge::{DEFAULT_BUS, EventBridge};
use crate::targets::{Message, Targets};
pub(super) use record::{Changed, Happening, Origin};

/// The notifications of all buckets.
#[derive(Debug, Default)]
pub struct Notifications {
    of_buckets: BTreeMap<String, Vec<Rule>>,
    targets: Option<Targets>,
    eventbridge: Option<Arc<EventBridge>>,
    /// The buckets whose events are put on the default bus.
    to_eventbridge: BTreeSet<String>,
}

/// A configuration of a bucket's notifications.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    id: String,
    target: Target,
    /// For example `s3:ObjectCreated:*`.
    events: Vec<String>,
    prefix: String,
    suffix: String,
}

impl Notifications {
    /// The notifications that the template declares at its buckets and at its functions.
    pub fn of(buckets: &[Bucket], functions: &[Function], targets: Targets) -> Self {
        let mut of_buckets: BTreeMap<String, Vec<Rule>> = BTreeMap::new();
        let mut add = |bucket: &str, target, events, (prefix, suffix): (&String, &String)| {
            let rules = of_buckets.entry(bucket.to_owned()).or_default();
            let id = format!("notification-{}", rules.len() + 1);
            rules.push(Rule { id, target, events, prefix: prefix.clone(), suffix: suffix.clone() });
        };
        for function in functions {
            for trigger in &function.triggers {
                if let Trigger::S3 { bucket, events, prefix, suffix } = trigger {
                    let target = Target::Function(function.function_name.clone());
                    add(bucket, target, events.clone(), (prefix, suffix));
                }
            }
        }
        for bucket in buckets {
            for one in &bucket.notifications {
                add(&bucket.name, one.target.clone(), vec![one.event.clone()], (&one.prefix, &one.suffix));
            }
        }
        let to_eventbridge = buckets.iter().filter(|bucket| bucket.event_bridge).map(|bucket| bucket.name.clone());
        Self { of_buckets, targets: Some(targets), eventbridge: None, to_eventbridge: to_eventbridge.collect() }
    }

    /// Puts the events of buckets that declare it on the default bus of this EventBridge.
    #[must_use]
    pub fn through(self, eventbridge: Arc<EventBridge>) -> Self {
        Self { eventbridge: Some(eventbridge), ..self }
    }

    /// Sends what has happened to an object to all targets that want to know it.
    pub(super) async fn send(&self, bucket: &str, changed: &Changed, origin: &Origin) -> Result<()> {
        let Some(targets) = &self.targets else { return Ok(()) };
        for rule in self.of_buckets.get(bucket).into_iter().flatten().filter(|rule| rule.wants(changed)) {
            let event = record::event(bucket, &rule.id, changed, origin);
            targets.send(&rule.target, Message::of(event).about("Amazon S3 Notification")).await?;
        }
        if let Some(eventbridge) = self.eventbridge.as_ref().filter(|_| self.to_eventbridge.contains(bucket)) {
            let (detail_type, detail) = record::detail(bucket, changed, origin, &eventbridge.account().id);
            let time = jiff::Timestamp::from_millisecond(changed.at_ms).ok();
            let resources = vec![format!("arn:aws:s3:::{bucket}")];
            let event = eventbridge.event("aws.s3", detail_type, resources, detail, time);
            eventbridge.put(DEFAULT_BUS, &event).await?;
        }
        Ok(())
    }
}

impl Rule {
    fn wants(&self, changed: &Changed) -> bool {
        let name = changed.happening.name();
        let named = |event: &String| {
            let event = event.strip_prefix("s3:").unwrap_or(event);
            event.strip_suffix('*').map_or(event == name, |beginning| name.starts_with(beginning))
        };
        self.events.iter().any(named) && changed.key.starts_with(&self.prefix) && changed.key.ends_with(&self.suffix)
    }
}
