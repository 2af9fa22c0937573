//! For each rule there are small histories that break this rule and no other. One history is right.

use std::collections::BTreeSet;

use super::history::{Event, Failure, Frame, Lease, Line, Media, Message, Said};
use super::{Conn, Rule, Unreadable, Verdict, check};

const ANN: &str = "ann";
const BOB: &str = "bob";

fn message(id: &str, text: &str, status: &str, parent: &str) -> Message {
    Message {
        id: id.to_owned(),
        conversation_id: "talk".to_owned(),
        role: "user".to_owned(),
        text: Some(text.to_owned()),
        status: status.to_owned(),
        parent_id: Some(parent.to_owned()),
        ..Message::default()
    }
}

fn answer(id: &str, text: &str) -> Message {
    Message {
        role: "assistant".to_owned(),
        reply_to: Some(id.to_owned()),
        ..message(&format!("{id}-0"), &format!("response for {text}"), "done", id)
    }
}

fn connect(conn: Conn, user: &str) -> [Event; 2] {
    [Event::Connecting { conn, user: user.to_owned(), query: String::new() }, Event::Connected { conn }]
}

fn sent(conn: Conn, id: &str, text: &str) -> Event {
    let (id, conversation, text) = (id.to_owned(), "talk".to_owned(), text.to_owned());
    Event::Sent { conn, id, conversation, text, media: None, parent: None }
}

fn frame(conn: Conn, kind: &str, id: &str) -> (Conn, Frame) {
    (conn, Frame { kind: kind.to_owned(), id: Some(id.to_owned()), ..Frame::default() })
}

fn told((conn, frame): (Conn, Frame)) -> Event {
    Event::Frame { conn, frame }
}

fn accepted_as(conn: Conn, duplicate: bool, message: Message) -> Event {
    let (conn, frame) = frame(conn, "accepted", &message.id);
    let message = Some(Said::Message(Box::new(message)));
    told((conn, Frame { duplicate: Some(duplicate), message, ..frame }))
}

fn accepted(conn: Conn, id: &str, text: &str, parent: &str) -> Event {
    accepted_as(conn, false, message(id, text, "queued", parent))
}

fn delta(conn: Conn, id: &str, seq: u64, text: &str) -> Event {
    let (conn, frame) = frame(conn, "delta", id);
    told((conn, Frame { seq: Some(seq), text: Some(text.to_owned()), ..frame }))
}

fn restart(conn: Conn, id: &str, seq: u64, text: &str) -> Event {
    let (conn, frame) = frame(conn, "delta", id);
    told((conn, Frame { seq: Some(seq), text: Some(text.to_owned()), restart: true, ..frame }))
}

fn reply_with(conn: Conn, message: Message, replies: Vec<Message>) -> Event {
    let (conn, frame) = frame(conn, "reply", &message.id);
    told((conn, Frame { message: Some(Said::Message(Box::new(message))), replies, ..frame }))
}

fn reply(conn: Conn, id: &str, text: &str, parent: &str) -> Event {
    reply_with(conn, message(id, text, "done", parent), vec![answer(id, text)])
}

fn error(conn: Conn, id: &str, code: &str) -> Event {
    let (conn, frame) = frame(conn, "error", id);
    told((conn, Frame { code: Some(code.to_owned()), ..frame }))
}

fn heartbeat(conn: Conn) -> [Event; 2] {
    let frame = Frame { kind: "heartbeat".to_owned(), ..Frame::default() };
    [Event::Beat { conn }, Event::Frame { conn, frame }]
}

fn history(user: &str, conversation: &str, items: Vec<Message>) -> Event {
    let (user, conversation) = (user.to_owned(), conversation.to_owned());
    Event::History { user, conversation, items: Some(items), last: true }
}

fn sample(leases: &[(&str, &str)], slots: &[&str], processing: u32) -> Event {
    let lease = |(user, connection): &(&str, &str)| Lease { user: (*user).into(), connection: (*connection).into() };
    let slots = slots.iter().map(|slot| (*slot).to_owned()).collect();
    Event::Sample { leases: leases.iter().map(lease).collect(), slots, processing }
}

fn began(faults: bool) -> Event {
    Event::Began { seed: 1, max_clients: 2, max_processing: 3, faults }
}

/// Ann says `one` and `two`, and all goes well. Faults are on, unless a case turns them off.
struct Case {
    faults: bool,
    live: Vec<Event>,
    settled: Vec<Event>,
    kept: Vec<Event>,
}

