//! What functions see of a token.

use super::*;

async fn jwt_of(bench: &Bench, token: &str) -> Value {
    assert_eq!(bench.get_with("/me", token).await.status, 200);
    bench.functions.event("me").await["requestContext"]["authorizer"]["jwt"].take()
}

#[tokio::test]
async fn claims_are_text_and_lists_are_in_brackets() {
    let issuer = Issuer::start().await;
    let bench = Bench::guarded(&issuer, &[]).await;
    let token = issuer.token(json!({
        "aud": ["someone", AUDIENCE],
        "cognito:groups": ["admin", "power user"],
        "email_verified": true,
        "level": 7,
        "ratio": 0.5,
        "address": { "city": "Leipzig" },
        "exp": 4_102_444_800_u32,
    }));
    let claims = jwt_of(&bench, &token).await["claims"].take();
    for (name, value) in [
        ("aud", "[someone our-client]"),
        ("cognito:groups", "[admin power user]"),
        ("email_verified", "true"),
        ("level", "7"),
        ("ratio", "0.5"),
        ("address", r#"{"city":"Leipzig"}"#),
        ("exp", "4102444800"),
        ("iss", &issuer.url),
    ] {
        assert_eq!(claims[name], value, "{name}");
    }
}

#[tokio::test]
async fn a_claim_that_is_null_is_not_there() {
    let issuer = Issuer::start().await;
    let bench = Bench::guarded(&issuer, &[]).await;
    let mut claims = issuer.claims(json!({}));
    claims["nickname"] = Value::Null;
    let token = issuer::KEY.sign(jsonwebtoken::Algorithm::RS256, Some("a"), &claims);
    let seen = jwt_of(&bench, &token).await["claims"].take();
    assert_eq!((seen.get("nickname"), &seen["sub"]), (None, &json!("user-1")));
}

#[tokio::test]
async fn scopes_are_null_where_the_route_wants_none() {
    let issuer = Issuer::start().await;
    let token = issuer.token(json!({ "scope": "read write" }));
    let jwt = jwt_of(&Bench::guarded(&issuer, &[]).await, &token).await;
    assert_eq!((&jwt["scopes"], &jwt["claims"]["scope"]), (&Value::Null, &json!("read write")));
    let jwt = jwt_of(&Bench::guarded(&issuer, &["read"]).await, &token).await;
    assert_eq!(jwt["scopes"], json!(["read", "write"]));
}

#[tokio::test]
async fn a_route_without_an_authorizer_shows_no_claims_even_with_a_token() {
    let issuer = Issuer::start().await;
    let bench = Bench::guarded(&issuer, &[]).await;
    assert_eq!(bench.get_with("/open", &issuer.token(json!({}))).await.status, 200);
    assert!(bench.functions.event("open").await["requestContext"].get("authorizer").is_none());
    assert_eq!(issuer.asked(), 0);
}
