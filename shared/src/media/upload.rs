//! Presigned POSTs: a browser uploads straight to storage, and the storage itself refuses another key, another type or
//! too many bytes. The SDK signs no POST policies. So the policy is made here and signed with the SDK's own signature
//! functions.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use aws_credential_types::provider::ProvideCredentials as _;
use aws_sigv4::sign::v4::{calculate_signature, generate_signing_key};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::kinds::MediaType;
use super::{Media, is_aws, object};
use crate::clock::Timestamp;
use crate::ids::{MediaKey, UserId};
use crate::{Error, Result};

/// The address and the form fields for the upload of one object.
#[derive(Debug, Clone)]
pub struct Upload {
    pub key: MediaKey,
    /// Takes a `multipart/form-data` POST: first these fields, then the file as `file`.
    pub url: String,
    pub fields: BTreeMap<String, String>,
    pub expires_at: Timestamp,
}

impl Media {
    /// Allows this user to upload one object of this type and at most this size.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the type is not accepted or the size is out of range.
    pub async fn upload(&self, user: &UserId, content_type: &str, bytes: u64) -> Result<Upload> {
        let known = MediaType::parse(content_type)?;
        if !(1..=self.config.max_bytes).contains(&bytes) {
            return Err(Error::invalid("bytes", format!("must be 1 to {}", self.config.max_bytes)));
        }
        let key = MediaKey::generate(&self.random, known.extension);
        let provider = self.credentials.as_ref().ok_or(Error::ConfigMissing { name: "AWS_ACCESS_KEY_ID" })?;
        let credentials =
            provider.provide_credentials().await.map_err(|error| Error::service("credentials", &error))?;
        let now = self.clock.now();
        let expires_at = now.plus(self.config.presign);
        let (date, date_time) = stamps(now);
        let scope = format!("{date}/{}/s3/aws4_request", self.region);
        let mut fields = BTreeMap::from([
            ("key".to_owned(), object("uploads", user, &key)),
            ("Content-Type".to_owned(), known.content_type.to_owned()),
            ("success_action_status".to_owned(), "204".to_owned()),
            ("x-amz-algorithm".to_owned(), "AWS4-HMAC-SHA256".to_owned()),
            ("x-amz-credential".to_owned(), format!("{}/{scope}", credentials.access_key_id())),
            ("x-amz-date".to_owned(), date_time),
        ]);
        if let Some(token) = credentials.session_token() {
            fields.insert("x-amz-security-token".to_owned(), token.to_owned());
        }
        // The policy demands each field exactly as it is here, and allows no others.
        let mut conditions: Vec<Value> = fields.iter().map(|(name, value)| json!({ name: value })).collect();
        conditions.push(json!({ "bucket": self.config.bucket }));
        conditions.push(json!(["content-length-range", 1, bytes]));
        let policy = json!({ "expiration": expires_at, "conditions": conditions });
        let policy = STANDARD.encode(policy.to_string());
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis(now.0.try_into().unwrap_or_default());
        let signing_key = generate_signing_key(credentials.secret_access_key(), time, self.region.as_ref(), "s3");
        fields.insert("x-amz-signature".to_owned(), calculate_signature(signing_key, policy.as_bytes()));
        fields.insert("policy".to_owned(), policy);
        Ok(Upload { key, url: self.post_url(), fields, expires_at })
    }

    fn post_url(&self) -> String {
        let endpoint = self.config.public_endpoint.trim_end_matches('/');
        match endpoint.split_once("://") {
            Some((scheme, host)) if is_aws(endpoint) => format!("{scheme}://{}.{host}", self.config.bucket),
            _ => format!("{endpoint}/{}", self.config.bucket),
        }
    }
}

/// `20260102` and `20260102T030405Z`.
fn stamps(now: Timestamp) -> (String, String) {
    let time = jiff::Timestamp::from_millisecond(now.0).unwrap_or_default();
    (time.strftime("%Y%m%d").to_string(), time.strftime("%Y%m%dT%H%M%SZ").to_string())
}
