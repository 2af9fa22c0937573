//! What everything shares that takes requests of clients for functions: the APIs and the function URLs of a stack.

use std::sync::Arc;

use samovar_services::door::Door;

use crate::invoke::Invoker;
use crate::sigv4::Keys;

/// One for each stack.
#[derive(Debug, Clone)]
pub(crate) struct Edge {
    /// `requestContext.domainName` of events: with the port, as the client sees it.
    pub(crate) domain: String,
    pub(crate) region: String,
    pub(crate) account_id: String,
    pub(crate) invoker: Arc<dyn Invoker>,
    /// Whether a signer may invoke is checked here.
    pub(crate) door: Door,
    /// The credentials that requests may be signed with.
    pub(crate) keys: Keys,
    /// The OpenID issuer that stands in for all user pools.
    pub(crate) issuer: String,
}

#[cfg(test)]
impl Edge {
    /// At this address, in front of scripted functions. Everybody may do everything.
    pub(crate) fn of(address: std::net::SocketAddr, functions: &Arc<crate::testing::functions::Functions>) -> Self {
        Self {
            domain: address.to_string(),
            region: "us-east-1".to_owned(),
            account_id: "000000000000".to_owned(),
            invoker: Arc::clone(functions) as _,
            door: Door::default(),
            keys: Keys::default(),
            issuer: "http://127.0.0.1:9".to_owned(),
        }
    }
}
