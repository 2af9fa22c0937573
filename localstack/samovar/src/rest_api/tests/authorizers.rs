//! Lambda authorizers: what the function is asked, what it may answer, and what the caller sees.

use super::*;
use crate::testing::shapes::assert_shape;
use samovar_template::RestAuthorizer;

fn guarded(spec: &mut RestApi, authorizer: RestAuthorizer) {
    spec.authorizers.insert("Guard".into(), authorizer);
    for route in &mut spec.routes {
        route.authorization = Some(Authorization { authorizer: "Guard".into(), scopes: Vec::new() });
    }
}

fn token(cache: Duration, validation: Option<&str>) -> RestAuthorizer {
    let validation = validation.map(str::to_owned);
    RestAuthorizer::Token { function: "guard".into(), header: "X-Token".into(), validation, cache }
}

fn request(headers: &[&str], query_strings: &[&str], context: &[&str]) -> RestAuthorizer {
    let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    RestAuthorizer::Request {
        function: "guard".into(),
        headers: list(headers),
        query_strings: list(query_strings),
        stage_variables: vec!["place".into()],
        context: list(context),
        cache: NEVER,
    }
}

const ROUTES: [(&str, &str); 2] = [("GET /pets/{id}", "f"), ("DELETE /pets/{id}", "f")];

async fn with_token(cache: Duration, validation: Option<&str>) -> Bench {
    Bench::with(&ROUTES, |spec| guarded(spec, token(cache, validation))).await
}

fn policy(effect: &str, resource: &str) -> Value {
    let statement = json!({ "Action": "execute-api:Invoke", "Effect": effect, "Resource": resource });
    json!({ "principalId": "me", "policyDocument": { "Version": "2012-10-17", "Statement": [statement] } })
}

async fn ask(bench: &Bench, method: Method, token: &str) -> Answer {
    send(bench.request(method, "/v1/pets/7").header("x-token", token)).await
}

const GET_ARN: &str = "arn:aws:execute-api:us-east-1:000000000000:rest/v1/GET/pets/7";

#[tokio::test]
async fn the_function_gets_the_token_and_its_context_goes_to_the_methods_function() {
    let bench = with_token(NEVER, None).await;
    let mut answer = policy("Allow", GET_ARN);
    answer["context"] = json!({ "team": "cats", "number": 7, "yes": true });
    bench.functions.answers("guard", answer);
    assert_eq!(ask(&bench, Method::GET, "secret").await.status, 200);
    let asked = bench.functions.event("guard").await;
    assert_eq!(asked, json!({ "type": "TOKEN", "methodArn": GET_ARN, "authorizationToken": "secret" }));
    let mut context = bench.functions.event("f").await["requestContext"]["authorizer"].take();
    assert!(context.as_object_mut().unwrap().remove("integrationLatency").unwrap().is_u64());
    assert_eq!(context, json!({ "principalId": "me", "team": "cats", "number": "7", "yes": "true" }));
}

#[tokio::test]
async fn an_answer_is_used_for_its_time_and_for_every_method_of_the_same_identity() {
    let bench = with_token(NEVER, None).await;
    bench.functions.answers("guard", policy("Allow", GET_ARN));
    for _ in 0..2 {
        assert_eq!(ask(&bench, Method::GET, "a").await.status, 200);
    }
    // The kept policy does not allow the other method.
    assert_eq!(ask(&bench, Method::DELETE, "a").await.status, 403);
    assert_eq!(bench.functions.count("guard"), 1);
    assert_eq!(ask(&bench, Method::GET, "b").await.status, 200);
    assert_eq!(bench.functions.count("guard"), 2);
    let bench = with_token(Duration::ZERO, None).await;
    bench.functions.answers("guard", policy("Allow", "*"));
    for asked in 1..=2 {
        assert_eq!(ask(&bench, Method::GET, "a").await.status, 200);
        assert_eq!(bench.functions.count("guard"), asked);
    }
}

