//! A service of another emulator: the same JSON calls, made over HTTP.
//!
//! Emulators require a signature and do not verify it, so a made-up one is sent. This is not for real AWS: there, the
//! template is deployed instead.

use bytes::Bytes;

use super::answer::Answer;
use samovar_template::Bucket;

/// A service of another emulator, called over AWS's JSON protocol.
#[derive(Debug, Clone)]
pub struct Remote {
    http: reqwest::Client,
    url: String,
    target: &'static str,
    authorization: String,
}

impl Remote {
    /// `target` is the beginning of `X-Amz-Target`, and `service` the name in signatures.
    pub fn new(url: &str, target: &'static str, service: &str, region: &str) -> Self {
        let authorization = authorization(service, region);
        Self { http: reqwest::Client::new(), url: url.to_owned(), target, authorization }
    }

    /// Makes one call, from the operation's name and the body.
    pub async fn call(&self, operation: &str, body: Bytes) -> Answer {
        match self.send(operation, body).await {
            Ok((status, body)) => Answer { status, headers: Vec::new(), body },
            Err(error) => {
                let message = format!("{} cannot be reached: {error}", self.url);
                Answer::error(503, "ServiceUnavailable", &message)
            }
        }
    }

    async fn send(&self, operation: &str, body: Bytes) -> reqwest::Result<(u16, Vec<u8>)> {
        let response = self
            .http
            .post(&self.url)
            .header("content-type", "application/x-amz-json-1.0")
            .header("x-amz-target", format!("{}.{operation}", self.target))
            .header("authorization", &self.authorization)
            .body(body)
            .send()
            .await?;
        let status = response.status().as_u16();
        Ok((status, response.bytes().await?.to_vec()))
    }
}

fn authorization(service: &str, region: &str) -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential=local/20260101/{region}/{service}/aws4_request, SignedHeaders=host, Signature=0"
    )
}

/// Creates the template's buckets at another emulator. An emulator that verifies signatures (MinIO) refuses this, and
/// its user has to create them.
pub async fn make_buckets(url: &str, buckets: &[Bucket], region: &str) {
    for bucket in buckets {
        let request = reqwest::Client::new()
            .put(format!("{url}/{}", bucket.name))
            .header("authorization", authorization("s3", region))
            .header("x-amz-content-sha256", "UNSIGNED-PAYLOAD");
        let why = match request.send().await {
            // 409: the bucket already exists.
            Ok(response) if response.status().is_success() || response.status() == 409 => continue,
            Ok(response) => response.status().to_string(),
            Err(error) => error.to_string(),
        };
        tracing::warn!("The bucket {} could not be created at {url} ({why}): create it there yourself", bucket.name);
    }
}
