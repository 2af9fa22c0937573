//! Faults around an answer that happen on AWS and must be forced here: late replicas, dead workers, time that is used
//! up, a queue that fails for a moment.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use samovar_services::faults::{Call, Fault, Hook, internal_server_error};
use serde_json::json;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::super::rescue::RESCUE_AFTER;
use super::super::writer::{AGAIN, Writer};
use super::super::{MAX_ATTEMPTS, Rescuer};
use super::{DEADLINE, Scene};
use crate::messages::{Claimed, Ending, Lane, Status, StoredMessage};
use crate::queue::Job;
use crate::testing::endpoint::{Endpoint, Step, delta, done, finish, says, stream_head};
use crate::testing::{Before, Connections, connection, user};

/// Works on one job, as the event source and the function do. Gives the result.
async fn work_on(scene: &Scene, (job, receipt): (Job, String)) -> crate::Result<()> {
    let deadline = scene.answerer.clock.now().plus(DEADLINE);
    let result = scene.answerer.run(&job, &receipt, deadline).await;
    if result.is_ok() {
        scene.stack.finished(&receipt).await;
    }
    result
}

/// A worker takes the message and then dies.
async fn die_of(scene: &Scene, message: &StoredMessage) {
    let claimed = scene.answerer.messages.claim(message).await.expect("a claim");
    assert!(matches!(claimed, Claimed::Yes(_)), "{claimed:?}");
}

#[tokio::test]
async fn an_answer_is_not_cancelled_by_a_look_at_a_replica_that_is_late() {
    let go_on = Arc::new(Notify::new());
    let script = vec![stream_head(), delta("one "), Step::Await(Arc::clone(&go_on)), delta("two"), finish(), done()];
    let scene = Scene::new(vec![script]).await;
    scene.say(1).await;
    let looks = || scene.stack.calls("worker").get("GetItem").copied().unwrap_or(0);
    let wait = async {
        scene.connections.until(|connections| !connections.told(&connection("c")).is_empty()).await;
        let before = looks();
        // The writer looks for its user, and the worker looks for the mark.
        while looks() < before + 6 {
            tokio::task::yield_now().await;
        }
        go_on.notify_one();
    };
    tokio::select! {
        () = async { tokio::join!(scene.work(), wait); } => {}
        () = tokio::time::sleep(Duration::from_secs(20)) => panic!("it was cancelled: {:?}", scene.told()),
    }
    let (streamed, reply) = scene.told();
    assert_eq!((streamed.as_str(), &reply["message"]["status"]), ("one two", &json!("done")), "{reply}");
}

#[tokio::test]
async fn a_message_that_kills_its_workers_is_given_up_and_its_conversation_goes_on() {
    let scene = Scene::new(vec![says(&["good"])]).await;
    let (deadly, next) = (scene.say(1).await, scene.say(2).await);
    for _ in 0..MAX_ATTEMPTS {
        die_of(&scene, &deadly).await;
    }
    // The next job of the conversation, whichever message it is for.
    scene.work().await;
    let frames = scene.connections.told(&connection("c"));
    let error = &frames[0];
    assert_eq!((&error["type"], &error["code"]), (&json!("error"), &json!("reply_failed")), "{error}");
    assert_eq!(error["id"], json!(deadly.id));
    assert_eq!(scene.message(&deadly.id).await.status, Status::Failed);
    while scene.message(&next.id).await.status != Status::Done {
        scene.work().await;
    }
    assert_eq!(scene.endpoint.requests().len(), 1, "nobody asks for it again");
    assert!(scene.stack.snapshot().users["u"].pending.is_empty());
}

#[tokio::test]
async fn an_attempt_that_was_given_back_does_not_count_as_a_workers_death() {
    let scene = Scene::new(vec![says(&["good"])]).await;
    let message = scene.say(1).await;
    for _ in 0..MAX_ATTEMPTS + 2 {
        let claimed = scene.answerer.messages.claim(&message).await.expect("a claim");
        let Claimed::Yes(claim) = claimed else { panic!("{claimed:?}") };
        scene.answerer.messages.put_back(&claim).await.expect("put back");
    }
    scene.work().await;
    assert_eq!(scene.message(&message.id).await.status, Status::Done);
}

