//! Events with scripted functions: how often they are tried, and what becomes of those that are given up.

use std::collections::BTreeMap;
use std::path::Path;

use samovar_services::queues::Queues;
use samovar_sqs::{Receive, Sqs, Storage, SystemClock};
use samovar_template::{EventInvokeConfig, Queue, Target, Template};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::*;
use crate::build::testing::function;
use crate::testing::functions::Functions;
use crate::testing::within;

const QUEUE: &str = "records";

struct Bench {
    functions: Arc<Functions>,
    events: EventQueues,
    sqs: Sqs,
    worker: Option<Asynchronous>,
    stop: CancellationToken,
}

impl Bench {
    async fn new(config: EventInvokeConfig, reserved_concurrency: Option<u32>) -> Self {
        let events = EventQueues::open(None, ["local-F", "local-G"].into_iter()).await.unwrap();
        Self::with(events, config, reserved_concurrency).await
    }

    async fn with(events: EventQueues, event_invoke: EventInvokeConfig, reserved_concurrency: Option<u32>) -> Self {
        let sqs = Sqs::open(Storage::Memory, "us-east-1", "000000000000", "http://h", Arc::new(SystemClock)).unwrap();
        let url = sqs.create_queue(QUEUE, &BTreeMap::new()).await.unwrap();
        let (logical_id, name, arn) = (String::new(), QUEUE.to_owned(), String::new());
        let queue = Queue { logical_id, name, arn, url, attributes: BTreeMap::new() };
        let of = |id| function(id, "provided.al2023", Path::new("/"));
        let template = Template { queues: vec![queue], functions: vec![of("F"), of("G")], ..Template::default() };
        let targets = Targets::new(events.clone(), Queues::Embedded(sqs.clone()), &template).unwrap();
        let declared = Function { event_invoke, reserved_concurrency, ..of("F") };
        let functions = Arc::new(Functions::default());
        let mut worker = Asynchronous::new(&declared, 2, events.clone(), targets, functions.clone());
        let now = Duration::ZERO;
        worker.retries = Retries { after_errors: [now; 2], first_after_refusal: now, longest_after_refusal: now };
        Self { functions, events, sqs, worker: Some(worker), stop: CancellationToken::new() }
    }

    fn start(&mut self) -> JoinHandle<()> {
        self.worker.take().expect("it was not started").start(self.stop.clone())
    }

    async fn accept(&self, payload: Value) {
        self.events.accept(vec![("local-F".to_owned(), event(payload))]).await.unwrap();
    }

    /// The next message of the queue for records: body and attributes.
    async fn record(&self) -> (Value, BTreeMap<String, String>) {
        let request = Receive { max_messages: 1, wait: Duration::from_secs(20), visibility_timeout: None };
        let received = within("a record comes", self.sqs.receive(QUEUE, request)).await.unwrap().remove(0);
        let attributes = received.message_attributes.into_iter();
        let attributes = attributes.map(|(name, value)| (name, value.string_value.unwrap_or_default()));
        (serde_json::from_str(&received.body).unwrap(), attributes.collect())
    }

    /// Waits until the event queues are empty.
    async fn quiet(&self) {
        let empty = async {
            while self.events.counts().values().any(|it| it.visible + it.in_flight + it.delayed > 0) {
                tokio::task::yield_now().await;
            }
        };
        within("no event is left", empty).await;
    }
}

fn event(payload: Value) -> Event {
    Event::new(RawValue::from_string(payload.to_string()).unwrap(), "the-id".to_owned())
}

fn to_queue() -> Option<Target> {
    Some(Target::Queue(QUEUE.to_owned()))
}

#[tokio::test]
async fn an_event_is_invoked_and_leaves_its_queue() {
    let mut bench = Bench::new(EventInvokeConfig::default(), None).await;
    bench.accept(json!({ "a": 1 })).await;
    let running = bench.start();
    assert_eq!(bench.functions.event("F").await, json!({ "a": 1 }));
    bench.accept(json!(2)).await;
    assert_eq!(bench.functions.event("F").await, 2, "also while it waits");
    bench.quiet().await;
    bench.stop.cancel();
    within("it stops", running).await.unwrap();
    assert_eq!(bench.functions.count("F"), 2);
}