impl Case {
    fn right() -> Self {
        let mut live = Vec::from(connect(1, ANN));
        live.push(Event::Made { user: ANN.to_owned(), conversation: "talk".to_owned() });
        live.extend([
            sent(1, "a", "one"),
            accepted(1, "a", "one", ""),
            delta(1, "a", 0, "response "),
            delta(1, "a", 1, "for one"),
            reply(1, "a", "one", ""),
            sent(1, "b", "two"),
            accepted(1, "b", "two", "a-0"),
            delta(1, "b", 0, "response for two"),
            reply(1, "b", "two", "a-0"),
        ]);
        Self { faults: true, live, settled: heartbeat(1).into(), kept: vec![history(ANN, "talk", Self::items())] }
    }

    fn items() -> Vec<Message> {
        let (one, two) = (message("a", "one", "done", ""), message("b", "two", "done", "a-0"));
        vec![one, answer("a", "one"), two, answer("b", "two")]
    }

    fn with_items(mut self, items: Vec<Message>) -> Self {
        self.kept = vec![history(ANN, "talk", items)];
        self
    }

    /// Adds `events` after everything that is said, before the end.
    fn then(mut self, events: impl IntoIterator<Item = Event>) -> Self {
        self.live.extend(events);
        self
    }

    fn kept(mut self, event: Event) -> Self {
        self.kept.push(event);
        self
    }

    /// Puts `events` in the place of these ones.
    fn instead(mut self, range: std::ops::Range<usize>, events: impl IntoIterator<Item = Event>) -> Self {
        self.live.splice(range, events);
        self
    }

    fn without_faults(mut self) -> Self {
        self.faults = false;
        self
    }

    fn lines(self) -> Vec<Event> {
        let mut lines = vec![began(self.faults)];
        lines.extend(self.live);
        lines.push(Event::Settled);
        lines.extend(self.settled);
        lines.extend(self.kept);
        lines.push(Event::Ended);
        lines
    }

    fn check(self) -> Verdict {
        verdict(self.lines()).expect("it can be judged")
    }
}

fn verdict(events: Vec<Event>) -> Result<Verdict, Unreadable> {
    let lines = events.into_iter().enumerate().map(|(t, e)| Line { t: t as u64, e });
    let text: String = lines.map(|line| serde_json::to_string(&line).expect("JSON") + "\n").collect();
    check(text.as_bytes())
}

#[track_caller]
fn right(case: Case) {
    let found = case.check();
    assert!(found.violations.is_empty(), "{:#?}", found.violations);
}

/// The places of the parts of [`Case::right`] in `live`.
const ACCEPTED: usize = 4;
const DELTAS: std::ops::Range<usize> = 5..7;
const REPLY: usize = 7;
const SECOND: std::ops::Range<usize> = 8..12;

