//! A service at another emulator: the same JSON calls, over HTTP.
//!
//! Emulators want a signature to be there and do not verify it, so a made-up one is sent. Real AWS is not meant here: there,
//! the template is deployed.

use bytes::Bytes;

use super::answer::Answer;
use samovar_template::Bucket;

/// A service of another emulator, spoken to in AWS's JSON protocol.
#[derive(Debug, Clone)]
pub struct Remote {
    http: reqwest::Client,
    url: String,
    target: &'static str,
    authorization: String,
}

impl Remote {
    /// `target` is what `X-Amz-Target` begins with, `service` the name in signatures.
    pub fn new(url: &str, target: &'static str, service: &str, region: &str) -> Self {
        let authorization = authorization(service, region);
        Self { http: reqwest::Client::new(), url: url.to_owned(), target, authorization }
    }

    /// One call: the operation's name and the body.
    pub async fn call(&self, operation: &str, body: Bytes) -> Answer {
        match self.send(operation, body).await {
            Ok((status, body)) => Answer { status, headers: Vec::new(), body },
            Err(error) => {
                let message = format!("{} can't be reached: {error}", self.url);
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

/// Makes the template's buckets at another emulator. One that does verify signatures (MinIO) refuses: there, whoever runs it
/// makes them.
pub async fn make_buckets(url: &str, buckets: &[Bucket], region: &str) {
    for bucket in buckets {
        let request = reqwest::Client::new()
            .put(format!("{url}/{}", bucket.name))
            .header("authorization", authorization("s3", region))
            .header("x-amz-content-sha256", "UNSIGNED-PAYLOAD");
        let why = match request.send().await {
            // 409: it is there already.
            Ok(response) if response.status().is_success() || response.status() == 409 => continue,
            Ok(response) => response.status().to_string(),
            Err(error) => error.to_string(),
        };
        tracing::warn!("The bucket {} can't be made at {url} ({why}): make it there", bucket.name);
    }
}
