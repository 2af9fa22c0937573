//! Calls to the services of another emulator.
//!
//! Most emulators require a signature and do not verify it, so a made-up one is sent. For those that verify it, such as
//! MinIO, the calls are signed with credentials that the emulator knows. This is not for real AWS: there, the template
//! is deployed instead.

use std::time::{Duration, UNIX_EPOCH};

use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings, UriPathNormalizationMode,
    sign,
};
use aws_sigv4::sign::v4;
use bytes::Bytes;
use http::Method;
use samovar_template::Bucket;

use super::answer::Answer;
use super::clock;
use super::credentials::Credentials;

/// Another emulator.
#[derive(Debug, Clone)]
pub struct Emulator {
    /// Such as `http://localhost:9000`, without a slash at its end.
    pub url: String,
    /// Such as `us-east-1`.
    pub region: String,
    /// What it knows. `None` if it does not verify signatures.
    pub credentials: Option<Credentials>,
}

impl Emulator {
    async fn send(
        &self,
        http: &reqwest::Client,
        service: &str,
        (method, url): (Method, &str),
        headers: &[(&str, String)],
        body: Bytes,
    ) -> Result<reqwest::Response, CallError> {
        let mut request = http.request(method.clone(), url);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        match &self.credentials {
            None => request = request.header("authorization", self.made_up(service)),
            Some(credentials) => {
                for (name, value) in self.signature(credentials, service, (method.as_str(), url), headers, &body)? {
                    request = request.header(name, value);
                }
            }
        }
        Ok(request.body(body).send().await?)
    }

    fn made_up(&self, service: &str) -> String {
        let region = &self.region;
        format!(
            "AWS4-HMAC-SHA256 Credential=local/20260101/{region}/{service}/aws4_request, SignedHeaders=host, \
             Signature=0"
        )
    }

    /// The headers that sign a request.
    fn signature(
        &self,
        Credentials { access_key, secret_key, session_token }: &Credentials,
        service: &str,
        (method, url): (&str, &str),
        headers: &[(&str, String)],
        body: &[u8],
    ) -> Result<Vec<(String, String)>, CallError> {
        let unsigned = |error: String| CallError::Unsigned(error);
        let identity = aws_credential_types::Credentials::new(access_key, secret_key, session_token.clone(), None, "");
        let mut settings = SigningSettings::default();
        if service == "s3" {
            // As S3 wants it: the digest of the body as a header, and the path as it is.
            settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
            settings.percent_encoding_mode = PercentEncodingMode::Single;
            settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        }
        let now = UNIX_EPOCH + Duration::from_millis(u64::try_from(clock::now_ms()).unwrap_or_default());
        let identity = identity.into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(service)
            .time(now)
            .settings(settings)
            .build()
            .map_err(|error| unsigned(error.to_string()))?
            .into();
        let headers = headers.iter().map(|(name, value)| (*name, value.as_str()));
        let request = SignableRequest::new(method, url, headers, SignableBody::Bytes(body))
            .map_err(|error| unsigned(error.to_string()))?;
        let (signed, _) = sign(request, &params).map_err(|error| unsigned(error.to_string()))?.into_parts();
        Ok(signed.headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }
}

/// The reason why a call has no answer.
#[derive(Debug, thiserror::Error)]
enum CallError {
    #[error("the call could not be signed: {0}")]
    Unsigned(String),
    #[error(transparent)]
    Unanswered(#[from] reqwest::Error),
}

/// A service of another emulator, called over AWS's JSON protocol.
#[derive(Debug, Clone)]
pub struct Remote {
    http: reqwest::Client,
    emulator: Emulator,
    target: &'static str,
    service: &'static str,
}

impl Remote {
    /// `target` is the beginning of `X-Amz-Target`, and `service` the name in signatures.
    pub fn new(emulator: Emulator, target: &'static str, service: &'static str) -> Self {
        Self { http: reqwest::Client::new(), emulator, target, service }
    }

    /// Makes one call, from the operation's name and the body.
    pub async fn call(&self, operation: &str, body: Bytes) -> Answer {
        match self.send(operation, body).await {
            Ok((status, body)) => Answer { status, headers: Vec::new(), body },
            Err(error) => {
                let message = format!("{} cannot be called: {error}", self.emulator.url);
                Answer::error(503, "ServiceUnavailable", &message)
            }
        }
    }

