//! The events of functions, compared with events from AWS.

use aws_lambda_events::apigw::ApiGatewayV2httpRequest;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::*;
use crate::ids::is_gateway_id;
use crate::testing::shapes::assert_shape;

fn parse(event: &Value) -> ApiGatewayV2httpRequest {
    serde_json::from_value(event.clone()).unwrap_or_else(|error| panic!("{error}: {event:#}"))
}

/// Removes the fields that exist with mutual TLS only.
fn captured(text: &str) -> Value {
    let mut event: Value = serde_json::from_str(text).unwrap();
    event["requestContext"].as_object_mut().unwrap().remove("authentication").unwrap();
    event
}

#[tokio::test]
async fn a_simple_request_has_the_keys_of_a_captured_one_and_parses() {
    let bench = Bench::start(&[("$default", "f")]).await;
    let mut client = TcpStream::connect(bench.address).await.unwrap();
    // This is the request that curl sent.
    let head =
        "GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: curl/7.58.0\r\nAccept: */*\r\nConnection: close\r\n\r\n";
    client.write_all(head.as_bytes()).await.unwrap();
    let event = bench.functions.event("f").await;
    let captured = captured(include_str!("events/http-no-authorizer.json"));
    assert_shape(&event, &captured.to_string());
    for same in ["version", "routeKey", "rawPath", "rawQueryString", "isBase64Encoded"] {
        assert_eq!(event[same], captured[same], "{same}");
    }
    for same in ["accept", "content-length", "user-agent"] {
        assert_eq!(event["headers"][same], captured["headers"][same], "{same}");
    }
    assert_eq!(event["headers"]["host"], bench.address.to_string());
    let parsed = parse(&event).request_context;
    assert_eq!((parsed.apiid.as_deref(), parsed.stage.as_deref()), (Some("httpapi"), Some("$default")));
    assert_eq!((parsed.http.method.as_str(), parsed.http.source_ip.as_deref()), ("GET", Some("127.0.0.1")));
    let mut response = String::new();
    within("The response ends", client.read_to_string(&mut response)).await.unwrap();
    assert!(response.starts_with("HTTP/1.1 200"), "{response}");
}

#[tokio::test]
async fn a_request_with_everything_has_the_keys_of_the_documented_one_and_parses() {
    let issuer = Issuer::start().await;
    let bench = Bench::guarded(&issuer, &["scope1"]).await;
    let mut api = Api::new(bench.api.spec.clone(), &Edge { domain: "localhost".into(), ..bench.api.edge.clone() });
    api.spec.routes[0].key = RouteKey::parse("POST", "/my/{proxy+}").unwrap();
    api.spec.stage_variables = ["stageVariable1", "stageVariable2"].map(|name| (name.into(), "value".into())).into();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let query = "parameter1=value1&parameter1=value2&parameter2=value";
    let url = format!("http://{}/my/hello/world?{query}", listener.local_addr().unwrap());
    tokio::spawn(crate::server::serve(listener, router(vec![Arc::new(api)]), None, CancellationToken::new()));
    let request = bench
        .http
        .post(url)
        .bearer_auth(issuer.token(json!({ "scope": "scope1 scope2" })))
        .header("cookie", "cookie1; cookie2")
        .header("content-type", "application/json")
        .body("{\r\n\t\"a\": 1\r\n}");
    let mut event = bench.event_of("me", request).await;
    let parsed = parse(&event);
    let jwt = parsed.request_context.authorizer.as_ref().unwrap().jwt.as_ref().unwrap();
    assert_eq!(jwt.claims["sub"], "user-1");
    assert_eq!(jwt.scopes.as_deref(), Some(["scope1".to_owned(), "scope2".to_owned()].as_slice()));

    let mut captured = captured(include_str!("events/http-jwt-authorizer.json"));
    for same in ["rawQueryString", "cookies", "queryStringParameters", "pathParameters", "body", "isBase64Encoded"] {
        assert_eq!(event[same], captured[same], "{same}");
    }
    // Their names are each request's own.
    for event in [&mut event, &mut captured] {
        for own in ["/headers", "/requestContext/authorizer/jwt/claims"] {
            let all = event.pointer_mut(own).unwrap();
            assert!(all.as_object().unwrap().values().all(Value::is_string), "{all:#}");
            *all = json!({});
        }
    }
    assert_shape(&event, &captured.to_string());
}

