//! The scenario of each run. A user connects, gets an answer, sends a heartbeat, cancels a message that waits and one
//! that is being answered, continues on another device, and leaves. A user that gets no answer asks again, as the
//! contract allows. The user waits for the end of each message that was accepted.

use std::collections::BTreeMap;
use std::time::Duration;

use e2e::campaign::backstage::Backstage;
use e2e::campaign::faults::Aim;
use e2e::campaign::line::Fate;
use e2e::campaign::user::{Saying, User};
use e2e::checker::Event;
use e2e::{media, new_id};
use tokio::time::{Instant, sleep};

/// A worker that dies before it holds its message costs a minute at most. A slow machine needs more.
const PATIENCE: Duration = Duration::from_secs(150);

/// The last functions end within this time after the scenario.
const MET_WITHIN: Duration = Duration::from_secs(3);

const ASK_AGAIN: Duration = Duration::from_secs(3);

/// The functions that the scenario invokes, each with the step that invokes it.
pub(crate) const STEPS: &[(&str, &str)] = &[
    ("connect", "first"),
    ("connect", "second"),
    ("send_message", "ordinary"),
    ("send_message", "picture"),
    ("send_message", "again"),
    ("worker", "ordinary"),
    ("worker", "picture"),
    ("worker", "stopped"),
    ("worker", "again"),
    ("heartbeat", "beat"),
    ("cancel", "waiting"),
    ("cancel", "stopped"),
    ("disconnect", "leave"),
];

/// The ids of a run. They are chosen beforehand, so that a fault can be aimed at them.
pub(crate) struct Script {
    name: String,
    user: String,
    ordinary: String,
    picture: String,
    stopped: String,
    waiting: String,
}

impl Script {
    pub(crate) async fn of(user: &User) -> Self {
        Self {
            name: user.name.clone(),
            user: id_of(user).await,
            ordinary: new_id(),
            picture: new_id(),
            stopped: new_id(),
            waiting: new_id(),
        }
    }

    /// A text that the events of this step contain.
    pub(crate) fn event(&self, step: &str) -> String {
        match step {
            "first" | "second" => format!("{}-{step}", self.name),
            "ordinary" | "again" => self.ordinary.clone(),
            "picture" => self.picture.clone(),
            "stopped" => self.stopped.clone(),
            "waiting" => self.waiting.clone(),
            _ => self.user.clone(),
        }
    }
}

/// Watches the scenario. It aims a fault at a step before the step is played, or learns the step's calls after it.
pub(crate) struct Director<'a> {
    pub(crate) backstage: &'a Backstage,
    pub(crate) aim: Option<(&'a str, Aim)>,
    /// How many calls each function has made in each step.
    pub(crate) learned: Option<BTreeMap<(&'static str, &'static str), usize>>,
}

impl Director<'_> {
    async fn before(&self, step: &str) {
        if let Some((_, aim)) = self.aim.as_ref().filter(|(at, _)| *at == step) {
            self.backstage.aim(aim).await.expect("the stack takes the rule");
        }
    }

    async fn after(&mut self, step: &str, script: &Script) {
        let Some(learned) = &mut self.learned else { return };
        // There is no other user, so everything that runs belongs to this step.
        quiet(self.backstage).await;
        for (function, of) in STEPS.iter().filter(|(_, of)| *of == step) {
            let calls = self.backstage.calls(function, &script.event(step)).await.expect("the stack notes calls");
            assert!(!calls.is_empty(), "{function} has made no calls in {step}");
            learned.insert((*function, *of), calls.len());
        }
    }

    /// Whether the rule was met. This waits for a while, because the rule's call may be the last of all.
    pub(crate) async fn met(&self) -> bool {
        let Some((_, aim)) = &self.aim else { return false };
        let since = Instant::now();
        loop {
            let rules = self.backstage.faults().await.expect("the rules").rules;
            let met = rules.iter().any(|rule| rule.event == aim.event && rule.function == aim.function && rule.met);
            if met || since.elapsed() > MET_WITHIN {
                return met;
            }
            sleep(Duration::from_millis(200)).await;
        }
    }
}

