//! The worker against an endpoint that streams well, badly, slowly or not at all. Text and status are right each time,
//! and nothing goes on after its deadline.

mod address;
mod dead_letters;
mod faults;
mod logs;
mod paths;
mod restart;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::Answerer;
use crate::config::{ApiKey, ContextConfig, OpenAiConfig};
use crate::ids::MessageId;
use crate::leases::Handshake;
use crate::messages::{Admission, Draft, Status, StoredMessage};
use crate::model::OpenAi;
use crate::queue::Job;
use crate::testing::endpoint::{Endpoint, Step, delta, done, event, finish, says, status, stream_head};
use crate::testing::{CHAT, Connections, Stack, connection, conversation, draft, message_id, user};

const LONG: Duration = Duration::from_secs(3600);
/// So short a deadline that half of it is kept back for ending.
const DEADLINE: Duration = Duration::from_secs(4);

struct Scene {
    stack: Stack,
    connections: Arc<Connections>,
    answerer: Answerer,
    endpoint: Endpoint,
}

impl Scene {
    /// `u` is connected, and the model's endpoint plays these scripts.
    async fn new(scripts: Vec<Vec<Step>>) -> Self {
        let endpoint = Endpoint::start(scripts);
        let url = endpoint.url.clone();
        Self::at(endpoint, &url).await
    }

    /// The worker looks for the model at this address.
    async fn at(endpoint: Endpoint, url: &str) -> Self {
        let stack = Stack::start(5, LONG, LONG);
        let connections = Arc::new(Connections::default());
        let mut answerer = stack.answerer("worker", &connections).await;
        let config = OpenAiConfig {
            base_url: url.to_owned(),
            model: "a-model".to_owned(),
            api_key: ApiKey::Value("the-key".to_owned()),
        };
        let aws = aws_config::SdkConfig::builder().build();
        answerer.model = Arc::new(OpenAi::new(config, &aws).await.expect("a model"));
        answerer.context = ContextConfig { tokens: 1000, messages: 50 };
        stack.make_conversations("u", [0, 1]);
        answerer.leases.connect(&user("u"), &connection("c"), &Handshake::default()).await.expect("a place");
        Self { stack, connections, answerer, endpoint }
    }

    async fn say(&self, id: u32) -> StoredMessage {
        self.send(&draft(id, 0)).await
    }

    async fn send(&self, draft: &Draft) -> StoredMessage {
        let messages = &self.answerer.messages;
        let admitted = messages.admit(&user("u"), &connection("c"), draft, &self.stack.limits).await;
        let Ok(Admission::New(message)) = admitted else { panic!("not new: {admitted:?}") };
        self.answerer.queue.send(&Job::from(&message)).await.expect("it is queued");
        message
    }

    /// Works on the queued jobs.
    async fn work(&self) {
        for (job, receipt) in self.stack.receive().await {
            let deadline = self.answerer.clock.now().plus(DEADLINE);
            self.answerer.run(&job, &receipt, deadline).await.expect("it is worked on");
            self.stack.finished(&receipt).await;
        }
    }

    async fn message(&self, id: &MessageId) -> StoredMessage {
        let found = self.answerer.messages.find_any(&user("u"), id).await.expect("a read");
        found.unwrap_or_else(|| panic!("there is no {id}"))
    }

    fn told_last(&self) -> Value {
        self.connections.told(&connection("c")).pop().expect("a frame")
    }

    /// The text of the deltas, and the last frame.
    fn told(&self) -> (String, Value) {
        let frames = self.connections.told(&connection("c"));
        let (end, deltas) = frames.split_last().expect("a frame");
        let mut text = String::new();
        for (seq, delta) in deltas.iter().enumerate() {
            assert_eq!((&delta["type"], &delta["seq"]), (&json!("delta"), &json!(seq)), "{delta}");
            text.push_str(delta["text"].as_str().expect("a text"));
        }
        (text, end.clone())
    }
}

fn send(text: &str) -> Step {
    Step::Send(text.as_bytes().to_vec())
}

