//! The invariants as rules on the tables: for one state, and for one write.

use std::collections::{BTreeMap, BTreeSet};

use super::operation::Operation;
use crate::clock::Timestamp;
use crate::config::{AdmissionConfig, LeaseConfig};
use crate::leases::Handshake;
use crate::testing::{SlotItem, Snapshot, UserItem};

/// The rule that was broken, and how.
pub(super) type Broken = String;

macro_rules! rule {
    ($holds:expr, $($why:tt)+) => {
        if !$holds {
            return Err(format!($($why)+));
        }
    };
}
pub(super) use rule;

/// The rules that hold at any moment.
pub(super) fn state(
    state: &Snapshot,
    now: Timestamp,
    config: &LeaseConfig,
    limits: &AdmissionConfig,
) -> Result<(), Broken> {
    let held = state.held_slots(now);
    rule!(held <= config.max_clients as usize, "I1: {held} slots are held");
    let mut leases = 0;
    let latest = now.plus(config.lease.max(config.first_message));
    for (number, slot) in &state.slots {
        rule!(*number < config.max_clients, "I1: there is no slot {number}");
        rule!(slot.expires_at <= latest, "I6: slot {number} is held until {}", slot.expires_at);
    }
    let mut holders = BTreeMap::new();
    for (user, item) in &state.users {
        let pending = item.pending.len();
        rule!(pending <= limits.max_pending_per_client, "Pending: {user} has {pending}");
        rule!(item.expires_at <= latest, "I6: {user}'s lease lasts until {}", item.expires_at);
        if item.expires_at <= now {
            continue;
        }
        leases += 1;
        let slot = state.slots.get(&item.slot);
        let backed = slot.is_some_and(|slot| {
            &slot.user == user && slot.connection == item.connection && slot.expires_at >= item.expires_at
        });
        rule!(backed, "I5: {user} holds {item:?}, and its slot is {slot:?}");
        let other = holders.insert(&item.connection, user);
        rule!(other.is_none(), "I2: {} holds leases of {user} and {other:?}", item.connection);
    }
    rule!(leases <= config.max_clients, "I1: {leases} leases are held");
    waiting(state)?;
    numbering(state)?;
    following(state)
}

/// No unanswered message is forgotten: its user's item names it, and names no other message.
fn waiting(state: &Snapshot) -> Result<(), Broken> {
    let unanswered = state.messages.values().filter(|message| !message.is_answered());
    let unanswered: BTreeSet<_> = unanswered.map(|message| (&message.user, &message.id)).collect();
    let named = state.users.iter().flat_map(|(user, item)| item.pending.keys().map(move |id| (user, id)));
    let named: Vec<_> = named.collect();
    let set: BTreeSet<_> = named.iter().copied().collect();
    rule!(
        set == unanswered && named.len() == set.len(),
        "Pending: {named:?} are named and {unanswered:?} are unanswered"
    );
    Ok(())
}

/// Conversations are numbered without gaps, and an id names one message.
fn numbering(state: &Snapshot) -> Result<(), Broken> {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    let places: BTreeSet<_> = state.messages.keys().chain(state.answers.keys()).collect();
    for (conversation, seq) in places {
        let count = counts.entry(conversation).or_default();
        *count += 1;
        // In the order of the keys.
        rule!(seq == count, "Numbering: {conversation} has {seq} where {count} is missing");
    }
    for ((user, conversation), last) in &state.conversations {
        let stored = counts.remove(conversation.as_str()).unwrap_or(0);
        rule!(stored == *last, "Numbering: {conversation} of {user} counts {last} and has {stored}");
    }
    rule!(counts.is_empty(), "Numbering: messages of no conversation: {counts:?}");
    let stored = state.messages.len();
    rule!(state.names.len() == stored, "Duplicates: {} ids name {stored} messages", state.names.len());
    for ((user, id), place) in &state.names {
        let message = state.messages.get(place);
        let is_it = message.is_some_and(|message| &message.user == user && &message.id == id);
        rule!(is_it, "Duplicates: {id} of {user} names {message:?} at {place:?}");
    }
    for (place, id) in &state.answers {
        let asked = state.messages.iter().find(|(at, message)| at.0 == place.0 && &message.id == id);
        let status = asked.map(|(_, message)| message.status.as_str());
        rule!(status == Some("done"), "Answers: {place:?} is {status:?} and has an answer");
    }
    Ok(())
}

