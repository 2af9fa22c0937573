//! Bearer tokens: JWTs of one OpenID issuer, verified against its published keys.
//!
//! Signature, issuer, audience and expiry decide, and nothing else. The audience may be in `aud` or, as in a user
//! pool's access tokens, in `client_id`; API Gateway's own JWT authorizer accepts both too. Only asymmetric algorithms
//! are accepted. Otherwise a token could have itself checked with a public key as if that were a secret.
//!
//! # The issuer's keys
//!
//! The verifier asks for the keys again every ten minutes, and the issuer may be unreachable just then. A known key
//! stays good for a day after it was fetched: it is used while the verifier asks again, and a connect waits for that no
//! longer than `PATIENCE`. After a day the key is dropped, because the issuer may have withdrawn it. A token waits for
//! the issuer only if its key is not known.
//!
//! There is one request at a time: the task that asks holds `asking`. Tasks that came meanwhile look at the result, and
//! ask again only if the count of tries is still the one that they saw before they waited. The result of a try, also a
//! failure, stands for `REFETCH_AFTER`, so a flood of unknown key ids does not become a flood of requests. While no key
//! is known at all, each token makes a try. `known` is locked only to copy or replace it, never across an await.
//!
//! Lambda freezes a function between invocations, and a background request with it. With the next token the request
//! goes on, or it fails and is made anew. That is why a token waits for it for a moment: on a function that is seldom
//! called, the request would otherwise never end.

#[cfg(test)]
mod tests;

use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use reqwest::redirect::Policy;
use serde::Deserialize;
use tokio::sync::Mutex;

use crate::clock::{Clock, Timestamp};
use crate::config::AuthConfig;
use crate::ids::UserId;
use crate::{Error, Result};

/// The keys are fetched again after this long …
const KEYS_FOR: Duration = Duration::from_secs(600);

/// … or for an unknown key id, but not more often than this. Otherwise a flood of bad tokens would become a flood of
/// requests.
const REFETCH_AFTER: Duration = Duration::from_secs(10);

/// How long a key is used if the issuer can't be asked again.
const STALE_FOR: Duration = Duration::from_secs(24 * 3600);

/// How long a token whose key is known waits for the keys to be asked for again.
const PATIENCE: Duration = Duration::from_millis(300);

/// The time limit of one request to the issuer.
const TIMEOUT: Duration = Duration::from_secs(5);

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

/// The subprotocol that carries a browser's token, and the one that the server selects beside it.
pub const SUBPROTOCOL: &str = "parley.v1";
const BEARER_SUBPROTOCOL: &str = "bearer.";

