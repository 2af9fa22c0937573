#![doc = include_str!("../README.md")]
//!
//! # Inside
//!
//! - `program` is the program, `options` its command line, and `logging` its log. `check` is its command for templates.
//! - `stack` starts everything that a template declares (engines, function host, event sources, listeners), and stops
//!   it again.
//! - `websocket`, `http_api` and `rest_api` stand in for API Gateway, and `samovar-host` for Lambda. `build` builds the
//!   functions, and `invoke` finds them in the host or at another endpoint. `samovar-services` is the door to DynamoDB,
//!   SQS and S3.
//! - `function_url` serves the URLs of functions. `sigv4` verifies signatures, for them and for the APIs.
//! - `asynchronous` invokes functions with the events of their queues.
//! - `lambda_api` is Lambda's Invoke API, and `other_services` refuses calls to services that the stack does not have.
//!   `aws_names` takes requests for AWS's own names to the stack's parts, and `proxy` leads programs there.
//! - `watch` builds functions again when their sources change.
//! - `chaos` makes processes die and calls fail, if somebody asks for it.
//! - `oidc` stands in for the user pools, `state` shows the stack's state with its `bill`, and `server` accepts
//!   connections, with `tls` or without. `site` is the web site of the stack. `hosts` refuses requests that are meant
//!   for another name.
#![warn(missing_docs)]

mod addresses;
mod asynchronous;
mod authorizer;
mod aws_names;
mod bill;
mod build;
mod chaos;
mod check;
mod clock;
mod edge;
mod function_url;
mod hosts;
mod http_api;
mod ids;
mod invoke;
mod json_path;
mod json_schema;
mod lambda_api;
mod logging;
mod mapping;
mod oidc;
mod options;
mod other_services;
mod program;
mod proxy;
mod rest_api;
mod server;
mod sigv4;
mod site;
mod stack;
mod state;
#[cfg(test)]
mod testing;
mod tls;
mod uri;
mod watch;
mod websocket;

pub use options::{Check, Command, Defaults, Latency, Options};
pub use program::main_with;
pub use stack::Stack;