#[tokio::test]
async fn ids_and_times_have_api_gateways_form() {
    let bench = Bench::start(&[("GET /pets/{id}", "f")]).await;
    let before = crate::clock::now_ms();
    let answer = bench.get("/pets/7").await;
    let event = bench.functions.event("f").await;
    let context = &event["requestContext"];
    let id = context["requestId"].as_str().unwrap();
    assert!(is_gateway_id(id) && answer.header("apigw-requestid") == Some(id), "{answer:?}");
    let epoch_ms = context["timeEpoch"].as_i64().unwrap();
    assert!((before..=crate::clock::now_ms()).contains(&epoch_ms));
    // 12/Mar/2020:19:03:58 +0000
    let written = context["time"].as_str().unwrap();
    let time = jiff::Zoned::strptime("%d/%b/%Y:%H:%M:%S %z", written).unwrap();
    assert_eq!((time.timestamp().as_second(), written.len()), (epoch_ms / 1000, 26));
    assert_eq!([&event["routeKey"], &context["routeKey"]], ["GET /pets/{id}", "GET /pets/{id}"]);
    assert_eq!([&context["accountId"], &context["domainPrefix"]], ["000000000000", "httpapi"]);
    assert_eq!([&context["domainName"], &context["http"]["protocol"]], [&bench.address.to_string(), "HTTP/1.1"]);
}

#[tokio::test]
async fn headers_are_in_lower_case_joined_with_commas_and_without_cookies() {
    let bench = Bench::start(&[("GET /", "f")]).await;
    let request = bench
        .request(Method::GET, "/")
        .header("X-Many", "1")
        .header("X-Many", "2, 3")
        .header("Cookie", "a=1; b=2")
        .header("Cookie", "c=3")
        .header("X-Forwarded-For", "10.0.0.1")
        .header("Transfer-Encoding", "chunked");
    let event = bench.event_of("f", request).await;
    let headers = event["headers"].as_object().unwrap();
    assert_eq!(headers["x-many"], "1,2, 3");
    assert_eq!(event["cookies"], json!(["a=1", "b=2", "c=3"]));
    assert_eq!(headers["x-forwarded-for"], "10.0.0.1, 127.0.0.1");
    assert!(["cookie", "connection", "transfer-encoding"].iter().all(|name| !headers.contains_key(*name)), "{event:#}");
    assert!(headers.keys().all(|name| *name == name.to_lowercase()));
}

#[tokio::test]
async fn the_path_is_decoded_and_the_query_is_both_raw_and_decoded() {
    let bench = Bench::start(&[("GET /{proxy+}", "f")]).await;
    let event = bench.event_of("f", bench.request(Method::GET, "/a%20b/c%2Fd?x=1%202&y=a+b&x=3&flag")).await;
    assert_eq!([&event["rawPath"], &event["rawQueryString"]], ["/a b/c/d", "x=1%202&y=a+b&x=3&flag"]);
    assert_eq!(event["queryStringParameters"], json!({ "x": "1 2,3", "y": "a b", "flag": "" }));
    assert_eq!(event["pathParameters"], json!({ "proxy": "a b/c/d" }));
}

#[tokio::test]
async fn bodies_of_text_types_are_text_and_all_others_base64() {
    let bench = Bench::start(&[("POST /", "f")]).await;
    for (content_type, is_text) in [
        (Some("application/json"), true),
        (Some("Application/JSON; charset=utf-8"), true),
        (Some("application/xml"), true),
        (Some("application/javascript"), true),
        (Some("text/html"), true),
        (Some("application/x-www-form-urlencoded"), false),
        (Some("application/problem+json"), false),
        (Some("multipart/form-data; boundary=x"), false),
        (Some("image/png"), false),
        (None, false),
    ] {
        let mut request = bench.request(Method::POST, "/").body("h\u{e9}");
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        let event = bench.event_of("f", request).await;
        let expected = if is_text { json!(["h\u{e9}", false]) } else { json!(["aMOp", true]) };
        assert_eq!(json!([event["body"], event["isBase64Encoded"]]), expected, "{content_type:?}");
        assert_eq!(event["headers"]["content-length"], "3");
    }
    // Compressed, for example: bytes that are not UTF-8 cannot be text.
    let compressed = bench.request(Method::POST, "/").header("content-type", "application/json").body(vec![0x1f, 0x8b]);
    let event = bench.event_of("f", compressed).await;
    assert_eq!(json!([event["body"], event["isBase64Encoded"]]), json!(["H4s=", true]));
}
