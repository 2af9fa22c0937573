//! Reads a model's key by the ARN of a Secrets Manager secret or an SSM parameter.
//!
//! The key is read once, when it is first needed, and kept. Keys are changed now and then, and a worker outlives the
//! change. So when the endpoint refuses the kept key, the key is read again, once for each refused request
//! ([`Key::renew`]). If several requests are refused at once, each that was sent with the old key finds the new one,
//! whichever of them fetched it.
//!
//! Each service needs one call, made by hand and signed with the SDK's own signature crate. The SDK's clients for the
//! two are among its largest crates and would make every build minutes longer.

use std::fmt;
use std::sync::{PoisonError, RwLock};
use std::time::SystemTime;

use aws_config::SdkConfig;
use aws_credential_types::provider::ProvideCredentials as _;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use serde_json::{Value, json};

use crate::config::ApiKey;
use crate::{Error, Result};

/// A text that no log shows.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Secret(String);

impl Secret {
    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The key in use.
#[derive(Debug)]
pub(super) struct Key {
    source: ApiKey,
    aws: SdkConfig,
    http: reqwest::Client,
    kept: RwLock<Option<Secret>>,
}

impl Key {
    /// # Errors
    /// When the key can't be read.
    pub(super) async fn read(source: ApiKey, aws: &SdkConfig, http: &reqwest::Client) -> Result<Self> {
        let kept = RwLock::new(read(&source, aws, http).await?);
        Ok(Self { source, aws: aws.clone(), http: http.clone(), kept })
    }

    pub(super) fn get(&self) -> Option<Secret> {
        self.kept.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A key other than the `refused` one, if there is one.
    ///
    /// # Errors
    /// When the key can't be read again.
    pub(super) async fn renew(&self, refused: Option<&Secret>) -> Result<Option<Secret>> {
        if self.get().as_ref() == refused && matches!(self.source, ApiKey::Arn(_)) {
            let read = read(&self.source, &self.aws, &self.http).await?;
            *self.kept.write().unwrap_or_else(PoisonError::into_inner) = read;
        }
        Ok(self.get().filter(|kept| Some(kept) != refused))
    }
}

async fn read(key: &ApiKey, aws: &SdkConfig, http: &reqwest::Client) -> Result<Option<Secret>> {
    match key {
        ApiKey::None => Ok(None),
        ApiKey::Value(value) => Ok(Some(Secret(value.clone()))),
        ApiKey::Arn(arn) => fetch(arn, aws, http).await.map(|value| Some(Secret(value))),
    }
}

/// The call that gives the value that an ARN names.
struct Call {
    service: &'static str,
    target: &'static str,
    body: Value,
    /// Where the answer has the value.
    value: &'static str,
}

fn call(arn: &str) -> Option<Call> {
    match arn.split(':').nth(2)? {
        "secretsmanager" => Some(Call {
            service: "secretsmanager",
            target: "secretsmanager.GetSecretValue",
            body: json!({ "SecretId": arn }),
            value: "/SecretString",
        }),
        "ssm" => Some(Call {
            service: "ssm",
            target: "AmazonSSM.GetParameter",
            body: json!({ "Name": arn, "WithDecryption": true }),
            value: "/Parameter/Value",
        }),
        _ => None,
    }
}

async fn fetch(arn: &str, aws: &SdkConfig, http: &reqwest::Client) -> Result<String> {
    let wrong = || Error::ConfigInvalid {
        name: "LLM_API_KEY_SECRET_ARN",
        value: arn.to_owned(),
        expected: "the ARN of a Secrets Manager secret or an SSM parameter",
    };
    let call = call(arn).ok_or_else(wrong)?;
    let failed = |detail: String| Error::Service { operation: call.target, detail };
    let region = arn.split(':').nth(3).filter(|region| !region.is_empty()).ok_or_else(wrong)?;
    let url = match aws.endpoint_url() {
        Some(endpoint) => endpoint.to_owned(),
        None => format!("https://{}.{region}.amazonaws.com/", call.service),
    };
    let provider = aws.credentials_provider().ok_or(Error::ConfigMissing { name: "AWS_ACCESS_KEY_ID" })?;
    let identity = provider.provide_credentials().await.map_err(|error| Error::service("credentials", &error))?.into();
    let body = call.body.to_string();
    let headers = [("content-type", "application/x-amz-json-1.1"), ("x-amz-target", call.target)];
    #[allow(clippy::disallowed_methods, reason = "AWS checks a signature's time against its own")]
    let now = SystemTime::now();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name(call.service)
        .time(now)
        .settings(SigningSettings::default())
        .build()
        .map_err(|error| failed(error.to_string()))?;
    let signable = SignableRequest::new("POST", &url, headers.into_iter(), SignableBody::Bytes(body.as_bytes()))
        .map_err(|error| failed(error.to_string()))?;
    let (signed, _) = sign(signable, &params.into()).map_err(|error| failed(error.to_string()))?.into_parts();
    let mut request = http.post(&url).body(body);
    for (name, value) in headers.into_iter().chain(signed.headers()) {
        request = request.header(name, value);
    }
    let response = request.send().await.map_err(|error| Error::service(call.target, &error))?;
    let status = response.status();
    let answer: Value = response.json().await.map_err(|error| Error::service(call.target, &error))?;
    if !status.is_success() {
        return Err(failed(format!("{status}: {} {}", answer["__type"], answer["message"])));
    }
    let value = answer.pointer(call.value).and_then(Value::as_str);
    value.map(str::to_owned).ok_or_else(|| failed("the answer has no text".to_owned()))
}

#[cfg(test)]
mod tests {
    use aws_credential_types::Credentials;
    use aws_credential_types::provider::SharedCredentialsProvider;

