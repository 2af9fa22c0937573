//! The door that every call to a service passes. Here it is checked whether a function may make a call, calls are
//! counted, faults are injected, and calls are slowed down.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::answer::Answer;
use super::credentials::Caller;
use super::faults::{Call, Fault, Faults, Heard, Hook};
use super::latency::Latency;
use super::meter::Meter;
use super::permissions::{Account, Denied, Need, Permissions};

/// The door. Clones are the same door.
#[derive(Debug, Clone, Default)]
pub struct Door {
    pub(crate) meter: Arc<Meter>,
    pub(crate) faults: Arc<Faults>,
    calls: Arc<AtomicU64>,
    latency: Arc<OnceLock<Latency>>,
    permissions: Arc<OnceLock<Permissions>>,
}

impl Door {
    /// The faults that are injected here.
    pub fn faults(&self) -> &Arc<Faults> {
        &self.faults
    }

    /// The counts of what passes here.
    pub fn meter(&self) -> &Meter {
        &self.meter
    }

    /// From now on, calls take this long. It can't be changed afterwards.
    pub fn slow_down(&self, latency: Latency) {
        // A second latency is ignored.
        let _ = self.latency.set(latency);
    }

    /// From now on, functions may do no more than this. It can't be changed afterwards.
    pub fn enforce(&self, permissions: Permissions) {
        // A second set of permissions is ignored.
        let _ = self.permissions.set(permissions);
    }

    /// The permissions of the functions, if they are enforced.
    pub fn permissions(&self) -> Option<&Permissions> {
        self.permissions.get()
    }

    /// Whether a function may make a call. This comes before [`Door::enter`].
    ///
    /// # Errors
    /// The words of AWS, if it may not.
    pub fn check(&self, function: &str, needed: impl FnOnce(&Account) -> Vec<Need>) -> Result<(), Denied> {
        match self.permissions.get() {
            Some(permissions) => permissions.check(function, &needed(permissions.account())),
            None => Ok(()),
        }
    }

    /// Decides about an event of `caller` that is no call to a service, such as an invocation. It is not counted.
    pub async fn decide(&self, caller: &str, service: &'static str, operation: &str, body: Bytes) -> Fault {
        let Some(hook) = self.faults.hook() else { return Fault::none() };
        let number = self.calls.fetch_add(1, Ordering::Relaxed);
        let (caller, operation) = (caller.to_owned(), operation.to_owned());
        hook.decide(Call { number, caller, instance: None, service, operation, body }).await
    }

    /// Begins a call to a service. The call is counted, unless a fault keeps it from the service.
    pub async fn enter(&self, caller: &Caller, service: &'static str, operation: &str, body: &Bytes) -> Passage {
        let (hook, fault) = match self.faults.hook() {
            Some(hook) => {
                let Caller { function, instance } = caller.clone();
                let (operation, body) = (operation.to_owned(), body.clone());
                let number = self.calls.fetch_add(1, Ordering::Relaxed);
                let call = Call { number, caller: function, instance, service, operation, body };
                let fault = hook.decide(call.clone()).await;
                (Some((hook, call)), fault)
            }
            None => (None, Fault::none()),
        };
        if !fault.dropped {
            self.meter.count(&caller.function, service, operation);
            if let Some(latency) = self.latency.get() {
                tokio::time::sleep(latency.of(caller, service, operation)).await;
            }
        }
        Passage { hook, fault }
    }
}

/// A call that has passed the door and is not answered yet.
#[derive(Debug)]
pub struct Passage {
    hook: Option<(Arc<dyn Hook>, Call)>,
    fault: Fault,
}

impl Passage {
    /// Whether the service must not execute the call.
    pub fn dropped(&self) -> bool {
        self.fault.dropped
    }

    /// Whether the service must execute the call a second time.
    pub fn repeated(&self) -> bool {
        self.fault.repeated && !self.fault.dropped
    }

    /// Whether this read gets an old state. Only a read that allows it can.
    pub(crate) fn stale(&self) -> bool {
        self.fault.stale
    }

    /// Whether a hook may ask for old states.
    pub(crate) fn watched(&self) -> bool {
        self.hook.is_some()
    }

    /// Must be called once the service has executed the call.
    pub fn executed(&self, answer: &Answer) {
        if let Some((hook, call)) = &self.hook {
            hook.executed(call, answer);
        }
    }

    /// The answer that the caller receives. `None` means that the connection breaks without an answer.
    pub async fn heard<Response: From<Answer>>(self, answer: Option<Response>) -> Option<Response> {
        match (self.fault.heard, answer) {
            (Heard::TheAnswer, Some(answer)) => Some(answer),
            (Heard::Instead(answer), _) => Some(answer.into()),
            (Heard::Break, _) => None,
            (Heard::TheAnswer, None) | (Heard::Nothing, _) => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[tokio::test]
    async fn a_slow_door_lets_a_functions_call_in_after_its_time_and_counts_it_once() {
        let door = Door::default();
        door.slow_down(Latency::default());
        let caller = Caller { function: "worker".to_owned(), instance: Some("1".to_owned()) };
        let began = Instant::now();
        let passage = door.enter(&caller, "dynamodb", "Query", &Bytes::new()).await;
        assert!(began.elapsed() >= Duration::from_millis(13), "{:?}", began.elapsed());
        assert!(!passage.dropped());
        assert_eq!(door.meter.snapshot()["worker"]["dynamodb"]["Query"], 1);
    }
}
