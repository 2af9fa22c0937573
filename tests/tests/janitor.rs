//! What the schedule does: it runs once a minute, so this takes one.

use futures_util::future::join;
use serde_json::json;
use tests::{Client, StackOptions, new_id};

#[tokio::test]
async fn who_has_lost_a_place_is_told_why_before_the_socket_is_closed() {
    let stack = StackOptions::default()
        .param("MockLatencyMs", 0)
        .param("FirstMessageSeconds", 2)
        .param("LeaseSeconds", 2)
        .start()
        .await;
    let mut silent = Client::connect(&stack, "silent").await;
    let mut spoken = Client::connect(&stack, "spoken").await;
    spoken.ask(&new_id(), "hello, and good-bye").await;
    let (of_silent, of_spoken) = join(silent.receive(), spoken.receive()).await;
    for (frame, code) in [(of_silent, "first_message"), (of_spoken, "lease_expired")] {
        assert_eq!((&frame["type"], &frame["code"]), (&json!("closing"), &json!(code)), "{frame}");
    }
    for client in [&mut silent, &mut spoken] {
        assert_eq!(client.receive_or_close().await.expect_err("closed").map(|(code, _)| code), Some(1000));
    }
}
