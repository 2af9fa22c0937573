//! Every operation dies before and after each of its calls, loses the answer of each, and gives up.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, join_all};
use samovar_services::Answer;
use samovar_services::faults::{self, Call, Fault, Heard, Hook};
use tokio::sync::Notify;

use super::scene::{FIRST_MESSAGE, KINDS, LEASE, LONG, run, scene};
use crate::Error;
use crate::clock::Clock as _;
use crate::leases::{Connected, Handshake};
use crate::messages::Admission;
use crate::testing::{Function, Stack, connection, draft, user};

/// Does something to the `at`th call of `victim`, and tells when it is done.
#[derive(Debug)]
struct At {
    at: usize,
    executed: bool,
    heard: fn() -> Heard,
    calls: AtomicUsize,
    /// The operation of the call that was hit.
    operation: Mutex<String>,
    done: Notify,
}

impl At {
    fn install(stack: &Stack, at: usize, executed: bool, heard: fn() -> Heard) -> Arc<Self> {
        let (calls, operation, done) = (AtomicUsize::new(0), Mutex::default(), Notify::new());
        let hook = Arc::new(Self { at, executed, heard, calls, operation, done });
        stack.services.faults.install(hook.clone());
        hook
    }

    fn was_reached(&self) -> bool {
        self.calls.load(Ordering::SeqCst) > self.at
    }
}

impl Hook for At {
    fn decide(&self, call: Call) -> BoxFuture<'_, Fault> {
        let hit = call.caller == "victim" && self.calls.fetch_add(1, Ordering::SeqCst) == self.at;
        if hit {
            self.operation.lock().expect("no panic").push_str(&call.operation);
        }
        if hit && !self.executed {
            self.done.notify_one();
        }
        let fault =
            if hit { Fault { dropped: !self.executed, heard: (self.heard)(), ..Fault::none() } } else { Fault::none() };
        async move { fault }.boxed()
    }

    fn executed(&self, call: &Call, _answer: &Answer) {
        if call.caller == "victim" && self.calls.load(Ordering::SeqCst) == self.at + 1 {
            self.done.notify_one();
        }
    }
}

/// Time alone must repair everything: every place becomes free, and everybody can connect and speak.
async fn recovers(stack: &Stack, friend: &Function, what: &str) {
    let state = stack.snapshot();
    super::model::check_state(&state, stack).unwrap_or_else(|broken| panic!("{what}: {broken}"));
    stack.clock.advance(LEASE.max(FIRST_MESSAGE));
    assert_eq!(stack.snapshot().held_slots(stack.clock.now()), 0, "{what}: I6");
    stack.clock.advance(LONG);
    for (number, name) in ["u", "w"].into_iter().enumerate() {
        let (user, connection) = (user(name), connection(format!("later-{name}")));
        let connected = friend.leases.connect(&user, &connection, &Handshake::default()).await;
        assert!(matches!(connected, Ok(Connected::Granted { .. })), "{what}: {connected:?}");
        let number = number as u32 + 10;
        stack.make_conversations(name, [number]);
        let admitted = friend.messages.admit(&user, &connection, &draft(number, number), &stack.limits).await;
        assert!(matches!(admitted, Ok(Admission::New(_))), "{what}: {admitted:?}");
    }
}

#[tokio::test]
async fn a_crash_before_or_after_any_call_leaves_only_what_ends_by_itself() {
    for kind in KINDS {
        for executed in [false, true] {
            let mut at = 0;
            loop {
                let (stack, friend) = scene().await;
                let hook = At::install(&stack, at, executed, || Heard::Nothing);
                let victim = stack.function("victim", 1, 2);
                tokio::select! {
                    outcome = run(kind, "d", &stack, &victim) => {
                        assert!(!hook.was_reached(), "{outcome:?}");
                        break;
                    }
                    () = hook.done.notified() => {}
                }
                recovers(&stack, &friend, &format!("{kind:?} died at call {at}, executed: {executed}")).await;
                at += 1;
            }
            assert!(at > 0, "{kind:?} makes no calls");
        }
    }
}

#[tokio::test]
async fn an_answer_lost_at_any_call_is_made_up_for_by_the_sdks_next_try() {
    for kind in KINDS {
        for heard in [|| Heard::Break, || Heard::Instead(faults::internal_server_error())] {
            let (stack, _friend) = scene().await;
            let undisturbed = run(kind, "d", &stack, &stack.function("victim", 3, 2)).await.expect("nothing fails");
            let expected = stack.snapshot();
            let mut at = 0;
            loop {
                let (stack, _friend) = scene().await;
                let hook = At::install(&stack, at, true, heard);
                let outcome = run(kind, "d", &stack, &stack.function("victim", 3, 2)).await;
                let outcome = outcome.unwrap_or_else(|error| panic!("{kind:?} lost the answer to call {at}: {error}"));
                if !hook.was_reached() {
                    break;
                }
                assert_eq!(outcome, undisturbed, "{kind:?} lost the answer to call {at}");
                assert_eq!(stack.snapshot(), expected, "{kind:?} lost the answer to call {at}");
                at += 1;
            }
        }
    }
}

