//! The janitor on its real schedule. It runs once a minute, so this test takes a minute.

use e2e::{Client, StackOptions};
use futures_util::future::{join, join_all};
use serde_json::json;

#[tokio::test]
async fn a_client_that_has_lost_its_place_is_told_why_before_its_socket_is_closed() {
    let stack = StackOptions::default()
        .param("MockLatencyMs", 0)
        .param("FirstMessageSeconds", 2)
        .param("LeaseSeconds", 2)
        .start()
        .await;
    let mut silent = Client::connect(&stack, "silent").await;
    let mut spoken = Client::connect(&stack, "spoken").await;
    spoken.ask_afresh("hello, and good-bye").await;
    let (of_silent, of_spoken) = join(silent.receive(), spoken.receive()).await;
    for (frame, code) in [(of_silent, "first_message"), (of_spoken, "lease_expired")] {
        assert_eq!((&frame["type"], &frame["code"]), (&json!("closing"), &json!(code)), "{frame}");
    }
    for client in [&mut silent, &mut spoken] {
        assert_eq!(client.receive_or_close().await.expect_err("closed").map(|(code, _)| code), Some(1000));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_connects_many_times_at_once_keeps_one_open_socket() {
    // The connection that is left sends nothing, and must not lose its place for that before the others are closed.
    let stack = StackOptions::default().param("MockLatencyMs", 0).param("FirstMessageSeconds", 600).start().await;
    let connecting = (0..20).map(|_| Client::try_connect(&stack, "alice", Some("phone")));
    let clients: Vec<Client> = join_all(connecting).await.into_iter().map(|client| client.expect("let in")).collect();
    // Connections that were replaced before their own handshake was over could not be told at once.
    let kept = stack.state().await["leases"][0]["connectionId"].clone();
    stack.until("all others are closed", |state| state["connections"] == 1).await;
    let told = join_all(clients.into_iter().map(async |mut client| {
        client.try_send(&json!({ "action": "heartbeat" })).await;
        client.receive_or_close().await.map(|frame| frame["type"].as_str().map(str::to_owned))
    }));
    let survivors = told.await.iter().filter(|frame| matches!(frame, Ok(Some(kind)) if kind == "heartbeat")).count();
    assert_eq!((survivors, &stack.state().await["leases"][0]["connectionId"]), (1, &kept));
}
