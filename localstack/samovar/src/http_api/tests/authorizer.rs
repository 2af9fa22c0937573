//! JWT authorizers: which requests are let in, and how often the issuer is asked.

use jsonwebtoken::Algorithm;

use super::issuer::{KEY, OTHER_KEY};
use super::*;

#[tokio::test]
async fn a_token_is_accepted_with_and_without_bearer_before_it() {
    let issuer = Issuer::start().await;
    let bench = Bench::guarded(&issuer, &[]).await;
    let token = issuer.token(json!({}));
    for value in [format!("Bearer {token}"), format!("bearer {token}"), token] {
        assert_eq!(send(bench.request(Method::GET, "/me").header("authorization", value)).await.status, 200);
    }
    assert_eq!(issuer.asked(), 1, "keys are kept");
}

#[tokio::test]
async fn the_audience_may_be_in_client_id_as_user_pools_have_it() {
    let issuer = Issuer::start().await;
    let bench = Bench::guarded(&issuer, &[]).await;
    assert_eq!(bench.get_with("/me", &issuer.token(json!({ "aud": null, "client_id": AUDIENCE }))).await.status, 200);
    assert_eq!(bench.get_with("/me", &issuer.token(json!({ "aud": ["theirs", AUDIENCE] }))).await.status, 200);
}

#[tokio::test]
async fn without_a_token_the_challenge_names_the_scheme_only() {
    let issuer = Issuer::start().await;
    let bench = Bench::guarded(&issuer, &["read"]).await;
    let bare = send(bench.request(Method::GET, "/me").header("authorization", "")).await;
    for answer in [bench.get("/me").await, bare, bench.get("/me?authorization=x").await] {
        answer.assert_refused(401, "Unauthorized");
        assert_eq!((answer.header("www-authenticate"), answer.header("content-type")), (Some("Bearer"), None));
    }
    assert_eq!((issuer.asked(), bench.functions.count("me")), (0, 0));
}

#[tokio::test]
async fn the_token_may_come_in_the_query() {
    let issuer = Issuer::start().await;
    let spec = JwtAuthorizer {
        issuer: issuer.url.clone(),
        audience: vec![AUDIENCE.into()],
        identity_source: IdentitySource::QueryString("token".into()),
    };
    let bench = Bench::guarded_by(spec, &[]).await;
    let token = issuer.token(json!({}));
    assert_eq!(bench.get(&format!("/me?token={token}")).await.status, 200);
    bench.get_with("/me", &token).await.assert_refused(401, "Unauthorized");
}

