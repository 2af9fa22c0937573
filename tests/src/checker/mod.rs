//! Checks a history against the contract, line by line and in one pass. The time grows with the length of the history,
//! the memory with the number of its messages.
//!
//! The model is the mock, and its answer to each text is known (`response for …`). So every delta and every answer can
//! be compared with the right one, wherever it turns up.
//!
//! The stack must tell a client only what the contract says. After a connection was told `accepted` or a delta of a
//! message, it is owed the end of that message. This counts only if the connection still has its place at the very end.
//! A heartbeat shows that: it is sent and answered after everything else. A connection that loses its place never gets
//! it back, so such a connection had its place all the time.
//!
//! `live` follows the connections, `kept` compares with what the stack has stored, `stack` looks at the samples.

mod bench;
mod history;
mod kept;
mod live;
mod rule;
mod stack;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::fs::File;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{BufRead, BufReader};
use std::path::Path;

pub use bench::bench;
pub use history::{Conn, Event, Failure, Frame, Lease, Line, Media, Message, Recorder, Said};
pub use rule::Rule;

use live::Link;

/// The most violations that are reported of one history.
const MOST_VIOLATIONS: usize = 1000;

/// The most lines of a history that are printed for one violation.
const MOST_LINES: usize = 60;

/// A rule that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    pub rule: Rule,
    pub detail: String,
    /// The ids of messages, conversations, connections or objects.
    pub ids: Vec<String>,
    pub user: Option<String>,
    /// The line at which it was seen.
    pub line: u64,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rule, detail, ids, user, line } = self;
        let user = user.as_deref().unwrap_or("-");
        write!(f, "{rule}: {detail} (line {line}, user {user}, {})\n  the rule: {}", ids.join(" "), rule.says())
    }
}

/// The result of a check.
#[derive(Debug)]
pub struct Verdict {
    pub lines: u64,
    pub messages: u64,
    pub violations: Vec<Violation>,
}

/// A history that can't be judged.
#[derive(Debug)]
pub enum Unreadable {
    Io(std::io::Error),
    /// One line is not a line of a history.
    Line {
        number: u64,
        error: serde_json::Error,
    },
    /// The history was cut off, so anything may be missing from it.
    Unfinished,
}

impl std::error::Error for Unreadable {}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "The history can't be read: {error}"),
            Self::Line { number, error } => write!(f, "Line {number} is not a line of a history: {error}"),
            Self::Unfinished => {
                f.write_str("The history has no end, so it can't be checked. Run its seed again and let it finish")
            }
        }
    }
}

/// Checks the history in a file.
pub fn check_file(path: &Path) -> Result<Verdict, Unreadable> {
    check(BufReader::with_capacity(1 << 20, File::open(path).map_err(Unreadable::Io)?))
}

/// Checks a history as it is read.
pub fn check(mut reader: impl BufRead) -> Result<Verdict, Unreadable> {
    let (mut checker, mut text) = (Checker::default(), Vec::new());
    loop {
        text.clear();
        if reader.read_until(b'\n', &mut text).map_err(Unreadable::Io)? == 0 {
            return checker.finish();
        }
        let line: Line =
            serde_json::from_slice(&text).map_err(|error| Unreadable::Line { number: checker.line + 1, error })?;
        checker.feed(line.e);
    }
}

/// The lines of a history that contain a violation's ids, with their numbers.
pub fn lines_of(path: &Path, violation: &Violation) -> std::io::Result<Vec<String>> {
    let mut lines = Vec::new();
    for (index, line) in BufReader::new(File::open(path)?).lines().enumerate() {
        let line = line?;
        let number = index as u64 + 1;
        if number == violation.line || violation.ids.iter().any(|id| line.contains(&format!("\"{id}"))) {
            lines.push(format!("{number:>8}  {line}"));
        }
    }
    let too_many = lines.len().saturating_sub(MOST_LINES);
    if too_many > 0 {
        lines.splice(MOST_LINES / 2..MOST_LINES / 2 + too_many, [format!("          … {too_many} more lines")]);
    }
    Ok(lines)
}

/// A message as its user has sent it, and everything that is known of it since.
#[derive(Debug, Default)]
struct Asked {
    conversation: String,
    text: String,
    media: Option<String>,
    parent: Option<String>,
    first_sent: u64,
    last_sent: u64,
    /// How often it was sent with this content.
    sends: u32,
    /// How often its id was sent with other content.
    others: u32,
    /// The connections on which it was sent before they were known to have lost their place.
    sent_on: Vec<Conn>,
    refusals: u32,
    cancelled: bool,
    /// The line at which `accepted` was first told.
    accepted: Option<u64>,
    accepts: u32,
    end: Option<End>,
    /// The line and connection at which its `done` was first told.
    first_told: Option<(u64, Conn)>,
    stored: bool,
}

impl Asked {
    /// The mock's answer to it.
    fn answer(&self) -> String {
        format!("response for {}", self.text)
    }
}

/// How a message has ended, and a digest of its answers.
#[derive(Debug, Clone, PartialEq, Eq)]
struct End {
    status: String,
    /// `None` if a frame had to leave out texts.
    answers: Option<u64>,
}

