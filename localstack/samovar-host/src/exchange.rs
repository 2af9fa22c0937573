//! The messages between a process and its instance, in the Runtime API's terms.

use bytes::Bytes;

/// An event in the form that the process receives.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) request_id: String,
    pub(super) trace_id: String,
    pub(super) client_context: Option<String>,
    pub(super) deadline_epoch_ms: u128,
    pub(super) payload: Bytes,
}

/// The process's result for an invocation.
#[derive(Debug)]
pub(super) enum RuntimeAnswer {
    Response(Bytes),
    Error(Bytes),
    /// A response above the limit, with its size.
    TooLarge(usize),
}

/// The Runtime API does not allow this call of the process at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CallRefused {
    /// The request id is not that of the current invocation.
    RequestId,
    /// The process is in another state.
    State,
}
