//! JWT authorizers: checks that a request's token comes from the issuer, is for this API, is valid now, and has a scope
//! that the route requires.
//!
//! AWS's rules: only RSA signatures are accepted. `kid` must name a key of the issuer. `iss` must be the configured
//! issuer. `aud` must be one of the audience, or `client_id` if there is no `aud`. `exp`, `nbf` and `iat` are compared
//! with the clock. `scope` or `scp` must contain one of the route's scopes.
//!
//! Unconfirmed: that the clock has no leeway; the wording of `error_description` except for the audience; that a token
//! without `exp` is refused, and one with `crit`; that an unreachable issuer also gives 401; whether PSS signatures
//! count as RSA. Here they do not, so that a token which works here also works on AWS.

use axum::body::Body;
use axum::response::Response;
use http::header::WWW_AUTHENTICATE;
use http::{HeaderValue, StatusCode, request};
use jsonwebtoken::{Algorithm, Validation};
use serde_json::{Map, Value, json};

use super::keys::Keys;
use crate::clock::now_ms;
use samovar_template::{self as template, IdentitySource};

const ALGORITHMS: [Algorithm; 3] = [Algorithm::RS256, Algorithm::RS384, Algorithm::RS512];

/// The reason why a token is refused that was valid once.
pub(crate) const EXPIRED: &str = "the token has expired";

/// An authorizer with its issuer's keys.
#[derive(Debug)]
pub(crate) struct JwtAuthorizer {
    spec: template::JwtAuthorizer,
    pub(super) keys: Keys,
}

/// The claims of a token that was let in.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Claims {
    claims: Map<String, Value>,
    /// The token's scopes; `None` if the route requires none.
    scopes: Option<Vec<String>>,
}

/// The reason why a request is refused, and the scopes that its route requires.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TokenRefused {
    why: Why,
    scopes: Vec<String>,
}

#[derive(Debug, PartialEq, Eq)]
enum Why {
    NoToken,
    Invalid(String),
    Scope,
}

impl JwtAuthorizer {
    pub(crate) fn new(spec: &template::JwtAuthorizer) -> Self {
        Self { keys: Keys::of(&spec.issuer), spec: spec.clone() }
    }

    pub(crate) async fn authorize(&self, request: &request::Parts, scopes: &[String]) -> Result<Claims, TokenRefused> {
        let refused = |why| TokenRefused { why, scopes: scopes.to_vec() };
        let token = self.token(request).ok_or_else(|| refused(Why::NoToken))?;
        let claims = self.verify(&token, Some(&self.spec.audience)).await.map_err(|why| refused(Why::Invalid(why)))?;
        if scopes.is_empty() {
            return Ok(Claims { claims, scopes: None });
        }
        let own = scopes_of(&claims);
        if !own.iter().any(|own| scopes.contains(own)) {
            return Err(refused(Why::Scope));
        }
        Ok(Claims { claims, scopes: Some(own) })
    }

    /// The token from the identity source, which contains it alone or after `Bearer`.
    fn token(&self, request: &request::Parts) -> Option<String> {
        let value = match &self.spec.identity_source {
            IdentitySource::Header(name) => request.headers.get(name)?.to_str().ok()?.to_owned(),
            IdentitySource::QueryString(name) => {
                crate::uri::query(request.uri.query()).into_iter().find(|(key, _)| key == name)?.1
            }
            IdentitySource::StageVariable(_) | IdentitySource::Context(_) => return None, // not for JWT authorizers
        };
        let bare = value.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        let token = bare.map_or(value.as_str(), |(_, token)| token).trim();
        (!token.is_empty()).then(|| token.to_owned())
    }

    /// The claims of a token of the issuer that is valid now, for whomever it is.
    ///
    /// # Errors
    /// Why it is not; [`EXPIRED`] for one that was valid.
    pub(crate) async fn claims(&self, token: &str) -> Result<Map<String, Value>, String> {
        self.verify(token, None).await
    }

