//! Another user's ids in every field of a frame and of a request. Each gets the same answer as an id that does not
//! exist, nothing changes, and the other user is told nothing.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use e2e::media::{Upload, fixture};
use e2e::{Client, Frame, Stack, StackOptions, new_id};
use serde_json::{Value, json};

/// The frame without its id, which the client has chosen.
fn said(mut frame: Frame) -> Frame {
    frame.as_object_mut().expect("a frame").remove("id");
    frame
}

async fn answer(client: &mut Client, frame: &Value) -> Frame {
    client.send(frame).await;
    said(client.receive().await)
}

#[tokio::test]
async fn another_users_ids_in_a_frame_are_like_ids_of_nothing() {
    let stack = StackOptions::default().param("MockLatencyMs", 0).param("MaxPendingPerClient", 5).start().await;
    let mut alice = Client::connect(&stack, "alice").await;
    let mut mallory = Client::connect(&stack, "mallory").await;
    let conversation = alice.rest.new_conversation().await;
    let (_, reply) = alice.ask(&conversation, "mine").await;
    let message = reply["id"].as_str().expect("an id").to_owned();
    let reply_id = reply["replies"][0]["id"].as_str().expect("an id").to_owned();
    let unused = Upload::done(&alice.rest, "image/png", &fixture("picture.png")).await;
    let used = Upload::done(&alice.rest, "image/png", &fixture("picture.png")).await;
    alice
        .send(&json!({ "action": "sendMessage", "id": new_id(), "conversationId": conversation, "media": used }))
        .await;
    let media_reply = alice.receive_type("reply").await;
    let made = media_reply["replies"][1]["media"]["key"].as_str().expect("a key").to_owned();
    // This message is being answered, so there is something to stop.
    let running = new_id();
    alice.send_message(&running, &conversation, "!slow 60000").await;
    alice.receive_type("accepted").await;
    let path = format!("/api/conversations/{conversation}/messages");
    let history = async || {
        let (items, _) = alice.rest.all(&path).await;
        items.into_iter().map(|item| (item["id"].clone(), item["status"].clone())).collect::<Vec<_>>()
    };
    let mut before = history().await;
    while before.last().is_some_and(|(_, status)| status != "processing") {
        before = history().await;
    }

    let own = mallory.rest.new_conversation().await;
    let send = |parts: Value| {
        let mut frame = json!({ "action": "sendMessage", "id": new_id(), "conversationId": own, "text": "x" });
        for (name, value) in parts.as_object().expect("parts") {
            frame[name] = value.clone();
        }
        frame
    };
    let (nowhere, nothing, no_key) = (new_id(), new_id(), format!("{}.png", new_id()));
    for (theirs, none) in [
        (send(json!({ "conversationId": conversation })), send(json!({ "conversationId": nowhere }))),
        (send(json!({ "parentId": message })), send(json!({ "parentId": nothing }))),
        (send(json!({ "parentId": reply_id })), send(json!({ "parentId": format!("{nothing}-0") }))),
        (send(json!({ "parentId": running })), send(json!({ "parentId": nothing }))),
        (send(json!({ "media": unused })), send(json!({ "media": no_key }))),
        (send(json!({ "media": used })), send(json!({ "media": no_key }))),
        (send(json!({ "media": made })), send(json!({ "media": no_key }))),
        (send(json!({ "id": message, "conversationId": conversation })), send(json!({ "conversationId": nowhere }))),
        (json!({ "action": "cancel", "id": message }), json!({ "action": "cancel", "id": nothing })),
        (json!({ "action": "cancel", "id": running }), json!({ "action": "cancel", "id": nothing })),
        (json!({ "action": "cancel", "id": reply_id }), json!({ "action": "cancel", "id": format!("{nothing}-0") })),
        (
            json!({ "action": "cancel", "id": running, "conversationId": conversation, "userId": "alice" }),
            json!({ "action": "cancel", "id": nothing }),
        ),
    ] {
        let answered = answer(&mut mallory, &theirs).await;
        assert_eq!(answered["type"], "error", "{theirs}: {answered}");
        assert_eq!(answered, answer(&mut mallory, &none).await, "{theirs} is answered otherwise than {none}");
    }
    // The owner is told nothing, and nothing has changed. The running message still runs.
    alice.receives_nothing(Duration::from_millis(300)).await;
    let (after, _) = alice.rest.all(&path).await;
    assert_eq!(after.iter().map(|item| (item["id"].clone(), item["status"].clone())).collect::<Vec<_>>(), before);
    assert_eq!(mallory.rest.all(&format!("/api/conversations/{own}/messages")).await.0.len(), 0);
    // The owner can still use everything.
    alice.send(&json!({ "action": "cancel", "id": running })).await;
    assert_eq!(alice.receive_type("reply").await["message"]["status"], "cancelled");
    alice
        .send(&json!({ "action": "sendMessage", "id": new_id(), "conversationId": conversation, "media": unused }))
        .await;
    assert_eq!(alice.receive_type("reply").await["type"], "reply");
    // A user may use the id of another user's message, because each user has ids of its own.
    mallory.send_message(&message, &own, "an id like another").await;
    let accepted = mallory.receive().await;
    assert_eq!((&accepted["type"], &accepted["duplicate"]), (&json!("accepted"), &json!(false)), "{accepted}");
    mallory.answer(&message).await;
}

