//! The end of a seed. There are no faults any more. Each user sends messages again that were not accepted as far as it
//! knows. Then every message must end without further help. Last, everything that is stored is read.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::StreamExt as _;
use reqwest::Method;
use tokio::time::{Instant, sleep};

use super::backstage::Backstage;
use super::user::{Saying, User, read};
use crate::checker::{Event, Message};

/// Long enough for five deliveries of 60 s each (the queue's visibility timeout) that no worker begins with, and for
/// the janitor after them.
const PATIENCE: Duration = Duration::from_secs(360);

/// The time between two looks.
const LOOK: Duration = Duration::from_millis(250);

/// The time between two tries to send a message that was not accepted.
const SAY_AGAIN: Duration = Duration::from_secs(2);

/// If an end is owed, only the janitor has it told, once a minute. After this time, the janitor is started at once.
const JANITOR_AFTER: Duration = Duration::from_secs(4);

/// How a seed ended.
#[derive(Debug, Default)]
pub struct Settling {
    /// The time until everything had ended.
    pub waited: Duration,
    /// How often the janitor was started.
    pub janitors: u32,
    /// Not everything had ended in time.
    pub given_up: bool,
}

impl User {
    /// Sends messages again that were never accepted. Then it stays connected until another user waits for a place.
    pub async fn settle(&mut self, done: &AtomicBool, until: &AtomicBool) {
        self.left.clear();
        let mut say_at = Instant::now();
        while !until.load(Ordering::Relaxed) {
            let open: Vec<Saying> = self.unaccepted().cloned().collect();
            let connected = self.line.as_ref().is_some_and(super::line::Line::is_open);
            let lost = std::mem::take(&mut self.mind.known().lost);
            done.store(open.is_empty(), Ordering::Relaxed);
            if open.is_empty() {
                if lost || !connected {
                    self.line = None;
                } else if self.scene.waiting.load(Ordering::Relaxed) > 0
                    && let Some(line) = self.line.take()
                {
                    line.close().await;
                }
            } else if lost || !connected {
                self.connect().await;
                continue;
            } else if Instant::now() >= say_at {
                say_at = Instant::now() + SAY_AGAIN;
                for message in open.iter().take(5) {
                    self.say(message);
                }
            }
            self.heartbeat_if_due();
            self.mind.news(LOOK * 4).await;
        }
    }

    /// Sends a heartbeat after everything else. Its answer shows that the user has kept its place to the end.
    async fn last_heartbeat(&mut self) {
        let Some(line) = &self.line else { return };
        let before = self.mind.known().heartbeats;
        line.heartbeat();
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.mind.known().heartbeats == before && line.is_open() && Instant::now() < deadline {
            self.mind.news(LOOK).await;
        }
    }

    /// Reads everything that the REST API has of this user.
    async fn read_all(&self) {
        for conversation in self.all_talks().await {
            let items = self.whole(&conversation).await;
            let user = self.name.clone();
            self.scene.recorder.write(Event::History { user, conversation, items, last: true });
        }
    }

    /// The conversations that it knows, and those in the list of the REST API.
    async fn all_talks(&self) -> Vec<String> {
        let mut talks: Vec<String> = self.sent.iter().map(|message| message.conversation.clone()).collect();
        talks.extend(self.talks.iter().cloned());
        let mut next = String::from("/api/conversations?limit=100");
        loop {
            let page = self.get(&next).await.expect("the list is there");
            let items = page["items"].as_array().expect("items");
            talks.extend(items.iter().filter_map(|item| item["id"].as_str().map(str::to_owned)));
            let Some(cursor) = page["nextCursor"].as_str() else { break };
            next = format!("/api/conversations?limit=100&cursor={cursor}");
        }
        talks.sort_unstable();
        talks.dedup();
        talks
    }

    async fn whole(&self, conversation: &str) -> Option<Vec<Message>> {
        let path = format!("/api/conversations/{conversation}/messages?limit=100");
        let (mut items, mut next) = (Vec::new(), path.clone());
        loop {
            let page = self.get(&next).await?;
            items.extend(read(&page["items"]));
            let Some(cursor) = page["nextCursor"].as_str() else { return Some(items) };
            next = format!("{path}&cursor={cursor}");
        }
    }

