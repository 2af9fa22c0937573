//! The janitor against the real engines, with a clock that the test moves. The end-to-end tests show that it runs on
//! its schedule and closes real sockets.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use serde_json::{Value, json};

use super::{Janitor, LONGEST_CONNECTION, LONGEST_WAIT, OPEN_BY, Report, STUCK_AFTER, UNBEGUN_FOR};
use crate::Error;
use crate::answer::{Answerer, MAX_ATTEMPTS, NOBODY_BEGAN, SILENT_AFTER};
use crate::conversations::Conversations;
use crate::ids::{ConversationId, MediaKey};
use crate::leases::{Connected, Handshake, MAX_REPLACED};
use crate::media::Sample;
use crate::messages::{Admission, Claimed, Draft, Ending, Reply, Status, StoredMessage};
use crate::model::{Model, ModelError, Piece, Prompt};
use crate::queue::Job;
use crate::testing::{Before, Connections, Stack, connection, draft, message_id, user};

const LEASE: Duration = Duration::from_secs(60);
const FIRST_MESSAGE: Duration = Duration::from_secs(10);
const SECOND: Duration = Duration::from_secs(1);

struct Scene {
    stack: Stack,
    connections: Arc<Connections>,
    answerer: Answerer,
    janitor: Janitor,
}

impl Scene {
    async fn new() -> Self {
        Self::on(Stack::start(5, LEASE, FIRST_MESSAGE)).await
    }

    /// A place to store uploads and the media of answers.
    async fn with_storage() -> Self {
        Self::on(Stack::with_storage(5, LEASE, FIRST_MESSAGE)).await
    }

    async fn on(stack: Stack) -> Self {
        let connections = Arc::new(Connections::default());
        let app = stack.app("janitor", 3, 1).await.pushing_to(&connections);
        let (answerer, janitor) = (app.answerer().expect("an answerer"), app.janitor().expect("a janitor"));
        Self { stack, connections, answerer, janitor }
    }

    async fn connect(&self, name: &str, socket: &str) -> Connected {
        self.answerer.leases.connect(&user(name), &connection(socket), &Handshake::of("s")).await.expect("an answer")
    }

    /// The connection `name` of user `name` had a message admitted. It was never queued, because the function died.
    async fn say(&self, name: &str, id: u32) -> StoredMessage {
        self.stack.make_conversations(name, [id]);
        let (user, connection) = (user(name), connection(name));
        match self.answerer.messages.admit(&user, &connection, &draft(id, id), &self.stack.limits).await {
            Ok(Admission::New(message)) => message,
            other => panic!("not new: {other:?}"),
        }
    }

    /// A picture that user `u` has uploaded.
    async fn upload(&self, number: u32) -> MediaKey {
        let key = MediaKey::parse(&format!("{number:08x}-0000-4000-8000-00000000abcd.png")).expect("a key");
        self.answerer.media.put_upload(&user("u"), &key, Sample::picture()).await;
        key
    }

    /// User `u` sends the picture.
    async fn show(&self, id: u32, key: &MediaKey) -> Result<Admission, Error> {
        let draft = Draft { media: Some(key.clone()), ..draft(id, 1) };
        self.answerer.messages.admit(&user("u"), &connection("u"), &draft, &self.stack.limits).await
    }

    /// Waits for longer than media are held.
    fn wait_for_held(&self) {
        self.stack.clock.advance(Duration::from_secs(3600) + SECOND);
    }

    /// Runs the janitor after a worker's sign of life.
    async fn tidy_up(&self) -> Report {
        let now = self.answerer.clock.now();
        self.answerer.messages.note_worker(now).await.expect("noted");
        self.janitor.run().await.expect("a run")
    }

    /// Works on the queued jobs.
    async fn work(&self) {
        for (job, receipt) in self.stack.receive().await {
            let deadline = self.answerer.clock.now().plus(LEASE);
            self.answerer.run(&job, &receipt, deadline).await.expect("worked on");
            self.stack.finished(&receipt).await;
        }
    }

