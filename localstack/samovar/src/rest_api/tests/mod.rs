//! REST APIs as their clients and functions see them: over real sockets, in front of scripted functions.
#![allow(clippy::unwrap_used, reason = "A test that panics has failed, as it should")]

mod authorizers;
mod identities;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use aws_lambda_events::apigw::ApiGatewayProxyRequest;
use axum::Router;
use http::{HeaderMap, Method};
use reqwest::RequestBuilder;
use samovar_template::{Authorization, RestApi, RestCors, RestMock, RestRoute, RouteKey};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Api, router_before};
use crate::edge::Edge;
use crate::testing::functions::Functions;
use crate::testing::{NEVER, within};

/// A running API with the stage `v1` in front of scripted functions. Other paths get `elsewhere`.
struct Bench {
    api: Arc<Api>,
    functions: Arc<Functions>,
    address: SocketAddr,
    http: reqwest::Client,
    _stop_at_the_end: DropGuard,
}

/// A response that has been read.
#[derive(Debug)]
struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    #[track_caller]
    fn assert_refused(&self, status: u16, message: &str, kind: &str) {
        assert_eq!((self.status, self.text()), (status, json!({ "message": message }).to_string().as_str()));
        assert_eq!(self.header("x-amzn-errortype"), Some(kind));
        assert!(self.header("x-amzn-requestid").is_some() && self.header("x-amz-apigw-id").is_some());
    }
}

impl Bench {
    /// With these routes, each to a function: `("GET /pets", "pets")`.
    async fn with(routes: &[(&str, &str)], change: impl FnOnce(&mut RestApi)) -> Self {
        Self::with_edge(routes, change, |_| {}).await
    }

    /// The same, with another edge.
    async fn with_edge(
        routes: &[(&str, &str)],
        change: impl FnOnce(&mut RestApi),
        change_edge: impl FnOnce(&mut Edge),
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let functions = Arc::new(Functions::default());
        let mut spec = RestApi {
            logical_id: "Rest".into(),
            api_id: "rest".into(),
            name: "rest".into(),
            stage: "v1".into(),
            stage_variables: BTreeMap::new(),
            cors: None,
            authorizers: BTreeMap::new(),
            api_key: None,
            binary_media_types: Vec::new(),
            routes: routes.iter().map(|(key, function)| route(key, function)).collect(),
            mocks: Vec::new(),
            other_integrations: BTreeMap::new(),
        };
        change(&mut spec);
        let mut edge = Edge::of(address, &functions);
        change_edge(&mut edge);
        let api = Arc::new(Api::new(spec, &edge));
        let stop = CancellationToken::new();
        let router = router_before(vec![Arc::clone(&api)], Router::new().fallback(|| async { "elsewhere" }));
        tokio::spawn(crate::server::serve(listener, router, None, stop.clone()));
        Self { api, functions, address, http: reqwest::Client::new(), _stop_at_the_end: stop.drop_guard() }
    }

    async fn start(routes: &[(&str, &str)]) -> Self {
        Self::with(routes, |_| {}).await
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("http://{}{path}", self.address))
    }

    async fn get(&self, path: &str) -> Answer {
        send(self.request(Method::GET, path)).await
    }
}

async fn send(request: RequestBuilder) -> Answer {
    let response = within("The request is answered", request.send()).await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Answer { status, headers, body: response.bytes().await.unwrap().to_vec() }
}

