//! The harness of the end-to-end tests: starts real stacks on free ports in temporary directories, and speaks to them
//! as any client does. A stack that is dropped is stopped as an operator stops it, and must leave no process behind.

mod client;
mod endpoint;
pub mod media;
mod raw;
mod rest;
mod stack;

pub use client::{Client, Frame, Refused, Streamed};
pub use endpoint::{Endpoint, SILENTLY, SLOWLY};
pub use raw::{raw, raw_connection, raw_handshake};
pub use rest::{Answer, Rest};
pub use stack::{Stack, StackOptions, program, workspace};

/// A new UUID: message ids are the client's to choose.
#[allow(clippy::disallowed_methods, reason = "the one place where the tests make ids")]
pub fn new_id() -> String {
    uuid::Uuid::new_v4().to_string()
}
