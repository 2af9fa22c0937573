//! Admission against the real engine: which connections are heard, how many messages they may send, and in which order.
//! The model in `leases/tests/model` finds such cases by chance. These tests name them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::join_all;

use super::{Admission, Claimed, Draft, Ending, Follows, StoredMessage};
use crate::clock::Clock as _;
use crate::ids::{ConversationId, MediaKey, MessageId};
use crate::leases::Handshake;
use crate::testing::{Before, Function, Stack, connection, conversation, draft, message_id, user};
use crate::{Error, Result};

const LEASE: Duration = Duration::from_secs(60);
const FIRST_MESSAGE: Duration = Duration::from_secs(10);

/// User `u` is connected with connection `c`.
pub(super) async fn connected() -> (Stack, Function) {
    let stack = Stack::start(5, LEASE, FIRST_MESSAGE);
    stack.make_conversations("u", 0..30);
    let function = stack.function("send_message", 3, 1);
    function.leases.connect(&user("u"), &connection("c"), &Handshake::of("s")).await.expect("a place");
    (stack, function)
}

pub(super) async fn say(stack: &Stack, function: &Function, draft: Draft) -> Result<Admission> {
    function.messages.admit(&user("u"), &connection("c"), &draft, &stack.limits).await
}

pub(super) async fn say_all(
    stack: &Stack,
    function: &Function,
    drafts: impl Iterator<Item = Draft>,
) -> Vec<Result<Admission>> {
    let limits = stack.limits;
    let tasks = drafts.map(|draft| {
        let messages = function.messages.clone();
        tokio::spawn(async move { messages.admit(&user("u"), &connection("c"), &draft, &limits).await })
    });
    let tasks: Vec<_> = tasks.collect();
    join_all(tasks).await.into_iter().map(|outcome| outcome.expect("no panic")).collect()
}

pub(super) fn new(outcome: Result<Admission>) -> StoredMessage {
    match outcome {
        Ok(Admission::New(message)) => message,
        other => panic!("not new: {other:?}"),
    }
}

