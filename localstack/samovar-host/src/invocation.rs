//! An invocation, as Lambda's Invoke API asks for it and tells its end.

use bytes::Bytes;

use super::error::InvokeError;

/// An invocation to be made.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// The function's event.
    pub payload: Bytes,
    /// The id that the function finds in its context. Without one, a new one is made.
    pub request_id: Option<String>,
    /// The value of the header `X-Amzn-Trace-Id`. Without one, a new one is made that asks for no trace.
    pub trace_id: Option<String>,
    /// JSON that the function finds in its context.
    pub client_context: Option<String>,
    /// Whether [`Ended::log`] is wanted.
    pub log: bool,
}

/// The end of an invocation.
#[derive(Debug)]
pub struct Ended {
    /// The function's answer, or the reason why there is none.
    pub result: Result<Bytes, InvokeError>,
    /// The last 4 KB of what its process wrote during the invocation, between the lines `START`, `END` and `REPORT`, if
    /// it was wanted. The log of a process's first invocation begins with the output of its init.
    pub log: Option<Vec<u8>>,
}
