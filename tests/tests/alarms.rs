//! Each alarm of the template is quiet on a stack that is well, and rings when its trouble is really made. An alarm
//! without a case here fails.
//!
//! The alarms and the dashboard are read from the template, with the values of the parameters of the stack under test.
//! They are judged by the metrics that the local stack counts as CloudWatch would (`/_local/state`).

use std::collections::BTreeSet;

use e2e::{Alarm, Client, Deployment, Stack, StackOptions, Template, new_id, preload};
use futures_util::StreamExt as _;
use futures_util::future::join;
use serde_json::{Value, json};

/// The number of stacks at a time.
const AT_ONCE: usize = 4;

/// A parameter and its value.
type Parameter = (&'static str, &'static str);

/// A trouble: a change of the template, parameters, and what a test does then.
struct Trouble {
    template: Template,
    parameters: Vec<Parameter>,
}

impl Trouble {
    fn new(parameters: &[Parameter]) -> Self {
        Self { template: Template::default(), parameters: parameters.to_vec() }
    }

    /// With this change below a resource of the template.
    fn with(mut self, id: &str, old: &str, new: &str) -> Self {
        self.template = self.template.with(id, old, new);
        self
    }

    /// The function can't start, because a table's name is missing.
    fn broken(self, function: &str) -> Self {
        self.with(function, "        Variables:\n", "        Variables:\n          CONNECTIONS_TABLE: \"\"\n")
    }

    fn options(&self) -> StackOptions {
        let path = self.template.path();
        let options = StackOptions::default().arg("--template").arg(path.to_str().expect("UTF-8"));
        self.parameters.iter().fold(options, |options, (name, value)| options.param(name, value))
    }

    fn alarms(&self) -> Vec<Alarm> {
        alarms(&Deployment::new(self.template.text(), &self.parameters).expect("a template"))
    }

    /// Makes the trouble on a new stack and waits until this alarm rings. No other alarm rings then.
    async fn rings<Made>(self, alarm: &str, make: impl AsyncFnOnce(&Stack) -> Made) {
        let stack = self.options().start().await;
        let made = make(&stack).await;
        self.rings_on(&stack, alarm).await;
        drop(made);
    }

    async fn rings_on(&self, stack: &Stack, alarm: &str) {
        let alarms = self.alarms();
        let state = stack
            .until(&format!("{alarm} rings"), |state| alarms.iter().any(|one| one.id == alarm && one.rings(state)))
            .await;
        let mut ringing = Alarm::ringing(&alarms, &state);
        if alarm != "JanitorAlarm" {
            // It rings until the janitor has run, which is up to a minute after the start.
            ringing.remove("JanitorAlarm");
        }
        assert_eq!(ringing, BTreeSet::from([alarm.to_owned()]), "{state:#}");
    }
}

fn alarms(deployment: &Deployment) -> Vec<Alarm> {
    let alarms = Alarm::all(deployment);
    assert!(!alarms.is_empty());
    alarms
}

/// The template as it is, with this stack's parameters.
fn deployment(parameters: &[Parameter]) -> Deployment {
    Deployment::new(Template::default().text(), parameters).expect("a template")
}

async fn connect_and_fail(stack: &Stack, frames: usize) -> Client {
    let mut client = Client::connect(stack, "alice").await;
    for _ in 0..frames {
        client.send(&json!({ "action": "heartbeat" })).await;
        assert_eq!(client.receive().await["message"], "Internal server error");
    }
    client
}

/// Sends messages, each in a conversation of its own.
async fn send(client: &mut Client, texts: &[&str]) -> Vec<String> {
    let mut ids = Vec::new();
    for text in texts {
        let (id, conversation) = (new_id(), client.rest.new_conversation().await);
        client.send_message(&id, &conversation, text).await;
        ids.push(id);
    }
    ids
}

