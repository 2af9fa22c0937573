//! Function URLs as their clients and functions see them: over real sockets, in front of scripted functions.
#![allow(clippy::unwrap_used, reason = "A test that panics has failed, as it should")]

use std::net::SocketAddr;
use std::sync::Arc;

use http::Method;
use samovar_services::door::Door;
use samovar_services::permissions::{Account, Permissions};
use samovar_template::{Cors, FunctionUrl};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::{Url, router_before};
use crate::edge::Edge;
use crate::invoke::IntegrationError;
use crate::sigv4::Keys;
use crate::testing::functions::Functions;
use crate::testing::shapes::assert_shape;
use crate::testing::signing::signed;
use crate::testing::within;

const ARN: &str = "arn:aws:lambda:us-east-1:000000000000:function:local-f";

struct Bench {
    functions: Arc<Functions>,
    address: SocketAddr,
    http: reqwest::Client,
    _stop_at_the_end: DropGuard,
}

impl Bench {
    async fn start(change: impl FnOnce(&mut FunctionUrl)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let functions = Arc::new(Functions::default());
        let door = Door::default();
        let allowed = json!({ "Statement": [{ "Effect": "Allow", "Action": "lambda:Invoke*", "Resource": ARN }] });
        let url_alone =
            json!({ "Statement": [{ "Effect": "Allow", "Action": "lambda:InvokeFunctionUrl", "Resource": ARN }] });
        let policies = [("caller", [allowed]), ("half", [url_alone])];
        let policies = policies.iter().map(|(name, policies)| (*name, policies.as_slice()));
        door.enforce(Permissions::of(policies, Account { region: "us-east-1".into(), id: "000000000000".into() }));
        let mut spec = FunctionUrl { id: "furl".into(), iam_authorization: false, cors: None, streaming: false };
        change(&mut spec);
        let keys = Keys::of(["caller", "half"].into_iter(), None);
        let edge = Edge { door, keys, ..Edge::of(address, &functions) };
        let (id, function, arn) = (spec.id.clone(), "f".into(), ARN.into());
        let url = Arc::new(Url { id, spec, function, arn, edge, tasks: TaskTracker::new() });
        let stop = CancellationToken::new();
        let fallback = axum::Router::new().fallback(|| async { "fallback" });
        tokio::spawn(crate::server::serve(listener, router_before(vec![url], fallback), None, stop.clone()));
        Self { functions, address, http: reqwest::Client::new(), _stop_at_the_end: stop.drop_guard() }
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, self.url(path))
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}/_lambda-url/furl{path}", self.address)
    }

    /// A request that this key has signed.
    fn signed(&self, access_key: &str, token: Option<&str>) -> reqwest::RequestBuilder {
        signed(&self.http, "lambda", &self.url("/a"), access_key, token)
    }
}

async fn send(request: reqwest::RequestBuilder) -> (u16, http::HeaderMap, String) {
    let response = within("The request is answered", request.send()).await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    (status, headers, response.text().await.unwrap())
}

/// As AWS sent it, with the values shortened.
const CAPTURED: &str = r#"{
  "version": "2.0", "routeKey": "$default", "rawPath": "/my/path", "rawQueryString": "a=1&a=2", "cookies": ["c=1"],
  "headers": {
    "accept": "*/*", "content-length": "4", "content-type": "text/plain", "host": "furl.lambda-url.us-east-1.on.aws",
    "user-agent": "test", "x-amzn-trace-id": "Root=1-2-3", "x-forwarded-for": "1.2.3.4", "x-forwarded-port": "443",
    "x-forwarded-proto": "https"
  },
  "queryStringParameters": {"a": "1,2"},
  "requestContext": {
    "accountId": "anonymous", "apiId": "furl", "domainName": "furl.lambda-url.us-east-1.on.aws",
    "domainPrefix": "furl",
    "http": {"method": "POST", "path": "/", "protocol": "HTTP/1.1", "sourceIp": "1.2.3.4", "userAgent": "test"},
    "requestId": "5fc6", "routeKey": "$default", "stage": "$default", "time": "10/Oct/2024:12:09:45 +0000",
    "timeEpoch": 1728562185224
  },
  "body": "text", "isBase64Encoded": false
}"#;

