//! A user changes connections in the middle of an answer. Each connection is told one whole text, and nothing twice.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::super::writer::{AGAIN, MAX_DELTA_BYTES};
use super::Scene;
use crate::leases::Handshake;
use crate::testing::endpoint::{Step, delta, done, finish, stream_head};
use crate::testing::{connection, user};

/// The parts that a test lets the model say, with a silence before each.
struct Talk {
    scene: Scene,
    go_on: Vec<Arc<Notify>>,
}

impl Talk {
    async fn of(parts: &[&str]) -> Self {
        let go_on: Vec<_> = parts.iter().map(|_| Arc::new(Notify::new())).collect();
        let mut script = vec![stream_head()];
        for (part, signal) in parts.iter().zip(&go_on) {
            script.extend([Step::Await(Arc::clone(signal)), delta(part)]);
        }
        script.extend([finish(), done()]);
        let scene = Scene::new(vec![script]).await;
        scene.say(1).await;
        Self { scene, go_on }
    }

    fn say(&self, part: usize) {
        self.go_on[part].notify_one();
    }

    /// Waits until a connection has been told this text.
    async fn until_heard(&self, name: &str, text: &str) {
        self.scene.connections.until(|_| self.heard(name) == text).await;
    }

    fn heard(&self, name: &str) -> String {
        heard(&self.frames(name))
    }

    fn frames(&self, name: &str) -> Vec<Value> {
        self.scene.connections.told(&connection(name))
    }

    /// Gives the place to another connection.
    async fn move_to(&self, name: &str) {
        let leases = &self.scene.answerer.leases;
        leases.connect(&user("u"), &connection(name), &Handshake::taking_over(name)).await.expect("the place");
    }

    async fn leave(&self, name: &str) {
        let leases = &self.scene.answerer.leases;
        assert!(leases.release(&user("u"), &connection(name)).await.expect("an answer"));
        self.scene.connections.hang_up(&connection(name));
    }
}

/// The text of a connection's deltas, put together as a client does it.
fn heard(frames: &[Value]) -> String {
    let (mut text, mut next) = (String::new(), None);
    for frame in frames.iter().filter(|frame| frame["type"] == "delta") {
        let seq = frame["seq"].as_u64().expect("a number");
        if frame["restart"] == true {
            text.clear();
        } else if next.is_some_and(|next| seq < next) {
            continue; // it came twice
        } else {
            assert_eq!(seq, next.unwrap_or(0), "a gap: {frame}");
        }
        assert!(frame["restart"].is_null() || frame["restart"] == true, "{frame}");
        text.push_str(frame["text"].as_str().expect("a text"));
        next = Some(seq + 1);
    }
    text
}

/// Number, text and `restart` of each delta.
fn deltas(frames: &[Value]) -> Vec<(u64, &str, bool)> {
    let deltas = frames.iter().filter(|frame| frame["type"] == "delta");
    deltas
        .map(|frame| {
            (frame["seq"].as_u64().expect("seq"), frame["text"].as_str().expect("text"), frame["restart"] == true)
        })
        .collect()
}

#[tokio::test]
async fn another_connection_is_told_all_so_far_at_once_while_the_model_is_silent() {
    let talk = Talk::of(&["one ", "two ", "three"]).await;
    let changes = async {
        talk.say(0);
        talk.until_heard("c", "one ").await;
        talk.move_to("d").await;
        let began = Instant::now();
        talk.until_heard("d", "one ").await;
        assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
        talk.say(1);
        talk.until_heard("d", "one two ").await;
        talk.say(2);
    };
    tokio::join!(talk.scene.work(), changes);
    assert_eq!(deltas(&talk.frames("c")), [(0, "one ", false)]);
    let frames = talk.frames("d");
    assert_eq!(deltas(&frames), [(1, "one ", true), (2, "two ", false), (3, "three", false)]);
    assert_eq!(frames.last().expect("a reply")["replies"][0]["text"], "one two three");
}

#[tokio::test]
async fn a_page_that_reloads_again_and_again_is_told_all_of_it_each_time() {
    let talk = Talk::of(&["a", "b", "c", "d", "e"]).await;
    let changes = async {
        let (mut at, mut whole) = ("c".to_owned(), String::new());
        for (number, part) in ["a", "b", "c", "d", "e"].into_iter().enumerate() {
            talk.say(number);
            whole.push_str(part);
            if number == 4 {
                break;
            }
            talk.until_heard(&at, &whole).await;
            let old = std::mem::replace(&mut at, format!("d{number}"));
            // Sometimes the page closes its old line first. Otherwise the takeover closes it.
            if number % 2 == 0 {
                talk.scene.connections.hang_up(&connection(&old));
            }
            talk.move_to(&at).await;
            talk.scene.connections.hang_up(&connection(&old));
        }
    };
    tokio::join!(talk.scene.work(), changes);
    let mut next = 0;
    for (name, whole) in [("c", "a"), ("d0", "ab"), ("d1", "abc"), ("d2", "abcd"), ("d3", "abcde")] {
        let frames = talk.frames(name);
        assert_eq!(heard(&frames), whole, "{name}: {frames:?}");
        // All connections share one numbering.
        for (seq, _, _) in deltas(&frames) {
            assert_eq!(seq, next, "{name}: {frames:?}");
            next += 1;
        }
    }
}

