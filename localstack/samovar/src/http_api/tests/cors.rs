//! CORS as a browser sees it.

use super::*;

const OURS: &str = "https://app.example";

fn configuration() -> Cors {
    let list = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect();
    Cors {
        allow_origins: list(&[OURS, "http://localhost:3000"]),
        allow_methods: list(&["GET", "POST"]),
        allow_headers: list(&["authorization", "content-type"]),
        expose_headers: list(&["x-page"]),
        max_age_seconds: Some(300),
        allow_credentials: true,
    }
}

async fn bench(cors: Cors) -> Bench {
    let routes = [("GET /items", "items"), ("ANY /any", "any")];
    let bench = Bench::with(&routes, |api| api.spec.cors = Some(cors)).await;
    let foreign =
        json!({ "Access-Control-Allow-Origin": "https://evil.example", "access-control-max-age": "9", "x-a": "b" });
    bench.functions.answers("items", json!({ "statusCode": 200, "headers": foreign }));
    bench
}

fn preflight(bench: &Bench, path: &str, origin: &str) -> RequestBuilder {
    let request = bench.request(Method::OPTIONS, path).header("origin", origin);
    request.header("access-control-request-method", "GET")
}

/// Its CORS headers, in order.
fn cors_of(answer: &Answer) -> Vec<(&str, &str)> {
    let all = answer.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap()));
    let mut cors: Vec<_> =
        all.filter_map(|(name, value)| Some((name.strip_prefix("access-control-")?, value))).collect();
    cors.sort_unstable();
    cors
}

#[tokio::test]
async fn a_preflight_is_answered_without_a_route_for_options() {
    let bench = bench(configuration()).await;
    for path in ["/items", "/", "/nothing/here"] {
        let answer = send(preflight(&bench, path, OURS)).await;
        assert_eq!((answer.status, answer.body.len()), (204, 0), "{path}");
        let expected = [
            ("allow-credentials", "true"),
            ("allow-headers", "authorization,content-type"),
            ("allow-methods", "GET,POST"),
            ("allow-origin", OURS),
            ("max-age", "300"),
        ];
        assert_eq!(cors_of(&answer), expected, "{path}");
        assert!(answer.header("apigw-requestid").is_some());
    }
    assert_eq!(bench.functions.count("items"), 0);
}

#[tokio::test]
async fn a_preflight_needs_no_token_unless_its_route_matches_options() {
    let issuer = Issuer::start().await;
    for (key, status) in [("GET /me", 204), ("ANY /me", 401), ("ANY /{proxy+}", 401), ("$default", 401)] {
        let spec = bench(configuration()).await.api.spec.cors.clone();
        let guarded = Bench::guarded(&issuer, &[]).await;
        let mut api = Api::new(guarded.api.spec.clone(), &guarded.api.edge);
        (api.spec.cors, api.spec.routes[0].key) = (spec, route(key, "me").key);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/me", listener.local_addr().unwrap());
        tokio::spawn(crate::server::serve(listener, router(vec![Arc::new(api)]), None, CancellationToken::new()));
        let request = guarded.http.request(Method::OPTIONS, url).header("origin", OURS);
        let answer = send(request.header("access-control-request-method", "GET")).await;
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (status, Some(OURS)), "{key}");
    }
}

#[tokio::test]
async fn a_route_that_matches_options_answers_the_preflight_and_the_api_adds_its_headers() {
    let bench = bench(configuration()).await;
    let foreign = json!({ "access-control-allow-methods": "TRACE" });
    bench.functions.answers("any", json!({ "statusCode": 200, "headers": foreign, "body": "mine" }));
    let answer = send(preflight(&bench, "/any", OURS)).await;
    assert_eq!((answer.status, answer.text()), (200, "mine"));
    assert_eq!(answer.header("access-control-allow-methods"), Some("GET,POST"));
    assert_eq!(bench.functions.count("any"), 1);
}

#[tokio::test]
async fn the_apis_headers_replace_those_of_the_function() {
    let bench = bench(configuration()).await;
    let answer = send(bench.request(Method::GET, "/items").header("origin", OURS)).await;
    let expected = [("allow-credentials", "true"), ("allow-origin", OURS), ("expose-headers", "x-page")];
    assert_eq!((cors_of(&answer).as_slice(), answer.header("x-a")), (expected.as_slice(), Some("b")));
}

#[tokio::test]
async fn an_origin_that_is_not_allowed_gets_the_response_without_headers() {
    let bench = bench(configuration()).await;
    for origin in
        ["https://evil.example", "https://app.example.evil", "http://app.example", "null", "https://app.example/"]
    {
        let answer = send(bench.request(Method::GET, "/items").header("origin", origin)).await;
        assert_eq!((answer.status, cors_of(&answer)), (200, vec![]), "{origin}");
        let answer = send(preflight(&bench, "/items", origin)).await;
        assert_eq!((answer.status, cors_of(&answer)), (204, vec![]), "{origin}");
    }
}

#[tokio::test]
async fn without_an_origin_or_a_requested_method_there_are_no_headers() {
    let bench = bench(configuration()).await;
    assert_eq!(cors_of(&bench.get("/items").await), []);
    let no_origin = bench.request(Method::OPTIONS, "/items").header("access-control-request-method", "GET");
    for request in [no_origin, bench.request(Method::OPTIONS, "/items").header("origin", OURS)] {
        let answer = send(request).await;
        assert_eq!((answer.status, cors_of(&answer)), (204, vec![]));
    }
}

#[tokio::test]
async fn wildcards_allow_every_origin_or_every_one_of_a_scheme() {
    let allowed = |answer: Answer| answer.header("access-control-allow-origin").map(str::to_owned);
    for (configured, origin, expected) in [
        ("*", "http://a.example:81", Some("*")),
        ("https://*", "https://a.example", Some("https://a.example")),
        ("https://*", "http://a.example", None),
        ("http://*", "http://a.example", Some("http://a.example")),
        ("http://*", "https://a.example", None),
    ] {
        let cors = Cors { allow_origins: vec![configured.into()], ..Cors::default() };
        let bench = bench(cors).await;
        let answer = send(bench.request(Method::GET, "/items").header("origin", origin)).await;
        assert_eq!(allowed(answer).as_deref(), expected, "{configured} {origin}");
    }
}

#[tokio::test]
async fn refusals_have_cors_headers_too() {
    let bench = bench(configuration()).await;
    let answer = send(bench.request(Method::GET, "/nothing").header("origin", OURS)).await;
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (404, Some(OURS)));
}

#[tokio::test]
async fn without_a_configuration_everything_passes_through() {
    let bench = Bench::start(&[("ANY /items", "items")]).await;
    let own = json!({ "access-control-allow-origin": "https://their.choice" });
    bench.functions.answers("items", json!({ "statusCode": 201, "headers": own }));
    for request in [preflight(&bench, "/items", OURS), bench.request(Method::GET, "/items")] {
        let answer = send(request).await;
        assert_eq!((answer.status, cors_of(&answer)), (201, vec![("allow-origin", "https://their.choice")]));
    }
    send(preflight(&bench, "/nothing", OURS)).await.assert_refused(404, "Not Found");
}
