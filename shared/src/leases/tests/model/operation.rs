//! What happens in a case: the operations of the functions, as values.

use crate::Result;
use crate::clock::Timestamp;
use crate::ids::{ConnectionId, ConversationId, MessageId, SessionId, UserId};
use crate::leases::Connected;
use crate::messages::{Admission, Claimed, Draft, Ending, StoredMessage};
use crate::testing::Function;

#[derive(Debug, Clone)]
pub(super) enum Operation {
    Connect {
        user: UserId,
        connection: ConnectionId,
        session: Option<SessionId>,
    },
    Renew {
        user: UserId,
        connection: ConnectionId,
    },
    Release {
        user: UserId,
        connection: ConnectionId,
    },
    Admit {
        user: UserId,
        connection: ConnectionId,
        id: MessageId,
        conversation: ConversationId,
    },
    /// A worker: claim and end.
    Answer {
        message: Box<StoredMessage>,
        fails: bool,
    },
    /// A redelivered message that has ended.
    Settle {
        message: Box<StoredMessage>,
    },
}

#[derive(Debug)]
pub(super) enum Outcome {
    Connected(Connected),
    Renewed(Timestamp),
    Released(bool),
    Admitted(Admission),
    /// Whether it was this worker that ended the message.
    Answered(bool),
    Settled,
}

impl Operation {
    pub(super) async fn run(&self, function: &Function, limits: &crate::config::AdmissionConfig) -> Result<Outcome> {
        let Function { leases, messages } = function;
        Ok(match self {
            Self::Connect { user, connection, session } => {
                Outcome::Connected(leases.connect(user, connection, session.as_ref()).await?)
            }
            Self::Renew { user, connection } => Outcome::Renewed(leases.renew(user, connection).await?),
            Self::Release { user, connection } => Outcome::Released(leases.release(user, connection).await?),
            Self::Admit { user, connection, id, conversation } => {
                let draft = Draft { id: id.clone(), conversation: conversation.clone(), text: "Hello".to_owned() };
                Outcome::Admitted(messages.admit(user, connection, &draft, limits).await?)
            }
            Self::Answer { message, fails } => {
                let ending = if *fails {
                    Ending::Failed { code: "model_error", message: "No".to_owned() }
                } else {
                    Ending::Done { text: "Hello yourself".to_owned() }
                };
                Outcome::Answered(match messages.claim(message).await? {
                    Claimed::Yes(claim) => messages.end(claim, ending).await?.is_some(),
                    Claimed::Ended(_) => false,
                })
            }
            Self::Settle { message } => {
                messages.settle(message).await?;
                Outcome::Settled
            }
        })
    }

    pub(super) fn user(&self) -> &UserId {
        match self {
            Self::Connect { user, .. }
            | Self::Renew { user, .. }
            | Self::Release { user, .. }
            | Self::Admit { user, .. } => user,
            Self::Answer { message, .. } | Self::Settle { message } => &message.user,
        }
    }

    /// For whom it acts; a worker acts for no connection.
    pub(super) fn connection(&self) -> Option<&ConnectionId> {
        match self {
            Self::Connect { connection, .. }
            | Self::Renew { connection, .. }
            | Self::Release { connection, .. }
            | Self::Admit { connection, .. } => Some(connection),
            Self::Answer { .. } | Self::Settle { .. } => None,
        }
    }
}

/// One line of a history.
impl std::fmt::Display for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Connect { user, connection, session } => write!(f, "connect {user} {connection} {session:?}"),
            Self::Renew { user, connection } => write!(f, "renew {user} {connection}"),
            Self::Release { user, connection } => write!(f, "release {user} {connection}"),
            Self::Admit { user, connection, id, conversation } => {
                write!(f, "admit {user} {connection} message {id} in {conversation}")
            }
            Self::Answer { message, fails } => {
                write!(f, "answer {} of {}{}", message.id, message.user, if *fails { ", failing" } else { "" })
            }
            Self::Settle { message } => write!(f, "settle {} of {}", message.id, message.user),
        }
    }
}
