//! Real races: everybody at once, on as many threads as there are.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;

use crate::clock::Clock as _;
use crate::leases::{Connected, Handshake, Leases};
use crate::testing::{Stack, connection, draft, user};
use crate::{Error, Result};

const LEASE: Duration = Duration::from_secs(60);
const FIRST_MESSAGE: Duration = Duration::from_secs(10);

/// Connects at once, each on a task of its own.
async fn connect_all(
    leases: &Leases,
    clients: impl Iterator<Item = (String, String, Handshake)>,
) -> Vec<Result<Connected>> {
    let connects = clients.map(|(user_name, connection_name, handshake)| {
        let leases = leases.clone();
        tokio::spawn(async move { leases.connect(&user(user_name), &connection(connection_name), &handshake).await })
    });
    let connects: Vec<_> = connects.collect();
    join_all(connects).await.into_iter().map(|result| result.expect("no panic")).collect()
}

fn granted(outcomes: &[Result<Connected>]) -> usize {
    outcomes.iter().filter(|outcome| matches!(outcome, Ok(Connected::Granted { .. }))).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn when_200_users_connect_at_once_exactly_50_get_the_50_places() {
    let stack = Stack::start(50, LEASE, FIRST_MESSAGE);
    let function = stack.function("connect", 3, 1);
    let users = (0..200).map(|number| (format!("u{number}"), format!("c{number}"), Handshake::default()));
    let outcomes = connect_all(&function.leases, users).await;
    let full = outcomes.iter().filter(|outcome| matches!(outcome, Ok(Connected::Full))).count();
    assert_eq!((granted(&outcomes), full), (50, 150), "{outcomes:?}");
    assert_eq!(stack.snapshot().held_slots(stack.clock.now()), 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_at_once_as_there_are_free_places_all_get_one() {
    let stack = Stack::start(300, LEASE, FIRST_MESSAGE);
    let mut slots: Vec<u32> = (0..300).collect();
    fastrand::Rng::with_seed(5).shuffle(&mut slots);
    let held = |slot: &u32| stack.slot_item(*slot, &format!("holder-{slot}"), &format!("holder-{slot}"));
    stack.put_connections(&slots[10..].iter().map(held).collect::<Vec<_>>());
    // A read shows a few of the ten free slots, and others are about to take the same ones.
    let function = stack.function("connect", 3, 5);
    let users = (0..10).map(|number| (format!("u{number}"), format!("c{number}"), Handshake::default()));
    let outcomes = connect_all(&function.leases, users).await;
    assert_eq!(granted(&outcomes), 10, "{outcomes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn when_one_user_connects_100_times_at_once_exactly_one_gets_a_place() {
    let stack = Stack::start(50, LEASE, FIRST_MESSAGE);
    let function = stack.function("connect", 3, 2);
    let tabs = (0..100).map(|number| ("u".to_owned(), format!("c{number}"), Handshake::default()));
    let outcomes = connect_all(&function.leases, tabs).await;
    let others = outcomes.iter().filter(|outcome| matches!(outcome, Ok(Connected::AlreadyConnected))).count();
    assert_eq!((granted(&outcomes), others), (1, 99), "{outcomes:?}");
    assert_eq!(stack.snapshot().held_slots(stack.clock.now()), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn when_one_session_takes_over_many_times_at_once_exactly_one_can_speak() {
    let stack = Stack::start(2, LEASE, FIRST_MESSAGE);
    stack.make_conversations("u", [0]);
    let function = stack.function("connect", 3, 3);
    let tabs = (0..30).map(|number| ("u".to_owned(), format!("c{number}"), Handshake::of("s")));
    let outcomes = connect_all(&function.leases, tabs).await;
    assert_eq!(granted(&outcomes), 30, "{outcomes:?}");

    let speak = |number: u32| {
        let messages = function.messages.clone();
        async move {
            let (user, connection) = (user("u"), connection(format!("c{number}")));
            let limits = crate::config::AdmissionConfig { max_pending_per_client: 10, max_text_bytes: 1024 };
            messages.admit(&user, &connection, &draft(number, 0), &limits).await
        }
    };
    let heard = join_all((0..30).map(speak)).await;
    let survivors: Vec<usize> = (0..30).filter(|&number| heard[number].is_ok()).collect();
    assert_eq!(survivors.len(), 1, "{heard:?}");
    assert!(
        heard.iter().flat_map(Result::as_ref).count() == 1
            && heard
                .iter()
                .all(|outcome| { outcome.as_ref().err().is_none_or(|error| matches!(error, Error::LeaseExpired)) })
    );
    assert_eq!(stack.snapshot().messages.len(), 1);

    // Each session that lost its place was replaced once, so each has its socket closed.
    let replaced = outcomes.iter().filter_map(|outcome| match outcome {
        Ok(Connected::Granted { replaced, .. }) => replaced.as_ref().map(|connection| connection.as_str().to_owned()),
        _ => None,
    });
    let replaced: Vec<String> = replaced.collect();
    let losers = (0..30).filter(|number| !survivors.contains(number)).map(|number| format!("c{number}"));
    assert_eq!(replaced.len(), 29);
    assert_eq!(replaced.into_iter().collect::<BTreeSet<_>>(), losers.collect());
}

#[tokio::test(flavor = "multi_thread")]
async fn when_many_sessions_take_over_at_once_one_holds_the_one_place() {
    let stack = Stack::start(3, LEASE, FIRST_MESSAGE);
    let function = stack.function("connect", 3, 6);
    // The first two find nobody or each other. Each of the others finds one of those before it.
    for round in 0..15 {
        let windows = (0..2 + round % 3).map(|number| {
            ("u".to_owned(), format!("c{round}-{number}"), Handshake::taking_over(&format!("s{round}-{number}")))
        });
        let names: Vec<_> = windows.clone().map(|(_, connection, handshake)| (connection, handshake)).collect();
        let outcomes = connect_all(&function.leases, windows).await;
        assert_eq!(granted(&outcomes), names.len(), "{outcomes:?}");
        let state = stack.snapshot();
        assert_eq!(state.held_slots(stack.clock.now()), 1, "{state:?}");
        // The session belongs to the connection, and all others are written down as replaced.
        let item = &state.users["u"];
        let (holder, session) = (&item.connection, item.session.clone());
        let won = names.iter().find(|(connection, _)| connection == holder);
        let won = won.and_then(|(_, handshake)| handshake.session.as_ref()).map(|session| session.as_str().to_owned());
        assert_eq!(session, won, "{item:?}");
        assert_eq!(state.slots[&item.slot].connection, *holder);
        for (connection, _) in names.iter().filter(|(connection, _)| connection != holder) {
            assert!(item.replaced.contains_key(connection), "{connection}: {item:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_leave_make_room_for_as_many() {
    let stack = Stack::start(20, LEASE, FIRST_MESSAGE);
    let function = stack.function("connect", 3, 4);
    let first = (0..20).map(|number| (format!("u{number}"), format!("c{number}"), Handshake::default()));
    assert_eq!(granted(&connect_all(&function.leases, first).await), 20);

    let leaving = (0..20).map(|number| {
        let leases = function.leases.clone();
        tokio::spawn(
            async move { leases.release(&user(format!("u{number}")), &connection(format!("c{number}"))).await },
        )
    });
    let leaving: Vec<_> = leaving.collect();
    let coming = (0..20).map(|number| (format!("v{number}"), format!("d{number}"), Handshake::default()));
    let mut places = granted(&connect_all(&function.leases, coming).await);
    for left in join_all(leaving).await {
        assert!(matches!(left, Ok(Ok(true))), "{left:?}");
    }
    // A client that came too early tries again and finds the free places that are left.
    let again = (0..20).map(|number| (format!("w{number}"), format!("e{number}"), Handshake::default()));
    places += granted(&connect_all(&function.leases, again).await);
    assert_eq!(places, 20);
    assert_eq!(stack.snapshot().held_slots(stack.clock.now()), 20);
}