    async fn message(&self, name: &str, id: u32) -> StoredMessage {
        self.answerer.messages.find(&user(name), &message_id(id)).await.expect("a read").expect("the message")
    }

    /// A worker takes the message and then dies.
    async fn begin(&self, message: &StoredMessage) {
        assert!(matches!(self.answerer.messages.claim(message).await, Ok(Claimed::Yes(_))));
    }

    fn frames(&self, socket: &str) -> Vec<Value> {
        self.connections.told(&connection(socket))
    }
}

fn redriven(redriven: u32) -> Report {
    Report { redriven, ..Report::default() }
}

#[tokio::test]
async fn a_message_that_never_reached_the_queue_is_queued_and_answered() {
    let scene = Scene::new().await;
    scene.connect("u", "u").await;
    scene.say("u", 1).await;
    scene.stack.clock.advance(STUCK_AFTER);
    assert_eq!(scene.tidy_up().await.redriven, 0, "not before its time");
    scene.stack.clock.advance(SECOND);
    scene.connect("u", "u2").await;
    assert_eq!(scene.tidy_up().await.redriven, 1);
    assert_eq!(scene.tidy_up().await.redriven, 0, "it has been queued just now");

    let jobs = scene.stack.receive().await;
    let [(job, receipt)] = &jobs[..] else { panic!("{jobs:?}") };
    let deadline = scene.answerer.clock.now().plus(LEASE);
    scene.answerer.run(job, receipt, deadline).await.expect("an answer");
    let frames = scene.frames("u2");
    let reply = frames.last().expect("a frame");
    assert_eq!((&reply["type"], &reply["replies"][0]["text"]), (&json!("reply"), &json!("response for Hello")));
    assert!(scene.stack.snapshot().users["u"].pending.is_empty());
}

#[tokio::test]
async fn a_message_whose_job_was_lost_is_queued_again_although_the_queue_has_seen_it() {
    let scene = Scene::new().await;
    scene.connect("u", "u").await;
    let message = scene.say("u", 1).await;
    scene.answerer.queue.send(&Job::from(&message)).await.expect("queued");
    for (_, receipt) in scene.stack.receive().await {
        scene.stack.finished(&receipt).await;
    }
    scene.stack.clock.advance(STUCK_AFTER + SECOND);
    assert_eq!(scene.tidy_up().await.redriven, 1);
    assert_eq!(scene.stack.receive().await.len(), 1);
}

#[tokio::test]
async fn two_runs_at_once_queue_a_message_once_and_delete_everything_once() {
    let scene = Scene::new().await;
    for name in ["a", "b", "c"] {
        scene.connect(name, name).await;
    }
    for (name, id) in [("a", 1), ("b", 2)] {
        scene.say(name, id).await;
    }
    scene.stack.clock.advance(STUCK_AFTER + SECOND);
    let other = scene.stack.app("another janitor", 3, 1).await.pushing_to(&scene.connections);
    let other = other.janitor().expect("a janitor");
    scene.answerer.messages.note_worker(scene.answerer.clock.now()).await.expect("noted");
    let (one, two) = tokio::join!(scene.janitor.run(), other.run());
    let (one, two) = (one.expect("a run"), two.expect("a run"));
    assert_eq!((one.redriven + two.redriven, one.failures + two.failures), (2, 0), "{one:?} {two:?}");
    assert_eq!(scene.stack.receive().await.len(), 2);
    // Each is told at least once. Items of ended leases are gone, and waiting messages are still counted.
    for (name, code) in [("a", "lease_expired"), ("b", "lease_expired"), ("c", "first_message")] {
        assert_eq!(scene.frames(name)[0]["code"], code);
        assert!(scene.connections.closed(&connection(name)) > 0);
    }
    let state = scene.stack.snapshot();
    assert_eq!(state.users.keys().collect::<Vec<_>>(), ["a", "b"]);
    assert!(state.slots.is_empty(), "{state:?}");
}

