//! TLS at the ports that serve plain HTTP, with certificates of an authority of this machine's own.
//!
//! Functions build `https://{domainName}/{stage}` in code, because on AWS that is the address of the management API. So
//! the stack has to answer there with a certificate that the functions accept. The [`authority`] is made by the first
//! stack of a user and is the same for all later ones, so a browser can be told once to accept it. Functions are told
//! in their environment where its certificate is (see [`trust`]).
//!
//! The start of a stack reads two small files for this. A certificate for the stack is made when the first client
//! speaks TLS, and is never written down.

mod authority;
mod certificates;
mod trust;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use authority::Authority;
use certificates::Certificates;
pub(crate) use trust::Trust;

/// The first byte of a client that speaks TLS: a handshake record (RFC 8446, 5.1). No method of HTTP begins with it.
pub(crate) const FIRST_BYTE: u8 = 0x16;

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[error("there is no home directory for its key: set HOME or XDG_DATA_HOME")]
    NoHome,
    #[error("{} could not be {doing}: {source}", .path.display())]
    File { path: PathBuf, doing: &'static str, source: io::Error },
    #[error("{} is no private key ({source}): remove it, and the next start makes another", .path.display())]
    NoKey { path: PathBuf, source: rcgen::Error },
    #[error("no certificate could be made: {0}")]
    NotMade(#[from] rcgen::Error),
    #[error("the certificate can't be used: {0}")]
    NotUsed(#[from] rustls::Error),
}

impl TlsError {
    fn file(path: &Path, doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { path, doing, source }
    }
}

/// What a listener needs to speak TLS.
#[derive(Debug)]
pub(crate) struct Tls {
    authority: Arc<Authority>,
    names: Vec<String>,
    config: OnceLock<Arc<ServerConfig>>,
}

impl Tls {
    /// Opens the authority of the current user, or makes it. The names of APIs are those in this region.
    pub(crate) fn open(region: &str) -> Result<Self, TlsError> {
        Self::open_in(&authority::folder().ok_or(TlsError::NoHome)?, region)
    }

    fn open_in(folder: &Path, region: &str) -> Result<Self, TlsError> {
        let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into_iter();
        let of_apis = [format!("*.execute-api.{region}.amazonaws.com"), format!("*.lambda-url.{region}.on.aws")];
        Ok(Self {
            authority: Arc::new(Authority::open(folder)?),
            names: names.chain(of_apis).collect(),
            config: OnceLock::new(),
        })
    }

    /// The authority's certificate, as PEM.
    pub(crate) fn certificate(&self) -> &str {
        self.authority.certificate()
    }

    /// How functions come to accept the certificates of this authority.
    pub(crate) fn trust(&self) -> Result<Trust, TlsError> {
        Trust::write(&self.authority)
    }

    /// Shakes hands with a client. It may take as long as the client likes.
    pub(crate) async fn accept(&self, stream: TcpStream) -> io::Result<Box<TlsStream<TcpStream>>> {
        let acceptor = TlsAcceptor::from(self.config().map_err(io::Error::other)?);
        // On the heap, so that a plain connection does not have the room for it.
        Box::pin(acceptor.accept(stream)).await.map(Box::new)
    }

    fn config(&self) -> Result<Arc<ServerConfig>, TlsError> {
        if let Some(config) = self.config.get() {
            return Ok(Arc::clone(config));
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let certificates = Certificates::new(Arc::clone(&self.authority), &self.names, Arc::clone(&provider))?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(certificates));
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // Two first clients may both have made one. Then all use the first.
        Ok(Arc::clone(self.config.get_or_init(|| Arc::new(config))))
    }
}

#[cfg(test)]
mod tests;
