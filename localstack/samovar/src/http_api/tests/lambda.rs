//! Lambda authorizers and signed requests: what the function is asked, what it may answer, and what the caller sees.

use super::*;
use crate::sigv4::Keys;
use crate::testing::shapes::assert_shape;
use samovar_template::LambdaAuthorizer;
use std::time::Duration;

const SOURCES: [&str; 2] = ["$request.header.Authorization", "$request.querystring.q"];

async fn guarded(change: impl FnOnce(&mut LambdaAuthorizer)) -> Bench {
    let mut spec = LambdaAuthorizer {
        function: "guard".into(),
        payload_format: PayloadFormat::V2,
        simple_responses: true,
        identity_sources: SOURCES.map(str::to_owned).to_vec(),
        cache: Duration::ZERO,
    };
    change(&mut spec);
    Bench::with(&[("GET /pets/{id}", "f"), ("DELETE /pets/{id}", "f")], |api| {
        api.spec.stage_variables = BTreeMap::from([("place".into(), "here".into())]);
        for route in &mut api.spec.routes {
            route.authorization = Some(Authorization { authorizer: "Guard".into(), scopes: Vec::new() });
        }
        api.lambda_authorizers.insert("Guard".into(), super::super::LambdaAuthorizer::new(&spec));
    })
    .await
}

async fn ask(bench: &Bench, method: Method, token: &str) -> Answer {
    send(bench.request(method, "/pets/7?q=1").header("authorization", token)).await
}

const ARN: &str = "arn:aws:execute-api:us-east-1:000000000000:httpapi/$default/GET/pets/7";

fn policy(effect: &str, resource: &str) -> Value {
    let statement = json!({ "Action": "execute-api:Invoke", "Effect": effect, "Resource": resource });
    json!({ "principalId": "me", "policyDocument": { "Version": "2012-10-17", "Statement": [statement] } })
}

/// From the developer guide, without what exists with mutual TLS alone.
const CAPTURED: &str = r#"{
  "version": "2.0", "type": "REQUEST",
  "routeArn": "arn:aws:execute-api:us-east-1:123456789012:abcdef123/test/GET/request",
  "identitySource": ["user1", "123"], "routeKey": "$default", "rawPath": "/my/path", "rawQueryString": "a=1",
  "cookies": ["cookie1"],
  "headers": {"accept": "*/*", "authorization": "a", "content-length": "0", "host": "a", "x-amzn-trace-id": "a",
    "x-forwarded-for": "1.2.3.4", "x-forwarded-port": "443", "x-forwarded-proto": "https"},
  "queryStringParameters": {"q": "1"},
  "requestContext": {
    "accountId": "123456789012", "apiId": "api-id", "domainName": "id.execute-api.us-east-1.amazonaws.com",
    "domainPrefix": "id",
    "http": {"method": "POST", "path": "/my/path", "protocol": "HTTP/1.1", "sourceIp": "IP", "userAgent": "agent"},
    "requestId": "id", "routeKey": "$default", "stage": "$default", "time": "12/Mar/2020:19:03:58 +0000",
    "timeEpoch": 1583348638390
  },
  "pathParameters": {"id": "7"}, "stageVariables": {"place": "here"}
}"#;

#[tokio::test]
async fn a_simple_answer_lets_in_and_its_context_keeps_its_types() {
    let bench = guarded(|_| {}).await;
    let context = json!({ "team": "cats", "number": 7, "list": [1, { "a": null }] });
    bench.functions.answers("guard", json!({ "isAuthorized": true, "context": context }));
    let request = bench.request(Method::GET, "/pets/7?q=1").header("authorization", "a").header("cookie", "c=1");
    assert_eq!(send(request).await.status, 200);
    let asked = bench.functions.event("guard").await;
    assert_shape(&asked, CAPTURED);
    assert_eq!((&asked["identitySource"], &asked["routeArn"]), (&json!(["a", "1"]), &json!(ARN)));
    assert_eq!(bench.functions.event("f").await["requestContext"]["authorizer"], json!({ "lambda": context }));
    bench.functions.answers("guard", json!({ "isAuthorized": true }));
    assert_eq!(ask(&bench, Method::GET, "a").await.status, 200);
    assert_eq!(bench.functions.event("f").await["requestContext"]["authorizer"], json!({ "lambda": null }));
}

#[tokio::test]
async fn a_policy_in_the_format_1_0_is_evaluated_for_the_route() {
    let bench = guarded(|spec| {
        spec.payload_format = PayloadFormat::V1;
        spec.simple_responses = false;
    })
    .await;
    let mut answer = policy("Allow", ARN);
    answer["context"] = json!({ "number": 7 });
    bench.functions.answers("guard", answer);
    assert_eq!(ask(&bench, Method::GET, "a").await.status, 200);
    let asked = bench.functions.event("guard").await;
    for (name, value) in [
        ("version", json!("1.0")),
        ("type", json!("REQUEST")),
        ("methodArn", json!(ARN)),
        ("identitySource", json!("a,1")),
        ("authorizationToken", json!("a,1")),
        ("resource", json!("/pets/{id}")),
        ("path", json!("/pets/7")),
        ("httpMethod", json!("GET")),
        ("queryStringParameters", json!({ "q": "1" })),
        ("pathParameters", json!({ "id": "7" })),
        ("body", json!(null)),
    ] {
        assert_eq!(asked[name], value, "{name}");
    }
    assert!(asked.get("body").is_none());
    let lambda = bench.functions.event("f").await["requestContext"]["authorizer"]["lambda"].take();
    assert_eq!(lambda, json!({ "number": "7" }));
    ask(&bench, Method::DELETE, "a").await.assert_refused(403, "Forbidden");
    bench.functions.answers("guard", policy("Deny", "*"));
    ask(&bench, Method::GET, "a").await.assert_refused(403, "Forbidden");
}

