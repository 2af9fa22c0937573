//! The door that every call to a service passes. Calls are counted here and faults are injected here. Permission checks
//! would belong here too.

use std::sync::Arc;

use bytes::Bytes;

use super::answer::Answer;
use super::faults::{Call, Fault, Faults, Heard, Hook};
use super::meter::Meter;

/// The door. Clones are the same door.
#[derive(Debug, Clone, Default)]
pub(crate) struct Door {
    pub(crate) meter: Arc<Meter>,
    pub(crate) faults: Arc<Faults>,
}

impl Door {
    /// Begins a call to a service. The call is counted, unless a fault keeps it from the service.
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

/// A call that has passed the door and is not answered yet.
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

    /// Must be called once the service has executed the call.
    pub(crate) fn executed(&self, answer: &Answer) {
        if let Some(hook) = &self.hook {
            hook.executed(&self.caller, answer);
        }
    }

    /// The answer that the caller receives. `None` means that the connection breaks without an answer.
    pub(crate) async fn heard<Response: From<Answer>>(self, answer: Option<Response>) -> Option<Response> {
        match (self.fault.heard, answer) {
            (Heard::TheAnswer, Some(answer)) => Some(answer),
            (Heard::Instead(answer), _) => Some(answer.into()),
            (Heard::Break, _) => None,
            (Heard::TheAnswer, None) | (Heard::Nothing, _) => std::future::pending().await,
        }
    }
}
