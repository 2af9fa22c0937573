//! EventBridge: the buses of a stack, and the rules that send their events to targets.
//!
//! Invariant: an entry of `PutEvents` that is answered with an id has been sent to all targets of the rules that it
//! matches. What has been sent is durable ([`Targets`]), so a crash after the answer loses no event. After a crash
//! before it, the caller repeats the entry, and some targets may get it twice, as EventBridge allows.
//!
//! Events on a bus that no rule matches are gone, as on AWS.

use std::collections::BTreeSet;

use anyhow::Result;
use bytes::Bytes;
use jiff::Timestamp;
use samovar_eventbridge::Rule;
use samovar_template::EventRule;
use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::Answer;
use super::clock::now_ms;
use super::ids::uuid;
use super::permissions::{Account, Need};
use super::targets::{Message, Targets};

/// The service in counts, faults and permissions.
pub const EVENTS: &str = "events";

/// The bus of an entry that names none.
pub(crate) const DEFAULT_BUS: &str = "default";
/// EventBridge's limit on the entries of a call.
const MOST_ENTRIES: usize = 10;
/// EventBridge's limit on all entries of a call together ("Calculating PutEvents event entry size").
const MOST_BYTES: usize = 1024 * 1024;
/// The bytes that a time counts.
const TIME_BYTES: usize = 14;