#[tokio::test]
async fn each_refusal_has_its_status() {
    let bench = guarded(|_| {}).await;
    bench.get("/pets/7?q=1").await.assert_refused(401, "Unauthorized");
    ask(&bench, Method::GET, "").await.assert_refused(401, "Unauthorized");
    assert_eq!(bench.functions.count("guard"), 0);
    bench.functions.answers("guard", json!({ "isAuthorized": false }));
    ask(&bench, Method::GET, "a").await.assert_refused(403, "Forbidden");
    bench.functions.fails("guard", "Unauthorized");
    ask(&bench, Method::GET, "a").await.assert_refused(401, "Unauthorized");
    bench.functions.fails("guard", "broken");
    ask(&bench, Method::GET, "a").await.assert_refused(500, "Internal Server Error");
    for malformed in [json!(null), json!({ "isAuthorized": "yes" }), json!({ "isAuthorized": true, "context": [] })] {
        bench.functions.answers("guard", malformed);
        ask(&bench, Method::GET, "a").await.assert_refused(500, "Internal Server Error");
    }
    let bench = guarded(|spec| spec.simple_responses = false).await;
    bench.functions.answers("guard", json!({ "isAuthorized": true }));
    ask(&bench, Method::GET, "a").await.assert_refused(500, "Internal Server Error");
    assert_eq!(bench.functions.count("f"), 0);
}

#[tokio::test]
async fn an_answer_is_kept_for_its_identity_and_not_without_one() {
    let bench = guarded(|spec| spec.cache = NEVER).await;
    bench.functions.answers("guard", json!({ "isAuthorized": true }));
    for (method, token, asked) in
        [(Method::GET, "a", 1), (Method::GET, "a", 1), (Method::DELETE, "a", 1), (Method::GET, "b", 2)]
    {
        assert_eq!(ask(&bench, method, token).await.status, 200);
        assert_eq!(bench.functions.count("guard"), asked);
    }
    let bench = guarded(|spec| (spec.cache, spec.identity_sources) = (NEVER, Vec::new())).await;
    bench.functions.answers("guard", json!({ "isAuthorized": true }));
    for asked in 1..=2 {
        assert_eq!(bench.get("/pets/7").await.status, 200);
        assert_eq!(bench.functions.count("guard"), asked);
        assert_eq!(bench.functions.event("guard").await["identitySource"], json!(null));
    }
}

#[tokio::test]
async fn identity_sources_may_be_variables_of_stage_and_context() {
    let sources = ["$stageVariables.place", "$context.routeKey", "$context.httpMethod", "$context.identity.sourceIp"];
    let bench = guarded(|spec| spec.identity_sources = sources.map(str::to_owned).to_vec()).await;
    bench.functions.answers("guard", json!({ "isAuthorized": true }));
    assert_eq!(bench.get("/pets/7").await.status, 200);
    let source = bench.functions.event("guard").await["identitySource"].take();
    assert_eq!(source, json!(["here", "GET /pets/{id}", "GET", "127.0.0.1"]));
    for missing in ["$context.none", "$stageVariables.none", "nonsense"] {
        let bench = guarded(|spec| spec.identity_sources = vec![missing.to_owned()]).await;
        bench.get("/pets/7").await.assert_refused(401, "Unauthorized");
    }
}

#[tokio::test]
async fn a_route_with_iam_takes_requests_that_are_signed() {
    let bench = Bench::with(&[("GET /pets", "f")], |api| {
        api.edge.keys = Keys::of(["caller"].into_iter(), None);
        api.spec.routes[0].authorization = Some(Authorization { authorizer: "AWS_IAM".into(), scopes: Vec::new() });
    })
    .await;
    let url = format!("http://{}/pets", bench.address);
    bench.get("/pets").await.assert_refused(403, "Forbidden");
    let signed = |key: &str, token| crate::testing::signing::signed(&bench.http, "execute-api", &url, key, token);
    send(signed("LOCAL-stranger", Some("local"))).await.assert_refused(403, "Forbidden");
    assert_eq!(send(signed("LOCAL-caller", Some("local"))).await.status, 200);
    let iam = bench.functions.event("f").await["requestContext"]["authorizer"]["iam"].take();
    assert_eq!((&iam["accessKey"], &iam["accountId"]), (&json!("LOCAL-caller"), &json!("000000000000")));
}