/// For each rule, histories that break it.
#[allow(clippy::too_many_lines, reason = "a list")]
fn broken(rule: Rule) -> Vec<Case> {
    let case = Case::right;
    let items = Case::items;
    let one_is = |status: &str| message("a", "one", status, "");
    match rule {
        Rule::Kept => {
            let mut items = items();
            items.truncate(2);
            vec![case().with_items(items)]
        }
        Rule::Once => {
            let mut twice = items();
            twice.push(Message { parent_id: Some("b-0".to_owned()), ..message("b", "two", "done", "") });
            let mut elsewhere = message("b", "two", "done", "");
            elsewhere.conversation_id = "other".to_owned();
            vec![case().with_items(twice)]
        }
        Rule::Ends => {
            let open = ["queued", "processing"].map(|status| {
                let mut items = items();
                items.truncate(2);
                items.push(message("b", "two", status, "a-0"));
                case().instead(11..12, []).with_items(items)
            });
            // No client holds a place at the end, so no client is owed the end of a message.
            open.into_iter().map(|case| Case { settled: Vec::new(), ..case }).collect()
        }
        Rule::OneEnd => {
            let cancelled = reply_with(1, one_is("cancelled"), vec![answer("a", "one")]);
            let mut other = answer("a", "one");
            other.id = "a-1".to_owned();
            let again = sent(1, "a", "one");
            vec![
                case().then([cancelled]),
                case().then([error(1, "a", "reply_failed")]),
                case().then([reply_with(1, one_is("done"), vec![other])]),
                case().then([again, accepted_as(1, true, one_is("failed")), reply(1, "a", "one", "")]),
                case().then([reply_with(1, one_is("processing"), vec![])]).with_items(items()),
            ]
        }
        Rule::Answer => {
            let reply = |status: &str, replies: Vec<Message>| reply_with(1, one_is(status), replies);
            let with = |replies: Vec<Message>| {
                let mut items = items();
                items.splice(1..2, replies.clone());
                let case = case().instead(REPLY..REPLY + 1, [reply("done", replies)]);
                case.instead(SECOND, []).with_items(items[..items.len() - 2].to_vec())
            };
            let second = Message { id: "a-1".to_owned(), parent_id: Some("a-0".to_owned()), ..answer("a", "one") };
            vec![
                with(vec![]),
                with(vec![answer("a", "two")]),
                with(vec![answer("a", "one"), second]),
                // A failed message has an answer.
                Case {
                    kept: vec![history(ANN, "talk", vec![one_is("failed"), answer("a", "one")])],
                    ..case().instead(DELTAS.start..SECOND.end, [error(1, "a", "reply_failed")])
                },
            ]
        }
        Rule::AnswerOrder => {
            let (one, two) = (one_is("done"), message("b", "two", "done", "a"));
            let live = [
                sent(1, "a", "one"),
                accepted(1, "a", "one", ""),
                sent(1, "b", "two"),
                accepted(1, "b", "two", "a"),
                reply(1, "b", "two", "a"),
                reply(1, "a", "one", ""),
            ];
            vec![case().instead(3..12, live).with_items(vec![one, two, answer("b", "two"), answer("a", "one")])]
        }
        Rule::MessageOrder => {
            let (one, two) = (message("a", "one", "done", "b-0"), message("b", "two", "done", ""));
            let mut live = case().live;
            for event in &mut live {
                if let Event::Frame { frame: Frame { message: Some(Said::Message(said)), .. }, .. } = event {
                    said.parent_id = None;
                }
            }
            let items = vec![two, answer("b", "two"), one, answer("a", "one")];
            vec![Case { live, ..case() }.with_items(items)]
        }
        Rule::Told => vec![
            case().instead(11..12, []),
            case().then([sent(1, "a", "one"), accepted_as(1, true, one_is("done"))]),
            // The connection was told only a part of the answer.
            case().instead(11..12, connect(2, ANN).into_iter().chain([restart(2, "b", 1, "response ")])),
        ]
        .into_iter()
        .enumerate()
        .map(|(index, case)| if index == 2 { Case { settled: heartbeat(2).into(), ..case } } else { case })
        .collect(),
        Rule::ToldInOrder => {
            let (one, two) = (one_is("done"), message("b", "two", "done", "a"));
            let live = [
                sent(1, "a", "one"),
                accepted(1, "a", "one", ""),
                sent(1, "b", "two"),
                accepted(1, "b", "two", "a"),
                reply(1, "b", "two", "a"),
                reply(1, "a", "one", ""),
            ];
            let items = vec![one, two, answer("a", "one"), answer("b", "two")];
            vec![case().without_faults().instead(3..12, live).with_items(items)]
        }
        Rule::DeltaGap => vec![
            case().instead(DELTAS, [delta(1, "a", 0, "response "), delta(1, "a", 2, "one")]),
            case().instead(DELTAS, [delta(1, "a", 1, "response ")]),
            case().instead(DELTAS, [restart(1, "a", 4, "response "), delta(1, "a", 6, "one")]),
        ],
        Rule::DeltaSame => {
            let again = [delta(1, "a", 0, "response "), delta(1, "a", 0, "for one")];
            vec![case().instead(DELTAS, again)]
        }
        Rule::DeltaAfterEnd => vec![case().then([delta(1, "a", 2, "")])],
        Rule::DeltaText => vec![
            case().instead(DELTAS, [delta(1, "a", 0, "response for two")]),
            case().instead(DELTAS, [delta(1, "a", 0, "response for one and more")]),
            case().instead(DELTAS, [delta(1, "a", 0, "response "), restart(1, "a", 1, "for one")]),
        ],
        Rule::DeltaWhole => vec![case().without_faults().instead(DELTAS.start + 1..DELTAS.end, [])],
        Rule::Own => {
            let bob = || connect(2, BOB).into_iter();
            vec![
                case().then(bob().chain([delta(2, "a", 0, "response ")])),
                case().then(bob().chain([reply(2, "a", "one", "")])),
                case().then(bob()).kept(history(BOB, "other", vec![one_is("done"), answer("a", "one")])),
            ]
        }
        Rule::Sent => vec![
            case().then([reply(1, "c", "three", "b-0")]),
            case().with_items({
                let mut items = items();
                items.push(message("c", "three", "failed", "b-0"));
                items
            }),
        ],
        Rule::Duplicate => vec![
            case().then([sent(1, "a", "one"), accepted(1, "a", "one", ""), reply(1, "a", "one", "")]),
            case().instead(ACCEPTED..ACCEPTED + 1, [accepted_as(1, true, one_is("queued"))]),
        ],
        Rule::SameContent => vec![
            case().then([sent(1, "a", "another"), accepted_as(1, true, one_is("done")), reply(1, "a", "one", "")]),
            case().instead(ACCEPTED..ACCEPTED + 1, [accepted(1, "a", "another", "")]),
        ],
        Rule::Refused => vec![
            case().instead(9..12, [error(1, "b", "too_many_pending")]),
            case().instead(9..12, [error(1, "b", "lease_expired")]),
        ],
        Rule::Parent => {
            let items_with = |index: usize, parent: &str| {
                let mut items = items();
                items[index].parent_id = Some(parent.to_owned());
                items
            };
            let mut named = case();
            if let Event::Sent { parent, .. } = &mut named.live[8] {
                *parent = Some("a".to_owned());
            }
            let named = named.with_items(items_with(2, "a"));
            vec![case().with_items(items_with(2, "a")), case().with_items(items_with(3, "a-0")), named]
        }
        Rule::Fenced => {
            let late = [sent(1, "c", "three"), accepted(1, "c", "three", "b-0")];
            let mut items = items();
            items.extend([message("c", "three", "failed", "b-0")]);
            let taken = || connect(2, ANN).into_iter();
            vec![
                Case { settled: vec![], ..case().then(taken().chain(late)) }.with_items(items),
                Case { settled: vec![], ..case().then(taken().chain(heartbeat(1))) },
            ]
        }
        Rule::Places => {
            let leases = [("x", "1"), ("y", "2"), ("z", "3")];
            vec![case().then([sample(&leases, &["1", "2", "3"], 0)])]
        }
        Rule::OnePlace => vec![
            case().then([sample(&[("x", "1"), ("x", "2")], &["1", "2"], 0)]),
            case().then([sample(&[("x", "1")], &["2"], 0)]),
        ],
        Rule::Processing => vec![case().then([sample(&[], &[], 4)]), case().then([Event::Killed { processing: 4 }])],
        Rule::StrayMedia => vec![case().kept(Event::Objects { stored: vec!["k".into()], held: vec!["l".into()] })],
        Rule::MissingMedia => {
            let mut items = items();
            items[2].media = Some(Media { key: "k".to_owned() });
            let mut case = case().with_items(items);
            for event in &mut case.live[SECOND] {
                match event {
                    Event::Sent { media, .. } => *media = Some("k".to_owned()),
                    Event::Frame { frame: Frame { message: Some(Said::Message(said)), .. }, .. } => {
                        said.media = Some(Media { key: "k".to_owned() });
                    }
                    _ => {}
                }
            }
            vec![case.kept(Event::Objects { stored: vec![], held: vec![] })]
        }
        Rule::Deletion => {
            let (user, conversation) = (ANN.to_owned(), "talk".to_owned());
            let gone =
                Event::History { user: user.clone(), conversation: conversation.clone(), items: None, last: true };
            let deleting = Event::Deleting { user: user.clone(), conversation: conversation.clone() };
            let deleted = Event::Deleted { user, conversation, status: 204 };
            vec![Case { kept: vec![gone], ..case() }, case().then([deleting, deleted])]
        }
    }
}

