//! Topics over HTTP, as an SDK calls them, down to the functions and queues that get the messages.

use std::sync::Arc;
use std::time::Duration;

use samovar_sqs::{Receive, Sqs, Storage, SystemClock};
use samovar_template::{Queue, Subscription as Of, Template};
use serde_json::json;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::*;
use crate::dynamodb::DynamoDb;
use crate::event_queues::EventQueues;
use crate::permissions::{Account, Permissions};
use crate::queues::Queues;
use crate::targets::Targets;
use crate::{PATH, Services};

const TOPIC: &str = "arn:aws:sns:us-east-1:000000000000:orders";

struct Served {
    url: String,
    services: Arc<Services>,
    sqs: Sqs,
    _stop: DropGuard,
}

fn of_queue(queue: &str) -> Of {
    Of {
        protocol: "sqs".to_owned(),
        endpoint: format!("arn:aws:sqs:us-east-1:000000000000:{queue}"),
        filter_policy: None,
        filter_by_body: false,
        raw_message_delivery: false,
    }
}

impl Served {
    /// A topic with these subscriptions, and the queues `a` and `b`.
    async fn new(subscriptions: Vec<Of>) -> Self {
        let sqs = Sqs::open(Storage::Memory, "us-east-1", "000000000000", "http://h", Arc::new(SystemClock));
        let (sqs, queues) = sqs.map(|sqs| (sqs.clone(), Queues::Embedded(sqs))).expect("queues in memory");
        let mut declared = Vec::new();
        for name in ["a", "b"] {
            let url = sqs.create_queue(name, &BTreeMap::new()).await.expect("a queue");
            let (logical_id, arn) = (String::new(), String::new());
            declared.push(Queue { logical_id, name: name.to_owned(), arn, url, attributes: BTreeMap::new() });
        }
        let topic = Declared {
            logical_id: "Orders".to_owned(),
            name: "orders".to_owned(),
            arn: TOPIC.to_owned(),
            subscriptions,
        };
        let template = Template { queues: declared, topics: vec![topic], ..Template::default() };
        let events = EventQueues::open(None, std::iter::empty()).await.expect("event queues");
        let targets = Targets::new(events, queues.clone(), &template).expect("targets");
        let services = Services::new(DynamoDb::open(None).expect("a database"), queues, None);
        services.serve_topics(targets);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}{PATH}/", listener.local_addr().expect("its address"));
        let stop = CancellationToken::new();
        let (served, stopped) = (Arc::clone(&services), stop.clone());
        tokio::spawn(async move { served.serve(listener, stopped).await });
        Self { url, services, sqs, _stop: stop.drop_guard() }
    }

    /// The status and the XML of the answer to a call of the function `worker`.
    async fn call(&self, action: &str, parameters: &[(&str, &str)]) -> (u16, String) {
        let encoded = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
        let pairs = parameters.iter().map(|(name, value)| format!("&{name}={}", encoded(value)));
        let body = format!("Action={action}&Version=2010-03-31{}", pairs.collect::<String>());
        let scope = "LOCAL-worker/20260101/us-east-1/sns/aws4_request";
        let request = reqwest::Client::new()
            .post(&self.url)
            .header("content-type", "application/x-www-form-urlencoded; charset=utf-8")
            .header("authorization", format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"))
            .body(body);
        let response = request.send().await.expect("an answer");
        (response.status().as_u16(), response.text().await.expect("a body"))
    }

    async fn publish(&self, message: &str, more: &[(&str, &str)]) -> String {
        let own = [("TopicArn", TOPIC), ("Message", message)];
        let (status, answer) = self.call("Publish", &[&own[..], more].concat()).await;
        assert_eq!(status, 200, "{answer}");
        between(&answer, "<MessageId>", "</MessageId>").to_owned()
    }

    async fn received(&self, queue: &str) -> Vec<samovar_sqs::Message> {
        let request = Receive { max_messages: 100, wait: Duration::ZERO, visibility_timeout: None };
        self.sqs.receive(queue, request).await.expect("messages")
    }
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    text.split_once(start).and_then(|(_, rest)| rest.split_once(end)).map_or("", |(found, _)| found)
}