#[tokio::test]
async fn a_message_that_kills_its_workers_is_given_up_and_its_user_is_told() {
    let scene = Scene::new().await;
    scene.connect("u", "u").await;
    let message = scene.say("u", 1).await;
    let mut redrives = 0;
    let report = loop {
        let now = scene.message("u", 1).await;
        scene.begin(&now).await;
        scene.stack.clock.advance(STUCK_AFTER - SECOND);
        assert_eq!(scene.tidy_up().await.redriven, 0, "a worker may be at it");
        scene.stack.clock.advance(STUCK_AFTER * (1 << redrives));
        scene.connect("u", &format!("u{redrives}")).await;
        let report = scene.tidy_up().await;
        if report.given_up > 0 {
            break report;
        }
        assert_eq!(report.redriven, 1);
        redrives += 1;
    };
    assert_eq!((redrives, report.given_up), (MAX_ATTEMPTS - 1, 1));
    let frames = scene.frames(&format!("u{redrives}"));
    let [error] = &frames[..] else { panic!("{frames:?}") };
    assert_eq!((&error["type"], &error["code"]), (&json!("error"), &json!("reply_failed")));
    assert_eq!(error["id"], json!(message.id));
    assert_eq!(scene.message("u", 1).await.status, Status::Failed);
    assert!(scene.stack.snapshot().users["u"].pending.is_empty());
    assert_eq!(scene.tidy_up().await, Report::default());
}

#[tokio::test]
async fn all_users_who_wait_are_told_that_no_worker_starts_and_a_worker_that_starts_later_does_nothing() {
    let mut scene = Scene::new().await;
    scene.janitor.begins_within = Duration::from_millis(300);
    let mut said = Vec::new();
    for (name, id) in [("a", 1), ("b", 2)] {
        scene.connect(name, name).await;
        said.push(scene.say(name, id).await);
        scene.answerer.queue.send(&Job::from(&said[said.len() - 1])).await.expect("queued");
    }
    // The last sign of life was too long ago.
    scene.answerer.messages.note_worker(scene.answerer.clock.now()).await.expect("noted");
    scene.stack.clock.advance(SILENT_AFTER + SECOND);
    let report = scene.janitor.run().await.expect("a run");
    assert_eq!((report.given_up, report.failures), (2, 0), "{report:?}");
    for (name, message) in ["a", "b"].into_iter().zip(&said) {
        let frames = scene.frames(name);
        let [error] = &frames[..] else { panic!("{frames:?}") };
        assert_eq!((&error["code"], &error["id"]), (&json!("reply_failed"), &json!(message.id)));
        assert_eq!(error["message"], NOBODY_BEGAN);
    }
    while !scene.stack.receive().await.is_empty() {}
    scene.stack.clock.advance(SECOND);
    for message in &said {
        scene.answerer.queue.send_again(&Job::from(message), 1).await.expect("queued");
    }
    scene.work().await;
    assert!(["a", "b"].into_iter().all(|name| scene.frames(name).len() == 1), "it is over");
}

#[tokio::test]
async fn a_message_that_never_reached_the_queue_is_given_to_a_worker_before_workers_are_taken_for_dead() {
    let scene = Scene::new().await;
    scene.connect("u", "u").await;
    scene.say("u", 1).await;
    scene.stack.clock.advance(UNBEGUN_FOR + SECOND);
    let worker = async {
        while scene.message("u", 1).await.status != Status::Done {
            scene.work().await;
        }
    };
    let (report, ()) = tokio::join!(scene.janitor.run(), worker);
    assert_eq!(report.expect("a run").given_up, 0);
    assert_eq!(scene.frames("u").last().expect("a frame")["type"], "reply");
}

#[tokio::test]
async fn a_message_that_only_waits_is_not_given_up_for_hours() {
    let scene = Scene::new().await;
    scene.connect("u", "u").await;
    scene.say("u", 1).await;
    let mut redriven = 0;
    let began = scene.answerer.clock.now();
    while scene.answerer.clock.now().since(began) < LONGEST_WAIT {
        scene.stack.clock.advance(LEASE);
        let report = scene.tidy_up().await;
        assert_eq!(report.given_up, 0);
        redriven += report.redriven;
    }
    assert!((5..12).contains(&redriven), "queued again {redriven} times");
    scene.stack.clock.advance(LEASE);
    assert_eq!(scene.tidy_up().await.given_up, 1);
    assert_eq!(scene.message("u", 1).await.status, Status::Failed);
}

