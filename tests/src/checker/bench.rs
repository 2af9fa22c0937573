//! Measures how fast the checker is, on a history like those of campaigns, from its bytes to the verdict.

use std::io::Write as _;
use std::time::{Duration, Instant};

use super::history::{Event, Frame, Line, Message, Said};
use super::{Verdict, check};

const USERS: u32 = 50;
/// Messages of one conversation.
const LONG: u64 = 100;

/// Checks a history of at least this many lines that breaks no rule. Returns the verdict and the time of the check.
pub fn bench(lines: u64) -> (Verdict, Duration) {
    let history = history(lines);
    let began = Instant::now();
    let verdict = check(history.as_slice()).expect("it can be read");
    (verdict, began.elapsed())
}

fn history(lines: u64) -> Vec<u8> {
    let (mut out, mut written) = (Vec::new(), 0);
    let mut write = |e: Event| {
        let line = Line { t: written, e };
        serde_json::to_writer(&mut out, &line)
            .and_then(|()| out.write_all(b"\n").map_err(serde_json::Error::io))
            .expect("it is written to memory");
        written += 1;
        written
    };
    write(Event::Began { seed: 0, max_clients: USERS, max_processing: 500, faults: false });
    for conn in 0..USERS {
        write(Event::Connecting { conn, user: format!("user-{conn}"), query: String::new() });
        write(Event::Connected { conn });
    }
    let mut talks: Vec<(String, String, Vec<Message>)> = Vec::new();
    let mut number = 0;
    while number * 7 < lines {
        let (conn, talk) = ((number % u64::from(USERS)) as u32, number / (u64::from(USERS) * LONG));
        let (user, conversation) = (format!("user-{conn}"), format!("conversation-{conn}-{talk}"));
        if talks.get(talk as usize * USERS as usize + conn as usize).is_none() {
            write(Event::Made { user: user.clone(), conversation: conversation.clone() });
            talks.push((user.clone(), conversation.clone(), Vec::new()));
        }
        let items = &mut talks[talk as usize * USERS as usize + conn as usize].2;
        let (id, text) = (format!("6f9619ff-8b86-4011-b42d-{number:012}"), format!("@{user} says {number}"));
        let question = Message {
            id: id.clone(),
            conversation_id: conversation.clone(),
            role: "user".to_owned(),
            text: Some(text.clone()),
            status: "queued".to_owned(),
            parent_id: Some(items.last().map_or_else(String::new, |item| item.id.clone())),
            ..Message::default()
        };
        write(Event::Sent { conn, id: id.clone(), conversation, text: text.clone(), media: None, parent: None });
        let said = |message: &Message| Some(Said::Message(Box::new(message.clone())));
        let of = |kind: &str| Frame { kind: kind.to_owned(), id: Some(id.clone()), ..Frame::default() };
        write(Event::Frame {
            conn,
            frame: Frame { duplicate: Some(false), message: said(&question), ..of("accepted") },
        });
        let answer = format!("response for {text}");
        for (seq, piece) in answer.split_inclusive(' ').take(4).enumerate() {
            let piece = if seq == 3 { &answer[answer.find(piece).unwrap_or(0)..] } else { piece };
            let delta = Frame { seq: Some(seq as u64), text: Some(piece.to_owned()), ..of("delta") };
            write(Event::Frame { conn, frame: delta });
        }
        let done = Message { status: "done".to_owned(), ..question };
        let reply = Message {
            id: format!("{id}-0"),
            role: "assistant".to_owned(),
            text: Some(answer),
            reply_to: Some(id.clone()),
            parent_id: Some(id.clone()),
            ..done.clone()
        };
        let frame = Frame { message: said(&done), replies: vec![reply.clone()], ..of("reply") };
        write(Event::Frame { conn, frame });
        items.extend([done, reply]);
        number += 1;
    }
    write(Event::Settled);
    for (user, conversation, items) in talks {
        write(Event::History { user, conversation, items: Some(items), last: true });
    }
    write(Event::Ended);
    out
}
