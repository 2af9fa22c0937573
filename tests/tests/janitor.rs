//! The janitor on its real schedule. It runs once a minute, so these tests take a minute. What it does only after
//! something broke off is tested with a queue that starts it at once.

use std::time::{Duration, Instant};

use e2e::campaign::backstage::{Backstage, template};
use e2e::campaign::faults::Aim;
use e2e::media::{Upload, fixture};
use e2e::{Client, StackOptions, new_id};
use futures_util::future::{join, join_all};
use http::Method;
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
        let frame = client.receive_or_close().await.map(|frame| frame["type"].as_str().map(str::to_owned));
        // The client is kept, because its place would be free again without it.
        (frame, client)
    }));
    let told = told.await;
    let survivors = told.iter().filter(|(frame, _)| matches!(frame, Ok(Some(kind)) if kind == "heartbeat")).count();
    assert_eq!((survivors, &stack.state().await["leases"][0]["connectionId"]), (1, &kept));
}

/// A message whose media is this upload.
fn picture(id: &str, conversation: &str, key: &str) -> serde_json::Value {
    json!({ "action": "sendMessage", "id": id, "conversationId": conversation, "media": key })
}

#[tokio::test]
async fn what_a_deletion_that_broke_off_and_a_refused_message_have_left_is_deleted() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = template(directory.path());
    let options = StackOptions::default().param("MockLatencyMs", 0).param("MaxPendingPerClient", 1);
    let stack = options.arg("--template").arg(path.to_str().expect("UTF-8")).start().await;
    let backstage = Backstage::open(&stack.url).await;
    let mut client = Client::connect(&stack, "alice").await;
    let (deleted, other) = (client.rest.new_conversation().await, client.rest.new_conversation().await);
    let (first, id) = (Upload::done(&client.rest, "image/png", &fixture("picture.png")).await, new_id());
    client.send(&picture(&id, &deleted, &first)).await;
    client.receive_type("accepted").await;
    client.answer(&id).await;

    // The function that deletes the conversation dies after it has taken the conversation away from its user.
    backstage.note_calls().await.expect("the stack takes rules");
    let (function, event, fault) = ("rest_api".to_owned(), deleted.clone(), "kill_before".to_owned());
    backstage.aim(&Aim { function, event, call: 2, fault, met: false }).await.expect("the stack takes the rule");
    let path = format!("/api/conversations/{deleted}");
    let answer = client.rest.send(client.rest.request(Method::DELETE, &path)).await;
    assert!(answer.status >= 500, "{answer:?}");
    backstage.end_faults().await.expect("no more faults");
    client.rest.get(&path).await.expect_problem(404);

    // This message is refused after its picture was copied.
    let (waiting, refused) = (new_id(), new_id());
    client.send_message(&waiting, &other, "!slow 60000").await;
    client.receive_type("accepted").await;
    let second = Upload::done(&client.rest, "image/png", &fixture("picture.png")).await;
    client.send(&picture(&refused, &other, &second)).await;
    assert_eq!(client.receive_type("error").await["code"], "too_many_pending");
    let objects = backstage.objects().await.expect("the bucket");
    assert!(objects.contains(&first) && objects.contains(&second) && objects.len() > 2, "{objects:?}");
    assert_eq!(backstage.held().await.expect("the notes"), [second.as_str()]);

    // An hour goes by for the note of the picture.
    let user = client.rest.get("/api/me").await.expect(200)["id"].clone();
    let note = format!("{second}#{}", user.as_str().expect("an id"));
    let older = json!({
        "TableName": "local-ChatTable", "Key": { "pk": { "S": "held" }, "sk": { "S": note } },
        "UpdateExpression": "SET held_at = :then", "ExpressionAttributeValues": { ":then": { "N": "0" } },
        "ConditionExpression": "attribute_exists(pk)",
    });
    stack.dynamodb("UpdateItem", &older).await;
    backstage.run_janitor("now").await.expect("it is queued");
    let began = Instant::now();
    loop {
        let (objects, held) =
            (backstage.objects().await.expect("the bucket"), backstage.held().await.expect("the notes"));
        if objects.is_empty() && held.is_empty() {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{objects:?} {held:?}\n{}", stack.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    client.send(&json!({ "action": "cancel", "id": waiting })).await;
    client.receive_type("reply").await;
    client.close().await;
}
