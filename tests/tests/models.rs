//! Models through the running stack: a long text, a client that does not read, cancelling, and a real endpoint's
//! protocol.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use e2e::{Client, Endpoint, Stack, StackOptions, new_id};
use serde_json::{Value, json};

#[tokio::test]
async fn a_long_text_arrives_whole_and_in_order_in_far_fewer_frames_than_words() {
    let stack = Stack::quick().await;
    let mut client = Client::connect(&stack, "alice").await;
    let conversation = client.rest.new_conversation().await;
    let text: String = (0..2500).map(|number| format!("w{number} ")).collect();
    let id = new_id();
    client.send_message(&id, &conversation, &text).await;
    client.receive_type("accepted").await;
    let (mut streamed, mut frames) = (String::new(), 0);
    let reply = loop {
        let frame = client.receive().await;
        if frame["type"] != "delta" {
            break frame;
        }
        assert_eq!(frame["seq"], frames, "{frame}");
        streamed.push_str(frame["text"].as_str().expect("a text"));
        frames += 1;
    };
    let expected = format!("response for {text}");
    assert_eq!((streamed, &reply["replies"][0]["text"]), (expected.clone(), &json!(expected)));
    assert!((1..100).contains(&frames), "{frames} frames for 2,502 words");
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_up_nobody_and_has_all_its_answers_in_the_end() {
    let stack = StackOptions::default().param("MockLatencyMs", 0).param("MaxPendingPerClient", 100).start().await;
    let mut deaf = Client::connect_with_small_buffer(&stack, "deaf").await;
    let mut conversations = Vec::new();
    for _ in 0..10 {
        conversations.push(deaf.rest.new_conversation().await);
    }
    // Far more than the buffers between worker and client hold.
    let text = "x".repeat(16_000);
    let ids: Vec<String> = (0..100).map(|_| new_id()).collect();
    for (id, conversation) in ids.iter().zip(conversations.iter().cycle()) {
        deaf.send_message(id, conversation, &text).await;
    }
    let mut other = Client::connect(&stack, "other").await;
    let rest = deaf.rest.clone();
    let all_done = async || {
        let mut history = Vec::new();
        for conversation in &conversations {
            history.extend(rest.all(&format!("/api/conversations/{conversation}/messages?limit=100")).await.0);
        }
        let ended = history.iter().filter(|message| message["role"] == "user" && message["status"] == "done").count();
        (ended == ids.len(), history)
    };
    let deadline = Instant::now() + Duration::from_secs(85);
    let history = loop {
        // The client is alive and does not read.
        deaf.try_send(&json!({ "action": "heartbeat" })).await;
        let began = Instant::now();
        let (streamed, _) = other.ask_afresh("quick").await;
        assert_eq!(streamed, "response for quick");
        assert!(began.elapsed() < Duration::from_secs(10), "others wait {:?}", began.elapsed());
        if let (true, history) = all_done().await {
            break history;
        }
        assert!(Instant::now() < deadline, "not all are answered\n{}", stack.log());
    };
    let answered: BTreeSet<&str> = history
        .iter()
        .filter(|m| m["text"] == format!("response for {text}"))
        .filter_map(|m| m["replyTo"].as_str())
        .collect();
    assert_eq!(answered.len(), ids.len());
    // The client reads again. All that it is told is right, and it can go on.
    let id = new_id();
    deaf.send_message(&id, &conversations[0], "hello").await;
    loop {
        let frame = deaf.receive().await;
        if frame["type"] == "reply" {
            assert_eq!(frame["message"]["status"], "done", "{}", frame["id"]);
            if frame["id"] == *id {
                break;
            }
        }
    }
}

#[tokio::test]
async fn cancelling_stops_an_answer_wherever_it_is() {
    let stack = Stack::quick().await;
    let mut client = Client::connect(&stack, "alice").await;
    let conversation = client.rest.new_conversation().await;
    let (running, waiting) = (new_id(), new_id());
    client.send_message(&running, &conversation, "!slow 30000").await;
    client.receive_type("accepted").await;
    // This message waits behind the other in the same conversation.
    client.send_message(&waiting, &conversation, "and then?").await;
    client.receive_type("accepted").await;
    stack.until("at work", |state| state["inFlight"]["worker"]["now"] == 1).await;
    for id in [&waiting, &running] {
        let began = Instant::now();
        client.send(&json!({ "action": "cancel", "id": id })).await;
        let reply = client.receive().await;
        assert_eq!((&reply["type"], &reply["id"]), (&json!("reply"), &json!(id)), "{reply}");
        assert_eq!((&reply["message"]["status"], &reply["replies"]), (&json!("cancelled"), &json!([])), "{reply}");
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    }
    let path = format!("/api/conversations/{conversation}/messages");
    let (history, _) = client.rest.all(&path).await;
    let statuses: Vec<&Value> = history.iter().map(|message| &message["status"]).collect();
    assert_eq!(statuses, ["cancelled", "cancelled"]);
    // The conversation goes on.
    assert_eq!(client.ask(&conversation, "never mind").await.0, "response for never mind");
    for (frame, has_id) in [
        (json!({ "action": "cancel" }), false),
        (json!({ "action": "cancel", "id": "x" }), false),
        (json!({ "action": "cancel", "id": new_id() }), true),
    ] {
        client.send(&frame).await;
        let error = client.receive().await;
        assert_eq!((&error["type"], &error["code"]), (&json!("error"), &json!("bad_request")), "{frame}: {error}");
        assert_eq!(error["id"].is_string(), has_id, "{frame}: {error}");
    }
}

#[tokio::test]
async fn an_openai_compatible_endpoint_answers_with_the_key_of_the_environment() {
    let endpoint = Endpoint::start().await;
    let stack = StackOptions::default()
        .param("LlmProvider", "openai")
        .param("LlmModel", "a-model")
        .param("LlmBaseUrl", &endpoint.url)
        .env("LLM_API_KEY", "the-key")
        .start()
        .await;
    let mut client = Client::connect(&stack, "alice").await;
    let conversation = client.rest.new_conversation().await;
    let (streamed, reply) = client.ask(&conversation, "hello").await;
    assert_eq!((streamed.as_str(), &reply["replies"][0]["text"]), ("You said: hello", &json!("You said: hello")));
    let key = e2e::media::Upload::done(&client.rest, "image/png", &e2e::media::fixture("picture.png")).await;
    let id = new_id();
    let frame =
        json!({ "action": "sendMessage", "id": id, "conversationId": conversation, "media": key, "text": "look" });
    client.send(&frame).await;
    client.receive_type("accepted").await;
    assert_eq!(client.answer(&id).await.0, "You said: look");
    let requests = endpoint.requests();
    assert!(requests.iter().all(|(authorization, _)| authorization == "Bearer the-key"), "{requests:?}");
    let messages = requests[1].1["messages"].as_array().expect("messages");
    assert_eq!(messages.len(), 3, "{messages:?}");
    // The picture is in the request as an address that the endpoint can read.
    let url = messages[2]["content"][1]["image_url"]["url"].as_str().expect("a URL");
    assert_eq!(e2e::media::download(url).await.0, 200, "{url}");
    // Tokens and times are counted in the metrics and do not appear in the log.
    let state = stack.state().await;
    let dimensions = json!({ "Stack": "local", "Provider": "openai", "Status": "done" });
    let metrics = state["metrics"].as_array().expect("metrics");
    let of_answers = |name: &str| {
        let found = metrics.iter().find(|metric| metric["name"] == name && metric["dimensions"] == dimensions);
        found.unwrap_or_else(|| panic!("no {name}: {state:#}"))["statistics"].clone()
    };
    assert_eq!(of_answers("InputTokens")["Sum"], 14.0);
    assert_eq!(of_answers("AnswerTime")["SampleCount"], 2.0);
    let environment = stack.get("/_local/environment").await.text().await.expect("a text");
    assert!(!environment.contains("the-key"), "{environment}");
    assert!(!stack.log_if_any().contains("_aws") && !stack.log().contains("the-key"), "{}", stack.log_if_any());
}
