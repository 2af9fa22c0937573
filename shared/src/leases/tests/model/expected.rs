//! The model proper: the answer that an operation must give if it runs alone, without faults and while time stands
//! still.

use super::operation::{Operation, Outcome};
use super::rules::{Broken, rule};
use crate::clock::Timestamp;
use crate::config::{AdmissionConfig, LeaseConfig};
use crate::leases::Connected;
use crate::messages::Admission;
use crate::testing::Snapshot;
use crate::{Error, Result};

#[derive(Debug)]
pub(super) struct Alone<'a> {
    pub(super) operation: &'a Operation,
    pub(super) before: &'a Snapshot,
    pub(super) after: &'a Snapshot,
    pub(super) now: Timestamp,
    pub(super) config: &'a LeaseConfig,
    pub(super) limits: &'a AdmissionConfig,
}

impl Alone<'_> {
    pub(super) fn check(&self, outcome: &Result<Outcome>) -> Result<(), Broken> {
        let expected = self.expected();
        let actual = describe(outcome);
        rule!(expected == actual, "{} had to answer {expected}, not {actual}", self.operation);
        self.effect(outcome)
    }

    /// The answer, in the words of [`describe`].
    fn expected(&self) -> String {
        let user = self.operation.user().as_str();
        let lease = self.before.lease(user, self.now);
        let renewed = self.now.plus(self.config.lease);
        match self.operation {
            Operation::Connect { handshake, .. } => match lease {
                Some(held) if super::rules::may_take(handshake, held) => {
                    let until = if held.spoken { renewed } else { held.expires_at };
                    format!("a place until {until}, replacing {:?}", Some(&held.connection))
                }
                Some(_) => "already connected".to_owned(),
                None if (0..self.config.max_clients).any(|slot| self.before.is_free(slot, self.now)) => {
                    let until = self.now.plus(self.config.first_message);
                    let left = self.before.users.get(user).filter(|item| !item.is_released());
                    format!("a place until {until}, replacing {:?}", left.map(|item| &item.connection))
                }
                None => "full".to_owned(),
            },
            Operation::Renew { connection, .. } => match lease {
                Some(held) if held.connection == connection.as_str() => {
                    format!("renewed until {}", if held.spoken { renewed } else { held.expires_at })
                }
                _ => "lease_expired".to_owned(),
            },
            Operation::Release { connection, .. } => {
                let named = self.before.users.get(user).is_some_and(|item| item.connection == connection.as_str());
                format!("released: {named}")
            }
            Operation::Close { .. } => format!("closed: {:?}", lease.map(|held| &held.connection)),
            Operation::Admit { connection, id, conversation, .. } => {
                let Some(held) = lease.filter(|held| held.connection == connection.as_str()) else {
                    return "lease_expired".to_owned();
                };
                let mine = self.before.conversations.get(&(user.to_owned(), conversation.as_str().to_owned()));
                let Some(last) = mine else { return "conversation_not_found".to_owned() };
                if let Some((first, seq)) = self.before.names.get(&(user.to_owned(), id.key())) {
                    let same = first == conversation.as_str();
                    return if same { format!("duplicate of {seq} in {first}") } else { "bad_request".to_owned() };
                }
                if held.pending.len() >= self.limits.max_pending_per_client {
                    return "too_many_pending".to_owned();
                }
                format!("message {} in {conversation}", last + 1)
            }
            Operation::Answer { id, .. } => {
                let place = self.before.names.get(&(user.to_owned(), id.key()));
                let message = place.and_then(|place| self.before.messages.get(place));
                format!("answered: {}", message.is_some_and(|message| !message.is_answered()))
            }
            Operation::Uncount { .. } => "uncounted".to_owned(),
            Operation::Forget { .. } => "forgotten".to_owned(),
        }
    }

    /// The effect on the tables, beyond the rules for every write.
    fn effect(&self, outcome: &Result<Outcome>) -> Result<(), Broken> {
        let user = self.operation.user().as_str();
        let held_until = |until: Timestamp| {
            let lease = self.after.users.get(user);
            let connection = self.operation.connection().map(|connection| connection.as_str());
            let is = lease.is_some_and(|l| Some(l.connection.as_str()) == connection && l.expires_at == until);
            rule!(is, "{} is to hold until {until}, and there is {lease:?}", self.operation);
            Ok(())
        };
        match outcome {
            Ok(Outcome::Connected(Connected::Granted { expires_at, .. }) | Outcome::Renewed(expires_at)) => {
                held_until(*expires_at)
            }
            Ok(Outcome::Admitted(_)) => {
                held_until(self.now.plus(self.config.lease))?;
                rule!(self.after.users[user].spoken, "Silence: {user} has sent a message");
                Ok(())
            }
            Ok(Outcome::Released(true)) => {
                let connection = self.operation.connection().map(|connection| connection.as_str()).unwrap_or_default();
                let kept = self.after.slots.values().any(|slot| slot.connection == connection);
                let held = self.after.is_held_by(user, connection, self.now);
                rule!(!kept && !held, "Release: {connection} still has a place");
                Ok(())
            }
            Ok(Outcome::Closed(Some(connection))) => {
                let kept = self.after.slots.values().any(|slot| slot.connection == connection.as_str());
                let held = self.after.lease(user, self.now);
                rule!(!kept && held.is_none(), "Closing: {connection} still has a place, {held:?}");
                Ok(())
            }
            Ok(Outcome::Answered(_) | Outcome::Uncounted) => Ok(()),
            Ok(Outcome::Forgotten) => {
                let kept = self.after.users.get(user);
                let needed = kept.is_none_or(|item| {
                    item.expires_at > self.now || !item.pending.is_empty() || !item.replaced.is_empty()
                });
                rule!(needed, "Janitor: it left {kept:?}");
                Ok(())
            }
            Ok(Outcome::Connected(_) | Outcome::Released(false) | Outcome::Closed(None)) | Err(_) => {
                rule!(self.before == self.after, "{} said no and changed something", self.operation);
                Ok(())
            }
        }
    }
}