#[tokio::test]
async fn the_function_gets_the_event_of_aws_with_the_path_from_the_root() {
    let bench = Bench::start(|_| {}).await;
    bench.functions.answers("f", json!({ "hello": "world" }));
    let request = bench.request(Method::POST, "/my/p%20ath?a=1&a=2").header("user-agent", "test");
    let request = request.header("cookie", "c=1").header("content-type", "text/plain").body("text");
    let (status, headers, body) = send(request).await;
    assert_eq!((status, body.as_str()), (200, r#"{"hello":"world"}"#));
    assert_eq!(headers["content-type"], "application/json");
    assert!(headers.contains_key("x-amzn-requestid"));
    let event = bench.functions.event("f").await;
    assert_shape(&event, CAPTURED);
    assert_eq!((&event["rawPath"], &event["requestContext"]["accountId"]), (&json!("/my/p ath"), &json!("anonymous")));
    assert_eq!(event["requestContext"]["domainName"], bench.address.to_string());
    for (path, seen) in [("", "/"), ("/", "/"), ("/a/", "/a/")] {
        assert_eq!(send(bench.request(Method::GET, path)).await.0, 200);
        assert_eq!(bench.functions.event("f").await["rawPath"], seen);
    }
    let bytes = bench.request(Method::PUT, "/").header("content-type", "image/png").body(vec![0xff, 0]);
    assert_eq!(send(bytes).await.0, 200);
    let event = bench.functions.event("f").await;
    assert_eq!((&event["body"], &event["isBase64Encoded"]), (&json!("/wA="), &json!(true)));
}

#[tokio::test]
async fn other_paths_are_not_those_of_a_url() {
    let bench = Bench::start(|_| {}).await;
    let get = |path: &str| send(bench.http.get(format!("http://{}{path}", bench.address)));
    for path in ["/", "/_lambda-url", "/_lambda-urls/furl/", "/a/_lambda-url/furl/"] {
        assert_eq!(get(path).await.2, "fallback", "{path}");
    }
    assert_eq!(get("/_lambda-url/other/").await.0, 404);
}

#[tokio::test]
async fn an_answer_may_have_a_status_headers_and_cookies() {
    let bench = Bench::start(|_| {}).await;
    let answer = json!({
        "statusCode": 201,
        "headers": { "X-A": "1" },
        "cookies": ["a=1", "b=2"],
        "body": "/wA=",
        "isBase64Encoded": true,
    });
    bench.functions.answers("f", answer);
    let response = bench.request(Method::GET, "/").send().await.unwrap();
    assert_eq!((response.status().as_u16(), &response.headers()["x-a"]), (201, &"1".parse().unwrap()));
    assert_eq!(response.headers().get_all("set-cookie").iter().count(), 2);
    assert_eq!(response.headers()["content-type"], "application/json");
    assert_eq!(response.bytes().await.unwrap().to_vec(), [0xff, 0]);
}

#[tokio::test]
async fn what_goes_wrong_has_the_status_of_aws() {
    let bench = Bench::start(|_| {}).await;
    bench.functions.fails("f", "no");
    assert_eq!(send(bench.request(Method::GET, "/")).await.2, "Internal Server Error");
    bench.functions.answers("f", json!({ "statusCode": "x" }));
    assert_eq!(send(bench.request(Method::GET, "/")).await.0, 502);
    bench.functions.script("f", |_| Err(IntegrationError::Throttled("f runs already".into())));
    assert_eq!(send(bench.request(Method::GET, "/")).await.0, 429);
    // One byte of this becomes more than one in the event.
    let large = bench.request(Method::POST, "/").body(vec![0; 5 * 1024 * 1024]);
    let (status, _, body) = send(large).await;
    assert_eq!(status, 413);
    assert!(body.contains("Request must be smaller than 6291456 bytes"), "{body}");
    let larger = bench.request(Method::POST, "/").body(vec![0; 11 * 1024 * 1024]);
    assert_eq!(send(larger).await.0, 413);
}

#[tokio::test]
async fn a_url_with_iam_lets_in_whom_a_policy_allows() {
    let bench = Bench::start(|spec| spec.iam_authorization = true).await;
    for refused in [
        bench.request(Method::GET, "/"),
        bench.request(Method::GET, "/").header("authorization", "Bearer x"),
        bench.signed("LOCAL-caller", Some("local")).body("another"),
        bench.signed("LOCAL-half", Some("local")),
        bench.signed("LOCAL-stranger", Some("local")),
    ] {
        let (status, headers, body) = send(refused).await;
        assert_eq!((status, &headers["x-amzn-errortype"]), (403, &"AccessDeniedException".parse().unwrap()));
        let body: Value = serde_json::from_str(&body).unwrap();
        assert!(body["Message"].as_str().unwrap().starts_with("Forbidden"), "{body}");
    }
    assert_eq!(bench.functions.count("f"), 0);
    assert_eq!(send(bench.signed("LOCAL-caller", Some("local"))).await.0, 200);
    let context = bench.functions.event("f").await["requestContext"].clone();
    assert_eq!(
        (&context["accountId"], &context["authorizer"]["iam"]["accessKey"]),
        (&json!("000000000000"), &json!("LOCAL-caller"))
    );
    assert_eq!(context["authorizer"]["iam"]["userArn"], "arn:aws:sts::000000000000:assumed-role/caller/caller");
    assert_eq!(send(bench.signed("local", None)).await.0, 200, "a person");
}

#[tokio::test]
async fn cors_is_answered_by_lambda_itself() {
    let cors =
        Cors { allow_origins: vec!["https://a.example".into()], allow_methods: vec!["PUT".into()], ..Cors::default() };
    let bench = Bench::start(|spec| spec.cors = Some(cors)).await;
    let preflight = bench.request(Method::OPTIONS, "/").header("origin", "https://a.example");
    let preflight = preflight.header("access-control-request-method", "PUT");
    let (status, headers, body) = send(preflight).await;
    assert_eq!((status, body.as_str(), bench.functions.count("f")), (200, "", 0));
    assert_eq!(headers["access-control-allow-origin"], "https://a.example");
    assert_eq!(headers["access-control-allow-methods"], "PUT");
    let (_, headers, _) = send(bench.request(Method::GET, "/").header("origin", "https://a.example")).await;
    assert_eq!(
        (&headers["access-control-allow-origin"], bench.functions.count("f")),
        (&"https://a.example".parse().unwrap(), 1)
    );
    assert_eq!(send(bench.request(Method::OPTIONS, "/")).await.0, 200);
    assert_eq!(bench.functions.count("f"), 2, "no preflight");
}

#[tokio::test]
async fn a_streamed_answer_comes_with_its_head() {
    let bench = Bench::start(|spec| spec.streaming = true).await;
    let answer = |head: &str, body: &[u8]| [head.as_bytes(), &[0; 8], body].concat();
    for (answer, status, content_type, body) in [
        (
            answer(r#"{"statusCode":202,"headers":{"Content-Type":"text/html"},"cookies":["a=1"]}"#, b"<p>\0"),
            202,
            "text/html",
            "<p>\0",
        ),
        (answer("{}", b"x"), 200, "application/octet-stream", "x"),
        (answer("no JSON", b"x"), 200, "application/octet-stream", "no JSON\0\0\0\0\0\0\0\0x"),
        (b"{\"statusCode\":404}".to_vec(), 200, "application/octet-stream", "{\"statusCode\":404}"),
    ] {
        bench.functions.script("f", move |_| Ok(answer.clone().into()));
        let (own_status, headers, own_body) = send(bench.request(Method::GET, "/")).await;
        assert_eq!((own_status, own_body.as_str()), (status, body));
        assert_eq!(headers["content-type"], content_type);
    }
    bench.functions.script("f", move |_| Ok(answer(r#"{"statusCode":1}"#, b"").into()));
    assert_eq!(send(bench.request(Method::GET, "/")).await.0, 502);
}
