//! What clients get of what functions answer.

use super::*;

async fn answer_to(answer: Value) -> Answer {
    let bench = Bench::start(&[("GET /", "f")]).await;
    bench.functions.answers("f", answer);
    bench.get("/").await
}

#[tokio::test]
async fn an_explicit_response_is_sent_as_it_is() {
    let headers = json!({ "Content-Type": "text/html", "X-Own": "1", "location": "/there" });
    let answer = answer_to(json!({ "statusCode": 302, "headers": headers, "body": "h\u{e9}" })).await;
    assert_eq!((answer.status, answer.text()), (302, "h\u{e9}"));
    assert_eq!([answer.header("content-type"), answer.header("x-own")], [Some("text/html"), Some("1")]);
    assert_eq!(answer.header("location"), Some("/there"));
}

#[tokio::test]
async fn each_cookie_is_a_set_cookie_header() {
    let headers = json!({ "Set-Cookie": "c=3" });
    let answer = answer_to(json!({ "statusCode": 200, "headers": headers, "cookies": ["a=1; HttpOnly", "b=2"] })).await;
    let mut cookies: Vec<_> =
        answer.headers.get_all("set-cookie").iter().map(|value| value.to_str().unwrap()).collect();
    cookies.sort_unstable();
    assert_eq!(cookies, ["a=1; HttpOnly", "b=2", "c=3"]);
}

#[tokio::test]
async fn a_base64_body_is_sent_as_its_bytes() {
    let headers = json!({ "content-type": "image/png" });
    let answer =
        answer_to(json!({ "statusCode": 200, "headers": headers, "body": "iVBOR/8=", "isBase64Encoded": true })).await;
    assert_eq!(answer.body, [0x89, b'P', b'N', b'G', 0xff]);
    assert_eq!(answer.header("content-length"), Some("5"));
}

#[tokio::test]
async fn without_a_status_the_answer_is_the_json_body() {
    for (function, body) in [
        (r#"{ "b": 1,  "a": [true] }"#, r#"{ "b": 1,  "a": [true] }"#),
        (r#""Hello from Lambda!""#, "Hello from Lambda!"),
        ("[1]", "[1]"),
        ("null", "null"),
        (r#"{"body":"x","headers":{}}"#, r#"{"body":"x","headers":{}}"#),
    ] {
        let bench = Bench::start(&[("GET /", "f")]).await;
        bench.functions.script("f", move |_| Ok(function.into()));
        let answer = bench.get("/").await;
        assert_eq!((answer.status, answer.text()), (200, body));
        assert_eq!(answer.header("content-type"), Some("application/json"));
    }
}

#[tokio::test]
async fn a_response_needs_no_body_and_no_headers() {
    for fields in
        [json!({ "statusCode": 204 }), json!({ "statusCode": 404, "body": null, "headers": null, "cookies": null })]
    {
        let status = fields["statusCode"].clone();
        let answer = answer_to(fields).await;
        assert_eq!((json!(answer.status), answer.body.len()), (status, 0));
    }
    assert_eq!(
        answer_to(json!({ "statusCode": 200, "body": "x" })).await.header("content-type"),
        Some("text/plain;charset=UTF-8")
    );
}

#[tokio::test]
async fn headers_of_the_connection_are_not_the_functions() {
    let headers =
        json!({ "content-length": "999", "transfer-encoding": "chunked", "connection": "close", "x-own": "1" });
    let answer = answer_to(json!({ "statusCode": 200, "headers": headers, "body": "abc" })).await;
    assert_eq!((answer.text(), answer.header("x-own")), ("abc", Some("1")));
    assert_eq!((answer.header("content-length"), answer.header("transfer-encoding")), (Some("3"), None));
}

#[tokio::test]
async fn a_malformed_answer_is_500() {
    for answer in [
        json!({ "statusCode": "200" }),
        json!({ "statusCode": 20 }),
        json!({ "statusCode": 101 }),
        json!({ "statusCode": 600 }),
        json!({ "statusCode": 70_000 }),
        json!({ "statusCode": null }),
        json!({ "statusCode": 200, "body": { "a": 1 } }),
        json!({ "statusCode": 200, "body": "no base64!", "isBase64Encoded": true }),
        json!({ "statusCode": 200, "isBase64Encoded": "true" }),
        json!({ "statusCode": 200, "headers": [] }),
        json!({ "statusCode": 200, "headers": { "a": ["b"] } }),
        json!({ "statusCode": 200, "headers": { "a b": "c" } }),
        json!({ "statusCode": 200, "headers": { "a": "b\nc" } }),
        json!({ "statusCode": 200, "cookies": "a=1" }),
        json!({ "statusCode": 200, "cookies": [7] }),
    ] {
        let refused = answer_to(answer.clone()).await;
        assert_eq!(refused.status, 500, "{answer}");
        refused.assert_refused(500, "Internal Server Error");
        assert_eq!(refused.header("content-type"), Some("application/json"));
    }
    for answer in ["", "not json", "{", "\u{0}"] {
        let bench = Bench::start(&[("GET /", "f")]).await;
        bench.functions.script("f", move |_| Ok(answer.into()));
        bench.get("/").await.assert_refused(500, "Internal Server Error");
    }
}

#[tokio::test]
async fn a_head_request_gets_the_head_only() {
    let bench = Bench::start(&[("HEAD /", "f")]).await;
    bench.functions.answers("f", json!({ "statusCode": 200, "headers": { "x-own": "1" }, "body": "abc" }));
    let answer = send(bench.request(Method::HEAD, "/")).await;
    assert_eq!((answer.status, answer.header("x-own"), answer.body.len()), (200, Some("1"), 0));
}
