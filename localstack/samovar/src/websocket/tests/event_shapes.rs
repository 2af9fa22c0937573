//! The events of functions, compared with events that AWS has sent.

use std::collections::BTreeSet;

use aws_lambda_events::apigw::{ApiGatewayCustomAuthorizerRequestTypeRequest, ApiGatewayWebsocketProxyRequest};
use http::HeaderValue;
use insta::assert_json_snapshot;
use serde_json::json;

use super::client::{RawClient, TEXT};
use super::*;
use crate::ids::is_gateway_id;
use crate::testing::shapes::assert_shape;

fn parse(event: &Value) -> ApiGatewayWebsocketProxyRequest {
    serde_json::from_value(event.clone()).unwrap_or_else(|error| panic!("{error}: {event:#}"))
}

#[tokio::test]
async fn connect_message_and_disconnect_have_the_keys_of_captured_ones_and_parse() {
    let bench = Bench::start().await;
    let mut client = RawClient::request(bench.address, &HEAD).await;
    client.response().await;
    let connect = bench.functions.event("connect").await;
    assert_shape(&connect, include_str!("events/websocket-connect.json"));
    assert_eq!(parse(&connect).request_context.event_type.as_deref(), Some("CONNECT"));

    let body = r#"{"action": "join", "message": "Hello from client"}"#;
    client.send(true, TEXT, body.as_bytes()).await;
    let mut message = bench.functions.event("join").await;
    assert_shape(&message, include_str!("events/websocket-message.json"));
    assert_eq!(parse(&message).body.as_deref(), Some(body));
    for own in ["connectedAt", "connectionId", "domainName", "extendedRequestId", "messageId"] {
        *message["requestContext"].get_mut(own).expect(own) = "…".into();
    }
    for own in ["requestId", "requestTime", "requestTimeEpoch"] {
        *message["requestContext"].get_mut(own).expect(own) = "…".into();
    }
    assert_json_snapshot!(message, @r#"
    {
      "body": "{\"action\": \"join\", \"message\": \"Hello from client\"}",
      "isBase64Encoded": false,
      "requestContext": {
        "apiId": "chatapi",
        "connectedAt": "…",
        "connectionId": "…",
        "domainName": "…",
        "eventType": "MESSAGE",
        "extendedRequestId": "…",
        "identity": {
          "sourceIp": "127.0.0.1"
        },
        "messageDirection": "IN",
        "messageId": "…",
        "requestId": "…",
        "requestTime": "…",
        "requestTimeEpoch": "…",
        "routeKey": "join",
        "stage": "prod"
      }
    }
    "#);

    client.send(true, client::CLOSE, &[]).await;
    let disconnect = bench.functions.event("disconnect").await;
    assert_shape(&disconnect, include_str!("events/websocket-disconnect.json"));
    assert_eq!(parse(&disconnect).request_context.disconnect_status_code, Some(1005));
    assert_eq!(disconnect["headers"]["Host"], bench.address.to_string());
}

#[tokio::test]
async fn the_authorizers_event_has_the_keys_of_a_captured_one_and_parses() {
    let bench = Bench::with(|api| {
        let identity_sources = vec![IdentitySource::Header("authorization".into())];
        api.spec.authorizer = Some(Authorizer { function: "authorizer".into(), identity_sources });
    })
    .await;
    let head: Vec<&str> = HEAD.into_iter().chain(["Authorization: Leo"]).collect();
    RawClient::request(bench.address, &head).await.response().await;
    let mut event = bench.functions.event("authorizer").await;
    // In the captured event it is in the other map only: probably a slip when the capture was anonymised.
    assert_eq!(
        event["headers"].as_object_mut().unwrap().remove("Sec-WebSocket-Key").unwrap(),
        "+W5xw47OHh3OTFsWKjGu9Q=="
    );
    assert_shape(&event, include_str!("events/websocket-authorizer-request.json"));
    assert_eq!(event["methodArn"], "arn:aws:execute-api:us-east-1:000000000000:chatapi/prod/$connect");
    let parsed: ApiGatewayCustomAuthorizerRequestTypeRequest = serde_json::from_value(event).unwrap();
    assert_eq!(parsed.headers["authorization"], "Leo");
}

#[tokio::test]
async fn the_stages_variables_are_in_events_and_can_be_an_identity() {
    let bench = Bench::with(|api| {
        api.spec.stage_variables = [("tenant", "a")].map(|(name, value)| (name.into(), value.into())).into();
        let identity_sources = vec![IdentitySource::StageVariable("tenant".into())];
        api.spec.authorizer = Some(Authorizer { function: "authorizer".into(), identity_sources });
    })
    .await;
    let mut client = bench.connect().await;
    client.send(r#"{"action":"join"}"#).await;
    client.close(None).await;
    for function in ["authorizer", "join", "disconnect"] {
        assert_eq!(bench.functions.event(function).await["stageVariables"], json!({ "tenant": "a" }), "{function}");
    }
    let bench = Bench::with(|api| {
        let identity_sources = vec![IdentitySource::StageVariable("tenant".into())];
        api.spec.authorizer = Some(Authorizer { function: "authorizer".into(), identity_sources });
    })
    .await;
    assert_eq!(bench.refused().await.0, 401, "a stage without the variable");
}

#[tokio::test]
async fn ids_and_times_have_api_gateways_form() {
    let bench = Bench::authorized().await;
    let mut client = bench.connect().await;
    client.send(r#"{"action":"join"}"#).await;
    client.send(r#"{"action":"join"}"#).await;
    let mut contexts = Vec::new();
    for function in ["authorizer", "join", "join"] {
        contexts.push(bench.functions.event(function).await["requestContext"].take());
    }
    client.close(None).await;
    contexts.push(bench.functions.event("disconnect").await["requestContext"].take());

    let mut request_ids = BTreeSet::new();
    for context in &contexts {
        let text = |key: &str| context[key].as_str().unwrap().to_owned();
        assert_eq!(text("connectionId"), contexts[0]["connectionId"]);
        assert_eq!(context["connectedAt"], contexts[0]["connectedAt"]);
        assert!(is_gateway_id(&text("connectionId")) && is_gateway_id(&text("requestId")), "{context}");
        assert_eq!(text("requestId"), text("extendedRequestId"));
        assert!(request_ids.insert(text("requestId")), "A request id came twice");
        assert_eq!([text("domainName"), text("stage"), text("apiId")], [&bench.address.to_string(), "prod", "chatapi"]);
        let epoch_ms = context["requestTimeEpoch"].as_i64().unwrap();
        assert!(epoch_ms >= context["connectedAt"].as_i64().unwrap());
        // 11/Nov/2024:11:35:24 +0000
        let written = jiff::Zoned::strptime("%d/%b/%Y:%H:%M:%S %z", text("requestTime")).unwrap();
        assert_eq!((written.timestamp().as_second(), text("requestTime").len()), (epoch_ms / 1000, 26));
    }
    let message_ids = [&contexts[1]["messageId"], &contexts[2]["messageId"]].map(|id| id.as_str().unwrap());
    assert!(message_ids.iter().all(|id| is_gateway_id(id)) && message_ids[0] != message_ids[1]);
}

#[tokio::test]
async fn header_names_keep_the_clients_case() {
    let bench = Bench::start().await;
    let head: Vec<&str> = HEAD.into_iter().chain(["x-lower: 1", "X-MiXeD: 2", "X-UPPER: 3", "X-UPPER: 4"]).collect();
    RawClient::request(bench.address, &head).await.response().await;
    let event = bench.functions.event("connect").await;
    assert_eq!(
        [&event["headers"]["x-lower"], &event["headers"]["X-MiXeD"], &event["headers"]["X-UPPER"]],
        ["1", "2", "4"]
    );
    assert_eq!(event["multiValueHeaders"]["X-UPPER"], json!(["3", "4"]));
    let names = event["headers"].as_object().unwrap().len();
    assert_eq!(names, event["multiValueHeaders"].as_object().unwrap().len());
}

#[tokio::test]
async fn a_request_on_a_used_connection_shows_its_own_header_case() {
    let bench = Bench::start().await;
    let mut client = RawClient::request(bench.address, &["GET /prod HTTP/1.1", "Host: a", "x-request-id: 1"]).await;
    let refusal = client.response().await;
    assert_eq!(client.status, 426);
    let length = refusal.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse().unwrap();
    tokio::io::AsyncReadExt::read_exact(&mut client.stream, &mut vec![0; length]).await.unwrap();
    let head = HEAD.join("\r\n") + "\r\nX-Request-Id: 2\r\n\r\n";
    tokio::io::AsyncWriteExt::write_all(&mut client.stream, head.as_bytes()).await.unwrap();
    client.response().await;
    assert_eq!(bench.functions.event("connect").await["headers"]["X-Request-Id"], "2");
}

#[tokio::test]
async fn the_authorizer_sees_the_hop_by_hop_headers_and_connect_does_not() {
    let bench = Bench::authorized().await;
    bench.upgrade().await.unwrap();
    let authorizer = bench.functions.event("authorizer").await;
    let connect = bench.functions.event("connect").await;
    for name in ["Connection", "Upgrade"] {
        for map in ["headers", "multiValueHeaders"] {
            assert!(authorizer[map].get(name).is_some(), "{authorizer:#}");
            assert!(connect[map].get(name).is_none(), "{connect:#}");
        }
    }
    assert_eq!(connect["headers"]["X-Forwarded-For"], "127.0.0.1");
    assert_eq!(connect["requestContext"]["identity"]["sourceIp"], "127.0.0.1");
}

#[tokio::test]
async fn a_query_is_in_both_maps_or_in_neither() {
    let bench = Bench::start().await;
    let mut request = bench.request();
    *request.uri_mut() = format!("ws://{}/prod?room=a%20b&x=1&x=2&flag", bench.address).parse().unwrap();
    client::upgrade(request).await.unwrap();
    let event = bench.functions.event("connect").await;
    assert_eq!(event["queryStringParameters"], json!({ "room": "a b", "x": "2", "flag": "" }));
    assert_eq!(event["multiValueQueryStringParameters"], json!({ "room": ["a b"], "x": ["1", "2"], "flag": [""] }));
    RawClient::request(bench.address, &HEAD).await.response().await;
    let event = bench.functions.event("connect").await;
    let keys: Vec<&String> = event.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["headers", "isBase64Encoded", "multiValueHeaders", "requestContext"]);
}

#[tokio::test]
async fn the_user_agent_is_in_the_event_if_it_was_sent() {
    let bench = Bench::start().await;
    let mut request = bench.request();
    request.headers_mut().insert("user-agent", HeaderValue::from_static("tests/1.0"));
    let (mut socket, _) = client::upgrade(request).await.unwrap();
    assert_eq!(bench.functions.event("connect").await["requestContext"]["identity"]["userAgent"], "tests/1.0");
    socket.close(None).await.unwrap();
    assert_eq!(bench.functions.event("disconnect").await["requestContext"]["identity"]["userAgent"], "tests/1.0");
    let (client, _) = bench.connect_raw().await;
    drop(client);
    let event = bench.functions.event("disconnect").await;
    assert_eq!(event["requestContext"]["identity"], json!({ "sourceIp": "127.0.0.1" }));
}

#[tokio::test]
async fn the_authorizers_context_is_on_every_later_event_as_strings() {
    let bench = Bench::authorized().await;
    let (socket, _) = bench.upgrade().await.unwrap();
    let authorizer = bench.functions.event("authorizer").await;
    assert!(authorizer["requestContext"].get("authorizer").is_none());
    let connect = bench.functions.event("connect").await;
    let mut client = Client { id: String::new(), socket };
    client.send(r#"{"action":"join"}"#).await;
    let message = bench.functions.event("join").await;
    client.close(None).await;
    let disconnect = bench.functions.event("disconnect").await;
    let expected = json!({ "principalId": "user-1", "userId": "user-1", "level": "7", "admin": "true" });
    for event in [connect, message, disconnect] {
        assert_eq!(event["requestContext"]["authorizer"], expected);
        let parsed = parse(&event).request_context.authorizer;
        assert_eq!(parsed.fields["userId"], "user-1");
    }
}