#[tokio::test]
async fn an_answered_message_that_is_still_counted_is_counted_no_longer() {
    let scene = Scene::new().await;
    scene.connect("u", "u").await;
    let message = scene.say("u", 1).await;
    let Ok(Claimed::Yes(claim)) = scene.answerer.messages.claim(&message).await else { panic!("not claimed") };
    scene.answerer.messages.end(claim, Ending::text("hi"), None, message.seq).await.expect("an end");
    // The end leaves this behind if the user item was being taken just then.
    scene.stack.count_pending("u", &message.id, message.created_at);
    scene.stack.clock.advance(STUCK_AFTER + SECOND);
    scene.tidy_up().await;
    assert!(!scene.stack.snapshot().users.contains_key("u"), "nothing keeps it");
}

#[tokio::test]
async fn one_user_that_cannot_be_reached_does_not_keep_the_others_waiting() {
    let scene = Scene::new().await;
    for name in ["a", "b"] {
        scene.connect(name, name).await;
    }
    scene.connections.break_line(&connection("a"));
    scene.stack.clock.advance(FIRST_MESSAGE + SECOND);
    assert_eq!(scene.tidy_up().await, Report { closed: 1, failures: 1, ..redriven(0) });
    assert_eq!(scene.stack.snapshot().users.keys().collect::<Vec<_>>(), ["a"], "the next run tries again");
}

#[tokio::test]
async fn a_socket_that_could_not_be_closed_for_too_many_calls_is_closed_the_next_time() {
    let scene = Scene::new().await;
    scene.connect("u", "old").await;
    scene.connect("u", "u").await;
    scene.stack.clock.advance(OPEN_BY + SECOND);
    scene.connections.slow_down(4);
    assert_eq!(scene.tidy_up().await, Report { failures: 2, ..redriven(0) });
    assert_eq!(scene.stack.snapshot().users.keys().collect::<Vec<_>>(), ["u"], "nothing is forgotten");
    assert_eq!(scene.tidy_up().await, Report { closed: 1, ..redriven(0) });
    for socket in ["old", "u"] {
        assert_eq!(scene.connections.closed(&connection(socket)), 1, "{socket}");
    }
    assert!(scene.stack.snapshot().users.is_empty());
}

#[tokio::test]
async fn a_socket_that_can_never_be_closed_is_forgotten_when_no_connection_can_be_as_old() {
    let scene = Scene::new().await;
    for socket in ["old", "u"] {
        scene.connect("u", socket).await;
        scene.connections.break_line(&connection(socket));
    }
    scene.stack.clock.advance(LONGEST_CONNECTION);
    assert_eq!(scene.tidy_up().await.failures, 2);
    assert!(!scene.stack.snapshot().users.is_empty());
    scene.stack.clock.advance(FIRST_MESSAGE + SECOND);
    scene.tidy_up().await;
    assert!(scene.stack.snapshot().users.is_empty());
}

#[tokio::test]
async fn a_client_that_reconnects_in_a_loop_leaves_a_short_list() {
    let scene = Scene::new().await;
    for number in 0..3 * MAX_REPLACED {
        scene.stack.clock.advance(Duration::from_millis(1));
        let connected = scene.connect("u", &format!("s{number}")).await;
        assert!(matches!(connected, Connected::Granted { .. }), "{connected:?}");
    }
    let lease = scene.answerer.leases.find(&user("u")).await.expect("a read").expect("an item");
    assert_eq!(lease.replaced.len(), MAX_REPLACED);
    let last = connection(format!("s{}", 3 * MAX_REPLACED - 2));
    assert_eq!(lease.replaced.last().map(|(last, _)| last), Some(&last));
    scene.tidy_up().await;
    assert_eq!(scene.connections.closed(&last), 1);
}

