//! The events that must happen now and then. A campaign in which one of them never happened has tested less than it
//! seems.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use crate::checker::{Conn, Event, Frame, Line};

/// A campaign of many seeds must have seen each of these events. `fault …` and `killed …` count the faults and the
/// functions that they killed.
pub const MUST: &[&str] = &[
    "accepted again",
    "cancelled in mid-stream",
    "cancelled while queued",
    "closing first_message",
    "closing lease_expired",
    "closing replaced",
    "conversation deleted with messages waiting",
    "delta told twice",
    "end told twice",
    "failed as told",
    "fault conflict",
    "fault delayed",
    "fault dropped",
    "fault gone",
    "fault hung",
    "fault hung_after",
    "fault kill_after",
    "fault kill_before",
    "fault lost",
    "fault no_disconnect",
    "fault redelivered",
    "fault refused",
    "fault repeated",
    "fault throttled",
    "gateway error",
    "given up as failed",
    "internal error",
    "killed cancel",
    "killed connect",
    "killed disconnect",
    "killed heartbeat",
    "killed janitor",
    "killed rest_api",
    "killed send_message",
    "killed worker",
    "lease expired, told",
    "media sent",
    "parent named",
    "reading stopped",
    "refused 401",
    "refused 409",
    "refused 503",
    "restart",
    "same id of two users",
    "stack killed with messages in processing",
    "takeover",
    "takeover during an answer",
    "too many pending",
    "used id with other content",
];

/// A campaign of at least this many seeds must have seen all of [`MUST`].
pub const SEEDS: usize = 100;

#[derive(Debug, Default)]
struct Counts {
    counts: BTreeMap<String, u64>,
    users: HashMap<Conn, (String, bool)>,
    /// For each user, the messages that are accepted and have not ended.
    open: HashMap<String, HashSet<String>>,
    texts: HashMap<(String, String), String>,
    ids: HashMap<String, String>,
    ended: HashSet<(Conn, String)>,
    deltas: HashMap<(Conn, String), u64>,
}

/// Counts the events of a history.
pub fn count(path: &Path) -> std::io::Result<BTreeMap<String, u64>> {
    let mut counts = Counts::default();
    for line in BufReader::new(File::open(path)?).lines() {
        if let Ok(line) = serde_json::from_str::<Line>(&line?) {
            counts.see(line.e);
        }
    }
    Ok(counts.counts)
}

impl Counts {
    fn happened(&mut self, what: impl Into<String>) {
        *self.counts.entry(what.into()).or_default() += 1;
    }

    fn see(&mut self, event: Event) {
        match event {
            Event::Connecting { conn, user, query } => {
                self.users.insert(conn, (user, query.contains("takeover")));
            }
            Event::Connected { conn } => {
                self.happened("connected");
                if let Some((user, true)) = self.users.get(&conn) {
                    let during = self.open.get(user).is_some_and(|open| !open.is_empty());
                    self.happened("takeover");
                    if during {
                        self.happened("takeover during an answer");
                    }
                }
            }
            Event::Refused { status, .. } => self.happened(format!("refused {status}")),
            Event::Sent { conn, id, text, media, parent, .. } => self.sent(conn, id, text, &media, &parent),
            Event::Frame { conn, frame } => self.frame(conn, &frame),
            Event::Reading { on: false, .. } => self.happened("reading stopped"),
            Event::Deleted { status: 204, .. } => self.happened("conversation deleted"),
            Event::Killed { processing } => {
                self.happened("stack killed");
                if processing > 0 {
                    self.happened("stack killed with messages in processing");
                }
            }
            Event::Note { what } => self.happened(what),
            _ => {}
        }
    }

    fn sent(&mut self, conn: Conn, id: String, text: String, media: &Option<String>, parent: &Option<String>) {
        let Some((user, _)) = self.users.get(&conn).cloned() else { return };
        if self.ids.insert(id.clone(), user.clone()).is_some_and(|other| other != user) {
            self.happened("same id of two users");
        }
        match self.texts.get(&(user.clone(), id.clone())) {
            Some(first) if *first != text => self.happened("used id with other content"),
            Some(_) => self.happened("sent again"),
            None => {
                self.happened("sent");
                for (what, given) in [("media sent", media.is_some()), ("parent named", parent.is_some())] {
                    if given {
                        self.happened(what);
                    }
                }
                self.texts.insert((user, id), text);
            }
        }
    }

    fn frame(&mut self, conn: Conn, frame: &Frame) {
        let Some((user, _)) = self.users.get(&conn).cloned() else { return };
        let id = frame.id.clone().unwrap_or_default();
        match frame.kind.as_str() {
            "accepted" => {
                if frame.duplicate == Some(true) {
                    self.happened("accepted again");
                }
                if frame.message().is_some_and(|message| !message.is_final()) {
                    self.open.entry(user).or_default().insert(id);
                }
            }
            "delta" => {
                if frame.restart {
                    self.happened("restart");
                }
                let seq = frame.seq.unwrap_or_default();
                let next = self.deltas.entry((conn, id)).or_default();
                let again = seq < *next && !frame.restart;
                *next = seq + 1;
                if again {
                    self.happened("delta told twice");
                }
            }
            "reply" => {
                let status = frame.message().map(|message| message.status.clone()).unwrap_or_default();
                self.happened(match (status.as_str(), frame.replies.is_empty()) {
                    ("cancelled", true) => "cancelled while queued",
                    ("cancelled", false) => "cancelled in mid-stream",
                    _ => "replied",
                });
                self.end(conn, &user, id);
            }
            "error" => self.error(conn, &user, id, frame.code.as_deref().unwrap_or_default()),
            "closing" => {
                let code = frame.code.as_deref().unwrap_or_default();
                self.happened(format!("closing {code}"));
            }
            "" => self.happened("gateway error"),
            _ => {}
        }
    }

    fn error(&mut self, conn: Conn, user: &str, id: String, code: &str) {
        let waiting = self.open.get(user).is_some_and(|open| open.contains(&id));
        match code {
            "reply_failed" => {
                let text = self.texts.get(&(user.to_owned(), id.clone()));
                let as_told = text.is_some_and(|text| text.starts_with("!fail"));
                self.happened(if as_told { "failed as told" } else { "given up as failed" });
                self.end(conn, user, id);
            }
            "conversation_not_found" if waiting => {
                self.happened("conversation deleted with messages waiting");
                self.end(conn, user, id);
            }
            "lease_expired" => self.happened("lease expired, told"),
            "too_many_pending" => self.happened("too many pending"),
            "internal" => self.happened("internal error"),
            code => self.happened(format!("error {code}")),
        }
    }

    fn end(&mut self, conn: Conn, user: &str, id: String) {
        if let Some(open) = self.open.get_mut(user) {
            open.remove(&id);
        }
        if !self.ended.insert((conn, id)) {
            self.happened("end told twice");
        }
    }
}

/// The events of [`MUST`] that never happened.
pub fn missing(counts: &BTreeMap<String, u64>) -> Vec<&'static str> {
    MUST.iter().copied().filter(|what| !counts.contains_key(*what)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_event_that_must_happen_is_named_once() {
        let mut sorted = MUST.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted, MUST);
    }

    #[test]
    fn an_event_that_never_happened_is_named() {
        let mut counts: BTreeMap<String, u64> = MUST.iter().map(|what| ((*what).to_owned(), 1)).collect();
        assert_eq!(missing(&counts), Vec::<&str>::new());
        counts.remove("restart");
        assert_eq!(missing(&counts), ["restart"]);
    }
}
