//! What a function needs to accept the certificates of the stack: files with roots, and the variables that name them.
//!
//! | variable | read by |
//! |---|---|
//! | `SSL_CERT_FILE` | OpenSSL and what is built on it (Python, Ruby, PHP, curl), Go, the SDK for Rust, .NET on Linux |
//! | `REQUESTS_CA_BUNDLE` | Python's `requests`, which has roots of its own |
//! | `AWS_CA_BUNDLE` | the SDKs for Python and Go, the AWS CLI |
//! | `NODE_EXTRA_CA_CERTS` | Node.js |
//!
//! The first three replace the roots of a program. So they name a bundle with the system's roots and this one, and
//! functions reach the rest of the world as before. `NODE_EXTRA_CA_CERTS` adds to them.
//!
//! Sources: <https://docs.openssl.org/3.0/man7/openssl-env/>, <https://pkg.go.dev/crypto/x509#SystemCertPool>,
//! <https://docs.aws.amazon.com/sdkref/latest/guide/feature-gen-config.html>, <https://nodejs.org/api/cli.html>.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use super::TlsError;
use super::authority::{Authority, write};

const BUNDLE: &str = "bundle.pem";

/// The files that a function needs.
#[derive(Debug)]
pub(crate) struct Trust {
    certificate: PathBuf,
    /// `None` if the roots of the system were not found: without them it would shut functions off from the world.
    bundle: Option<PathBuf>,
}

impl Trust {
    /// Writes the bundle, if the roots of the system have changed since the last time.
    pub(super) fn write(authority: &Authority) -> Result<Self, TlsError> {
        let certificate = authority.certificate_path();
        let path = authority.folder().join(BUNDLE);
        let Some(roots) = system_roots() else { return Ok(Self { certificate, bundle: None }) };
        // A stack that was started with the environment of a function.
        if roots == path {
            return Ok(Self { certificate, bundle: Some(path) });
        }
        let mut bundle = fs::read(&roots).map_err(TlsError::file(&roots, "read"))?;
        bundle.push(b'\n');
        bundle.extend_from_slice(authority.certificate().as_bytes());
        if fs::read(&path).is_ok_and(|before| before == bundle) {
            return Ok(Self { certificate, bundle: Some(path) });
        }
        write(&path, &bundle, 0o644)?;
        Ok(Self { certificate, bundle: Some(path) })
    }

    /// The variables that name the files.
    pub(crate) fn variables(&self) -> BTreeMap<String, String> {
        let bundle = ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"].map(|name| (name, self.bundle.as_ref()));
        let all = bundle.into_iter().chain([("NODE_EXTRA_CA_CERTS", Some(&self.certificate))]);
        all.filter_map(|(name, path)| Some((name.to_owned(), path?.to_string_lossy().into_owned()))).collect()
    }
}

/// The file with the roots of this machine, or that of `SSL_CERT_FILE` in samovar's own environment.
fn system_roots() -> Option<PathBuf> {
    openssl_probe::probe().cert_file
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_roots_of_the_system_nothing_replaces_those_of_a_program() {
        let trust = Trust { certificate: "/d/ca.pem".into(), bundle: None };
        assert_eq!(trust.variables(), BTreeMap::from([("NODE_EXTRA_CA_CERTS".to_owned(), "/d/ca.pem".to_owned())]));
    }
}
