//! Bearer tokens: JWTs of one OpenID issuer, verified against its published keys.
//!
//! Signature, issuer, audience and expiry, and nothing else, decide. As with API Gateway's own JWT authorizer, the audience
//! may be in `aud` or, as in a user pool's access tokens, in `client_id`. Only asymmetric algorithms are accepted: a token
//! can't choose to be checked with a public key as if it were a secret.

use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use tokio::sync::Mutex;

use crate::clock::{Clock, Timestamp};
use crate::config::AuthConfig;
use crate::ids::UserId;
use crate::{Error, Result};

/// Keys are fetched again after this long …
const KEYS_FOR: Duration = Duration::from_secs(600);

/// … or for an unknown key id, but not more often than this: a flood of bad tokens must not become one of requests.
const REFETCH_AFTER: Duration = Duration::from_secs(10);

const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

/// The subprotocol that carries a browser's token, and the one that is selected beside it.
pub const SUBPROTOCOL: &str = "parley.v1";
const BEARER_SUBPROTOCOL: &str = "bearer.";

/// Who a token speaks for.
#[derive(Debug, Clone)]
pub struct Identity {
    pub user: UserId,
    pub username: Option<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    #[error("The token is refused: {0}")]
    Refused(String),
    /// Not the token's fault.
    #[error(transparent)]
    Unavailable(#[from] Error),
}

#[derive(Debug)]
pub struct Verifier {
    config: AuthConfig,
    http: reqwest::Client,
    clock: Arc<dyn Clock>,
    keys: Mutex<Option<Keys>>,
}

#[derive(Debug)]
struct Keys {
    set: JwkSet,
    fetched_at: Timestamp,
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: Option<String>,
    exp: Option<f64>,
    nbf: Option<f64>,
    aud: Option<OneOrMany>,
    client_id: Option<String>,
    username: Option<String>,
    #[serde(rename = "cognito:username")]
    cognito_username: Option<String>,
    preferred_username: Option<String>,
    name: Option<String>,
    email: Option<String>,
}

impl Claims {
    /// A name to show, the best first.
    fn username(self) -> Option<String> {
        let names = [self.username, self.cognito_username, self.preferred_username, self.name, self.email];
        names.into_iter().flatten().find(|name| !name.is_empty())
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    fn contains(&self, value: &str) -> bool {
        match self {
            Self::One(one) => one == value,
            Self::Many(many) => many.iter().any(|one| one == value),
        }
    }
}

impl Verifier {
    pub fn new(config: AuthConfig, clock: Arc<dyn Clock>) -> Result<Self> {
        let http = reqwest::Client::builder()
            .timeout(Duration::from_secs(5))
            .build()
            .map_err(|error| Error::service("HTTP client", &error))?;
        Ok(Self { config, http, clock, keys: Mutex::new(None) })
    }

    /// Fetches the issuer's keys ahead of the first token.
    pub async fn warm_up(&self) -> Result<()> {
        let mut keys = self.keys.lock().await;
        *keys = Some(self.fetch().await?);
        Ok(())
    }

    pub async fn verify(&self, token: &str) -> Result<Identity, AuthError> {
        let refused = |reason: &str| AuthError::Refused(reason.to_owned());
        let header = jsonwebtoken::decode_header(token).map_err(|error| AuthError::Refused(error.to_string()))?;
        if !ALGORITHMS.contains(&header.alg) {
            return Err(refused("its algorithm is not accepted"));
        }
        let key_id = header.kid.ok_or_else(|| refused("it names no key"))?;
        let key = self.key(&key_id).await?.ok_or_else(|| refused("the issuer has no such key"))?;

        let mut validation = Validation::new(header.alg);
        // Checked below, against the clock that is passed in and both places of the audience.
        validation.validate_exp = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        let claims = jsonwebtoken::decode::<Claims>(token, &key, &validation)
            .map_err(|error| AuthError::Refused(error.to_string()))?
            .claims;

        if claims.iss != self.config.issuer {
            return Err(refused("it is another issuer's"));
        }
        let audience = &self.config.audience;
        let for_us = claims
            .aud
            .as_ref()
            .map_or_else(|| claims.client_id.as_ref() == Some(audience), |claimed| claimed.contains(audience));
        if !for_us {
            return Err(refused("it is for another audience"));
        }
        #[allow(clippy::cast_precision_loss, reason = "seconds since 1970 fit")]
        let now = self.clock.now().0 as f64 / 1000.0;
        if claims.exp.is_none_or(|exp| exp <= now) {
            return Err(refused("it is expired"));
        }
        if claims.nbf.is_some_and(|nbf| nbf > now) {
            return Err(refused("it is not valid yet"));
        }
        let user = claims.sub.as_deref().ok_or_else(|| refused("it names no user"))?;
        let user = UserId::parse(user).map_err(|_| refused("its user id can't be used"))?;
        Ok(Identity { user, username: claims.username() })
    }

