//! The local OpenID issuer, which stands in for every user pool of the template. It signs with RS256, because API
//! Gateway's JWT authorizers accept that. It gives a token to anyone who asks, and exists on this machine only.
//!
//! The key is kept in the data directory, so that a token outlives a restart.

use std::path::Path;

use anyhow::{Context as _, Result};
use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::KeyPair as _;
use axum::Json;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::StatusCode;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use std::sync::Arc;

use crate::clock::now_ms;

const TOKEN_SECONDS: i64 = 3600;
const MAX_USERNAME_CHARS: usize = 64;
const MAX_GROUP_CHARS: usize = 128;
const KEY_FILE: &str = "oidc-key.pem";
const PEM_BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const PEM_END: &str = "-----END PRIVATE KEY-----";

/// User ids are derived from user names in this namespace. So the same name is the same user, also after a restart.
const USERS: uuid::Uuid = uuid::uuid!("4ba6dd54-1f3a-4e6c-9a40-3f2f8e6f7a10");

pub(crate) struct Issuer {
    url: String,
    client_id: String,
    key_id: String,
    signing: EncodingKey,
    jwks: Value,
}

impl std::fmt::Debug for Issuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issuer").field("url", &self.url).field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

impl Issuer {
    /// Tokens are issued for `client_id`. Without a data directory the key lives as long as the process.
    pub(crate) fn open(url: &str, client_id: &str, data_dir: Option<&Path>) -> Result<Self> {
        let path = data_dir.map(|dir| dir.join(KEY_FILE));
        let pem = match &path {
            Some(path) if path.exists() => {
                std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?
            }
            _ => {
                let pair = KeyPair::generate(KeySize::Rsa2048).context("No RSA key could be generated")?;
                let der: Pkcs8V1Der<'_> = pair.as_der().context("The RSA key could not be encoded")?;
                let pem = to_pem(der.as_ref());
                if let Some(path) = &path {
                    write_private(path, pem.as_bytes())
                        .with_context(|| format!("{} cannot be written", path.display()))?;
                }
                pem
            }
        };
        let pair = from_pem(&pem).and_then(|pkcs8| KeyPair::from_pkcs8(&pkcs8).ok());
        let pair = pair.with_context(|| {
            format!(
                "{KEY_FILE} in the data directory is not a PKCS #8 RSA key in PEM: delete the file, \
                     and a new key will be created"
            )
        })?;
        let public = pair.public_key();
        let number = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let modulus = number(public.modulus().big_endian_without_leading_zero());
        let exponent = number(public.exponent().big_endian_without_leading_zero());
        let der = public.as_ref();
        let key_id = URL_SAFE_NO_PAD.encode(&aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, der).as_ref()[..12]);
        let jwk = json!({ "kty": "RSA", "use": "sig", "alg": "RS256", "kid": key_id, "n": modulus, "e": exponent });
        let signing = EncodingKey::from_rsa_pem(pem.as_bytes()).context("The RSA key cannot sign tokens")?;
        Ok(Self {
            url: url.to_owned(),
            client_id: client_id.to_owned(),
            key_id,
            signing,
            jwks: json!({ "keys": [jwk] }),
        })
    }

    /// An access token with the claims of a user pool. A user without groups has no claim of groups.
    pub(crate) fn token(&self, username: &str, groups: &[String]) -> Result<String> {
        let own = json!({
            "client_id": self.client_id,
            "token_use": "access",
            "scope": "openid",
            "username": username,
        });
        self.signed(own, username, groups)
    }

    /// An ID token with the claims of a user pool.
    pub(crate) fn id_token(&self, username: &str, groups: &[String]) -> Result<String> {
        let own = json!({ "aud": self.client_id, "token_use": "id", "cognito:username": username });
        self.signed(own, username, groups)
    }

    fn signed(&self, mut claims: Value, username: &str, groups: &[String]) -> Result<String> {
        let now = now_ms() / 1000;
        let of_every_token = json!({
            "iss": self.url,
            "sub": uuid::Uuid::new_v5(&USERS, username.as_bytes()).to_string(),
            "iat": now,
            "auth_time": now,
            "exp": now + TOKEN_SECONDS,
            "jti": crate::ids::gateway_id(),
        });
        for (name, value) in of_every_token.as_object().into_iter().flatten() {
            claims[name] = value.clone();
        }
        if !groups.is_empty() {
            claims["cognito:groups"] = groups.into();
        }
        let header = Header { kid: Some(self.key_id.clone()), ..Header::new(Algorithm::RS256) };
        jsonwebtoken::encode(&header, &claims, &self.signing).context("The token could not be signed")
    }

    /// An ID token that was valid a day ago.
    #[cfg(test)]
    pub(crate) fn expired_id_token(&self, username: &str) -> String {
        let header = Header { kid: Some(self.key_id.clone()), ..Header::new(Algorithm::RS256) };
        let exp = now_ms() / 1000 - 24 * 60 * 60;
        let claims = json!({ "iss": self.url, "token_use": "id", "cognito:username": username, "exp": exp });
        jsonwebtoken::encode(&header, &claims, &self.signing).expect("a token")
    }

    /// `/_local/oidc/…` and `/_local/token`.
    pub(crate) fn router(self: Arc<Self>) -> Router {
        Router::new()
            .route("/_local/oidc/.well-known/openid-configuration", get(discovery))
            .route("/_local/oidc/jwks.json", get(jwks))
            .route("/_local/token", post(issue))
            .with_state(self)
    }
}

