//! The operations of the functions, as values that a case can hold.

use crate::clock::Timestamp;
use crate::ids::{ConnectionId, ConversationId, MessageId, UserId};
use crate::leases::{Connected, Handshake};
use crate::messages::{Admission, Claimed, Draft, Ending, Follows};
use crate::testing::Function;
use crate::{Error, Result};

#[derive(Debug, Clone)]
pub(super) enum Operation {
    Connect {
        user: UserId,
        connection: ConnectionId,
        handshake: Handshake,
    },
    Renew {
        user: UserId,
        connection: ConnectionId,
    },
    Release {
        user: UserId,
        connection: ConnectionId,
    },
    /// By an administrator.
    Close {
        user: UserId,
    },
    Admit {
        user: UserId,
        connection: ConnectionId,
        id: MessageId,
        conversation: ConversationId,
    },
    /// A worker: claim and end.
    Answer {
        user: UserId,
        id: MessageId,
        fails: bool,
    },
    /// A redelivered message that has ended.
    Uncount {
        user: UserId,
        id: MessageId,
    },
    /// The janitor: sweeps what an ended lease left behind.
    Forget {
        user: UserId,
    },
}

#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "few, and soon gone")]
pub(super) enum Outcome {
    Connected(Connected),
    Renewed(Timestamp),
    Released(bool),
    Closed(Option<ConnectionId>),
    Admitted(Admission),
    /// Whether this worker ended the message.
    Answered(bool),
    Uncounted,
    Forgotten,
}

impl Operation {
    pub(super) async fn run(&self, function: &Function, limits: &crate::config::AdmissionConfig) -> Result<Outcome> {
        let Function { leases, messages, .. } = function;
        Ok(match self {
            Self::Connect { user, connection, handshake } => {
                Outcome::Connected(leases.connect(user, connection, handshake).await?)
            }
            Self::Renew { user, connection } => Outcome::Renewed(leases.renew(user, connection).await?.expires_at),
            Self::Release { user, connection } => Outcome::Released(leases.release(user, connection).await?),
            Self::Close { user } => Outcome::Closed(leases.close(user).await?),
            Self::Admit { user, connection, id, conversation } => {
                let draft = Draft {
                    id: id.clone(),
                    conversation: conversation.clone(),
                    text: "Hello".to_owned(),
                    media: None,
                    follows: Follows::Latest,
                };
                Outcome::Admitted(messages.admit(user, connection, &draft, limits).await?)
            }
            Self::Answer { user, id, fails } => {
                let ending = if *fails {
                    Ending::Failed { code: "model_error", message: "No".to_owned() }
                } else {
                    Ending::text("Hello yourself")
                };
                let message = messages.find(user, id).await?.ok_or(Error::ConversationNotFound)?;
                Outcome::Answered(match messages.claim(&message).await? {
                    Claimed::Yes(claim) => messages.end(claim, ending, None, message.seq).await?.is_some(),
                    Claimed::Ended(_) | Claimed::Elsewhere | Claimed::Deleted => false,
                })
            }
            Self::Uncount { user, id } => {
                let message = messages.find(user, id).await?.ok_or(Error::ConversationNotFound)?;
                messages.uncount(&message).await?;
                Outcome::Uncounted
            }
            Self::Forget { user } => {
                if let Some(lease) = leases.find(user).await? {
                    for (connection, _) in &lease.replaced {
                        leases.forget_replaced(user, connection).await?;
                    }
                    leases.forget(user, &lease).await?;
                }
                Outcome::Forgotten
            }
        })
    }

    pub(super) fn user(&self) -> &UserId {
        match self {
            Self::Connect { user, .. }
            | Self::Renew { user, .. }
            | Self::Release { user, .. }
            | Self::Close { user }
            | Self::Admit { user, .. }
            | Self::Answer { user, .. }
            | Self::Uncount { user, .. }
            | Self::Forget { user } => user,
        }
    }

    /// The connection that it acts for. Administrators, workers and the janitor act for none.
    pub(super) fn connection(&self) -> Option<&ConnectionId> {
        match self {
            Self::Connect { connection, .. }
            | Self::Renew { connection, .. }
            | Self::Release { connection, .. }
            | Self::Admit { connection, .. } => Some(connection),
            Self::Close { .. } | Self::Answer { .. } | Self::Uncount { .. } | Self::Forget { .. } => None,
        }
    }
}

/// One line of a history.
impl std::fmt::Display for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Connect { user, connection, handshake } => {
                let Handshake { session, takeover, .. } = handshake;
                write!(f, "connect {user} {connection} {session:?}{}", if *takeover { ", taking over" } else { "" })
            }
            Self::Renew { user, connection } => write!(f, "renew {user} {connection}"),
            Self::Release { user, connection } => write!(f, "release {user} {connection}"),
            Self::Close { user } => write!(f, "close {user}"),
            Self::Admit { user, connection, id, conversation } => {
                write!(f, "admit {user} {connection} message {id} in {conversation}")
            }
            Self::Answer { user, id, fails } => {
                write!(f, "answer {id} of {user}{}", if *fails { ", failing" } else { "" })
            }
            Self::Uncount { user, id } => write!(f, "uncount {id} of {user}"),
            Self::Forget { user } => write!(f, "forget {user}"),
        }
    }
}
