//! Judges a case: checks the rules on every state, and every answer against the states during its operation.

use std::collections::BTreeSet;

use super::{Case, Running};
use crate::leases::Connected;
use crate::leases::tests::model::expected::Alone;
use crate::leases::tests::model::operation::{Operation, Outcome};
use crate::leases::tests::model::rules::{self, Broken, rule};
use crate::messages::Admission;
use crate::{Error, Result};

/// The states that an operation could have seen while it ran.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Slots that were free all the time.
    free: BTreeSet<u32>,
    /// The user was connected with another session.
    other_session: bool,
    /// Whether the user item named this operation's connection, and whether the lease lasted.
    held: bool,
    not_held: bool,
    /// Connections that had the place and did not give it back.
    holders: BTreeSet<String>,
    full_pending: bool,
}

impl Seen {
    pub(super) fn beginning(free: BTreeSet<u32>) -> Self {
        Self { free, ..Self::default() }
    }
}

impl Case {
    /// Every state is checked here.
    pub(super) fn look(&mut self) -> Result<(), Broken> {
        self.observe();
        rules::state(&self.state, self.now(), &self.stack.config, &self.stack.limits)
    }

    pub(super) fn observe(&mut self) {
        let now = self.now();
        for running in self.running.iter_mut().flatten() {
            let seen = &mut running.seen;
            let user = running.operation.user().as_str();
            seen.free.retain(|&slot| self.state.is_free(slot, running.started_at));
            if let Some(connection) = running.operation.connection() {
                let held = self.state.is_held_by(user, connection.as_str(), now);
                seen.held |= self.state.is_held_by(user, connection.as_str(), running.started_at);
                seen.not_held |= !held;
            }
            if let Some(item) = self.state.users.get(user).filter(|item| !item.is_released()) {
                seen.holders.insert(item.connection.clone());
            }
            if let Some(lease) = self.state.lease(user, running.started_at) {
                if let Operation::Connect { handshake, .. } = &running.operation {
                    seen.other_session |= !rules::may_take(handshake, lease);
                }
                seen.full_pending |= lease.pending.len() >= self.stack.limits.max_pending_per_client;
            }
        }
    }

    /// Checks that an answer was true at some moment while the operation ran. If the operation ran alone, there is only
    /// one right answer.
    pub(super) fn judge(&self, running: &Running, outcome: &Result<Outcome>) -> Result<(), Broken> {
        if running.alone {
            let (before, after, now) = (&running.before, &self.state, self.now());
            let (config, limits) = (&self.stack.config, &self.stack.limits);
            let alone = Alone { operation: &running.operation, before, after, now, config, limits };
            return alone.check(outcome);
        }
        let (operation, seen) = (&running.operation, &running.seen);
        let user = operation.user().as_str();
        match outcome {
            Ok(Outcome::Connected(Connected::Granted { replaced, .. })) => {
                rule!(seen.held, "{operation} was granted a place and never had it");
                let took = replaced.as_ref().is_none_or(|connection| seen.holders.contains(connection.as_str()));
                rule!(took, "{operation} replaced {replaced:?}, and that had no place");
            }
            Ok(Outcome::Connected(Connected::AlreadyConnected)) => {
                rule!(seen.other_session, "{operation}: there was no other session");
            }
            Ok(Outcome::Connected(Connected::Full)) => {
                rule!(seen.free.is_empty(), "I7: {operation} was refused, and {:?} were free all the time", seen.free);
            }
            Ok(Outcome::Renewed(_)) => rule!(seen.held, "{operation} renewed what it did not hold"),
            Ok(Outcome::Admitted(admission)) => {
                let (Admission::New(message) | Admission::Duplicate(message)) = admission;
                let place = (message.conversation.as_str().to_owned(), message.seq);
                let named = self.state.names.get(&(user.to_owned(), message.id.key()));
                rule!(named == Some(&place), "{operation} answered {admission:?}, and that is {named:?}");
            }
            Ok(Outcome::Closed(closed)) => {
                let had = closed.as_ref().is_none_or(|connection| seen.holders.contains(connection.as_str()));
                rule!(had, "{operation} closed {closed:?}, and that had no place");
            }
            Ok(Outcome::Released(_) | Outcome::Answered(_) | Outcome::Uncounted | Outcome::Forgotten) => {}
            Err(Error::LeaseExpired) => rule!(seen.not_held, "{operation} held its lease all the time"),
            Err(Error::TooManyPending { .. }) => rule!(seen.full_pending, "{operation} had room"),
            Err(Error::ConversationNotFound) => {
                let Operation::Admit { conversation, .. } = operation else { return Err("No such error".to_owned()) };
                let mine = (user.to_owned(), conversation.as_str().to_owned());
                rule!(!running.before.conversations.contains_key(&mine), "{operation}: it is the user's own");
            }
            Err(Error::IdUsed) => {
                let Operation::Admit { id, conversation, .. } = operation else {
                    return Err("No such error".to_owned());
                };
                let named = self.state.names.get(&(user.to_owned(), id.key()));
                let other = named.is_some_and(|(first, _)| first != conversation.as_str());
                rule!(other, "{operation} was refused for its id, and that is {named:?}");
            }
            Err(Error::Service { .. } | Error::Contended { .. }) if running.faulted => {}
            Err(error) => return Err(format!("{operation} failed: {error}")),
        }
        Ok(())
    }
}
