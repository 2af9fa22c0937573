//! The certificates that a stack shows: one for all its names, and one for each client that asks for another name under
//! `localhost` or `amazonaws.com`. A wildcard can't stand for those: it is one label, and clients take none that has a
//! single label behind it.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::TlsError;
use super::authority::Authority;

#[derive(Debug)]
pub(super) struct Certificates {
    authority: Arc<Authority>,
    provider: Arc<CryptoProvider>,
    names: Vec<String>,
    usual: Arc<CertifiedKey>,
}

impl Certificates {
    /// Those of a stack with these names.
    pub(super) fn new(
        authority: Arc<Authority>,
        names: &[String],
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, TlsError> {
        let usual = issue(&authority, names, &provider)?;
        Ok(Self { authority, provider, names: names.to_vec(), usual })
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let other = |name: &&str| name.ends_with(".localhost") || name.ends_with(".amazonaws.com");
        match hello.server_name().filter(other) {
            None => Some(Arc::clone(&self.usual)),
            // It takes a fraction of a millisecond, as the handshake itself does, so none is kept.
            Some(name) => {
                let names = [self.names.as_slice(), &[name.to_owned()]].concat();
                let issued = issue(&self.authority, &names, &self.provider);
                issued.inspect_err(|error| tracing::warn!("TLS for {name}: {error}")).ok()
            }
        }
    }
}

fn issue(authority: &Authority, names: &[String], provider: &CryptoProvider) -> Result<Arc<CertifiedKey>, TlsError> {
    let (certificate, key) = authority.issue(names)?;
    Ok(Arc::new(CertifiedKey::from_der(vec![certificate], key, provider)?))
}