    use super::*;
    use crate::testing::endpoint::{Endpoint, status};

    #[test]
    fn an_arn_says_which_service_to_ask() {
        let service = |arn| call(arn).map(|call| call.service);
        assert_eq!(service("arn:aws:secretsmanager:eu-west-1:123456789012:secret:key-AbCdEf"), Some("secretsmanager"));
        assert_eq!(service("arn:aws:ssm:eu-west-1:123456789012:parameter/parley/key"), Some("ssm"));
        for wrong in ["", "sk-123", "arn:aws:s3:::bucket"] {
            assert!(service(wrong).is_none(), "{wrong}");
        }
    }

    #[tokio::test]
    async fn a_secret_is_fetched_with_a_signed_call_and_a_refusal_says_why() {
        let answer = |body: &str| status("200 OK", "content-type: application/x-amz-json-1.1\r\n", body);
        let refusal = status("400 Bad Request", "", "{\"__type\":\"AccessDeniedException\",\"message\":\"no\"}");
        for (arn, script, target, expected) in [
            (
                "secretsmanager:eu-west-1:1:secret:k",
                answer("{\"SecretString\":\"one\"}"),
                "secretsmanager.getsecretvalue",
                Ok("one"),
            ),
            (
                "ssm:eu-west-1:1:parameter/k",
                answer("{\"Parameter\":{\"Value\":\"two\"}}"),
                "amazonssm.getparameter",
                Ok("two"),
            ),
            ("ssm:eu-west-1:1:parameter/k", answer("{}"), "amazonssm.getparameter", Err("no text")),
            ("ssm:eu-west-1:1:parameter/k", refusal, "amazonssm.getparameter", Err("AccessDeniedException")),
        ] {
            let endpoint = Endpoint::start(vec![script]);
            let credentials = Credentials::new("AKID", "secret", None, None, "tests");
            let aws = SdkConfig::builder()
                .credentials_provider(SharedCredentialsProvider::new(credentials))
                .endpoint_url(endpoint.url.as_str())
                .build();
            let arn = format!("arn:aws:{arn}");
            let value = read(&ApiKey::Arn(arn.clone()), &aws, &reqwest::Client::new()).await;
            match (&value, expected) {
                (Ok(Some(secret)), Ok(expected)) => assert_eq!(secret.expose(), expected),
                (Err(error), Err(expected)) => assert!(error.to_string().contains(expected), "{error}"),
                _ => panic!("{arn}: {value:?}"),
            }
            let request = &endpoint.requests()[0];
            let service = arn.split(':').nth(2).expect("a service");
            for part in [format!("x-amz-target: {target}"), format!("/eu-west-1/{service}/aws4_request")] {
                assert!(request.head.contains(&part), "{part}: {}", request.head);
            }
        }
    }

    #[test]
    fn a_secret_is_not_shown() {
        assert_eq!(format!("{:?}", Secret("sk-123".to_owned())), "Secret(…)");
        assert!(!format!("{:?}", ApiKey::Value("sk-123".to_owned())).contains("sk-123"));
    }
}