#[tokio::test]
async fn a_connection_whose_handshake_is_pending_is_tried_until_it_is_open_and_not_more_often() {
    let talk = Talk::of(&["one ", "two"]).await;
    let (d, connections) = (connection("d"), &talk.scene.connections);
    let changes = async {
        talk.say(0);
        talk.until_heard("c", "one ").await;
        connections.keep_waiting(&d);
        talk.move_to("d").await;
        let began = Instant::now();
        connections.until(|connections| connections.tries(&d) == 4).await;
        assert!(began.elapsed() >= 3 * AGAIN, "four tries in {:?}", began.elapsed());
        assert_eq!(connections.told(&d), [json!(null); 0]);
        let opened = Instant::now();
        connections.open(&d);
        talk.until_heard("d", "one ").await;
        assert!(opened.elapsed() < Duration::from_millis(500), "{:?}", opened.elapsed());
        talk.say(1);
    };
    tokio::join!(talk.scene.work(), changes);
    assert_eq!(deltas(&talk.frames("d")), [(1, "one ", true), (2, "two", false)]);
}

#[tokio::test]
async fn a_user_who_connects_during_the_answer_is_told_all_of_it_without_a_restart() {
    let talk = Talk::of(&["one ", "two ", "three"]).await;
    talk.leave("c").await;
    let changes = async {
        talk.say(0);
        talk.say(1);
        // Nobody is told anything, so the test can wait only for the model's endpoint.
        tokio::time::sleep(2 * AGAIN).await;
        talk.move_to("d").await;
        talk.until_heard("d", "one two ").await;
        talk.say(2);
    };
    tokio::join!(talk.scene.work(), changes);
    assert_eq!(deltas(&talk.frames("d")), [(0, "one two ", false), (1, "three", false)]);
    assert!(talk.frames("c").is_empty());
}

#[tokio::test]
async fn a_user_who_vanishes_and_comes_back_is_told_all_of_it() {
    let talk = Talk::of(&["one ", "two ", "three"]).await;
    let changes = async {
        talk.say(0);
        talk.until_heard("c", "one ").await;
        talk.leave("c").await;
        talk.say(1);
        tokio::time::sleep(2 * AGAIN).await;
        talk.move_to("d").await;
        talk.until_heard("d", "one two ").await;
        talk.say(2);
    };
    tokio::join!(talk.scene.work(), changes);
    assert_eq!(deltas(&talk.frames("d")), [(1, "one two ", true), (2, "three", false)]);
    // It is tried no more often than it takes to see that the connection is gone.
    assert!(talk.scene.connections.tries(&connection("c")) <= 2);
}

#[tokio::test]
async fn a_long_text_begins_again_in_several_deltas_of_which_the_first_says_so() {
    let long = "\u{1}ä🙂".repeat(MAX_DELTA_BYTES / 2);
    let talk = Talk::of(&[&long, " the end"]).await;
    let changes = async {
        talk.say(0);
        talk.until_heard("c", &long).await;
        talk.move_to("d").await;
        talk.until_heard("d", &long).await;
        talk.say(1);
    };
    tokio::join!(talk.scene.work(), changes);
    let (before, frames) = (talk.frames("c"), talk.frames("d"));
    let restarts: Vec<bool> = deltas(&frames).into_iter().map(|(_, _, restart)| restart).collect();
    let parts = long.len().div_ceil(MAX_DELTA_BYTES);
    assert!((parts..=parts + 1).contains(&(restarts.len() - 1)), "{restarts:?}");
    assert_eq!(restarts.iter().position(|restart| *restart), Some(0));
    assert_eq!(restarts.iter().filter(|restart| **restart).count(), 1);
    assert_eq!(deltas(&frames)[0].0, deltas(&before).len() as u64);
    assert_eq!(heard(&frames), format!("{long} the end"));
}