#[test]
fn each_rule_is_broken_by_a_history_that_breaks_nothing_else() {
    for rule in Rule::ALL {
        let cases = broken(*rule);
        assert!(!cases.is_empty(), "{rule}");
        for (number, case) in cases.into_iter().enumerate() {
            let found = case.check().violations;
            let rules: BTreeSet<Rule> = found.iter().map(|violation| violation.rule).collect();
            assert_eq!(rules, BTreeSet::from([*rule]), "{rule}, case {number}: {found:#?}");
        }
    }
}

#[test]
fn a_right_history_is_right_with_faults_and_without() {
    right(Case::right());
    right(Case::right().without_faults());
}

#[test]
fn a_client_that_goes_on_elsewhere_is_told_the_text_again() {
    let taken = connect(2, ANN).into_iter();
    let rest = [restart(2, "b", 1, "response "), delta(2, "b", 2, "for two"), reply(2, "b", "two", "a-0")];
    let case = Case::right().instead(11..12, taken.chain(rest));
    right(Case { settled: heartbeat(2).into(), ..case });
}

#[test]
fn a_frame_that_is_told_again_breaks_no_rule() {
    let again = [delta(1, "a", 0, "response "), delta(1, "a", 0, "response "), delta(1, "a", 1, "for one")];
    right(Case::right().instead(DELTAS, again));
    right(Case::right().then([
        sent(1, "a", "one"),
        accepted_as(1, true, message("a", "one", "done", "")),
        reply(1, "a", "one", ""),
    ]));
    right(Case::right().then([sent(1, "a", "another"), error(1, "a", "bad_request")]));
}