#[tokio::test]
async fn a_message_whose_turn_comes_when_the_time_is_used_up_is_answered_later() {
    let go_on = Arc::new(Notify::new());
    let first = vec![stream_head(), Step::Await(Arc::clone(&go_on)), delta("first"), finish(), done()];
    let second = vec![stream_head(), delta("sec"), Step::Hang];
    let scene = Scene::new(vec![first, second, says(&["second"])]).await;
    let (one, two) = (scene.say(1).await, scene.say(2).await);
    let mut jobs = scene.stack.receive().await;
    // The first job is lost. The worker of the second finds both messages.
    scene.stack.finished(&jobs.remove(0).1).await;
    let use_up = async {
        while scene.endpoint.requests().is_empty() {
            tokio::task::yield_now().await;
        }
        scene.stack.clock.advance(DEADLINE / 2 - Duration::from_millis(200));
        go_on.notify_one();
    };
    let (result, ()) = tokio::join!(work_on(&scene, jobs.remove(0)), use_up);
    assert!(matches!(result, Err(crate::Error::OutOfTime { .. })), "{result:?}");
    assert_eq!(scene.message(&one.id).await.status, Status::Done);
    assert_eq!(scene.message(&two.id).await.status, Status::Processing, "it waits for another worker");
    // The job comes back.
    while scene.message(&two.id).await.status != Status::Done {
        scene.work().await;
    }
    assert_eq!(scene.told_last()["replies"][0]["text"], "second");
}

/// Fails some calls of one operation and then no more.
#[derive(Debug)]
pub(super) struct Failing {
    operation: &'static str,
    left: AtomicUsize,
}

impl Failing {
    pub(super) fn of(operation: &'static str, calls: usize) -> Arc<Self> {
        Arc::new(Self { operation, left: AtomicUsize::new(calls) })
    }
}

impl Hook for Failing {
    fn decide(&self, call: Call) -> BoxFuture<'_, Fault> {
        let less = |left: usize| left.checked_sub(1);
        let fails = call.operation == self.operation
            && self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok();
        let fault = if fails { Fault::refused(internal_server_error()) } else { Fault::none() };
        async move { fault }.boxed()
    }
}

#[tokio::test]
async fn a_hold_that_fails_for_a_moment_costs_no_answer() {
    let go_on = Arc::new(Notify::new());
    let script = vec![stream_head(), Step::Await(Arc::clone(&go_on)), delta("good"), finish(), done()];
    let scene = Scene::new(vec![script]).await;
    let message = scene.say(1).await;
    let job = scene.stack.receive().await.remove(0);
    // More failures than the SDK's tries of one call.
    let failing = Failing::of("ChangeMessageVisibility", 4);
    scene.stack.services.faults.install(failing.clone());
    let over = async {
        while failing.left.load(Ordering::SeqCst) > 0 {
            tokio::task::yield_now().await;
        }
        go_on.notify_one();
    };
    let (result, ()) = tokio::join!(work_on(&scene, job), over);
    result.expect("it is answered");
    assert_eq!(scene.message(&message.id).await.status, Status::Done);
    assert_eq!(scene.told().0, "good");
}

#[tokio::test]
async fn a_worker_that_has_lost_its_message_tells_nothing_more() {
    let scene = Scene::new(vec![vec![stream_head(), delta("one "), Step::Hang]]).await;
    scene.say(1).await;
    let (c, connections) = (connection("c"), Arc::clone(&scene.connections));
    // The delta can't be told, so the writer always has something left to tell.
    connections.keep_waiting(&c);
    let (job, receipt) = scene.stack.receive().await.remove(0);
    // The message is held before anything is told, so the next hold finds it lost.
    let finished = scene.stack.finishing(&receipt);
    let lose = async {
        connections.until(|connections| connections.tries(&c) > 0).await;
        Before::install(&scene.stack, "worker", "ChangeMessageVisibility", finished.boxed());
    };
    let deadline = scene.answerer.clock.now().plus(Duration::from_secs(60));
    let (result, ()) = tokio::join!(scene.answerer.run(&job, &receipt, deadline), lose);
    result.expect_err("the message is another's");
    let tries = connections.tries(&c);
    tokio::time::sleep(2 * AGAIN).await;
    assert_eq!(connections.tries(&c), tries);
}

