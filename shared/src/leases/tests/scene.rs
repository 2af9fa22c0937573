//! A scene, and every operation that can happen in it, for the systematic tests.

use std::time::Duration;

use crate::leases::Handshake;
use crate::messages::{Claimed, Ending};
use crate::testing::{Function, Stack, connection, draft, message_id, user};
use crate::{Error, Result};

pub(super) const LEASE: Duration = Duration::from_secs(60);
pub(super) const FIRST_MESSAGE: Duration = Duration::from_secs(10);
/// Longer than an unanswered message is counted.
pub(super) const LONG: Duration = Duration::from_secs(301);

/// The operations. Each runs on a scene of its own: `u` holds a place with `c`, has spoken, and has one message
/// unanswered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Connect,
    TakeOver,
    /// By another session.
    TakeAway,
    Renew,
    Release,
    Close,
    Admit,
    Repeat,
    Answer,
    Forget,
}

pub(super) const KINDS: [Kind; 10] = [
    Kind::Connect,
    Kind::TakeOver,
    Kind::TakeAway,
    Kind::Renew,
    Kind::Release,
    Kind::Close,
    Kind::Admit,
    Kind::Repeat,
    Kind::Answer,
    Kind::Forget,
];

pub(super) async fn scene() -> (Stack, Function) {
    let stack = Stack::start(2, LEASE, FIRST_MESSAGE);
    stack.make_conversations("u", [0]);
    let friend = stack.function("friend", 1, 1);
    let (user, connection) = (user("u"), connection("c"));
    friend.leases.connect(&user, &connection, &Handshake::of("s")).await.expect("a place");
    friend.messages.admit(&user, &connection, &draft(0, 0), &stack.limits).await.expect("a message");
    (stack, friend)
}

/// `name` is the name of the new connection, if there is one.
pub(super) async fn run(kind: Kind, name: &str, stack: &Stack, function: &Function) -> Result<String> {
    let Function { leases, messages, .. } = function;
    let (owner, held) = (user("u"), connection("c"));
    Ok(match kind {
        Kind::Connect => format!("{:?}", leases.connect(&user("v"), &connection(name), &Handshake::default()).await?),
        Kind::TakeOver => format!("{:?}", leases.connect(&owner, &connection(name), &Handshake::of("s")).await?),
        Kind::TakeAway => {
            format!("{:?}", leases.connect(&owner, &connection(name), &Handshake::taking_over("t")).await?)
        }
        Kind::Renew => format!("{:?}", leases.renew(&owner, &held).await?),
        Kind::Release => format!("{:?}", leases.release(&owner, &held).await?),
        Kind::Close => format!("{:?}", leases.close(&owner).await?),
        Kind::Admit => format!("{:?}", messages.admit(&owner, &held, &draft(1, 0), &stack.limits).await?),
        Kind::Repeat => format!("{:?}", messages.admit(&owner, &held, &draft(0, 0), &stack.limits).await?),
        Kind::Forget => {
            let lease = leases.find(&owner).await?.ok_or(Error::LeaseExpired)?;
            format!("{:?}", leases.forget(&owner, &lease).await?)
        }
        Kind::Answer => {
            let message = messages.find(&owner, &message_id(0)).await?.ok_or(Error::ConversationNotFound)?;
            match messages.claim(&message).await? {
                // If the SDK repeated a claim, it looks like a second attempt of the worker, so this part is not
                // compared.
                Claimed::Yes(claim) => {
                    let ended = messages.end(claim, Ending::text("Hello yourself"), None, message.seq).await?;
                    format!("{:?}", ended.map(|(message, answers)| (message.status, answers.len())))
                }
                Claimed::Ended(message) => format!("{:?}", message.status),
                Claimed::Elsewhere => "elsewhere".to_owned(),
                Claimed::Deleted => "deleted".to_owned(),
            }
        }
    })
}
