//! The handshake: which clients get in, and the responses to the others.

use http::HeaderValue;
use serde_json::json;

use super::client::{RawClient, TEXT};
use super::*;
use crate::invoke::IntegrationError;

#[tokio::test]
async fn the_handshake_is_pending_until_the_authorizer_and_connect_have_answered() {
    let bench = Bench::authorized().await;
    let (authorizer, connect) = (bench.functions.hold("authorizer"), bench.functions.hold("connect"));
    let mut upgrade = std::pin::pin!(bench.upgrade());
    tokio::select! {
        _ = &mut upgrade => panic!("The authorizer has not answered"),
        _ = bench.functions.event("authorizer") => {}
    }
    assert_eq!(bench.functions.count("connect"), 0);
    authorizer.add_permits(1);
    tokio::select! {
        _ = &mut upgrade => panic!("$connect has not answered"),
        _ = bench.functions.event("connect") => {}
    }
    connect.add_permits(1);
    upgrade.await.unwrap();
}

#[tokio::test]
async fn before_connect_has_returned_posting_is_410() {
    let bench = Bench::start().await;
    let gate = bench.functions.hold("connect");
    let mut upgrade = std::pin::pin!(bench.upgrade());
    let id = tokio::select! {
        _ = &mut upgrade => panic!("$connect has not answered"),
        id = bench.connected() => id,
    };
    assert_eq!((bench.post(&id, "early").await, bench.delete(&id).await), (410, 410));
    gate.add_permits(1);
    let (socket, _) = upgrade.await.unwrap();
    // From the moment that the client knows, at the latest.
    assert_eq!(bench.post(&id, "late").await, 200);
    assert_eq!(Client { id, socket }.text().await, "late");
}

#[tokio::test]
async fn a_refused_connect_refuses_the_handshake_with_its_own_status() {
    let bench = Bench::start().await;
    for status in [400, 401, 403, 404, 409, 429, 500, 503] {
        bench.functions.answers("connect", json!({ "statusCode": status }));
        assert_eq!(bench.refused().await.0, status);
    }
    for status in [200, 201, 204, 299] {
        for status in [json!(status), json!(status.to_string())] {
            bench.functions.answers("connect", json!({ "statusCode": status }));
            assert!(bench.upgrade().await.is_ok(), "{status}");
        }
    }
    bench.functions.answers("connect", json!({ "statusCode": "403" }));
    assert_eq!(bench.refused().await.0, 403);
}

#[tokio::test]
async fn a_refused_client_gets_the_reason_and_causes_no_disconnect() {
    let bench = Bench::start().await;
    bench.functions.answers("connect", json!({ "statusCode": 403 }));
    let (status, body) = bench.refused().await;
    let keys: Vec<&String> = body.as_object().unwrap().keys().collect();
    assert_eq!(
        (status, keys.as_slice()),
        (403, ["connectionId", "message", "requestId"].map(String::from).each_ref().as_slice())
    );
    bench.drained().await;
    assert_eq!(bench.functions.count("disconnect"), 0);
}

#[tokio::test]
async fn a_failed_connect_is_502() {
    let bench = Bench::start().await;
    bench.functions.fails("connect", "boom");
    assert_eq!(bench.refused().await.0, 502);
    for answer in [
        json!(null),
        json!("text"),
        json!({}),
        json!({ "statusCode": "nonsense" }),
        json!({ "statusCode": 7 }),
        json!({ "statusCode": 200, "Data": "a field of its own" }),
    ] {
        bench.functions.answers("connect", answer.clone());
        assert_eq!(bench.refused().await.0, 502, "{answer}");
    }
    for status in [100, 101, 199, 1000] {
        bench.functions.answers("connect", json!({ "statusCode": status }));
        assert_eq!(bench.refused().await.0, 502, "{status} cannot be the status of a refusal");
    }
    bench.functions.script("connect", |_| Ok("not json".into()));
    assert_eq!(bench.refused().await.0, 502);
    bench.functions.script("connect", |_| Err(IntegrationError::Host("It crashed".into())));
    assert_eq!(bench.refused().await.0, 502);
}

#[tokio::test]
async fn a_connect_that_takes_longer_than_the_integration_refuses() {
    let bench = Bench::with(|api| route(api, "$connect").integration_timeout = Duration::from_millis(50)).await;
    let gate = bench.functions.hold("connect");
    // The status is ours: AWS's is not published.
    assert_eq!(bench.refused().await.0, 504);
    gate.add_permits(1);
    bench.drained().await;
    assert_eq!((bench.functions.count("connect"), bench.functions.count("disconnect")), (1, 0));
}