#[tokio::test]
async fn an_event_that_fails_is_tried_three_times_and_its_failure_is_recorded() {
    let mut bench = Bench::new(EventInvokeConfig { on_failure: to_queue(), ..Default::default() }, None).await;
    bench.functions.fails("F", "no");
    bench.accept(json!({ "a": 1 })).await;
    bench.start();
    let (mut record, _) = bench.record().await;
    let time = record["timestamp"].take();
    assert!(time.as_str().is_some_and(|time| time.parse::<jiff::Timestamp>().is_ok()), "{time}");
    assert_eq!(
        record,
        json!({
            "version": "1.0",
            "timestamp": null,
            "requestContext": {
                "requestId": "the-id",
                "functionArn": "arn:aws:lambda:us-east-1:000000000000:function:local-F:$LATEST",
                "condition": "RetriesExhausted",
                "approximateInvokeCount": 3,
            },
            "requestPayload": { "a": 1 },
            "responseContext": { "statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled" },
            "responsePayload": { "errorMessage": "no" },
        })
    );
    bench.quiet().await;
    assert_eq!(bench.functions.count("F"), 3);
}

#[tokio::test]
async fn a_success_is_recorded_and_can_be_the_event_of_another_function() {
    let other = Some(Target::Function("local-G".to_owned()));
    let mut bench = Bench::new(EventInvokeConfig { on_success: other, ..Default::default() }, None).await;
    bench.functions.answers("F", json!({ "b": 2 }));
    bench.accept(json!(1)).await;
    bench.start();
    let [taken] = within("the other has it", bench.events.take("local-G", 1)).await.unwrap().try_into().unwrap();
    let record: Value = serde_json::from_str(taken.event.payload.get()).unwrap();
    assert_eq!(record["requestContext"]["condition"], "Success");
    assert_eq!(record["requestContext"]["approximateInvokeCount"], 1);
    assert_eq!((&record["requestPayload"], &record["responsePayload"]), (&json!(1), &json!({ "b": 2 })));
    assert_eq!(record["responseContext"], json!({ "statusCode": 200, "executedVersion": "$LATEST" }));
}

