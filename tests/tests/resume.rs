//! Coming back after a broken line.

use serde_json::json;
use tests::{Client, Stack, new_id};

#[tokio::test]
async fn who_is_cut_off_in_the_middle_of_an_answer_gets_the_rest_and_the_same_text_as_who_stayed() {
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
    // The same by history, from the last answer that was seen before.
    let seen = first["replies"][0]["id"].as_str().expect("an id");
    let (since, _) = back.rest.all(&format!("/api/conversations/{conversation}/messages?after={seen}")).await;
    let since: Vec<_> = since.iter().map(|message| (&message["id"], &message["status"], &message["text"])).collect();
    let answer = &reply["replies"][0];
    assert_eq!(since, [(&json!(id), &json!("done"), &json!(text)), (&answer["id"], &json!("done"), &json!(told))]);
}

#[tokio::test]
async fn an_answer_that_was_finished_while_its_user_was_away_is_told_by_history() {
    let stack = Stack::quick().await;
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
