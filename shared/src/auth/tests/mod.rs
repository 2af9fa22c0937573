//! The issuer's keys while it is away, where a token comes from, and how a user is called; in [`hostile`], tokens that
//! somebody made up.

mod hostile;

use jsonwebtoken::{EncodingKey, Header};
use serde_json::json;

use super::*;
use crate::clock::ManualClock;
use crate::testing::START;
use crate::testing::endpoint::{Endpoint, Step, status};

/// A key that signs for these tests and nothing else.
const KEY: &str = "-----BEGIN PRIVATE KEY-----\n\
                   MC4CAQAwBQYDK2VwBCIEIAEkCDe7sXMrC9FkhIqebcFMnVu/UamxhaO5dBIpORaE\n\
                   -----END PRIVATE KEY-----\n";
const DAY: Duration = STALE_FOR;

fn token(issuer: &str, key: &str) -> String {
    let header = Header { kid: Some(key.to_owned()), ..Header::new(Algorithm::EdDSA) };
    let claims = json!({ "iss": issuer, "sub": "ann", "aud": "parley", "exp": START.plus(DAY * 9).0 / 1000 });
    let key = EncodingKey::from_ed_pem(KEY.as_bytes()).expect("a key");
    jsonwebtoken::encode(&header, &claims, &key).expect("a token")
}

/// An issuer that answers once, and then does this with every request.
fn issuer(afterwards: Vec<Step>) -> (Endpoint, Arc<ManualClock>, Arc<Verifier>) {
    let endpoint = Endpoint::with_url(|url| {
        let discovery = json!({ "issuer": url, "jwks_uri": format!("{url}/keys") });
        let key = json!({
            "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "kid": "k",
            "x": "PqJ4_eNApFchBRiSjZGHLzDYXnc2d1JPsEJEbqkN6o0",
        });
        let keys = json!({ "keys": [key] });
        vec![status("200 OK", "", &discovery.to_string()), status("200 OK", "", &keys.to_string()), afterwards]
    });
    let clock = Arc::new(ManualClock::at(START));
    let config = AuthConfig { issuer: endpoint.url.clone(), audience: "parley".to_owned() };
    let verifier = Arc::new(Verifier::new(config, clock.clone()).expect("a verifier"));
    (endpoint, clock, verifier)
}

#[tokio::test]
async fn known_keys_are_served_for_a_day_while_the_issuer_is_away() {
    for away in [vec![Step::Hang], status("503 Service Unavailable", "", ""), vec![]] {
        let (endpoint, clock, verifier) = issuer(away);
        let good = token(&endpoint.url, "k");
        verifier.warm_up().await.expect("keys");
        clock.advance(KEYS_FOR);
        assert_eq!(verifier.verify(&good).await.expect("a good token").user.as_str(), "ann");
        clock.advance(DAY - KEYS_FOR - REFETCH_AFTER);
        verifier.verify(&good).await.expect("a good token, to the end of the day");
    }
}

#[tokio::test]
async fn after_a_day_nobody_is_let_in_by_a_key_that_the_issuer_does_not_confirm() {
    let (endpoint, clock, verifier) = issuer(status("503 Service Unavailable", "", ""));
    verifier.warm_up().await.expect("keys");
    clock.advance(DAY);
    let refused = verifier.verify(&token(&endpoint.url, "k")).await;
    assert!(matches!(refused, Err(AuthError::Unavailable(_))), "{refused:?}");
}

#[tokio::test]
async fn an_issuer_that_does_not_answer_is_asked_by_one_request_at_a_time() {
    let (endpoint, clock, verifier) = issuer(vec![Step::Hang]);
    verifier.warm_up().await.expect("keys");
    clock.advance(KEYS_FOR);
    let good = token(&endpoint.url, "k");
    let verified = (0..20).map(|_| verifier.verify(&good));
    futures_util::future::try_join_all(verified).await.expect("good tokens");
    verifier.verify(&good).await.expect("a good token");
    assert_eq!(endpoint.requests().len(), 3, "two for the keys, and one that hangs");
}

#[tokio::test]
async fn the_issuer_is_asked_for_unknown_keys_only_now_and_then() {
    let (endpoint, clock, verifier) = issuer(status("503 Service Unavailable", "", ""));
    verifier.warm_up().await.expect("keys");
    let unknown = token(&endpoint.url, "other");
    assert!(matches!(verifier.verify(&unknown).await, Err(AuthError::Refused(_))), "the keys are new");
    clock.advance(REFETCH_AFTER);
    for _ in 0..3 {
        assert!(matches!(verifier.verify(&unknown).await, Err(AuthError::Unavailable(_))), "nobody can tell");
    }
    assert_eq!(endpoint.requests().len(), 3);
    verifier.verify(&token(&endpoint.url, "k")).await.expect("a good token");
}

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