#[test]
fn a_client_that_has_lost_the_place_is_owed_nothing() {
    // No heartbeat was answered at the end.
    right(Case { settled: vec![Event::Beat { conn: 1 }], ..Case::right().instead(11..12, []) });
    let closed = Event::Closed { conn: 1, wanted: false, code: None };
    right(Case { settled: vec![], ..Case::right().instead(11..12, [closed]) });
}

#[test]
fn a_failed_message_and_a_cancelled_one_have_ended() {
    let failed =
        Message { error: Some(Failure { code: "reply_failed".to_owned() }), ..message("a", "one", "failed", "") };
    let cut = Message { text: Some("response ".to_owned()), ..answer("b", "two") };
    let cancelled = message("b", "two", "cancelled", "a");
    let live = [
        sent(1, "a", "one"),
        accepted(1, "a", "one", ""),
        error(1, "a", "reply_failed"),
        sent(1, "b", "two"),
        accepted(1, "b", "two", "a"),
        Event::Cancel { conn: 1, id: "b".to_owned() },
        delta(1, "b", 0, "response "),
        reply_with(1, cancelled.clone(), vec![cut.clone()]),
    ];
    right(Case::right().instead(3..12, live).with_items(vec![failed, cancelled, cut]));
}

#[test]
fn a_message_that_was_refused_once_may_be_accepted_later() {
    let again = [error(1, "b", "too_many_pending"), sent(1, "b", "two"), accepted(1, "b", "two", "a-0")];
    right(Case::right().instead(9..10, again));
    // The first `accepted` may have been lost, so the first one that arrives may say "duplicate".
    right(
        Case::right().instead(9..10, [sent(1, "b", "two"), accepted_as(1, true, message("b", "two", "queued", "a-0"))]),
    );
}

#[test]
fn a_deleted_conversation_takes_its_messages_with_it() {
    let (user, conversation) = (ANN.to_owned(), "talk".to_owned());
    let deleting = Event::Deleting { user: user.clone(), conversation: conversation.clone() };
    let deleted = Event::Deleted { user: user.clone(), conversation: conversation.clone(), status: 204 };
    let gone = Event::History { user, conversation, items: None, last: true };
    let case = Case::right().instead(11..12, [deleting, deleted, error(1, "b", "conversation_not_found")]);
    right(Case { kept: vec![gone], ..case });
}

#[test]
fn a_history_without_an_end_is_not_judged() {
    let mut lines = Case::right().lines();
    lines.pop();
    assert!(matches!(verdict(lines), Err(Unreadable::Unfinished)));
    assert!(matches!(check("nonsense\n".as_bytes()), Err(Unreadable::Line { number: 1, .. })));
}

#[test]
fn a_line_is_read_as_it_was_written() {
    for e in Case::right().lines() {
        let text = serde_json::to_string(&Line { t: 7, e: e.clone() }).expect("JSON");
        assert_eq!(serde_json::from_str::<Line>(&text).expect(&text).e, e);
    }
    let real = r#"{"type":"accepted","id":"a","duplicate":false,"message":{"id":"a","conversationId":"c","role":"user",
        "type":"image","text":"x","media":{"key":"k","url":"u","contentType":"image/png","bytes":7},"status":"queued",
        "parentId":"","createdAt":"2026-01-01T00:00:00.000Z"}}"#;
    let frame: Frame = serde_json::from_str(real).expect("a frame");
    let media = frame.message().and_then(|message| message.media.as_ref()).map(|media| media.key.as_str());
    assert_eq!((media, frame.duplicate), (Some("k"), Some(false)));
    let closing: Frame =
        serde_json::from_str(r#"{"type":"closing","code":"replaced","message":"Elsewhere"}"#).expect("a frame");
    assert_eq!(
        (closing.code.as_deref(), closing.message),
        (Some("replaced"), Some(Said::Sentence("Elsewhere".into())))
    );
}

#[test]
fn the_benchmark_checks_a_right_history() {
    let (verdict, _) = super::bench(5000);
    assert!(verdict.lines >= 5000);
    assert!(verdict.violations.is_empty(), "{:#?}", verdict.violations);
}
