//! What a user does in each run: connects, is answered, sends a heartbeat, cancels what waits and what is at work, goes
//! on elsewhere, leaves. Whoever is not answered asks again, as the contract has it; whatever was accepted is waited for.

use std::time::Duration;

use tests::campaign::backstage::Backstage;
use tests::campaign::faults::Call;
use tests::campaign::line::Fate;
use tests::campaign::user::{Saying, User};
use tests::checker::Event;
use tests::{media, new_id};
use tokio::time::{Instant, sleep};

/// A worker that dies before it holds its message costs a minute at most; and then some, on a slow machine.
const PATIENCE: Duration = Duration::from_secs(150);

const ASK_AGAIN: Duration = Duration::from_secs(3);

/// The functions that are invoked, and by which step of it.
pub(crate) const STEPS: &[(&str, &str)] = &[
    ("connect", "first"),
    ("connect", "second"),
    ("send_message", "ordinary"),
    ("send_message", "picture"),
    ("worker", "ordinary"),
    ("worker", "picture"),
    ("worker", "stopped"),
    ("heartbeat", "user"),
    ("cancel", "waiting"),
    ("cancel", "stopped"),
    ("disconnect", "user"),
];

/// Ids that are known before they are used, so that a fault can be aimed.
pub(crate) struct Script {
    name: String,
    ordinary: String,
    picture: String,
    stopped: String,
    waiting: String,
}

impl Script {
    pub(crate) fn of(name: &str) -> Self {
        Self { name: name.to_owned(), ordinary: new_id(), picture: new_id(), stopped: new_id(), waiting: new_id() }
    }

    /// What is in the event of the step and of no other.
    pub(crate) fn event(&self, step: &str, user: &str) -> String {
        match step {
            "first" => format!("{}-first", self.name),
            "second" => format!("{}-second", self.name),
            "ordinary" => self.ordinary.clone(),
            "picture" => self.picture.clone(),
            "stopped" => self.stopped.clone(),
            "waiting" => self.waiting.clone(),
            _ => user.to_owned(),
        }
    }
}

/// The user's id, which is in the events of its routes.
pub(crate) async fn id_of(user: &User) -> String {
    loop {
        let me = user.scene.rest(&user.token, reqwest::Method::GET, "/api/me", None).await;
        if let Some((200, me)) = me {
            return me["id"].as_str().expect("an id").to_owned();
        }
        sleep(Duration::from_millis(100)).await;
    }
}

/// The calls that the function made in the step.
pub(crate) async fn calls(
    backstage: &Backstage,
    user: &User,
    script: &Script,
    function: &str,
    step: &str,
) -> Vec<Call> {
    let event = script.event(step, &id_of(user).await);
    backstage.calls(function, &event).await.expect("the stack notes calls")
}

pub(crate) async fn play(user: &mut User, script: &Script, with_picture: bool) {
    let user_is = format!("@{}", user.name);
    connect(user, &format!("?session={}-first", user.name)).await;
    let conversation = make_talk(user).await;
    let say = |id: &str, text: String, media: Option<String>| Saying {
        id: id.to_owned(),
        conversation: conversation.clone(),
        text,
        media,
        parent: None,
        sent: Instant::now(),
    };
    let ordinary = say(&script.ordinary, format!("hello {user_is}"), None);
    accepted(user, &ordinary).await;
    ended(user, &script.ordinary).await;
    heartbeat(user).await;
    if with_picture {
        let key = upload(user).await;
        accepted(user, &say(&script.picture, format!("look {user_is}"), Some(key))).await;
        ended(user, &script.picture).await;
    }
    // One is at work and is stopped, one waits behind it.
    accepted(user, &say(&script.stopped, format!("!slow 60000 {user_is}"), None)).await;
    accepted(user, &say(&script.waiting, format!("waits {user_is}"), None)).await;
    for id in [&script.waiting, &script.stopped] {
        let since = Instant::now();
        while !fate(user, id).ended {
            assert!(since.elapsed() < PATIENCE, "{}: {id} is cancelled and does not end", user.name);
            reconnect(user).await;
            if let Some(line) = &user.line {
                line.cancel(id);
            }
            wait(user, ASK_AGAIN, |user| fate(user, id).ended).await;
        }
    }
    // On with another device, the old one still there; and once more what was said.
    let second = format!("?session={}-second&takeover=true", user.name);
    user.left.extend(user.line.take());
    connect(user, &second).await;
    accepted_once_more(user, &ordinary).await;
    user.left.clear();
    if let Some(line) = user.line.take() {
        line.close().await;
    }
}