/// Puts a message into the dead-letter queue.
async fn bury(stack: &Stack) {
    let queues = stack.sqs("ListQueues", &json!({})).await;
    let mut urls = queues["QueueUrls"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let dead = urls.find(|url| url.ends_with("-messages-dead.fifo")).expect("the dead-letter queue");
    let message =
        json!({ "QueueUrl": dead, "MessageBody": "{}", "MessageGroupId": "g", "MessageDeduplicationId": "d" });
    stack.sqs("SendMessage", &message).await;
}

fn the_janitor_has_run(state: &Value) -> bool {
    let metrics = state["metrics"].as_array().expect("metrics");
    metrics.iter().any(|metric| metric["name"] == "PlacesInUse")
}

async fn the_trouble_of(alarm: &str) {
    let quick = ("MockLatencyMs", "0");
    match alarm {
        "DeadLettersAlarm" => Trouble::new(&[quick]).broken("DeadLetters").rings(alarm, bury).await,
        "QueueAgeAlarm" => a_message_is_left_for_minutes(alarm).await,
        "ClientErrorsAlarm" => {
            let make = async |stack: &Stack| connect_and_fail(stack, 5).await;
            Trouble::new(&[quick]).broken("Heartbeat").rings(alarm, make).await;
        }
        "ClientThrottlesAlarm" => {
            let none = "    Properties:\n      ReservedConcurrentExecutions: 0\n";
            let make = async |stack: &Stack| connect_and_fail(stack, 1).await;
            Trouble::new(&[quick]).with("Heartbeat", "    Properties:\n", none).rings(alarm, make).await;
        }
        "BackgroundErrorsAlarm" => {
            let make = async |stack: &Stack| {
                let mut client = Client::connect(stack, "alice").await;
                send(&mut client, &["hello"; 5]).await;
                client
            };
            Trouble::new(&[quick]).broken("Worker").rings(alarm, make).await;
        }
        "BackgroundThrottlesAlarm" => {
            let none = "    Properties:\n      ReservedConcurrentExecutions: 0\n";
            let trouble = Trouble::new(&[quick]).with("DeadLetters", "    Properties:\n", none);
            // More pollers than the reservation allows would be refused before the start.
            let trouble = trouble.with("DeadLetters", "            ScalingConfig: { MaximumConcurrency: 10 }\n", "");
            // Nobody takes the message, so it stays in the dead-letter queue. That is another alarm.
            let stack = trouble.options().start().await;
            bury(&stack).await;
            let alarms = trouble.alarms();
            let both = ["BackgroundThrottlesAlarm", "DeadLettersAlarm"].map(str::to_owned);
            stack.until("both ring", |state| both.iter().all(|id| Alarm::ringing(&alarms, state).contains(id))).await;
        }
        "SlowAnswersAlarm" => {
            let make = async |stack: &Stack| Client::connect(stack, "alice").await.ask_afresh("hello").await;
            Trouble::new(&[("MockLatencyMs", "300"), ("FirstDeltaAlarmMs", "299")]).rings(alarm, make).await;
        }
        "FailedAnswersAlarm" => {
            let make = async |stack: &Stack| {
                let mut client = Client::connect(stack, "alice").await;
                for _ in 0..5 {
                    assert_eq!(client.ask_afresh("!fail").await.1["code"], "reply_failed");
                }
            };
            Trouble::new(&[quick]).rings(alarm, make).await;
        }
        "JanitorAlarm" => the_janitors_schedule_is_off(alarm).await,
        "PlacesAlarm" => {
            let make = async |stack: &Stack| {
                let both = join(Client::connect(stack, "alice"), Client::connect(stack, "bob")).await;
                let mut third = Client::try_connect(stack, "carol", None).await;
                assert_eq!(third.as_mut().expect_err("all places are taken").as_u16(), 503);
                both
            };
            Trouble::new(&[quick, ("MaxClients", "2"), ("FirstMessageSeconds", "600")]).rings(alarm, make).await;
        }
        "WorkerConcurrencyAlarm" => {
            let make = async |stack: &Stack| {
                let mut client = Client::connect(stack, "alice").await;
                let ids = send(&mut client, &["!slow 30000"; 2]).await;
                stack.until("both are at work", |state| state["inFlight"]["worker"]["now"] == 2).await;
                for id in ids {
                    client.send(&json!({ "action": "cancel", "id": id })).await;
                    while client.receive_type("reply").await["id"] != json!(id) {}
                }
            };
            Trouble::new(&[quick, ("MaxConcurrentMessages", "2")]).rings(alarm, make).await;
        }
        "AccountConcurrencyAlarm" => {
            let trouble = Trouble::new(&[quick, ("MaxConcurrentMessages", "900"), ("AccountConcurrency", "1000")]);
            trouble.rings(alarm, async |_: &Stack| ()).await;
        }
        other => panic!("{other} has no case here: make its trouble and see whether it rings"),
    }
}

/// No worker takes a message, and the clock goes on by more than five minutes while the stack is down.
async fn a_message_is_left_for_minutes(alarm: &str) {
    let off = "            BatchSize: 1\n            Enabled: false\n";
    let trouble = Trouble::new(&[("MockLatencyMs", "0")]).with("Worker", "            BatchSize: 1\n", off);
    let directory = tempfile::tempdir().expect("a directory");
    let options = || trouble.options().data_dir(&directory.path().join("data"));
    let stack = options().start().await;
    let mut client = Client::connect(&stack, "alice").await;
    send(&mut client, &["hello"]).await;
    client.receive_type("accepted").await;
    drop((client, stack));
    let library = preload("tests/preload/ahead.c", directory.path());
    for (ahead, rings) in [("200", false), ("301", true)] {
        let later = options().env("LD_PRELOAD", library.to_str().expect("UTF-8")).env("AHEAD_SECONDS", ahead);
        let stack = later.start().await;
        if rings {
            trouble.rings_on(&stack, alarm).await;
        } else {
            let state = stack.state().await;
            assert!(!Alarm::ringing(&trouble.alarms(), &state).contains(alarm), "{state:#}");
        }
    }
}

/// A stack whose janitor is off is compared with one that started after it and whose janitor has run.
async fn the_janitors_schedule_is_off(alarm: &str) {
    let expression = "            ScheduleExpression";
    let off = format!("            State: DISABLED\n{expression}");
    let trouble = Trouble::new(&[]).with("Janitor", expression, &off);
    let stack = trouble.options().start().await;
    let other = Stack::quick().await;
    let state = other.until("its janitor has run", the_janitor_has_run).await;
    assert!(!Alarm::ringing(&alarms(&deployment(&[])), &state).contains(alarm), "{state:#}");
    trouble.rings_on(&stack, alarm).await;
}

/// A stack that does a bit of everything, as a stack that is well does, until its janitor has run.
async fn a_busy_stack() -> (Stack, Value) {
    // The janitor runs a minute after the start. With the default, the client would lose its place at about that time.
    let stack = StackOptions::default().param("MockLatencyMs", 0).param("LeaseSeconds", 600).start().await;
    let mut client = Client::connect(&stack, "alice").await;
    assert_eq!(client.ask_afresh("hello").await.0, "response for hello");
    assert_eq!(client.ask_afresh("!fail").await.1["code"], "reply_failed");
    let ids = send(&mut client, &["!slow 30000"]).await;
    stack.until("it is at work", |state| state["inFlight"]["worker"]["now"] == 1).await;
    client.send(&json!({ "action": "cancel", "id": ids[0] })).await;
    client.receive_type("reply").await;
    let state = stack.until("the janitor has run", the_janitor_has_run).await;
    client.close().await;
    (stack, state)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_alarm_rings_when_its_trouble_is_made() {
    let all = alarms(&deployment(&[]));
    let troubles = all.iter().map(|alarm| the_trouble_of(&alarm.id));
    futures_util::stream::iter(troubles).buffer_unordered(AT_ONCE).collect::<()>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stack_that_is_well_rings_no_alarm_and_has_what_the_dashboard_shows() {
    let (_stack, state) = a_busy_stack().await;
    let deployment = deployment(&[]);
    let alarms = alarms(&deployment);
    assert_eq!(Alarm::ringing(&alarms, &state), BTreeSet::new(), "{state:#}");

    let counted: BTreeSet<String> = state["metrics"].as_array().expect("metrics").iter().map(shown).collect();
    // One lease, and nothing waits.
    let places = &state["metrics"].as_array().expect("metrics");
    let value = |name: &str| {
        let metric = places.iter().find(|metric| metric["name"] == name).expect("a metric");
        assert_eq!(metric["dimensions"], json!({ "Stack": "local" }));
        metric["statistics"]["Maximum"].clone()
    };
    assert_eq!((value("PlacesInUse"), value("UnansweredMessages")), (json!(1.0), json!(0.0)), "{state:#}");

    let dashboard = &deployment.resources().expect("it can be deployed")["Dashboard"]["Properties"]["DashboardBody"];
    let dashboard: Value = serde_json::from_str(dashboard.as_str().expect("a text")).expect("JSON");
    let widgets = dashboard["widgets"].as_array().expect("widgets");
    let rung: BTreeSet<&str> = widgets[0]["properties"]["alarms"].as_array().expect("alarms").iter().map(of).collect();
    let expected: BTreeSet<String> = alarms.iter().map(|alarm| format!("{}.Arn", alarm.id)).collect();
    assert_eq!(rung, expected.iter().map(String::as_str).collect(), "the dashboard shows each alarm");
    let mut missing = Vec::new();
    for row in widgets.iter().filter_map(|widget| widget["properties"]["metrics"].as_array()).flatten() {
        let parts: Vec<&str> = row.as_array().expect("a row").iter().filter_map(Value::as_str).collect();
        // Functions that were not invoked here have no metrics, and those of APIs and tables are not counted. The mock
        // model gives no tokens: `models.rs` has those of another model, by name.
        let here = ["Parley", "AWS/SQS"].contains(&parts[0]) && !parts[1].ends_with("Tokens");
        if here && !counted.contains(&shown_row(&parts)) {
            missing.push(shown_row(&parts));
        }
    }
    assert!(missing.is_empty(), "{missing:?} is not among {counted:#?}");
}

fn of(value: &Value) -> &str {
    value.as_str().expect("a text")
}

/// A metric as a line: namespace, name, and dimensions in order.
fn shown(metric: &Value) -> String {
    let dimensions = metric["dimensions"].as_object().expect("dimensions").iter();
    let dimensions: Vec<String> = dimensions.map(|(name, value)| format!("{name}={}", of(value))).collect();
    format!("{} {} {}", of(&metric["namespace"]), of(&metric["name"]), dimensions.join(" "))
}

/// The same of a row of a widget: namespace, name, and then name and value of each dimension.
fn shown_row(parts: &[&str]) -> String {
    let mut dimensions: Vec<String> = parts[2..].chunks(2).map(|pair| pair.join("=")).collect();
    dimensions.sort();
    format!("{} {} {}", parts[0], parts[1], dimensions.join(" "))
}

#[test]
fn the_alarms_for_errors_and_throttles_watch_every_function_once() {
    let deployment = deployment(&[]);
    let resources = deployment.resources().expect("it can be deployed");
    let functions = resources.iter().filter(|(_, resource)| resource["Type"] == "AWS::Serverless::Function");
    let functions: Vec<String> = functions.map(|(id, _)| format!("local-{id}")).collect();
    assert!(functions.len() > 10, "{functions:?}");
    let alarms = alarms(&deployment);
    for (metric, groups) in [
        ("Errors", ["ClientErrorsAlarm", "BackgroundErrorsAlarm"]),
        ("Throttles", ["ClientThrottlesAlarm", "BackgroundThrottlesAlarm"]),
    ] {
        let mut watched = Vec::new();
        for alarm in alarms.iter().filter(|alarm| groups.contains(&alarm.id.as_str())) {
            let shown = alarm.properties["Metrics"][0]["Expression"].as_str().expect("an expression");
            for (id, read) in alarm.metrics() {
                assert!(shown.contains(&id), "{}: {id} is read and not in {shown}", alarm.id);
                assert_eq!(read["Metric"]["MetricName"], metric, "{}: {id}", alarm.id);
                watched.push(of(&read["Metric"]["Dimensions"][0]["Value"]).to_owned());
            }
        }
        watched.sort();
        assert_eq!(watched, functions, "{metric}");
    }
}

#[test]
fn each_alarm_names_its_section_and_tells_the_topic_when_it_rings_and_when_it_ends() {
    let topic = "arn:aws:sns:us-east-1:123456789012:alarms";
    let page = std::fs::read_to_string(e2e::workspace().join("docs/operations.md")).expect("the page");
    for alarm in alarms(&deployment(&[("AlarmTopicArn", topic)])) {
        let description = of(&alarm.properties["AlarmDescription"]);
        let (_, section) = description.split_once("docs/operations.md, section ").expect("a section");
        assert!(page.contains(&format!("\n## {section}\n")), "{}: {section}", alarm.id);
        assert!(page.contains(&format!("`{}`", alarm.id)), "{} is not on the page", alarm.id);
        for actions in ["AlarmActions", "OKActions"] {
            assert_eq!(alarm.properties[actions], json!([topic]), "{}", alarm.id);
        }
    }
    for alarm in alarms(&deployment(&[])) {
        assert!(alarm.properties.get("AlarmActions").is_none() && alarm.properties.get("OKActions").is_none());
    }
}