#[tokio::test]
async fn whatever_an_endpoint_leaves_out_or_splits_the_text_is_whole() {
    let emoji = "data: {\"choices\":[{\"delta\":{\"content\":\"a 🙂 b\"},\"finish_reason\":\"stop\"}]}\n\n".as_bytes();
    let middle = emoji.iter().position(|byte| *byte == 0xf0).expect("the emoji") + 2;
    let cases: Vec<(&str, Vec<Step>, &str)> = vec![
        ("as it should", says(&["Hel", "lo", " you"]), "Hello you"),
        (
            "choices: null, a role, unknown fields, and usage",
            vec![
                stream_head(),
                event(&json!({ "choices": null, "x": [1] })),
                event(&json!({ "choices": [{ "delta": { "role": "assistant", "content": null }, "logprobs": null }] })),
                event(&json!({ "id": 7, "choices": [] })),
                delta("text"),
                finish(),
                event(&json!({ "choices": [], "usage": { "prompt_tokens": 3, "completion_tokens": 1 } })),
                done(),
            ],
            "text",
        ),
        ("without [DONE]", vec![stream_head(), delta("text"), finish()], "text"),
        ("without a reason to finish", vec![stream_head(), delta("text"), done()], "text"),
        (
            "CR LF and comments",
            vec![
                stream_head(),
                send(": keep-alive\r\n\r\n"),
                send("data: {\"choices\":[{\"delta\":{\"content\":\"te\"}}]}\r\n\r\n: again\r\n"),
                send("data:{\"choices\":[{\"delta\":{\"content\":\"xt\"}}]}\r\n\r\ndata: [DONE]\r\n\r\n"),
            ],
            "text",
        ),
        (
            "a character in two packets",
            vec![
                stream_head(),
                Step::Send(emoji[..middle].to_vec()),
                Step::Pause(Duration::from_millis(50)),
                Step::Send(emoji[middle..].to_vec()),
            ],
            "a 🙂 b",
        ),
        ("nothing at all to say", vec![stream_head(), finish(), done()], ""),
    ];
    for (name, script, text) in cases {
        let scene = Scene::new(vec![script]).await;
        let message = scene.say(1).await;
        scene.work().await;
        let (streamed, reply) = scene.told();
        assert_eq!((streamed.as_str(), &reply["replies"][0]["text"]), (text, &json!(text)), "{name}: {reply}");
        assert_eq!(scene.message(&message.id).await.status, Status::Done, "{name}");
        assert_eq!(scene.endpoint.requests().len(), 1, "{name}");
    }
}