/// The buses and rules of a stack.
#[derive(Debug)]
pub struct EventBridge {
    account: Account,
    buses: BTreeSet<String>,
    rules: Vec<EventRule>,
    targets: Targets,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct PutEvents {
    entries: Vec<Entry>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Entry {
    time: Option<f64>,
    source: Option<String>,
    resources: Vec<String>,
    detail_type: Option<String>,
    detail: Option<String>,
    event_bus_name: Option<String>,
}

impl Entry {
    /// The bus's name. It may be given as an ARN.
    fn bus(&self) -> &str {
        let named = self.event_bus_name.as_deref().unwrap_or(DEFAULT_BUS);
        named.rsplit_once(":event-bus/").map_or(named, |(_, name)| name)
    }

    fn bytes(&self) -> usize {
        let texts = [&self.source, &self.detail_type, &self.detail].into_iter().flatten().map(String::len);
        let time = if self.time.is_some() { TIME_BYTES } else { 0 };
        time + texts.sum::<usize>() + self.resources.iter().map(String::len).sum::<usize>()
    }
}

/// An entry that is not taken: AWS's code and words.
type Refused = (&'static str, String);

impl EventBridge {
    /// Of the default bus and these others.
    pub fn new(
        account: Account,
        buses: impl IntoIterator<Item = String>,
        rules: impl IntoIterator<Item = EventRule>,
        targets: Targets,
    ) -> Self {
        let buses = buses.into_iter().chain([DEFAULT_BUS.to_owned()]).collect();
        Self { account, buses, rules: rules.into_iter().filter(|rule| rule.enabled).collect(), targets }
    }

    /// The account of its events.
    pub(crate) fn account(&self) -> &Account {
        &self.account
    }

    /// The rules that are enabled.
    pub fn rules(&self) -> &[EventRule] {
        &self.rules
    }

    /// Makes one call of the API.
    pub(crate) async fn call(&self, operation: &str, body: &Bytes) -> Answer {
        if operation != "PutEvents" {
            let message = format!("The local EventBridge has only the call PutEvents, and not {operation}");
            return Answer::error(400, "UnknownOperationException", &message);
        }
        let PutEvents { entries } = match serde_json::from_slice(body) {
            Ok(request) => request,
            Err(error) => return Answer::error(400, "SerializationException", &error.to_string()),
        };
        let limit = |message: String| Answer::error(400, "ValidationException", &message);
        if entries.is_empty() || entries.len() > MOST_ENTRIES {
            return limit(format!(
                "1 validation error detected: Value at 'entries' failed to satisfy constraint: Member must have length \
                 between 1 and {MOST_ENTRIES}"
            ));
        }
        let bytes: usize = entries.iter().map(Entry::bytes).sum();
        if bytes > MOST_BYTES {
            return limit(format!("Total size of the entries in the request is over the limit: {bytes} bytes"));
        }
        let (mut answers, mut failed) = (Vec::new(), 0);
        for entry in entries {
            answers.push(match self.put_entry(entry).await {
                Ok(id) => json!({ "EventId": id }),
                Err((code, message)) => {
                    failed += 1;
                    tracing::warn!("An event was not taken: {message}");
                    json!({ "ErrorCode": code, "ErrorMessage": message })
                }
            });
        }
        let body = json!({ "FailedEntryCount": failed, "Entries": answers }).to_string().into_bytes();
        Answer { status: 200, headers: Vec::new(), body }
    }

    async fn put_entry(&self, entry: Entry) -> Result<String, Refused> {
        let bus = entry.bus().to_owned();
        if !self.buses.contains(&bus) {
            return Err(("InvalidArgument", format!("Event bus {bus} does not exist.")));
        }
        let needed = |value: Option<String>, name: &str| {
            let missing = || format!("Parameter {name} is not valid. Reason: {name} is a required argument.");
            value.filter(|value| !value.is_empty()).ok_or_else(|| ("InvalidArgument", missing()))
        };
        let source = needed(entry.source, "Source")?;
        let detail_type = needed(entry.detail_type, "DetailType")?;
        let detail = needed(entry.detail, "Detail")?;
        if source.starts_with("aws.") {
            return Err(("NotAuthorizedForSourceException", "Not authorized for the source.".to_owned()));
        }
        let detail: Value = serde_json::from_str(&detail)
            .ok()
            .filter(Value::is_object)
            .ok_or_else(|| ("MalformedDetail", "Detail is malformed.".to_owned()))?;
        let time = entry.time.and_then(|seconds| Timestamp::from_second(seconds as i64).ok());
        let event = self.event(&source, &detail_type, entry.resources, detail, time);
        let id = event["id"].as_str().unwrap_or_default().to_owned();
        self.put(&bus, &event).await.map_err(|error| ("InternalFailure", format!("{error:#}")))?;
        Ok(id)
    }

    /// An event in EventBridge's form. Without a time it has the present one.
    pub fn event(
        &self,
        source: &str,
        detail_type: &str,
        resources: Vec<String>,
        detail: Value,
        time: Option<Timestamp>,
    ) -> Value {
        let time = time.unwrap_or_else(|| Timestamp::from_millisecond(now_ms()).unwrap_or_default());
        json!({
            "version": "0",
            "id": uuid(),
            "detail-type": detail_type,
            "source": source,
            "account": self.account.id,
            "time": format!("{time:.0}"),
            "region": self.account.region,
            "resources": resources,
            "detail": detail,
        })
    }

    /// Puts an event on a bus: sends it to the targets of all rules that it matches.
    ///
    /// # Errors
    /// A target could not take it. Others may have.
    pub async fn put(&self, bus: &str, event: &Value) -> Result<()> {
        let of_bus = self.rules.iter().filter(|rule| rule.bus == bus);
        for rule in of_bus.filter(|rule| rule.pattern.as_ref().is_some_and(|pattern| pattern.matches(event))) {
            self.deliver(rule, event).await?;
        }
        Ok(())
    }

    /// Sends an event to the targets of a rule.
    ///
    /// # Errors
    /// A target could not take it. Others may have.
    pub async fn deliver(&self, rule: &EventRule, event: &Value) -> Result<()> {
        for target in &rule.targets {
            let input = target.input.of(event, Rule { name: &rule.name, arn: &rule.arn });
            self.targets.send(&target.target, Message::of(input)).await?;
        }
        Ok(())
    }
}

/// What a call needs: a permission for each bus.
pub(crate) fn needs(operation: &str, body: &[u8], account: &Account) -> Vec<Need> {
    let PutEvents { entries } = serde_json::from_slice(body).unwrap_or_default();
    let Account { region, id } = account;
    let buses: BTreeSet<&str> = entries.iter().map(Entry::bus).collect();
    let need = |bus| Need::new(format!("events:{operation}"), format!("arn:aws:events:{region}:{id}:event-bus/{bus}"));
    buses.into_iter().map(need).collect()
}

#[cfg(test)]
mod tests {
    use samovar_eventbridge::{Input, Path, Pattern};
    use samovar_template::{RuleTarget, Target, Template};

    use super::*;
    use crate::dynamodb::DynamoDb;
    use crate::event_queues::EventQueues;
    use crate::queues::Queues;
    use samovar_sqs::{Sqs, Storage, SystemClock};

    fn account() -> Account {
        Account { region: "us-east-1".to_owned(), id: "000000000000".to_owned() }
    }

    fn rule(name: &str, bus: &str, pattern: Value, targets: Vec<RuleTarget>) -> EventRule {
        EventRule {
            logical_id: name.to_owned(),
            name: name.to_owned(),
            arn: format!("arn:{name}"),
            bus: bus.to_owned(),
            pattern: Some(Pattern::of(&pattern).unwrap()),
            schedule: None,
            enabled: name != "off",
            targets,
        }
    }

    fn target(target: Target, input: Input) -> RuleTarget {
        RuleTarget { id: "T".to_owned(), target, input }
    }

    struct Bench {
        bridge: EventBridge,
        events: EventQueues,
        queues: Queues,
    }

    async fn bench() -> Bench {
        let sqs = Sqs::open(Storage::Memory, "us-east-1", "000000000000", "http://q", std::sync::Arc::new(SystemClock));
        let queues = Queues::Embedded(sqs.unwrap());
        let queue = samovar_template::Queue {
            logical_id: "Q".to_owned(),
            name: "q".to_owned(),
            arn: "arn".to_owned(),
            url: "http://q/000000000000/q".to_owned(),
            attributes: std::collections::BTreeMap::new(),
        };
        queues.create(std::slice::from_ref(&queue)).await.unwrap();
        let events = EventQueues::open(None, ["f"].into_iter()).await.unwrap();
        let targets =
            Targets::new(events.clone(), queues.clone(), &Template { queues: vec![queue], ..Template::default() })
                .expect("targets");
        let function = || target(Target::Function("f".to_owned()), Input::Event);
        let name = Input::Part(Path::parse("$.detail.name").unwrap());
        let rules = [
            rule("orders", "default", json!({ "source": ["shop"] }), vec![function()]),
            rule(
                "named",
                "own",
                json!({ "detail": { "name": [{ "exists": true }] } }),
                vec![target(Target::Queue("q".to_owned()), name)],
            ),
            rule("off", "default", json!({ "source": ["shop"] }), vec![function()]),
            rule(
                "gone",
                "own",
                json!({ "source": ["gone"] }),
                vec![target(Target::Function("g".to_owned()), Input::Event)],
            ),
        ];
        let bridge = EventBridge::new(account(), ["own".to_owned()], rules, targets);
        Bench { bridge, events, queues }
    }

    async fn put(bridge: &EventBridge, entries: Value) -> Value {
        let answer = bridge.call("PutEvents", &json!({ "Entries": entries }).to_string().into()).await;
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        serde_json::from_slice(&answer.body).unwrap()
    }

    fn entry(more: Value) -> Value {
        let mut entry = json!({ "Source": "shop", "DetailType": "Order", "Detail": r#"{"name":"a"}"# });
        entry.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        entry
    }

    #[tokio::test]
    async fn an_event_goes_to_the_targets_of_the_rules_that_it_matches() {
        let Bench { bridge, events, queues } = bench().await;
        let time = json!({ "Time": 1_447_277_394, "Resources": ["arn:r"] });
        let own = json!({ "EventBusName": "arn:aws:events:us-east-1:000000000000:event-bus/own" });
        let answer = put(&bridge, json!([entry(time), entry(own), entry(json!({ "Source": "other" }))])).await;
        assert_eq!((&answer["FailedEntryCount"], answer["Entries"].as_array().unwrap().len()), (&json!(0), 3));
        let taken = events.take("f", 10).await.unwrap();
        let [taken] = taken.as_slice() else { panic!("{taken:?}") };
        let expected = json!({
            "version": "0",
            "id": answer["Entries"][0]["EventId"],
            "detail-type": "Order",
            "source": "shop",
            "account": "000000000000",
            "time": "2015-11-11T21:29:54Z",
            "region": "us-east-1",
            "resources": ["arn:r"],
            "detail": { "name": "a" },
        });
        assert_eq!(serde_json::from_str::<Value>(taken.event.payload.get()).unwrap(), expected);
        let received =
            queues.expect("ReceiveMessage", &json!({ "QueueUrl": "http://q/000000000000/q" })).await.unwrap();
        assert_eq!(received["Messages"][0]["Body"], "\"a\"");
    }

    #[tokio::test]
    async fn an_entry_that_is_not_taken_is_told_with_awss_code() {
        let bridge = bench().await.bridge;
        for (more, code, message) in [
            (json!({ "EventBusName": "none" }), "InvalidArgument", "Event bus none does not exist."),
            (
                json!({ "Source": null }),
                "InvalidArgument",
                "Parameter Source is not valid. Reason: Source is a required argument.",
            ),
            (
                json!({ "DetailType": "" }),
                "InvalidArgument",
                "Parameter DetailType is not valid. Reason: DetailType is a required argument.",
            ),
            (
                json!({ "Detail": null }),
                "InvalidArgument",
                "Parameter Detail is not valid. Reason: Detail is a required argument.",
            ),
            (json!({ "Detail": "[1]" }), "MalformedDetail", "Detail is malformed."),
            (json!({ "Source": "aws.ec2" }), "NotAuthorizedForSourceException", "Not authorized for the source."),
        ] {
            let answer = put(&bridge, json!([entry(more), entry(json!({}))])).await;
            assert_eq!(answer["FailedEntryCount"], 1);
            assert_eq!(answer["Entries"][0], json!({ "ErrorCode": code, "ErrorMessage": message }));
            assert!(answer["Entries"][1]["EventId"].is_string(), "the others are taken");
        }
        let gone = put(&bridge, json!([entry(json!({ "EventBusName": "own", "Source": "gone" }))])).await;
        assert_eq!(gone["Entries"][0]["ErrorCode"], "InternalFailure");
    }

    #[tokio::test]
    async fn a_call_that_eventbridge_refuses_is_an_error() {
        let bridge = bench().await.bridge;
        let large = "x".repeat(MOST_BYTES);
        for (operation, body, kind) in [
            ("PutRule", "{}".to_owned(), "UnknownOperationException"),
            ("PutEvents", "{".to_owned(), "SerializationException"),
            ("PutEvents", "{}".to_owned(), "ValidationException"),
            ("PutEvents", json!({ "Entries": vec![entry(json!({})); 11] }).to_string(), "ValidationException"),
            (
                "PutEvents",
                json!({ "Entries": [entry(json!({ "Detail": large, "Time": 1 }))] }).to_string(),
                "ValidationException",
            ),
        ] {
            let answer = bridge.call(operation, &body.into()).await;
            assert_eq!(answer.status, 400);
            assert!(String::from_utf8_lossy(&answer.body).contains(kind), "{operation}: {answer:?}");
        }
    }

    #[tokio::test]
    async fn a_call_needs_a_permission_for_each_bus_and_passes_the_door() {
        let entries = json!({ "Entries": [{}, { "EventBusName": "own" }, { "EventBusName": "default" }] }).to_string();
        let arn =
            |bus: &str| Need::new("events:PutEvents", format!("arn:aws:events:us-east-1:000000000000:event-bus/{bus}"));
        assert_eq!(needs("PutEvents", entries.as_bytes(), &account()), [arn("default"), arn("own")]);
        let Bench { bridge, queues, .. } = bench().await;
        let services = crate::Services::new(DynamoDb::open(None).unwrap(), queues, None);
        let caller = || crate::Caller { function: "f".to_owned(), instance: None };
        let body = Bytes::from(json!({ "Entries": [entry(json!({}))] }).to_string());
        let call = || services.call(caller(), "AWSEvents.PutEvents", body.clone());
        assert_eq!(call().await.unwrap().status, 400, "a stack without EventBridge");
        services.serve_events(std::sync::Arc::new(bridge));
        assert_eq!(call().await.unwrap().status, 200);
        assert_eq!(services.meter.snapshot()["f"]["events"]["PutEvents"], 1);
        services.door().enforce(crate::permissions::Permissions::of([("f", [].as_slice())].into_iter(), account()));
        let denied = call().await.unwrap();
        assert!(String::from_utf8_lossy(&denied.body).contains("AccessDeniedException"), "{denied:?}");
    }
}