#[tokio::test]
async fn the_template_says_how_often_an_event_is_tried_and_a_dead_letter_queue_gets_the_event_itself() {
    let config = EventInvokeConfig { maximum_retry_attempts: 0, dead_letters: to_queue(), ..Default::default() };
    let mut bench = Bench::new(config, None).await;
    bench.functions.fails("F", &"é".repeat(600));
    bench.accept(json!({ "a": 1 })).await;
    bench.start();
    let (body, attributes) = bench.record().await;
    assert_eq!(body, json!({ "a": 1 }));
    let expected = [("ErrorCode", "200"), ("ErrorMessage", &"é".repeat(512)), ("RequestID", "the-id")];
    assert_eq!(attributes, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    bench.quiet().await;
    assert_eq!(bench.functions.count("F"), 1);
}

#[tokio::test]
async fn an_event_waits_while_its_function_is_throttled_and_that_is_no_attempt() {
    let mut bench = Bench::new(EventInvokeConfig::default(), None).await;
    let left = std::sync::atomic::AtomicU32::new(5);
    bench.functions.script("F", move |_| {
        let order = std::sync::atomic::Ordering::SeqCst;
        match left.fetch_update(order, order, |left| left.checked_sub(1)) {
            Ok(_) => Err(IntegrationError::Throttled("full".to_owned())),
            Err(_) => Ok(Bytes::from_static(b"1")),
        }
    });
    bench.accept(json!(1)).await;
    bench.start();
    bench.quiet().await;
    assert_eq!(bench.functions.count("F"), 6);
}

#[tokio::test]
async fn an_event_that_is_too_old_is_given_up_without_an_attempt() {
    let config = EventInvokeConfig { on_failure: to_queue(), dead_letters: to_queue(), ..Default::default() };
    let mut bench = Bench::new(config, None).await;
    let six_hours_ms = 6 * 3600 * 1000;
    let old = Event { accepted_ms: crate::clock::now_ms() - six_hours_ms - 1, errors: 2, ..event(json!(1)) };
    bench.events.accept(vec![("local-F".to_owned(), old)]).await.unwrap();
    bench.start();
    let (record, _) = bench.record().await;
    let context = &record["requestContext"];
    assert_eq!((&context["condition"], &context["approximateInvokeCount"]), (&json!("EventAgeExceeded"), &json!(2)));
    assert_eq!(record.get("responseContext"), None);
    let (body, attributes) = bench.record().await;
    assert_eq!((body, attributes["ErrorCode"].as_str()), (json!(1), "429"));
    assert_eq!(bench.functions.count("F"), 0);
}

#[tokio::test]
async fn a_function_that_may_never_run_gives_its_events_up_at_once() {
    let mut bench = Bench::new(EventInvokeConfig { on_failure: to_queue(), ..Default::default() }, Some(0)).await;
    bench.functions.script("F", |_| Err(IntegrationError::Throttled("full".to_owned())));
    bench.accept(json!(1)).await;
    bench.start();
    assert_eq!(bench.record().await.0["requestContext"]["condition"], "RetriesExhausted");
    bench.quiet().await;
    assert_eq!(bench.functions.count("F"), 1);
}

#[tokio::test]
async fn a_record_that_cannot_be_sent_is_dropped() {
    let nowhere = Some(Target::Queue("none".to_owned()));
    let mut bench = Bench::new(EventInvokeConfig { on_success: nowhere, ..Default::default() }, None).await;
    bench.accept(json!(1)).await;
    bench.start();
    bench.quiet().await;
}

#[tokio::test]
async fn at_most_as_many_events_run_at_once_as_the_function_has_places() {
    let mut bench = Bench::new(EventInvokeConfig::default(), Some(1)).await;
    let gate = bench.functions.hold("F");
    for number in [1, 2] {
        bench.accept(json!(number)).await;
    }
    bench.start();
    bench.functions.event("F").await;
    assert_eq!((bench.functions.count("F"), bench.events.counts()["local-F"].in_flight), (1, 1));
    gate.add_permits(2);
    bench.quiet().await;
    assert_eq!(bench.functions.count("F"), 2);
}

#[tokio::test]
async fn a_stop_waits_for_the_running_invocation_and_leaves_the_other_events() {
    let mut bench = Bench::new(EventInvokeConfig::default(), Some(1)).await;
    let gate = bench.functions.hold("F");
    for number in [1, 2] {
        bench.accept(json!(number)).await;
    }
    let running = bench.start();
    bench.functions.event("F").await;
    bench.stop.cancel();
    assert!(!running.is_finished());
    gate.add_permits(1);
    within("it stops", running).await.unwrap();
    assert_eq!((bench.functions.count("F"), bench.events.counts()["local-F"].visible), (1, 1));
}

#[tokio::test]
async fn an_event_whose_invocation_was_cut_off_comes_again_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let open = || EventQueues::open(Some(dir.path()), ["local-F"].into_iter());
    let mut before = Bench::with(open().await.unwrap(), EventInvokeConfig::default(), None).await;
    before.functions.hold("F");
    before.accept(json!(1)).await;
    let running = before.start();
    before.functions.event("F").await;
    // The process dies: nothing settles the event.
    running.abort();
    before.events.close().await;
    let mut after = Bench::with(open().await.unwrap(), EventInvokeConfig::default(), None).await;
    after.start();
    assert_eq!(after.functions.event("F").await, 1);
    after.quiet().await;
}

#[tokio::test]
async fn waits_grow_up_to_five_minutes() {
    let bench = Bench::new(EventInvokeConfig::default(), None).await;
    let worker = Asynchronous { retries: RETRIES, ..bench.worker.unwrap() };
    let after = |outcome| match outcome {
        Outcome::Again { event, after, .. } => (after.as_secs(), event.errors, event.refusals),
        other => panic!("{other:?}"),
    };
    let refused = |refusals| {
        let event = Event { refusals, ..event(json!(1)) };
        after(worker.refused(event, &IntegrationError::Host("down".to_owned())))
    };
    assert_eq!([0, 1, 8, 9, u32::MAX - 1].map(|it| refused(it).0), [1, 2, 256, 300, 300]);
    assert_eq!(refused(3), (8, 0, 4));
    let failed = |errors| after(worker.failed(Event { errors, ..event(json!(1)) }, InvokeError::ShuttingDown));
    assert_eq!([0, 1].map(failed), [(60, 1, 0), (120, 2, 0)]);
}
