//! Compares what the stack has stored with what was sent and told.

use std::collections::{HashMap, HashSet};

use super::history::{Conn, Message};
use super::{Asked, Checker, End, Rule};

impl Asked {
    /// Says what is wrong with these answers under this status, if anything is.
    pub(super) fn wrong_answers<'a>(
        &self,
        status: &str,
        answers: impl IntoIterator<Item = &'a Message>,
    ) -> Option<&'static str> {
        let expected = self.answer();
        let mut answers = answers.into_iter();
        let first = answers.next();
        let text = first.map(|first| (first.truncated, first.text.as_deref().unwrap_or_default()));
        match (status, text) {
            ("done", None) => Some("done without an answer"),
            ("done", Some((false, text))) if text != expected => Some("the answer is not the one to this text"),
            ("done", Some(_)) if self.media.is_none() && answers.next().is_some() => Some("more than one answer"),
            ("failed", Some(_)) => Some("an answer to a message that failed"),
            ("cancelled", Some((false, text))) if !expected.starts_with(text) => {
                Some("the text of a cancelled answer is not the beginning of the right answer")
            }
            _ => None,
        }
    }
}

impl Checker {
    pub(super) fn history(&mut self, user: &str, conversation: &str, items: Option<Vec<Message>>, last: bool) {
        let user = self.user(user);
        let talk = self.users[user].talks.entry(conversation.to_owned()).or_default();
        let (deleting, deleted) = (talk.deleting, talk.deleted);
        talk.read |= last && items.is_some();
        let Some(items) = items else {
            if last && !deleting {
                self.violated(
                    Rule::Deletion,
                    Some(user),
                    &[conversation],
                    "gone, although its user has not deleted it",
                );
            }
            return;
        };
        if last && deleted {
            self.violated(Rule::Deletion, Some(user), &[conversation], "there, although it was deleted");
        }
        for item in items.iter().filter(|item| item.is_from_user()) {
            self.stored(user, conversation, item, last);
        }
        if last {
            self.whole(user, conversation, &items);
        }
    }

    /// Checks one message of a conversation's history.
    fn stored(&mut self, user: usize, conversation: &str, item: &Message, last: bool) {
        let id = item.id.as_str();
        let Some(asked) = self.users[user].asked.get_mut(id) else { return self.unknown(user, id) };
        let mut wrong = Vec::new();
        if item.text.as_deref() != Some(asked.text.as_str()) || asked.conversation != conversation {
            wrong.push((Rule::SameContent, "stored with other content than it was sent with"));
        }
        if last {
            asked.stored = true;
            if !item.is_final() {
                wrong.push((Rule::Ends, "the message has not ended"));
            }
        }
        if item.is_final() && asked.end.as_ref().is_some_and(|end| end.status != item.status) {
            wrong.push((Rule::OneEnd, "the end that was told is not the end in history"));
        }
        for (rule, detail) in wrong {
            self.violated(rule, Some(user), &[id], detail);
        }
    }

    /// Checks all items of a conversation, as they are after the end.
    fn whole(&mut self, user: usize, conversation: &str, items: &[Message]) {
        let mut answers: HashMap<&str, Vec<&Message>> = HashMap::new();
        let mut known: HashSet<&str> = HashSet::new();
        let mut wrong: Vec<(Rule, &str, &'static str)> = Vec::new();
        let mut before = "";
        for item in items {
            let id = item.id.as_str();
            if !self.users[user].items.insert(id.to_owned()) {
                wrong.push((Rule::Once, id, "two items have this id"));
            }
            if let Some(media) = &item.media {
                self.named.insert(media.key.clone(), user);
            }
            let parent = item.parent_id.as_deref();
            if item.is_from_user() {
                let named = self.users[user].asked.get(id).and_then(|asked| asked.parent.as_deref());
                match named {
                    Some(named) if parent != Some(named) => {
                        wrong.push((Rule::Parent, id, "its parent is not the one that it names"));
                    }
                    None if parent != Some(before) => {
                        wrong.push((Rule::Parent, id, "its parent is not the item before it"));
                    }
                    Some(named) if !named.is_empty() && !known.contains(named) => {
                        wrong.push((Rule::Parent, id, "its parent does not come before it"));
                    }
                    _ => {}
                }
            } else {
                let question = item.reply_to.as_deref().unwrap_or_default();
                if !known.contains(question) {
                    wrong.push((Rule::Answer, id, "the message that it answers does not come before it"));
                }
                let of_it = answers.entry(question).or_default();
                let follows = of_it.last().map_or(question, |last| last.id.as_str());
                if parent != Some(follows) {
                    wrong.push((Rule::Parent, id, "an answer that does not follow its message"));
                }
                of_it.push(item);
            }
            known.insert(id);
            before = id;
        }
        self.ends(user, items, &answers, &mut wrong);
        self.orders(user, items, &answers, &mut wrong);
        for (rule, id, detail) in wrong {
            self.violated(rule, Some(user), &[id, conversation], detail);
        }
    }

    fn ends<'a>(
        &self,
        user: usize,
        items: &'a [Message],
        answers: &HashMap<&'a str, Vec<&'a Message>>,
        wrong: &mut Vec<(Rule, &'a str, &'static str)>,
    ) {
        for item in items.iter().filter(|item| item.is_from_user() && item.is_final()) {
            let Some(asked) = self.users[user].asked.get(&item.id) else { continue };
            let answers = answers.get(item.id.as_str()).map(Vec::as_slice).unwrap_or_default();
            if let Some(detail) = asked.wrong_answers(&item.status, answers.iter().copied()) {
                wrong.push((Rule::Answer, &item.id, detail));
                continue;
            }
            let end = End::of(&item.status, answers.iter().copied());
            if asked.end.as_ref().is_some_and(|told| told.status == end.status && !told.agrees(&end)) {
                wrong.push((Rule::OneEnd, &item.id, "the answers that were told are not those in history"));
            }
        }
    }