const KIND: [(&str, &str); 3] = [
    ("MessageAttributes.entry.1.Name", "kind"),
    ("MessageAttributes.entry.1.Value.DataType", "String"),
    ("MessageAttributes.entry.1.Value.StringValue", "placed"),
];

#[tokio::test]
async fn a_message_comes_to_every_queue_in_the_envelope_or_raw() {
    let raw = Of { raw_message_delivery: true, ..of_queue("b") };
    let served = Served::new(vec![of_queue("a"), raw]).await;
    let subject = ("Subject", "News & more");
    let id = served.publish("two teas \u{2713} + cake", &[&KIND[..], &[subject]].concat()).await;
    let [message] = served.received("a").await.try_into().expect("one message");
    let mut envelope: Value = serde_json::from_str(&message.body).expect("JSON");
    let time = envelope["Timestamp"].take();
    assert!(time.as_str().is_some_and(|time| time.parse::<jiff::Timestamp>().is_ok()), "{time}");
    let certificate = envelope["SigningCertURL"].take();
    assert!(certificate.as_str().is_some_and(|url| url.starts_with("https://sns.us-east-1.amazonaws.com/")));
    let subscription = format!("{TOPIC}:00000000-0000-0000-0000-000000000001");
    assert_eq!(
        envelope,
        json!({
            "Type": "Notification",
            "MessageId": id,
            "TopicArn": TOPIC,
            "Subject": "News & more",
            "Message": "two teas \u{2713} + cake",
            "Timestamp": null,
            "SignatureVersion": "1",
            "Signature": "",
            "SigningCertURL": null,
            "UnsubscribeURL":
                format!("https://sns.us-east-1.amazonaws.com/?Action=Unsubscribe&SubscriptionArn={subscription}"),
            "MessageAttributes": { "kind": { "Type": "String", "Value": "placed" } },
        })
    );
    let [message] = served.received("b").await.try_into().expect("one message");
    assert_eq!(message.body, "two teas \u{2713} + cake");
    assert_eq!(message.message_attributes["kind"].string_value.as_deref(), Some("placed"));
    assert_eq!(served.services.meter.snapshot()["worker"]["sns"]["Publish"], 1);
}