async fn discovery(State(issuer): State<Arc<Issuer>>) -> Json<Value> {
    let url = &issuer.url;
    Json(json!({
        "issuer": url,
        "jwks_uri": format!("{url}/jwks.json"),
        "token_endpoint": format!("{}/token", url.trim_end_matches("/oidc")),
        "response_types_supported": ["token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
    }))
}

async fn jwks(State(issuer): State<Arc<Issuer>>) -> Json<Value> {
    Json(issuer.jwks.clone())
}

async fn issue(State(issuer): State<Arc<Issuer>>, body: Bytes) -> Response {
    let refuse = |detail: &str| {
        let problem = json!({ "title": "Bad Request", "status": 400, "detail": detail });
        (StatusCode::BAD_REQUEST, [("content-type", "application/problem+json")], problem.to_string()).into_response()
    };
    let Ok(Value::Object(request)) = serde_json::from_slice(&body) else {
        return refuse(r#"The body must be a JSON object such as {"username":"alice"}"#);
    };
    let Some(username) = request.get("username").and_then(Value::as_str) else {
        return refuse("username is missing or not a string");
    };
    if !(1..=MAX_USERNAME_CHARS).contains(&username.chars().count()) {
        return refuse("username must have 1 to 64 characters");
    }
    let Some(groups) = groups(request.get("groups")) else {
        return refuse("groups must be a list of names of 1 to 128 characters without spaces, such as [\"admin\"]");
    };
    match issuer.token(username, &groups).and_then(|token| Ok((token, issuer.id_token(username, &groups)?))) {
        Ok((token, id_token)) => Json(json!({
            "accessToken": token,
            "idToken": id_token,
            "tokenType": "Bearer",
            "expiresIn": TOKEN_SECONDS,
        }))
        .into_response(),
        Err(error) => {
            tracing::error!("{error:#}");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// The groups in a request, or `None` if they are not valid names. API Gateway passes a list of claims to functions
/// with spaces between its items, so a name must not contain any.
fn groups(value: Option<&Value>) -> Option<Vec<String>> {
    let Some(value) = value else { return Some(Vec::new()) };
    let is_name = |name: &&str| {
        (1..=MAX_GROUP_CHARS).contains(&name.chars().count())
            && !name.chars().any(|char| char.is_whitespace() || char.is_control())
    };
    value.as_array()?.iter().map(|name| name.as_str().filter(is_name).map(str::to_owned)).collect()
}

/// Writes a file that only its owner can read.
fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    path.parent().map_or(Ok(()), |folder| std::fs::File::open(folder)?.sync_all())
}

/// The key in PEM, so that other tools can read it.
fn to_pem(pkcs8: &[u8]) -> String {
    format!("{PEM_BEGIN}\n{}\n{PEM_END}\n", STANDARD.encode(pkcs8))
}

fn from_pem(pem: &str) -> Option<Vec<u8>> {
    let body = pem.trim().strip_prefix(PEM_BEGIN)?.strip_suffix(PEM_END)?;
    STANDARD.decode(body.split_whitespace().collect::<String>()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_and_the_user_ids_survive_a_restart() {
        let dir = tempfile::tempdir().expect("a directory");
        let open = || Issuer::open("http://127.0.0.1:1/_local/oidc", "client", Some(dir.path())).expect("an issuer");
        let (first, second) = (open(), open());
        assert_eq!(first.jwks, second.jwks);
        let sub = |issuer: &Issuer| claims(&issuer.token("alice", &[]).expect("a token"))["sub"].clone();
        assert_eq!(sub(&first), sub(&second));
    }

    #[tokio::test]
    async fn groups_that_are_asked_for_are_a_claim() {
        let issuer = issuer();
        let asked = |body: &'static str| issue(State(Arc::clone(&issuer)), Bytes::from_static(body.as_bytes()));
        let response = asked(r#"{"username":"alice","groups":["admin","other"]}"#).await;
        let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.expect("a body");
        let token: Value = serde_json::from_slice(&body).expect("JSON");
        let with_groups = claims(token["accessToken"].as_str().expect("a token"));
        assert_eq!(with_groups["cognito:groups"], json!(["admin", "other"]));
        assert_eq!(with_groups["username"], "alice");

        let without = claims(&issuer.token("alice", &[]).expect("a token"));
        assert_eq!((&without["sub"], without.get("cognito:groups")), (&with_groups["sub"], None));
        assert_eq!(asked(r#"{"username":"alice","groups":[]}"#).await.status(), StatusCode::OK);
    }

    #[tokio::test]
    async fn groups_that_are_not_names_are_refused() {
        let long = "x".repeat(MAX_GROUP_CHARS + 1);
        for groups in
            [json!("admin"), json!(null), json!([1]), json!([""]), json!(["a b"]), json!(["a\n"]), json!([long])]
        {
            let body = json!({ "username": "alice", "groups": groups }).to_string();
            let response = issue(State(issuer()), body.into()).await;
            assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{groups}");
            assert_eq!(response.headers()["content-type"], "application/problem+json");
            let problem = axum::body::to_bytes(response.into_body(), usize::MAX).await.expect("a body");
            assert!(String::from_utf8_lossy(&problem).contains("groups must be"), "{problem:?}");
        }
        let longest = "x".repeat(MAX_GROUP_CHARS);
        assert_eq!(groups(Some(&json!([longest]))), Some(vec![longest]));
    }

    fn issuer() -> Arc<Issuer> {
        Arc::new(Issuer::open("http://127.0.0.1:1/_local/oidc", "client", None).expect("an issuer"))
    }

    fn claims(token: &str) -> Value {
        let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).expect("claims")).expect("base64");
        serde_json::from_slice(&claims).expect("JSON")
    }

    #[test]
    fn a_broken_key_file_is_named() {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join(KEY_FILE), b"nonsense").expect("written");
        let error = Issuer::open("http://127.0.0.1:1", "client", Some(dir.path())).expect_err("nonsense");
        assert!(error.to_string().contains(KEY_FILE), "{error}");
    }
}
