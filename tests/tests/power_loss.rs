//! The machine loses its power again and again under load. Each time, the stack is killed, and everything that it had
//! not synced to the disk is gone. No accepted message may be lost.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use e2e::media::{Upload, download, fixture};
use e2e::{Client, Disk, Stack, new_id};
use serde_json::{Value, json};
use tokio::sync::{Barrier, Notify};

/// `POWER_LOSSES=20 cargo test --workspace --test power_loss` loses the power more often.
const LOSSES: usize = 4;
/// The number of users that chat at once.
const USERS: usize = 10;
/// The number of groups of users that take turns. After a loss, a killed worker keeps its conversation waiting for some
/// seconds, and a user may have only ten messages waiting. So another group chats next.
const SHIFTS: usize = 3;

/// The accepted messages of each user and conversation, in the order in which they were accepted.
type Promised = BTreeMap<(String, String), Vec<(String, String)>>;

#[derive(Debug, Default)]
struct Ledger {
    promised: Mutex<Promised>,
    accepted: Notify,
}

/// Sends one message after another until the connection breaks.
async fn chat(stack: Arc<Stack>, user: String, ledger: Arc<Ledger>, together: Arc<Barrier>) {
    let mut client = Client::connect_with_session(&stack, &user, "phone").await;
    let conversation = client.rest.new_conversation().await;
    together.wait().await;
    loop {
        let (id, text) = (new_id(), format!("{user} says {}", new_id()));
        client
            .try_send(&json!({ "action": "sendMessage", "id": id, "conversationId": conversation, "text": text }))
            .await;
        loop {
            let Ok(frame) = client.receive_or_close().await else { return };
            match frame["type"].as_str() {
                Some("accepted") if frame["id"] == id => {
                    let key = (user.clone(), conversation.clone());
                    let mut promised = ledger.promised.lock().expect("the ledger");
                    promised.entry(key).or_default().push((id.clone(), text.clone()));
                    ledger.accepted.notify_one();
                }
                Some("reply") if frame["id"] == id => break,
                Some("error") => panic!("{frame}"),
                _ => {}
            }
        }
    }
}

async fn history(stack: &Stack, user: &str, conversation: &str) -> Vec<Value> {
    let rest = stack.rest(user).await;
    let (mut items, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("/api/conversations/{conversation}/messages?limit=100{cursor}");
        let page = rest.get(&path).await.expect(200);
        items.extend(page["items"].as_array().expect("items").iter().cloned());
        match page["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return items,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_accepted_is_lost_when_the_power_fails_again_and_again() {
    #[allow(clippy::disallowed_methods, reason = "it asks for a longer run")]
    let losses = std::env::var("POWER_LOSSES").map_or(LOSSES, |losses| losses.parse().expect("a number"));
    let mut disk = Disk::new();
    let ledger = Arc::new(Ledger::default());
    let start = async |disk: &Disk| disk.stack().param("MockLatencyMs", 20).param("LeaseSeconds", 5).start().await;
    for loss in 0..losses {
        let stack = Arc::new(start(&disk).await);
        let together = Arc::new(Barrier::new(USERS + 1));
        let chat = |number: usize| {
            let user = format!("user-{}-{number}", loss % SHIFTS);
            tokio::spawn(chat(Arc::clone(&stack), user, Arc::clone(&ledger), Arc::clone(&together)))
        };
        let chats: Vec<_> = (0..USERS).map(chat).collect();
        let connected = tokio::time::timeout(Duration::from_secs(120), together.wait()).await;
        assert!(connected.is_ok(), "a user can't connect after {loss} losses\n{}", stack.log());
        // The power fails after a different number of messages each time, while other messages are in every state.
        for _ in 0..=(loss * 7) % 30 {
            let accepted = tokio::time::timeout(Duration::from_secs(60), ledger.accepted.notified()).await;
            assert!(accepted.is_ok(), "nothing is accepted any more\n{}", stack.log());
        }
        stack.signal("KILL");
        for chat in chats {
            chat.await.unwrap_or_else(|error| panic!("after {loss} losses: {error}\n{}", stack.log()));
        }
        Arc::into_inner(stack).expect("the chats are over").kill();
        disk.lose_power();
    }
    let stack = start(&disk).await;
    let promised = std::mem::take(&mut *ledger.promised.lock().expect("the ledger"));
    let all: usize = promised.values().map(Vec::len).sum();
    stack
        .until("answered", |state| {
            state["queues"]
                .as_object()
                .is_some_and(|queues| queues.values().all(|queue| queue["visible"] == 0 && queue["inFlight"] == 0))
        })
        .await;
    for ((user, conversation), accepted) in promised {
        let items = history(&stack, &user, &conversation).await;
        let own: Vec<_> = items.iter().filter(|item| item["role"] == "user").collect();
        for (id, text) in &accepted {
            let found: Vec<_> = own.iter().filter(|item| item["id"] == *id).collect();
            assert_eq!(found.len(), 1, "{user}: {id} is there {} times", found.len());
            assert_eq!(
                (&found[0]["text"], &found[0]["status"]),
                (&json!(text), &json!("done")),
                "{user}: {}",
                found[0]
            );
            let answers: Vec<_> = items.iter().filter(|item| item["replyTo"] == *id).collect();
            assert_eq!(answers.len(), 1, "{user}: {answers:?}");
            assert_eq!(answers[0]["text"], json!(format!("response for {text}")), "{user}");
        }
        // They are in the order in which they were sent.
        let order: Vec<_> =
            own.iter().filter_map(|item| accepted.iter().position(|(id, _)| item["id"] == *id)).collect();
        assert!(order.is_sorted(), "{user}: {order:?}");
    }
    println!("{all} messages were accepted in {losses} losses of power");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_that_was_sent_and_the_media_of_its_answer_outlast_a_loss_of_power() {
    let mut disk = Disk::new();
    let start = async |disk: &Disk| disk.stack().param("MockLatencyMs", 0).start().await;
    let stack = start(&disk).await;
    let mut client = Client::connect(&stack, "alice").await;
    let (id, conversation) = (new_id(), client.rest.new_conversation().await);
    let picture = fixture("picture.png");
    let key = Upload::done(&client.rest, "image/png", &picture).await;
    client.send(&json!({ "action": "sendMessage", "id": id, "conversationId": conversation, "media": key })).await;
    assert_eq!(client.receive().await["type"], "accepted");
    assert_eq!(client.answer(&id).await.1["type"], "reply");
    stack.kill();
    disk.lose_power();

    let stack = start(&disk).await;
    let items = history(&stack, "alice", &conversation).await;
    let media: Vec<_> = items.iter().filter(|item| item["media"].is_object()).map(|item| &item["media"]).collect();
    // The picture, and an audio and an image that answer it.
    assert_eq!(media.len(), 3, "{items:?}");
    for (number, media) in media.into_iter().enumerate() {
        let (status, _, bytes) = download(media["url"].as_str().expect("a URL")).await;
        assert_eq!((status, &json!(bytes.len())), (200, &media["bytes"]), "{media}");
        assert!(number > 0 || bytes == picture, "it is another picture");
    }
}
