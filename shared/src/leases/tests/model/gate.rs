//! The hook that holds every call until the case lets it go. With it, the tape decides all concurrency.

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use samovar_services::Answer;
use samovar_services::faults::{Call, Fault, Heard, Hook};
use tokio::sync::{mpsc, oneshot};

use super::operation::Outcome;
use crate::Result;

/// The events that a case waits for.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "few, and soon gone")]
pub(super) enum Event {
    /// A call is held.
    Arrived { lane: usize, held: Held },
    /// The service has executed the call that was let go.
    Executed { lane: usize },
    /// The operation has returned, or panicked.
    Finished { lane: usize, outcome: Option<Result<Outcome>> },
    /// Nothing happened for too long.
    Stuck,
}

/// A call at the door. If it is dropped, it is never executed and never answered.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) operation: String,
    /// How many items a transaction has.
    pub(super) items: usize,
    verdict: oneshot::Sender<Fault>,
}

impl Held {
    pub(super) fn let_go(self, fault: Fault) {
        // This fails if the caller was dropped. Then nobody is left to hear it.
        let _ = self.verdict.send(fault);
    }

    pub(super) fn is_write(&self) -> bool {
        !matches!(self.operation.as_str(), "GetItem" | "BatchGetItem" | "Query" | "Scan")
    }
}

#[derive(Debug)]
pub(super) struct Gate {
    pub(super) events: mpsc::UnboundedSender<Event>,
}

/// The name of a lane's function.
pub(super) fn lane_name(lane: usize) -> String {
    format!("lane-{lane}")
}

fn lane_of(caller: &str) -> usize {
    caller.strip_prefix("lane-").and_then(|lane| lane.parse().ok()).expect("a lane's function")
}

impl Hook for Gate {
    fn decide(&self, call: Call) -> BoxFuture<'_, Fault> {
        let (verdict, decided) = oneshot::channel();
        let body: serde_json::Value = serde_json::from_slice(&call.body).unwrap_or_default();
        let items = body["TransactItems"].as_array().map_or(0, Vec::len);
        let held = Held { operation: call.operation, items, verdict };
        let _ = self.events.send(Event::Arrived { lane: lane_of(&call.caller), held });
        async move { decided.await.unwrap_or_else(|_| Fault::dropped(Heard::Nothing)) }.boxed()
    }

    fn executed(&self, call: &Call, _answer: &Answer) {
        let _ = self.events.send(Event::Executed { lane: lane_of(&call.caller) });
    }
}
