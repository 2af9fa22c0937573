//! Follows the connections and checks what they are told.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::history::{Conn, Frame};
use super::{Asked, Checker, End, Rule};

/// One connection.
#[derive(Debug, Default)]
pub(super) struct Link {
    user: usize,
    connecting: u64,
    connected: Option<u64>,
    closed: bool,
    /// Another connection of the user has taken the place.
    superseded: bool,
    /// It has stopped reading at some time.
    paused: bool,
    /// The heartbeats that it has sent.
    beats: u32,
    /// The heartbeats that it has sent before it was known to be superseded.
    beats_before: u32,
    beats_answered: u32,
    /// A heartbeat was answered after everything was over.
    holds: bool,
    /// The number of the first heartbeat after everything was over.
    beats_at_end: Option<u32>,
    /// The messages whose ends this connection is owed, each with the line since when.
    owed: HashMap<String, u64>,
    /// The messages whose ends this connection was told, each with the last such line.
    told: HashMap<String, u64>,
    streams: HashMap<String, Stream>,
}

/// The deltas of one message on one connection.
#[derive(Debug, Default)]
struct Stream {
    next: u64,
    /// The length of the text so far.
    told: usize,
    /// For each `seq` since the text began: where its piece begins and ends.
    parts: HashMap<u64, (usize, usize)>,
}

impl Checker {
    pub(super) fn connecting(&mut self, conn: Conn, user: &str) {
        let (user, connecting) = (self.user(user), self.line);
        self.links.insert(conn, Link { user, connecting, ..Link::default() });
    }

    pub(super) fn connected(&mut self, conn: Conn) {
        let line = self.line;
        let Some(link) = self.links.get_mut(&conn) else { return };
        link.connected = Some(line);
        let (user, connecting) = (link.user, link.connecting);
        // If two connect at the same time, the history can't say which was the last.
        let links = std::mem::take(&mut self.users[user].links);
        let mut left = vec![conn];
        for other in links {
            let Some(link) = self.links.get_mut(&other) else { continue };
            if link.connected.is_some_and(|connected| connected < connecting) {
                link.superseded = true;
            } else {
                left.push(other);
            }
        }
        self.users[user].links = left;
    }

    pub(super) fn closed(&mut self, conn: Conn) {
        if let Some(link) = self.links.get_mut(&conn) {
            link.closed = true;
            link.streams = HashMap::new();
        }
    }

    pub(super) fn reading(&mut self, conn: Conn, on: bool) {
        if let Some(link) = self.links.get_mut(&conn) {
            link.paused |= !on;
        }
    }

    pub(super) fn beat(&mut self, conn: Conn) {
        let settled = self.settled;
        if let Some(link) = self.links.get_mut(&conn) {
            link.beats += 1;
            link.beats_before += u32::from(!link.superseded);
            if settled && link.beats_at_end.is_none() {
                link.beats_at_end = Some(link.beats);
            }
        }
    }

    pub(super) fn cancel(&mut self, conn: Conn, id: &str) {
        let Some(link) = self.links.get(&conn) else { return };
        if let Some(asked) = self.users[link.user].asked.get_mut(id) {
            asked.cancelled = true;
        }
    }

    pub(super) fn sent(&mut self, conn: Conn, id: String, new: Asked) {
        let line = self.line;
        let Some(link) = self.links.get(&conn) else { return };
        let asked = match self.users[link.user].asked.entry(id) {
            Entry::Vacant(place) => place.insert(Asked { first_sent: line, sends: 1, ..new }),
            Entry::Occupied(known) => {
                let asked = known.into_mut();
                if (&asked.conversation, &asked.text, &asked.media) == (&new.conversation, &new.text, &new.media) {
                    asked.sends += 1;
                } else {
                    asked.others += 1;
                }
                asked
            }
        };
        asked.last_sent = line;
        if !link.superseded && !asked.sent_on.contains(&conn) {
            asked.sent_on.push(conn);
        }
    }

    pub(super) fn frame(&mut self, conn: Conn, frame: &Frame) {
        let Some(user) = self.links.get(&conn).map(|link| link.user) else { return };
        match (frame.kind.as_str(), frame.id.as_deref()) {
            ("accepted", Some(id)) => self.accepted(conn, user, id, frame),
            ("delta", Some(id)) => self.delta(conn, user, id, frame),
            ("reply", Some(id)) => self.reply(conn, user, id, frame),
            ("error", Some(id)) => self.error(conn, user, id, frame),
            ("heartbeat", _) => self.heartbeat(conn, user),
            _ => {}
        }
    }

