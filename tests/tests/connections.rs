//! Places, sessions and heartbeats decide which clients are connected.

use e2e::{Client, Stack, StackOptions, new_id};
use serde_json::json;

#[tokio::test]
async fn a_heartbeat_tells_when_the_lease_ends_and_renews_it_once_the_client_has_spoken() {
    let stack = StackOptions::default()
        .param("MockLatencyMs", 0)
        .param("LeaseSeconds", 300)
        .param("FirstMessageSeconds", 30)
        .start()
        .await;
    let mut client = Client::connect(&stack, "alice").await;
    let mut heartbeat = async || {
        client.send(&json!({ "action": "heartbeat" })).await;
        let frame = client.receive_type("heartbeat").await;
        frame["leaseExpiresAt"].as_str().expect("a time").to_owned()
    };
    let (first, second) = (heartbeat().await, heartbeat().await);
    assert_eq!(first, second, "silence is not rewarded");
    client.ask_afresh("hello").await;
    client.send(&json!({ "action": "heartbeat" })).await;
    let renewed = client.receive_type("heartbeat").await;
    // All times have one form of RFC 3339, so the order of texts is the order of times.
    assert!(renewed["leaseExpiresAt"].as_str() > Some(&first), "{renewed} after {first}");
}

#[tokio::test]
async fn a_place_is_free_again_when_its_client_has_left() {
    let stack = StackOptions::default().param("MaxClients", 1).param("MockLatencyMs", 0).start().await;
    let first = Client::connect(&stack, "alice").await;
    assert_eq!(Client::try_connect(&stack, "bob", None).await.err().map(|status| status.as_u16()), Some(503));
    first.close().await;
    stack.until("free", |state| state["leases"].as_array().is_some_and(Vec::is_empty)).await;
    let mut second = Client::connect(&stack, "bob").await;
    let (streamed, _) = second.ask_afresh("my turn").await;
    assert_eq!(streamed, "response for my turn");
}

#[tokio::test]
async fn a_session_takes_its_own_place_back_and_the_old_socket_is_told() {
    let stack = StackOptions::default().param("MaxClients", 1).param("MockLatencyMs", 0).start().await;
    let mut old = Client::connect_with_session(&stack, "alice", "laptop").await;
    old.ask_afresh("before").await;
    let mut new = Client::connect_with_session(&stack, "alice", "laptop").await;
    let closing = old.receive().await;
    assert_eq!((&closing["type"], &closing["code"]), (&json!("closing"), &json!("replaced")), "{closing}");
    assert_eq!(old.receive_or_close().await.expect_err("closed").map(|(code, _)| code), Some(1000));
    // The old connection's $disconnect comes after all this and changes nothing.
    stack.until("one connection", |state| state["connections"] == 1).await;
    let (streamed, _) = new.ask_afresh("after").await;
    assert_eq!(streamed, "response for after");
    let state = stack.state().await;
    assert_eq!(state["leases"].as_array().map(Vec::len), Some(1), "{state:#}");
}

#[tokio::test]
async fn another_window_takes_the_place_over_and_the_first_is_told() {
    let stack = StackOptions::default().param("MaxClients", 1).param("MockLatencyMs", 0).start().await;
    // With `takeover`, a user without a place connects or is refused as always.
    let mut first = Client::take_over(&stack, "alice", "one").await.expect("a free place");
    let full = Client::take_over(&stack, "bob", "one").await;
    assert_eq!(full.err().map(|status| status.as_u16()), Some(503));
    first.ask_afresh("before").await;
    let mut second = Client::take_over(&stack, "alice", "two").await.expect("the user's own place");
    let closing = first.receive().await;
    assert_eq!((&closing["type"], &closing["code"]), (&json!("closing"), &json!("replaced")), "{closing}");
    assert_eq!(closing["message"], "You continued in another window");
    assert_eq!(first.receive_or_close().await.expect_err("closed").map(|(code, _)| code), Some(1000));
    assert_eq!(second.ask_afresh("after").await.0, "response for after");
    // From now on the place belongs to the second session. It comes back without asking, and the first does not.
    let refused = Client::try_connect(&stack, "alice", Some("one")).await;
    assert_eq!(refused.err().map(|status| status.as_u16()), Some(409));
    let mut back = Client::connect_with_session(&stack, "alice", "two").await;
    assert_eq!(second.receive().await["code"], "replaced");
    // A window that names no session can take the place too. Nobody can take it back without asking.
    let mut nameless = Client::with_query(&stack, "alice", "?takeover=true").await.expect("the user's own place");
    assert_eq!(back.receive().await["code"], "replaced");
    let refused = Client::try_connect(&stack, "alice", Some("two")).await;
    assert_eq!(refused.err().map(|status| status.as_u16()), Some(409));
    assert_eq!(nameless.ask_afresh("again").await.0, "response for again");
    let state = stack.until("one connection", |state| state["connections"] == 1).await;
    assert_eq!(state["leases"].as_array().map(Vec::len), Some(1), "{state:#}");
}

