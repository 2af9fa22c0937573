//! The domain of Parley. The functions turn events into calls of this library and its results into responses; nothing
//! here knows which machine it runs on.
//!
//! From the edge to the ground; each module uses only what stands below it (`layers.rs` tests that):
//!
//! - [`lambda`]: the edge towards Lambda: how a function starts, who speaks, route responses.
//! - [`app`]: where a function is put together.
//! - [`janitor`]: what is left to do when nobody else does.
//! - [`answer`]: what the worker does with a queued message; what it takes is measured.
//! - [`protocol`]: the edge towards clients: frames and messages on the wire, and the schema of these. [`push`] sends
//!   them.
//! - [`conversations`]: what messages are said in: made, listed, read, deleted. [`users`]: who says them. [`paging`]:
//!   lists.
//! - [`queue`], [`model`]: what messages wait in, and what answers them.
//! - [`messages`]: a message's life: admitted, queued, claimed, answered.
//! - [`leases`]: who may communicate: places, sessions, expiry. The four limits begin here.
//! - [`media`], [`auth`]: objects and their addresses; tokens.
//! - [`config`], [`dynamo`], [`ids`], [`errors`], [`clock`]: the ground.

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
pub mod lambda;
#[cfg(test)]
mod layers;
pub mod leases;
pub mod media;
pub mod messages;
mod metrics;
pub mod model;
pub mod paging;
pub mod protocol;
pub mod push;
pub mod queue;

#[cfg(test)]
mod testing;
pub mod users;

pub use errors::{Error, Result};
