//! Forged and expired tokens at the handshake and at the REST API. Both refuse each of them, and the log has no part of
//! it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::KeyPair as _;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use e2e::{Client, Stack, StackOptions};
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

/// The log must not contain this.
const CANARY: &str = "canary-9d1f";

fn part(token: &str, index: usize) -> Value {
    let part = URL_SAFE_NO_PAD.decode(token.split('.').nth(index).expect("a part")).expect("base64");
    serde_json::from_slice(&part).expect("JSON")
}

/// A token with this header and these claims, exactly as they are written, and with a signature.
fn signed(header: &str, claims: &str, key: &EncodingKey, algorithm: Algorithm) -> String {
    let body = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = jsonwebtoken::crypto::sign(body.as_bytes(), key, algorithm).expect("a signature");
    format!("{body}.{signature}")
}

fn unsigned(header: &Value, claims: &Value, signature: &str) -> String {
    let encoded = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
    format!("{}.{}.{signature}", encoded(header), encoded(claims))
}

fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label} KEY-----\n{}\n-----END {label} KEY-----\n", STANDARD.encode(der))
}

fn changed(value: &Value, changes: Value) -> Value {
    let mut value = value.clone();
    for (name, change) in changes.as_object().expect("changes") {
        value[name] = change.clone();
    }
    value
}

/// The issuer's keys, and the parts of a good token.
struct Issuer {
    key: EncodingKey,
    /// Public values that a careless check could use as a secret.
    public: Vec<Vec<u8>>,
    header: Value,
    claims: Value,
    _dir: tempfile::TempDir,
}

impl Issuer {
    async fn of_a_new_stack() -> (Self, Stack) {
        let dir = tempfile::tempdir().expect("a directory");
        let stack = StackOptions::default().data_dir(dir.path()).start().await;
        let good = stack.token(CANARY).await;
        let text = std::fs::read_to_string(dir.path().join("oidc-key.pem")).expect("the issuer's key");
        let body: String = text.lines().filter(|line| !line.starts_with("-----")).collect();
        let pair = KeyPair::from_pkcs8(&STANDARD.decode(body).expect("base64")).expect("an RSA key");
        let der: PublicKeyX509Der<'_> = pair.public_key().as_der().expect("a public key");
        let jwks = stack.get("/_local/oidc/jwks.json").await.json::<Value>().await.expect("JSON");
        let public_pem = pem("PUBLIC", der.as_ref());
        let issuer = Self {
            key: EncodingKey::from_rsa_pem(text.as_bytes()).expect("an RSA key"),
            public: vec![
                public_pem.trim_end().as_bytes().to_vec(),
                public_pem.into_bytes(),
                der.as_ref().to_vec(),
                jwks["keys"][0]["n"].as_str().expect("a modulus").as_bytes().to_vec(),
                jwks["keys"][0].to_string().into_bytes(),
                Vec::new(),
            ],
            header: part(&good, 0),
            claims: part(&good, 1),
            _dir: dir,
        };
        (issuer, stack)
    }

    fn token(&self, header: &Value, claims: &Value) -> String {
        signed(&header.to_string(), &claims.to_string(), &self.key, Algorithm::RS256)
    }

    fn with_claims(&self, changes: Value) -> String {
        self.token(&self.header, &changed(&self.claims, changes))
    }

    fn with_header(&self, changes: Value) -> String {
        self.token(&changed(&self.header, changes), &self.claims)
    }
}

/// The handshake and the REST API refuse this token.
async fn refused(stack: &Stack, what: &str, token: &str) {
    let bearer = format!("Bearer {token}");
    let offered = format!("parley.v1, bearer.{token}");
    for header in [("Authorization", &bearer), ("Sec-WebSocket-Protocol", &offered)] {
        let refused = Client::with_headers(stack, "", &[(header.0, header.1)]).await;
        assert_eq!(refused.err().map(|status| status.as_u16()), Some(401), "{what}, as {}", header.0);
    }
    for path in ["/api/me", "/api/admin/users", "/api/nothing"] {
        let answer = stack.rest_with(token).get(path).await;
        assert_eq!((answer.status, answer.body), (401, json!({ "message": "Unauthorized" })), "{what}, for {path}");
    }
}