#[tokio::test]
async fn a_model_that_fails_for_the_moment_is_asked_again_and_one_that_fails_for_good_is_not() {
    /// `Ok`: the number of requests to the endpoint. `Err`: the kind of failure that the user is told, and the
    /// endpoint's words that the user must not see.
    type Expected = Result<usize, (&'static str, &'static str)>;
    let good = || says(&["good"]);
    let error = "{\"error\":{\"message\":\"Say please\",\"type\":\"invalid_request_error\"}}";
    let cases: Vec<(&str, Vec<Vec<Step>>, Expected)> = vec![
        ("500", vec![status("500 Internal Server Error", "", "oops"), good()], Ok(2)),
        ("503 twice", vec![status("503 Service Unavailable", "", ""), status("503 X", "", ""), good()], Ok(3)),
        ("a cut before the head", vec![vec![], good()], Ok(2)),
        ("a cut in the middle", vec![vec![stream_head(), delta("ba")], good()], Ok(2)),
        ("a cut in an event", vec![vec![stream_head(), delta("ba"), send("data: {\"cho")], good()], Ok(2)),
        (
            "an error in the stream",
            vec![vec![stream_head(), event(&json!({ "error": { "message": "no" } }))], good()],
            Ok(2),
        ),
        ("no JSON", vec![vec![stream_head(), send("data: nonsense\n\n")], good()], Ok(2)),
        ("400", vec![status("400 Bad Request", "", error)], Err(("refused the request", "Say please"))),
        ("401", vec![status("401 Unauthorized", "", "{}")], Err(("refused this stack's access", "401"))),
        ("403", vec![status("403 Forbidden", "", "{}")], Err(("refused this stack's access", "403"))),
        ("404", vec![status("404 Not Found", "", "no such model")], Err(("does not know the model", "no such model"))),
        (
            "a page",
            vec![status("200 OK", "content-type: text/html; charset=utf-8\r\n", "<html>")],
            Err(("a web page", "<html>")),
        ),
    ];
    for (name, scripts, expected) in cases {
        let scene = Scene::new(scripts).await;
        let message = scene.say(1).await;
        scene.work().await;
        let (streamed, end) = scene.told();
        let message = scene.message(&message.id).await;
        match expected {
            Ok(requests) => {
                assert_eq!(end["replies"][0]["text"], "good", "{name}: {end}");
                assert_eq!((message.status, scene.endpoint.requests().len()), (Status::Done, requests), "{name}");
                // The text of a broken try is not mixed with the text of the next.
                assert!(["", "ba", "good"].contains(&streamed.as_str()), "{name}: {streamed}");
            }
            Err((kind, reason)) => {
                assert_eq!((&end["type"], &end["code"]), (&json!("error"), &json!("reply_failed")), "{name}: {end}");
                let told = end["message"].as_str().expect("a text");
                assert!(told.contains(kind) && told.contains(message.id.as_str()), "{name}: {end}");
                assert!(!told.contains(reason), "{name}: {end}");
                assert_eq!((message.status, scene.endpoint.requests().len()), (Status::Failed, 1), "{name}");
            }
        }
        assert!(scene.stack.snapshot().users["u"].pending.is_empty(), "{name}");
    }
}

#[tokio::test]
async fn an_endpoint_that_says_when_to_come_again_is_left_alone_until_then() {
    let busy = status("429 Too Many Requests", "retry-after: 1\r\n", "{}");
    let scene = Scene::new(vec![busy, says(&["now"])]).await;
    scene.say(1).await;
    let began = Instant::now();
    scene.work().await;
    assert!(began.elapsed() >= Duration::from_secs(1));
    assert_eq!((scene.told().0.as_str(), scene.endpoint.requests().len()), ("now", 2));
}

#[tokio::test]
async fn nothing_outlasts_the_deadline() {
    let slow = std::iter::once(stream_head())
        .chain((0..100).flat_map(|_| [delta("word "), Step::Pause(Duration::from_millis(100))]))
        .collect();
    for (name, script) in [
        ("never a byte", vec![Step::Hang]),
        ("never more than a head", vec![stream_head(), Step::Hang]),
        ("never more than a word", vec![stream_head(), delta("word "), Step::Hang]),
        ("slowly", slow),
        ("always busy", status("429 Too Many Requests", "retry-after: 60\r\n", "")),
        ("always broken", status("500 Internal Server Error", "", "")),
    ] {
        let scene = Scene::new(vec![script]).await;
        let message = scene.say(1).await;
        let began = Instant::now();
        scene.work().await;
        assert!(began.elapsed() < DEADLINE, "{name}: {:?}", began.elapsed());
        let (_, end) = scene.told();
        assert_eq!((&end["type"], &end["code"]), (&json!("error"), &json!("reply_failed")), "{name}: {end}");
        assert_eq!(scene.message(&message.id).await.status, Status::Failed, "{name}");
    }
}

