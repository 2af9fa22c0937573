//! Newtypes for ids, parsed at the edge: what holds one has been checked. Randomness is passed in from here too.

use std::fmt;
use std::sync::Mutex;

use crate::Error;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id!(
    /// The `sub` of a verified token.
    UserId
);
id!(
    /// Given by the gateway, one per WebSocket.
    ConnectionId
);
id!(
    /// One client instance, chosen by it: what lets it take its own place back.
    SessionId
);
id!(ConversationId);
id!(
    /// Chosen by the client, once per message; kept as it was written, compared without regard to case.
    MessageId
);

impl UserId {
    /// # Errors
    /// When it is empty or too long to be part of a key.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if text.is_empty() || text.len() > 256 {
            return Err(Error::bad_request("The user id must have 1 to 256 bytes"));
        }
        Ok(Self(text.to_owned()))
    }
}

impl ConnectionId {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl SessionId {
    /// # Errors
    /// When it is not 1–64 of `A-Z a-z 0-9 _ -`.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if is_token(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Error::bad_request("session must be 1 to 64 characters of A-Z a-z 0-9 _ -"))
        }
    }
}

impl ConversationId {
    /// # Errors
    /// When it can't be the id of any conversation.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if is_token(text) { Ok(Self(text.to_owned())) } else { Err(Error::ConversationNotFound) }
    }

    pub fn is_uuid(&self) -> bool {
        is_uuid(&self.0)
    }
}

impl MessageId {
    /// # Errors
    /// When it is not a UUID in its usual form (8-4-4-4-12 hexadecimal digits).
    pub fn parse(text: &str) -> Result<Self, Error> {
        if is_uuid(text) { Ok(Self(text.to_owned())) } else { Err(Error::bad_request("id must be a UUID")) }
    }

    /// The form that keys are made of.
    pub fn key(&self) -> String {
        self.0.to_ascii_lowercase()
    }

    /// The id of the `index`th answer to this message: derived, so that answering twice writes the same items.
    pub fn answer(&self, index: usize) -> Self {
        let namespace = uuid::Uuid::try_parse(&self.0).unwrap_or_default();
        Self(uuid::Uuid::new_v5(&namespace, format!("answer-{index}").as_bytes()).to_string())
    }
}

fn is_token(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36 && uuid::Uuid::try_parse(text).is_ok()
}

/// The source of randomness: slots to begin with, jitter, tokens that tell attempts apart.
#[derive(Debug)]
pub struct Random(Mutex<fastrand::Rng>);

impl Random {
    #[allow(clippy::disallowed_methods, reason = "the one place where randomness comes from the system")]
    pub fn from_system() -> Self {
        Self(Mutex::new(fastrand::Rng::new()))
    }

    pub fn seeded(seed: u64) -> Self {
        Self(Mutex::new(fastrand::Rng::with_seed(seed)))
    }

    /// A number in `0..bound`; 0 for a bound of 0.
    pub fn below(&self, bound: u32) -> u32 {
        self.with(|rng| if bound == 0 { 0 } else { rng.u32(0..bound) })
    }

    pub fn shuffle<T>(&self, items: &mut [T]) {
        self.with(|rng| rng.shuffle(items));
    }

    /// Enough bits to tell one attempt from every other.
    pub fn token(&self) -> String {
        format!("{:016x}", self.with(|rng| rng.u64(..)))
    }

    fn with<T>(&self, f: impl FnOnce(&mut fastrand::Rng) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_id_is_a_uuid_in_its_usual_form() {
        assert!(MessageId::parse("6F9619FF-8B86-D011-B42D-00C04FC964FF").is_ok());
        for bad in ["", "x", "6f9619ff8b86d011b42d00c04fc964ff", "{6f9619ff-8b86-d011-b42d-00c04fc964f}"] {
            assert!(MessageId::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_message_id_is_echoed_as_written_and_compared_without_case() {
        let upper = MessageId::parse("6F9619FF-8B86-D011-B42D-00C04FC964FF").expect("a UUID");
        let lower = MessageId::parse("6f9619ff-8b86-d011-b42d-00c04fc964ff").expect("a UUID");
        assert_eq!(upper.as_str(), "6F9619FF-8B86-D011-B42D-00C04FC964FF");
        assert_eq!(upper.key(), lower.key());
        assert_eq!(upper.answer(0), lower.answer(0));
        assert_ne!(upper.answer(0), upper.answer(1));
    }

    #[test]
    fn sessions_are_short_and_plain() {
        assert!(SessionId::parse(&"a".repeat(64)).is_ok());
        for bad in ["", "a b", "ä", &"a".repeat(65)] {
            assert!(SessionId::parse(bad).is_err(), "{bad}");
        }
    }
}