fn route(key: &str, function: &str) -> RestRoute {
    let (method, path) = key.split_once(' ').unwrap();
    RestRoute {
        key: RouteKey::parse(method, path).unwrap(),
        function: function.into(),
        integration_timeout: NEVER,
        authorization: None,
        api_key_required: false,
    }
}

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[tokio::test]
async fn a_mock_answers_by_itself_and_goes_before_the_preflight_of_sam() {
    let bench = Bench::with(&[("GET /pets", "f")], |spec| {
        let key = RouteKey::parse("OPTIONS", "/pets").unwrap();
        let headers = vec![("Access-Control-Allow-Origin".to_owned(), "https://a.example".to_owned())];
        spec.mocks.push(RestMock { key, status: 202, headers, body: "{}".into() });
        let key = RouteKey::parse("GET", "/broken").unwrap();
        spec.mocks.push(RestMock { key, status: 99, headers: Vec::new(), body: String::new() });
        spec.cors = Some(RestCors {
            allow_origin: "*".into(),
            allow_methods: None,
            allow_headers: None,
            max_age: None,
            allow_credentials: false,
        });
    })
    .await;
    let answer = send(bench.request(Method::OPTIONS, "/v1/pets")).await;
    assert_eq!((answer.status, answer.text()), (202, "{}"));
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://a.example"));
    assert_eq!(bench.get("/v1/broken").await.status, 502);
    assert_eq!((bench.get("/v1/pets").await.status, bench.functions.count("f")), (200, 1));
}

#[tokio::test]
async fn an_event_has_the_fields_of_the_proxy_integration_and_parses() {
    let bench = Bench::with(&[("POST /pets/{id}", "f")], |spec| {
        spec.stage_variables = BTreeMap::from([("a".into(), "b".into())]);
    })
    .await;
    let request = bench.request(Method::POST, "/v1/pets/a%20b/?x=1&x=2&y=%C3%A9").header("X-Own", "one");
    assert_eq!(send(request.header("x-own", "two").body("{}")).await.status, 200);
    let event = bench.functions.event("f").await;
    let expected = [
        "body",
        "headers",
        "httpMethod",
        "isBase64Encoded",
        "multiValueHeaders",
        "multiValueQueryStringParameters",
        "path",
        "pathParameters",
        "queryStringParameters",
        "requestContext",
        "resource",
        "stageVariables",
    ];
    assert_eq!(keys(&event), BTreeSet::from(expected));
    assert_eq!([&event["resource"], &event["path"], &event["httpMethod"]], ["/pets/{id}", "/pets/a%20b", "POST"]);
    assert_eq!(event["queryStringParameters"], json!({ "x": "2", "y": "é" }), "the last of several values");
    assert_eq!(event["multiValueQueryStringParameters"], json!({ "x": ["1", "2"], "y": ["é"] }));
    assert_eq!((&event["pathParameters"], &event["stageVariables"]), (&json!({ "id": "a b" }), &json!({ "a": "b" })));
    assert_eq!((&event["body"], &event["isBase64Encoded"]), (&json!("{}"), &json!(false)));
    assert_eq!(event["multiValueHeaders"]["Host"], json!([bench.address.to_string()]));
    assert_eq!(event["headers"]["X-Forwarded-For"], "127.0.0.1");
    let context = &event["requestContext"];
    assert_eq!([&context["stage"], &context["apiId"], &context["resourcePath"]], ["v1", "rest", "/pets/{id}"]);
    assert_eq!((&context["path"], &context["httpMethod"]), (&json!("/v1/pets/a%20b/"), &json!("POST")));
    assert_eq!(context["requestId"].as_str().map(str::len), Some(36));
    let parsed: ApiGatewayProxyRequest = serde_json::from_value(event.clone()).unwrap();
    let own: Vec<_> = parsed.multi_value_headers.get_all("x-own").iter().collect();
    assert_eq!(own, ["one", "two"]);
}

#[tokio::test]
async fn what_a_request_does_not_have_is_null() {
    let bench = Bench::start(&[("GET /", "f")]).await;
    assert_eq!(bench.get("/v1").await.status, 200, "the stage alone is the root");
    let event = bench.functions.event("f").await;
    for name in ["body", "pathParameters", "queryStringParameters", "multiValueQueryStringParameters", "stageVariables"]
    {
        assert_eq!(event[name], Value::Null, "{name}");
    }
    assert_eq!([&event["path"], &event["resource"]], ["/", "/"]);
    assert_eq!(bench.get("/other").await.text(), "elsewhere", "a path of another API");
    assert_eq!(bench.api.requests.load(std::sync::atomic::Ordering::Relaxed), 1);
    within("The requests have ended", bench.api.shutdown()).await;
}