#[tokio::test]
async fn an_answer_reaches_its_user_on_the_connection_they_have_now() {
    let stack = StackOptions::default().param("MockLatencyMs", 0).start().await;
    let mut old = Client::connect_with_session(&stack, "alice", "phone").await;
    let id = new_id();
    let conversation = old.rest.new_conversation().await;
    old.send_message(&id, &conversation, "!slow 1500").await;
    old.receive_type("accepted").await;
    let mut new = Client::connect_with_session(&stack, "alice", "phone").await;
    let (streamed, reply) = new.answer(&id).await;
    assert_eq!(streamed, "response for !slow 1500");
    assert_eq!(reply["type"], "reply");
}

#[tokio::test]
async fn a_silent_client_loses_its_place_and_its_messages_are_refused() {
    let stack = StackOptions::default()
        .param("MockLatencyMs", 0)
        .param("MaxClients", 1)
        .param("FirstMessageSeconds", 1)
        .start()
        .await;
    let mut silent = Client::connect(&stack, "alice").await;
    stack.until("over", |state| state["leases"].as_array().is_some_and(Vec::is_empty)).await;
    let mut next = Client::connect(&stack, "bob").await;
    let (streamed, _) = next.ask_afresh("thank you").await;
    assert_eq!(streamed, "response for thank you");

    let id = new_id();
    let conversation = silent.rest.new_conversation().await;
    silent.send_message(&id, &conversation, "too late").await;
    let error = silent.receive().await;
    assert_eq!((&error["code"], &error["id"]), (&json!("lease_expired"), &json!(id)), "{error}");
    silent.send(&json!({ "action": "heartbeat" })).await;
    assert_eq!(silent.receive().await["code"], "lease_expired");
    silent.send(&json!({ "action": "cancel", "id": id })).await;
    let error = silent.receive().await;
    assert_eq!((&error["code"], &error["id"]), (&json!("lease_expired"), &json!(id)), "{error}");
}

#[tokio::test]
async fn no_more_than_the_allowed_messages_of_a_client_wait() {
    let stack = StackOptions::default().param("MaxPendingPerClient", 3).start().await;
    let mut client = Client::connect(&stack, "alice").await;
    let conversation = client.rest.new_conversation().await;
    let ids: Vec<String> = (0..4).map(|_| new_id()).collect();
    for id in &ids {
        client.send_message(id, &conversation, "!slow 700").await;
    }
    for id in &ids[..3] {
        let accepted = client.receive().await;
        assert_eq!((&accepted["type"], &accepted["id"]), (&json!("accepted"), &json!(id)), "{accepted}");
    }
    let error = client.receive().await;
    assert_eq!((&error["code"], &error["id"]), (&json!("too_many_pending"), &json!(ids[3])), "{error}");
    assert!(error["retryAfterMs"].as_u64().is_some_and(|ms| ms > 0), "{error}");

    // A repetition of a waiting message does not count again.
    client.send_message(&ids[0], &conversation, "!slow 700").await;
    assert_eq!(client.receive().await["duplicate"], true);
    // An answer makes room at once.
    client.receive_type("reply").await;
    client.send_message(&ids[3], &conversation, "now").await;
    let accepted = client.receive_type("accepted").await;
    assert_eq!((&accepted["id"], &accepted["duplicate"]), (&json!(ids[3]), &json!(false)));
    for id in &ids[1..] {
        let reply = client.receive_type("reply").await;
        assert_eq!(reply["id"], json!(id));
    }
}

#[tokio::test]
async fn the_state_shows_what_is_going_on() {
    let stack = Stack::quick().await;
    stack.alone();
    let mut client = Client::connect(&stack, "alice").await;
    client.ask_afresh("hello").await;
    let state = stack.state().await;
    assert_eq!(state["capacity"], 50);
    assert_eq!(state["connections"], 1);
    let lease = &state["leases"][0];
    for field in ["userId", "connectionId", "expiresAt"] {
        assert!(lease[field].is_string(), "{field}: {state:#}");
    }
    assert!(lease["slot"].is_u64(), "{state:#}");
    assert_eq!(state["inFlight"]["worker"]["limit"], 500);
    assert_eq!(state["inFlight"]["worker"]["max"], 1);
    for function in ["authorizer", "connect", "send_message", "worker"] {
        let shown = &state["functions"][function];
        assert_eq!((&shown["invocations"], &shown["errors"], &shown["coldStarts"]), (&json!(1), &json!(0), &json!(1)));
        assert_eq!(shown["pids"].as_array().map(Vec::len), Some(1));
    }
    let queues = state["queues"].as_object().expect("queues");
    let (name, queue) = queues.iter().find(|(name, _)| name.ends_with("messages.fifo")).expect("the queue");
    for count in ["visible", "inFlight", "deadLettered"] {
        assert!(queue[count].is_u64(), "{name}: {state:#}");
    }
}
