//! If workers can't do their work, users are told, and conversations go on.

use std::time::{Duration, Instant};

use e2e::media::{Upload, download, fixture};
use e2e::{Client, Stack, StackOptions, Template, new_id};
use serde_json::{Value, json};

const ACCOUNT: &str = "000000000000";

async fn queues(stack: &Stack) -> (String, String) {
    let listed = stack.sqs("ListQueues", &json!({})).await;
    let urls = listed["QueueUrls"].as_array().cloned().unwrap_or_default();
    let url = |end: &str| {
        let found = urls.iter().filter_map(Value::as_str).find(|url| url.ends_with(end));
        found.unwrap_or_else(|| panic!("no {end}: {listed}")).to_owned()
    };
    (url("-messages.fifo"), url("-messages-dead.fifo"))
}

fn arn(url: &str) -> String {
    format!("arn:aws:sqs:us-east-1:{ACCOUNT}:{}", url.rsplit('/').next().unwrap_or_default())
}

/// Puts the job of a message into the dead-letter queue, as if it had been received too often.
async fn bury(stack: &Stack, client: &Client, (conversation, id, seq): (&str, &str, u64)) {
    let user = client.rest.get("/api/me").await.expect(200)["id"].clone();
    let job = json!({ "userId": user, "conversationId": conversation, "messageId": id, "seq": seq });
    bury_job(stack, conversation, &job).await;
}

async fn bury_job(stack: &Stack, conversation: &str, job: &Value) {
    let (_, dead) = queues(stack).await;
    let message = json!({
        "QueueUrl": dead, "MessageBody": job.to_string(), "MessageGroupId": conversation,
        "MessageDeduplicationId": new_id(),
    });
    stack.sqs("SendMessage", &message).await;
}

#[tokio::test]
async fn a_client_that_asks_a_model_that_is_not_set_up_is_told_so_and_the_log_has_the_reason_in_one_sentence() {
    let stack = StackOptions::default()
        .param("LlmProvider", "openai")
        .param("LlmModel", "m")
        .param("LlmApiKeySecretArn", "nonsense")
        .start()
        .await;
    let mut client = Client::connect(&stack, "alice").await;
    let began = Instant::now();
    let (_, end) = client.ask_afresh("hello").await;
    assert_eq!((&end["type"], &end["code"]), (&json!("error"), &json!("reply_failed")), "{end}");
    assert!(end["message"].as_str().is_some_and(|text| text.contains("not set up")), "{end}");
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    let log = stack.log();
    assert!(log.contains("LLM_API_KEY_SECRET_ARN is") && !log.contains("ConfigInvalid"), "{log}");
}

#[tokio::test]
async fn a_client_is_told_within_about_a_minute_that_no_worker_starts_and_a_mended_stack_goes_on() {
    let data = tempfile::tempdir().expect("a directory");
    let broken =
        Template::default().with("Worker", "        Variables:\n", "        Variables:\n          CHAT_TABLE: \"\"\n");
    let path = broken.path();
    let options = || StackOptions::default().data_dir(data.path()).param("MockLatencyMs", 0).param("LeaseSeconds", 600);
    let stack = options().arg("--template").arg(path.to_str().expect("UTF-8")).start().await;
    let port = stack.port();
    let mut client = Client::connect_with_session(&stack, "alice", "phone").await;
    let conversation = client.rest.new_conversation().await;
    let id = new_id();
    client.send_message(&id, &conversation, "hello").await;
    client.receive_type("accepted").await;
    let end = client.receive_type("error").await;
    assert_eq!((&end["code"], &end["id"]), (&json!("reply_failed"), &json!(id)), "{end}");
    let log = stack.log();
    assert!(log.contains("CHAT_TABLE is not set; set it in the function's environment"), "{log}");
    assert!(!log.contains("ConfigMissing"), "{log}");
    drop(client);
    drop(stack);

    let stack = options().port(port).start().await;
    let mut client = Client::connect_with_session(&stack, "alice", "phone").await;
    assert_eq!(client.ask(&conversation, "and now?").await.0, "response for and now?");
}

