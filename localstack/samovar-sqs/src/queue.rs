//! One queue in memory: decides which message may be handed out when.
//!
//! Invariants, kept by [`Queue::index`] and [`Queue::unindex`], the only places that change the indexes:
//! - every message is in `ages`; it is in `timers` exactly while it is not visible (in flight or delayed);
//! - a visible message of a standard queue is in `ready`;
//! - a message group is in `turns` exactly when its first message is visible. A group hands out its messages in order
//!   and stops at the first one that is not visible. So no message overtakes one in flight, and a message that becomes
//!   visible again is the next one out. If every receive takes one message, a group has one message in flight.
//!
//! Time is passed in as an argument, and this module neither waits nor writes. `state` calls it and records the
//! changes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use tokio::sync::Notify;

use super::attributes::Attributes;
use super::deduplication::Window;
use super::message::{Delivery, Stored};

#[derive(Debug)]
pub(super) struct Queue {
    pub(super) id: i64,
    pub(super) name: String,
    pub(super) attributes: Attributes,
    pub(super) tags: BTreeMap<String, String>,
    pub(super) created_ms: i64,
    pub(super) modified_ms: i64,
    pub(super) purged_ms: Option<i64>,
    pub(super) sent: Window,
    /// Wakes one waiting receiver. The head of `lib.rs` says who must call it.
    pub(super) arrivals: Arc<Notify>,
    messages: BTreeMap<i64, Stored>,
    /// (visible since, sequence). The message that has been visible the longest comes first, so that a message that
    /// keeps failing does not block the rest.
    ready: BTreeSet<(i64, i64)>,
    groups: HashMap<Arc<str>, Group>,
    turns: BTreeMap<u64, Arc<str>>,
    next_turn: u64,
    timers: BTreeSet<(i64, i64)>,
    ages: BTreeSet<(i64, i64)>,
    in_flight: usize,
}

#[derive(Debug, Default)]
struct Group {
    messages: BTreeSet<i64>,
    /// Groups take turns: a group that was served goes to the end.
    turn: u64,
}

/// The messages that a receive takes, in order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Picked {
    pub(super) deliver: Vec<i64>,
    /// Messages that were received too often and go to the dead-letter queue.
    pub(super) give_up: Vec<i64>,
}

impl Queue {
    pub(super) fn new(id: i64, name: String, attributes: Attributes, now_ms: i64) -> Self {
        Self {
            id,
            name,
            attributes,
            tags: BTreeMap::new(),
            created_ms: now_ms,
            modified_ms: now_ms,
            purged_ms: None,
            sent: Window::default(),
            arrivals: Arc::new(Notify::new()),
            messages: BTreeMap::new(),
            ready: BTreeSet::new(),
            groups: HashMap::new(),
            turns: BTreeMap::new(),
            next_turn: 0,
            timers: BTreeSet::new(),
            ages: BTreeSet::new(),
            in_flight: 0,
        }
    }

    /// Advances to this time: messages that are due become visible. Messages that are too old are removed and returned.
    pub(super) fn advance(&mut self, now_ms: i64) -> Vec<i64> {
        while let Some(&(visible_ms, sequence)) = self.timers.first().filter(|(visible_ms, _)| *visible_ms <= now_ms) {
            self.timers.remove(&(visible_ms, sequence));
            if self.messages.get(&sequence).is_some_and(|message| message.delivery.token.is_some()) {
                self.in_flight -= 1;
            }
            self.show(sequence);
        }
        let oldest_ms = now_ms - i64::from(self.attributes.retention_seconds) * 1000;
        let too_old: Vec<i64> =
            self.ages.iter().take_while(|(sent_ms, _)| *sent_ms <= oldest_ms).map(|(_, sequence)| *sequence).collect();
        for sequence in &too_old {
            self.remove(*sequence);
        }
        too_old
    }

    /// The moment at which the oldest message was sent.
    pub(super) fn oldest_ms(&self) -> Option<i64> {
        self.ages.first().map(|(sent_ms, _)| *sent_ms)
    }

    pub(super) fn get(&self, sequence: i64) -> Option<&Stored> {
        self.messages.get(&sequence)
    }

    pub(super) fn insert(&mut self, message: Stored, now_ms: i64) {
        let sequence = message.sequence;
        self.ages.insert((message.content.sent_ms, sequence));
        if let Some(group) = self.group_of(&message) {
            let group = group.to_owned();
            let next_turn = &mut self.next_turn;
            let entry = self.groups.entry(Arc::from(group)).or_insert_with(|| {
                *next_turn += 1;
                Group { messages: BTreeSet::new(), turn: *next_turn }
            });
            entry.messages.insert(sequence);
        }
        self.messages.insert(sequence, message);
        self.index(sequence, now_ms);
    }

    pub(super) fn remove(&mut self, sequence: i64) -> Option<Stored> {
        self.unindex(sequence);
        let message = self.messages.remove(&sequence)?;
        self.ages.remove(&(message.content.sent_ms, sequence));
        if let Some(name) = self.group_of(&message) {
            let (name, emptied) = (
                name.to_owned(),
                self.groups.get_mut(name).map(|group| {
                    group.messages.remove(&sequence);
                    (group.turn, group.messages.is_empty())
                }),
            );
            match emptied {
                Some((turn, true)) => {
                    self.turns.remove(&turn);
                    self.groups.remove(name.as_str());
                }
                _ => self.refresh(&name),
            }
        }
        Some(message)
    }

