//! An accepted message survives a stop, a crash of the stack, and the death of a worker.

use std::process::Command;
use std::time::{Duration, Instant};

use e2e::{Client, Stack, StackOptions, new_id};
use serde_json::json;

fn on(data: &tempfile::TempDir) -> StackOptions {
    StackOptions::default().data_dir(data.path()).param("MockLatencyMs", 0)
}

fn data_dir() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

#[tokio::test]
async fn a_stop_lets_running_answers_finish_and_frees_the_places() {
    let data = data_dir();
    let mut stack = on(&data).start().await;
    let port = stack.port();
    let mut client = Client::connect(&stack, "alice").await;
    let (id, conversation) = (new_id(), client.rest.new_conversation().await);
    client.send_message(&id, &conversation, "!slow 1500").await;
    client.receive_type("accepted").await;
    stack.until("at work", |state| state["inFlight"]["worker"]["now"] == 1).await;
    let stopping = tokio::task::spawn_blocking(move || (stack.stop(), stack));
    let reply = client.receive_type("reply").await;
    assert_eq!(reply["id"], id);
    let close = client.receive_or_close().await.expect_err("closed");
    assert_eq!(close, Some((1001, "Going away".to_owned())));
    let (code, stopped) = stopping.await.expect("it stops");
    assert_eq!(code, Some(0), "{}", stopped.log());

    let stack = on(&data).port(port).start().await;
    // Alice names no session and need not wait, because the stop gave her place back.
    let mut client = Client::connect(&stack, "alice").await;
    client.send_message(&id, &conversation, "!slow 1500").await;
    let accepted = client.receive().await;
    assert_eq!((&accepted["duplicate"], &accepted["message"]["status"]), (&json!(true), &json!("done")), "{accepted}");
    assert_eq!(client.receive_type("reply").await["replies"], reply["replies"]);
}

#[tokio::test]
async fn after_a_crash_accepted_messages_are_answered_and_sessions_come_back() {
    let data = data_dir();
    let stack = on(&data).param("LeaseSeconds", 5).start().await;
    let port = stack.port();
    let mut alice = Client::connect_with_session(&stack, "alice", "phone").await;
    let mut bob = Client::connect(&stack, "bob").await;
    let conversation = alice.rest.new_conversation().await;
    let ids: Vec<String> = (0..3).map(|_| new_id()).collect();
    for id in &ids {
        alice.send_message(id, &conversation, "!slow 800").await;
        assert_eq!(alice.receive_type("accepted").await["id"], json!(id));
    }
    bob.ask_afresh("hello").await;
    stack.kill();

    let stack = on(&data).param("LeaseSeconds", 5).port(port).start().await;
    let mut alice = Client::connect_with_session(&stack, "alice", "phone").await;
    // Bob has no session. His lease survived the crash and has to end first.
    let refused = Client::try_connect(&stack, "bob", None).await.err().map(|status| status.as_u16());
    assert_eq!(refused, Some(409));
    let mut answered = Vec::new();
    while answered.len() < ids.len() {
        // A client that waits for an answer stays connected with heartbeats.
        alice.send(&json!({ "action": "heartbeat" })).await;
        while let Some(frame) = alice.receive_within(Duration::from_secs(1)).await {
            match frame["type"].as_str() {
                Some("reply") => answered.push(frame["id"].clone()),
                Some("delta" | "heartbeat") => {}
                _ => panic!("{frame}"),
            }
        }
    }
    assert_eq!(answered, ids);
    stack.until("over", |state| state["leases"].as_array().is_some_and(|leases| leases.len() < 2)).await;
    let mut bob = Client::connect(&stack, "bob").await;
    let (streamed, _) = bob.ask_afresh("again").await;
    assert_eq!(streamed, "response for again");
}

#[tokio::test]
async fn a_workers_death_costs_no_message_and_makes_no_second_answer() {
    let stack = Stack::quick().await;
    stack.alone();
    let mut client = Client::connect(&stack, "alice").await;
    let (id, conversation) = (new_id(), client.rest.new_conversation().await);
    client.send_message(&id, &conversation, "!slow 1000").await;
    client.receive_type("accepted").await;
    stack.until("held", |state| state["bill"]["calls"]["worker"]["sqs"]["ChangeMessageVisibility"] == 1).await;
    let workers = stack.pids("worker").await;
    assert_eq!(workers.len(), 1, "{workers:?}");
    let killed = Command::new("kill").args(["-KILL", &workers[0].to_string()]).status();
    assert!(killed.is_ok_and(|status| status.success()));

    let (streamed, reply) = client.answer(&id).await;
    assert_eq!(reply["type"], "reply", "{reply}");
    assert_eq!(reply["replies"].as_array().map(Vec::len), Some(1));
    assert_eq!(reply["replies"][0]["text"], "response for !slow 1000");
    assert!(streamed.is_empty() || streamed == "response for !slow 1000", "{streamed}");
    assert!(stack.log().contains("worker"), "the death is in the log:\n{}", stack.log());
    let (streamed, _) = client.ask(&conversation, "well?").await;
    assert_eq!(streamed, "response for well?");
}

#[tokio::test]
async fn a_worker_that_dies_before_it_holds_its_message_costs_seconds_to_who_sends_heartbeats() {
    let stack = Stack::quick().await;
    let mut client = Client::connect(&stack, "alice").await;
    let conversation = client.rest.new_conversation().await;
    client.ask(&conversation, "one").await;
    let workers = stack.pids("worker").await;
    assert_eq!(workers.len(), 1, "{workers:?}");
    let signal = |signal: &str| {
        let sent = Command::new("kill").args([signal, &workers[0].to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()));
    };
    // The process gets the message and never reads it.
    signal("-STOP");
    let id = new_id();
    client.send_message(&id, &conversation, "two").await;
    let began = Instant::now();
    stack.until("delivered", |state| state["inFlight"]["worker"]["now"] == 1).await;
    signal("-KILL");
    let reply = loop {
        client.send(&json!({ "action": "heartbeat" })).await;
        let wait = Instant::now() + Duration::from_secs(2);
        let mut reply = None;
        while reply.is_none() && Instant::now() < wait {
            let frame = client.receive_within(Duration::from_secs(1)).await;
            reply = frame.filter(|frame| frame["type"] == "reply");
        }
        if let Some(reply) = reply {
            break reply;
        }
        assert!(began.elapsed() < Duration::from_secs(40), "nobody looks after it\n{}", stack.log());
    };
    assert_eq!((&reply["id"], &reply["replies"][0]["text"]), (&json!(id), &json!("response for two")));
    println!("answered after {:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_killed_route_function_is_an_error_frame_and_the_next_message_works() {
    let stack = Stack::quick().await;
    let mut client = Client::connect(&stack, "alice").await;
    let conversation = client.rest.new_conversation().await;
    client.ask(&conversation, "one").await;
    for pid in stack.pids("send_message").await {
        let killed = Command::new("kill").args(["-KILL", &pid.to_string()]).status();
        assert!(killed.is_ok_and(|status| status.success()));
    }
    stack
        .until("noticed", |state| state["functions"]["send_message"]["pids"].as_array().is_some_and(Vec::is_empty))
        .await;
    let (streamed, _) = client.ask(&conversation, "two").await;
    assert_eq!(streamed, "response for two");
}