#[tokio::test]
async fn one_of_the_routes_scopes_is_enough_and_none_is_403() {
    let issuer = Issuer::start().await;
    let bench = Bench::guarded(&issuer, &["read", "write"]).await;
    for claims in [json!({ "scope": "openid write" }), json!({ "scp": ["read"] }), json!({ "scp": "read x" })] {
        assert_eq!(bench.get_with("/me", &issuer.token(claims.clone())).await.status, 200, "{claims}");
    }
    for claims in [json!({}), json!({ "scope": "" }), json!({ "scope": "readwrite" }), json!({ "scope": 7 })] {
        let answer = bench.get_with("/me", &issuer.token(claims)).await;
        answer.assert_refused(403, "Forbidden");
        let challenge = answer.header("www-authenticate").unwrap();
        assert_eq!(challenge, r#"Bearer scope="read write" error="insufficient_scope""#);
    }
    // Identity is checked before scopes.
    bench.get_with("/me", &issuer.token(json!({ "aud": "theirs" }))).await.assert_refused(401, "Unauthorized");
}

#[tokio::test]
async fn unknown_keys_do_not_cause_a_request_to_the_issuer_each_time() {
    let issuer = Issuer::start().await;
    let bench = Bench::guarded(&issuer, &[]).await;
    let unknown = KEY.sign(Algorithm::RS256, Some("b"), &issuer.claims(json!({})));
    for _ in 0..3 {
        bench.get_with("/me", &unknown).await.assert_refused(401, "Unauthorized");
    }
    assert_eq!(issuer.asked(), 1);
}

#[tokio::test]
async fn many_requests_ask_the_issuer_once_whether_it_answers_or_not() {
    for (keys, status) in [(json!({ "keys": [KEY.jwk("a")] }), 200), (json!("nonsense"), 401)] {
        let issuer = Issuer::start().await;
        *issuer.keys.lock().unwrap() = keys;
        let bench = Bench::guarded(&issuer, &[]).await;
        let token = issuer.token(json!({}));
        for answer in futures_util::future::join_all((0..8).map(|_| bench.get_with("/me", &token))).await {
            assert_eq!(answer.status, status);
        }
        assert_eq!(issuer.asked(), 1);
    }
}

#[tokio::test]
async fn a_new_key_of_the_issuer_is_found_once_the_issuer_may_be_asked_again() {
    let issuer = Issuer::start().await;
    let spec = JwtAuthorizer {
        issuer: issuer.url.clone(),
        audience: vec![AUDIENCE.into()],
        identity_source: IdentitySource::Header("Authorization".into()),
    };
    let mut authorizer = crate::http_api::jwt::JwtAuthorizer::new(&spec);
    authorizer.keys.refetch_after = std::time::Duration::ZERO;
    let authorize = async |token: String| {
        let request = http::Request::get("/").header("authorization", token).body(()).unwrap();
        authorizer.authorize(&request.into_parts().0, &[]).await
    };
    let rolled = OTHER_KEY.sign(Algorithm::RS256, Some("b"), &issuer.claims(json!({})));
    authorize(issuer.token(json!({}))).await.unwrap();
    authorize(rolled.clone()).await.unwrap_err();
    *issuer.keys.lock().unwrap() = json!({ "keys": [OTHER_KEY.jwk("b")] });
    authorize(rolled).await.unwrap();
    authorize(issuer.token(json!({}))).await.unwrap_err();
}

#[tokio::test]
async fn an_unreachable_issuer_refuses_every_token() {
    // Bound and dropped, so that no server listens there.
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let working = Issuer::start().await;
    for url in [format!("http://{address}"), format!("{}/nothing-here", working.url)] {
        let identity_source = IdentitySource::Header("Authorization".into());
        let spec = JwtAuthorizer { issuer: url.clone(), audience: vec![AUDIENCE.into()], identity_source };
        let bench = Bench::guarded_by(spec, &[]).await;
        let answer = bench.get_with("/me", &working.token(json!({ "iss": url }))).await;
        answer.assert_refused(401, "Unauthorized");
        assert!(answer.header("www-authenticate").unwrap().contains("OIDC discovery"), "{answer:?}");
        assert_eq!(bench.get("/open").await.status, 200);
    }
}

#[tokio::test]
async fn tokens_of_the_local_issuer_are_accepted() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/_local/oidc", listener.local_addr().unwrap());
    let local = Arc::new(crate::oidc::Issuer::open(&url, "UserPoolClient", None).unwrap());
    tokio::spawn(crate::server::serve(listener, Arc::clone(&local).router(), None, CancellationToken::new()));
    let identity_source = IdentitySource::Header("Authorization".into());
    let spec = JwtAuthorizer { issuer: url, audience: vec!["UserPoolClient".into()], identity_source };
    let bench = Bench::guarded_by(spec, &["openid"]).await;
    let token = local.token("alice", &["admin".to_owned(), "other".to_owned()]).unwrap();
    assert_eq!(bench.get_with("/me", &token).await.status, 200);
    let claims = &bench.functions.event("me").await["requestContext"]["authorizer"]["jwt"]["claims"];
    assert_eq!((&claims["username"], &claims["cognito:groups"]), (&json!("alice"), &json!("[admin other]")));
    assert!(claims.as_object().unwrap().values().all(Value::is_string), "{claims}");
}