    /// Changes the delivery state of a message, and returns the previous one.
    pub(super) fn set_delivery(&mut self, sequence: i64, delivery: Delivery, now_ms: i64) -> Option<Delivery> {
        self.unindex(sequence);
        let before = std::mem::replace(&mut self.messages.get_mut(&sequence)?.delivery, delivery);
        self.index(sequence, now_ms);
        Some(before)
    }

    /// Chooses up to `max` messages to hand out; it may choose further ones for the dead-letter queue. It changes only
    /// the order in which the groups are served.
    pub(super) fn pick(&mut self, max: usize, is_spent: impl Fn(&Delivery) -> bool) -> Picked {
        let mut picked = Picked::default();
        let mut served = Vec::new();
        let mut take = |sequence: i64, delivery: &Delivery| {
            let list = if is_spent(delivery) { &mut picked.give_up } else { &mut picked.deliver };
            list.push(sequence);
            picked.deliver.len() < max
        };
        if self.attributes.fifo {
            'groups: for name in self.turns.values() {
                served.push(Arc::clone(name));
                for sequence in self.groups.get(name).into_iter().flat_map(|group| &group.messages) {
                    let Some(message) = self.messages.get(sequence) else { continue };
                    if self.timers.contains(&(message.delivery.visible_ms, *sequence)) {
                        break;
                    }
                    if !take(*sequence, &message.delivery) {
                        break 'groups;
                    }
                }
            }
        } else {
            for (_, sequence) in &self.ready {
                let Some(message) = self.messages.get(sequence) else { continue };
                if !take(*sequence, &message.delivery) {
                    break;
                }
            }
        }
        for name in served {
            self.next_turn += 1;
            if let Some(group) = self.groups.get_mut(&name) {
                self.turns.remove(&group.turn);
                group.turn = self.next_turn;
                self.turns.insert(group.turn, name);
            }
        }
        picked
    }

    /// The next moment at which a message becomes visible by itself.
    pub(super) fn next_visible_ms(&self) -> Option<i64> {
        self.timers.first().map(|(visible_ms, _)| *visible_ms)
    }

    pub(super) fn visible(&self) -> usize {
        self.messages.len() - self.timers.len()
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// The messages in flight, by their sequence numbers.
    pub(super) fn all_in_flight(&self) -> Vec<(i64, Delivery)> {
        let timed = self.timers.iter().filter_map(|(_, sequence)| self.messages.get(sequence));
        let in_flight = timed.filter(|message| message.delivery.token.is_some());
        in_flight.map(|message| (message.sequence, message.delivery)).collect()
    }

    pub(super) fn delayed(&self) -> usize {
        self.timers.len() - self.in_flight
    }

    pub(super) fn clear(&mut self) {
        self.messages.clear();
        self.ready.clear();
        self.groups.clear();
        self.turns.clear();
        self.timers.clear();
        self.ages.clear();
        self.in_flight = 0;
        self.sent.clear();
    }

    /// Applies a changed delay to the messages that a FIFO queue already holds. AWS does so for FIFO queues only.
    /// Returns the changes.
    pub(super) fn apply_delay(&mut self, now_ms: i64) -> Vec<(i64, Delivery)> {
        let delay_ms = i64::from(self.attributes.delay_seconds) * 1000;
        let unreceived = self.messages.values().filter(|message| message.delivery.token.is_none());
        let changed: Vec<_> = unreceived
            .map(|m| (m.sequence, Delivery { visible_ms: m.content.sent_ms + delay_ms, ..m.delivery }))
            .collect();
        for (sequence, delivery) in &changed {
            self.set_delivery(*sequence, *delivery, now_ms);
        }
        changed
    }

    fn group_of<'a>(&self, message: &'a Stored) -> Option<&'a str> {
        // A standard queue accepts a group id too (fair queues), but it neither orders nor locks by it.
        message.content.group.as_deref().filter(|_| self.attributes.fifo)
    }

    fn index(&mut self, sequence: i64, now_ms: i64) {
        let Some(message) = self.messages.get(&sequence) else { return };
        if message.delivery.visible_ms > now_ms {
            self.timers.insert((message.delivery.visible_ms, sequence));
            if message.delivery.token.is_some() {
                self.in_flight += 1;
            }
            if let Some(group) = message.content.group.clone() {
                self.refresh(&group);
            }
        } else {
            self.show(sequence);
        }
    }

    fn unindex(&mut self, sequence: i64) {
        let Some(message) = self.messages.get(&sequence) else { return };
        let key = (message.delivery.visible_ms, sequence);
        if self.timers.remove(&key) {
            if message.delivery.token.is_some() {
                self.in_flight -= 1;
            }
        } else {
            self.ready.remove(&key);
        }
    }

    fn show(&mut self, sequence: i64) {
        let Some(message) = self.messages.get(&sequence) else { return };
        match self.group_of(message) {
            Some(group) => {
                let group = group.to_owned();
                self.refresh(&group);
            }
            None => {
                self.ready.insert((message.delivery.visible_ms, sequence));
            }
        }
    }

    /// Adds a group to those that can be served, or removes it, depending on its first message.
    fn refresh(&mut self, name: &str) {
        let Some((name, group)) = self.groups.get_key_value(name) else { return };
        let first = group.messages.first().and_then(|sequence| self.messages.get(sequence));
        let visible = first.is_some_and(|first| !self.timers.contains(&(first.delivery.visible_ms, first.sequence)));
        if visible {
            self.turns.insert(group.turn, Arc::clone(name));
        } else {
            self.turns.remove(&group.turn);
        }
    }
}
