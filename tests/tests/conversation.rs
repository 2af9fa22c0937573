//! A message in, an answer out: the main job, over the public contract.

use std::collections::BTreeSet;
use std::time::Duration;

use e2e::{Client, Stack, StackOptions, new_id};
use insta::assert_json_snapshot;
use serde_json::{Value, json};

#[tokio::test]
async fn a_message_is_accepted_streamed_and_answered() {
    let stack = Stack::quick().await;
    let mut alice = Client::connect(&stack, "alice").await;
    let (id, conversation) = (new_id(), alice.rest.new_conversation().await);
    alice.send_message(&id, &conversation, "hello there").await;

    let named = |frame: &Value, times: &[&str]| -> Value {
        let text = frame.to_string().replace(&id, "ID").replace(&conversation, "CONVERSATION");
        let mut frame: Value = serde_json::from_str(&text).expect("JSON");
        times.iter().for_each(|time| *frame.pointer_mut(time).expect("a time") = "TIME".into());
        frame
    };
    let accepted = alice.receive().await;
    let created_at = accepted["message"]["createdAt"].as_str().expect("a time");
    assert!(created_at.len() == "2026-01-02T03:04:05.678Z".len() && created_at.ends_with('Z'), "{created_at}");
    assert_json_snapshot!(named(&accepted, &["/message/createdAt"]), @r#"
    {
      "duplicate": false,
      "id": "ID",
      "message": {
        "conversationId": "CONVERSATION",
        "createdAt": "TIME",
        "id": "ID",
        "parentId": "",
        "role": "user",
        "status": "queued",
        "text": "hello there",
        "type": "text"
      },
      "type": "accepted"
    }
    "#);

    let (streamed, reply) = alice.answer(&id).await;
    assert_eq!(streamed, "response for hello there");
    assert_json_snapshot!(named(&reply, &["/message/createdAt", "/replies/0/createdAt"]), @r#"
    {
      "id": "ID",
      "message": {
        "conversationId": "CONVERSATION",
        "createdAt": "TIME",
        "id": "ID",
        "parentId": "",
        "role": "user",
        "status": "done",
        "text": "hello there",
        "type": "text"
      },
      "replies": [
        {
          "conversationId": "CONVERSATION",
          "createdAt": "TIME",
          "id": "ID-0",
          "parentId": "ID",
          "replyTo": "ID",
          "role": "assistant",
          "status": "done",
          "text": "response for hello there",
          "type": "text"
        }
      ],
      "type": "reply"
    }
    "#);
    assert!(!stack.log_if_any().contains("hello there"), "no text of a message is logged:\n{}", stack.log_if_any());
}

#[tokio::test]
async fn a_browser_brings_its_token_as_a_subprotocol() {
    let stack = Stack::quick().await;
    let token = stack.token("bob").await;
    let offered = format!("parley.v1, bearer.{token}");
    let mut bob =
        Client::with_headers(&stack, "", &[("Sec-WebSocket-Protocol", &offered)]).await.expect("it is let in");
    assert_eq!(bob.subprotocol.as_deref(), Some("parley.v1"));
    let (streamed, _) = bob.ask_afresh("hi").await;
    assert_eq!(streamed, "response for hi");
}

#[tokio::test]
async fn texts_of_any_script_and_of_the_greatest_length_come_back_whole() {
    let stack = Stack::quick().await;
    let mut client = Client::connect(&stack, "carol").await;
    let conversation = client.rest.new_conversation().await;
    for text in ["日本語 🙂 café", "\"quotes\" and \\ and \u{0}", " leading and trailing ", &"x".repeat(16_384)] {
        let (streamed, reply) = client.ask(&conversation, text).await;
        assert_eq!(streamed, format!("response for {text}"));
        assert_eq!(reply["replies"][0]["text"], format!("response for {text}"));
    }
}

#[tokio::test]
async fn messages_of_one_conversation_are_answered_in_their_order() {
    let stack = Stack::quick().await;
    let mut client = Client::connect(&stack, "dave").await;
    let conversation = client.rest.new_conversation().await;
    let ids: Vec<String> = (0..10).map(|_| new_id()).collect();
    // The client does not wait for anything. The first answer takes longest.
    for (index, id) in ids.iter().enumerate() {
        client.send_message(id, &conversation, &format!("!slow {}", (10 - index) * 10)).await;
    }
    let mut answered = Vec::new();
    while answered.len() < ids.len() {
        let frame = client.receive().await;
        if frame["type"] == "reply" {
            answered.push(frame["id"].as_str().expect("an id").to_owned());
        } else {
            assert!(frame["type"] == "accepted" || frame["type"] == "delta", "{frame}");
        }
    }
    assert_eq!(answered, ids);
}

#[tokio::test]
async fn conversations_are_answered_side_by_side() {
    let stack = Stack::quick().await;
    let mut client = Client::connect(&stack, "erin").await;
    let (slow, fast) = (new_id(), new_id());
    let conversation = client.rest.new_conversation().await;
    client.send_message(&slow, &conversation, "!slow 2000").await;
    client.receive_type("accepted").await;
    let conversation = client.rest.new_conversation().await;
    client.send_message(&fast, &conversation, "hurry").await;
    let reply = client.receive_type("reply").await;
    assert_eq!(reply["id"], fast);
    let reply = client.receive_type("reply").await;
    assert_eq!(reply["id"], slow);
}

#[tokio::test]
async fn an_id_sent_again_is_one_message_with_one_answer() {
    let stack = Stack::quick().await;
    let mut client = Client::connect(&stack, "frank").await;
    let (id, conversation) = (new_id(), client.rest.new_conversation().await);
    client.send_message(&id, &conversation, "once").await;
    client.receive_type("accepted").await;
    let (_, reply) = client.answer(&id).await;

    // A message with another text or in another conversation is another message and needs an id of its own.
    let other = client.rest.new_conversation().await;
    for (conversation, text) in [(&conversation, "twice"), (&other, "once")] {
        client.send_message(&id, conversation, text).await;
        let refused = client.receive().await;
        assert_eq!((&refused["type"], &refused["code"]), (&json!("error"), &json!("bad_request")), "{refused}");
        assert_eq!(refused["id"], id);
    }
    // The same frame gets the first message each time, and its reply once more, but no second answer.
    for _ in 0..2 {
        client.send_message(&id, &conversation, "once").await;
        let accepted = client.receive().await;
        assert_eq!(accepted["type"], "accepted", "{accepted}");
        assert_eq!(accepted["duplicate"], true);
        assert_eq!(accepted["message"]["text"], "once");
        assert_eq!(accepted["message"]["conversationId"], reply["message"]["conversationId"]);
        assert_eq!(accepted["message"]["status"], "done");
        let again = client.receive().await;
        let ids =
            |frame: &Value| [frame["id"].clone(), frame["message"]["id"].clone(), frame["replies"][0]["id"].clone()];
        assert_eq!((&again["type"], ids(&again)), (&json!("reply"), ids(&reply)), "{again}");
    }
    // A later message gets its own answer, which shows that nothing else was under way.
    let (streamed, _) = client.ask(&conversation, "next").await;
    assert_eq!(streamed, "response for next");
    let (history, _) = client.rest.all(&format!("/api/conversations/{conversation}/messages")).await;
    assert_eq!(history.len(), 4, "{history:#?}");
}

#[tokio::test]
async fn a_failure_is_told_again_too() {
    let stack = Stack::quick().await;
    let mut client = Client::connect(&stack, "alice").await;
    let (id, conversation) = (new_id(), client.rest.new_conversation().await);
    client.send_message(&id, &conversation, "!fail please").await;
    client.receive_type("accepted").await;
    let (_, error) = client.answer(&id).await;
    client.send_message(&id, &conversation, "!fail please").await;
    let accepted = client.receive().await;
    assert_eq!(
        (&accepted["duplicate"], &accepted["message"]["status"]),
        (&json!(true), &json!("failed")),
        "{accepted}"
    );
    assert_eq!(client.receive().await, error);
}

#[tokio::test]
async fn a_client_that_comes_back_and_sends_again_is_told_how_its_message_ended() {
    let stack = Stack::quick().await;
    let (id, mut client) = (new_id(), Client::connect(&stack, "alice").await);
    let conversation = client.rest.new_conversation().await;
    client.send_message(&id, &conversation, "!slow 300").await;
    client.receive_type("accepted").await;
    client.close().await;
    stack.until("answered", |state| state["inFlight"]["worker"]["now"] == 0).await;
    let mut client = Client::connect(&stack, "alice").await;
    client.send_message(&id, &conversation, "!slow 300").await;
    assert_eq!(client.receive_type("accepted").await["duplicate"], true);
    assert_eq!(client.receive_type("reply").await["id"], json!(id));
}

#[tokio::test]
async fn an_id_sent_many_times_at_once_is_one_message() {
    let stack = Stack::quick().await;
    let mut client = Client::connect(&stack, "grace").await;
    let (id, conversation) = (new_id(), client.rest.new_conversation().await);
    for _ in 0..20 {
        client.send_message(&id, &conversation, "again").await;
    }
    let (mut accepted, mut duplicates, mut ended, mut replies) = (0, 0, 0, Vec::new());
    // There is one reply, and one more for each repetition that found the message ended.
    while (accepted, duplicates, replies.len()) != (1, 19, 1 + ended) {
        let frame = client.receive().await;
        match frame["type"].as_str() {
            Some("accepted") if frame["duplicate"] == true => {
                duplicates += 1;
                ended += usize::from(frame["message"]["status"] == "done");
            }
            Some("accepted") => accepted += 1,
            Some("reply") => replies.push(frame["replies"][0]["id"].clone()),
            Some("delta") => {}
            _ => panic!("{frame}"),
        }
    }
    replies.dedup();
    assert_eq!(replies.len(), 1, "one message has one answer: {replies:?}");
    client.receives_nothing(Duration::from_millis(300)).await;
    let (history, _) = client.rest.all(&format!("/api/conversations/{conversation}/messages")).await;
    assert_eq!(history.len(), 2, "{history:#?}");
}

#[tokio::test]
async fn a_model_that_fails_for_good_is_told_and_the_conversation_goes_on() {
    let stack = Stack::quick().await;
    let mut client = Client::connect(&stack, "heidi").await;
    let conversation = client.rest.new_conversation().await;
    let (streamed, error) = client.ask(&conversation, "!fail please").await;
    assert_eq!((streamed.as_str(), &error["type"], &error["code"]), ("", &json!("error"), &json!("reply_failed")));
    let (streamed, _) = client.ask(&conversation, "still there?").await;
    assert_eq!(streamed, "response for still there?");
}

#[tokio::test]
async fn a_model_that_fails_for_the_moment_is_asked_again() {
    let stack = Stack::quick().await;
    let mut client = Client::connect(&stack, "ivan").await;
    let (streamed, reply) = client.ask_afresh("!flaky 3").await;
    assert_eq!(streamed, "response for !flaky 3");
    assert_eq!(reply["type"], "reply");
}

#[tokio::test]
async fn fifty_clients_talk_at_once_and_each_gets_its_own_answers() {
    let stack = Stack::quick().await;
    stack.alone();
    let talks = (0..50).map(|number| {
        let stack = &stack;
        async move {
            let mut client = Client::connect(stack, &format!("user-{number}")).await;
            let conversation = client.rest.new_conversation().await;
            for turn in 0..3 {
                let text = format!("{number} says {turn}");
                let (streamed, reply) = client.ask(&conversation, &text).await;
                assert_eq!(streamed, format!("response for {text}"));
                assert_eq!(reply["type"], "reply");
            }
            client
        }
    });
    let clients = futures_util::future::join_all(talks).await;
    let state = stack.state().await;
    assert_eq!(state["connections"], 50);
    let leases = state["leases"].as_array().expect("leases");
    let slots: BTreeSet<_> = leases.iter().filter_map(|lease| lease["slot"].as_u64()).collect();
    assert_eq!(slots, (0..50).collect(), "{state:#}");
    assert_eq!(Client::try_connect(&stack, "one more", None).await.err().map(|status| status.as_u16()), Some(503));
    drop(clients);
}

#[tokio::test]
async fn the_mocks_latency_is_that_of_the_template_by_default() {
    let stack = StackOptions::default().start().await;
    let mut client = Client::connect(&stack, "judy").await;
    let (streamed, _) = client.ask_afresh("when you can").await;
    assert_eq!(streamed, "response for when you can");
}
