//! The checksums that a client sends with a body: `Content-MD5` and `x-amz-checksum-…`, in headers or after the body.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use s3s::{S3Request, S3Result, s3_error};

use super::upload::{Arrived, CHECKSUMS};

#[derive(Debug, Default)]
pub(super) struct Digests {
    md5: Option<String>,
    /// The checksums by name, with their values if they came before the body.
    checksums: BTreeMap<&'static str, Option<String>>,
}

impl Digests {
    pub(super) fn announced<Input>(request: &S3Request<Input>) -> S3Result<Self> {
        let header = |name: &str| request.headers.get(name).and_then(|value| value.to_str().ok());
        let trailers = header("x-amz-trailer").unwrap_or_default().to_ascii_lowercase();
        let mut checksums = BTreeMap::new();
        for name in CHECKSUMS {
            let value = header(&format!("x-amz-checksum-{name}")).map(str::to_owned);
            let follows = trailers.split(',').any(|trailer| trailer.trim() == format!("x-amz-checksum-{name}"));
            if value.is_some() || follows {
                checksums.insert(name, value);
            }
        }
        let md5 = header("content-md5").map(str::to_owned);
        if md5.as_ref().is_some_and(|md5| STANDARD.decode(md5).map_or(0, |bytes| bytes.len()) != 16) {
            return Err(s3_error!(InvalidDigest, "The Content-MD5 you specified is not valid."));
        }
        Ok(Self { md5, checksums })
    }

    /// The names of the checksums to compute.
    pub(super) fn names(&self) -> Vec<&'static str> {
        self.checksums.keys().copied().collect()
    }

    pub(super) fn check(&self, arrived: &Arrived, trailers: Option<&HeaderMap>) -> S3Result<()> {
        if self.md5.as_ref().is_some_and(|md5| *md5 != STANDARD.encode(arrived.md5)) {
            return Err(s3_error!(BadDigest, "The Content-MD5 you specified did not match what we received."));
        }
        for (name, before) in &self.checksums {
            let after = trailers.and_then(|trailers| trailers.get(format!("x-amz-checksum-{name}")));
            let given = before.as_deref().or_else(|| after.and_then(|value| value.to_str().ok()));
            if given != arrived.checksums.get(*name).map(String::as_str) {
                let name = name.to_uppercase();
                return Err(s3_error!(BadDigest, "The {name} you specified did not match the calculated checksum."));
            }
        }
        Ok(())
    }
}