    async fn key(&self, id: &str) -> Result<Option<DecodingKey>, AuthError> {
        let mut keys = self.keys.lock().await;
        let now = self.clock.now();
        let usable = keys.as_ref().is_some_and(|keys| {
            let age = now.since(keys.fetched_at);
            age < KEYS_FOR && (keys.set.find(id).is_some() || age < REFETCH_AFTER)
        });
        if !usable {
            *keys = Some(self.fetch().await?);
        }
        let jwk = keys.as_ref().and_then(|keys| keys.set.find(id));
        jwk.map(|jwk| DecodingKey::from_jwk(jwk).map_err(|error| AuthError::Refused(error.to_string()))).transpose()
    }

    async fn fetch(&self) -> Result<Keys> {
        let issuer = self.config.issuer.trim_end_matches('/');
        let discovery: Discovery = self.get(&format!("{issuer}/.well-known/openid-configuration")).await?;
        if discovery.issuer != self.config.issuer {
            return Err(Error::ConfigInvalid {
                name: "OIDC_ISSUER",
                value: self.config.issuer.clone(),
                expected: "the issuer that its own discovery document names",
            });
        }
        Ok(Keys { set: self.get(&discovery.jwks_uri).await?, fetched_at: self.clock.now() })
    }

    async fn get<T: serde::de::DeserializeOwned>(&self, url: &str) -> Result<T> {
        let failed = |error: reqwest::Error| Error::service("OpenID discovery", &error);
        let response = self.http.get(url).send().await.and_then(reqwest::Response::error_for_status).map_err(failed)?;
        response.json().await.map_err(failed)
    }
}

/// The token of a handshake: from the `Authorization` header or, for browsers, from the offered subprotocols.
pub fn token_of<'a>(authorization: Option<&'a str>, subprotocols: Option<&'a str>) -> Option<&'a str> {
    let from_header = authorization.and_then(|value| {
        let (scheme, token) = value.trim().split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    from_header.or_else(|| offered(subprotocols).find_map(|name| name.strip_prefix(BEARER_SUBPROTOCOL)))
}

/// The subprotocol to select, if it was offered.
pub fn selected_subprotocol(subprotocols: Option<&str>) -> Option<&'static str> {
    offered(subprotocols).any(|name| name == SUBPROTOCOL).then_some(SUBPROTOCOL)
}

fn offered(subprotocols: Option<&str>) -> impl Iterator<Item = &str> {
    subprotocols.unwrap_or_default().split(',').map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_by_header_or_by_subprotocol() {
        assert_eq!(token_of(Some("Bearer abc"), None), Some("abc"));
        assert_eq!(token_of(Some("bearer  abc "), Some("bearer.other")), Some("abc"));
        assert_eq!(token_of(None, Some("parley.v1, bearer.abc")), Some("abc"));
        assert_eq!(token_of(Some("Basic abc"), Some("parley.v1")), None);
        assert_eq!(token_of(None, None), None);
    }

    #[test]
    fn the_best_name_of_a_token_is_shown() {
        let name = |claims: serde_json::Value| {
            let claims: Claims = serde_json::from_value(claims).expect("claims");
            claims.username()
        };
        let json = |rest: &str| serde_json::from_str(&format!(r#"{{"iss":"i","sub":"s"{rest}}}"#)).expect("JSON");
        assert_eq!(name(json("")), None);
        assert_eq!(name(json(r#","email":"a@b.c""#)).as_deref(), Some("a@b.c"));
        assert_eq!(name(json(r#","email":"a@b.c","name":"","preferred_username":"ann""#)).as_deref(), Some("ann"));
        assert_eq!(name(json(r#","cognito:username":"c","preferred_username":"ann""#)).as_deref(), Some("c"));
        assert_eq!(name(json(r#","username":"u","cognito:username":"c""#)).as_deref(), Some("u"));
    }

    #[test]
    fn only_an_offered_subprotocol_is_selected() {
        assert_eq!(selected_subprotocol(Some("parley.v1, bearer.abc")), Some("parley.v1"));
        assert_eq!(selected_subprotocol(Some("chat")), None);
        assert_eq!(selected_subprotocol(None), None);
    }
}