/// An answer in words, without the parts that the model does not know.
pub(super) fn describe(outcome: &Result<Outcome>) -> String {
    match outcome {
        Ok(Outcome::Connected(Connected::Granted { expires_at, replaced })) => {
            let replaced = replaced.as_ref().map(|connection| connection.as_str());
            format!("a place until {expires_at}, replacing {replaced:?}")
        }
        Ok(Outcome::Connected(Connected::AlreadyConnected)) => "already connected".to_owned(),
        Ok(Outcome::Connected(Connected::Full)) => "full".to_owned(),
        Ok(Outcome::Renewed(until)) => format!("renewed until {until}"),
        Ok(Outcome::Released(released)) => format!("released: {released}"),
        Ok(Outcome::Closed(closed)) => format!("closed: {:?}", closed.as_ref().map(|connection| connection.as_str())),
        Ok(Outcome::Admitted(Admission::New(message))) => {
            format!("message {} in {}", message.seq, message.conversation)
        }
        Ok(Outcome::Admitted(Admission::Duplicate(message))) => {
            format!("duplicate of {} in {}", message.seq, message.conversation)
        }
        Ok(Outcome::Answered(answered)) => format!("answered: {answered}"),
        Ok(Outcome::Uncounted) => "uncounted".to_owned(),
        Ok(Outcome::Forgotten) => "forgotten".to_owned(),
        Err(error @ (Error::Service { .. } | Error::Contended { .. } | Error::Corrupt { .. })) => {
            without_request_ids(&error.to_string())
        }
        Err(error) => error.code().to_owned(),
    }
}

/// The door numbers its requests at random.
fn without_request_ids(text: &str) -> String {
    const BEFORE_ID: &str = "aws_request_id: \"";
    let mut parts = text.split(BEFORE_ID);
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, rest| text + BEFORE_ID + rest.split_once('"').map_or("", |(_, rest)| rest))
}
