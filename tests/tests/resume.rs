//! Coming back after a broken line.

use std::time::{Duration, Instant};

use e2e::{Client, Endpoint, SILENTLY, SLOWLY, Stack, StackOptions, Streamed, new_id};
use serde_json::json;

/// A stack whose model is at `endpoint`.
async fn with_model(endpoint: &Endpoint) -> Stack {
    let options = StackOptions::default().param("LlmProvider", "openai").param("LlmModel", "a-model");
    options.param("LlmBaseUrl", &endpoint.url).start().await
}

#[tokio::test]
async fn a_client_that_is_cut_off_during_an_answer_gets_the_same_text_as_one_that_stayed() {
    let stack = Stack::quick().await;
    let text = format!("!slow 1200 {}", "word ".repeat(50));
    let mut stays = Client::connect(&stack, "stays").await;
    let (told, _) = stays.ask_afresh(&text).await;

    let mut goes = Client::connect_with_session(&stack, "goes", "phone").await;
    let conversation = goes.rest.new_conversation().await;
    let (_, first) = goes.ask(&conversation, "before").await;
    let id = new_id();
    goes.send_message(&id, &conversation, &text).await;
    goes.receive_type("accepted").await;
    stack.until("at work", |state| state["inFlight"]["worker"]["now"] == 1).await;
    drop(goes); // the line breaks, without a good-bye

    let mut back = Client::connect_with_session(&stack, "goes", "phone").await;
    let (streamed, reply) = back.answer(&id).await;
    assert_eq!((streamed.as_str(), &reply["replies"][0]["text"]), (told.as_str(), &json!(told)));
    // The history gives the same, from the last answer that the client saw before.
    let seen = first["replies"][0]["id"].as_str().expect("an id");
    let (since, _) = back.rest.all(&format!("/api/conversations/{conversation}/messages?after={seen}")).await;
    let since: Vec<_> = since.iter().map(|message| (&message["id"], &message["status"], &message["text"])).collect();
    let answer = &reply["replies"][0];
    assert_eq!(since, [(&json!(id), &json!("done"), &json!(text)), (&answer["id"], &json!("done"), &json!(told))]);
}

#[tokio::test]
async fn an_answer_that_was_finished_while_its_user_was_away_is_told_by_history() {
    let stack = Stack::quick().await;
    stack.alone();
    let mut client = Client::connect(&stack, "alice").await;
    let conversation = client.rest.new_conversation().await;
    let (asked, failing) = (new_id(), new_id());
    client.send_message(&asked, &conversation, "!slow 300").await;
    client.send_message(&failing, &conversation, "!fail").await;
    for _ in 0..2 {
        client.receive_type("accepted").await;
    }
    client.close().await;
    let rest = stack.rest("alice").await;
    stack
        .until("answered", |state| {
            state["queues"]
                .as_object()
                .into_iter()
                .flatten()
                .all(|(_, queue)| queue["visible"] == 0 && queue["inFlight"] == 0)
        })
        .await;
    let (since, _) = rest.all(&format!("/api/conversations/{conversation}/messages?after={asked}")).await;
    let told: Vec<_> = since.iter().map(|message| (&message["role"], &message["status"])).collect();
    assert_eq!(told, [(&json!("user"), &json!("failed")), (&json!("assistant"), &json!("done"))]);
    assert_eq!(since[0]["error"]["code"], "reply_failed");
    assert_eq!(since[1]["replyTo"], asked);
}

#[tokio::test]
async fn a_page_that_reloads_at_any_moment_of_an_answer_is_told_all_of_it_and_nothing_twice() {
    let endpoint = Endpoint::start().await;
    let stack = with_model(&endpoint).await;
    let mut page = Client::connect_with_session(&stack, "alice", "page").await;
    let (id, conversation) = (new_id(), page.rest.new_conversation().await);
    let text = format!("{SLOWLY}{}", (0..300).map(|number| format!("w{number} ")).collect::<String>());
    let whole = format!("You said: {text}");
    page.send_message(&id, &conversation, &text).await;
    page.receive_type("accepted").await;
    let mut told_before = false;
    for reload in 0..8 {
        let mut streamed = Streamed::default();
        // Each time a little later, and sometimes before anything was told on this connection.
        while streamed.frames < reload % 4 {
            streamed.hear(&page.receive_type("delta").await);
        }
        assert!(whole.starts_with(&streamed.text), "{streamed:?}");
        // If another connection was told a part, the text begins again, and exactly one delta says so.
        assert!(streamed.restarts <= u64::from(told_before), "{streamed:?}");
        assert!(streamed.frames == 0 || !told_before || streamed.restarts == 1, "{streamed:?}");
        told_before |= streamed.frames > 0;
        if reload % 2 == 0 {
            drop(page); // without a good-bye
        } else {
            page.close().await;
        }
        page = match reload {
            // Sometimes another window takes over.
            5 => Client::take_over(&stack, "alice", "page").await.expect("the user's own place"),
            _ => Client::connect_with_session(&stack, "alice", "page").await,
        };
    }
    let mut streamed = Streamed::default();
    let reply = loop {
        let frame = page.receive().await;
        if frame["type"] != "delta" {
            break frame;
        }
        streamed.hear(&frame);
    };
    assert_eq!((streamed.text.as_str(), &reply["replies"][0]["text"]), (whole.as_str(), &json!(whole)));
    assert_eq!(streamed.restarts, 1);
}

#[tokio::test]
async fn a_client_that_comes_back_while_the_model_is_silent_is_told_all_so_far_at_once() {
    let endpoint = Endpoint::start().await;
    let stack = with_model(&endpoint).await;
    let mut page = Client::connect_with_session(&stack, "alice", "page").await;
    let (id, conversation) = (new_id(), page.rest.new_conversation().await);
    page.send_message(&id, &conversation, &format!("{SILENTLY}so far and no further")).await;
    let first = page.receive_type("delta").await;
    assert_eq!((&first["seq"], &first["text"], &first["restart"]), (&json!(0), &json!("You said: "), &json!(null)));
    for (seq, goes_politely) in [(1, false), (2, true), (3, false)] {
        if goes_politely {
            page.close().await;
        } else {
            drop(page);
        }
        page = Client::connect_with_session(&stack, "alice", "page").await;
        let opened = Instant::now();
        let delta = page.receive().await;
        println!("told {:?} after the connection was open", opened.elapsed());
        assert!(opened.elapsed() < Duration::from_secs(2), "{:?}", opened.elapsed());
        assert_eq!(
            (&delta["type"], &delta["seq"], &delta["text"], &delta["restart"]),
            (&json!("delta"), &json!(seq), &json!("You said: "), &json!(true))
        );
    }
    endpoint.go_on();
    let rest = page.receive().await;
    assert_eq!((&rest["seq"], &rest["restart"]), (&json!(4), &json!(null)), "{rest}");
    let reply = page.receive().await;
    let told = format!("You said: {}", rest["text"].as_str().expect("a text"));
    assert_eq!((&reply["type"], &reply["replies"][0]["text"]), (&json!("reply"), &json!(told)));
}
