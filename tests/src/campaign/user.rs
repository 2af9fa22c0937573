//! A user whose habits come from a seed. It talks, asks again, cancels, falls silent, breaks off, comes back on the
//! same or another device, reads and deletes.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use fastrand::Rng;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::line::{Line, Mind};
use super::scene::Scene;
use crate::checker::{Event, Message};

/// This picture is so small that its upload takes no time.
const PICTURE: &str = "picture.png";

/// The most conversations that a user has at a time.
const TALKS: usize = 3;

/// A user waits at least this long before it sends a message again that was not accepted.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(2);

#[derive(Debug, Clone)]
pub struct Saying {
    pub id: String,
    pub conversation: String,
    pub text: String,
    pub media: Option<String>,
    pub parent: Option<String>,
    pub sent: Instant,
}

#[derive(Debug)]
pub struct User {
    pub name: String,
    pub scene: Arc<Scene>,
    pub mind: Arc<Mind>,
    pub token: String,
    pub line: Option<Line>,
    /// Lines that it has left without closing them.
    pub left: Vec<Line>,
    /// The conversations that it has made and not deleted.
    pub talks: Vec<String>,
    pub sent: Vec<Saying>,
    rng: Rng,
    session: String,
    /// The most messages that it has under way at once.
    window: usize,
    heard: Instant,
}

impl User {
    /// Makes a user whose name and habits come from the seed and this number.
    pub async fn new(scene: Arc<Scene>, number: u32) -> Self {
        let name = format!("s{}-u{number}", scene.settings.seed);
        Self::named(scene, number, name).await
    }

    pub async fn named(scene: Arc<Scene>, number: u32, name: String) -> Self {
        let seed = scene.settings.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ u64::from(number);
        let mut rng = Rng::with_seed(seed);
        let token = scene.token(&name).await;
        let window = *[1, 1, 2, 4, 8, 12].get(rng.usize(0..6)).unwrap_or(&1);
        Self {
            session: format!("{name}-a"),
            name,
            scene,
            mind: Arc::default(),
            token,
            line: None,
            left: Vec::new(),
            talks: Vec::new(),
            sent: Vec::new(),
            rng,
            window,
            heard: Instant::now(),
        }
    }

    /// Talks until all its messages are sent.
    pub async fn talk(&mut self) {
        let messages = self.scene.settings.messages as usize;
        // Users don't all begin at the same moment.
        sleep(Duration::from_millis(self.rng.u64(0..500))).await;
        while self.sent.len() < messages && !self.scene.is_over() {
            if self.line.as_ref().is_none_or(|line| !line.is_open()) {
                self.connect().await;
                continue;
            }
            if self.talks.len() < TALKS && (self.talks.is_empty() || self.rng.u32(0..20) == 0) {
                self.begin_talk().await;
                continue;
            }
            self.heartbeat_if_due();
            if std::mem::take(&mut self.mind.known().lost) {
                self.line = None; // its frames would have no effect
                continue;
            }
            if self.under_way() < self.window {
                self.speak().await;
                sleep(Duration::from_millis(self.rng.u64(0..30))).await;
            } else {
                self.mind.news(Duration::from_millis(500)).await;
            }
            // Now and then it does something else, whether or not there is an answer yet.
            if self.rng.u32(0..4) == 0 {
                self.do_something_else().await;
            }
        }
    }

    fn under_way(&self) -> usize {
        let known = self.mind.known();
        let open = |message: &&Saying| {
            let fate = known.messages.get(&message.id);
            fate.is_none_or(|fate| !fate.ended && fate.refused.is_none())
        };
        self.sent.iter().rev().take(20).filter(open).count()
    }

    async fn speak(&mut self) {
        if self.rng.u32(0..80) == 0 {
            self.send_with_media().await;
        } else {
            self.send(None);
        }
    }

    async fn do_something_else(&mut self) {
        match self.rng.u32(0..100) {
            0..20 => self.cancel(),
            20..45 => self.repeat(),
            45..52 => self.reset().await,
            52..57 => self.say_goodbye().await,
            57..62 => self.take_over().await,
            62..65 => self.stop_reading().await,
            65..67 => self.fall_silent().await,
            67..76 => self.read_history().await,
            76..79 => self.delete_talk().await,
            79..84 => self.nonsense(),
            _ => {}
        }
    }

