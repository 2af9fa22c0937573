//! Forged tokens, an issuer that redirects, and arbitrary text in the place of a token.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::testing::{config, words};

/// No log may show this.
const CANARY: &str = "canary-2b7e";

/// A token with exactly this header and these claims, signed by the issuer's key.
fn signed(header: &str, claims: &str) -> String {
    let body = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let key = EncodingKey::from_ed_pem(KEY.as_bytes()).expect("a key");
    let signature = jsonwebtoken::crypto::sign(body.as_bytes(), &key, Algorithm::EdDSA).expect("a signature");
    format!("{body}.{signature}")
}

fn claims(issuer: &str) -> Value {
    json!({ "iss": issuer, "sub": "ann", "aud": "parley", "exp": START.plus(DAY).0 / 1000 })
}

#[tokio::test]
async fn a_token_with_a_wrong_header_is_refused_and_the_reason_repeats_nothing_of_it() {
    let (endpoint, _, verifier) = issuer(vec![Step::Hang]);
    let claims = claims(&endpoint.url).to_string();
    let header = |changes: Value| {
        let mut header = json!({ "typ": "JWT", "alg": "EdDSA", "kid": "k" });
        for (name, value) in changes.as_object().expect("changes") {
            header[name] = value.clone();
        }
        header.to_string()
    };
    verifier.verify(&signed(&header(json!({})), &claims)).await.expect("as it is, it is good");
    for header in [
        header(json!({ "alg": "none" })),
        header(json!({ "alg": CANARY })),
        header(json!({ "alg": "HS256" })),
        header(json!({ "alg": "RS256" })),
        header(json!({ "kid": null })),
        header(json!({ "kid": CANARY })),
        header(json!({ "kid": 7 })),
        header(json!({ "crit": ["exp"] })),
        header(json!({ "crit": [CANARY], CANARY: true })),
        header(json!({ "crit": [] })),
        header(json!({ "crit": CANARY })),
        format!(r#"{{"alg":"none","alg":"EdDSA","kid":"k","typ":"{CANARY}"}}"#),
        format!(r#"{{"alg":"EdDSA","kid":"k","kid":"{CANARY}"}}"#),
        format!(r#"["{CANARY}"]"#),
        CANARY.to_owned(),
        "[".repeat(10_000),
    ] {
        match verifier.verify(&signed(&header, &claims)).await {
            Err(AuthError::Refused(reason)) => assert!(!reason.contains(CANARY), "{reason}"),
            other => panic!("{header}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_token_with_wrong_claims_is_refused_and_the_reason_repeats_nothing_of_them() {
    let (endpoint, _, verifier) = issuer(vec![Step::Hang]);
    let good = claims(&endpoint.url);
    let changed = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        claims.to_string()
    };
    let twice = |name: &str, value: &str| good.to_string().replacen('{', &format!(r#"{{"{name}":{value},"#), 1);
    let seconds = START.0 / 1000;
    for claims in [
        changed("iss", json!(CANARY)),
        changed("iss", json!(format!("{}/", endpoint.url))),
        changed("iss", json!([endpoint.url])),
        changed("aud", json!(CANARY)),
        changed("aud", json!([])),
        changed("aud", json!({ CANARY: CANARY })),
        changed("exp", json!(seconds)),
        changed("exp", json!(CANARY)),
        changed("exp", json!(null)),
        changed("exp", json!(-1)),
        changed("nbf", json!(seconds + 1)),
        changed("nbf", json!(CANARY)),
        changed("sub", json!(null)),
        changed("sub", json!("")),
        changed("sub", json!([CANARY])),
        changed("sub", json!("x".repeat(257))),
        // If a claim comes twice, readers of JSON differ about which one counts.
        twice("sub", &format!("\"{CANARY}\"")),
        twice("exp", "1"),
        twice("iss", &format!("\"{CANARY}\"")),
        twice("aud", &format!("\"{CANARY}\"")),
        good.to_string().replace(&(START.plus(DAY).0 / 1000).to_string(), "1e999"),
        format!("\"{CANARY}\""),
        "[".repeat(10_000),
    ] {
        match verifier.verify(&signed(r#"{"alg":"EdDSA","kid":"k"}"#, &claims)).await {
            Err(AuthError::Refused(reason)) => assert!(!reason.contains(CANARY), "{reason}"),
            other => panic!("{claims}: {other:?}"),
        }
    }
    // Extra claims are no reason to refuse a token.
    let long = changed("note", json!("x".repeat(16 * 1024)));
    verifier.verify(&signed(r#"{"alg":"EdDSA","kid":"k"}"#, &long)).await.expect("long and good");
}

#[tokio::test]
async fn a_redirect_of_the_issuer_is_not_followed() {
    let elsewhere = Endpoint::start(vec![status("200 OK", "", "{}")]);
    for lead in ["301 Moved Permanently", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"] {
        let location = format!("location: {}\r\n", elsewhere.url);
        let away = Endpoint::start(vec![status(lead, &location, "")]);
        let config = AuthConfig { issuer: away.url.clone(), audience: "parley".to_owned() };
        let verifier = Verifier::new(config, Arc::new(ManualClock::at(START))).expect("a verifier");
        verifier.warm_up().await.expect_err("no keys");
        assert!(matches!(verifier.verify(&token(&away.url, "k")).await, Err(AuthError::Unavailable(_))), "{lead}");
    }
    assert_eq!(elsewhere.requests().len(), 0);
}

/// Texts of parts that tokens have, and of parts that they don't have.
fn token_text() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        words(&["{", "}", "[", "\"alg\":", "\"EdDSA\"", "\"none\"", "\"kid\":", "\"k\"", "\"crit\":", ",", "1e999"])
            .prop_map(|json| URL_SAFE_NO_PAD.encode(json)),
        proptest::collection::vec(any::<u8>(), 0..64).prop_map(|bytes| URL_SAFE_NO_PAD.encode(bytes)),
        words(&[".", "eyJhbGciOiJFZERTQSIsImtpZCI6ImsifQ", "=", "%", "\0", " "]),
    ];
    proptest::collection::vec(part, 0..5).prop_map(|parts| parts.join("."))
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn no_text_that_the_issuer_has_not_signed_is_a_token(text in token_text()) {
        // No server listens there. A text for which the verifier asks for a key is refused because of that.
        let config = AuthConfig { issuer: "http://127.0.0.1:1".to_owned(), audience: "parley".to_owned() };
        let verifier = Verifier::new(config, Arc::new(ManualClock::at(START))).expect("a verifier");
        let verified = crate::testing::servers().block_on(verifier.verify(&text));
        prop_assert!(verified.is_err());
    }

    #[test]
    fn a_handshakes_token_is_a_part_of_its_headers_and_only_an_offered_subprotocol_is_selected(
        authorization in words(&["Bearer", "bearer", " ", "\t", "Basic", "a.b.c", ",", "\u{e9}", "\0"]),
        subprotocols in words(&["parley.v1", "bearer.", "a.b.c", ",", " ", "\u{e9}", "\0"]),
    ) {
        if let Some(token) = token_of(Some(&authorization), Some(&subprotocols)) {
            prop_assert!(authorization.contains(token) || subprotocols.contains(token));
        }
        let selected = selected_subprotocol(Some(&subprotocols));
        prop_assert_eq!(selected.is_some(), subprotocols.split(',').any(|name| name.trim() == SUBPROTOCOL));
    }
}
