//! The addresses that clients and functions use.

use tokio::net::TcpListener;

use crate::options::Options;

/// All are on 127.0.0.1, except those of another emulator.
#[derive(Debug, Clone)]
pub(super) struct Urls {
    /// The public listener's address, without scheme.
    pub(super) domain: String,
    pub(super) public: String,
    pub(super) internal: String,
    pub(super) issuer: String,
    /// The beginning of queue URLs.
    pub(super) sqs: String,
    /// S3's address for clients.
    pub(super) s3: String,
    /// S3's address for functions.
    pub(super) functions_s3: String,
    /// The emulator that has the services that the stack does not have.
    pub(super) others: Option<String>,
}

impl Urls {
    pub(super) fn of(public: &TcpListener, internal: &TcpListener, options: &Options) -> std::io::Result<Self> {
        let domain = format!("127.0.0.1:{}", public.local_addr()?.port());
        let public = format!("http://{domain}");
        let internal = format!("http://127.0.0.1:{}", internal.local_addr()?.port());
        let own_sqs = || format!("{public}{}/sqs", samovar_services::PATH);
        Ok(Self {
            issuer: format!("{public}/_local/oidc"),
            sqs: options.sqs_url().map_or_else(own_sqs, str::to_owned),
            s3: options.s3_url().unwrap_or(&public).to_owned(),
            functions_s3: options.s3_url().unwrap_or(&internal).to_owned(),
            others: options.aws_endpoint_url.clone(),
            domain,
            public,
            internal,
        })
    }
}