    /// Tries once to connect. If that fails, it waits for a moment.
    pub async fn connect(&mut self) {
        self.line = None;
        let query = match self.rng.u32(0..100) {
            0..10 => String::new(),
            10..20 => format!("?session={}-b&takeover=true", self.name),
            20..24 => format!("?session={}-c", self.name),
            _ => format!("?session={}", self.session),
        };
        let token = if self.rng.u32(0..100) < 2 { "not.a.token" } else { &self.token };
        match self.scene.exchange.connect(&self.name, token, &query, &self.mind).await {
            Ok(line) => {
                self.line = Some(line);
                self.mind.known().lost = false;
                self.heard = Instant::now();
                if query.contains("takeover") {
                    self.session = format!("{}-b", self.name);
                }
            }
            Err(status) => {
                let waits = status == 503;
                self.scene.waiting.fetch_add(usize::from(waits), Ordering::Relaxed);
                sleep(Duration::from_millis(self.rng.u64(50..400))).await;
                self.scene.waiting.fetch_sub(usize::from(waits), Ordering::Relaxed);
            }
        }
    }

    async fn begin_talk(&mut self) {
        let made = self.scene.rest(&self.token, Method::POST, "/api/conversations", Some(&json!({}))).await;
        if let Some((201, body)) = made
            && let Some(id) = body["id"].as_str()
        {
            self.scene.recorder.write(Event::Made { user: self.name.clone(), conversation: id.to_owned() });
            self.talks.push(id.to_owned());
        } else {
            sleep(Duration::from_millis(100)).await;
        }
    }

    pub fn heartbeat_if_due(&mut self) {
        if self.heard.elapsed() > Duration::from_secs(self.scene.settings.lease_seconds) / 3
            && let Some(line) = &self.line
        {
            line.heartbeat();
            self.heard = Instant::now();
        }
    }

    fn text(&mut self) -> String {
        let number = self.sent.len();
        let order = match self.rng.u32(0..100) {
            0..12 => format!("!slow {} ", self.rng.u32(50..700)),
            12..17 => "!flaky 1 ".to_owned(),
            17..21 => "!fail ".to_owned(),
            _ => String::new(),
        };
        let words = if self.rng.u32(0..20) == 0 { 300 } else { self.rng.usize(0..12) };
        format!("{order}@{} #{number}{}", self.name, " word".repeat(words))
    }

    fn send(&mut self, media: Option<String>) {
        let text = self.text();
        let conversation = self.talks[self.rng.usize(0..self.talks.len())].clone();
        // Ids are a user's own: another user may have the same.
        let id = if self.rng.u32(0..50) == 0 {
            let seed = self.scene.settings.seed;
            format!("5ha2ed00-0000-4000-8000-{:012x}", seed << 16 | self.sent.len() as u64).replace('h', "0")
        } else {
            crate::new_id()
        };
        let parent = (self.rng.u32(0..10) == 0).then(|| self.parent(&conversation)).flatten();
        let message = Saying { id, conversation, text, media, parent, sent: Instant::now() };
        self.scene.sent.fetch_add(1, Ordering::Relaxed);
        self.say(&message);
        self.sent.push(message);
    }

    /// The id of an item that the conversation surely has, or `""` for its beginning.
    fn parent(&mut self, conversation: &str) -> Option<String> {
        if self.rng.u32(0..4) == 0 {
            return Some(String::new());
        }
        let known = self.mind.known();
        let fates = self.sent.iter().filter(|message| message.conversation == conversation);
        let items = fates.filter_map(|message| Some((message, known.messages.get(&message.id)?)));
        let items: Vec<String> = items
            .filter(|(_, fate)| fate.accepted)
            .flat_map(|(message, fate)| fate.answers.iter().cloned().chain([message.id.clone()]))
            .collect();
        drop(known);
        (!items.is_empty()).then(|| items[self.rng.usize(0..items.len())].clone())
    }

    pub fn say(&mut self, message: &Saying) {
        if let Some(fate) = self.mind.known().messages.get_mut(&message.id) {
            fate.refused = None;
        }
        if let Some(line) = &self.line {
            let Saying { id, conversation, text, media, parent, .. } = message;
            line.send_message(id, conversation, text, media.as_deref(), parent.as_deref());
            self.heard = Instant::now();
        }
    }

    async fn send_with_media(&mut self) {
        let file = crate::media::fixture(PICTURE);
        let wish = json!({ "contentType": "image/png", "bytes": file.len() });
        let upload = self.scene.rest(&self.token, Method::POST, "/api/uploads", Some(&wish)).await;
        if let Some((201, upload)) = upload
            && self.scene.upload(&upload, &file).await
        {
            self.send(upload["key"].as_str().map(str::to_owned));
        }
    }

