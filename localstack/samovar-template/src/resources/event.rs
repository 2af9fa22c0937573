//! A function's `Events`: queues, schedules and other triggers. Events of the types `HttpApi` and `Api` are routes, and
//! are read together with their API (`http_event`, `rest_event`).

use super::Context;
use super::event_rule;
use super::event_source::source;
use super::schedule;
use super::trigger;
use crate::error::hint;
use crate::fields::{Fields, Schema};
use crate::model::{EventRule, Queue, Schedule, SqsEventSource, Trigger};
use crate::resource::Resource;
use crate::yaml::{Data, Entry, Node};

/// The type of the events that are routes of HTTP APIs.
pub(crate) const HTTP_API: &str = "HttpApi";
/// The type of the events that are routes of REST APIs.
pub(crate) const REST_API: &str = "Api";

/// The types that the local stack reads, and those of which it only knows the names.
const TYPES: [&str; 10] = [
    HTTP_API,
    REST_API,
    "CloudWatchEvent",
    "DynamoDB",
    "EventBridgeRule",
    "S3",
    "SNS",
    "SQS",
    "Schedule",
    "ScheduleV2",
];
const PASSED_OVER: [&str; 10] = [
    "AlexaSkill",
    "CloudWatchLogs",
    "Cognito",
    "DocumentDB",
    "IoTRule",
    "Kinesis",
    "MQ",
    "MSK",
    "SelfManagedKafka",
    "ALB",
];

pub(crate) const EVENT: Schema =
    Schema { subject: "An event", required: &["Type"], optional: &["Properties"], ignored: &[] };

/// What invokes a function, apart from the routes of APIs.
#[derive(Debug, Default)]
pub(super) struct Sources {
    pub(super) queues: Vec<SqsEventSource>,
    pub(super) schedules: Vec<Schedule>,
    pub(super) rules: Vec<EventRule>,
    pub(super) triggers: Vec<Trigger>,
}

/// One event of a function.
#[derive(Debug)]
pub(super) struct Event<'a> {
    pub(super) function: &'a Resource,
    pub(super) name: &'a str,
    pub(super) line: usize,
    pub(super) properties: &'a Node,
}

impl Event<'_> {
    /// The id that SAM generates.
    pub(super) fn logical_id(&self) -> String {
        format!("{}{}", self.function.id, self.name)
    }
}

/// A function's events of one type, as they are written.
pub(crate) fn of_type<'a>(function: &'a Resource, wanted: &'a str) -> impl Iterator<Item = &'a Entry> {
    let events = function.properties.get("Events").map(Node::entries).unwrap_or_default();
    events.iter().filter(move |entry| entry.value.get("Type").and_then(Node::as_text).as_deref() == Some(wanted))
}

pub(super) fn events(
    function: &Resource,
    fields: &Fields<'_>,
    timeout_seconds: u32,
    context: &Context<'_>,
    queues: &[Queue],
) -> Sources {
    let mut sources = Sources::default();
    let Some(events) = fields.node("Events") else { return sources };
    if !matches!(events.data, Data::Map(_)) {
        context.problems.push(events.not("Events", "a map"));
    }
    for entry in events.entries() {
        let kind = Fields::new(&EVENT, &entry.value, context.problems);
        let Some(name) = kind.text("Type") else { continue };
        if [HTTP_API, REST_API].contains(&name.as_str()) {
            continue;
        }
        if PASSED_OVER.contains(&name.as_str()) {
            context.not_read(entry.line, format!("{}: events of the type {name} do not come here", function.id));
            continue;
        }
        if !TYPES.contains(&name.as_str()) {
            let hint = hint(&name, TYPES.into_iter().chain(PASSED_OVER));
            kind.wrong("Type", &format!("cannot be \"{name}\"{hint}"));
            continue;
        }
        let Some(properties) = kind.node("Properties") else {
            kind.wrong("Properties", &format!("is missing: an event of the type {name} needs it"));
            continue;
        };
        let event = Event { function, name: &entry.key, line: entry.line, properties };
        match name.as_str() {
            "SQS" => sources.queues.extend(source(&event, timeout_seconds, context, queues)),
            "Schedule" | "ScheduleV2" => drop(schedule::read(&event, &name, context, &mut sources)),
            "CloudWatchEvent" | "EventBridgeRule" => sources.rules.extend(event_rule::of_event(&event, context)),
            _ => sources.triggers.extend(trigger::read(&event, &name, context)),
        }
    }
    sources
}
