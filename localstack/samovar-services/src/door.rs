//! The door that every call of a service passes: here it is counted, here faults are injected, and here permission checks
//! belong.

use std::sync::Arc;

use bytes::Bytes;

use super::answer::Answer;
use super::faults::{Call, Fault, Faults, Heard, Hook};
use super::meter::Meter;

/// Clones are the same door.
#[derive(Debug, Clone, Default)]
pub(crate) struct Door {
    pub(crate) meter: Arc<Meter>,
    pub(crate) faults: Arc<Faults>,
}

impl Door {
    /// Where every call of a service begins: it is counted, unless a fault keeps it from the service.
    pub(crate) async fn enter(&self, caller: &str, service: &'static str, operation: &str, body: &Bytes) -> Passage {
        let hook = self.faults.hook();
        let fault = match &hook {
            Some(hook) => {
                let (caller, operation, body) = (caller.to_owned(), operation.to_owned(), body.clone());
                hook.decide(Call { caller, service, operation, body }).await
            }
            None => Fault::none(),
        };
        if !fault.dropped {
            self.meter.count(caller, service, operation);
        }
        Passage { caller: caller.to_owned(), hook, fault }
    }
}

/// A call on its way through the door.
#[derive(Debug)]
pub(crate) struct Passage {
    caller: String,
    hook: Option<Arc<dyn Hook>>,
    fault: Fault,
}

impl Passage {
    /// Whether the service must not execute the call.
    pub(crate) fn dropped(&self) -> bool {
        self.fault.dropped
    }

    /// To be said of a call that the service has executed.
    pub(crate) fn executed(&self, answer: &Answer) {
        if let Some(hook) = &self.hook {
            hook.executed(&self.caller, answer);
        }
    }

    /// What the caller hears of it. `None`: the connection is to break without an answer.
    pub(crate) async fn heard<Response: From<Answer>>(self, answer: Option<Response>) -> Option<Response> {
        match (self.fault.heard, answer) {
            (Heard::TheAnswer, Some(answer)) => Some(answer),
            (Heard::Instead(answer), _) => Some(answer.into()),
            (Heard::Break, _) => None,
            (Heard::TheAnswer, None) | (Heard::Nothing, _) => std::future::pending().await,
        }
    }
}
