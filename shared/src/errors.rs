//! Everything that can go wrong, as data. Each error knows its class (a rule refused it, a retry may help, or a bug)
//! and the code that a client sees. It is logged once, at the boundary.

use crate::clock::Timestamp;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Every mapping of this enum is an exhaustive match. So the author of a new variant has to choose its class, its code
/// and its HTTP status, and no default chooses for them.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    BadRequest(String),
    /// A well-formed field with a wrong value, and what is wrong with it.
    #[error("{field} {problem}")]
    Invalid { field: &'static str, problem: String },
    #[error("The server does not know this action; it knows sendMessage, heartbeat and cancel")]
    UnknownAction,
    #[error("The text has {actual_bytes} bytes; at most {limit_bytes} are allowed")]
    TextTooLarge { actual_bytes: usize, limit_bytes: usize },
    #[error("There is no such conversation")]
    ConversationNotFound,
    #[error("There is no such message")]
    MessageNotFound,
    #[error(
        "parentId must be the id of a message or an answer of this conversation; leave it out to follow the latest, or \
         send \"\" to begin anew"
    )]
    ParentNotFound,
    #[error("This id was used for another message; give every message an id of its own")]
    IdUsed,
    #[error("There is no such upload")]
    MediaNotFound,
    #[error("This upload is already used by another message; upload it again")]
    MediaUsed,
    #[error("The upload's bytes are not {content_type}, the type that it was declared with")]
    MediaMismatch { content_type: String },
    #[error("The upload has {actual_bytes} bytes; at most {limit_bytes} are allowed")]
    MediaTooLarge { actual_bytes: u64, limit_bytes: u64 },
    #[error("{pending} messages still wait for an answer and at most {limit} may; wait for an answer")]
    TooManyPending { pending: usize, limit: usize, retry_after_ms: u64 },
    #[error("This connection no longer holds a place; connect again")]
    LeaseExpired,

    #[error("{operation} failed: {detail}")]
    Service { operation: &'static str, detail: String },
    #[error("{operation} lost to other writers {attempts} times")]
    Contended { operation: &'static str, attempts: u32 },
    #[error("The time for this work ended at {at}")]
    OutOfTime { at: Timestamp },

    #[error("The data of {key} can't be used: {detail}")]
    Corrupt { key: String, detail: String },
    #[error("{name} is not set; set it in the function's environment")]
    ConfigMissing { name: &'static str },
    #[error("{name} is \"{value}\" and must be {expected}")]
    ConfigInvalid { name: &'static str, value: String, expected: &'static str },
}

/// The right answer to an error: try again, tell the client, or call the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// A rule refused the request. The client is told which.
    Rejected,
    /// The same call may work the next time.
    Retry,
    /// The same call fails until somebody changes something.
    Bug,
}

impl Error {
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::BadRequest(message.into())
    }

    pub fn invalid(field: &'static str, problem: impl Into<String>) -> Self {
        Self::Invalid { field, problem: problem.into() }
    }

    /// A failed call of an AWS service, with the whole chain of causes.
    pub fn service(operation: &'static str, error: &(dyn std::error::Error + 'static)) -> Self {
        let mut detail = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            detail.push_str(": ");
            detail.push_str(&cause.to_string());
            source = cause.source();
        }
        Self::Service { operation, detail }
    }

    pub fn class(&self) -> Class {
        match self {
            Self::BadRequest(_)
            | Self::Invalid { .. }
            | Self::UnknownAction
            | Self::TextTooLarge { .. }
            | Self::ConversationNotFound
            | Self::MessageNotFound
            | Self::ParentNotFound
            | Self::IdUsed
            | Self::MediaNotFound
            | Self::MediaUsed
            | Self::MediaMismatch { .. }
            | Self::MediaTooLarge { .. }
            | Self::TooManyPending { .. }
            | Self::LeaseExpired => Class::Rejected,
            Self::Service { .. } | Self::Contended { .. } | Self::OutOfTime { .. } => Class::Retry,
            Self::Corrupt { .. } | Self::ConfigMissing { .. } | Self::ConfigInvalid { .. } => Class::Bug,
        }
    }

    /// The code that the public contract defines.
    pub fn code(&self) -> &'static str {
        match self {
            Self::BadRequest(_)
            | Self::Invalid { .. }
            | Self::ParentNotFound
            | Self::IdUsed
            | Self::MediaMismatch { .. } => "bad_request",
            Self::UnknownAction => "unknown_action",
            Self::TextTooLarge { .. } | Self::MediaTooLarge { .. } => "too_large",
            Self::ConversationNotFound => "conversation_not_found",
            // The contract has no code for this. REST answers 404, so only `cancel` shows this code.
            Self::MessageNotFound => "bad_request",
            Self::MediaNotFound | Self::MediaUsed => "media_not_found",
            Self::TooManyPending { .. } => "too_many_pending",
            Self::LeaseExpired => "lease_expired",
            Self::Service { .. }
            | Self::Contended { .. }
            | Self::OutOfTime { .. }
            | Self::Corrupt { .. }
            | Self::ConfigMissing { .. }
            | Self::ConfigInvalid { .. } => "internal",
        }
    }

    /// The text for the client: the rule that refused the request, or a text without internals.
    pub fn public_message(&self) -> String {
        match self.class() {
            Class::Rejected => self.to_string(),
            Class::Retry | Class::Bug => "Something went wrong on our side; try again".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn internals_are_not_told_to_clients() {
        let error = Error::Service { operation: "PutItem", detail: "table secret-name".into() };
        assert_eq!(error.code(), "internal");
        assert!(!error.public_message().contains("secret-name"));
        assert_eq!(error.class(), Class::Retry);
    }
}