/// The log has no part of a token that is longer than 16 characters. Shorter parts may occur by chance.
fn assert_not_logged(stack: &mut Stack, tokens: &[(String, String)]) {
    assert_eq!(stack.stop(), Some(0));
    let log = stack.log();
    assert!(log.contains("Refused a token"), "the log does not say that a token was refused:\n{log}");
    assert!(!log.contains(CANARY), "{log}");
    for (what, token) in tokens {
        let parts = token.split('.').filter(|part| part.len() > 16);
        for part in parts {
            assert!(!log.contains(part), "the log has a part of a token {what}: {part}\n{log}");
        }
    }
}

#[tokio::test]
async fn a_token_that_chooses_how_it_is_checked_is_refused_everywhere_and_not_logged() {
    let (issuer, mut stack) = Issuer::of_a_new_stack().await;
    let (header, claims) = (&issuer.header, &issuer.claims);
    let own = KeyPair::generate(KeySize::Rsa2048).expect("a key");
    let own_der: Pkcs8V1Der<'_> = own.as_der().expect("a private key");
    let own_key = EncodingKey::from_rsa_pem(pem("PRIVATE", own_der.as_ref()).as_bytes()).expect("an RSA key");
    let number = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let own_jwk = json!({
        "kty": "RSA", "use": "sig", "alg": "RS256", "kid": header["kid"],
        "n": number(own.public_key().modulus().big_endian_without_leading_zero()),
        "e": number(own.public_key().exponent().big_endian_without_leading_zero()),
    });
    // This server offers keys, and no token may make anybody ask it.
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let keys = json!({ "keys": [own_jwk] }).to_string();
    let router = axum::Router::new().fallback(move || {
        counted.fetch_add(1, Ordering::SeqCst);
        async { keys }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let elsewhere = format!("http://{}/jwks.json", listener.local_addr().expect("its address"));
    let serving = tokio::spawn(async move { axum::serve(listener, router).await });

    let mut tokens: Vec<(String, String)> = Vec::new();
    let mut add = |what: &str, token: String| tokens.push((what.to_owned(), token));
    for algorithm in ["none", "None", "nOnE", "", CANARY, "RS256 "] {
        for signature in ["", "AAAA"] {
            let header = changed(header, json!({ "alg": algorithm }));
            add(&format!("with alg {algorithm:?}"), unsigned(&header, claims, signature));
        }
    }
    for (algorithm, name) in [(Algorithm::HS256, "HS256"), (Algorithm::HS384, "HS384"), (Algorithm::HS512, "HS512")] {
        for secret in &issuer.public {
            let header = changed(header, json!({ "alg": name })).to_string();
            let secret = EncodingKey::from_secret(secret);
            add("signed with the public key as a secret", signed(&header, &claims.to_string(), &secret, algorithm));
        }
    }
    let with_own = |header: &Value| signed(&header.to_string(), &claims.to_string(), &own_key, Algorithm::RS256);
    add("signed with another key", with_own(header));
    add("that brings its key", with_own(&changed(header, json!({ "jwk": own_jwk }))));
    for name in ["jku", "x5u"] {
        add("that says where its key is", with_own(&changed(header, json!({ name: elsewhere }))));
        add("whose key is an address", with_own(&changed(header, json!({ "kid": elsewhere, name: elsewhere }))));
    }
    for kid in [json!(CANARY), json!(null), json!(7), json!(""), json!("../oidc-key.pem"), json!("' OR 1=1 --")] {
        add(&format!("of the key {kid}"), issuer.with_header(json!({ "kid": kid })));
    }
    for crit in [json!(["exp"]), json!(["b64"]), json!([CANARY]), json!([]), json!(CANARY)] {
        add(&format!("with crit {crit}"), issuer.with_header(json!({ "crit": crit, CANARY: true })));
    }
    add("of two algorithms", {
        let header = header.to_string().replacen('{', r#"{"alg":"none","#, 1);
        signed(&header, &claims.to_string(), &issuer.key, Algorithm::RS256)
    });
    add("with the wrong padding", issuer.with_header(json!({ "alg": "PS256" })));
    add("that is no token", CANARY.repeat(5));
    add("of 16 KB", "x".repeat(16 * 1024));
    add("of 16 KB of dots", ".".repeat(16 * 1024));
    add("of 16 KB, signed by another", with_own(&changed(header, json!({ CANARY: "x".repeat(12 * 1024) }))));
    add("with a deep header", {
        let header = format!("{{\"alg\":\"RS256\",\"kid\":{},\"x\":{}", header["kid"], "[".repeat(4000));
        signed(&header, &claims.to_string(), &issuer.key, Algorithm::RS256)
    });
    for (what, token) in &tokens {
        refused(&stack, what, token).await;
    }
    assert_eq!(asked.load(Ordering::SeqCst), 0, "a token's address was asked for a key");
    serving.abort();
    // The same key is accepted if nothing is wrong with the token.
    Client::with_headers(&stack, "", &[("Authorization", &format!("Bearer {}", issuer.with_claims(json!({}))))])
        .await
        .expect("let in")
        .close()
        .await;
    assert_not_logged(&mut stack, &tokens);
}

#[tokio::test]
async fn a_token_with_wrong_claims_is_refused_everywhere_and_not_logged() {
    let (issuer, mut stack) = Issuer::of_a_new_stack().await;
    let claims = &issuer.claims;
    let (now, client) = (claims["iat"].as_i64().expect("a time"), &claims["client_id"]);
    let iss = claims["iss"].as_str().expect("an issuer");
    let mut tokens: Vec<(String, String)> = Vec::new();
    for changes in [
        json!({ "client_id": CANARY }),
        json!({ "client_id": null }),
        json!({ "client_id": [client] }),
        json!({ "aud": CANARY }),
        json!({ "aud": [CANARY, "another"] }),
        json!({ "aud": [] }),
        json!({ "aud": "" }),
        json!({ "iss": CANARY }),
        json!({ "iss": null }),
        json!({ "iss": format!("{iss}/") }),
        json!({ "iss": [iss] }),
        json!({ "exp": now - 1 }),
        json!({ "exp": 0 }),
        json!({ "exp": -1 }),
        json!({ "exp": null }),
        json!({ "exp": CANARY }),
        json!({ "exp": (now + 600).to_string() }),
        json!({ "exp": true }),
        json!({ "nbf": now + 600 }),
        json!({ "nbf": CANARY }),
    ] {
        tokens.push((format!("with {changes}"), issuer.with_claims(changes)));
    }
    for text in [format!("\"{CANARY}\""), "[]".to_owned(), String::new(), "[".repeat(4000), "null".to_owned()] {
        let token = signed(&issuer.header.to_string(), &text, &issuer.key, Algorithm::RS256);
        tokens.push((format!("whose claims are {}", &text[..text.len().min(20)]), token));
    }
    for (what, token) in &tokens {
        refused(&stack, what, token).await;
    }
    // A token with two subjects gets no place.
    let twice = claims.to_string().replacen('{', r#"{"sub":"somebody-else","#, 1);
    let twice = signed(&issuer.header.to_string(), &twice, &issuer.key, Algorithm::RS256);
    let refused = Client::with_headers(&stack, "", &[("Authorization", &format!("Bearer {twice}"))]).await;
    assert_eq!(refused.err().map(|status| status.as_u16()), Some(401), "two subjects");
    tokens.push(("of two subjects".to_owned(), twice));

    // The handshake and the REST API accept both kinds of token that a user pool issues, and a token that is also for
    // others.
    for changes in
        [json!({}), json!({ "token_use": "id", "client_id": null, "aud": client }), json!({ "aud": [CANARY, client] })]
    {
        let token = issuer.with_claims(changes.clone());
        assert_eq!(stack.rest_with(&token).get("/api/me").await.status, 200, "{changes}");
        let connected = Client::with_headers(&stack, "", &[("Authorization", &format!("Bearer {token}"))]).await;
        connected.unwrap_or_else(|status| panic!("{changes}: {status}")).close().await;
        stack.until("free", |state| state["leases"].as_array().is_some_and(Vec::is_empty)).await;
        tokens.push((format!("with {changes}, which is good"), token));
    }
    assert_not_logged(&mut stack, &tokens);
}
