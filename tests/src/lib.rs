//! The harness of the end-to-end tests. It starts real stacks on free ports in temporary directories, and speaks to
//! them as any client does. When a stack is dropped, it is stopped as an operator stops it, and it must leave no
//! process behind.

mod alarms;
pub mod campaign;
pub mod checker;
mod client;
mod deployment;
mod endpoint;
mod host;
pub mod media;
mod power;
mod preload;
mod raw;
mod rest;
pub mod soak;
mod stack;
mod template;

pub use alarms::Alarm;
pub use client::{Client, Frame, Refused, Streamed};
pub use deployment::Deployment;
pub use endpoint::{Endpoint, SILENTLY, SLOWLY};
pub use power::Disk;
pub use preload::preload;
pub use raw::{raw, raw_connection, raw_handshake};
pub use rest::{Answer, Rest};
pub use stack::{Stack, StackOptions, program, workspace};
pub use template::Template;

/// A new UUID, because clients choose the ids of messages.
#[allow(clippy::disallowed_methods, reason = "the one place where the tests make ids")]
pub fn new_id() -> String {
    uuid::Uuid::new_v4().to_string()
}
