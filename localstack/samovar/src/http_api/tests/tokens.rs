//! Tokens that do not get in, and why.

use jsonwebtoken::{Algorithm, EncodingKey, Header};

use super::issuer::{KEY, OTHER_KEY, forged};
use super::*;
use crate::clock::now_ms;

/// Asserts that the token is refused, for a reason that says this.
async fn assert_refused(bench: &Bench, token: &str, why: &str) {
    let answer = bench.get_with("/me", token).await;
    answer.assert_refused(401, "Unauthorized");
    let challenge = answer.header("www-authenticate").unwrap();
    let prefix = r#"Bearer scope="" error="invalid_token" error_description=""#;
    assert!(challenge.starts_with(prefix) && challenge.contains(why), "{why}: {challenge}");
    assert_eq!(bench.functions.count("me"), 0);
}

#[tokio::test]
async fn tokens_of_others_or_out_of_time_are_refused() {
    let issuer = Issuer::start().await;
    let bench = Bench::guarded(&issuer, &[]).await;
    let now = now_ms() / 1000;
    for (changes, why) in [
        (json!({ "iss": "https://id.example" }), "issuer"),
        (json!({ "iss": format!("{}/", issuer.url) }), "issuer"),
        (json!({ "iss": null }), "issuer"),
        (json!({ "aud": "theirs" }), "the token does not have a valid audience"),
        (json!({ "aud": ["theirs", "others"] }), "the token does not have a valid audience"),
        (json!({ "aud": [] }), "the token does not have a valid audience"),
        (json!({ "aud": null }), "the token does not have a valid audience"),
        (json!({ "aud": null, "client_id": "theirs" }), "the token does not have a valid audience"),
        // With an aud, client_id does not count.
        (json!({ "aud": "theirs", "client_id": AUDIENCE }), "the token does not have a valid audience"),
        (json!({ "exp": now - 1 }), "the token has expired"),
        (json!({ "exp": null }), "the token has expired"),
        (json!({ "exp": "tomorrow" }), "no number"),
        (json!({ "nbf": now + 600 }), "not valid yet"),
        (json!({ "iat": now + 600 }), "not valid yet"),
    ] {
        assert_refused(&bench, &issuer.token(changes), why).await;
    }
}

#[tokio::test]
async fn a_signature_that_is_not_the_issuers_is_refused() {
    let issuer = Issuer::start().await;
    let bench = Bench::guarded(&issuer, &[]).await;
    let claims = issuer.claims(json!({}));
    assert_refused(&bench, &OTHER_KEY.sign(Algorithm::RS256, Some("a"), &claims), "not valid").await;
    let good = issuer.token(json!({}));
    let (signed, signature) = good.rsplit_once('.').unwrap();
    assert_refused(&bench, &format!("{signed}."), "not valid").await;
    let others = forged(&json!({ "alg": "RS256", "kid": "a" }), &issuer.claims(json!({ "sub": "admin" })), signature);
    assert_refused(&bench, &others, "not valid").await;
}

#[tokio::test]
async fn a_token_cannot_choose_how_it_is_checked() {
    let issuer = Issuer::start().await;
    let bench = Bench::guarded(&issuer, &[]).await;
    let claims = issuer.claims(json!({}));
    for algorithm in ["none", "None", "NONE", ""] {
        assert_refused(&bench, &forged(&json!({ "alg": algorithm, "kid": "a" }), &claims, ""), "read").await;
    }
    // The public key, which everybody has, as if it were a secret.
    let header = Header { kid: Some("a".into()), ..Header::new(Algorithm::HS256) };
    let modulus = KEY.jwk("a")["n"].as_str().unwrap().to_owned();
    for secret in [&KEY.public_pem, &modulus] {
        let secret = EncodingKey::from_secret(secret.as_bytes());
        assert_refused(&bench, &jsonwebtoken::encode(&header, &claims, &secret).unwrap(), "HS256").await;
    }
    // Asymmetric, but nothing that API Gateway takes.
    assert_refused(&bench, &KEY.sign(Algorithm::PS256, Some("a"), &claims), "PS256").await;
    assert_eq!(issuer.asked(), 0, "no key was looked for");
    for algorithm in [Algorithm::RS384, Algorithm::RS512] {
        assert_eq!(bench.get_with("/me", &KEY.sign(algorithm, Some("a"), &claims)).await.status, 200);
    }
}

#[tokio::test]
async fn what_is_no_token_is_refused() {
    let issuer = Issuer::start().await;
    let bench = Bench::guarded(&issuer, &[]).await;
    for nonsense in ["x", "a.b.c", "....", "Bearer", "\"quoted\"", &"a".repeat(4000)] {
        assert_refused(&bench, nonsense, "").await;
    }
    assert_refused(&bench, &KEY.sign(Algorithm::RS256, None, &issuer.claims(json!({}))), "no key").await;
}
