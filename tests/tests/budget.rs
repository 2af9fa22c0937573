//! What a message costs in calls to services and in units of tables, over all functions. Calls are what a deployed
//! stack is billed for, and on AWS each takes milliseconds.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use e2e::{Client, Stack, StackOptions};
use serde_json::Value;

/// The calls so far, as `FUNCTION OPERATION`. The worker's last call comes after the reply.
async fn calls(stack: &Stack) -> BTreeMap<String, u64> {
    let state = stack.until("the worker is at rest", |state| state["inFlight"]["worker"]["now"] == 0).await;
    let mut calls = BTreeMap::new();
    for (function, services) in state["bill"]["calls"].as_object().into_iter().flatten() {
        for operations in
            services.as_object().into_iter().flatten().filter_map(|(_, operations)| operations.as_object())
        {
            for (operation, count) in operations {
                calls.insert(format!("{function} {operation}"), count.as_u64().unwrap_or(0));
            }
        }
    }
    calls
}

/// Calls that are made from time to time, whether or not there is a message, begin like this.
const SILENT: [&str; 2] = ["janitor ", "worker PutItem"];

/// The calls since `before`.
async fn calls_since(stack: &Stack, before: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let new = calls(stack).await.into_iter().map(|(call, count)| {
        let new = count - before.get(&call).copied().unwrap_or(0);
        (call, new)
    });
    new.filter(|(call, count)| *count > 0 && !SILENT.iter().any(|silent| call.starts_with(silent))).collect()
}

/// The write and read units of tables so far, of the functions on the way of a message.
async fn units(stack: &Stack) -> (f64, f64) {
    let state = stack.until("the worker is at rest", |state| state["inFlight"]["worker"]["now"] == 0).await;
    let of = |function: &str, units: &str| state["bill"]["capacity"][function][units].as_f64().unwrap_or(0.0);
    let all = |units: &str| of("send_message", units) + of("worker", units);
    (all("writeUnits"), all("readUnits"))
}

fn expected(calls: &[(&str, u64)]) -> BTreeMap<String, u64> {
    calls.iter().map(|(call, count)| ((*call).to_owned(), *count)).collect()
}

#[tokio::test]
async fn a_message_takes_twelve_calls_and_22_write_units_and_a_heartbeat_one_call() {
    let stack = StackOptions::default().param("MockLatencyMs", 0).start().await;
    stack.alone();
    let mut client = Client::connect(&stack, "alice").await;
    let conversation = client.rest.new_conversation().await;
    client.ask(&conversation, "warm").await;

    let before = calls(&stack).await;
    client.ask(&conversation, "hello").await;
    let mut made = calls_since(&stack, &before).await;
    // The first word, the other words, and the reply. On a busy machine the words may come in one frame.
    let posts = made.remove("worker PostToConnection");
    assert!(matches!(posts, Some(2 | 3)), "{posts:?}");
    let message = [
        ("send_message BatchGetItem", 1),
        ("send_message SendMessage", 1),
        ("send_message TransactWriteItems", 1),
        ("worker ChangeMessageVisibility", 1),
        ("worker GetItem", 1),
        ("worker Query", 1),
        ("worker TransactWriteItems", 1),
        ("worker UpdateItem", 2),
    ];
    assert_eq!(made, expected(&message));

    // The worker counts as alive in an item of its own, once in a while.
    let before = units(&stack).await;
    client.ask(&conversation, "hello").await;
    let after = units(&stack).await;
    let (written, read) = (after.0 - before.0, after.1 - before.1);
    // Admission: a transaction of five items, of which the conversation is also in an index. Claim and told: one each.
    // End: a transaction of four items.
    assert!((22.0..=23.0).contains(&written), "{written} write units");
    // Lease and conversation; the log's page; the user's connection.
    assert!((4.0..=5.0).contains(&read), "{read} read units");

    // The first heartbeat of a process learns the slot.
    for calls_of_heartbeat in
        [&[("heartbeat GetItem", 1), ("heartbeat TransactWriteItems", 1)][..], &[("heartbeat TransactWriteItems", 1)]]
    {
        let before = calls(&stack).await;
        client.send(&serde_json::json!({ "action": "heartbeat" })).await;
        let answer: Value = client.receive().await;
        assert_eq!(answer["type"], "heartbeat", "{answer}");
        assert_eq!(calls_since(&stack, &before).await, expected(calls_of_heartbeat));
    }

    let before = calls(&stack).await;
    client.close().await;
    stack.until("its slot is free", |state| state["bill"]["calls"]["disconnect"]["dynamodb"]["DeleteItem"] == 1).await;
    assert_eq!(
        calls_since(&stack, &before).await,
        expected(&[("disconnect DeleteItem", 1), ("disconnect UpdateItem", 1)])
    );
}

#[tokio::test]
async fn calls_that_take_as_long_as_on_aws_change_no_answer() {
    let stack = StackOptions::default().param("MockLatencyMs", 0).arg("--latency").arg("aws").start().await;
    let mut client = Client::connect(&stack, "alice").await;
    let conversation = client.rest.new_conversation().await;
    client.ask(&conversation, "warm").await;
    let began = Instant::now();
    let (streamed, reply) = client.ask(&conversation, "hello").await;
    // A read, a transaction, the queue; a query and a claim; a delta, a transaction and the reply.
    let least = Duration::from_millis(3 + 9 + 8 + 3 + 5 + 8 + 9 + 8);
    assert!(began.elapsed() >= least, "{:?}", began.elapsed());
    assert_eq!((streamed.as_str(), &reply["replies"][0]["text"]), ("response for hello", &"response for hello".into()));
    client.close().await;
}