#[tokio::test]
async fn without_an_identity_the_authorizer_is_not_called() {
    let bench = Bench::with(|api| {
        let identity_sources = vec![IdentitySource::QueryString("token".into()), IdentitySource::Header("X-Id".into())];
        api.spec.authorizer = Some(Authorizer { function: "authorizer".into(), identity_sources });
    })
    .await;
    let request = |query: &str, header: Option<&'static str>| {
        let mut request = bench.request();
        *request.uri_mut() = format!("ws://{}/prod{query}", bench.address).parse().unwrap();
        header.map(|value| request.headers_mut().insert("x-id", HeaderValue::from_static(value)));
        client::upgrade(request)
    };
    for (query, header) in
        [("", None), ("?token=t", None), ("", Some("me")), ("?token=", Some("me")), ("?Token=t", Some("me"))]
    {
        let (status, body) = request(query, header).await.expect_err("A refusal");
        assert_eq!((status, &body["message"]), (401, &json!("Unauthorized")), "{query} {header:?}");
    }
    assert_eq!((bench.functions.count("authorizer"), bench.functions.count("connect")), (0, 0));
    // Header names have no case.
    request("?token=t", Some("me")).await.unwrap();
}

#[tokio::test]
async fn a_client_that_the_authorizer_refuses_does_not_reach_connect() {
    let bench = Bench::authorized().await;
    bench.functions.answers("authorizer", policy("Deny"));
    assert_eq!(bench.refused().await.0, 403);
    bench.functions.fails("authorizer", "Unauthorized");
    assert_eq!(bench.refused().await.0, 401);
    bench.functions.fails("authorizer", "Something else");
    assert_eq!(bench.refused().await.0, 500);
    bench.functions.answers("authorizer", json!({ "statusCode": 200 }));
    assert_eq!(bench.refused().await.0, 500);
    bench.functions.script("authorizer", |_| Ok("not json".into()));
    assert_eq!(bench.refused().await.0, 500);
    bench.drained().await;
    assert_eq!((bench.functions.count("connect"), bench.functions.count("disconnect")), (0, 0));
}

#[tokio::test]
async fn connect_selects_one_of_the_offered_subprotocols() {
    let bench = Bench::start().await;
    let upgrade = async |offer: &'static str, answer: Value| {
        bench.functions.answers("connect", answer);
        let head: Vec<&str> = HEAD.into_iter().chain((!offer.is_empty()).then_some(offer)).collect();
        let mut client = RawClient::request(bench.address, &head).await;
        let response = client.response().await.to_ascii_lowercase();
        assert_eq!(client.status, 101, "{response}");
        response.lines().find_map(|line| line.strip_prefix("sec-websocket-protocol: ").map(str::to_owned))
    };
    let selecting = |name: &str| json!({ "statusCode": 200, "headers": { "Sec-WebSocket-Protocol": name } });
    let offer = "Sec-WebSocket-Protocol: chat.v1, chat.v2";
    assert_eq!(upgrade(offer, selecting("chat.v2")).await.as_deref(), Some("chat.v2"));
    let lower = json!({ "statusCode": 200, "headers": { "sec-websocket-protocol": "chat.v1" } });
    assert_eq!(upgrade(offer, lower).await.as_deref(), Some("chat.v1"));
    let multi = json!({ "statusCode": 200, "multiValueHeaders": { "Sec-WebSocket-Protocol": ["chat.v1"] } });
    assert_eq!(upgrade(offer, multi).await.as_deref(), Some("chat.v1"));
    // A client that hears of a protocol it did not offer must fail the connection: better it hears of none.
    assert_eq!(upgrade(offer, selecting("chat")).await, None);
    assert_eq!(upgrade("", selecting("chat.v1")).await, None);
    assert_eq!(upgrade(offer, json!({ "statusCode": 200 })).await, None);
}

#[tokio::test]
async fn a_request_that_is_not_a_websocket_handshake_is_426() {
    let bench = Bench::start().await;
    let head = |change: fn(&str) -> Option<&str>| HEAD.into_iter().filter_map(change).collect::<Vec<_>>();
    for lines in [
        vec!["GET /prod HTTP/1.1", "Host: localhost"],
        head(|line| (!line.starts_with("Upgrade")).then_some(line)),
        head(|line| (!line.starts_with("Connection")).then_some(line)),
        head(|line| (!line.starts_with("Sec-WebSocket-Key")).then_some(line)),
        head(|line| Some(if line.ends_with("13") { "Sec-WebSocket-Version: 8" } else { line })),
        head(|line| Some(if line.starts_with("GET") { "POST /prod HTTP/1.1" } else { line })),
    ] {
        let mut client = RawClient::request(bench.address, &lines).await;
        let response = client.response().await.to_ascii_lowercase();
        assert!(client.status == 426 && response.contains("upgrade: websocket"), "{lines:?}: {response}");
    }
    assert_eq!(bench.functions.count("connect"), 0);
}