    fn accepted(&mut self, conn: Conn, user: usize, id: &str, frame: &Frame) {
        let line = self.line;
        let Some(asked) = self.users[user].asked.get_mut(id) else { return self.unknown(user, id) };
        let mut wrong = Vec::new();
        let first = asked.accepted.is_none();
        asked.accepted.get_or_insert(line);
        asked.accepts += 1;
        match frame.duplicate {
            Some(false) if !first => wrong.push((Rule::Duplicate, "accepted as new a second time")),
            Some(true) if first && asked.sends + asked.others < 2 => {
                wrong.push((Rule::Duplicate, "accepted as a duplicate, although it was sent only once"));
            }
            Some(_) => {}
            None => wrong.push((Rule::Duplicate, "`accepted` does not say whether it is a duplicate")),
        }
        if asked.accepts > asked.sends {
            wrong.push((Rule::SameContent, "accepted more often than it was sent with this content"));
        }
        if !asked.sent_on.contains(&conn) {
            wrong.push((Rule::Fenced, "accepted on a connection that had lost the place before it was sent"));
        }
        let last_sent = asked.last_sent;
        if let Some(message) = frame.message() {
            let (said, media) = (message.text.as_deref(), message.media.as_ref().map(|media| media.key.as_str()));
            if !message.truncated && (said, media) != (Some(asked.text.as_str()), asked.media.as_deref()) {
                wrong.push((Rule::SameContent, "accepted with other content than it was sent with"));
            }
            if asked.parent.is_some() && asked.parent != message.parent_id {
                wrong.push((Rule::Parent, "accepted with another parent than it names"));
            }
            if message.is_final() && asked.end.as_ref().is_some_and(|end| end.status != message.status) {
                wrong.push((Rule::OneEnd, "accepted again with another status than that of its end"));
            }
        }
        for (rule, detail) in wrong {
            self.violated(rule, Some(user), &[id], detail);
        }
        self.owe(conn, id, last_sent);
    }

    /// From now on this connection is owed the end of the message, unless it was told that end after line `since`.
    fn owe(&mut self, conn: Conn, id: &str, since: u64) {
        let line = self.line;
        let Some(link) = self.links.get_mut(&conn) else { return };
        if link.told.get(id).is_none_or(|told| *told < since) && !link.owed.contains_key(id) {
            link.owed.insert(id.to_owned(), line);
        }
    }

    fn delta(&mut self, conn: Conn, user: usize, id: &str, frame: &Frame) {
        let Some(asked) = self.users[user].asked.get(id) else { return self.unknown(user, id) };
        let (Some(link), Some(seq), Some(text)) = (self.links.get_mut(&conn), frame.seq, frame.text.as_deref()) else {
            return self.violated(Rule::DeltaGap, Some(user), &[id], "a delta without `seq` or `text`");
        };
        let after_end = link.told.contains_key(id);
        let stream = match link.streams.get_mut(id) {
            Some(stream) => stream,
            None => link.streams.entry(id.to_owned()).or_default(),
        };
        if frame.restart {
            *stream = Stream { next: seq, ..Stream::default() };
        }
        let mut wrong = None;
        // This compares with "response for " and the text without joining the two.
        let is_at = |begin: usize| {
            let (intro, whole) = ("response for ", asked.text.as_bytes());
            let told = text.as_bytes();
            let from_intro = intro.as_bytes().get(begin..).unwrap_or_default();
            let (of_intro, of_text) = told.split_at(told.len().min(from_intro.len()));
            let begin = begin.saturating_sub(intro.len());
            from_intro.starts_with(of_intro) && whole.get(begin..begin + of_text.len()) == Some(of_text)
        };
        if seq == stream.next {
            if !is_at(stream.told) {
                wrong = Some((Rule::DeltaText, "a delta that is not the next piece of the answer"));
            }
            let end = stream.told + text.len();
            stream.parts.insert(seq, (stream.told, end));
            (stream.next, stream.told) = (seq + 1, end);
        } else if seq < stream.next {
            // A delta from before the last `restart` is not checked, because its place is not known any more.
            if stream.parts.get(&seq).is_some_and(|(begin, end)| end - begin != text.len() || !is_at(*begin)) {
                wrong = Some((Rule::DeltaSame, "a delta that is told again with other text"));
            }
        } else {
            wrong = Some((Rule::DeltaGap, "a delta is missing before this one"));
            stream.next = seq + 1;
            stream.told += text.len();
        }
        if let Some((rule, detail)) = wrong {
            self.violated(rule, Some(user), &[id], detail);
        }
        if after_end {
            self.violated(Rule::DeltaAfterEnd, Some(user), &[id], "a delta after the end was told");
        } else {
            self.owe(conn, id, 0);
        }
    }

