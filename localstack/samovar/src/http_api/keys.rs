//! The public keys of one issuer: found by OpenID discovery, cached, and fetched again when an unknown key is
//! requested.
//!
//! Invariant: only one request at a time asks the issuer, however many are waiting. The next one asks not sooner than
//! 10 s after an answer, or 1 s after a failure. So a flood of bad tokens does not become a flood of requests to the
//! issuer.

use std::time::Duration;

use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::JwkSet;
use reqwest::redirect::Policy;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// API Gateway may cache keys for this long.
const KEEP: Duration = Duration::from_secs(2 * 60 * 60);

/// AWS does not publish its interval.
const REFETCH_AFTER: Duration = Duration::from_secs(10);
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// API Gateway's quotas for an issuer.
const TIMEOUT: Duration = Duration::from_millis(1500);
const MAX_BYTES: usize = 150_000;

#[derive(Debug)]
pub(crate) struct Keys {
    issuer: String,
    http: reqwest::Client,
    pub(super) refetch_after: Duration,
    /// A request that waited while the issuer did not answer does not ask again.
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
        // Only the issuer itself gives keys, so no redirect is followed.
        let http = reqwest::Client::builder().redirect(Policy::none()).build().expect("a client without settings");
        Self {
            issuer: issuer.to_owned(),
            http,
            refetch_after: REFETCH_AFTER,
            retry_after: RETRY_AFTER,
            last: Mutex::new(None),
        }
    }

    /// The key with this id, if the issuer has it and it can be used.
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
                tracing::warn!("The keys of {} could not be fetched: {why}", self.issuer);
            }
            *last = Some(Fetched { at: Instant::now(), keys });
        }
        let Some(Fetched { keys, .. }) = last.as_ref() else { return Ok(None) };
        let key = keys.as_ref().map_err(Clone::clone)?.find(id);
        key.map(|key| DecodingKey::from_jwk(key).map_err(|error| format!("the key cannot be used: {error}")))
            .transpose()
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
        let mut response = self.http.get(url).timeout(TIMEOUT).send().await.map_err(|error| failed(&error))?;
        if !response.status().is_success() {
            return Err(failed(&response.status()));
        }
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