#[tokio::test]
async fn the_message_of_a_dead_job_is_failed_and_told_and_its_conversation_goes_on() {
    let stack = Stack::quick().await;
    let mut client = Client::connect(&stack, "alice").await;
    let conversation = client.rest.new_conversation().await;
    let (running, dead) = (new_id(), new_id());
    client.send_message(&running, &conversation, "!slow 20000").await;
    client.receive_type("accepted").await;
    client.send_message(&dead, &conversation, "and then?").await;
    client.receive_type("accepted").await;
    stack.until("at work", |state| state["inFlight"]["worker"]["now"] == 1).await;
    bury(&stack, &client, (&conversation, &dead, 2)).await;
    let error = client.receive_type("error").await;
    assert_eq!((&error["code"], &error["id"]), (&json!("reply_failed"), &json!(dead)), "{error}");
    client.send(&json!({ "action": "cancel", "id": running })).await;
    assert_eq!(client.receive_type("reply").await["id"], json!(running));
    assert_eq!(client.ask(&conversation, "go on").await.0, "response for go on");
    let (history, _) = client.rest.all(&format!("/api/conversations/{conversation}/messages")).await;
    let of_dead = history.iter().find(|message| message["id"] == json!(dead)).expect("it is in history");
    assert_eq!((&of_dead["status"], &of_dead["error"]["code"]), (&json!("failed"), &json!("reply_failed")));
    // The job has left the dead-letter queue.
    let (_, url) = queues(&stack).await;
    let asked = json!({ "QueueUrl": url, "AttributeNames": ["All"] });
    let attributes = stack.sqs("GetQueueAttributes", &asked).await["Attributes"].clone();
    for count in ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"] {
        assert_eq!(attributes[count], "0", "{attributes}");
    }
}

#[tokio::test]
async fn a_dead_job_that_asks_for_an_end_has_it_told_with_addresses_that_work() {
    let stack = Stack::quick().await;
    let mut client = Client::connect(&stack, "alice").await;
    let conversation = client.rest.new_conversation().await;
    let key = Upload::done(&client.rest, "image/png", &fixture("picture.png")).await;
    let id = new_id();
    client.send(&json!({ "action": "sendMessage", "id": id, "conversationId": conversation, "media": key })).await;
    client.receive_type("accepted").await;
    let (_, first) = client.answer(&id).await;
    let user = client.rest.get("/api/me").await.expect(200)["id"].clone();
    let job = json!({ "userId": user, "conversationId": conversation, "messageId": id, "seq": 1, "tell": true });
    bury_job(&stack, &conversation, &job).await;
    let again = client.receive_type("reply").await;
    let (first, again) = (first["replies"].as_array().expect("replies"), again["replies"].as_array().expect("replies"));
    let media =
        |replies: &[Value]| -> Vec<Value> { replies.iter().map(|reply| reply["media"]["key"].clone()).collect() };
    assert_eq!(media(again), media(first));
    assert!(again.len() > 1, "{again:?}");
    for reply in &again[1..] {
        let (status, content_type, _) = download(reply["media"]["url"].as_str().expect("a URL")).await;
        assert_eq!((status, &json!(content_type)), (200, &reply["media"]["contentType"]), "{reply}");
    }
}

#[tokio::test]
async fn a_dead_job_that_is_moved_back_to_its_queue_does_nothing_more() {
    // The function `dead_letters` is off here, so the job stays in the dead-letter queue and can be moved.
    let template = Template::default().with(
        "DeadLetters",
        "            BatchSize: 1\n",
        "            BatchSize: 1\n            Enabled: false\n",
    );
    let path = template.path();
    let options =
        StackOptions::default().param("MockLatencyMs", 0).arg("--template").arg(path.to_str().expect("UTF-8"));
    let stack = options.start().await;
    let mut client = Client::connect(&stack, "alice").await;
    let conversation = client.rest.new_conversation().await;
    let id = new_id();
    client.send_message(&id, &conversation, "hello").await;
    client.receive_type("accepted").await;
    client.answer(&id).await;
    bury(&stack, &client, (&conversation, &id, 1)).await;
    let (queue, dead) = queues(&stack).await;
    let task = json!({ "SourceArn": arn(&dead), "DestinationArn": arn(&queue) });
    stack.sqs("StartMessageMoveTask", &task).await;
    let tasks = json!({ "SourceArn": arn(&dead) });
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let task = stack.sqs("ListMessageMoveTasks", &tasks).await["Results"][0].clone();
        if task["Status"] == "COMPLETED" {
            assert_eq!(task["ApproximateNumberOfMessagesMoved"], 1, "{task}");
            break;
        }
        assert!(Instant::now() < deadline, "{task}");
    }
    // The job that was moved back is ahead of this message, so a worker has handled it before this answer.
    assert_eq!(client.ask(&conversation, "again").await.0, "response for again");
    let (history, _) = client.rest.all(&format!("/api/conversations/{conversation}/messages")).await;
    assert_eq!(history.len(), 4, "{history:?}");
}
