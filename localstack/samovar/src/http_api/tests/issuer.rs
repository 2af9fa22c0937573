//! An OpenID issuer with keys of its own, which counts how often it is asked, and tokens of every kind.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::KeyPair as _;
use axum::routing::get;
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::AUDIENCE;
use crate::clock::now_ms;

/// A key pair; generating takes a moment, so all tests share two.
pub(super) struct Key {
    private: EncodingKey,
    modulus: String,
    exponent: String,
    pub(super) public_pem: String,
}

pub(super) static KEY: LazyLock<Key> = LazyLock::new(Key::generate);
pub(super) static OTHER_KEY: LazyLock<Key> = LazyLock::new(Key::generate);

impl Key {
    fn generate() -> Self {
        let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let der: Pkcs8V1Der<'_> = pair.as_der().unwrap();
        let pem = |what: &str, der: &[u8]| {
            format!("-----BEGIN {what} KEY-----\n{}\n-----END {what} KEY-----\n", STANDARD.encode(der))
        };
        let public = pair.public_key();
        Self {
            private: EncodingKey::from_rsa_pem(pem("PRIVATE", der.as_ref()).as_bytes()).unwrap(),
            modulus: URL_SAFE_NO_PAD.encode(public.modulus().big_endian_without_leading_zero()),
            exponent: URL_SAFE_NO_PAD.encode(public.exponent().big_endian_without_leading_zero()),
            public_pem: pem("PUBLIC", public.as_der().unwrap().as_ref()),
        }
    }

    pub(super) fn jwk(&self, id: &str) -> Value {
        json!({ "kty": "RSA", "use": "sig", "kid": id, "n": self.modulus, "e": self.exponent })
    }

    pub(super) fn sign(&self, algorithm: Algorithm, id: Option<&str>, claims: &Value) -> String {
        let header = Header { kid: id.map(str::to_owned), ..Header::new(algorithm) };
        jsonwebtoken::encode(&header, claims, &self.private).unwrap()
    }

    /// A good token with another header.
    pub(super) fn sign_with(&self, claims: &Value, change: impl FnOnce(&mut Header)) -> String {
        let mut header = Header { kid: Some("a".to_owned()), ..Header::new(Algorithm::RS256) };
        change(&mut header);
        jsonwebtoken::encode(&header, claims, &self.private).unwrap()
    }
}

/// A running issuer whose key `a` is [`KEY`].
pub(super) struct Issuer {
    pub(super) url: String,
    pub(super) keys: Arc<Mutex<Value>>,
    pub(super) discoveries: Arc<AtomicUsize>,
    _stop_at_the_end: DropGuard,
}

impl Issuer {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/pool", listener.local_addr().unwrap());
        let keys = Arc::new(Mutex::new(json!({ "keys": [KEY.jwk("a")] })));
        let discoveries = Arc::new(AtomicUsize::new(0));
        let discovery = json!({ "issuer": url, "jwks_uri": format!("{url}/jwks.json") });
        let (count, published) = (Arc::clone(&discoveries), Arc::clone(&keys));
        let discover = move || {
            count.fetch_add(1, Ordering::SeqCst);
            let discovery = discovery.clone();
            async move { Json(discovery) }
        };
        let jwks = move || {
            let keys = published.lock().unwrap().clone();
            async move { Json(keys) }
        };
        let router = Router::new()
            .route("/pool/.well-known/openid-configuration", get(discover))
            .route("/pool/jwks.json", get(jwks));
        let stop = CancellationToken::new();
        tokio::spawn(crate::server::serve(listener, router, None, stop.clone()));
        Self { url, keys, discoveries, _stop_at_the_end: stop.drop_guard() }
    }

    pub(super) fn asked(&self) -> usize {
        self.discoveries.load(Ordering::SeqCst)
    }

    /// Claims that are let in, changed: null takes one away.
    pub(super) fn claims(&self, changes: Value) -> Value {
        let now = now_ms() / 1000;
        let mut claims = Map::from_iter([
            ("iss".to_owned(), json!(self.url)),
            ("aud".to_owned(), json!(AUDIENCE)),
            ("sub".to_owned(), json!("user-1")),
            ("iat".to_owned(), json!(now)),
            ("exp".to_owned(), json!(now + 600)),
        ]);
        let Value::Object(changes) = changes else { panic!("Not a map of claims") };
        for (name, value) in changes {
            if value.is_null() { drop(claims.remove(&name)) } else { drop(claims.insert(name, value)) }
        }
        claims.into()
    }

    pub(super) fn token(&self, changes: Value) -> String {
        KEY.sign(Algorithm::RS256, Some("a"), &self.claims(changes))
    }
}

/// A token whose header and signature are whatever one likes.
pub(super) fn forged(header: &Value, claims: &Value, signature: &str) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.{signature}", part(header), part(claims))
}
