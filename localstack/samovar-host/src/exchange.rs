//! What passes between a process and the instance that it belongs to, in the Runtime API's terms.

use bytes::Bytes;

/// The path below which one instance, and nobody else, finds its Runtime API.
pub(super) fn base_path(function: &str, id: &str) -> String {
    format!("/_runtime/{function}/{id}")
}

/// An event as the process gets it.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) request_id: String,
    pub(super) trace_id: String,
    pub(super) deadline_epoch_ms: u128,
    pub(super) payload: Bytes,
}

/// What the process says about an invocation.
#[derive(Debug)]
pub(super) enum Answer {
    Response(Bytes),
    Error(Bytes),
    /// A response above the limit; its size.
    TooLarge(usize),
}

/// The process did something that the Runtime API does not allow it now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// This is not the invocation that it works on.
    RequestId,
    /// Not in this state.
    State,
}
