//! The five minutes during which a FIFO queue ignores a repeated send.
//!
//! Invariant: the window of an id begins with its first accepted send, whatever happens to that message afterwards:
//! received, deleted or dead-lettered. Repeats do not extend the window.

use std::collections::{HashMap, VecDeque};

pub(super) const WINDOW_MS: i64 = 5 * 60 * 1000;

/// The first send of an id. Every repeat gets its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FirstSend {
    pub(super) message_id: String,
    pub(super) sequence: i64,
    pub(super) sent_ms: i64,
}

/// The group (with `DeduplicationScope` messageGroup) and the deduplication id.
pub(super) type Key = (Option<String>, String);

#[derive(Debug, Default)]
pub(super) struct Window {
    first: HashMap<Key, FirstSend>,
    by_age: VecDeque<(i64, Key)>,
}

impl Window {
    pub(super) fn find(&self, key: &Key) -> Option<&FirstSend> {
        self.first.get(key)
    }

    /// Sends must be recorded in the order of time. A clock that was set back only makes an id last longer.
    pub(super) fn record(&mut self, key: Key, send: FirstSend) {
        self.by_age.push_back((send.sent_ms, key.clone()));
        self.first.insert(key, send);
    }

    /// Removes ids whose window is over, and returns whether there were any.
    pub(super) fn expire(&mut self, now_ms: i64) -> bool {
        let mut any = false;
        while let Some((sent_ms, key)) = self.by_age.pop_front_if(|(sent_ms, _)| *sent_ms + WINDOW_MS <= now_ms) {
            // The id may have been used again since.
            if self.first.get(&key).is_some_and(|send| send.sent_ms == sent_ms) {
                self.first.remove(&key);
            }
            any = true;
        }
        any
    }

    pub(super) fn clear(&mut self) {
        self.first.clear();
        self.by_age.clear();
    }
}