pub(super) async fn answer(
    function: &Function,
    message: &StoredMessage,
) -> Option<(StoredMessage, Vec<StoredMessage>)> {
    match function.messages.claim(message).await.expect("a claim") {
        Claimed::Yes(claim) => {
            function.messages.end(claim, Ending::text("Hello yourself"), None, 0).await.expect("an end")
        }
        Claimed::Ended(_) | Claimed::Elsewhere | Claimed::Deleted => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_one_conversation_at_once_are_numbered_without_gaps() {
    let (stack, function) = connected().await;
    let outcomes = say_all(&stack, &function, (0..10).map(|number| draft(number, 0))).await;
    let numbers: BTreeSet<u64> = outcomes.into_iter().map(|outcome| new(outcome).seq).collect();
    assert_eq!(numbers, (1..=10).collect());
    crate::testing::assert_numbered(&stack);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_said_many_times_at_once_in_several_conversations_is_stored_once_and_refused_elsewhere() {
    let (stack, function) = connected().await;
    let outcomes = say_all(&stack, &function, (0..12).map(|number| draft(7, number % 3))).await;
    let stored = outcomes.iter().filter(|outcome| matches!(outcome, Ok(Admission::New(_)))).count();
    let repeated = outcomes.iter().filter(|outcome| matches!(outcome, Ok(Admission::Duplicate(_)))).count();
    let refused = outcomes.iter().filter(|outcome| matches!(outcome, Err(Error::IdUsed))).count();
    assert_eq!((stored, repeated, refused), (1, 3, 8), "{outcomes:?}");
    assert_eq!(stack.snapshot().messages.len(), 1);
    crate::testing::assert_numbered(&stack);
}

#[tokio::test]
async fn an_id_is_the_same_in_capitals_and_names_the_first_message_for_ever() {
    let (stack, function) = connected().await;
    let draft_of = |id: &str, number| Draft {
        id: MessageId::parse(id).expect("a message id"),
        conversation: conversation(number),
        text: "Hello".to_owned(),
        media: None,
        follows: Follows::Latest,
    };
    let lower = "0a0b0c0d-0000-4000-8000-00000000abcd";
    let first = new(say(&stack, &function, draft_of(lower, 0)).await);
    answer(&function, &first).await.expect("answered");
    let again = say(&stack, &function, draft_of(&lower.to_uppercase(), 0)).await;
    let Ok(Admission::Duplicate(message)) = again else { panic!("{again:?}") };
    assert_eq!((message.conversation, message.seq, message.id.as_str()), (conversation(0), 1, lower));
    assert!(message.status.is_final());
    assert_eq!(stack.snapshot().messages.len(), 1);
}

#[tokio::test]
async fn another_message_under_a_used_id_is_refused_and_changes_nothing() {
    let (stack, function) = connected().await;
    let first = new(say(&stack, &function, draft(1, 0)).await);
    answer(&function, &first).await.expect("answered");
    stack.clock.advance(Duration::from_secs(1));
    let before = stack.snapshot();
    let media = MediaKey::parse("6f9619ff-8b86-4011-b42d-00c04fc964ff.png").expect("a key");
    for other in
        [Draft { text: "Goodbye".to_owned(), ..draft(1, 0) }, draft(1, 1), Draft { media: Some(media), ..draft(1, 0) }]
    {
        let refused = say(&stack, &function, other).await;
        assert!(matches!(refused, Err(Error::IdUsed)), "{refused:?}");
        // Even its lease lasts no longer.
        assert_eq!(stack.snapshot(), before);
    }
    assert_eq!(Error::IdUsed.code(), "bad_request");
}

#[tokio::test]
async fn a_message_that_is_sent_again_renews_the_lease_as_a_new_one_does() {
    let (stack, function) = connected().await;
    new(say(&stack, &function, draft(1, 0)).await);
    let almost = LEASE - Duration::from_millis(1);
    stack.clock.advance(almost);
    let again = say(&stack, &function, draft(1, 0)).await;
    assert!(matches!(again, Ok(Admission::Duplicate(_))), "{again:?}");
    stack.clock.advance(almost);
    assert!(stack.snapshot().is_held_by("u", "c", stack.clock.now()));
}

#[tokio::test]
async fn two_users_may_use_the_same_id() {
    let (stack, function) = connected().await;
    new(say(&stack, &function, draft(1, 0)).await);
    stack.make_conversations("v", [1]);
    let (user, connection) = (user("v"), connection("d"));
    function.leases.connect(&user, &connection, &Handshake::default()).await.expect("a place");
    new(function.messages.admit(&user, &connection, &draft(1, 1), &stack.limits).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn thirty_messages_at_once_are_accepted_up_to_the_pending_limit_exactly() {
    let (stack, function) = connected().await;
    let outcomes = say_all(&stack, &function, (0..30).map(|number| draft(number, number))).await;
    let stored = outcomes.iter().filter(|outcome| matches!(outcome, Ok(Admission::New(_)))).count();
    let refused = outcomes.iter().filter(|outcome| {
        matches!(outcome, Err(Error::TooManyPending { pending: 10, limit: 10, retry_after_ms: 1.. }))
    });
    assert_eq!((stored, refused.count()), (10, 20), "{outcomes:?}");
    assert_eq!(stack.snapshot().messages.len(), 10);
}

#[tokio::test]
async fn an_answered_message_makes_room_for_one_more() {
    let (mut stack, function) = connected().await;
    stack.limits.max_pending_per_client = 1;
    let first = new(say(&stack, &function, draft(1, 0)).await);
    assert!(matches!(say(&stack, &function, draft(2, 0)).await, Err(Error::TooManyPending { pending: 1, .. })));
    answer(&function, &first).await.expect("answered");
    new(say(&stack, &function, draft(2, 0)).await);
    assert!(matches!(say(&stack, &function, draft(3, 0)).await, Err(Error::TooManyPending { .. })));
}

#[tokio::test]
async fn a_message_counts_until_it_has_ended_however_long_that_takes() {
    let (mut stack, function) = connected().await;
    stack.limits.max_pending_per_client = 1;
    let first = new(say(&stack, &function, draft(1, 0)).await);
    for _ in 0..30 {
        stack.clock.advance(LEASE / 2);
        function.leases.renew(&user("u"), &connection("c")).await.expect("renewed");
        let full = say(&stack, &function, draft(2, 0)).await;
        assert!(matches!(full, Err(Error::TooManyPending { pending: 1, .. })), "{full:?}");
    }
    answer(&function, &first).await.expect("answered");
    new(say(&stack, &function, draft(2, 0)).await);
}

#[tokio::test]
async fn pending_messages_stay_pending_when_their_user_connects_anew() {
    let (mut stack, function) = connected().await;
    stack.limits.max_pending_per_client = 1;
    new(say(&stack, &function, draft(1, 0)).await);
    assert!(function.leases.release(&user("u"), &connection("c")).await.expect("released"));
    function.leases.connect(&user("u"), &connection("d"), &Handshake::default()).await.expect("a place");
    let full = function.messages.admit(&user("u"), &connection("d"), &draft(2, 0), &stack.limits).await;
    assert!(matches!(full, Err(Error::TooManyPending { .. })), "{full:?}");
}

#[tokio::test]
async fn only_the_holder_of_an_unexpired_lease_is_heard() {
    let (stack, function) = connected().await;
    let ghost = function.messages.admit(&user("u"), &connection("ghost"), &draft(1, 0), &stack.limits).await;
    assert!(matches!(ghost, Err(Error::LeaseExpired)), "{ghost:?}");
    stack.clock.advance(FIRST_MESSAGE);
    let late = say(&stack, &function, draft(1, 0)).await;
    assert!(matches!(late, Err(Error::LeaseExpired)), "{late:?}");
    assert!(stack.snapshot().messages.is_empty());
}

/// The ways to lose a lease.
#[derive(Debug, Clone, Copy)]
enum Loss {
    Released,
    TakenOver,
    /// A function gave the lease back and died before it freed the slot.
    HalfReleased,
    /// The same, and the user has connected again with another connection.
    HalfReleasedAndBack,
}

impl Loss {
    const ALL: [Self; 4] = [Self::Released, Self::TakenOver, Self::HalfReleased, Self::HalfReleasedAndBack];
}

#[tokio::test]
async fn a_lease_lost_between_looking_and_writing_is_lost() {
    for loss in Loss::ALL {
        let (stack, function) = connected().await;
        let (other, stack) = (stack.function("other", 3, 2), Arc::new(stack));
        let lose = {
            let stack = Arc::clone(&stack);
            async move {
                let slot = stack.snapshot().users["u"].slot;
                if !matches!(loss, Loss::TakenOver) {
                    assert!(other.leases.release(&user("u"), &connection("c")).await.expect("released"));
                }
                if matches!(loss, Loss::HalfReleased | Loss::HalfReleasedAndBack) {
                    stack.put_connections(&[stack.slot_item(slot, "u", "c")]);
                }
                if matches!(loss, Loss::TakenOver | Loss::HalfReleasedAndBack) {
                    other.leases.connect(&user("u"), &connection("d"), &Handshake::of("s")).await.expect("a place");
                }
            }
        };
        Before::install(&stack, "send_message", "TransactWriteItems", lose.boxed());
        let outcome = say(&stack, &function, draft(1, 0)).await;
        assert!(matches!(outcome, Err(Error::LeaseExpired)), "{loss:?}: {outcome:?}");
        let state = stack.snapshot();
        assert!(state.messages.is_empty() && state.names.is_empty(), "{loss:?}");
        assert!(!state.users["u"].spoken, "{loss:?}");
    }
}

#[tokio::test]
async fn the_first_message_makes_a_lease_renewable_and_a_heartbeat_does_not() {
    let (stack, function) = connected().await;
    let (user, connection) = (user("u"), connection("c"));
    let deadline = stack.clock.now().plus(FIRST_MESSAGE);
    stack.clock.advance(FIRST_MESSAGE / 2);
    assert_eq!(function.leases.renew(&user, &connection).await.expect("held").expires_at, deadline);
    new(say(&stack, &function, draft(1, 0)).await);
    stack.clock.advance(LEASE / 2);
    let renewed = function.leases.renew(&user, &connection).await.expect("held").expires_at;
    assert_eq!(renewed, stack.clock.now().plus(LEASE));
}

#[tokio::test]
async fn another_users_conversation_is_not_found_and_not_written_to() {
    let (stack, function) = connected().await;
    new(say(&stack, &function, draft(1, 0)).await);
    let (user, connection) = (user("v"), connection("d"));
    function.leases.connect(&user, &connection, &Handshake::default()).await.expect("a place");
    let before = stack.snapshot();
    let outcome = function.messages.admit(&user, &connection, &draft(2, 0), &stack.limits).await;
    assert!(matches!(outcome, Err(Error::ConversationNotFound)), "{outcome:?}");
    let unnamed = Draft {
        id: message_id(3),
        conversation: ConversationId::parse("mine").expect("a conversation id"),
        text: "Hello".to_owned(),
        media: None,
        follows: Follows::Latest,
    };
    let outcome = function.messages.admit(&user, &connection, &unnamed, &stack.limits).await;
    assert!(matches!(outcome, Err(Error::ConversationNotFound)), "{outcome:?}");
    assert_eq!(stack.snapshot(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_workers_with_one_message_give_one_answer() {
    let (stack, function) = connected().await;
    let message = new(say(&stack, &function, draft(1, 0)).await);
    let Claimed::Yes(first) = function.messages.claim(&message).await.expect("a claim") else { panic!("it is queued") };
    let Claimed::Yes(second) = function.messages.claim(&message).await.expect("a claim") else {
        panic!("it is claimed")
    };
    assert!(!first.repeated && second.repeated);
    assert!(function.messages.end(first, Ending::text("The first"), None, 1).await.expect("an answer").is_none());
    let (_, answers) = function
        .messages
        .end(second, Ending::text("The second"), None, 1)
        .await
        .expect("an answer")
        .expect("it holds it");
    assert_eq!(answers[0].text, "The second");
    assert_eq!(stack.snapshot().answers.len(), 1);
    assert!(answer(&function, &message).await.is_none(), "it was answered twice");
}
