//! Newtypes for ids, parsed at the edge: a value of such a type has been checked. Randomness is passed in from here
//! too.

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
    /// The gateway gives each WebSocket one.
    ConnectionId
);
id!(
    /// A client instance chooses its own. With it, the instance can take its own place back.
    SessionId
);
id!(
    /// The server makes one for each new conversation.
    ConversationId
);
id!(
    /// For a message, the client chooses it, once per message; it is kept as written and compared without regard to
    /// case. For an answer, it is the id of the message and the index of the answer.
    MessageId
);

id!(
    /// The name by which a user knows one of their uploaded objects.
    MediaKey
);

impl MediaKey {
    pub fn generate(random: &Random, extension: &str) -> Self {
        Self(format!("{}.{extension}", random.uuid()))
    }

    /// The key of an answer's media.
    pub fn of_answer(answer: &MessageId, extension: &str) -> Self {
        Self(format!("{}.{extension}", answer.key()))
    }

    /// # Errors
    /// When it can't be the key of any object.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let valid = text.rsplit_once('.').is_some_and(|(name, extension)| {
            let plain = |text: &str| text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
            (UUID_CHARS..=UUID_CHARS + 2).contains(&name.len())
                && (2..=4).contains(&extension.len())
                && plain(name)
                && plain(extension)
        });
        if valid { Ok(Self(text.to_owned())) } else { Err(Error::MediaNotFound) }
    }
}

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

    pub fn generate(random: &Random) -> Self {
        Self(random.uuid())
    }
}

impl MessageId {
    /// # Errors
    /// When it is not a UUID in its usual form (8-4-4-4-12 hexadecimal digits).
    pub fn parse(text: &str) -> Result<Self, Error> {
        if is_uuid(text) { Ok(Self(text.to_owned())) } else { Err(Error::bad_request("id must be a UUID")) }
    }

    /// The id of a message or of an answer. `None` if no message or answer can have this id.
    pub fn parse_any(text: &str) -> Option<Self> {
        let id = Self(text.to_owned());
        (is_uuid(text) || id.question().is_some()).then_some(id)
    }

    /// The form that is part of the table's keys.
    pub fn key(&self) -> String {
        self.0.to_ascii_lowercase()
    }

    /// The id of the `index`th answer to this message.
    pub fn answer(&self, index: usize) -> Self {
        Self(format!("{}-{index}", self.0))
    }

    /// Splits an answer's id into the id of its message and its index.
    pub fn question(&self) -> Option<(Self, usize)> {
        let (message, index) = self.0.split_at_checked(UUID_CHARS)?;
        let index = index.strip_prefix('-').filter(|digits| digits.len() == 1)?.parse().ok()?;
        is_uuid(message).then(|| (Self(message.to_owned()), index))
    }
}

fn is_token(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

const UUID_CHARS: usize = 36;

fn is_uuid(text: &str) -> bool {
    text.len() == UUID_CHARS && uuid::Uuid::try_parse(text).is_ok()
}

/// The source of randomness: the slot to start from, jitter, tokens that tell attempts apart, ids.
#[derive(Debug)]
pub struct Random {
    rng: Mutex<fastrand::Rng>,
    /// For tests: everything can be foretold.
    seeded: bool,
}

impl Random {
    #[allow(clippy::disallowed_methods, reason = "the one place where randomness comes from the system")]
    pub fn from_system() -> Self {
        Self { rng: Mutex::new(fastrand::Rng::new()), seeded: false }
    }

    pub fn seeded(seed: u64) -> Self {
        Self { rng: Mutex::new(fastrand::Rng::with_seed(seed)), seeded: true }
    }

    /// A number in `0..bound`; 0 for a bound of 0.
    pub fn below(&self, bound: u32) -> u32 {
        self.with(|rng| if bound == 0 { 0 } else { rng.u32(0..bound) })
    }

    pub fn shuffle<T>(&self, items: &mut [T]) {
        self.with(|rng| rng.shuffle(items));
    }

    /// A UUID that nobody else has. It comes from the system's randomness, because this generator has only 64 bits of
    /// state.
    #[allow(clippy::disallowed_methods, reason = "the one place where ids are made")]
    pub fn uuid(&self) -> String {
        let uuid = if self.seeded {
            let mut bytes = [0; 16];
            self.with(|rng| rng.fill(&mut bytes));
            uuid::Builder::from_random_bytes(bytes).into_uuid()
        } else {
            uuid::Uuid::new_v4()
        };
        uuid.to_string()
    }

    /// A token with enough bits to tell one attempt from every other.
    pub fn token(&self) -> String {
        format!("{:016x}", self.with(|rng| rng.u64(..)))
    }

    fn with<T>(&self, f: impl FnOnce(&mut fastrand::Rng) -> T) -> T {
        f(&mut self.rng.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
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
    }

    #[test]
    fn an_answers_id_says_what_it_answers() {
        let message = MessageId::parse("6f9619ff-8b86-d011-b42d-00c04fc964ff").expect("a UUID");
        for index in 0..3 {
            let answer = message.answer(index);
            assert_eq!(answer.question(), Some((message.clone(), index)));
            assert_eq!(MessageId::parse_any(answer.as_str()), Some(answer));
        }
        assert_eq!(message.question(), None);
        for bad in ["", "x-1", "6f9619ff-8b86-d011-b42d-00c04fc964ff-", "6f9619ff-8b86-d011-b42d-00c04fc964ff-10", "ä"]
        {
            assert_eq!(MessageId::parse_any(bad), None, "{bad}");
        }
    }

    #[test]
    fn sessions_are_short_and_plain() {
        assert!(SessionId::parse(&"a".repeat(64)).is_ok());
        for bad in ["", "a b", "ä", &"a".repeat(65)] {
            assert!(SessionId::parse(bad).is_err(), "{bad}");
        }
    }
}
