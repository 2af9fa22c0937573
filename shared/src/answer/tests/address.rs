//! A worker takes the connection that sent a message for the user's present one, and looks for another only when a call
//! says that this is wrong.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::json;

use super::Scene;
use crate::leases::Handshake;
use crate::messages::Status;
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
async fn an_answer_to_a_connected_user_takes_four_calls_to_the_tables() {
    let scene = Scene::new(vec![says(&["good"])]).await;
    scene.say(1).await;
    let before = scene.stack.calls("worker");
    scene.work().await;
    assert_eq!(kinds(&scene, "c"), ["delta", "reply"]);
    // The updates claim the message and note that its end was told.
    let expected = [("Query", 1), ("TransactWriteItems", 1), ("UpdateItem", 2)];
    assert_eq!(calls_since(&scene, &before), expected.map(|(call, count)| (call.to_owned(), count)));
}

#[tokio::test]
async fn the_end_is_told_where_the_user_is_even_if_the_old_connection_still_takes_frames() {
    let scene = Scene::new(vec![says(&["good"])]).await;
    let message = scene.say(1).await;
    move_to(&scene, "d").await;
    scene.work().await;
    assert_eq!(kinds(&scene, "c"), ["delta"], "nobody has told the worker");
    assert_eq!(kinds(&scene, "d"), ["reply"], "the end's own transaction has");
    assert_eq!(scene.message(&message.id).await.status, Status::Done);
}

#[tokio::test]
async fn an_answer_goes_on_at_the_new_connection_when_the_old_one_is_gone() {
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

#[tokio::test]
async fn a_user_whose_message_has_waited_is_looked_for() {
    let scene = Scene::new(vec![says(&["good"])]).await;
    scene.say(1).await;
    scene.stack.clock.advance(Duration::from_secs(10));
    move_to(&scene, "d").await;
    scene.work().await;
    assert_eq!((kinds(&scene, "c"), kinds(&scene, "d")), (vec![], vec!["delta".to_owned(), "reply".to_owned()]));
}