#[tokio::test]
async fn the_model_is_told_what_was_said_and_what_it_costs_is_kept() {
    let usage = json!({ "choices": [], "usage": { "prompt_tokens": 30, "completion_tokens": 2 } });
    let script = vec![stream_head(), delta("Hel"), delta("lo"), finish(), event(&usage), done()];
    let scene = Scene::new(vec![script]).await;
    let first = scene.say(1).await;
    scene.work().await;
    scene.say(2).await;
    scene.work().await;
    let requests = scene.endpoint.requests();
    assert!(requests[0].head.starts_with("post /v1/chat/completions "), "{}", requests[0].head);
    assert!(requests[0].head.contains("authorization: bearer the-key"), "{}", requests[0].head);
    let body = &requests[1].body;
    assert_eq!((&body["model"], &body["stream"]), (&json!("a-model"), &json!(true)));
    let said = [("user", "Hello"), ("assistant", "Hello"), ("user", "Hello")];
    let said: Vec<Value> = said.iter().map(|(role, text)| json!({ "role": role, "content": text })).collect();
    assert_eq!(body["messages"], json!(said));
    let item = scene.stack.item(CHAT, &format!("conv#{}", conversation(0)), Some(&format!("{:012}", first.seq)));
    for (name, value) in [("input_tokens", "30"), ("output_tokens", "2")] {
        assert_eq!(item[name]["N"], value, "{item}");
    }
    assert!(item["first_ms"]["N"].is_string() && item["total_ms"]["N"].is_string(), "{item}");
}

#[tokio::test]
async fn a_cancelled_answer_stops_within_about_a_second_and_keeps_what_there_was() {
    let scene = Scene::new(vec![vec![stream_head(), delta("as far "), delta("as here"), Step::Hang]]).await;
    let message = scene.say(1).await;
    let cancel = async {
        // After the first text was told.
        while scene.connections.told(&connection("c")).is_empty() {
            tokio::task::yield_now().await;
        }
        let began = Instant::now();
        scene.answerer.finisher.cancel(&user("u"), &message.id).await.expect("cancelled");
        began
    };
    let (began, ()) = tokio::join!(cancel, scene.work());
    assert!(began.elapsed() < Duration::from_millis(1500), "{:?}", began.elapsed());
    let (streamed, reply) = scene.told();
    assert_eq!((&reply["type"], &reply["message"]["status"]), (&json!("reply"), &json!("cancelled")), "{reply}");
    let answer = &reply["replies"][0];
    assert_eq!((&answer["text"], &answer["status"]), (&json!("as far as here"), &json!("cancelled")));
    assert_eq!(streamed, "as far as here");
    assert_eq!(scene.message(&message.id).await.status, Status::Cancelled);
    assert!(scene.stack.snapshot().users["u"].pending.is_empty());
    // Cancelling again, or too late, changes nothing.
    scene.answerer.finisher.cancel(&user("u"), &message.id).await.expect("an answer");
    assert_eq!(scene.told().1, reply);
}

#[tokio::test]
async fn a_message_that_is_cancelled_before_a_worker_has_it_ends_at_once() {
    let scene = Scene::new(vec![says(&["never asked"])]).await;
    let message = scene.say(1).await;
    scene.answerer.finisher.cancel(&user("u"), &message.id).await.expect("cancelled");
    let (streamed, reply) = scene.told();
    assert_eq!((streamed.as_str(), &reply["message"]["status"]), ("", &json!("cancelled")), "{reply}");
    assert_eq!(reply["replies"], json!([]));
    scene.work().await;
    assert_eq!((scene.told().1, scene.endpoint.requests().len()), (reply, 0));
    let unknown = scene.answerer.finisher.cancel(&user("u"), &message_id(9)).await;
    assert!(matches!(unknown, Err(crate::Error::MessageNotFound)), "{unknown:?}");
    let foreign = scene.answerer.finisher.cancel(&user("v"), &message.id).await;
    assert!(matches!(foreign, Err(crate::Error::MessageNotFound)), "{foreign:?}");
}

#[tokio::test]
async fn a_cancellation_whose_worker_died_is_honoured_by_the_next() {
    let scene = Scene::new(vec![says(&["never asked"])]).await;
    let message = scene.say(1).await;
    let messages = &scene.answerer.messages;
    messages.claim(&message).await.expect("a claim");
    scene.answerer.finisher.cancel(&user("u"), &message.id).await.expect("cancelled");
    assert!(scene.connections.told(&connection("c")).is_empty(), "a worker may have it");
    scene.work().await;
    assert_eq!(scene.told().1["message"]["status"], "cancelled");
    assert!(scene.endpoint.requests().is_empty());
}

