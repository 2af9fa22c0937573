//! A worker looks for its user once. The transaction that ends the message finds out whether the user is still there.

use std::collections::HashMap;

use serde_json::json;

use super::Scene;
use crate::leases::Handshake;
use crate::messages::{Claimed, Ending, Status};
use crate::testing::endpoint::says;
use crate::testing::{connection, user};

async fn move_to(scene: &Scene, name: &str) {
    let leases = &scene.answerer.leases;
    leases.connect(&user("u"), &connection(name), &Handshake::taking_over(name)).await.expect("the place");
}

fn kinds(scene: &Scene, name: &str) -> Vec<String> {
    let frames = scene.connections.told(&connection(name));
    frames.iter().map(|frame| frame["type"].as_str().expect("a type").to_owned()).collect()
}

/// The calls of the worker since `before`, but for the sign of life that a worker gives now and then.
fn calls_since(scene: &Scene, before: &HashMap<String, u64>) -> Vec<(String, u64)> {
    let calls = scene.stack.calls("worker").into_iter().map(|(call, count)| {
        let before = before.get(&call).copied().unwrap_or(0);
        (call, count - before)
    });
    let mut calls: Vec<_> = calls.filter(|(call, count)| *count > 0 && call != "PutItem").collect();
    calls.sort();
    calls
}

#[tokio::test]
async fn an_answer_to_a_connected_user_takes_five_calls_to_the_tables() {
    let scene = Scene::new(vec![says(&["good"])]).await;
    scene.say(1).await;
    let before = scene.stack.calls("worker");
    scene.work().await;
    assert_eq!(kinds(&scene, "c"), ["delta", "reply"]);
    // The updates claim the message and note that its end was told.
    let expected = [("GetItem", 1), ("Query", 1), ("TransactWriteItems", 1), ("UpdateItem", 2)];
    assert_eq!(calls_since(&scene, &before), expected.map(|(call, count)| (call.to_owned(), count)));
}

#[tokio::test]
async fn an_end_proves_where_its_user_is_and_gives_no_connection_that_is_not_the_present_one() {
    let scene = Scene::new(vec![]).await;
    let messages = &scene.answerer.messages;
    for (number, expected, proved) in [(1, "c", Some("c")), (2, "d", None)] {
        let message = scene.say(number).await;
        let Claimed::Yes(claim) = messages.claim(&message).await.expect("an answer") else { panic!("it is free") };
        let ended = messages.end_at(claim, Ending::text("good"), None, message.seq, Some(connection(expected))).await;
        let ended = ended.expect("an answer").expect("its claim");
        assert_eq!((ended.at, ended.message.status), (proved.map(connection), Status::Done), "{expected}");
        assert!(scene.stack.snapshot().users["u"].pending.is_empty(), "{expected}");
    }
    // A lease that is over proves nothing.
    let message = scene.say(3).await;
    let Claimed::Yes(claim) = messages.claim(&message).await.expect("an answer") else { panic!("it is free") };
    assert!(scene.answerer.leases.release(&user("u"), &connection("c")).await.expect("an answer"));
    let ended = messages.end_at(claim, Ending::text("good"), None, message.seq, Some(connection("c"))).await;
    assert_eq!(ended.expect("an answer").expect("its claim").at, None);
}

#[tokio::test]
async fn an_answer_is_told_at_the_connection_to_which_its_user_has_moved() {
    let scene = Scene::new(vec![says(&["good"])]).await;
    scene.say(1).await;
    move_to(&scene, "d").await;
    scene.connections.hang_up(&connection("c"));
    scene.work().await;
    assert_eq!(kinds(&scene, "d"), ["delta", "reply"]);
    assert_eq!(scene.connections.told(&connection("d"))[0]["restart"], json!(null), "nothing was told before");
}

#[tokio::test]
async fn an_answer_to_a_user_who_has_left_is_in_the_history_and_owed_to_nobody() {
    let scene = Scene::new(vec![says(&["good"])]).await;
    let message = scene.say(1).await;
    assert!(scene.answerer.leases.release(&user("u"), &connection("c")).await.expect("an answer"));
    scene.connections.hang_up(&connection("c"));
    scene.work().await;
    assert_eq!(scene.message(&message.id).await.status, Status::Done);
    let user = &scene.stack.snapshot().users["u"];
    assert!(user.pending.is_empty() && user.untold.is_empty(), "{user:?}");
}

#[tokio::test]
async fn an_answer_ends_even_if_nothing_is_left_of_its_user() {
    let scene = Scene::new(vec![says(&["good"])]).await;
    let message = scene.say(1).await;
    scene.stack.forget_user("u");
    scene.work().await;
    assert_eq!(scene.message(&message.id).await.status, Status::Done);
}