#[tokio::test]
async fn an_upgrade_may_be_spelt_as_browsers_and_proxies_do() {
    let bench = Bench::start().await;
    for (connection, upgrade) in
        [("Connection: keep-alive, Upgrade", "Upgrade: WebSocket"), ("connection: UPGRADE", "upgrade: websocket")]
    {
        let head = HEAD.map(|line| match line.split_once(':') {
            Some(("Connection", _)) => connection,
            Some(("Upgrade", _)) => upgrade,
            _ => line,
        });
        let mut client = RawClient::request(bench.address, &head).await;
        client.response().await;
        assert_eq!(client.status, 101, "{head:?}");
        let event = bench.functions.event("connect").await;
        let names = event["headers"].as_object().unwrap().keys();
        let hop_by_hop = |name: &String| ["connection", "upgrade"].contains(&name.to_lowercase().as_str());
        assert_eq!(names.filter(|name| hop_by_hop(name)).count(), 0, "{event:#}");
    }
}

#[tokio::test]
async fn frames_that_come_with_the_handshake_are_not_lost() {
    let bench = Bench::start().await;
    let gate = bench.functions.hold("connect");
    let mut client = RawClient::request(bench.address, &HEAD).await;
    client.send(true, TEXT, br#"{"action":"echo","early":true}"#).await;
    bench.connected().await;
    gate.add_permits(1);
    client.response().await;
    assert_eq!(client.next().await, Some((TEXT, br#"{"action":"echo","early":true}"#.to_vec())));
}

#[tokio::test]
async fn a_client_that_leaves_during_the_handshake_causes_a_disconnect_if_it_was_let_in() {
    let bench = Bench::start().await;
    let gate = bench.functions.hold("connect");
    for (status, disconnects) in [(200, 1), (403, 1), (200, 2)] {
        bench.functions.answers("connect", json!({ "statusCode": status }));
        let client = RawClient::request(bench.address, &HEAD).await;
        let id = bench.connected().await;
        if disconnects == 1 {
            drop(client)
        } else {
            client.reset()
        }
        gate.add_permits(1);
        if status == 200 {
            let event = bench.functions.event("disconnect").await;
            assert_eq!(event["requestContext"]["connectionId"], id);
            assert_eq!(event["requestContext"]["disconnectStatusCode"], 1006);
        }
        bench.drained().await;
        assert_eq!(bench.functions.count("disconnect"), disconnects);
        assert_eq!((bench.api.registry.len(), bench.post(&id, "late").await), (0, 410));
    }
}

#[tokio::test]
async fn without_connect_and_disconnect_routes_every_client_gets_in() {
    let bench = Bench::with(|api| api.spec.routes.retain(|key, _| !key.starts_with('$'))).await;
    let (socket, _) = bench.upgrade().await.unwrap();
    let mut client = Client { id: String::new(), socket };
    client.send(r#"{"action":"echo"}"#).await;
    assert_eq!(client.text().await, r#"{"action":"echo"}"#);
    client.close(None).await;
    bench.drained().await;
}

#[tokio::test]
async fn an_api_key_is_needed_where_the_route_says_so() {
    let bench = Bench::with(|api| {
        route(api, "$connect").api_key_required = true;
        route(api, "echo").api_key_required = true;
    })
    .await;
    let with = |key: &'static str| {
        let mut request = bench.request();
        request.headers_mut().insert("X-Api-Key", HeaderValue::from_static(key));
        request
    };
    let (status, body) = bench.refused().await;
    assert_eq!((status, &body["message"]), (403, &json!("Forbidden")));
    assert_eq!(client::upgrade(with("another")).await.expect_err("refused").0, 403);
    assert_eq!(bench.functions.count("connect"), 0);
    let (socket, _) = client::upgrade(with("a-key")).await.unwrap();
    let mut client = Client { id: bench.connected().await, socket };
    client.send(r#"{"action":"echo"}"#).await;
    assert_eq!(client.json().await, json!({ "action": "echo" }));
}

#[tokio::test]
async fn a_message_to_a_route_that_needs_an_api_key_is_forbidden_without_one() {
    let bench = Bench::with(|api| route(api, "echo").api_key_required = true).await;
    let mut client = bench.connect().await;
    client.send(r#"{"action":"echo"}"#).await;
    assert_eq!(client.json().await["message"], "Forbidden");
    assert_eq!(bench.functions.count("echo"), 0);
}

#[tokio::test]
async fn the_authorizer_may_know_the_api_key() {
    let bench = Bench::with(|api| {
        let identity_sources = vec![IdentitySource::QueryString("token".into())];
        api.spec.authorizer = Some(Authorizer { function: "authorizer".into(), identity_sources });
        api.spec.api_key_selection = Some("$context.authorizer.usageIdentifierKey".to_owned());
        route(api, "$connect").api_key_required = true;
    })
    .await;
    assert_eq!(bench.refused().await.0, 403, "the authorizer lets the client in, but knows no key");
    let mut answer = allow();
    answer["usageIdentifierKey"] = "a-key".into();
    bench.functions.answers("authorizer", answer);
    assert!(bench.upgrade().await.is_ok());
}
