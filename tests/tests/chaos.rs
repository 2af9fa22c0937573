//! Faults on demand: rules and seeds kill processes and let calls fail, and the stack's promises hold.

use e2e::{Client, Stack, StackOptions, new_id};
use serde_json::{Value, json};

async fn add_rule(stack: &Stack, rule: Value) {
    let answer = stack.post("/_local/chaos/rules", &rule.to_string()).await;
    assert_eq!(answer.status(), 201, "{rule}");
}

async fn chaos(stack: &Stack) -> Value {
    stack.get("/_local/chaos").await.json().await.expect("JSON")
}

async fn calls(stack: &Stack, function: &str, event: &str) -> Vec<String> {
    let path = format!("/_local/chaos/calls?function={function}&event={event}");
    let calls: Value = stack.get(&path).await.json().await.expect("JSON");
    let name = |call: &Value| format!("{} {}", call["service"], call["operation"]).replace('"', "");
    calls.as_array().expect("a list").iter().map(name).collect()
}

#[tokio::test]
async fn a_rule_kills_the_process_at_the_call_that_it_names() {
    let stack = Stack::quick().await;
    stack.alone();
    let mut client = Client::connect(&stack, "alice").await;
    let (killed, conversation) = (new_id(), client.rest.new_conversation().await);
    for fault in ["kill_before", "kill_after"] {
        let id = new_id();
        add_rule(&stack, json!({ "function": "worker", "event": id, "call": 3, "fault": fault })).await;
        client.send_message(&id, &conversation, "hello").await;
        client.receive_type("accepted").await;
        let (_, reply) = client.answer(&id).await;
        assert_eq!(reply["replies"][0]["text"], "response for hello", "{fault}: {reply}");
    }
    assert_eq!(chaos(&stack).await["faults"], json!({ "kill_before": 1, "kill_after": 1 }));
    // The next message meets no fault, and its calls are known.
    client.send_message(&killed, &conversation, "again").await;
    client.receive_type("accepted").await;
    client.answer(&killed).await;
    let made = calls(&stack, "worker", &killed).await;
    assert!(made.contains(&"connections PostToConnection".to_owned()), "{made:?}");
    assert!(made.iter().any(|call| call.starts_with("dynamodb ")), "{made:?}");
    let log = stack.get("/_local/chaos/log").await.text().await.expect("a text");
    assert_eq!(log.lines().count(), 2, "{log}");
}

#[tokio::test]
async fn a_disconnect_that_never_comes_leaves_a_lease_that_ends_by_itself() {
    let stack = StackOptions::default().param("MockLatencyMs", 0).param("LeaseSeconds", 3).start().await;
    let mut client = Client::connect(&stack, "alice").await;
    client.ask_afresh("hello").await;
    add_rule(&stack, json!({ "function": "disconnect", "call": 1, "fault": "no_disconnect" })).await;
    client.close().await;
    stack.until("closed", |state| state["connections"] == 0).await;
    let refused = Client::try_connect(&stack, "alice", None).await.err().map(|status| status.as_u16());
    assert_eq!(refused, Some(409));
    stack.until("over", |state| state["leases"].as_array().is_some_and(Vec::is_empty)).await;
    Client::connect(&stack, "alice").await;
}

#[tokio::test]
async fn a_batch_that_is_delivered_again_makes_no_second_answer() {
    let stack = Stack::quick().await;
    stack.alone();
    let mut client = Client::connect(&stack, "alice").await;
    let conversation = client.rest.new_conversation().await;
    add_rule(&stack, json!({ "function": "worker", "call": 1, "fault": "redelivered" })).await;
    client.ask(&conversation, "hello").await;
    stack.until("delivered twice", |state| state["functions"]["worker"]["invocations"] == 2).await;
    stack.until("done", |state| state["inFlight"]["worker"]["now"] == 0).await;
    let history = client.rest.get(&format!("/api/conversations/{conversation}/messages")).await.expect(200);
    assert_eq!(history["items"].as_array().map(Vec::len), Some(2), "{history}");
}

#[tokio::test]
async fn a_seed_on_the_command_line_decides_from_the_start_until_it_is_ended() {
    let data = tempfile::tempdir().expect("a directory");
    let mut stack =
        StackOptions::default().param("MockLatencyMs", 0).arg("--chaos").arg("7").data_dir(data.path()).start().await;
    assert_eq!(chaos(&stack).await["seed"], 7);
    assert!(stack.log().contains("as seed 7 decides"), "{}", stack.log());
    let ended = reqwest::Client::new().delete(format!("{}/_local/chaos", stack.url)).send().await.expect("an answer");
    assert_eq!(ended.status(), 204);
    assert_eq!(chaos(&stack).await["seed"], Value::Null);
    add_rule(&stack, json!({ "function": "connect", "call": 1, "fault": "throttled" })).await;
    Client::connect(&stack, "alice").await.close().await;
    assert_eq!(stack.stop(), Some(0));
    let log = std::fs::read_to_string(data.path().join("chaos.jsonl")).expect("a log");
    assert!(log.lines().any(|line| line.contains("\"throttled\"")), "{log}");
}

#[tokio::test]
async fn a_request_for_faults_that_cannot_be_understood_says_why() {
    let stack = Stack::quick().await;
    stack.alone();
    let http = reqwest::Client::new();
    for (body, why) in [
        (r#"{"seed":1,"rate":2}"#, "from 0 to 1"),
        (r#"{"rate":0.5}"#, "need a seed"),
        (r#"{"seed":1,"replay":[]}"#, "not both"),
        (r#"{"seeds":1}"#, "unknown field"),
        (r#"{"seed":1,"kinds":["kill"]}"#, "unknown variant"),
        ("{", "EOF"),
    ] {
        let request = http.put(format!("{}/_local/chaos", stack.url)).header("content-type", "application/json");
        let answer = request.body(body).send().await.expect("an answer");
        assert_eq!(answer.status(), 400, "{body}");
        let text = answer.text().await.expect("a text");
        assert!(text.contains(why), "{body}: {text}");
    }
    let answer = stack.post("/_local/chaos/rules", r#"{"function":"worker","call":0,"fault":"lost"}"#).await;
    assert_eq!(answer.status(), 400);
    assert_eq!(chaos(&stack).await["decided"], 0);
}
