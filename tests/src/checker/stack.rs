//! Checks the samples of the stack's state, and the objects in its bucket.

use std::collections::HashSet;

use super::history::{Conn, Lease};
use super::{Checker, Rule};

impl Checker {
    pub(super) fn sample(&mut self, leases: &[Lease], slots: &[String], processing: u32) {
        let most = self.max_clients as usize;
        if leases.len() > most || slots.len() > most {
            let detail = format!("{} leases and {} slots are taken, but {most} are allowed", leases.len(), slots.len());
            self.violated(Rule::Places, None, &[], detail);
        }
        let slots: HashSet<&str> = slots.iter().map(String::as_str).collect();
        let mut seen = HashSet::new();
        for Lease { user, connection } in leases {
            if !seen.insert(user) {
                self.violated(Rule::OnePlace, None, &[user, connection], "a user holds two places");
            }
            if !slots.contains(connection.as_str()) {
                self.violated(Rule::OnePlace, None, &[user, connection], "a place without a slot");
            }
        }
        self.processing(processing);
    }

    pub(super) fn processing(&mut self, processing: u32) {
        if processing > self.max_processing {
            let detail = format!("{processing} messages are in processing, but {} are allowed", self.max_processing);
            self.violated(Rule::Processing, None, &[], detail);
        }
    }

    pub(super) fn judge_objects(&mut self) {
        let Some((stored, held)) = self.objects.take() else { return };
        let stray = stored.iter().filter(|key| !self.named.contains_key(*key) && !held.contains(*key));
        for key in stray.collect::<Vec<_>>() {
            self.violated(Rule::StrayMedia, None, &[key], "no message names this object, and no note holds it");
        }
        let mut missing: Vec<_> = self.named.iter().filter(|(key, _)| !stored.contains(*key)).collect();
        missing.sort_unstable();
        let missing: Vec<_> = missing.into_iter().map(|(key, user)| (key.clone(), *user)).collect();
        for (key, user) in missing {
            self.violated(Rule::MissingMedia, Some(user), &[&key], "a message names this object, which does not exist");
        }
    }

    /// Whether the client has read from this connection all the time.
    pub(super) fn reads(&self, conn: Conn) -> bool {
        self.links.get(&conn).is_some_and(|link| !link.has_paused())
    }
}