#[tokio::test]
async fn a_delta_that_may_have_arrived_is_sent_again_as_it_was() {
    for arrives in [true, false] {
        let talk = Talk::of(&["one ", "two ", "three"]).await;
        let (c, connections) = (connection("c"), &talk.scene.connections);
        let changes = async {
            talk.say(0);
            talk.until_heard("c", "one ").await;
            connections.lose_answer(arrives);
            talk.say(1);
            connections.until(|connections| connections.tries(&c) == 2).await;
            // Later text is not part of that delta.
            talk.say(2);
            talk.until_heard("c", "one two three").await;
        };
        tokio::join!(talk.scene.work(), changes);
        let frames = talk.frames("c");
        let mut expected = vec![(0, "one ", false), (1, "two ", false), (2, "three", false)];
        if arrives {
            expected.insert(1, expected[1]);
        }
        assert_eq!(deltas(&frames), expected, "arrives: {arrives}");
    }
}

#[tokio::test]
async fn a_delta_that_may_have_arrived_stays_as_it_was_whatever_its_repetitions_meet() {
    let talk = Talk::of(&["one ", "two ", "three ", "four"]).await;
    let (c, connections) = (connection("c"), &talk.scene.connections);
    let changes = async {
        talk.say(0);
        talk.until_heard("c", "one ").await;
        connections.lose_answer(true);
        talk.say(1);
        connections.until(|connections| connections.tries(&c) == 2).await;
        // If the connection seems gone, more text comes in the meantime.
        connections.keep_waiting(&c);
        talk.say(2);
        connections.until(|connections| connections.tries(&c) == 5).await;
        connections.open(&c);
        talk.until_heard("c", "one two three ").await;
        talk.say(3);
    };
    tokio::join!(talk.scene.work(), changes);
    let (frames, twice) = (talk.frames("c"), (1, "two ", false));
    assert_eq!(deltas(&frames), [(0, "one ", false), twice, twice, (2, "three ", false), (3, "four", false)]);
}

#[tokio::test]
async fn a_delta_that_may_have_arrived_elsewhere_is_superseded_by_a_restart() {
    for arrives in [true, false] {
        let talk = Talk::of(&["one ", "two"]).await;
        let (c, connections) = (connection("c"), &talk.scene.connections);
        let changes = async {
            connections.lose_answer(arrives);
            talk.say(0);
            connections.until(|connections| connections.tries(&c) == 1).await;
            talk.move_to("d").await;
            talk.until_heard("d", "one ").await;
            talk.say(1);
        };
        tokio::join!(talk.scene.work(), changes);
        assert_eq!(deltas(&talk.frames("d")), [(0, "one ", true), (1, "two", false)], "arrives: {arrives}");
        assert_eq!(deltas(&talk.frames("c")).len(), usize::from(arrives));
    }
}

#[tokio::test]
async fn a_repeated_attempt_streams_nothing() {
    let talk = Talk::of(&["one ", "two"]).await;
    let messages = &talk.scene.answerer.messages;
    let message = messages.find(&user("u"), &crate::testing::message_id(1)).await.expect("a read").expect("a message");
    // A worker began and died.
    messages.claim(&message).await.expect("a claim");
    talk.say(0);
    talk.say(1);
    talk.scene.work().await;
    let [reply] = &talk.frames("c")[..] else { panic!("{:?}", talk.frames("c")) };
    assert_eq!((&reply["type"], &reply["replies"][0]["text"]), (&json!("reply"), &json!("one two")));
}

#[tokio::test]
async fn an_end_that_meets_a_pending_handshake_is_told_when_it_is_open() {
    let talk = Talk::of(&["all of it"]).await;
    let (d, connections) = (connection("d"), &talk.scene.connections);
    let changes = async {
        connections.keep_waiting(&d);
        connections.hang_up(&connection("c"));
        talk.move_to("d").await;
        talk.say(0);
        // The delta is given up when the answer ends. The end is not.
        connections.until(|connections| connections.tries(&d) == 3).await;
        connections.open(&d);
    };
    tokio::join!(talk.scene.work(), changes);
    assert_eq!(talk.frames("d").last().expect("a frame")["replies"][0]["text"], "all of it");
}

#[tokio::test]
async fn an_end_that_finds_its_user_gone_is_owed_and_its_conversation_goes_on() {
    let talk = Talk::of(&["all of it"]).await;
    // The line is broken, and nobody has noticed.
    talk.scene.connections.hang_up(&connection("c"));
    talk.say(0);
    talk.scene.work().await;
    let message = talk.scene.message(&crate::testing::message_id(1)).await;
    assert!(message.status.is_final() && !message.told, "{message:?}");
    let user = &talk.scene.stack.snapshot().users["u"];
    assert!(user.pending.is_empty() && user.untold.contains_key(&message.id.key()), "{user:?}");
    assert!(talk.scene.stack.receive().await.is_empty(), "the job is done");
    assert!(talk.frames("c").is_empty());
}
