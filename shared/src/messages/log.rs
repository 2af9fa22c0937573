//! A conversation as the worker reads it: first its end, and above that only the items to which a path leads.

use std::collections::BTreeMap;

use super::{Messages, Role, StoredMessage, conversation_key, seq_key};
use crate::dynamo::text;
use crate::ids::{ConversationId, MessageId};
use crate::{Error, Result};

/// The least items that one read takes: the last ones up to the message to answer, and then pages above.
const LEAST: usize = 20;

/// A message and its answers are looked at together. So a page has a few more items than the caller wants to look at,
/// and a conversation that is one line needs one read.
const REST_OF_A_TURN: usize = 4;

/// The most answers that a message can have: their ids end in one digit.
const MOST_ANSWERS: u64 = 10;

/// A message with all of its answers.
#[derive(Debug, Clone)]
pub struct Said {
    pub message: StoredMessage,
    pub answers: Vec<StoredMessage>,
}

/// The items of a conversation that have been read so far, by number.
#[derive(Debug)]
pub struct Log {
    messages: Messages,
    conversation: ConversationId,
    items: BTreeMap<u64, StoredMessage>,
    /// How many items one read takes.
    page: usize,
}

impl Messages {
    /// Reads the end of a conversation: its last items up to number `seq`, and everything after it. The caller wants to
    /// look at about `wanted` items. If the first of them is a message that waits for its answer, more may wait above
    /// it, and are read too.
    pub async fn log(&self, conversation: &ConversationId, seq: u64, wanted: usize) -> Result<Log> {
        let page = wanted.max(LEAST) + REST_OF_A_TURN;
        let mut log = Log { messages: self.clone(), conversation: conversation.clone(), items: BTreeMap::new(), page };
        log.read_down(None, seq).await?;
        while let Some(above) = log.waits_above() {
            log.read_down(Some(above), above).await?;
        }
        Ok(log)
    }
}

impl Log {
    /// The number above the first item that was read, if that item is a message that waits.
    fn waits_above(&self) -> Option<u64> {
        let (seq, first) = self.items.first_key_value()?;
        (*seq > 1 && first.role == Role::User && !first.status.is_final()).then(|| seq - 1)
    }

    /// The highest number in use that is known.
    pub fn last_seq(&self) -> u64 {
        self.items.last_key_value().map_or(0, |(seq, _)| *seq)
    }

    /// The messages (not answers) that have been read, up to a number, in order.
    pub fn messages_up_to(&self, seq: u64) -> Vec<StoredMessage> {
        let items = self.items.range(..=seq).map(|(_, item)| item);
        items.filter(|item| item.role == Role::User).cloned().collect()
    }

    /// Adds what has just been stored.
    pub fn put(&mut self, message: StoredMessage, answers: Vec<StoredMessage>) {
        self.items.extend(answers.into_iter().chain([message]).map(|item| (item.seq, item)));
    }

    /// The message with its answers that has this number, or one of whose answers has it. `None`: there is no such
    /// item, because its conversation was deleted.
    pub async fn said_at(&mut self, seq: u64) -> Result<Option<Said>> {
        let Some(item) = self.item(seq).await? else { return Ok(None) };
        let message = match item.reply_to.clone() {
            None => item,
            Some(id) => match self.asked(&item, &id).await? {
                Some(message) => message,
                None => return Ok(None),
            },
        };
        Ok(Some(Said { answers: self.answers(&message).await?, message }))
    }

    /// The answers to a message, in order.
    pub async fn answers(&mut self, message: &StoredMessage) -> Result<Vec<StoredMessage>> {
        let Some(first) = message.first_answer else { return Ok(Vec::new()) };
        let (mut answers, mut read) = (Vec::new(), false);
        for seq in first..first + MOST_ANSWERS {
            // There is nothing beyond the end, unless another worker has just stored something there.
            if !read && !self.items.contains_key(&seq) && (seq == first || seq <= self.last_seq()) {
                self.read_up(seq).await?;
                read = true;
            }
            match self.items.get(&seq).filter(|item| item.reply_to.as_ref() == Some(&message.id)) {
                Some(answer) => answers.push(answer.clone()),
                None => break,
            }
        }
        Ok(answers)
    }

    async fn item(&mut self, seq: u64) -> Result<Option<StoredMessage>> {
        if !self.items.contains_key(&seq) {
            self.read_down(Some(seq), seq).await?;
        }
        Ok(self.items.get(&seq).cloned())
    }

    /// The message that an answer belongs to. It comes before the answer, usually close to it.
    async fn asked(&mut self, answer: &StoredMessage, id: &MessageId) -> Result<Option<StoredMessage>> {
        let near = self.items.range(..answer.seq).rev().find(|(_, item)| &item.id == id);
        if let Some((_, message)) = near {
            return Ok(Some(message.clone()));
        }
        let found = self.messages.find(&answer.user, id).await?;
        self.items.extend(found.iter().map(|message| (message.seq, message.clone())));
        Ok(found)
    }

    /// Reads one page downwards, of the items up to number `seq`. It starts at number `from` or at the end.
    async fn read_down(&mut self, from: Option<u64>, seq: u64) -> Result<()> {
        let query = self.messages.db.query().table_name(&self.messages.config.table);
        let query = match from {
            Some(from) => query
                .key_condition_expression("pk = :pk AND sk <= :from")
                .expression_attribute_values(":from", text(seq_key(from))),
            None => query.key_condition_expression("pk = :pk"),
        };
        let mut pages = query
            .expression_attribute_values(":pk", text(conversation_key(&self.conversation)))
            .scan_index_forward(false)
            .limit(i32::try_from(self.page).unwrap_or(i32::MAX))
            .consistent_read(true)
            .into_paginator()
            .items()
            .send();
        let mut looked_at = 0;
        while looked_at < self.page
            && let Some(item) = pages.next().await
        {
            let item = StoredMessage::read(&item.map_err(|error| Error::service("Query", &error))?)?;
            looked_at += usize::from(item.seq <= seq);
            self.items.insert(item.seq, item);
        }
        Ok(())
    }

    /// Reads as many items as a message can have answers.
    async fn read_up(&mut self, from: u64) -> Result<()> {
        let output = self
            .messages
            .db
            .query()
            .table_name(&self.messages.config.table)
            .key_condition_expression("pk = :pk AND sk BETWEEN :from AND :to")
            .expression_attribute_values(":pk", text(conversation_key(&self.conversation)))
            .expression_attribute_values(":from", text(seq_key(from)))
            .expression_attribute_values(":to", text(seq_key(from + MOST_ANSWERS - 1)))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| Error::service("Query", &error))?;
        for item in output.items() {
            let item = StoredMessage::read(item)?;
            self.items.insert(item.seq, item);
        }
        Ok(())
    }
}