    fn reply(&mut self, conn: Conn, user: usize, id: &str, frame: &Frame) {
        let line = self.line;
        let (Some(message), Some(asked)) = (frame.message(), self.users[user].asked.get_mut(id)) else {
            return self.unknown(user, id);
        };
        let mut wrong = Vec::new();
        if message.text.as_deref().is_some_and(|text| text != asked.text) {
            wrong.push((Rule::SameContent, "a reply to other text than was sent"));
        }
        if frame.replies.iter().any(|reply| reply.reply_to.as_deref() != Some(id)) {
            wrong.push((Rule::Answer, "an answer in the reply of another message"));
        }
        if !message.is_final() {
            wrong.push((Rule::OneEnd, "a reply to a message that has not ended"));
        }
        wrong.extend(asked.wrong_answers(&message.status, &frame.replies).map(|detail| (Rule::Answer, detail)));
        let end = End::of(&message.status, frame.replies.iter());
        match &asked.end {
            Some(known) if !known.agrees(&end) => wrong.push((Rule::OneEnd, "a second, different end")),
            Some(_) => {}
            None => asked.end = Some(end),
        }
        let done = message.status == "done";
        if done && asked.first_told.is_none() {
            asked.first_told = Some((line, conn));
        }
        let length = asked.answer().len();
        if let Some(link) = self.links.get(&conn)
            && let Some(stream) = link.streams.get(id)
            && (done && stream.told != length && !self.faults && !link.paused && !link.told.contains_key(id))
        {
            wrong.push((Rule::DeltaWhole, "the deltas are not the whole answer"));
        }
        for (rule, detail) in wrong {
            self.violated(rule, Some(user), &[id], detail);
        }
        self.told(conn, id);
    }

    fn error(&mut self, conn: Conn, user: usize, id: &str, frame: &Frame) {
        let Some(asked) = self.users[user].asked.get_mut(id) else { return self.unknown(user, id) };
        match frame.code.as_deref() {
            Some("reply_failed") => {
                let end = End::of("failed", std::iter::empty());
                let known = asked.end.get_or_insert_with(|| end.clone());
                if !known.agrees(&end) {
                    self.violated(Rule::OneEnd, Some(user), &[id], "a second, different end");
                }
                self.told(conn, id);
            }
            // This is a refusal, or the end of a message that was deleted with its conversation.
            Some("conversation_not_found") => {
                asked.refusals += 1;
                self.told(conn, id);
            }
            Some("internal") | None => {}
            Some(_) => asked.refusals += 1,
        }
    }

    fn told(&mut self, conn: Conn, id: &str) {
        let line = self.line;
        let Some(link) = self.links.get_mut(&conn) else { return };
        link.owed.remove(id);
        link.told.insert(id.to_owned(), line);
    }

    fn heartbeat(&mut self, conn: Conn, user: usize) {
        let Some(link) = self.links.get_mut(&conn) else { return };
        link.beats_answered += 1;
        // Heartbeats are answered in the order in which they were sent.
        link.holds |= link.beats_at_end.is_some_and(|beat| link.beats_answered >= beat);
        if link.beats_answered > link.beats_before {
            let detail = "a heartbeat was answered on a connection that had lost the place before it was sent";
            self.violated(Rule::Fenced, Some(user), &[], detail);
        }
    }

    /// Finds the ends that connections are still owed after the end.
    pub(super) fn judge_links(&mut self) {
        let mut missing = Vec::new();
        for (conn, link) in &self.links {
            if link.closed || link.superseded || !link.holds {
                continue;
            }
            for (id, line) in &link.owed {
                // If the conversation is deleted, there may be nothing left to tell.
                let user = &self.users[link.user];
                let asked = user.asked.get(id);
                let talk = asked.and_then(|asked| user.talks.get(&asked.conversation));
                if !talk.is_some_and(|talk| talk.deleting) {
                    missing.push((*line, link.user, id.clone(), *conn));
                }
            }
        }
        missing.sort_unstable();
        for (line, user, id, conn) in missing {
            self.line = line;
            let detail = format!("connection {conn} had its place all the time and was not told the end");
            self.violated(Rule::Told, Some(user), &[&id], detail);
        }
    }
}

impl Link {
    pub(super) fn has_paused(&self) -> bool {
        self.paused
    }
}