    /// Returns `None` if the path is not found. There are no faults any more, so there must be an answer.
    async fn get(&self, path: &str) -> Option<serde_json::Value> {
        for _ in 0..5 {
            match self.scene.rest(&self.token, Method::GET, path, None).await {
                Some((200, body)) => return Some(body),
                Some((404, _)) => return None,
                _ => sleep(LOOK * 2).await,
            }
        }
        panic!("{path} is not answered, although there are no faults any more");
    }
}

/// Lets everything end and writes down what is stored.
pub async fn settle(mut users: Vec<User>, backstage: &Backstage) -> Settling {
    let scene = Arc::clone(&users[0].scene);
    let until = AtomicBool::new(false);
    let done: Vec<AtomicBool> = users.iter().map(|_| AtomicBool::new(false)).collect();
    let staying =
        futures_util::future::join_all(users.iter_mut().zip(&done).map(|(user, done)| user.settle(done, &until)));
    let watching = async {
        let settling = watch(backstage, &done).await;
        until.store(true, Ordering::Relaxed);
        settling
    };
    let (settling, _) = tokio::join!(watching, staying);
    scene.recorder.write(Event::Settled);
    futures_util::future::join_all(users.iter_mut().map(User::last_heartbeat)).await;
    sample(&scene, backstage).await;
    futures_util::stream::iter(&users).for_each_concurrent(8, User::read_all).await;
    // The notes are read before and after the objects, because a note may be deleted while the objects are listed.
    let mut held = backstage.held().await.expect("the notes");
    let stored = backstage.objects().await.expect("the objects");
    held.extend(backstage.held().await.expect("the notes"));
    scene.recorder.write(Event::Objects { stored, held });
    for user in users {
        if let Some(line) = user.line {
            line.close().await;
        }
    }
    scene.recorder.write(Event::Ended);
    scene.recorder.flush();
    settling
}

/// Waits until no message, function or queue has work and no user is owed an end.
async fn watch(backstage: &Backstage, done: &[AtomicBool]) -> Settling {
    let (began, mut settling) = (Instant::now(), Settling::default());
    let mut janitor_at = began + JANITOR_AFTER;
    loop {
        sleep(LOOK).await;
        settling.waited = began.elapsed();
        if settling.waited > PATIENCE {
            settling.given_up = true;
            return settling;
        }
        if !done.iter().all(|done| done.load(Ordering::Relaxed)) {
            continue;
        }
        let (Ok(unended), Ok(places), Ok(state)) =
            (backstage.unended().await, backstage.places().await, backstage.state().await)
        else {
            continue;
        };
        let queued = state["queues"].as_object().into_iter().flatten();
        let queued: u64 = queued
            .filter(|(name, _)| !name.contains("dead"))
            .flat_map(|(_, queue)| ["visible", "inFlight", "delayed"].map(|part| queue[part].as_u64().unwrap_or(0)))
            .sum();
        let running: u64 = state["inFlight"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(_, function)| function["now"].as_u64().unwrap_or(0))
            .sum();
        if unended.is_empty() && places.untold == 0 && queued == 0 && running == 0 {
            return settling;
        }
        if Instant::now() >= janitor_at && backstage.run_janitor("settle").await.is_ok() {
            settling.janitors += 1;
            janitor_at = Instant::now() + Duration::from_secs(10);
        }
    }
}

/// Writes down the places that are taken and the number of messages in processing.
pub async fn sample(scene: &super::scene::Scene, backstage: &Backstage) {
    let (Ok(places), Ok(state)) = (backstage.places().await, backstage.state().await) else { return };
    let processing = state["inFlight"]["worker"]["max"].as_u64().unwrap_or(0);
    let processing = u32::try_from(processing).unwrap_or(u32::MAX);
    if places.left_behind > 0 {
        scene.recorder.note("slot left behind");
    }
    scene.recorder.write(Event::Sample { leases: places.leases, slots: places.slots, processing });
}