#[tokio::test]
async fn a_subscription_gets_only_what_its_policy_lets_through() {
    let by_attribute = Of { filter_policy: Some(json!({ "kind": ["placed"] })), ..of_queue("a") };
    let by_body = Of { filter_policy: Some(json!({ "n": [1] })), filter_by_body: true, ..of_queue("b") };
    let served = Served::new(vec![by_attribute, by_body]).await;
    served.publish(r#"{"n": 2}"#, &KIND).await;
    served.publish(r#"{"n": 1}"#, &[]).await;
    assert_eq!((served.received("a").await.len(), served.received("b").await.len()), (1, 1));
}

#[tokio::test]
async fn a_message_may_differ_by_protocol() {
    let served = Served::new(vec![Of { raw_message_delivery: true, ..of_queue("a") }, of_queue("b")]).await;
    let structure = ("MessageStructure", "json");
    served.publish(r#"{"default": "all", "sqs": "queues"}"#, &[structure]).await;
    served.publish(r#"{"default": "all", "lambda": "functions"}"#, &[structure]).await;
    let bodies: Vec<_> = served.received("a").await.into_iter().map(|message| message.body).collect();
    assert_eq!(bodies, ["queues", "all"]);
}

#[tokio::test]
async fn a_batch_has_an_outcome_for_each_entry() {
    let served = Served::new(vec![of_queue("a")]).await;
    let entry = |number: u32, name: &str| format!("PublishBatchRequestEntries.member.{number}.{name}");
    let (id1, text1, id2, text2) = (entry(1, "Id"), entry(1, "Message"), entry(2, "Id"), entry(2, "Message"));
    let kind = entry(1, "MessageAttributes.entry.1.");
    let attribute = ["Name", "Value.DataType", "Value.StringValue"].map(|name| format!("{kind}{name}"));
    let parameters = [
        ("TopicArn", TOPIC),
        (&id1, "one"),
        (&text1, "first"),
        (&attribute[0], "kind"),
        (&attribute[1], "String"),
        (&attribute[2], "x"),
        (&id2, "two"),
        (&text2, ""),
    ];
    let (status, answer) = served.call("PublishBatch", &parameters).await;
    assert_eq!(status, 200, "{answer}");
    assert!(between(&answer, "<Successful>", "</Successful>").contains("<Id>one</Id><MessageId>"), "{answer}");
    let failed = between(&answer, "<Failed>", "</Failed>");
    assert!(failed.starts_with("<member><Id>two</Id><Code>InvalidParameter</Code>"), "{answer}");
    assert!(failed.contains("<SenderFault>true</SenderFault>"), "{answer}");
    let [message] = served.received("a").await.try_into().expect("one message");
    assert!(message.body.contains(r#""MessageAttributes":{"kind":{"Type":"String","Value":"x"}}"#), "{}", message.body);
    for (parameters, code) in [
        (vec![("TopicArn", TOPIC)], "EmptyBatchRequest"),
        (vec![("TopicArn", TOPIC), (&id1, "a"), (&id2, "a")], "BatchEntryIdsNotDistinct"),
    ] {
        let (status, answer) = served.call("PublishBatch", &parameters).await;
        assert_eq!((status, between(&answer, "<Code>", "</Code>")), (400, code));
    }
    let ids: Vec<_> = (1..=11).map(|number| (entry(number, "Id"), number.to_string())).collect();
    let ids = ids.iter().map(|(name, id)| (name.as_str(), id.as_str()));
    let (_, answer) =
        served.call("PublishBatch", &[("TopicArn", TOPIC)].into_iter().chain(ids).collect::<Vec<_>>()).await;
    assert_eq!(between(&answer, "<Code>", "</Code>"), "TooManyEntriesInBatchRequest");
    let half = "x".repeat(200 * 1024);
    let large = [("TopicArn", TOPIC), (&id1, "a"), (&text1, &half), (&id2, "b"), (&text2, &half)];
    let (_, answer) = served.call("PublishBatch", &large).await;
    assert_eq!(between(&answer, "<Code>", "</Code>"), "BatchRequestTooLong");
}

#[tokio::test]
async fn topics_and_subscriptions_are_listed() {
    let mail = Of { protocol: "email".to_owned(), endpoint: "a@b.example".to_owned(), ..of_queue("") };
    let served = Served::new(vec![of_queue("a"), mail]).await;
    let member = format!("<Topics><member><TopicArn>{TOPIC}</TopicArn></member></Topics>");
    assert!(served.call("ListTopics", &[]).await.1.contains(&member));
    let made = served.call("CreateTopic", &[("Name", "orders")]).await;
    assert!(made.0 == 200 && made.1.contains(&format!("<CreateTopicResult><TopicArn>{TOPIC}</TopicArn>")), "{made:?}");
    let (_, answer) = served.call("GetTopicAttributes", &[("TopicArn", TOPIC)]).await;
    assert!(answer.contains("<entry><key>SubscriptionsConfirmed</key><value>2</value></entry>"), "{answer}");
    for (action, parameters) in [("ListSubscriptions", vec![]), ("ListSubscriptionsByTopic", vec![("TopicArn", TOPIC)])]
    {
        let (_, answer) = served.call(action, &parameters).await;
        assert!(answer.contains("<Endpoint>a@b.example</Endpoint>"), "{answer}");
        assert!(answer.contains("<Protocol>sqs</Protocol>"), "{answer}");
    }
    served.publish("x", &[]).await;
    assert_eq!(served.received("a").await.len(), 1, "people get no message, and queues do");
}

#[tokio::test]
async fn a_wrong_call_is_refused_in_the_form_of_sns() {
    let served = Served::new(Vec::new()).await;
    let large = "x".repeat(256 * 1024 + 1);
    let (topic, message) = (("TopicArn", TOPIC), ("Message", "x"));
    for (action, parameters, status, code, text) in [
        ("Publish", vec![message], 400, "InvalidParameter", "TopicArn or TargetArn Reason: no value"),
        ("Publish", vec![message, ("PhoneNumber", "1")], 400, "InvalidParameter", "sends no text messages"),
        ("Publish", vec![("TargetArn", "arn:x"), message], 404, "NotFound", "Topic does not exist"),
        ("Publish", vec![topic], 400, "InvalidParameter", "Invalid parameter: Empty message"),
        ("Publish", vec![topic, ("Message", &large)], 400, "InvalidParameter", "Message too long"),
        ("Publish", vec![topic, message, ("Subject", "a\nb")], 400, "InvalidParameter", "Subject"),
        ("Publish", vec![topic, message, ("MessageStructure", "json")], 400, "InvalidParameter", "No default entry"),
        ("Publish", vec![topic, message, ("MessageStructure", "xml")], 400, "InvalidParameter", "MessageStructure"),
        ("Publish", vec![topic, message, KIND[0]], 400, "ParameterValueInvalid", "kind has no type"),
        ("CreateTopic", vec![("Name", "other")], 400, "InvalidParameter", "has the topics of the template, not other"),
        ("GetTopicAttributes", vec![("TopicArn", "arn:x")], 404, "NotFound", "Topic does not exist"),
        ("Subscribe", vec![topic], 501, "NotImplementedException", "The local stack has no call Subscribe of sns"),
    ] {
        let (found, answer) = served.call(action, &parameters).await;
        assert_eq!((found, between(&answer, "<Code>", "</Code>")), (status, code), "{answer}");
        assert!(between(&answer, "<Message>", "</Message>").contains(text), "{answer}");
        assert!(answer.starts_with("<ErrorResponse xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\"><Error>"));
    }
}

#[tokio::test]
async fn a_function_publishes_only_what_its_policies_allow() {
    let served = Served::new(vec![of_queue("a")]).await;
    let policies = [json!({ "Statement": { "Effect": "Allow", "Action": "sns:ListTopics", "Resource": "*" } })];
    let account = Account { region: "us-east-1".to_owned(), id: "000000000000".to_owned() };
    served.services.door().enforce(Permissions::of([("worker", &policies[..])].into_iter(), account));
    let (status, answer) = served.call("Publish", &[("TopicArn", TOPIC), ("Message", "x")]).await;
    assert_eq!((status, between(&answer, "<Code>", "</Code>")), (403, "AuthorizationError"));
    assert!(answer.contains(&format!("is not authorized to perform: sns:Publish on resource: {TOPIC}")), "{answer}");
    assert_eq!(served.call("ListTopics", &[]).await.0, 200);
    assert!(served.received("a").await.is_empty());
}

#[tokio::test]
async fn a_queue_that_takes_no_message_makes_the_call_fail_and_one_that_the_template_lacks_does_not() {
    let served = Served::new(vec![of_queue("none"), of_queue("a")]).await;
    served.publish("x", &[]).await;
    assert_eq!(served.received("a").await.len(), 1);
    served.sqs.call("DeleteQueue", json!({ "QueueUrl": "a" }).to_string().as_bytes()).await;
    let (status, answer) = served.call("Publish", &[("TopicArn", TOPIC), ("Message", "x")]).await;
    assert_eq!((status, between(&answer, "<Code>", "</Code>")), (500, "InternalError"));
}

#[tokio::test]
async fn without_topics_a_call_is_answered_with_501_and_a_policy_that_is_none_is_an_error() {
    let queues = Sqs::open(Storage::Memory, "", "", "", Arc::new(SystemClock)).expect("queues");
    let services = Services::new(DynamoDb::open(None).expect("a database"), Queues::Embedded(queues), None);
    let caller = crate::Caller { function: "worker".to_owned(), instance: None };
    let answer = services.call_topics(caller, Query::read(b"Action=ListTopics"), bytes::Bytes::new()).await;
    assert_eq!(answer.expect("an answer").status, 501);
    let wrong = Of { filter_policy: Some(json!({ "kind": "placed" })), ..of_queue("a") };
    let topic = Declared {
        logical_id: "Orders".to_owned(),
        name: "orders".to_owned(),
        arn: TOPIC.to_owned(),
        subscriptions: vec![wrong],
    };
    let error = Topics::of(&[topic], &[]).expect_err("no list");
    let expected = "The FilterPolicy of Orders's subscription of arn:aws:sqs:us-east-1:000000000000:a is not taken by \
                    SNS: \"kind\" is not a list of values";
    assert_eq!(format!("{error:#}"), expected);
}
