//! Events and answers in the payload format 1.0.

use aws_lambda_events::apigw::ApiGatewayProxyRequest;

use super::*;
use crate::testing::shapes::assert_shape;

async fn bench(key: &str) -> Bench {
    Bench::with(&[(key, "f")], |api| api.spec.routes[0].payload_format = PayloadFormat::V1).await
}

/// From the developer guide, without what exists with mutual TLS or an authorizer alone.
const CAPTURED: &str = r#"{
  "version": "1.0", "resource": "/pets/{id}", "path": "/pets/7", "httpMethod": "POST",
  "headers": {"accept": "*/*", "content-length": "4", "content-type": "text/plain", "Host": "a", "user-agent": "a",
    "X-Amzn-Trace-Id": "a", "X-Forwarded-For": "a", "X-Forwarded-Port": "443", "X-Forwarded-Proto": "https"},
  "multiValueHeaders": {"accept": ["*/*"], "content-length": ["4"], "content-type": ["text/plain"], "Host": ["a"],
    "user-agent": ["a"], "X-Amzn-Trace-Id": ["a"], "X-Forwarded-For": ["a"], "X-Forwarded-Port": ["443"],
    "X-Forwarded-Proto": ["https"]},
  "queryStringParameters": {"a": "2"}, "multiValueQueryStringParameters": {"a": ["1", "2"]},
  "requestContext": {
    "accountId": "123456789012", "apiId": "id", "domainName": "id.execute-api.us-east-1.amazonaws.com",
    "domainPrefix": "id", "extendedRequestId": "request-id", "httpMethod": "GET",
    "identity": {"accessKey": null, "accountId": null, "caller": null, "cognitoAuthenticationProvider": null,
      "cognitoAuthenticationType": null, "cognitoIdentityId": null, "cognitoIdentityPoolId": null,
      "principalOrgId": null, "sourceIp": "IP", "user": null, "userAgent": "user-agent", "userArn": null},
    "path": "/my/path", "protocol": "HTTP/1.1", "requestId": "id=", "requestTime": "04/Mar/2020:19:15:17 +0000",
    "requestTimeEpoch": 1583349317135, "resourceId": "GET /my/path", "resourcePath": "/my/path", "stage": "$default"
  },
  "pathParameters": {"id": "7"}, "stageVariables": null, "body": "Hello", "isBase64Encoded": false
}"#;

#[tokio::test]
async fn the_event_has_the_keys_of_the_documented_one_and_parses() {
    let bench = bench("POST /pets/{id}").await;
    let request = bench.request(Method::POST, "/pets/7?a=1&a=2").header("content-type", "text/plain");
    let event = bench.event_of("f", request.header("user-agent", "test").body("text")).await;
    assert_shape(&event, CAPTURED);
    assert_eq!((&event["queryStringParameters"]["a"], &event["body"]), (&json!("2"), &json!("text")));
    let parsed: ApiGatewayProxyRequest = serde_json::from_value(event).unwrap();
    assert_eq!(parsed.path_parameters["id"], "7");
    let event = bench.event_of("f", bench.request(Method::POST, "/pets/7").body("form")).await;
    assert_eq!((&event["body"], &event["isBase64Encoded"]), (&json!("Zm9ybQ=="), &json!(true)));
}

#[tokio::test]
async fn what_is_absent_is_null() {
    let bench = bench("$default").await;
    let event = bench.event_of("f", bench.request(Method::GET, "/a/b")).await;
    for name in ["queryStringParameters", "multiValueQueryStringParameters", "pathParameters", "stageVariables", "body"]
    {
        assert_eq!(event[name], json!(null), "{name}");
    }
    assert_eq!((&event["resource"], &event["path"]), (&json!("$default"), &json!("/a/b")));
}

#[tokio::test]
async fn an_answer_needs_a_status_and_may_have_lists_of_headers() {
    let bench = bench("GET /").await;
    let headers = json!({ "X-A": ["1", "2"] });
    let answer = json!({ "statusCode": 201, "multiValueHeaders": headers, "body": "/wA=", "isBase64Encoded": true });
    bench.functions.answers("f", answer);
    let answer = bench.get("/").await;
    assert_eq!((answer.status, answer.body.as_slice()), (201, [0xff, 0].as_slice()));
    assert_eq!(answer.headers.get_all("x-a").iter().count(), 2);
    assert_eq!(answer.header("content-type"), Some("text/plain;charset=UTF-8"));
    for malformed in [json!({ "hello": "world" }), json!("text"), json!({ "statusCode": 200, "body": 1 })] {
        bench.functions.answers("f", malformed);
        bench.get("/").await.assert_refused(500, "Internal Server Error");
    }
}

#[tokio::test]
async fn the_claims_of_a_token_are_beside_its_scopes() {
    let issuer = Issuer::start().await;
    let bench = Bench::guarded(&issuer, &[]).await;
    let mut api = Api::new(bench.api.spec.clone(), &bench.api.edge);
    api.spec.routes[0].payload_format = PayloadFormat::V1;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/me", listener.local_addr().unwrap());
    tokio::spawn(crate::server::serve(listener, router(vec![Arc::new(api)]), None, CancellationToken::new()));
    let token = issuer.token(json!({ "aud": AUDIENCE, "exp": 4_102_444_800_u32 }));
    let event = bench.event_of("me", bench.http.get(url).bearer_auth(token)).await;
    let authorizer = &event["requestContext"]["authorizer"];
    assert_eq!((&authorizer["claims"]["aud"], &authorizer["scopes"]), (&json!(AUDIENCE), &json!(null)));
}
