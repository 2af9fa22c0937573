//! The projects in `examples/`, each run by the real program as its README says.
#![allow(clippy::unwrap_used, reason = "A test that panics has failed, as it should")]

mod broadcast_chat;
mod harness;
mod http_api_table;
mod rest_hello;
mod s3_trigger;