#[tokio::test]
async fn each_refusal_has_the_body_of_aws() {
    let bench = with_token(Duration::ZERO, None).await;
    let unauthorized = |answer: &Answer| answer.assert_refused(401, "Unauthorized", "UnauthorizedException");
    unauthorized(&bench.get("/v1/pets/7").await);
    unauthorized(&ask(&bench, Method::GET, "").await);
    assert_eq!(bench.functions.count("guard"), 0);
    bench.functions.fails("guard", "Unauthorized");
    unauthorized(&ask(&bench, Method::GET, "a").await);

    let denied = async |message: &str| {
        let answer = ask(&bench, Method::GET, "a").await;
        assert_eq!((answer.status, answer.text()), (403, json!({ "Message": message }).to_string().as_str()));
        assert_eq!(answer.header("x-amzn-errortype"), Some("AccessDeniedException"));
    };
    bench.functions.answers("guard", policy("Deny", "*"));
    denied("User is not authorized to access this resource with an explicit deny").await;
    bench.functions.answers("guard", policy("Allow", "arn:aws:execute-api:us-east-1:000000000000:rest/v1/PUT/*"));
    denied("User is not authorized to access this resource").await;

    for answer in [json!(null), json!({ "principalId": "me" }), json!({ "isAuthorized": true })] {
        bench.functions.answers("guard", answer);
        let answer = ask(&bench, Method::GET, "a").await;
        assert_eq!((answer.status, answer.text()), (500, r#"{"message":null}"#));
        assert_eq!(answer.header("x-amzn-errortype"), Some("AuthorizerConfigurationException"));
    }
    bench.functions.fails("guard", "broken");
    assert_eq!(ask(&bench, Method::GET, "a").await.status, 500);
    assert_eq!(bench.functions.count("f"), 0);
}

#[tokio::test]
async fn a_token_that_is_not_of_its_form_does_not_come_to_the_function() {
    let bench = with_token(NEVER, Some("^Bearer [a-z]+$")).await;
    bench.functions.answers("guard", policy("Allow", "*"));
    ask(&bench, Method::GET, "Bearer 1").await.assert_refused(401, "Unauthorized", "UnauthorizedException");
    assert_eq!(bench.functions.count("guard"), 0);
    assert_eq!(ask(&bench, Method::GET, "Bearer a").await.status, 200);
    let bench = with_token(NEVER, Some("(?<!a)b")).await;
    ask(&bench, Method::GET, "b").await.assert_refused(401, "Unauthorized", "UnauthorizedException");
}

/// From the developer guide, with a context as in the event of a proxy integration.
const CAPTURED: &str = r#"{
  "type": "REQUEST",
  "methodArn": "arn:aws:execute-api:us-east-1:123456789012:abcdef123/test/GET/request",
  "resource": "/pets/{id}", "path": "/pets/7", "httpMethod": "GET",
  "headers": {"x-token": "a", "accept": "*/*", "Host": "a", "X-Forwarded-For": "a", "X-Forwarded-Port": "443",
    "X-Forwarded-Proto": "https", "X-Amzn-Trace-Id": "a"},
  "multiValueHeaders": {"x-token": ["a"], "accept": ["*/*"], "Host": ["a"], "X-Forwarded-For": ["a"],
    "X-Forwarded-Port": ["443"], "X-Forwarded-Proto": ["https"], "X-Amzn-Trace-Id": ["a"]},
  "queryStringParameters": {"q": "1"}, "multiValueQueryStringParameters": {"q": ["1"]},
  "pathParameters": {"id": "7"}, "stageVariables": {"place": "here"},
  "requestContext": {
    "accountId": "123456789012", "apiId": "abcdef123", "deploymentId": "a", "domainName": "a", "domainPrefix": "a",
    "extendedRequestId": "a", "httpMethod": "GET",
    "identity": {"accessKey": null, "accountId": null, "caller": null, "cognitoAuthenticationProvider": null,
      "cognitoAuthenticationType": null, "cognitoIdentityId": null, "cognitoIdentityPoolId": null,
      "principalOrgId": null, "sourceIp": "1.2.3.4", "user": null, "userAgent": null, "userArn": null},
    "path": "/v1/pets/7", "protocol": "HTTP/1.1", "requestId": "a", "requestTime": "a", "requestTimeEpoch": 1,
    "resourceId": "a", "resourcePath": "/pets/{id}", "stage": "v1"
  }
}"#;

#[tokio::test]
async fn the_function_of_a_request_authorizer_gets_the_request() {
    let bench = Bench::with(&ROUTES, |spec| {
        spec.stage_variables = BTreeMap::from([("place".into(), "here".into())]);
        guarded(spec, request(&["x-token"], &["q"], &["identity.sourceIp"]));
    })
    .await;
    bench.functions.answers("guard", policy("Allow", "*"));
    let call = |path: &str, token: &str| send(bench.request(Method::GET, path).header("X-Token", token));
    assert_eq!(call("/v1/pets/7?q=1", "a").await.status, 200);
    let asked = bench.functions.event("guard").await;
    assert_shape(&asked, CAPTURED);
    assert_eq!((&asked["methodArn"], &asked["headers"]["x-token"]), (&json!(GET_ARN), &json!("a")));
    // The identity is all of these values.
    assert_eq!(call("/v1/pets/8?q=1", "a").await.status, 200);
    assert_eq!(bench.functions.count("guard"), 1);
    assert_eq!(call("/v1/pets/7?q=2", "a").await.status, 200);
    assert_eq!(bench.functions.count("guard"), 2);
    for (path, token) in [("/v1/pets/7", "a"), ("/v1/pets/7?q=", "a"), ("/v1/pets/7?q=1", "")] {
        call(path, token).await.assert_refused(401, "Unauthorized", "UnauthorizedException");
    }
    assert_eq!(bench.functions.count("guard"), 2);
}

#[tokio::test]
async fn without_parameters_an_authorizer_gets_empty_maps() {
    let bench = Bench::with(&[("GET /pets", "f")], |spec| {
        let mut authorizer = request(&[], &[], &[]);
        if let RestAuthorizer::Request { stage_variables, cache, .. } = &mut authorizer {
            stage_variables.clear();
            *cache = Duration::ZERO;
        }
        guarded(spec, authorizer);
    })
    .await;
    bench.functions.answers("guard", policy("Allow", "*"));
    assert_eq!(bench.get("/v1/pets").await.status, 200);
    let asked = bench.functions.event("guard").await;
    for name in ["queryStringParameters", "multiValueQueryStringParameters", "pathParameters", "stageVariables"] {
        assert_eq!(asked[name], json!({}), "{name}");
    }
}

#[tokio::test]
async fn callers_without_an_identity_share_no_answer() {
    let bench = Bench::with(&ROUTES, |spec| {
        let mut authorizer = request(&[], &[], &[]);
        if let RestAuthorizer::Request { stage_variables, .. } = &mut authorizer {
            stage_variables.clear();
        }
        guarded(spec, authorizer);
    })
    .await;
    bench.functions.answers("guard", policy("Allow", "*"));
    for asked in 1..=2 {
        assert_eq!(ask(&bench, Method::GET, "a").await.status, 200);
        assert_eq!(bench.functions.count("guard"), asked);
    }
}