#[tokio::test]
async fn one_message_that_cannot_be_helped_keeps_nothing_else_waiting() {
    let scene = Scene::new().await;
    scene.connect("u", "u").await;
    let broken = scene.say("u", 1).await;
    scene.say("u", 2).await;
    scene.stack.forget_attributes(&format!("conv#{}", broken.conversation), "000000000001", &["created_at"]);
    scene.stack.clock.advance(STUCK_AFTER + SECOND);
    assert_eq!(scene.tidy_up().await, Report { closed: 1, failures: 1, ..redriven(1) });
}

#[tokio::test]
async fn one_deletion_that_always_fails_keeps_no_other_waiting() {
    let scene = Scene::new().await;
    scene.connect("u", "u").await;
    for id in 1..=5 {
        let message = scene.say("u", id).await;
        if id == 3 {
            let pk = format!("conv#{}", message.conversation);
            scene.stack.forget_attributes(&pk, "000000000001", &["created_at"]);
        }
        scene.janitor.conversations.delete(&user("u"), &message.conversation).await.expect("deleted");
    }
    assert_eq!(scene.tidy_up().await, Report { deleted: 4, failures: 1, ..redriven(0) });
    assert_eq!(scene.stack.snapshot().deleted.len(), 1, "the next run tries again");
}

#[tokio::test]
async fn a_replaced_connection_is_closed_even_when_it_opens_only_later() {
    let scene = Scene::new().await;
    scene.connect("u", "first").await;
    assert!(matches!(scene.connect("u", "second").await, Connected::Granted { replaced: Some(_), .. }));
    // The function that took the place has died, or found no socket to close yet.
    scene.tidy_up().await;
    assert_eq!(scene.frames("first")[0]["code"], "replaced");
    assert!(scene.frames("second").is_empty());
    assert_eq!(scene.answerer.leases.find(&user("u")).await.expect("a read").expect("an item").replaced.len(), 1);
    scene.answerer.leases.release(&user("u"), &connection("second")).await.expect("a release");
    scene.tidy_up().await;
    assert!(scene.stack.snapshot().users.contains_key("u"), "remembered until it must be open");
    scene.stack.clock.advance(OPEN_BY + SECOND);
    scene.tidy_up().await;
    scene.tidy_up().await;
    assert!(scene.stack.snapshot().users.is_empty());
}

#[tokio::test]
async fn a_client_that_an_administrator_has_closed_is_told_so_even_if_the_request_could_not() {
    let scene = Scene::new().await;
    scene.connect("u", "first").await;
    scene.connect("u", "second").await;
    let closed = scene.answerer.leases.close(&user("u")).await.expect("an answer");
    assert_eq!(closed, Some(connection("second")));
    // The function that closed the client died before telling it.
    scene.tidy_up().await;
    assert_eq!(scene.frames("first")[0]["code"], "replaced");
    let closing = &scene.frames("second")[0];
    assert_eq!((&closing["type"], &closing["code"]), (&json!("closing"), &json!("closed_by_admin")));
    assert!(scene.connections.closed(&connection("second")) > 0);
    scene.stack.clock.advance(OPEN_BY + SECOND);
    scene.tidy_up().await;
    scene.tidy_up().await;
    assert!(scene.stack.snapshot().users.is_empty());
}

#[tokio::test]
async fn the_old_socket_of_a_user_who_comes_back_after_the_end_of_a_lease_is_closed() {
    let scene = Scene::new().await;
    scene.connect("u", "old").await;
    scene.stack.clock.advance(FIRST_MESSAGE + SECOND);
    let connected =
        scene.answerer.leases.connect(&user("u"), &connection("new"), &Handshake::default()).await.expect("an answer");
    assert!(matches!(connected, Connected::Granted { replaced: Some(old), .. } if old == connection("old")));
    scene.tidy_up().await;
    assert_eq!(scene.frames("old")[0]["code"], "replaced");
    assert!(scene.frames("new").is_empty());
}

