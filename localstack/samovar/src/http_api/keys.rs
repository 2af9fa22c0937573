//! The public keys of one issuer: found by OpenID discovery, kept, and fetched again for a key that is not among them.
//!
//! Invariant: however many requests come, the issuer is asked by one of them at a time, and not sooner than 10 s after its last
//! answer, or 1 s after a failure: a flood of bad tokens must not become one of requests to the issuer.

use std::time::Duration;

use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::JwkSet;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// API Gateway may keep keys for so long.
const KEEP: Duration = Duration::from_secs(2 * 60 * 60);

/// AWS does not publish its own.
const REFETCH_AFTER: Duration = Duration::from_secs(10);
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// API Gateway's quotas on an issuer.
const TIMEOUT: Duration = Duration::from_millis(1500);
const MAX_BYTES: usize = 150_000;

#[derive(Debug)]
pub(crate) struct Keys {
    issuer: String,
    http: reqwest::Client,
    pub(super) refetch_after: Duration,
    /// Who waited while the issuer did not answer does not ask once more.
    pub(super) retry_after: Duration,
    last: Mutex<Option<Fetched>>,
}

#[derive(Debug)]
struct Fetched {
    at: Instant,
    keys: Result<JwkSet, String>,
}

#[derive(Deserialize)]
struct Discovery {
    jwks_uri: String,
}

impl Keys {
    pub(crate) fn of(issuer: &str) -> Self {
        let http = reqwest::Client::new();
        Self {
            issuer: issuer.to_owned(),
            http,
            refetch_after: REFETCH_AFTER,
            retry_after: RETRY_AFTER,
            last: Mutex::new(None),
        }
    }

    /// The key of this id, if the issuer has it and it can be used.
    pub(crate) async fn get(&self, id: &str) -> Result<Option<DecodingKey>, String> {
        let mut last = self.last.lock().await;
        let usable = last.as_ref().is_some_and(|last| match &last.keys {
            Ok(keys) => {
                let age = last.at.elapsed();
                age < KEEP && (keys.find(id).is_some() || age < self.refetch_after)
            }
            Err(_) => last.at.elapsed() < self.retry_after,
        });
        if !usable {
            let keys = self.fetch().await;
            if let Err(why) = &keys {
                tracing::warn!("The keys of {} can't be had: {why}", self.issuer);
            }
            *last = Some(Fetched { at: Instant::now(), keys });
        }
        let Some(Fetched { keys, .. }) = last.as_ref() else { return Ok(None) };
        let key = keys.as_ref().map_err(Clone::clone)?.find(id);
        key.map(|key| DecodingKey::from_jwk(key).map_err(|error| format!("the key can't be used: {error}"))).transpose()
    }

    async fn fetch(&self) -> Result<JwkSet, String> {
        let url = format!("{}/.well-known/openid-configuration", self.issuer.trim_end_matches('/'));
        let discovery: Discovery = self.read(&url, "OIDC discovery endpoint communication error").await?;
        self.read(&discovery.jwks_uri, "JWKS communication error").await
    }

    async fn read<T: DeserializeOwned>(&self, url: &str, what: &str) -> Result<T, String> {
        let failed = |error: &dyn std::fmt::Display| {
            tracing::debug!(url, %error, "{what}");
            what.to_owned()
        };
        let request = self.http.get(url).timeout(TIMEOUT).send().await;
        let mut response = request.and_then(reqwest::Response::error_for_status).map_err(|error| failed(&error))?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| failed(&error))? {
            body.extend_from_slice(&chunk);
            if body.len() > MAX_BYTES {
                return Err(failed(&format!("more than {MAX_BYTES} bytes")));
            }
        }
        serde_json::from_slice(&body).map_err(|error| failed(&error))
    }
}