#[tokio::test]
async fn the_most_specific_route_is_chosen_and_no_route_is_a_missing_token() {
    let bench = Bench::start(&[("ANY /{proxy+}", "all"), ("GET /pets", "pets"), ("POST /pets", "make")]).await;
    for (method, path, function) in [
        (Method::GET, "/v1/pets", "pets"),
        (Method::GET, "/v1/pets/", "pets"),
        (Method::POST, "/v1/pets", "make"),
        (Method::DELETE, "/v1/other/1", "all"),
    ] {
        assert_eq!(send(bench.request(method, path)).await.status, 200);
        bench.functions.event(function).await;
    }
    let refused = bench.get("/v1").await;
    refused.assert_refused(403, "Missing Authentication Token", "MissingAuthenticationTokenException");
}

#[tokio::test]
async fn an_answer_becomes_a_response() {
    let bench = Bench::start(&[("GET /", "f")]).await;
    let answer = json!({
        "statusCode": "201",
        "headers": { "Content-Type": "text/html", "X-One": "a", "X-Two": "b" },
        "multiValueHeaders": { "x-one": ["a", "c"], "Set-Cookie": ["k=1", "l=2"] },
        "body": "hello",
        "isBase64Encoded": false,
    });
    bench.functions.answers("f", answer);
    let response = bench.get("/v1/").await;
    assert_eq!((response.status, response.text()), (201, "hello"));
    assert_eq!((response.header("content-type"), response.header("x-two")), (Some("text/html"), Some("b")));
    let all = |name| response.headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect::<Vec<_>>();
    assert_eq!((all("x-one"), all("set-cookie")), (vec!["a", "c"], vec!["k=1", "l=2"]));
    bench.functions.answers("f", json!({ "statusCode": 204, "headers": null, "body": null }));
    let response = bench.get("/v1/").await;
    assert_eq!((response.status, response.header("content-type")), (204, Some("application/json")));
}

#[tokio::test]
async fn a_malformed_answer_or_a_failure_is_a_502() {
    let bench = Bench::start(&[("GET /", "f")]).await;
    let assert_internal =
        |answer: Answer| answer.assert_refused(502, "Internal server error", "InternalServerErrorException");
    for answer in [
        json!("text"),
        json!({}),
        json!({ "statusCode": 100 }),
        json!({ "statusCode": "many" }),
        json!({ "statusCode": 200, "body": {} }),
        json!({ "statusCode": 200, "isBase64Encoded": "yes" }),
        json!({ "statusCode": 200, "headers": [] }),
        json!({ "statusCode": 200, "headers": { "a": 1 } }),
        json!({ "statusCode": 200, "headers": { "a b": "1" } }),
        json!({ "statusCode": 200, "multiValueHeaders": { "a": "1" } }),
    ] {
        bench.functions.answers("f", answer);
        assert_internal(bench.get("/v1").await);
    }
    bench.functions.script("f", |_| Ok("no JSON".into()));
    assert_internal(bench.get("/v1").await);
    bench.functions.fails("f", "Oh no");
    assert_internal(bench.get("/v1").await);
}