    fn orders<'a>(
        &self,
        user: usize,
        items: &'a [Message],
        answers: &HashMap<&'a str, Vec<&'a Message>>,
        wrong: &mut Vec<(Rule, &'a str, &'static str)>,
    ) {
        let place: HashMap<&str, usize> =
            items.iter().enumerate().map(|(place, item)| (item.id.as_str(), place)).collect();
        let asked = |item: &Message| self.users[user].asked.get(&item.id);
        let questions: Vec<&Message> = items.iter().filter(|item| item.is_from_user()).collect();
        let mut last_answer = 0;
        let mut last_told: HashMap<Conn, u64> = HashMap::new();
        for question in &questions {
            let first = answers.get(question.id.as_str()).and_then(|answers| answers.first());
            if question.status == "done"
                && let Some(answer) = first.and_then(|answer| place.get(answer.id.as_str()))
            {
                if *answer < last_answer {
                    wrong.push((Rule::AnswerOrder, &question.id, "its answer comes before that of an earlier message"));
                }
                last_answer = *answer;
            }
            // A client that sends a message again is told its end again, in any order.
            if !self.faults
                && let Some(asked) = asked(question).filter(|asked| asked.sends + asked.others == 1)
                && let Some((told, conn)) = asked.first_told.filter(|(_, conn)| asked.sent_on == [*conn])
                && self.reads(conn)
            {
                let before = last_told.insert(conn, told);
                if before.is_some_and(|before| told < before) {
                    wrong.push((Rule::ToldInOrder, &question.id, "its end was told before that of an earlier message"));
                }
            }
        }
        // The walk begins at the end and keeps the first line at which a later message was accepted.
        let mut accepted_later = u64::MAX;
        for question in questions.iter().rev() {
            let Some(asked) = asked(question) else { continue };
            if asked.first_sent > accepted_later {
                let detail = "it comes before a message that was accepted before this one was sent";
                wrong.push((Rule::MessageOrder, &question.id, detail));
            }
            accepted_later = accepted_later.min(asked.accepted.unwrap_or(u64::MAX));
        }
    }

    /// Finds accepted messages that are missing and refused messages that are stored.
    pub(super) fn judge_messages(&mut self) {
        let mut wrong = Vec::new();
        for (index, user) in self.users.iter().enumerate() {
            for (id, asked) in &user.asked {
                let talk = user.talks.get(&asked.conversation);
                let read = talk.is_some_and(|talk| talk.read);
                let refused =
                    asked.accepted.is_none() && asked.refusals >= asked.sends && asked.others == 0 && !asked.cancelled;
                if asked.accepted.is_some() && !asked.stored && read {
                    let line = asked.accepted.unwrap_or_default();
                    wrong.push((line, Rule::Kept, index, id.clone(), "accepted, and not in history"));
                } else if refused && asked.stored {
                    wrong.push((asked.first_sent, Rule::Refused, index, id.clone(), "refused, and in history"));
                }
            }
        }
        wrong.sort_unstable();
        for (line, rule, user, id, detail) in wrong {
            self.line = line;
            self.violated(rule, Some(user), &[&id], detail);
        }
    }
}