/// Answers from a list, in order. After that, all calls pass.
#[derive(Debug)]
struct Script(Mutex<Vec<Fault>>);

impl Script {
    fn install(stack: &Stack, mut faults: Vec<Fault>) {
        faults.reverse();
        stack.services.faults.install(Arc::new(Self(Mutex::new(faults))));
    }
}

impl Hook for Script {
    fn decide(&self, _call: Call) -> BoxFuture<'_, Fault> {
        let fault = self.0.lock().expect("the script").pop().unwrap_or_default();
        async move { fault }.boxed()
    }
}

#[tokio::test]
async fn a_connect_that_lost_its_answer_and_its_token_knows_its_own_place() {
    let stack = Stack::start(2, LEASE, FIRST_MESSAGE);
    let function = stack.function("connect", 3, 1);
    let lost = Fault::lost(Heard::Instead(faults::internal_server_error()));
    // The SDK gives up, and the next try is another request.
    Script::install(&stack, vec![lost, Fault::refused(faults::throttled()), Fault::refused(faults::throttled())]);
    let connected = function.leases.connect(&user("u"), &connection("c"), &Handshake::default()).await;
    let expected = stack.clock.now().plus(FIRST_MESSAGE);
    let own = matches!(&connected, Ok(Connected::Granted { expires_at, replaced: None }) if *expires_at == expected);
    assert!(own, "{connected:?}");
    assert_eq!(stack.snapshot().held_slots(stack.clock.now()), 1);
}

/// Every write meets another transaction, for ever.
#[derive(Debug)]
struct Contended;

impl Hook for Contended {
    fn decide(&self, call: Call) -> BoxFuture<'_, Fault> {
        let fault = match call.operation.as_str() {
            "TransactWriteItems" => {
                Fault::refused(faults::transaction_cancelled(&["ConditionalCheckFailed", "TransactionConflict"]))
            }
            "UpdateItem" | "DeleteItem" | "PutItem" => Fault::refused(faults::transaction_conflict()),
            _ => Fault::none(),
        };
        async move { fault }.boxed()
    }
}

#[tokio::test]
async fn an_operation_that_gives_up_says_so_and_has_changed_nothing() {
    let give_up = |kind| async move {
        let (stack, _friend) = scene().await;
        let before = stack.snapshot();
        stack.services.faults.install(Arc::new(Contended));
        let outcome = run(kind, "d", &stack, &stack.function("victim", 1, 2)).await;
        assert!(matches!(outcome, Err(Error::Contended { .. })), "{kind:?}: {outcome:?}");
        assert_eq!(stack.snapshot(), before, "{kind:?}");
    };
    // All run at once, because each gives up only after a second or two.
    join_all(KINDS.map(give_up)).await;
}

#[tokio::test]
async fn a_conflict_that_passes_is_not_noticed() {
    // The conflict, and whether a write of one item can meet it too. A read never does.
    let conflicts: [(fn() -> Heard, bool); 2] = [
        (|| Heard::Instead(faults::transaction_cancelled(&["TransactionConflict", "None", "ThrottlingError"])), false),
        (|| Heard::Instead(faults::transaction_conflict()), true),
    ];
    for (kind, (conflict, single)) in KINDS.into_iter().flat_map(|kind| conflicts.map(|conflict| (kind, conflict))) {
        let (stack, _friend) = scene().await;
        let undisturbed = run(kind, "d", &stack, &stack.function("victim", 1, 2)).await.expect("nothing fails");
        let expected = stack.snapshot();
        let mut at = 0;
        loop {
            let (stack, _friend) = scene().await;
            let hook = At::install(&stack, at, false, conflict);
            let outcome = run(kind, "d", &stack, &stack.function("victim", 3, 2)).await;
            if !hook.was_reached() {
                break;
            }
            match outcome {
                Ok(outcome) => {
                    assert_eq!(outcome, undisturbed, "{kind:?}, call {at}");
                    assert_eq!(stack.snapshot(), expected, "{kind:?}, call {at}");
                }
                Err(error) => {
                    let operation = hook.operation.lock().expect("no panic").clone();
                    let can_meet_it = match operation.as_str() {
                        "TransactWriteItems" => true,
                        "PutItem" | "UpdateItem" | "DeleteItem" => single,
                        _ => false,
                    };
                    let is_service = matches!(error, Error::Service { .. });
                    assert!(is_service && !can_meet_it, "{kind:?}, call {at}, {operation}: {error}");
                }
            }
            at += 1;
        }
    }
}
