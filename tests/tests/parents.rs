//! Parents of messages, over the public contract.

use e2e::{Client, Endpoint, Stack, StackOptions, new_id};
use serde_json::{Value, json};

fn frame(id: &str, conversation: &str, text: &str, parent: &Value) -> Value {
    let mut frame = json!({ "action": "sendMessage", "id": id, "conversationId": conversation, "text": text });
    if !parent.is_null() {
        frame["parentId"] = parent.clone();
    }
    frame
}

/// Sends a message that follows `parent`, and waits for its end.
async fn ask(client: &mut Client, conversation: &str, text: &str, parent: &Value) -> (Value, Value) {
    let id = new_id();
    client.send(&frame(&id, conversation, text, parent)).await;
    let accepted = client.receive().await;
    assert_eq!(accepted["type"], "accepted", "{accepted}");
    (accepted, client.answer(&id).await.1)
}

#[tokio::test]
async fn every_message_and_answer_says_what_it_follows_wherever_it_is_shown() {
    let stack = Stack::quick().await;
    let mut client = Client::connect(&stack, "alice").await;
    let conversation = client.rest.new_conversation().await;
    let (accepted, reply) = ask(&mut client, &conversation, "first", &Value::Null).await;
    assert_eq!((&accepted["message"]["parentId"], &reply["message"]["parentId"]), (&json!(""), &json!("")));
    let answer = &reply["replies"][0];
    assert_eq!(answer["parentId"], reply["id"]);
    let (accepted, second) = ask(&mut client, &conversation, "second", &Value::Null).await;
    assert_eq!(accepted["message"]["parentId"], answer["id"]);
    // An edited message has the same parent, by name.
    let (_, edited) = ask(&mut client, &conversation, "second, edited", &answer["id"]).await;
    assert_eq!(edited["message"]["parentId"], answer["id"]);
    let (_, anew) = ask(&mut client, &conversation, "anew", &json!("")).await;
    assert_eq!(anew["message"]["parentId"], "");
    // `null` counts as absent.
    let id = new_id();
    let mut nothing = frame(&id, &conversation, "and on", &Value::Null);
    nothing["parentId"] = Value::Null;
    client.send(&nothing).await;
    assert_eq!(client.receive().await["message"]["parentId"], anew["replies"][0]["id"]);
    client.answer(&id).await;

    let path = format!("/api/conversations/{conversation}/messages");
    let (history, _) = client.rest.all(&path).await;
    let parents: Vec<_> = history.iter().map(|item| (&item["text"], &item["parentId"])).collect();
    let of = |text: &str| history.iter().find(|item| item["text"] == text).map(|item| item["id"].clone());
    for (text, parent) in [
        ("first", Some(json!(""))),
        ("response for first", of("first")),
        ("second", of("response for first")),
        ("second, edited", of("response for first")),
        ("response for second, edited", of("second, edited")),
        ("anew", Some(json!(""))),
        ("and on", of("response for anew")),
    ] {
        assert!(parents.contains(&(&json!(text), &parent.expect("its parent"))), "{text}: {parents:?}");
    }
    for item in &history {
        let one = client.rest.get(&format!("{path}/{}", item["id"].as_str().expect("an id"))).await.expect(200);
        assert_eq!(one["parentId"], item["parentId"]);
    }
    let [_, answer] = [&second["message"], &second["replies"][0]];
    assert_eq!(answer["parentId"], second["id"]);
}

#[tokio::test]
async fn a_parent_that_is_not_there_is_refused_and_a_repetition_is_still_one() {
    let stack = Stack::quick().await;
    let mut client = Client::connect(&stack, "alice").await;
    let (conversation, other) = (client.rest.new_conversation().await, client.rest.new_conversation().await);
    let (_, here) = ask(&mut client, &conversation, "here", &Value::Null).await;
    let (_, elsewhere) = ask(&mut client, &other, "elsewhere", &Value::Null).await;
    let mut bob = Client::connect(&stack, "bob").await;
    let theirs = bob.rest.new_conversation().await;
    let (_, foreign) = ask(&mut bob, &theirs, "mine", &Value::Null).await;
    let unknown = json!(new_id());
    let cases = [&elsewhere["id"], &elsewhere["replies"][0]["id"], &foreign["id"], &unknown, &json!("x"), &json!(7)];
    for parent in cases {
        let id = new_id();
        client.send(&frame(&id, &conversation, "no", parent)).await;
        let error = client.receive().await;
        assert_eq!((&error["type"], &error["code"]), (&json!("error"), &json!("bad_request")), "{parent}: {error}");
        assert_eq!(error["id"], json!(id), "{parent}: {error}");
        assert!(error["message"].as_str().is_some_and(|text| text.contains("parentId")), "{error}");
    }
    for parent in [&unknown, &elsewhere["id"], &json!("")] {
        let id = here["id"].as_str().expect("an id");
        client.send(&frame(id, &conversation, "here", parent)).await;
        let accepted = client.receive().await;
        assert_eq!((&accepted["type"], &accepted["duplicate"]), (&json!("accepted"), &json!(true)), "{accepted}");
        assert_eq!(accepted["message"]["parentId"], "");
        assert_eq!(client.receive().await["type"], "reply");
    }
    let (history, _) = client.rest.all(&format!("/api/conversations/{conversation}/messages")).await;
    assert_eq!(history.len(), 2, "{history:?}");
}

#[tokio::test]
async fn the_model_is_told_the_path_of_parents_and_nothing_beside_it() {
    let endpoint = Endpoint::start().await;
    let options = StackOptions::default().param("LlmProvider", "openai").param("LlmModel", "a-model");
    let stack = options.param("LlmBaseUrl", &endpoint.url).start().await;
    let mut client = Client::connect(&stack, "alice").await;
    let conversation = client.rest.new_conversation().await;
    let (_, first) = ask(&mut client, &conversation, "I have a cat", &Value::Null).await;
    ask(&mut client, &conversation, "It is black", &Value::Null).await;
    let (_, edited) = ask(&mut client, &conversation, "It is white", &first["replies"][0]["id"]).await;
    ask(&mut client, &conversation, "What colour is it?", &edited["replies"][0]["id"]).await;
    ask(&mut client, &conversation, "Hello", &json!("")).await;
    let said = |text: &str| [text.to_owned(), format!("You said: {text}")];
    assert_eq!(endpoint.told(2), [&said("I have a cat")[..], &["It is white".to_owned()]].concat());
    assert_eq!(
        endpoint.told(3),
        [&said("I have a cat")[..], &said("It is white"), &["What colour is it?".to_owned()]].concat()
    );
    assert_eq!(endpoint.told(4), ["Hello"]);
}