    async fn verify(&self, token: &str, audience: Option<&[String]>) -> Result<Map<String, Value>, String> {
        let header =
            jsonwebtoken::decode_header(token).map_err(|error| format!("the token cannot be read: {error}"))?;
        // Checked before the key is looked up, so that a token cannot have itself verified with a public key as a
        // shared secret.
        if !ALGORITHMS.contains(&header.alg) {
            return Err(format!("signing method {:?} is invalid", header.alg));
        }
        // A verifier that does not know a critical extension must refuse the token (RFC 7515, 4.1.11).
        if header.crit.is_some() {
            return Err("the token has critical extensions".to_owned());
        }
        let key_id = header.kid.ok_or("the token names no key")?;
        let key = self.keys.get(&key_id).await?.ok_or("the issuer has no such key")?;
        let mut validation = Validation::new(header.alg);
        // Only the signature is verified here. The claims are checked below, in API Gateway's way.
        validation.validate_exp = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        let decoded = jsonwebtoken::decode::<Map<String, Value>>(token, &key, &validation);
        let claims = decoded.map_err(|error| format!("the token is not valid: {error}"))?.claims;
        self.check(&claims, audience)?;
        Ok(claims)
    }

    fn check(&self, claims: &Map<String, Value>, wanted: Option<&[String]>) -> Result<(), &'static str> {
        if claims.get("iss").and_then(Value::as_str) != Some(self.spec.issuer.as_str()) {
            return Err("the token does not have a valid issuer");
        }
        let audience = claims
            .get("aud")
            .filter(|aud| !aud.is_null())
            .or_else(|| claims.get("client_id").filter(|id| id.is_string()));
        if let Some(wanted) = wanted
            && !audience.is_some_and(|claimed| texts(claimed).iter().any(|one| wanted.contains(one)))
        {
            return Err("the token does not have a valid audience");
        }
        #[allow(clippy::cast_precision_loss, reason = "milliseconds since 1970 fit")]
        let now = now_ms() as f64 / 1000.0;
        let time = |name: &str| match claims.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => value.as_f64().map(Some).ok_or("the token has a time that is not a number"),
        };
        if time("exp")?.is_none_or(|exp| exp <= now) {
            return Err(EXPIRED);
        }
        if time("nbf")?.is_some_and(|nbf| nbf > now) || time("iat")?.is_some_and(|iat| iat > now) {
            return Err("the token is not valid yet");
        }
        Ok(())
    }
}

impl Claims {
    /// The claims and the scopes, as events have them. All claims are text, lists in the form that Go prints. Claims
    /// that are null are left out.
    pub(crate) fn context(&self) -> Value {
        let written = self.claims.iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| {
            let text = match value {
                Value::Array(items) => format!("[{}]", items.iter().map(text).collect::<Vec<_>>().join(" ")),
                other => text(other),
            };
            (name.clone(), Value::String(text))
        });
        json!({ "claims": written.collect::<Map<_, _>>(), "scopes": self.scopes })
    }
}

impl TokenRefused {
    pub(crate) fn response(&self) -> Response {
        let scopes = self.scopes.join(" ");
        let (status, message, challenge) = match &self.why {
            Why::NoToken => (StatusCode::UNAUTHORIZED, "Unauthorized", "Bearer".to_owned()),
            Why::Invalid(why) => {
                tracing::debug!("A token was refused: {why}");
                let why = why.replace(['"', '\\'], "'");
                let challenge =
                    format!("Bearer scope=\"{scopes}\" error=\"invalid_token\" error_description=\"{why}\"");
                (StatusCode::UNAUTHORIZED, "Unauthorized", challenge)
            }
            Why::Scope => {
                // Unconfirmed: the challenge. Status and body are as users see them.
                let challenge = format!("Bearer scope=\"{scopes}\" error=\"insufficient_scope\"");
                (StatusCode::FORBIDDEN, "Forbidden", challenge)
            }
        };
        // There is no content type, as in AWS's examples.
        let mut response = Response::new(Body::from(json!({ "message": message }).to_string()));
        *response.status_mut() = status;
        let challenge = HeaderValue::from_str(&challenge).unwrap_or(HeaderValue::from_static("Bearer"));
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        response
    }
}

pub(crate) fn scopes_of(claims: &Map<String, Value>) -> Vec<String> {
    let claimed = ["scope", "scp"].iter().find_map(|name| claims.get(*name)).map(texts).unwrap_or_default();
    claimed.iter().flat_map(|text| text.split_whitespace()).map(str::to_owned).collect()
}

/// One text, or the texts of a list.
fn texts(value: &Value) -> Vec<String> {
    let all = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
    all.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// A text as it is, any other value as JSON.
pub(crate) fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