impl End {
    fn of<'a>(status: &str, replies: impl Iterator<Item = &'a Message>) -> Self {
        let (mut digest, mut whole) = (DefaultHasher::new(), true);
        for reply in replies {
            whole &= !reply.truncated;
            (&reply.id, &reply.text, reply.media.as_ref().map(|media| &media.key)).hash(&mut digest);
        }
        Self { status: status.to_owned(), answers: whole.then(|| digest.finish()) }
    }

    fn agrees(&self, other: &Self) -> bool {
        self.status == other.status
            && (self.answers.is_none() || other.answers.is_none() || self.answers == other.answers)
    }
}

#[derive(Debug, Default)]
struct Talk {
    deleting: bool,
    deleted: bool,
    /// Its history was read after the end.
    read: bool,
}

#[derive(Debug, Default)]
struct User {
    name: String,
    asked: HashMap<String, Asked>,
    talks: HashMap<String, Talk>,
    /// The connections that are not known to have lost the place to another one.
    links: Vec<Conn>,
    /// The ids of all items in its conversations.
    items: BTreeSet<String>,
}

#[derive(Debug, Default)]
pub struct Checker {
    line: u64,
    max_clients: u32,
    max_processing: u32,
    faults: bool,
    settled: bool,
    ended: bool,
    users: Vec<User>,
    by_name: HashMap<String, usize>,
    links: HashMap<Conn, Link>,
    /// The objects that messages name, with their users.
    named: HashMap<String, usize>,
    objects: Option<(BTreeSet<String>, BTreeSet<String>)>,
    violations: Vec<Violation>,
}

impl Checker {
    /// Takes the next line.
    pub fn feed(&mut self, event: Event) {
        self.line += 1;
        match event {
            Event::Began { max_clients, max_processing, faults, .. } => {
                (self.max_clients, self.max_processing, self.faults) = (max_clients, max_processing, faults);
            }
            Event::Connecting { conn, user, .. } => self.connecting(conn, &user),
            Event::Connected { conn } => self.connected(conn),
            Event::Sent { conn, id, conversation, text, media, parent } => {
                let asked = Asked { conversation, text, media, parent, ..Asked::default() };
                self.sent(conn, id, asked);
            }
            Event::Cancel { conn, id } => self.cancel(conn, &id),
            Event::Beat { conn } => self.beat(conn),
            Event::Frame { conn, frame } => self.frame(conn, &frame),
            Event::Reading { conn, on } => self.reading(conn, on),
            Event::Closed { conn, .. } => self.closed(conn),
            Event::Made { user, conversation } => {
                let user = self.user(&user);
                self.users[user].talks.entry(conversation).or_default();
            }
            Event::Deleting { user, conversation } => {
                let user = self.user(&user);
                self.users[user].talks.entry(conversation).or_default().deleting = true;
            }
            Event::Deleted { user, conversation, status } => {
                let user = self.user(&user);
                self.users[user].talks.entry(conversation).or_default().deleted |= [204, 404].contains(&status);
            }
            Event::Sample { leases, slots, processing } => self.sample(&leases, &slots, processing),
            Event::Settled => self.settled = true,
            Event::History { user, conversation, items, last } => self.history(&user, &conversation, items, last),
            Event::Objects { stored, held } => {
                self.objects = Some((stored.into_iter().collect(), held.into_iter().collect()));
            }
            Event::Ended => self.ended = true,
            Event::Killed { processing } => self.processing(processing),
            Event::Refused { .. } | Event::Restarted | Event::FaultsEnded | Event::Note { .. } => {}
        }
    }

    /// Judges what can be judged only after the last line.
    pub fn finish(mut self) -> Result<Verdict, Unreadable> {
        if !self.ended {
            return Err(Unreadable::Unfinished);
        }
        self.judge_links();
        self.judge_messages();
        self.judge_objects();
        let messages = self.users.iter().map(|user| user.asked.len() as u64).sum();
        Ok(Verdict { lines: self.line, messages, violations: self.violations })
    }

    fn user(&mut self, name: &str) -> usize {
        if let Some(user) = self.by_name.get(name) {
            return *user;
        }
        self.users.push(User { name: name.to_owned(), ..User::default() });
        self.by_name.insert(name.to_owned(), self.users.len() - 1);
        self.users.len() - 1
    }

    fn violated(&mut self, rule: Rule, user: Option<usize>, ids: &[&str], detail: impl Into<String>) {
        if self.violations.len() < MOST_VIOLATIONS {
            let user = user.map(|user| self.users[user].name.clone());
            let ids = ids.iter().map(|id| (*id).to_owned()).collect();
            self.violations.push(Violation { rule, detail: detail.into(), ids, user, line: self.line });
        }
    }

    /// Reports that a user was told something of a message that this user has not sent.
    fn unknown(&mut self, user: usize, id: &str) {
        let others = self.users.iter().any(|other| other.asked.contains_key(id));
        match others {
            true => self.violated(Rule::Own, Some(user), &[id], "another user's message"),
            false => self.violated(Rule::Sent, Some(user), &[id], "a message that nobody has sent"),
        }
    }
}