#[tokio::test]
async fn another_users_ids_in_a_request_are_answered_word_for_word_like_ids_of_nothing() {
    let stack = Stack::quick().await;
    let mut alice = Client::connect(&stack, "alice").await;
    let conversation = alice.rest.new_conversation().await;
    let (_, reply) = alice.ask(&conversation, "mine").await;
    let message = reply["id"].as_str().expect("an id").to_owned();
    let key = Upload::done(&alice.rest, "image/png", &fixture("picture.png")).await;
    let mallory = stack.rest("mallory").await;
    let own = mallory.new_conversation().await;
    let (nowhere, nothing, no_key) = (new_id(), new_id(), format!("{}.png", new_id()));
    for (theirs, none) in [
        (format!("/api/conversations/{conversation}"), format!("/api/conversations/{nowhere}")),
        (format!("/api/conversations/{conversation}/messages"), format!("/api/conversations/{nowhere}/messages")),
        (
            format!("/api/conversations/{conversation}/messages/{message}"),
            format!("/api/conversations/{nowhere}/messages/{nothing}"),
        ),
        (
            format!("/api/conversations/{own}/messages/{message}"),
            format!("/api/conversations/{own}/messages/{nothing}"),
        ),
        (
            format!("/api/conversations/{own}/messages?after={message}"),
            format!("/api/conversations/{own}/messages?after={nothing}"),
        ),
        (format!("/api/media/{key}"), format!("/api/media/{no_key}")),
    ] {
        let answers = [mallory.get(&theirs).await.expect_problem(404), mallory.get(&none).await.expect_problem(404)];
        assert_eq!(answers[0], answers[1], "{theirs}");
    }
    for path in ["/api/admin/clients", "/api/admin/users", "/api/admin/nothing"] {
        mallory.get(path).await.expect_problem(403);
    }
    let alices = alice.rest.get("/api/me").await.expect(200)["id"].as_str().expect("an id").to_owned();
    for user in [alices.as_str(), "nobody"] {
        mallory.delete(&format!("/api/admin/clients/{user}")).await.expect_problem(403);
    }
    alice.receives_nothing(Duration::from_millis(300)).await;
    assert_eq!(alice.ask(&conversation, "still mine").await.0, "response for still mine");
}

/// A cursor is not secret, so its owner can write a different one.
#[tokio::test]
async fn a_cursor_that_its_owner_has_changed_leads_nowhere_else_and_breaks_nothing() {
    let stack = Stack::quick().await;
    let mut alice = Client::connect(&stack, "alice").await;
    let mut talks = Vec::new();
    for _ in 0..3 {
        let talk = alice.rest.new_conversation().await;
        alice.ask(&talk, "hello").await;
        talks.push(talk);
    }
    stack.rest("bob").await.get("/api/me").await.expect(200);
    let admin = stack.admin().await;
    admin.get("/api/me").await.expect(200);
    for (rest, path) in [
        (&alice.rest, "/api/conversations".to_owned()),
        (&alice.rest, format!("/api/conversations/{}/messages", talks[0])),
        (&admin, "/api/admin/users".to_owned()),
    ] {
        let page = rest.get(&format!("{path}?limit=1")).await.expect(200);
        let cursor = URL_SAFE_NO_PAD.decode(page["nextCursor"].as_str().expect("a cursor")).expect("base64");
        let cursor: Value = serde_json::from_slice(&cursor).expect("JSON");
        let names: Vec<String> = cursor["at"].as_object().expect("a position").keys().cloned().collect();
        let values = [
            json!(""),
            json!("\u{0}"),
            json!("x".repeat(5000)),
            json!(0),
            json!(-1),
            json!(u64::MAX),
            json!(i64::MIN),
            json!(1e300),
            json!(null),
            json!([]),
            json!("asc"),
            json!(talks[1]),
        ];
        for (name, value) in names.iter().flat_map(|name| values.iter().map(move |value| (name, value))) {
            let mut changed = cursor.clone();
            changed["at"][name] = value.clone();
            let written = URL_SAFE_NO_PAD.encode(changed.to_string());
            let answer = rest.get(&format!("{path}?cursor={written}")).await;
            assert!([200, 400].contains(&answer.status), "{path} {changed}: {answer:?}");
        }
        for written in ["A".repeat(30_000), URL_SAFE_NO_PAD.encode("[".repeat(20_000)), "%ff".to_owned()] {
            rest.get(&format!("{path}?cursor={written}")).await.expect_problem(400);
        }
    }
}
