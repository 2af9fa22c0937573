//! The domain of Parley. The functions turn events into calls of this library and its results into responses; nothing here
//! knows which machine it runs on.
//!
//! - [`app`]: where a function is put together.
//! - [`leases`]: who may communicate: places, sessions, expiry. The four limits begin here.
//! - [`messages`]: a message's life: admitted, queued, claimed, answered.
//! - [`conversations`]: what messages are said in: made, listed, read, deleted. [`users`]: who says them. [`paging`]: lists.
//! - [`answer`]: what the worker does with a queued message.
//! - [`janitor`]: what is left to do when nobody else does.
//! - [`queue`], [`model`], [`media`], [`push`]: what it does it with; what it takes is measured.
//! - [`protocol`]: the frames on the wire. [`auth`]: tokens. [`route`]: what all WebSocket routes share.
//! - [`config`], [`errors`], [`clock`], [`ids`], [`dynamo`]: the ground.

pub mod answer;
pub mod app;
pub mod auth;
pub mod clock;
pub mod config;
pub mod conversations;
pub mod dynamo;
pub mod errors;
pub mod ids;
pub mod janitor;
pub mod leases;
pub mod media;
pub mod messages;
mod metrics;
pub mod model;
pub mod paging;
pub mod protocol;
pub mod push;
pub mod queue;
pub mod route;
#[cfg(test)]
mod testing;
pub mod users;

pub use errors::{Error, Result};
