//! Where everything is: the addresses that clients and functions are given.

use tokio::net::TcpListener;

use crate::options::Options;

/// All on 127.0.0.1, but for what is another emulator's.
#[derive(Debug, Clone)]
pub(super) struct Urls {
    /// The public listener's, without scheme.
    pub(super) domain: String,
    pub(super) public: String,
    /// The listener for the functions, without scheme.
    pub(super) runtime_api: String,
    pub(super) internal: String,
    pub(super) issuer: String,
    /// What queue URLs begin with.
    pub(super) sqs: String,
    /// S3 as clients find it.
    pub(super) s3: String,
    /// S3 as functions find it.
    pub(super) functions_s3: String,
}

impl Urls {
    pub(super) fn of(public: &TcpListener, internal: &TcpListener, options: &Options) -> std::io::Result<Self> {
        let domain = format!("127.0.0.1:{}", public.local_addr()?.port());
        let runtime_api = format!("127.0.0.1:{}", internal.local_addr()?.port());
        let (public, internal) = (format!("http://{domain}"), format!("http://{runtime_api}"));
        let own_sqs = || format!("{public}{}/sqs", samovar_services::PATH);
        Ok(Self {
            issuer: format!("{public}/_local/oidc"),
            sqs: options.sqs_url().map_or_else(own_sqs, str::to_owned),
            s3: options.s3_url().unwrap_or(&public).to_owned(),
            functions_s3: options.s3_url().unwrap_or(&internal).to_owned(),
            domain,
            public,
            runtime_api,
            internal,
        })
    }
}