#[tokio::test]
async fn the_rest_of_a_deleted_conversation_is_deleted_and_a_user_who_waits_for_an_answer_is_told() {
    let scene = Scene::new().await;
    scene.connect("u", "u").await;
    let message = scene.say("u", 1).await;
    scene.begin(&message).await;
    // The request that deleted the conversation died at once.
    scene.janitor.conversations.delete(&user("u"), &message.conversation).await.expect("deleted");
    assert_eq!(scene.tidy_up().await, Report { deleted: 1, ..Report::default() });
    let state = scene.stack.snapshot();
    assert!(state.messages.is_empty() && state.names.is_empty() && state.deleted.is_empty(), "{state:?}");
    // The worker that had the message died too.
    assert!(scene.frames("u").is_empty());
    scene.stack.clock.advance(STUCK_AFTER + SECOND);
    scene.connect("u", "u2").await;
    scene.tidy_up().await;
    let frames = scene.frames("u2");
    let [error] = &frames[..] else { panic!("{frames:?}") };
    assert_eq!((&error["code"], &error["id"]), (&json!("conversation_not_found"), &json!(message.id)));
    assert!(scene.stack.snapshot().users["u"].pending.is_empty());
}

#[tokio::test]
async fn an_end_that_could_not_be_told_is_told_once_it_can_be() {
    let scene = Scene::new().await;
    scene.connect("u", "u").await;
    // The handshake is pending or the account is throttled, for longer than a worker waits.
    scene.connections.keep_waiting(&connection("u"));
    let message = scene.say("u", 1).await;
    scene.answerer.queue.send(&Job::from(&message)).await.expect("queued");
    scene.work().await;
    assert_eq!(scene.message("u", 1).await.status, Status::Done);
    assert!(!scene.message("u", 1).await.told);
    scene.connections.open(&connection("u"));
    scene.tidy_up().await;
    scene.work().await;
    let frames = scene.frames("u");
    let [reply] = &frames[..] else { panic!("{frames:?}") };
    assert_eq!((&reply["type"], &reply["id"]), (&json!("reply"), &json!(message.id)));
    assert!(scene.message("u", 1).await.told);
    assert!(scene.stack.snapshot().users["u"].untold.is_empty());
    scene.stack.clock.advance(SECOND);
    scene.tidy_up().await;
    assert!(scene.stack.receive().await.is_empty(), "nothing is owed any more");
}

#[tokio::test]
async fn media_of_a_message_that_was_refused_goes_and_that_of_one_that_was_accepted_stays() {
    let mut scene = Scene::with_storage().await;
    scene.stack.limits.max_pending_per_client = 1;
    scene.connect("u", "u").await;
    scene.stack.make_conversations("u", [1]);
    let (kept, refused) = (scene.upload(1).await, scene.upload(2).await);
    assert!(matches!(scene.show(1, &kept).await, Ok(Admission::New(_))));
    assert!(scene.stack.snapshot().held.is_empty(), "it is used");
    assert!(matches!(scene.show(2, &refused).await, Err(Error::TooManyPending { .. })));
    assert_eq!(scene.answerer.media.stored().await.len(), 2);
    scene.tidy_up().await;
    assert_eq!(scene.answerer.media.stored().await.len(), 2, "a repetition may still come to have it");
    scene.wait_for_held();
    assert_eq!(scene.tidy_up().await.dropped, 1);
    assert_eq!(scene.answerer.media.stored().await, [kept.as_str()]);
    assert!(scene.stack.snapshot().held.is_empty());
}

/// Its conversation is deleted while it answers with a tone.
#[derive(Debug)]
struct Deleting(Conversations, ConversationId);

impl Model for Deleting {
    fn name(&self) -> &'static str {
        "deleting"
    }

    fn answer(&self, _: Prompt) -> BoxStream<'static, Result<Piece, ModelError>> {
        let Self(conversations, id) = self;
        let (conversations, id) = (conversations.clone(), id.clone());
        stream::once(async move {
            let deletion = conversations.delete(&user("u"), &id).await.expect("deleted");
            assert!(conversations.sweep(&deletion, SECOND).await.expect("swept"));
            Ok(Piece::Media(Sample::tone()))
        })
        .boxed()
    }
}

