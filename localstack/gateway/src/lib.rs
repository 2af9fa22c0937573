//! A local gateway: runs the WebSocket and HTTP APIs, functions, queues and tables of a SAM template on one machine, from the
//! very template that deploys them. It knows nothing of the application in it.
//!
//! - [`samovar_template`] reads the template: a small, strict subset; what it does not understand is an error with its line.
//! - [`stack`] makes of it what runs: engines, function host, event sources, listeners; and stops it again.
//! - [`websocket`] and [`http_api`] are API Gateway; `samovar_host` is Lambda (over the Runtime API), [`build`] makes its programs,
//!   its event sources poll queues, its schedules invoke by the clock; [`aws`] is the door to the services, `samovar_sqs` the
//!   queues themselves, [`s3`] the objects.
//! - [`oidc`] is the user pool; [`state`] what one sees of it all; [`server`] accepts connections. [`site`] is the web site
//!   that belongs to the stack.

mod addresses;
pub mod aws;
pub mod build;
pub mod clock;
pub mod http_api;
pub mod ids;
pub mod invoke;
pub mod logging;
pub mod oidc;
pub mod options;
pub mod s3;
pub mod server;
pub mod site;
pub mod stack;
pub mod state;
#[cfg(test)]
mod testing;
pub mod uri;
pub mod websocket;
