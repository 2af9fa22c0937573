//! Jobs in the dead-letter queue: their messages end, their users are told, and their conversations go on.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::{DeadLetters, UNANSWERED};
use super::Scene;
use super::faults::Failing;
use crate::messages::{Claimed, Ending, Status};
use crate::queue::Job;
use crate::testing::endpoint::says;
use crate::testing::{connection, user};

async fn dead_letters(scene: &Scene) -> DeadLetters {
    let app = scene.stack.app("dead_letters", 3, 2).await.pushing_to(&scene.connections);
    app.dead_letters().expect("its parts")
}

fn told(scene: &Scene) -> Vec<Value> {
    scene.connections.told(&connection("c"))
}

#[tokio::test]
async fn the_message_of_a_dead_job_fails_and_what_follows_is_answered() {
    let scene = Scene::new(vec![says(&["good"])]).await;
    let dead_letters = dead_letters(&scene).await;
    let (dead, next) = (scene.say(1).await, scene.say(2).await);
    let (job, receipt) = scene.stack.receive().await.remove(0);
    // The queue lets go of a job that it moves to the dead-letter queue.
    scene.stack.finished(&receipt).await;
    dead_letters.end(&job).await.expect("it is ended");
    let [error] = &told(&scene)[..] else { panic!("{:?}", told(&scene)) };
    assert_eq!((&error["type"], &error["code"]), (&json!("error"), &json!("reply_failed")), "{error}");
    assert_eq!((&error["id"], &error["message"]), (&json!(dead.id), &json!(UNANSWERED)), "{error}");
    let stored = scene.message(&dead.id).await;
    assert_eq!((stored.status, stored.told), (Status::Failed, true));
    while scene.message(&next.id).await.status != Status::Done {
        for (job, receipt) in scene.stack.receive().await {
            scene.answerer.run(&job, &receipt, scene.answerer.clock.now()).await.expect("answered");
            scene.stack.finished(&receipt).await;
        }
        // The job that was received together with the dead one comes back at once.
        scene.answerer.queue.send_again(&Job::from(&next), 1).await.expect("queued");
    }
    assert!(scene.stack.snapshot().users["u"].pending.is_empty());
}

#[tokio::test]
async fn a_job_that_is_dead_twice_or_moved_back_to_its_queue_does_nothing_more() {
    let scene = Scene::new(vec![]).await;
    let dead_letters = dead_letters(&scene).await;
    let message = scene.say(1).await;
    let job = Job::from(&message);
    for _ in 0..2 {
        dead_letters.end(&job).await.expect("it is ended");
    }
    // The job is moved back, and the queue gives it to a worker.
    scene.work().await;
    assert_eq!(told(&scene).len(), 1, "{:?}", told(&scene));
    assert_eq!(scene.message(&message.id).await.status, Status::Failed);
    assert!(scene.endpoint.requests().is_empty(), "the model is not asked");
}

#[tokio::test]
async fn a_message_that_a_worker_has_is_left_to_that_worker_until_it_must_be_dead() {
    let scene = Scene::new(vec![]).await;
    let dead_letters = dead_letters(&scene).await;
    let (answered, abandoned) = (scene.say(1).await, scene.say(2).await);
    let messages = &scene.answerer.messages;
    let mut claims = Vec::new();
    for message in [&answered, &abandoned] {
        let Ok(Claimed::Yes(claim)) = messages.claim(message).await else { panic!("not claimed") };
        claims.push(claim);
        let left = dead_letters.end(&Job::from(message)).await;
        assert!(matches!(left, Err(crate::Error::Contended { .. })), "{left:?}");
    }
    messages.end(claims.remove(0), Ending::text("hi"), None, 2).await.expect("an end").expect("it holds it");
    dead_letters.end(&Job::from(&answered)).await.expect("nothing to end");
    let reply = &told(&scene)[0];
    assert_eq!((&reply["type"], &reply["replies"][0]["text"]), (&json!("reply"), &json!("hi")), "it was owed");
    scene.stack.clock.advance(Duration::from_secs(90));
    dead_letters.end(&Job::from(&abandoned)).await.expect("it is ended");
    assert_eq!(scene.message(&abandoned.id).await.status, Status::Failed);
    assert_eq!(told(&scene).len(), 2);
}

#[tokio::test]
async fn a_message_that_its_worker_has_given_back_is_ended_at_once() {
    let scene = Scene::new(vec![]).await;
    let dead_letters = dead_letters(&scene).await;
    let message = scene.say(1).await;
    let Ok(Claimed::Yes(claim)) = scene.answerer.messages.claim(&message).await else { panic!("not claimed") };
    scene.answerer.messages.put_back(&claim).await.expect("put back");
    dead_letters.end(&Job::from(&message)).await.expect("it is ended");
    assert_eq!(scene.message(&message.id).await.status, Status::Failed);
}

#[tokio::test]
async fn an_end_that_fails_is_tried_again_and_told_once() {
    for operation in ["TransactWriteItems", "UpdateItem", "GetItem"] {
        let scene = Scene::new(vec![]).await;
        let dead_letters = dead_letters(&scene).await;
        let message = scene.say(1).await;
        // Three failures are all the tries that the SDK makes for one call.
        scene.stack.services.faults.install(Failing::of(operation, 3));
        let failed = dead_letters.end(&Job::from(&message)).await;
        assert!(matches!(failed, Err(crate::Error::Service { .. })), "{operation}: {failed:?}");
        dead_letters.end(&Job::from(&message)).await.expect("it is ended");
        assert_eq!(told(&scene).len(), 1, "{operation}: {:?}", told(&scene));
        assert_eq!(scene.message(&message.id).await.status, Status::Failed, "{operation}");
        assert!(scene.stack.snapshot().users["u"].pending.is_empty(), "{operation}");
    }
}

#[tokio::test]
async fn a_dead_job_of_a_deleted_conversation_tells_the_user_who_waits() {
    let scene = Scene::new(vec![]).await;
    let app = scene.stack.app("dead_letters", 3, 2).await.pushing_to(&scene.connections);
    let message = scene.say(1).await;
    let conversations = app.conversations().expect("conversations");
    conversations.delete(&user("u"), &message.conversation).await.expect("deleted");
    while let Some(deletion) = conversations.deletions().await.expect("a list").pop() {
        conversations.sweep(&deletion.expect("a deletion"), Duration::from_secs(1)).await.expect("swept");
    }
    app.dead_letters().expect("its parts").end(&Job::from(&message)).await.expect("it is told");
    assert_eq!(told(&scene)[0]["code"], "conversation_not_found");
}