/// The user of a token.
#[derive(Debug, Clone)]
pub struct Identity {
    pub user: UserId,
    pub username: Option<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// The reason is logged. It is in Parley's own words, so it repeats nothing of the token.
    #[error("The token is refused: {0}")]
    Refused(&'static str),
    /// The token is not at fault: the issuer could not be asked.
    #[error(transparent)]
    Unavailable(#[from] Error),
}

#[derive(Debug)]
pub struct Verifier {
    config: AuthConfig,
    clock: Arc<dyn Clock>,
    issuer: Arc<Issuer>,
}

/// The issuer and its keys.
#[derive(Debug)]
struct Issuer {
    name: String,
    http: Http,
    clock: Arc<dyn Clock>,
    known: RwLock<Known>,
    /// Held by the task that asks the issuer.
    asking: Mutex<()>,
}

/// Clients for addresses without TLS and with it. Each is made when it is first needed, because reading the machine's
/// root certificates is most of what a start takes.
#[derive(Debug, Default)]
struct Http {
    plain: OnceLock<reqwest::Client>,
    tls: OnceLock<reqwest::Client>,
}

impl Http {
    fn for_url(&self, url: &str) -> Result<&reqwest::Client> {
        let is_plain = crate::http::is_plain(url);
        let made = if is_plain { &self.plain } else { &self.tls };
        if let Some(client) = made.get() {
            return Ok(client);
        }
        // Only the issuer itself gives keys, so no redirect is followed.
        let mut client = reqwest::Client::builder().timeout(TIMEOUT).redirect(Policy::none());
        if is_plain {
            client = client.tls_certs_only([]);
        }
        let client = client.build().map_err(|error| Error::service("HTTP client", &error))?;
        Ok(made.get_or_init(|| client))
    }
}

#[derive(Debug, Clone, Default)]
struct Known {
    keys: Option<Arc<Keys>>,
    tries: u64,
    tried_at: Option<Timestamp>,
    /// Why the last try failed.
    failure: Option<Error>,
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
    /// The best name to show, if there is one.
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
        let (name, http) = (config.issuer.clone(), Http::default());
        http.for_url(&name)?;
        let (known, asking) = (RwLock::default(), Mutex::default());
        let issuer = Arc::new(Issuer { name, http, clock: Arc::clone(&clock), known, asking });
        Ok(Self { config, clock, issuer })
    }

    /// Fetches the issuer's keys before the first token comes.
    pub async fn warm_up(&self) -> Result<()> {
        let seen = self.issuer.known();
        self.issuer.ask(seen.tries).await;
        self.issuer.known().failure.map_or(Ok(()), Err)
    }

    pub async fn verify(&self, token: &str) -> Result<Identity, AuthError> {
        let refused = AuthError::Refused;
        let header = jsonwebtoken::decode_header(token).map_err(|error| unreadable(&error))?;
        if !ALGORITHMS.contains(&header.alg) {
            return Err(refused("its signature algorithm is not accepted"));
        }
        // A verifier that does not know a critical extension must refuse the token (RFC 7515, 4.1.11).
        if header.crit.is_some() {
            return Err(refused("it has critical extensions, and none is known here"));
        }
        let key_id = header.kid.ok_or_else(|| refused("it does not say which key signed it"))?;
        let key = self.issuer.key(&key_id).await?.ok_or_else(|| refused("the issuer has no such key"))?;

        let mut validation = Validation::new(header.alg);
        // Expiry and audience are checked below: against the clock that is passed in, and in both places of the
        // audience.
        validation.validate_exp = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        let claims =
            jsonwebtoken::decode::<Claims>(token, &key, &validation).map_err(|error| unreadable(&error))?.claims;

        if claims.iss != self.config.issuer {
            return Err(refused("it comes from another issuer"));
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
        let user = claims.sub.as_deref().ok_or_else(|| refused("it does not say which user it is for"))?;
        let user = UserId::parse(user).map_err(|_| refused("its user id is empty or too long"))?;
        Ok(Identity { user, username: claims.username() })
    }
}

impl Issuer {
    async fn key(self: &Arc<Self>, id: &str) -> Result<Option<DecodingKey>, AuthError> {
        let mut known = self.known();
        if known.key(id, self.clock.now()).is_some() {
            if known.is_due(KEYS_FOR, self.clock.now()) {
                let (issuer, seen) = (Arc::clone(self), known.tries);
                let asked = tokio::spawn(async move { issuer.ask(seen).await });
                // The request goes on when nobody waits for it any more.
                let _ = tokio::time::timeout(PATIENCE, asked).await;
            }
        } else if known.keys.is_none() || known.is_due(REFETCH_AFTER, self.clock.now()) {
            self.ask(known.tries).await;
        }
        known = self.known();
        let now = self.clock.now();
        match (known.key(id, now), known.failure) {
            (Some(key), _) => key.map(Some),
            // Nobody knows whether the issuer has this key.
            (None, Some(failure)) => Err(failure.into()),
            (None, None) => Ok(None),
        }
    }

    /// Asks for the keys, unless another task has asked since the caller saw `seen` tries.
    async fn ask(&self, seen: u64) {
        let _alone = self.asking.lock().await;
        if self.known().tries != seen {
            return;
        }
        let fetched = self.fetch().await;
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.tries += 1;
        known.tried_at = Some(self.clock.now());
        known.failure = None;
        match fetched {
            Ok(keys) => known.keys = Some(Arc::new(keys)),
            Err(error) => {
                tracing::warn!("The issuer's keys can't be fetched; the known keys stay in use: {error}");
                known.failure = Some(error);
            }
        }
    }

    fn known(&self) -> Known {
        self.known.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn fetch(&self) -> Result<Keys> {
        let issuer = self.name.trim_end_matches('/');
        let discovery: Discovery = self.get(&format!("{issuer}/.well-known/openid-configuration")).await?;
        if discovery.issuer != self.name {
            return Err(Error::ConfigInvalid {
                name: "OIDC_ISSUER",
                value: self.name.clone(),
                expected: "the issuer that its own discovery document names",
            });
        }
        Ok(Keys { set: self.get(&discovery.jwks_uri).await?, fetched_at: self.clock.now() })
    }

    async fn get<T: serde::de::DeserializeOwned>(&self, url: &str) -> Result<T> {
        let operation = "OpenID discovery";
        let failed = |error: reqwest::Error| Error::service(operation, &error);
        let response = self.http.for_url(url)?.get(url).send().await.map_err(failed)?;
        let status = response.status();
        if !status.is_success() {
            return Err(Error::Service { operation, detail: format!("{url} answered {status}") });
        }
        response.json().await.map_err(failed)
    }
}

impl Known {
    /// The key of this id, if it is not too old to use.
    fn key(&self, id: &str, now: Timestamp) -> Option<Result<DecodingKey, AuthError>> {
        let keys = self.keys.as_ref().filter(|keys| now.since(keys.fetched_at) < STALE_FOR)?;
        let key = DecodingKey::from_jwk(keys.set.find(id)?);
        Some(key.map_err(|_| AuthError::Refused("the issuer's key of this id can't be used")))
    }

    /// Whether the keys are at least as old as `age`, and nobody has just asked for them.
    fn is_due(&self, age: Duration, now: Timestamp) -> bool {
        let fetched = self.keys.as_ref().is_none_or(|keys| now.since(keys.fetched_at) >= age);
        fetched && self.tried_at.is_none_or(|tried_at| now.since(tried_at) >= REFETCH_AFTER)
    }
}

/// Why a token can't be read. The library's own words repeat parts of the token.
fn unreadable(error: &jsonwebtoken::errors::Error) -> AuthError {
    AuthError::Refused(match error.kind() {
        ErrorKind::InvalidSignature => "its signature is not the issuer's",
        ErrorKind::InvalidAlgorithm | ErrorKind::UnsupportedAlgorithm => "its algorithm is not its key's",
        ErrorKind::Json(_) => "its header or its claims can't be read",
        _ => "it is no JWT",
    })
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