#[tokio::test]
async fn a_writer_that_is_dropped_does_not_tell_even_what_it_has() {
    let scene = Scene::new(vec![]).await;
    let message = scene.say(1).await;
    let (c, connections) = (connection("c"), Arc::clone(&scene.connections));
    connections.keep_waiting(&c);
    let claimed = scene.answerer.messages.claim(&message).await.expect("a claim");
    let Claimed::Yes(claim) = claimed else { panic!("{claimed:?}") };
    let writer = Writer::start(&scene.answerer, &claim).expect("nothing was told before");
    writer.write("one ");
    connections.until(|connections| connections.tries(&c) > 0).await;
    drop(writer);
    let tries = connections.tries(&c);
    tokio::time::sleep(2 * AGAIN).await;
    assert_eq!(connections.tries(&c), tries);
}

#[tokio::test]
async fn a_message_fails_at_once_if_nobody_listens_at_the_models_address() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    for (address, reason) in [
        (format!("http://{free}/v1"), "its address refuses connections"),
        ("http://no-such-host.invalid/v1".to_owned(), "the name of its address is not known"),
    ] {
        let scene = Scene::at(Endpoint::start(vec![vec![]]), &address).await;
        let message = scene.say(1).await;
        let began = Instant::now();
        scene.work().await;
        assert!(began.elapsed() < DEADLINE / 2, "{address}: it was asked until the time was over");
        let error = scene.told_last();
        assert_eq!((&error["type"], &error["code"]), (&json!("error"), &json!("reply_failed")), "{error}");
        assert!(error["message"].as_str().is_some_and(|text| text.contains(reason)), "{error}");
        assert_eq!(scene.message(&message.id).await.status, Status::Failed);
    }
}

/// The rescuer, as `heartbeat` has it.
async fn rescuer(scene: &Scene) -> Rescuer {
    scene.stack.app("heartbeat", 3, 1).await.rescuer().expect("a rescuer")
}

/// Looks as a heartbeat does.
async fn look(scene: &Scene, rescuer: &Rescuer) {
    let renewed = scene.answerer.leases.renew(&user("u"), &connection("c")).await.expect("its lease");
    rescuer.look_after(&user("u"), &renewed.pending).await.expect("a look");
}

#[tokio::test]
async fn a_message_whose_worker_died_before_it_began_is_answered_beside_it() {
    let scene = Scene::new(vec![says(&["one"]), says(&["two"])]).await;
    let rescuer = rescuer(&scene).await;
    let (one, two) = (scene.say(1).await, scene.say(2).await);
    let lost = scene.stack.receive().await;
    look(&scene, &rescuer).await;
    assert!(scene.stack.receive().await.is_empty(), "a worker may be about to begin");
    scene.stack.clock.advance(RESCUE_AFTER + Duration::from_secs(1));
    for _ in 0..2 {
        look(&scene, &rescuer).await;
    }
    scene.work().await;
    assert!(scene.stack.receive().await.is_empty(), "each is queued once more, however often it is asked for");
    let replies: Vec<_> =
        scene.connections.told(&connection("c")).into_iter().filter(|f| f["type"] == "reply").collect();
    let told: Vec<_> = replies.iter().map(|reply| (&reply["id"], &reply["replies"][0]["text"])).collect();
    assert_eq!(told, [(&json!(one.id), &json!("one")), (&json!(two.id), &json!("two"))]);
    // The lost jobs come back and find nothing to do.
    for (job, receipt) in lost {
        let deadline = scene.answerer.clock.now().plus(DEADLINE);
        scene.answerer.run(&job, &receipt, deadline).await.expect("nothing to do");
    }
    assert_eq!(scene.endpoint.requests().len(), 2);
}