#[tokio::test]
async fn media_of_an_answer_that_came_after_the_deletion_of_its_conversation_goes() {
    let mut scene = Scene::with_storage().await;
    scene.connect("u", "u").await;
    let message = scene.say("u", 1).await;
    let conversations = scene.janitor.conversations.clone();
    scene.answerer.model = Arc::new(Deleting(conversations, message.conversation.clone()));
    scene.answerer.queue.send(&Job::from(&message)).await.expect("queued");
    scene.work().await;
    assert_eq!(scene.answerer.media.stored().await.len(), 1);
    scene.wait_for_held();
    assert_eq!(scene.tidy_up().await.dropped, 1);
    assert!(scene.answerer.media.stored().await.is_empty());
}

#[tokio::test]
async fn media_that_are_used_stay_whatever_notes_there_are_of_them() {
    let scene = Scene::with_storage().await;
    scene.connect("u", "u").await;
    let message = scene.say("u", 1).await;
    let Ok(Claimed::Yes(claim)) = scene.answerer.messages.claim(&message).await else { panic!("not claimed") };
    let (sample, key) = (Sample::tone(), MediaKey::of_answer(&message.id.answer(0), "wav"));
    scene.answerer.messages.hold_answer(&claim, &key).await.expect("it is held");
    let stored = scene.answerer.media.store(&user("u"), key.clone(), sample).await.expect("it is stored");
    // Another worker is late.
    scene.answerer.messages.hold(&user("u"), &key, "another").await.expect("it is held");
    let ending = Ending::Done { replies: vec![Reply { text: String::new(), media: Some(stored) }] };
    scene.answerer.messages.end(claim, ending, None, 1).await.expect("an answer").expect("it holds it");
    assert_eq!(scene.stack.snapshot().held.len(), 1, "the note of the other one is left");
    scene.wait_for_held();
    assert_eq!(scene.tidy_up().await.dropped, 0);
    assert_eq!(scene.answerer.media.stored().await, [key.as_str()]);
    assert!(scene.stack.snapshot().held.is_empty());
}

#[tokio::test]
async fn media_that_are_noted_again_while_they_are_about_to_go_stay() {
    let scene = Scene::with_storage().await;
    scene.connect("u", "u").await;
    scene.stack.make_conversations("u", [1]);
    let key = scene.upload(1).await;
    let attachment = scene.answerer.media.take(&user("u"), &key).await.expect("it is copied");
    scene.answerer.messages.hold(&user("u"), &attachment.key, "a refused one").await.expect("it is held");
    scene.wait_for_held();
    let (again, noted) = (scene.answerer.messages.clone(), key.clone());
    let something = async move { again.hold(&user("u"), &noted, "a repetition").await.expect("it is held") };
    Before::install(&scene.stack, "janitor", "UpdateItem", Box::pin(something));
    assert_eq!(scene.tidy_up().await.dropped, 0);
    assert_eq!(scene.answerer.media.stored().await, [key.as_str()]);
    assert_eq!(scene.stack.snapshot().held.len(), 1);
}

#[tokio::test]
async fn an_upload_that_another_message_has_is_already_used_also_after_it_has_expired() {
    let scene = Scene::with_storage().await;
    scene.connect("u", "u").await;
    scene.stack.make_conversations("u", [1]);
    let key = scene.upload(1).await;
    assert!(matches!(scene.show(1, &key).await, Ok(Admission::New(_))));
    assert!(matches!(scene.show(2, &key).await, Err(Error::MediaUsed)));
    scene.answerer.media.expire_upload(&user("u"), &key).await;
    assert!(matches!(scene.show(3, &key).await, Err(Error::MediaUsed)));
    assert!(matches!(scene.show(1, &key).await, Ok(Admission::Duplicate(_))));
}
