//! The administrators' view of the places, and closing clients.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;

use super::scene::{FIRST_MESSAGE, LEASE};
use crate::Error;
use crate::clock::Clock as _;
use crate::leases::{Connected, Handshake};
use crate::testing::{Before, Function, Stack, connection, draft, user};

fn named(session: &str, username: &str) -> Handshake {
    Handshake { username: Some(username.to_owned()), ..Handshake::of(session) }
}

async fn scene() -> (Stack, Function) {
    let stack = Stack::start(3, LEASE, FIRST_MESSAGE);
    stack.make_conversations("u", [0]);
    let function = stack.function("rest_api", 3, 1);
    function.leases.connect(&user("u"), &connection("c"), &named("s", "ann")).await.expect("a place");
    (stack, function)
}

#[tokio::test]
async fn each_holder_is_shown_with_name_time_and_unanswered_messages() {
    let (stack, function) = scene().await;
    let connected_at = stack.clock.now();
    stack.clock.advance(Duration::from_secs(1));
    function.messages.admit(&user("u"), &connection("c"), &draft(1, 0), &stack.limits).await.expect("a message");
    function.messages.admit(&user("u"), &connection("c"), &draft(2, 0), &stack.limits).await.expect("a message");
    // This client has no name, and its lease has ended when the administrator looks.
    function.leases.connect(&user("v"), &connection("d"), &Handshake::default()).await.expect("a place");
    function.leases.connect(&user("w"), &connection("e"), &Handshake::default()).await.expect("a place");
    function.leases.release(&user("w"), &connection("e")).await.expect("given back");
    let holders = function.leases.holders().await.expect("a look");
    let mut shown: Vec<_> = holders
        .iter()
        .map(|holder| {
            let lease = &holder.lease;
            (holder.user.as_str(), lease.username.as_deref(), lease.connected_at, lease.unanswered().count())
        })
        .collect();
    shown.sort();
    let now = Some(stack.clock.now());
    assert_eq!(shown, [("u", Some("ann"), Some(connected_at), 2), ("v", None, now, 0)]);
    assert!(holders.is_sorted_by_key(|holder| holder.lease.slot));
    assert_eq!(function.leases.capacity(), 3);

    // A takeover brings another connection, another name and another time.
    stack.clock.advance(Duration::from_secs(1));
    let takeover = Handshake { username: Some("Ann".to_owned()), ..Handshake::taking_over("t") };
    function.leases.connect(&user("u"), &connection("c2"), &takeover).await.expect("the place");
    let lease = function.leases.find(&user("u")).await.expect("a read").expect("a lease");
    assert_eq!((lease.username.as_deref(), lease.connected_at), (Some("Ann"), Some(stack.clock.now())));
    // A client whose lease has ended is not shown.
    stack.clock.advance(LEASE);
    assert!(function.leases.holders().await.expect("a look").is_empty());
}

#[tokio::test]
async fn a_closed_client_is_not_heard_and_its_place_is_free_at_once() {
    let (stack, function) = scene().await;
    assert_eq!(function.leases.close(&user("u")).await.expect("an answer"), Some(connection("c")));
    assert_eq!(stack.snapshot().held_slots(stack.clock.now()), 0);
    let said = function.messages.admit(&user("u"), &connection("c"), &draft(1, 0), &stack.limits).await;
    assert!(matches!(said, Err(Error::LeaseExpired)), "{said:?}");
    assert!(matches!(function.leases.renew(&user("u"), &connection("c")).await, Err(Error::LeaseExpired)));
    assert_eq!(function.leases.address(&user("u")).await.expect("an answer"), None);
    // Closing a client again, or one who was never there, changes nothing.
    for name in ["u", "nobody"] {
        assert_eq!(function.leases.close(&user(name)).await.expect("an answer"), None, "{name}");
    }
    // Its late release changes nothing, and it may come back.
    function.leases.release(&user("u"), &connection("c")).await.expect("an answer");
    let back = function.leases.connect(&user("u"), &connection("d"), &Handshake::default()).await;
    assert!(matches!(back, Ok(Connected::Granted { replaced: None, .. })), "{back:?}");
    let item = &stack.snapshot().users["u"];
    assert!(item.replaced.contains_key("c"), "its socket may be open: {item:?}");
}

#[tokio::test]
async fn a_close_that_meets_a_takeover_closes_the_new_holder() {
    let (stack, function) = scene().await;
    let (other, stack) = (stack.function("connect", 3, 2), Arc::new(stack));
    let take_over = async move {
        other.leases.connect(&user("u"), &connection("d"), &Handshake::of("s")).await.expect("the place");
    };
    Before::install(&stack, "rest_api", "UpdateItem", take_over.boxed());
    assert_eq!(function.leases.close(&user("u")).await.expect("an answer"), Some(connection("d")));
    let state = stack.snapshot();
    assert_eq!(state.held_slots(stack.clock.now()), 0, "{state:?}");
    assert!(["c", "d"].iter().all(|name| state.users["u"].replaced.contains_key(*name)), "{state:?}");
}