/// Every item follows an older item of its conversation or nothing, and a conversation knows its last item.
fn following(state: &Snapshot) -> Result<(), Broken> {
    for (place, id) in &state.ids {
        let parent = state.parents.get(place);
        let named = parent.and_then(|(_, seq)| state.ids.get(&(place.0.clone(), *seq)));
        let is_it = match parent {
            Some((parent, 0)) => parent.is_empty(),
            Some((parent, seq)) => *seq < place.1 && named == Some(parent),
            None => false,
        };
        rule!(is_it, "Parents: {id} at {place:?} follows {parent:?}, and there is {named:?}");
    }
    for (conversation, last) in &state.conversations {
        let known = state.last_ids.get(conversation);
        let last = state.ids.get(&(conversation.1.clone(), *last));
        rule!(known == last, "Parents: {conversation:?} has {known:?} for its last item, which is {last:?}");
    }
    Ok(())
}

/// Whether the handshake may take the place: it has the same session, or asks for the place of any.
pub(super) fn may_take(handshake: &Handshake, lease: &UserItem) -> bool {
    let session = handshake.session.as_ref().map(|session| session.as_str());
    handshake.takeover || (session.is_some() && lease.session.as_deref() == session)
}

/// One executed write.
#[derive(Debug)]
pub(super) struct Write<'a> {
    pub(super) operation: &'a Operation,
    pub(super) before: &'a Snapshot,
    pub(super) after: &'a Snapshot,
    pub(super) now: Timestamp,
    /// When the operation began, and when it built this request. These are the oldest times that it can have compared
    /// with.
    pub(super) started_at: Timestamp,
    pub(super) decided_at: Timestamp,
    pub(super) config: &'a LeaseConfig,
}

