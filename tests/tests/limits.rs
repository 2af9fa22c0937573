//! The four limits under races, with real sockets against a running stack.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use e2e::{Client, Stack, StackOptions, new_id};
use futures_util::future::join_all;
use serde_json::{Value, json};

fn statuses(refused: &[u16]) -> BTreeSet<u16> {
    refused.iter().copied().collect()
}

/// Splits connects into the clients that got in and the statuses of the others.
fn split(results: Vec<Result<Client, http::StatusCode>>) -> (Vec<Client>, Vec<u16>) {
    let mut refused = Vec::new();
    let clients = results.into_iter().filter_map(|result| result.map_err(|status| refused.push(status.as_u16())).ok());
    (clients.collect(), refused)
}

fn leases(state: &Value) -> usize {
    state["leases"].as_array().map_or(0, Vec::len)
}

#[tokio::test(flavor = "multi_thread")]
async fn when_300_users_connect_at_once_exactly_50_get_in_and_all_of_them_can_talk() {
    let stack = Stack::quick().await;
    for round in 0..2 {
        let users: Vec<String> = (0..300).map(|number| format!("r{round}-{number}")).collect();
        let connecting = users.iter().map(|user| Client::try_connect(&stack, user, None));
        let (mut clients, refused) = split(join_all(connecting).await);
        assert_eq!((clients.len(), refused.len()), (50, 250));
        assert_eq!(statuses(&refused), BTreeSet::from([503]));
        assert_eq!(leases(&stack.state().await), 50);
        let talking = clients.iter_mut().map(async |client| client.ask_afresh("me").await.0);
        for answer in join_all(talking).await {
            assert_eq!(answer, "response for me");
        }
        join_all(clients.into_iter().map(Client::close)).await;
        stack.until("free", |state| leases(state) == 0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn when_one_user_connects_100_times_at_once_exactly_1_gets_in() {
    let stack = Stack::quick().await;
    for round in 0..3 {
        // Each tab has a session of its own, or none.
        let sessions: Vec<Option<String>> = (0..100).map(|n| (n % 2 == 0).then(|| format!("tab-{n}"))).collect();
        let connecting = sessions.iter().map(|session| Client::try_connect(&stack, "alice", session.as_deref()));
        let (mut clients, refused) = split(join_all(connecting).await);
        assert_eq!((clients.len(), refused.len()), (1, 99), "round {round}");
        assert_eq!(statuses(&refused), BTreeSet::from([409]));
        let mut client = clients.pop().expect("one");
        assert_eq!(client.ask_afresh("me").await.0, "response for me");
        client.close().await;
        stack.until("free", |state| leases(state) == 0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_connects_many_times_at_once_has_one_survivor_that_can_talk() {
    let stack = Stack::quick().await;
    let mut first = Client::connect_with_session(&stack, "alice", "phone").await;
    first.ask_afresh("before").await;
    for _ in 0..3 {
        let connecting = (0..20).map(|_| Client::try_connect(&stack, "alice", Some("phone")));
        let (clients, refused) = split(join_all(connecting).await);
        // Each client that got in took over from another.
        assert_eq!((clients.len(), refused.len()), (20, 0), "{refused:?}");
        let state = stack.state().await;
        assert_eq!(leases(&state), 1, "{state:#}");
        let mut survivors = 0;
        for mut client in clients {
            client.try_send(&json!({ "action": "heartbeat" })).await;
            match client.receive_or_close().await {
                Ok(frame) if frame["type"] == "heartbeat" => {
                    assert_eq!(client.ask_afresh("me").await.0, "response for me");
                    survivors += 1;
                    client.close().await;
                }
                // It was told and closed. Or it was replaced before its own handshake was over; then it could not be
                // told, but it is out.
                Ok(frame) => assert!(frame["code"] == "replaced" || frame["code"] == "lease_expired", "{frame}"),
                Err(_) => {}
            }
        }
        assert_eq!(survivors, 1);
        stack.until("free", |state| leases(state) == 0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_200_users_come_and_go_there_are_never_more_than_50_and_then_a_free_place_is_granted() {
    let stack = Stack::quick().await;
    let over = AtomicBool::new(false);
    let most = AtomicUsize::new(0);
    let watching = async {
        while !over.load(Ordering::Relaxed) {
            let state = stack.state().await;
            most.fetch_max(leases(&state), Ordering::Relaxed);
            assert!(leases(&state) <= 50, "{state:#}");
        }
    };
    let coming_and_going = async {
        let users = (0..200).map(|user| {
            let stack = &stack;
            async move {
                let name = format!("churn-{user}");
                let mut got_in = 0;
                for round in 0..4 {
                    match Client::try_connect(stack, &name, None).await {
                        Ok(mut client) => {
                            got_in += 1;
                            if (user + round) % 3 == 0 {
                                client.ask_afresh("quick").await;
                            }
                            // Some clients close their socket, and some just disappear.
                            if user % 2 == 0 {
                                client.close().await;
                            }
                        }
                        // All places are taken, or the stack has not noticed yet that this user's last connection is
                        // gone.
                        Err(status) => assert!([503, 409].contains(&status.as_u16()), "{status}"),
                    }
                }
                got_in
            }
        });
        let got_in: usize = join_all(users).await.into_iter().sum();
        over.store(true, Ordering::Relaxed);
        got_in
    };
    let (got_in, ()) = tokio::join!(coming_and_going, watching);
    assert!(got_in >= 200, "{got_in} connections");
    stack.until("free", |state| leases(state) == 0).await;
    let connecting: Vec<String> = (0..50).map(|user| format!("after-{user}")).collect();
    let (clients, refused) =
        split(join_all(connecting.iter().map(|user| Client::try_connect(&stack, user, None))).await);
    assert_eq!((clients.len(), refused), (50, vec![]));
    assert!(most.load(Ordering::Relaxed) > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_crash_with_50_clients_their_sessions_come_back_at_once_and_others_when_the_leases_end() {
    let data = tempfile::tempdir().expect("a directory");
    let options = || StackOptions::default().data_dir(data.path()).param("MockLatencyMs", 0).param("LeaseSeconds", 20);
    let stack = options().start().await;
    let port = stack.port();
    let users: Vec<String> = (0..50).map(|user| format!("user-{user}")).collect();
    let connecting = users.iter().map(|user| Client::try_connect(&stack, user, Some("s")));
    let (mut clients, _) = split(join_all(connecting).await);
    join_all(clients.iter_mut().map(async |client| client.ask_afresh("hello").await)).await;
    stack.kill();
    drop(clients);

    let stack = options().port(port).start().await;
    let (with, without) = users.split_at(25);
    let (mut clients, refused) =
        split(join_all(with.iter().map(|user| Client::try_connect(&stack, user, Some("s")))).await);
    assert_eq!((clients.len(), refused), (25, vec![]));
    let (others, refused) = split(join_all(without.iter().map(|user| Client::try_connect(&stack, user, None))).await);
    assert_eq!((others.len(), statuses(&refused)), (0, BTreeSet::from([409])));
    let heartbeats = async {
        for client in &mut clients {
            client.send(&json!({ "action": "heartbeat" })).await;
            client.receive_type("heartbeat").await;
        }
    };
    heartbeats.await;
    stack.until("the other leases are over", |state| leases(state) <= 25).await;
    let (others, refused) = split(join_all(without.iter().map(|user| Client::try_connect(&stack, user, None))).await);
    assert_eq!((others.len(), refused), (25, vec![]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_client_is_out_in_time_heartbeats_or_not_and_its_place_is_free_that_moment() {
    let stack = StackOptions::default()
        .param("MockLatencyMs", 0)
        .param("MaxClients", 1)
        .param("FirstMessageSeconds", 2)
        .param("LeaseSeconds", 60)
        .start()
        .await;
    let mut silent = Client::connect(&stack, "alice").await;
    silent.send(&json!({ "action": "heartbeat" })).await;
    let ends = silent.receive_type("heartbeat").await["leaseExpiresAt"].as_str().expect("a time").to_owned();
    // Bob keeps trying. He is refused while the lease lasts, and gets in with the first try after that.
    let mut tries = 0;
    let bob = loop {
        silent.try_send(&json!({ "action": "heartbeat" })).await;
        match Client::try_connect(&stack, "bob", None).await {
            Ok(bob) => break bob,
            Err(status) => assert_eq!(status.as_u16(), 503),
        }
        tries += 1;
    };
    assert!(tries > 0);
    let state = stack.state().await;
    let since = state["leases"][0]["expiresAt"].as_str().expect("a time").to_owned();
    // Bob's first lease lasts two seconds from its beginning, so it began less than a second after Alice's ended.
    let seconds = |time: &str| -> f64 {
        let parts: Vec<f64> = time[11..23].split(':').filter_map(|part| part.parse().ok()).collect();
        parts[0] * 3600.0 + parts[1] * 60.0 + parts[2]
    };
    let began_after = (seconds(&since) - 2.0 - seconds(&ends) + 86_400.0) % 86_400.0;
    assert!(began_after < 1.0, "{began_after} s: {ends}, {since}");
    drop(bob);
}

/// A heartbeat queues a message again that has waited this long without a worker.
const RESCUE_AFTER: Duration = Duration::from_secs(8);

/// The messages that each client of the next test keeps in work.
const IN_WORK: usize = 14;

/// A user who keeps messages in work, each in a conversation of its own, until `full`. Then the user waits for the
/// answers that are left.
struct Insistent {
    client: Client,
    /// The messages that have not ended, with their conversations, and whether each was accepted.
    in_work: BTreeMap<String, (String, bool)>,
    /// Messages that were sent more than once. Only these may be accepted again.
    sent_again: BTreeSet<String>,
    /// When each message was sent.
    sent_at: BTreeMap<String, Instant>,
    /// Messages that a heartbeat may have queued again. Their second job may look at them between telling and the note
    /// that they were told, and tells the same end again.
    queued_again: BTreeSet<String>,
    /// The answers to the messages that have ended.
    ended: BTreeMap<String, Value>,
    failed_at: Option<Instant>,
}

impl Insistent {
    async fn say(&mut self, conversation: String) {
        let id = new_id();
        self.client.send_message(&id, &conversation, "hello").await;
        self.sent_at.insert(id.clone(), Instant::now());
        self.in_work.insert(id, (conversation, false));
    }

    async fn talk(mut self, full: &AtomicBool) -> Self {
        let mut since_heartbeat = Instant::now();
        while !self.in_work.is_empty() {
            if since_heartbeat.elapsed() > Duration::from_secs(10) {
                self.client.send(&json!({ "action": "heartbeat" })).await;
                let old = self.in_work.keys().filter(|id| self.sent_at[*id].elapsed() > RESCUE_AFTER);
                self.queued_again.extend(old.cloned());
                since_heartbeat = Instant::now();
            }
            if self.failed_at.is_some_and(|failed_at| failed_at.elapsed() > Duration::from_secs(30)) {
                self.failed_at = None;
                for (id, (conversation, _)) in self.in_work.iter().filter(|(_, (_, accepted))| !accepted) {
                    self.client.send_message(id, conversation, "hello").await;
                    self.sent_again.insert(id.clone());
                }
            }
            if let Some(frame) = self.client.receive_within(Duration::from_secs(1)).await {
                self.hear(&frame, full).await;
            }
        }
        self
    }

    async fn hear(&mut self, frame: &Value, full: &AtomicBool) {
        let id = frame["id"].as_str().unwrap_or_default().to_owned();
        match frame["type"].as_str() {
            Some("accepted") => match self.in_work.get_mut(&id) {
                Some((_, accepted)) => *accepted = true,
                None => assert!(self.sent_again.contains(&id), "accepted after its end: {frame}"),
            },
            Some("reply") => {
                assert_eq!(frame["message"]["status"], "done", "{frame}");
                let answers = self.ended.entry(id.clone()).or_insert_with(|| frame["replies"].clone());
                assert_eq!(*answers, frame["replies"], "another answer: {frame}");
                match self.in_work.remove(&id) {
                    Some((conversation, _)) if !full.load(Ordering::Relaxed) => self.say(conversation).await,
                    Some(_) => {}
                    None => assert!(
                        self.sent_again.contains(&id) || self.queued_again.contains(&id),
                        "a message that was queued once was told twice: {frame}"
                    ),
                }
            }
            Some("delta" | "heartbeat") => {}
            // While hundreds of processes start, a frame can take longer than the API waits for its function. The frame
            // of the API names no message, so the client later sends again what was not accepted.
            None if frame["message"] == "Internal server error" => {
                self.failed_at.get_or_insert_with(Instant::now);
            }
            _ => panic!("{frame}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn exactly_500_messages_are_processed_at_once_and_all_are_answered() {
    let stack =
        StackOptions::default().param("MockLatencyMs", 30_000).param("MaxPendingPerClient", IN_WORK).start().await;
    let users: Vec<String> = (0..50).map(|user| format!("user-{user}")).collect();
    // 700 requests at once would be more than the account runs, so each user makes one conversation after the other.
    let conversations = join_all(users.iter().map(async |user| {
        let rest = stack.rest(user).await;
        let mut conversations = Vec::new();
        for _ in 0..IN_WORK {
            conversations.push(rest.new_conversation().await);
        }
        conversations
    }));
    let conversations = conversations.await;
    let connecting = users.iter().map(|user| Client::try_connect(&stack, user, Some("s")));
    let (clients, refused) = split(join_all(connecting).await);
    assert_eq!((clients.len(), refused), (50, vec![]));
    let begun = clients.into_iter().zip(conversations).map(async |(client, conversations)| {
        let mut user = Insistent {
            client,
            in_work: BTreeMap::new(),
            sent_again: BTreeSet::new(),
            sent_at: BTreeMap::new(),
            queued_again: BTreeSet::new(),
            ended: BTreeMap::new(),
            failed_at: None,
        };
        for conversation in conversations {
            user.say(conversation).await;
        }
        user
    });
    let begun = join_all(begun).await;

    // 700 messages are in work all the time, so there is work for more than 500 workers.
    let full = AtomicBool::new(false);
    let watching = async {
        while stack.state().await["inFlight"]["worker"]["max"].as_u64() < Some(500) {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        full.store(true, Ordering::Relaxed);
    };
    let all = async { tokio::join!(watching, join_all(begun.into_iter().map(|user| user.talk(&full)))).1 };
    let Ok(clients) = tokio::time::timeout(Duration::from_secs(400), all).await else {
        panic!("not 500 at once, or not all are answered: {:#}", stack.state().await);
    };
    let state = stack.state().await;
    let worker = &state["inFlight"]["worker"];
    assert_eq!((&worker["max"], &worker["limit"]), (&json!(500), &json!(500)), "{worker}");
    let dead: u64 =
        state["queues"].as_object().into_iter().flatten().filter_map(|(_, q)| q["deadLettered"].as_u64()).sum();
    assert_eq!((dead, &state["functions"]["worker"]["throttles"]), (0, &json!(0)), "{state:#}");
    drop(clients);
}
