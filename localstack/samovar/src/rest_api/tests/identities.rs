//! Authorization without a function: tokens of user pools, and signatures with AWS credentials.

use samovar_services::permissions::{Account, Permissions};
use samovar_template::RestAuthorizer;

use super::*;
use crate::oidc::Issuer;
use crate::sigv4::Keys;
use crate::testing::signing::signed;

async fn issuer() -> (Arc<Issuer>, String, DropGuard) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/_local/oidc", listener.local_addr().unwrap());
    let issuer = Arc::new(Issuer::open(&url, "client", None).unwrap());
    let stop = CancellationToken::new();
    tokio::spawn(crate::server::serve(listener, Arc::clone(&issuer).router(), None, stop.clone()));
    (issuer, url, stop.drop_guard())
}

fn guarded(spec: &mut RestApi, authorizer: &str, scopes: &[&str]) {
    let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
    spec.routes[0].authorization = Some(Authorization { authorizer: authorizer.into(), scopes });
    let pool = RestAuthorizer::Cognito { user_pools: vec!["arn".into()], header: "Authorization".into() };
    spec.authorizers.insert("Pool".into(), pool);
}

async fn with_pool(url: &str, scopes: &[&str]) -> Bench {
    let edge = |edge: &mut Edge| edge.issuer = url.to_owned();
    Bench::with_edge(&[("GET /me", "f")], |spec| guarded(spec, "Pool", scopes), edge).await
}

async fn ask(bench: &Bench, authorization: &str) -> Answer {
    send(bench.request(Method::GET, "/v1/me").header("authorization", authorization)).await
}

#[tokio::test]
async fn an_id_token_opens_a_method_and_its_claims_are_text() {
    let (issuer, url, _stop) = issuer().await;
    let bench = with_pool(&url, &[]).await;
    let token = issuer.id_token("alice", &["admin".into(), "other".into()]).unwrap();
    for authorization in [token.clone(), format!("Bearer {token}")] {
        assert_eq!(ask(&bench, &authorization).await.status, 200);
        let claims = bench.functions.event("f").await["requestContext"]["authorizer"]["claims"].take();
        assert_eq!((&claims["cognito:username"], &claims["aud"]), (&json!("alice"), &json!("client")));
        assert_eq!(claims["cognito:groups"], "admin,other");
        assert!(claims["exp"].as_str().unwrap().contains(" UTC 2"), "a date: {claims}");
        assert!(claims["auth_time"].as_str().unwrap().parse::<u64>().is_ok(), "{claims}");
    }
    let access = issuer.token("alice", &[]).unwrap();
    for refused in ["", "nonsense", &access, &format!("{token}x")] {
        ask(&bench, refused).await.assert_refused(401, "Unauthorized", "UnauthorizedException");
    }
    bench.get("/v1/me").await.assert_refused(401, "Unauthorized", "UnauthorizedException");
}

#[tokio::test]
async fn a_method_with_scopes_takes_access_tokens_that_have_one() {
    let (issuer, url, _stop) = issuer().await;
    let bench = with_pool(&url, &["openid", "more"]).await;
    let (access, id) = (issuer.token("alice", &[]).unwrap(), issuer.id_token("alice", &[]).unwrap());
    assert_eq!(ask(&bench, &access).await.status, 200);
    ask(&bench, &id).await.assert_refused(401, "Unauthorized", "UnauthorizedException");
    let bench = with_pool(&url, &["more"]).await;
    ask(&bench, &access).await.assert_refused(401, "Unauthorized", "UnauthorizedException");
}

#[tokio::test]
async fn a_token_that_has_expired_is_told() {
    let (issuer, url, _stop) = issuer().await;
    let bench = with_pool(&url, &[]).await;
    let expired = issuer.expired_id_token("alice");
    ask(&bench, &expired).await.assert_refused(401, "The incoming token has expired", "UnauthorizedException");
}

#[tokio::test]
async fn a_signed_request_may_do_what_the_policies_of_its_signer_allow() {
    let resource = "arn:aws:execute-api:us-east-1:000000000000:rest/v1/GET/me";
    let allowed = json!({ "Statement": [{ "Effect": "Allow", "Action": "execute-api:Invoke", "Resource": resource }] });
    let policies = [("caller", vec![allowed]), ("stranger", Vec::new())];
    let edge = |edge: &mut Edge| {
        edge.keys = Keys::of(["caller", "stranger"].into_iter(), None);
        let policies = policies.iter().map(|(name, policies)| (*name, policies.as_slice()));
        let account = Account { region: "us-east-1".into(), id: "000000000000".into() };
        edge.door.enforce(Permissions::of(policies, account));
    };
    let bench = Bench::with_edge(&[("GET /me", "f")], |spec| guarded(spec, "AWS_IAM", &[]), edge).await;
    let url = format!("http://{}/v1/me", bench.address);
    let call = |key: &str| send(signed(&bench.http, "execute-api", &url, key, Some("local")));
    assert_eq!(call("LOCAL-caller").await.status, 200);
    let identity = bench.functions.event("f").await["requestContext"]["identity"].take();
    assert_eq!((&identity["accessKey"], &identity["accountId"]), (&json!("LOCAL-caller"), &json!("000000000000")));
    assert_eq!(identity["userArn"], "arn:aws:sts::000000000000:assumed-role/caller/caller");
    let kind = "MissingAuthenticationTokenException";
    bench.get("/v1/me").await.assert_refused(403, "Missing Authentication Token", kind);
    let unknown = "The security token included in the request is invalid.";
    call("LOCAL-nobody").await.assert_refused(403, unknown, "UnrecognizedClientException");
    let denied = call("LOCAL-stranger").await;
    let message = format!(
        "User: arn:aws:sts::000000000000:assumed-role/stranger/stranger is not authorized to perform: \
         execute-api:Invoke on resource: {resource} because no identity-based policy allows the execute-api:Invoke \
         action"
    );
    assert_eq!((denied.status, denied.text()), (403, json!({ "Message": message }).to_string().as_str()));
    assert_eq!(bench.functions.count("f"), 1);
}