    /// Sends an id again, of a message that was never accepted or of any message. Sometimes it has other content.
    fn repeat(&mut self) {
        let waiting: Vec<Saying> = self.unaccepted().filter(|m| m.sent.elapsed() > ASK_AGAIN_AFTER).cloned().collect();
        let again = if waiting.is_empty() || self.rng.bool() { &self.sent } else { &waiting };
        if again.is_empty() {
            return;
        }
        let mut again = again[self.rng.usize(0..again.len())].clone();
        let accepted = self.mind.known().messages.get(&again.id).is_some_and(|fate| fate.accepted);
        if accepted && self.rng.u32(0..5) == 0 {
            again.text.push_str(" and more");
        }
        if self.talks.contains(&again.conversation) {
            self.say(&again);
        }
    }

    /// The messages that were neither accepted nor refused for good.
    pub fn unaccepted(&self) -> impl Iterator<Item = &Saying> {
        let open: Vec<bool> = {
            let known = self.mind.known();
            let open = |message: &Saying| match known.messages.get(&message.id) {
                None => true,
                Some(fate) if fate.accepted || fate.ended => false,
                Some(fate) => !matches!(
                    fate.refused.as_deref(),
                    Some("bad_request" | "too_large" | "conversation_not_found" | "media_not_found")
                ),
            };
            self.sent.iter().map(open).collect()
        };
        self.sent.iter().zip(open).filter_map(|(message, open)| open.then_some(message))
    }

    fn cancel(&mut self) {
        let latest: Vec<&Saying> = self.sent.iter().rev().take(5).collect();
        if let (Some(line), false) = (&self.line, latest.is_empty()) {
            line.cancel(&latest[self.rng.usize(0..latest.len())].id);
        }
    }

    fn nonsense(&mut self) {
        let frames = ["nonsense", r#"{"action":"dance"}"#, r#"{"action":"sendMessage"}"#, "[]"];
        if let Some(line) = &self.line {
            line.nonsense(frames[self.rng.usize(0..frames.len())]);
        }
    }

    async fn reset(&mut self) {
        if let Some(line) = self.line.take() {
            line.reset().await;
        }
    }

    async fn say_goodbye(&mut self) {
        if let Some(line) = self.line.take() {
            line.close().await;
        }
    }

    /// Continues on another device and leaves the old line open.
    async fn take_over(&mut self) {
        let device = ["a", "b", "c"][self.rng.usize(0..3)];
        let query = format!("?session={}-{device}&takeover=true", self.name);
        if let Ok(line) = self.scene.exchange.connect(&self.name, &self.token, &query, &self.mind).await {
            self.session = format!("{}-{device}", self.name);
            self.left.extend(self.line.replace(line));
            self.mind.known().lost = false;
            self.heard = Instant::now();
            // Frames on the old line must have no effect.
            if let Some(old) = self.left.last().filter(|_| self.rng.bool()) {
                old.heartbeat();
            }
        }
    }

    async fn stop_reading(&mut self) {
        let time = Duration::from_millis(self.rng.u64(300..1500));
        let Some(line) = &self.line else { return };
        line.read(false);
        sleep(time).await;
        line.read(true);
    }

    async fn fall_silent(&mut self) {
        let silence = Duration::from_secs(self.scene.settings.lease_seconds) + Duration::from_millis(500);
        sleep(silence).await;
        if let Some(line) = &self.line {
            line.heartbeat();
        }
    }

    async fn read_history(&mut self) {
        if self.talks.is_empty() {
            return;
        }
        let conversation = self.talks[self.rng.usize(0..self.talks.len())].clone();
        let path = format!("/api/conversations/{conversation}/messages?limit=100&order=desc");
        if let Some((200, page)) = self.scene.rest(&self.token, Method::GET, &path, None).await {
            let items = read(&page["items"]);
            let user = self.name.clone();
            self.scene.recorder.write(Event::History { user, conversation, items: Some(items), last: false });
        }
    }

    async fn delete_talk(&mut self) {
        if self.talks.is_empty() {
            return;
        }
        let conversation = self.talks.swap_remove(self.rng.usize(0..self.talks.len()));
        let user = self.name.clone();
        self.scene.recorder.write(Event::Deleting { user: user.clone(), conversation: conversation.clone() });
        let path = format!("/api/conversations/{conversation}");
        if let Some((status, _)) = self.scene.rest(&self.token, Method::DELETE, &path, None).await {
            self.scene.recorder.write(Event::Deleted { user, conversation, status });
        }
    }
}

/// The messages of a list.
pub fn read(items: &Value) -> Vec<Message> {
    let items = items.as_array().map(Vec::as_slice).unwrap_or_default();
    items.iter().map(|item| serde_json::from_value(item.clone()).expect("a MESSAGE")).collect()
}
