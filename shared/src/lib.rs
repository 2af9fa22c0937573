//! The domain of Parley. The functions turn events into calls of this library, and its results into responses. Nothing
//! here knows which machine it runs on.
//!
//! The modules from top to bottom. Each uses only modules below it, and `layers.rs` tests that:
//!
//! - [`lambda`]: the edge towards Lambda: how a function starts, which user speaks, route responses.
//! - [`app`]: puts a function together.
//! - [`janitor`]: cleans up, once a minute.
//! - [`answer`]: the worker's part: answers a queued message and measures what that takes.
//! - [`protocol`]: the edge towards clients: frames and messages on the wire, and their schemas. [`push`] sends them.
//! - [`conversations`]: made, listed, read, deleted. [`users`]: the users and their directory. [`paging`]: lists in
//!   pages.
//! - [`queue`], [`model`]: the queue in which messages wait, and the model that answers them.
//! - [`messages`]: a message's life: admitted, queued, claimed, answered.
//! - [`leases`]: decides which clients may communicate: places, sessions, expiry. The four limits begin here.
//! - [`media`], [`auth`]: objects and their addresses; tokens.
//! - [`config`], [`dynamo`], `http`, [`ids`], [`errors`], [`clock`]: what all others stand on.

pub mod answer;
pub mod app;
pub mod auth;
pub mod clock;
pub mod config;
pub mod conversations;
pub mod dynamo;
pub mod errors;
mod http;
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
