//! Every operation in the middle of every other: before each call of one, the other runs from beginning to end. The
//! model leaves such meetings to chance; this test is small but complete. Time passes at every call, and the lease may
//! end anywhere in between.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use samovar_services::Answer;
use samovar_services::faults::{Call, Fault, Hook};

use super::scene::{KINDS, Kind, LEASE, run, scene};
use crate::testing::{Function, Stack};

const TICK: Duration = Duration::from_millis(1);

/// Runs `inner` before the `at`th call of `outer`, and checks the tables after every call.
#[derive(Debug)]
struct Between {
    stack: OnceLock<Arc<Stack>>,
    inner: (Kind, Function),
    at: usize,
    calls: AtomicUsize,
    broken: Mutex<Option<String>>,
}

impl Hook for Between {
    fn decide(&self, call: Call) -> BoxFuture<'_, Fault> {
        async move {
            let Some(stack) = self.stack.get() else { return Fault::none() };
            stack.clock.advance(TICK);
            if call.caller == "outer" && self.calls.fetch_add(1, Ordering::SeqCst) == self.at {
                let (kind, function) = &self.inner;
                // Its result does not matter here.
                let _ = run(*kind, "inner", stack, function).await;
            }
            Fault::none()
        }
        .boxed()
    }

    fn executed(&self, _call: &Call, _answer: &Answer) {
        let Some(stack) = self.stack.get() else { return };
        if let Err(broken) = super::model::check_state(&stack.snapshot(), stack) {
            self.broken.lock().expect("what broke").get_or_insert(broken);
        }
    }
}

/// Runs `outer` with `inner` before its `at`th call, some milliseconds before the lease ends. `false`: `outer` makes
/// fewer calls.
async fn runs(outer: Kind, inner: Kind, at: usize, left: Option<Duration>) -> bool {
    let (stack, _friend) = scene().await;
    if let Some(left) = left {
        stack.clock.advance(LEASE - left);
    }
    let function = stack.function("outer", 1, 2);
    let inner_function = stack.function("inner", 1, 3);
    let hook = Arc::new(Between {
        stack: OnceLock::new(),
        inner: (inner, inner_function),
        at,
        calls: AtomicUsize::new(0),
        broken: Mutex::new(None),
    });
    let stack = Arc::new(stack);
    let _ = hook.stack.set(stack.clone());
    stack.services.faults.install(hook.clone());
    let outcome = run(outer, "outer", &stack, &function).await;
    stack.services.faults.clear();
    if let Some(broken) = hook.broken.lock().expect("what broke").take() {
        panic!("{inner:?} before call {at} of {outer:?}, {left:?} before the lease ends: {broken}\n{outcome:?}");
    }
    hook.calls.load(Ordering::SeqCst) > at
}

async fn all_pairs(left: Option<Duration>) {
    for outer in KINDS {
        for inner in KINDS {
            let mut at = 0;
            while runs(outer, inner, at, left).await {
                at += 1;
            }
        }
    }
}

#[tokio::test]
async fn any_operation_in_the_middle_of_any_other_keeps_the_invariants() {
    all_pairs(None).await;
}

#[tokio::test]
async fn any_operation_in_the_middle_of_any_other_keeps_them_while_the_lease_ends() {
    all_pairs(Some(3 * TICK)).await;
}