#[tokio::test]
async fn a_function_that_takes_too_long_is_a_504() {
    let bench = Bench::with(&[("GET /", "f")], |spec| {
        spec.routes[0].integration_timeout = Duration::from_millis(20);
    })
    .await;
    let gate = bench.functions.hold("f");
    let answer = bench.get("/v1").await;
    answer.assert_refused(504, "Endpoint request timed out", "InternalServerErrorException");
    gate.add_permits(1);
    within("The function ends", bench.api.shutdown()).await;
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused() {
    let bench = Bench::start(&[("POST /", "f")]).await;
    for bytes in [10 * 1024 * 1024 + 1, samovar_host::MAX_REQUEST_BYTES] {
        let answer = send(bench.request(Method::POST, "/v1").body("a".repeat(bytes))).await;
        answer.assert_refused(413, "Request Too Long", "RequestTooLargeException");
    }
    assert_eq!(bench.functions.count("f"), 0);
}

#[tokio::test]
async fn binary_media_types_are_base64_for_functions_and_bytes_for_clients() {
    let bench = Bench::with(&[("POST /", "f")], |spec| spec.binary_media_types = vec!["image/png".into()]).await;
    bench.functions.answers("f", json!({ "statusCode": 200, "body": "AP8=", "isBase64Encoded": true }));
    let post = || bench.request(Method::POST, "/v1").body(vec![0_u8, 255]);
    let answer = send(post().header("content-type", "image/png").header("accept", "image/png")).await;
    assert_eq!(answer.body, [0, 255]);
    let event = bench.functions.event("f").await;
    assert_eq!((&event["body"], &event["isBase64Encoded"]), (&json!("AP8="), &json!(true)));
    let answer = send(post().header("accept", "text/html")).await;
    assert_eq!(answer.text(), "AP8=", "a client that does not ask for bytes gets the text");
    assert_eq!(bench.functions.event("f").await["isBase64Encoded"], false);
    bench.functions.answers("f", json!({ "statusCode": 200, "body": "?", "isBase64Encoded": true }));
    let answer = send(post().header("accept", "image/png")).await;
    answer.assert_refused(502, "Internal server error", "InternalServerErrorException");
}

#[tokio::test]
async fn with_cors_each_path_answers_options() {
    let cors = RestCors {
        allow_origin: "*".into(),
        allow_methods: None,
        allow_headers: Some("X-Own".into()),
        max_age: Some("600".into()),
        allow_credentials: true,
    };
    let routes = [("GET /a/{id}", "f"), ("PUT /a/{key}", "f"), ("ANY /b", "f"), ("OPTIONS /c", "f")];
    let bench = Bench::with(&routes, |spec| spec.cors = Some(cors)).await;
    let options = |path: &'static str| send(bench.request(Method::OPTIONS, path));
    let answer = options("/v1/a/1").await;
    assert_eq!((answer.status, answer.text()), (200, "{}\n"));
    for (name, value) in [
        ("access-control-allow-origin", "*"),
        ("access-control-allow-methods", "GET,OPTIONS,PUT"),
        ("access-control-allow-headers", "X-Own"),
        ("access-control-max-age", "600"),
        ("access-control-allow-credentials", "true"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{name}");
    }
    let all = "DELETE,GET,HEAD,OPTIONS,PATCH,POST,PUT";
    assert_eq!(options("/v1/b").await.header("access-control-allow-methods"), Some(all));
    assert_eq!(bench.functions.count("f"), 0);
    assert_eq!(options("/v1/c").await.header("access-control-allow-methods"), None, "the template's own method");
    assert_eq!((options("/v1/d").await.status, bench.functions.count("f")), (403, 1));
}

#[tokio::test]
async fn a_route_with_an_authorizer_or_an_api_key_refuses_every_request() {
    let bench = Bench::with(&[("GET /a", "f"), ("GET /b", "f")], |spec| {
        spec.routes[0].authorization = Some(Authorization { authorizer: "A".into(), scopes: Vec::new() });
        spec.routes[1].api_key_required = true;
    })
    .await;
    bench.get("/v1/a").await.assert_refused(401, "Unauthorized", "UnauthorizedException");
    bench.get("/v1/b").await.assert_refused(403, "Forbidden", "ForbiddenException");
    assert_eq!(bench.functions.count("f"), 0);
}