#[tokio::test]
async fn a_message_that_one_lane_has_begun_is_left_to_it_and_later_messages_wait() {
    let scene = Scene::new(vec![says(&["one"]), says(&["two"])]).await;
    let messages = &scene.answerer.messages;
    let (one, two) = (scene.say(1).await, scene.say(2).await);
    let mut ordinary = scene.stack.receive().await;
    let second = ordinary.pop().expect("two jobs");
    for message in [&one, &two] {
        scene.answerer.queue.rescue(message).await.expect("queued");
    }
    // A worker of the ordinary lane has the first message.
    let claimed = messages.claim(&one).await.expect("a claim");
    let Claimed::Yes(claim) = claimed else { panic!("{claimed:?}") };
    scene.work().await;
    assert!(scene.endpoint.requests().is_empty(), "the rescue lane has begun with what follows");
    // That worker has died. Another worker of its lane begins anew and ends the message.
    let claimed = messages.claim(&one).await.expect("a claim");
    assert!(matches!(&claimed, Claimed::Yes(claim) if claim.repeated), "{claimed:?}");
    assert!(messages.end(claim, Ending::text("the dead one's"), None, 0).await.expect("an answer").is_none());
    let Claimed::Yes(claim) = claimed else { panic!("not claimed") };
    messages.end(claim, Ending::text("one"), None, 0).await.expect("an answer").expect("it holds it");
    // Now the rescue lane has the second message.
    let rescued = messages.claim_in(Lane::Rescue, &two).await.expect("a claim");
    assert!(matches!(rescued, Claimed::Yes(_)), "{rescued:?}");
    let result = work_on(&scene, second.clone()).await;
    assert!(matches!(result, Err(crate::Error::Contended { .. })), "{result:?}");
    assert_eq!(scene.message(&two.id).await.status, Status::Processing);
    // By then, the worker in the rescue lane must be dead.
    scene.stack.clock.advance(Duration::from_secs(100));
    work_on(&scene, second).await.expect("it is answered");
    assert_eq!(scene.message(&two.id).await.status, Status::Done);
}

#[tokio::test]
async fn a_message_that_was_rescued_is_told_once_if_its_first_job_comes_first() {
    let scene = Scene::new(vec![says(&["one"])]).await;
    let rescuer = rescuer(&scene).await;
    scene.say(1).await;
    scene.stack.clock.advance(RESCUE_AFTER + Duration::from_secs(1));
    look(&scene, &rescuer).await;
    let mut jobs = scene.stack.receive().await;
    jobs.sort_by_key(|(job, _)| job.rescue);
    assert_eq!(jobs.iter().map(|(job, _)| job.rescue).collect::<Vec<_>>(), [false, true]);
    for (job, receipt) in jobs {
        let deadline = scene.answerer.clock.now().plus(DEADLINE);
        scene.answerer.run(&job, &receipt, deadline).await.expect("it is worked on");
    }
    let replies = scene.connections.told(&connection("c")).into_iter().filter(|frame| frame["type"] == "reply");
    assert_eq!(replies.count(), 1);
}

/// Notes how many frames the user had at each transaction of the worker.
#[derive(Debug)]
struct AtTransactions {
    connections: Arc<Connections>,
    told: Mutex<Vec<usize>>,
}

impl Hook for AtTransactions {
    fn decide(&self, call: Call) -> BoxFuture<'_, Fault> {
        if call.caller == "worker" && call.operation == "TransactWriteItems" {
            self.told.lock().expect("no panic").push(self.connections.told(&connection("c")).len());
        }
        async { Fault::none() }.boxed()
    }
}

#[tokio::test]
async fn a_message_ends_after_its_last_delta_so_no_delta_can_follow_an_end_that_another_worker_tells() {
    let scene = Scene::new(vec![says(&["good"])]).await;
    scene.say(1).await;
    scene.connections.delay(Duration::from_millis(200));
    let hook = Arc::new(AtTransactions { connections: Arc::clone(&scene.connections), told: Mutex::default() });
    scene.stack.services.faults.install(hook.clone());
    scene.work().await;
    assert_eq!(*hook.told.lock().expect("no panic"), [1], "the end is the only transaction");
    let (streamed, reply) = scene.told();
    assert_eq!((streamed.as_str(), &reply["type"]), ("good", &json!("reply")), "{reply}");
}