impl Write<'_> {
    /// Checks the changes that a write makes.
    pub(super) fn check(&self) -> Result<(), Broken> {
        for number in 0..self.config.max_clients {
            let (before, after) = (self.before.slots.get(&number), self.after.slots.get(&number));
            if before != after {
                self.slot(number, before, after)?;
            }
        }
        let (before, after) = (&self.before.users, &self.after.users);
        for user in before.keys().chain(after.keys()) {
            let (old, new) = (before.get(user), after.get(user));
            if old != new {
                rule!(user == self.user(), "I4: {user}'s lease was changed by another's operation");
                old.map_or(Ok(()), |old| self.sockets(old, new))?;
                match new {
                    Some(new) => self.lease(old, new)?,
                    None => {
                        let ended = old.is_some_and(|old| old.expires_at <= self.now);
                        let sweeping = matches!(self.operation, Operation::Forget { .. });
                        rule!(sweeping && ended, "{old:?} of {user} was deleted");
                    }
                }
            }
        }
        self.messages()
    }

    fn user(&self) -> &str {
        self.operation.user().as_str()
    }

    fn connection(&self) -> Option<&str> {
        self.operation.connection().map(|connection| connection.as_str())
    }

    fn session(&self) -> Option<&str> {
        match self.operation {
            Operation::Connect { handshake, .. } => handshake.session.as_ref().map(|session| session.as_str()),
            _ => None,
        }
    }

    /// This connect may take the place of this lease.
    fn takes_over(&self, lease: &UserItem) -> bool {
        matches!(self.operation, Operation::Connect { handshake, .. } if may_take(handshake, lease))
    }

    /// A write may change a slot that is free, its own, or taken over. It may not touch any other.
    fn slot(&self, number: u32, before: Option<&SlotItem>, after: Option<&SlotItem>) -> Result<(), Broken> {
        let connecting = matches!(self.operation, Operation::Connect { .. });
        let sweeping = matches!(self.operation, Operation::Forget { .. }) && after.is_none();
        let own = before.is_some_and(|slot| Some(slot.connection.as_str()) == self.connection());
        let free = before.is_none_or(|slot| slot.expires_at <= self.now);
        let taken_over = before.is_some_and(|slot| {
            let lease = self.before.lease(self.user(), self.now);
            slot.user == self.user() && lease.is_some_and(|lease| lease.slot == number && self.takes_over(lease))
        });
        let closing = matches!(self.operation, Operation::Close { .. }) && after.is_none();
        let closed = closing && before.is_some_and(|slot| slot.user == self.user());
        rule!(
            own || (connecting && (free || taken_over)) || (sweeping && free) || closed,
            "I4: slot {number} was {before:?}, and is {after:?}"
        );
        if let Some(slot) = after {
            let mine = slot.user == self.user() && Some(slot.connection.as_str()) == self.connection();
            rule!(mine, "I4: slot {number} was given to {slot:?}");
        }
        Ok(())
    }

    /// A connection that loses its place is written down, because its socket may be open.
    fn sockets(&self, before: &UserItem, after: Option<&UserItem>) -> Result<(), Broken> {
        let remembered = |connection: &String| after.is_some_and(|item| item.replaced.contains_key(connection));
        let lost = !before.is_released() && after.is_some_and(|after| after.connection != before.connection);
        rule!(!lost || remembered(&before.connection), "Sockets: {before:?} became {after:?}");
        let sweeping = matches!(self.operation, Operation::Forget { .. });
        let forgotten = before.replaced.keys().find(|connection| !remembered(connection));
        rule!(sweeping || forgotten.is_none(), "Sockets: {forgotten:?} of {before:?} was forgotten");
        rule!(after.is_some() || forgotten.is_none(), "Sockets: {before:?} was deleted");
        Ok(())
    }

    fn lease(&self, before: Option<&UserItem>, after: &UserItem) -> Result<(), Broken> {
        let shape =
            |item: &UserItem| (item.slot, item.connection.clone(), item.session.clone(), item.expires_at, item.spoken);
        let Some(before) = before else {
            return self.granted(after);
        };
        if shape(before) == shape(after) {
            return Ok(()); // its pending messages
        }
        let own = Some(before.connection.as_str()) == self.connection();
        let held = before.expires_at > self.now;
        let lasts = self.lasts(before, after);
        match self.operation {
            // The connect compares with the time at which it began, so it may still have met the lease alive.
            Operation::Connect { .. } if !held => self.granted(after).or_else(|broken| {
                if before.expires_at > self.started_at { self.taken_over(before, after) } else { Err(broken) }
            }),
            Operation::Connect { .. } => self.taken_over(before, after),
            Operation::Close { .. } => {
                rule!(after.is_released(), "Closing: {after:?} is still held");
                rule!(after.replaced.contains_key(&before.connection), "Sockets: {before:?} was closed and forgotten");
                let same = (after.slot, &after.connection) == (before.slot, &before.connection);
                rule!(same, "Closing: {before:?} became {after:?}");
                Ok(())
            }
            _ if !own => Err(format!("I4: {before:?} was changed to {after:?} by an outdated connection")),
            Operation::Release { .. } => {
                rule!(after.expires_at <= self.now, "Release: {after:?} is still held");
                Ok(())
            }
            _ if before.expires_at <= self.started_at => {
                Err(format!("Renewal: {before:?} had ended, and is {after:?}"))
            }
            Operation::Renew { .. } => {
                rule!(before.spoken && after.spoken, "Silence: a heartbeat renewed {before:?} to {after:?}");
                rule!(lasts, "Renewal: it shortened {before:?} to {}", after.expires_at);
                Ok(())
            }
            Operation::Admit { .. } => {
                rule!(after.spoken, "Silence: {after:?} has sent a message");
                rule!(lasts, "Renewal: it shortened {before:?} to {}", after.expires_at);
                Ok(())
            }
            Operation::Answer { .. } | Operation::Uncount { .. } | Operation::Forget { .. } => {
                Err(format!("A worker changed {before:?}"))
            }
        }
    }

    /// The lease did not get shorter, except that a slow operation may write the end that was due when it began.
    fn lasts(&self, before: &UserItem, after: &UserItem) -> bool {
        after.expires_at >= before.expires_at.min(self.started_at.plus(self.config.lease))
    }

    /// A place moves to another connection of its user, and belongs to that connection's session from then on.
    fn taken_over(&self, before: &UserItem, after: &UserItem) -> Result<(), Broken> {
        rule!(self.takes_over(before), "I2: {before:?} was taken by another session");
        rule!(Some(after.connection.as_str()) == self.connection(), "I2: {after:?} was given to another connection");
        rule!(after.session.as_deref() == self.session(), "Session: {before:?} became {after:?}");
        rule!(after.spoken == before.spoken, "Silence: a takeover is not a message");
        rule!(after.slot == before.slot, "I1: a takeover left slot {}", before.slot);
        if before.spoken {
            rule!(self.lasts(before, after), "Takeover: it shortened {before:?} to {}", after.expires_at);
        } else {
            let same = after.expires_at == before.expires_at;
            rule!(same, "Silence: a takeover moved the deadline of {before:?} to {}", after.expires_at);
        }
        Ok(())
    }

    /// A place is granted anew.
    fn granted(&self, lease: &UserItem) -> Result<(), Broken> {
        let connecting = matches!(self.operation, Operation::Connect { .. });
        rule!(connecting, "I4: {lease:?} came back to life");
        rule!(Some(lease.connection.as_str()) == self.connection(), "I2: {lease:?} was given to another connection");
        rule!(lease.session.as_deref() == self.session(), "Session: {lease:?} has another session");
        rule!(!lease.spoken, "Silence: {lease:?} is new and has not sent a message");
        let deadline = self.now.plus(self.config.first_message);
        rule!(lease.expires_at <= deadline, "Silence: the first lease lasts until {}", lease.expires_at);
        Ok(())
    }

    fn messages(&self) -> Result<(), Broken> {
        for (place, old) in &self.before.messages {
            let new = self.after.messages.get(place).ok_or_else(|| format!("{place:?} is gone"))?;
            rule!(old.id == new.id && old.user == new.user, "{place:?} was {old:?} and is {new:?}");
            let step = (old.status.as_str(), new.status.as_str());
            let forward = step.0 == step.1
                || matches!(step, ("queued" | "processing", "processing") | ("processing", "done" | "failed"));
            rule!(forward, "Status: {place:?} went from {} to {}", step.0, step.1);
        }
        let new: Vec<_> =
            self.after.messages.iter().filter(|(place, _)| !self.before.messages.contains_key(place)).collect();
        if new.is_empty() {
            return Ok(());
        }
        let [(place, message)] = new.as_slice() else { return Err(format!("One write stored {new:?}")) };
        let Operation::Admit { id, conversation, .. } = self.operation else {
            return Err(format!("{message:?} was stored by no admission"));
        };
        let asked = message.id == id.key() && place.0 == conversation.as_str() && message.user == self.user();
        rule!(asked, "Another message was stored than asked for: {message:?} at {place:?}");
        rule!(message.status == "queued", "A new message is {}", message.status);
        let parent = self.after.parents.get(*place).map(|(_, seq)| *seq);
        rule!(parent == Some(place.1 - 1), "Parents: {message:?} at {place:?} follows {parent:?}");
        let connection = self.connection().unwrap_or_default();
        let sender = self.before.users.get(self.user());
        let heard = self.before.is_held_by(self.user(), connection, self.decided_at);
        rule!(heard, "I3: {message:?} was stored while {connection} did not hold {sender:?}");
        let counted = self.after.users.get(self.user()).is_some_and(|user| user.pending.contains_key(&message.id));
        rule!(counted, "Pending: {message:?} is not counted");
        Ok(())
    }
}
