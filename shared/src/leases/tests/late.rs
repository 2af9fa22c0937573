//! Late operations: when they write, the state that they read has changed.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;

use super::scene::{FIRST_MESSAGE, LEASE};
use crate::clock::Clock as _;
use crate::leases::{Connected, Handshake};
use crate::messages::Admission;
use crate::testing::{Before, Stack, connection, draft, user};

#[tokio::test]
async fn a_disconnect_that_is_late_leaves_the_successors_place_alone() {
    for between in [false, true] {
        let stack = Stack::start(2, LEASE, FIRST_MESSAGE);
        let (old, new) = (stack.function("old", 1, 1), stack.function("new", 1, 2));
        old.leases.connect(&user("u"), &connection("c"), &Handshake::of("s")).await.expect("a place");
        let take_over = async move {
            new.leases.connect(&user("u"), &connection("d"), &Handshake::of("s")).await.expect("taken over");
        };
        if between {
            // It has read the user's item, which was its own then.
            Before::install(&stack, "old", "UpdateItem", take_over.boxed());
        } else {
            take_over.await;
        }
        let released = old.leases.release(&user("u"), &connection("c")).await.expect("an answer");
        assert!(!released, "in between: {between}");
        let state = stack.snapshot();
        assert!(state.is_held_by("u", "d", stack.clock.now()), "in between: {between}, {state:?}");
        assert_eq!(state.slots[&state.users["u"].slot].connection, "d", "in between: {between}");
    }
}

#[tokio::test]
async fn a_place_that_becomes_free_while_another_client_takes_the_one_that_was_seen_is_granted() {
    let mut met = 0;
    for seed in 1..=6 {
        let stack = Arc::new(Stack::start(2, LEASE, FIRST_MESSAGE));
        let friend = stack.function("friend", 1, 1);
        friend.leases.connect(&user("leaver"), &connection("l"), &Handshake::default()).await.expect("a place");
        let leases = friend.leases.clone();
        let swap = async move {
            let taken = leases.connect(&user("thief"), &connection("t"), &Handshake::default()).await;
            assert!(matches!(taken, Ok(Connected::Granted { .. })), "{taken:?}");
            assert!(leases.release(&user("leaver"), &connection("l")).await.expect("an answer"));
        };
        // A client whose first slot is taken looks for a free one. It sees one, which is taken before it takes it.
        let inner = Arc::clone(&stack);
        let meanwhile = async move { Before::install(&inner, "late", "TransactWriteItems", swap.boxed()) };
        Before::install(&stack, "late", "BatchGetItem", meanwhile.boxed());
        let late = stack.function("late", 1, seed);
        let outcome = late.leases.connect(&user("u"), &connection("c"), &Handshake::default()).await;
        assert!(matches!(outcome, Ok(Connected::Granted { .. })), "seed {seed}: {outcome:?}");
        met += u32::from(friend.leases.find(&user("thief")).await.expect("an answer").is_some());
    }
    assert!(met > 0, "no client looked for a place");
}

#[tokio::test]
async fn a_takeover_that_meets_the_first_message_gets_a_full_lease() {
    let stack = Arc::new(Stack::start(2, LEASE, FIRST_MESSAGE));
    stack.make_conversations("u", [0]);
    let (old, new) = (stack.function("old", 1, 1), stack.function("new", 1, 2));
    old.leases.connect(&user("u"), &connection("c"), &Handshake::of("s")).await.expect("a place");
    let speak = {
        let stack = Arc::clone(&stack);
        async move {
            let (user, connection) = (user("u"), connection("c"));
            let said = old.messages.admit(&user, &connection, &draft(0, 0), &stack.limits).await;
            assert!(matches!(said, Ok(Admission::New(_))), "{said:?}");
        }
    };
    // The first transaction finds the old connection, which has sent nothing. The second takes over.
    let inner = Arc::clone(&stack);
    let meanwhile = async move { Before::install(&inner, "new", "TransactWriteItems", speak.boxed()) };
    Before::install(&stack, "new", "TransactWriteItems", meanwhile.boxed());
    let connected = new.leases.connect(&user("u"), &connection("d"), &Handshake::of("s")).await;
    let Ok(Connected::Granted { expires_at, replaced: Some(_) }) = connected else { panic!("{connected:?}") };
    assert_eq!(expires_at, stack.clock.now().plus(LEASE));
    assert!(stack.snapshot().users["u"].spoken);
}

#[tokio::test]
async fn a_renewal_that_comes_too_late_takes_nothing_from_one_in_time() {
    let stack = Arc::new(Stack::start(2, LEASE, FIRST_MESSAGE));
    stack.make_conversations("u", [0]);
    let (early, late) = (stack.function("early", 1, 1), stack.function("late", 1, 2));
    let (user, connection) = (user("u"), connection("c"));
    early.leases.connect(&user, &connection, &Handshake::default()).await.expect("a place");
    early.messages.admit(&user, &connection, &draft(0, 0), &stack.limits).await.expect("a message");
    stack.clock.advance(LEASE - Duration::from_millis(1));
    let renew_late = {
        let (stack, user) = (Arc::clone(&stack), user.clone());
        async move {
            let lease = late.leases.find(&user).await.expect("an answer").expect("a lease");
            stack.clock.advance(Duration::from_millis(1));
            // By its own clock, the lease has ended.
            late.leases.heard(&user, &lease).await.expect_err("it has ended");
        }
    };
    Before::install(&stack, "early", "TransactWriteItems", renew_late.boxed());
    early.leases.renew(&user, &connection).await.expect("renewed in time");
    super::model::check_state(&stack.snapshot(), &stack).expect("the invariants");
    assert!(stack.snapshot().is_held_by("u", "c", stack.clock.now()));
}
