//! What comes in: a request, read.

use std::net::SocketAddr;

use axum::body::Bytes;
use http::request;

/// A request that has been read.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub head: request::Parts,
    /// Nothing where it was too large.
    pub body: Option<Bytes>,
    pub peer: SocketAddr,
}