async fn connect(user: &mut User, query: &str) {
    let since = Instant::now();
    loop {
        assert!(since.elapsed() < PATIENCE, "{} can't connect", user.name);
        match user.scene.exchange.connect(&user.name, &user.token, query, &user.mind).await {
            Ok(line) => {
                user.mind.known().lost = false;
                user.line = Some(line);
                return;
            }
            Err(_) => sleep(Duration::from_millis(300)).await,
        }
    }
}

/// Where the line was lost.
async fn reconnect(user: &mut User) {
    let lost = std::mem::take(&mut user.mind.known().lost);
    if lost || user.line.as_ref().is_none_or(|line| !line.is_open()) {
        let query = format!("?session={}-first", user.name);
        connect(user, &query).await;
    }
}

fn fate(user: &User, id: &str) -> Fate {
    user.mind.known().messages.get(id).cloned().unwrap_or_default()
}

/// Until it is so, or the time is over.
async fn wait(user: &User, time: Duration, so: impl Fn(&User) -> bool) {
    let deadline = Instant::now() + time;
    while !so(user) && Instant::now() < deadline {
        user.mind.news(Duration::from_millis(200)).await;
    }
}

async fn accepted(user: &mut User, message: &Saying) {
    user.sent.push(message.clone());
    let since = Instant::now();
    while !fate(user, &message.id).accepted {
        assert!(
            since.elapsed() < PATIENCE,
            "{}: {} is not accepted: {:?}",
            user.name,
            message.id,
            fate(user, &message.id)
        );
        reconnect(user).await;
        user.say(message);
        wait(user, ASK_AGAIN, |user| {
            let fate = fate(user, &message.id);
            fate.accepted || fate.refused.is_some()
        })
        .await;
    }
}

/// By itself, while its sender stays.
async fn ended(user: &mut User, id: &str) {
    let since = Instant::now();
    while !fate(user, id).ended {
        assert!(since.elapsed() < PATIENCE, "{}: {id} does not end", user.name);
        reconnect(user).await;
        wait(user, ASK_AGAIN, |user| fate(user, id).ended).await;
        if !fate(user, id).ended
            && let Some(line) = &user.line
        {
            line.heartbeat();
        }
    }
}

async fn heartbeat(user: &mut User) {
    let (since, before) = (Instant::now(), user.mind.known().heartbeats);
    while user.mind.known().heartbeats == before {
        assert!(since.elapsed() < PATIENCE, "{}: no heartbeat is answered", user.name);
        reconnect(user).await;
        if let Some(line) = &user.line {
            line.heartbeat();
        }
        wait(user, ASK_AGAIN, |user| user.mind.known().heartbeats > before).await;
    }
}

/// It has ended, and its end is told again.
async fn accepted_once_more(user: &mut User, message: &Saying) {
    let known = user.mind.known().messages.remove(&message.id);
    accepted_again(user, message).await;
    if let Some(known) = known {
        user.mind.known().messages.entry(message.id.clone()).or_default().answers = known.answers;
    }
}

async fn accepted_again(user: &mut User, message: &Saying) {
    let since = Instant::now();
    while !fate(user, &message.id).accepted {
        assert!(since.elapsed() < PATIENCE, "{}: {} is not accepted again", user.name, message.id);
        if std::mem::take(&mut user.mind.known().lost) || user.line.as_ref().is_none_or(|line| !line.is_open()) {
            let query = format!("?session={}-second&takeover=true", user.name);
            connect(user, &query).await;
        }
        user.say(message);
        wait(user, ASK_AGAIN, |user| fate(user, &message.id).accepted).await;
    }
}

async fn make_talk(user: &mut User) -> String {
    let nothing = serde_json::json!({});
    loop {
        let made = user.scene.rest(&user.token, reqwest::Method::POST, "/api/conversations", Some(&nothing)).await;
        let Some((201, made)) = made else { continue };
        let id = made["id"].as_str().expect("an id").to_owned();
        user.scene.recorder.write(Event::Made { user: user.name.clone(), conversation: id.clone() });
        user.talks.push(id.clone());
        return id;
    }
}

async fn upload(user: &User) -> String {
    let file = media::fixture("picture.png");
    let wish = serde_json::json!({ "contentType": "image/png", "bytes": file.len() });
    loop {
        let upload = user.scene.rest(&user.token, reqwest::Method::POST, "/api/uploads", Some(&wish)).await;
        if let Some((201, upload)) = upload
            && user.scene.upload(&upload, &file).await
        {
            return upload["key"].as_str().expect("a key").to_owned();
        }
    }
}

/// Connects and is answered.
pub(crate) async fn speak(user: &mut User) {
    connect(user, &format!("?session={}-first", user.name)).await;
    let conversation = make_talk(user).await;
    let text = format!("hello @{}", user.name);
    let message = Saying { id: new_id(), conversation, text, media: None, parent: None, sent: Instant::now() };
    accepted(user, &message).await;
    ended(user, &message.id).await;
}