    async fn send(&self, operation: &str, body: Bytes) -> Result<(u16, Vec<u8>), CallError> {
        let headers = [
            ("content-type", "application/x-amz-json-1.0".to_owned()),
            ("x-amz-target", format!("{}.{operation}", self.target)),
        ];
        let to = (Method::POST, self.emulator.url.as_str());
        let response = self.emulator.send(&self.http, self.service, to, &headers, body).await?;
        let status = response.status().as_u16();
        Ok((status, response.bytes().await?.to_vec()))
    }
}

/// Creates the template's buckets at another emulator. An emulator that verifies signatures refuses this without
/// credentials that it knows, and its user has to create them.
pub async fn make_buckets(emulator: &Emulator, buckets: &[Bucket]) {
    let Emulator { url, credentials, .. } = emulator;
    let http = reqwest::Client::new();
    for bucket in buckets {
        let address = format!("{url}/{}", bucket.name);
        // A signature brings a digest of its own.
        let unsigned = ("x-amz-content-sha256", "UNSIGNED-PAYLOAD".to_owned());
        let headers: Vec<_> = credentials.is_none().then_some(unsigned).into_iter().collect();
        let why = match emulator.send(&http, "s3", (Method::PUT, &address), &headers, Bytes::new()).await {
            // 409: the bucket already exists.
            Ok(response) if response.status().is_success() || response.status() == 409 => continue,
            Ok(response) => response.status().to_string(),
            Err(error) => error.to_string(),
        };
        tracing::warn!("The bucket {} could not be created at {url} ({why}): create it there yourself", bucket.name);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use aws_lc_rs::digest::{SHA256, digest};
    use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign as hmac};
    use axum::Router;
    use axum::extract::State;
    use http::{HeaderMap, Request, StatusCode};
    use samovar_template::Bucket;

    use super::*;

    /// An emulator that verifies signatures, by a computation of its own, and remembers what it has accepted.
    #[derive(Default)]
    struct Verifying {
        accepted: Mutex<Vec<String>>,
    }

    const KEY: &str = "known";
    const SECRET: &str = "a secret of the emulator";

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The canonical request of "Create a signed AWS API request" in the IAM guide, without a query.
    fn is_signed_by(secret: &str, method: &Method, path: &str, headers: &HeaderMap, body: &[u8]) -> Option<bool> {
        let text = |name: &str| headers.get(name)?.to_str().ok();
        let (_, authorization) = text("authorization")?.split_once("Credential=")?;
        let (credential, rest) = authorization.split_once(", SignedHeaders=")?;
        let (signed, signature) = rest.split_once(", Signature=")?;
        let (key, scope) = credential.split_once('/')?;
        let canonical: Option<String> =
            signed.split(';').map(|name| Some(format!("{name}:{}\n", text(name)?))).collect();
        let body = hex(digest(&SHA256, body).as_ref());
        let request = format!("{method}\n{path}\n\n{}\n{signed}\n{body}", canonical?);
        let to_sign = format!(
            "AWS4-HMAC-SHA256\n{}\n{scope}\n{}",
            text("x-amz-date")?,
            hex(digest(&SHA256, request.as_bytes()).as_ref())
        );
        let mut derived = format!("AWS4{secret}").into_bytes();
        for part in scope.split('/') {
            derived = hmac(&Key::new(HMAC_SHA256, &derived), part.as_bytes()).as_ref().to_vec();
        }
        let expected = hex(hmac(&Key::new(HMAC_SHA256, &derived), to_sign.as_bytes()).as_ref());
        Some(key == KEY && signed.contains("host") && signature == expected)
    }

    async fn verifying() -> (Arc<Verifying>, String) {
        let server = Arc::new(Verifying::default());
        let handle = async |State(server): State<Arc<Verifying>>, request: Request<axum::body::Body>| {
            let (parts, body) = request.into_parts();
            let body = axum::body::to_bytes(body, 1 << 20).await.expect("a body");
            if is_signed_by(SECRET, &parts.method, parts.uri.path(), &parts.headers, &body) != Some(true) {
                return StatusCode::FORBIDDEN;
            }
            let header = |name| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
            server.accepted.lock().expect("accepted").push(format!(
                "{} {} {} {}",
                parts.method,
                parts.uri.path(),
                header("x-amz-target"),
                header("x-amz-security-token")
            ));
            StatusCode::OK
        };
        let router = Router::new().fallback(handle).with_state(Arc::clone(&server));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("its address"));
        tokio::spawn(async { axum::serve(listener, router).await });
        (server, url)
    }

    fn emulator(url: &str, secret: &str, session_token: Option<&str>) -> Emulator {
        let credentials = Credentials {
            access_key: KEY.to_owned(),
            secret_key: secret.to_owned(),
            session_token: session_token.map(str::to_owned),
        };
        Emulator { url: url.to_owned(), region: "us-east-1".to_owned(), credentials: Some(credentials) }
    }

    fn bucket() -> Bucket {
        Bucket {
            logical_id: "Media".to_owned(),
            name: "local-media".to_owned(),
            cors: Vec::new(),
            expirations: Vec::new(),
            notifications: Vec::new(),
            event_bridge: false,
        }
    }

    #[tokio::test]
    async fn an_emulator_that_verifies_signatures_accepts_calls_that_are_signed_with_what_it_knows() {
        let (server, url) = verifying().await;
        let call = async |emulator: Emulator| {
            Remote::new(emulator, "DynamoDB_20120810", "dynamodb").call("ListTables", "{}".into()).await.status
        };
        assert_eq!(call(emulator(&url, SECRET, None)).await, 200);
        assert_eq!(call(emulator(&url, SECRET, Some("token"))).await, 200);
        assert_eq!(call(emulator(&url, "another", None)).await, 403);
        assert_eq!(call(Emulator { credentials: None, ..emulator(&url, SECRET, None) }).await, 403);
        make_buckets(&emulator(&url, SECRET, None), &[bucket()]).await;
        let accepted = server.accepted.lock().expect("accepted").clone();
        let listed = "POST / DynamoDB_20120810.ListTables ";
        assert_eq!(accepted, [listed, &format!("{listed}token"), "PUT /local-media  "]);
    }

    #[tokio::test]
    async fn a_call_that_can_not_be_made_is_answered_with_its_reason() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("its address"));
        drop(listener);
        for (url, reason) in [(url.as_str(), "error sending request"), ("http://[", "the call could not be signed")] {
            let remote = Remote::new(emulator(url, SECRET, None), "AmazonSQS", "sqs");
            let answer = remote.call("ListQueues", "{}".into()).await;
            let body = String::from_utf8_lossy(&answer.body).into_owned();
            assert!(answer.status == 503 && body.contains(reason), "{body}");
        }
    }
}
