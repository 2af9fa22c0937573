#![doc = include_str!("../README.md")]
//!
//! # Inside
//!
//! - `program` is the program; `options` its command line, `logging` its logs.
//! - `stack` makes of a template what runs: engines, function host, event sources, listeners; and stops it again.
//! - `websocket` and `http_api` are API Gateway; `samovar-host` is Lambda, `build` makes its programs, `invoke` finds them here
//!   or elsewhere; `samovar-services` is the door to DynamoDB, SQS and S3.
//! - `oidc` is the user pool; `state` what one sees of it all; `server` accepts connections. `site` is the web site that belongs
//!   to the stack.
#![warn(missing_docs)]

mod addresses;
mod build;
mod clock;
mod http_api;
mod ids;
mod invoke;
mod logging;
mod oidc;
mod options;
mod program;
mod server;
mod site;
mod stack;
mod state;
#[cfg(test)]
mod testing;
mod uri;
mod websocket;

pub use options::{Defaults, Options};
pub use program::main_with;
pub use stack::Stack;
