//! Makes something happen in the middle of an operation, just before one of its calls is executed.

use std::sync::{Arc, Mutex};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use samovar_services::faults::{Call, Fault, Hook};

use super::Stack;

pub(crate) struct Before {
    caller: &'static str,
    operation: &'static str,
    something: Mutex<Option<BoxFuture<'static, ()>>>,
}

impl Before {
    /// Runs this before the next `operation` that `caller` calls.
    pub(crate) fn install(
        stack: &Stack,
        caller: &'static str,
        operation: &'static str,
        something: BoxFuture<'static, ()>,
    ) {
        stack.services.faults.install(Arc::new(Self { caller, operation, something: Mutex::new(Some(something)) }));
    }
}

impl std::fmt::Debug for Before {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Before({} {})", self.caller, self.operation)
    }
}

impl Hook for Before {
    fn decide(&self, call: Call) -> BoxFuture<'_, Fault> {
        let now = call.caller == self.caller && call.operation == self.operation;
        let something = if now { self.something.lock().expect("the hook").take() } else { None };
        async move {
            if let Some(something) = something {
                something.await;
            }
            Fault::none()
        }
        .boxed()
    }
}