/// Waits until no function runs.
async fn quiet(backstage: &Backstage) {
    loop {
        let state = backstage.state().await.expect("the state");
        let functions = state["inFlight"].as_object().expect("functions");
        if functions.values().all(|function| function["now"] == 0) {
            return;
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// The user's id, which is in the events of its routes.
async fn id_of(user: &User) -> String {
    loop {
        let me = user.scene.rest(&user.token, reqwest::Method::GET, "/api/me", None).await;
        if let Some((200, me)) = me {
            return me["id"].as_str().expect("an id").to_owned();
        }
        sleep(Duration::from_millis(100)).await;
    }
}

pub(crate) async fn play(user: &mut User, script: &Script, director: &mut Director<'_>, with_picture: bool) {
    let user_is = format!("@{}", user.name);
    director.before("first").await;
    connect(user, &format!("?session={}-first", user.name)).await;
    director.after("first", script).await;
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
    director.before("ordinary").await;
    accepted(user, &ordinary).await;
    ended(user, &script.ordinary).await;
    director.after("ordinary", script).await;
    director.before("beat").await;
    heartbeat(user).await;
    director.after("beat", script).await;
    if with_picture {
        let key = upload(user).await;
        director.before("picture").await;
        accepted(user, &say(&script.picture, format!("look {user_is}"), Some(key))).await;
        ended(user, &script.picture).await;
        director.after("picture", script).await;
    }
    // One message is being answered and is stopped. Another one waits behind it.
    director.before("stopped").await;
    director.before("waiting").await;
    accepted(user, &say(&script.stopped, format!("!slow 60000 {user_is}"), None)).await;
    accepted(user, &say(&script.waiting, format!("waits {user_is}"), None)).await;
    for id in [&script.waiting, &script.stopped] {
        let since = Instant::now();
        while !fate(user, id).ended {
            assert!(since.elapsed() < PATIENCE, "{}: {id} is cancelled and does not end", user.name);
            reconnect(user, "first").await;
            if let Some(line) = &user.line {
                line.cancel(id);
            }
            wait(user, ASK_AGAIN, |user| fate(user, id).ended).await;
        }
    }
    director.after("stopped", script).await;
    director.after("waiting", script).await;
    // The user continues on another device while the old line is still open, and sends a message again.
    let second = format!("?session={}-second&takeover=true", user.name);
    user.left.extend(user.line.take());
    director.before("second").await;
    connect(user, &second).await;
    director.after("second", script).await;
    director.before("again").await;
    told_again(user, &ordinary).await;
    director.after("again", script).await;
    user.left.clear();
    director.before("leave").await;
    if let Some(line) = user.line.take() {
        line.close().await;
    }
    director.after("leave", script).await;
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

/// Connects again if the line was lost.
async fn reconnect(user: &mut User, device: &str) {
    let lost = std::mem::take(&mut user.mind.known().lost);
    if lost || user.line.as_ref().is_none_or(|line| !line.is_open()) {
        let query = format!("?session={}-{device}&takeover=true", user.name);
        connect(user, &query).await;
    }
}

fn fate(user: &User, id: &str) -> Fate {
    user.mind.known().messages.get(id).cloned().unwrap_or_default()
}

/// Waits until `so` holds or the time is over.
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
        reconnect(user, "first").await;
        user.say(message);
        wait(user, ASK_AGAIN, |user| {
            let fate = fate(user, &message.id);
            fate.accepted || fate.refused.is_some()
        })
        .await;
    }
}

/// Waits until the message has ended, while its sender stays connected.
async fn ended(user: &mut User, id: &str) {
    let since = Instant::now();
    while !fate(user, id).ended {
        assert!(since.elapsed() < PATIENCE, "{}: {id} does not end", user.name);
        reconnect(user, "first").await;
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
        reconnect(user, "first").await;
        if let Some(line) = &user.line {
            line.heartbeat();
        }
        wait(user, ASK_AGAIN, |user| user.mind.known().heartbeats > before).await;
    }
}

/// Sends a message again that has ended, until its end is told again.
async fn told_again(user: &mut User, message: &Saying) {
    let (since, before) = (Instant::now(), fate(user, &message.id).told);
    while fate(user, &message.id).told == before {
        assert!(since.elapsed() < PATIENCE, "{}: {} is not told again", user.name, message.id);
        reconnect(user, "second").await;
        user.say(message);
        wait(user, ASK_AGAIN, |user| fate(user, &message.id).told > before).await;
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

/// Connects and gets an answer.
pub(crate) async fn speak(user: &mut User) {
    connect(user, &format!("?session={}-first", user.name)).await;
    let conversation = make_talk(user).await;
    let text = format!("hello @{}", user.name);
    let message = Saying { id: new_id(), conversation, text, media: None, parent: None, sent: Instant::now() };
    accepted(user, &message).await;
    ended(user, &message.id).await;
}