#[tokio::test]
async fn a_text_that_comes_word_by_word_is_told_in_far_fewer_frames() {
    let words: Vec<String> = (0..120).map(|number| format!("w{number} ")).collect();
    let mut script = vec![stream_head()];
    for word in &words {
        script.extend([delta(word), Step::Pause(Duration::from_millis(5))]);
    }
    script.extend([finish(), done()]);
    let scene = Scene::new(vec![script]).await;
    scene.say(1).await;
    scene.work().await;
    let (streamed, reply) = scene.told();
    assert_eq!((streamed, &reply["replies"][0]["text"]), (words.concat(), &json!(words.concat())));
    let frames = scene.connections.told(&connection("c")).len() - 1;
    println!("{} words in {frames} frames", words.len());
    assert!((3..40).contains(&frames), "{frames}");
}

#[tokio::test]
async fn a_client_that_reads_slowly_is_told_less_often_and_all_of_it() {
    let mut script = vec![stream_head()];
    for number in 0..40 {
        script.extend([delta(&format!("w{number} ")), Step::Pause(Duration::from_millis(20))]);
    }
    script.extend([finish(), done()]);
    let scene = Scene::new(vec![script]).await;
    scene.say(1).await;
    scene.connections.slow_down(2);
    scene.work().await;
    let (streamed, reply) = scene.told();
    let whole: String = (0..40).map(|number| format!("w{number} ")).collect();
    // Text that could not be told in time came with the next delta. The reply has all of it.
    assert!(whole.starts_with(&streamed) && !streamed.is_empty(), "{streamed}");
    assert_eq!(reply["replies"][0]["text"], whole);
}

#[tokio::test]
async fn a_model_that_never_ends_is_cut_off_where_the_table_takes_no_more() {
    let mut script = vec![stream_head()];
    script.extend((0..20).map(|_| delta(&"ä".repeat(15_000))));
    script.push(Step::Hang);
    let scene = Scene::new(vec![script]).await;
    let message = scene.say(1).await;
    scene.work().await;
    assert_eq!(scene.message(&message.id).await.status, Status::Done);
    let answer = scene.message(&message.id.answer(0)).await.text;
    assert!(answer.len() == 256 * 1024 && answer.chars().all(|char| char == 'ä'), "{} bytes", answer.len());
    // The answer is too long for a frame. The frame says so, and the history has it.
    assert_eq!(scene.told().1["replies"][0]["truncated"], true);
}

#[tokio::test]
async fn a_client_that_asks_is_told_an_end_again_and_a_redelivery_tells_nothing() {
    let scene = Scene::new(vec![says(&["good"])]).await;
    let message = scene.say(1).await;
    let (job, receipt) = scene.stack.receive().await.remove(0);
    let deadline = scene.answerer.clock.now().plus(DEADLINE);
    scene.answerer.run(&job, &receipt, deadline).await.expect("answered");
    let (_, reply) = scene.told();
    let frames = scene.connections.told(&connection("c")).len();
    scene.answerer.run(&job, &receipt, deadline).await.expect("nothing to do");
    assert_eq!(scene.connections.told(&connection("c")).len(), frames);
    scene.stack.finished(&receipt).await;

    // Each request is told once. The same request twice is a repetition by the SDK.
    for request in ["first", "second", "second"] {
        scene.answerer.queue.tell(&message, request).await.expect("it is queued");
    }
    while scene.connections.told(&connection("c")).len() < frames + 2 {
        scene.work().await;
    }
    scene.work().await;
    let again = scene.connections.told(&connection("c")).split_off(frames);
    assert_eq!(again.len(), 2, "{again:?}");
    for frame in again {
        assert_eq!((&frame["type"], &frame["replies"]), (&json!("reply"), &reply["replies"]), "{frame}");
    }
    assert_eq!(scene.endpoint.requests().len(), 1);
}
