//! The choice of the function for a frame, and the answers to clients.

use serde_json::json;

use super::*;
use crate::invoke::IntegrationError;

/// The frame for a message that could not be handed on: exactly these keys.
#[track_caller]
fn assert_error(frame: &Value, message: &str, id: &str) {
    let keys: Vec<&String> = frame.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["connectionId", "message", "requestId"]);
    assert_eq!((&frame["message"], &frame["connectionId"]), (&json!(message), &json!(id)));
    assert!(crate::ids::is_gateway_id(frame["requestId"].as_str().unwrap()), "{frame}");
}

#[tokio::test]
async fn a_message_goes_to_the_route_that_it_names() {
    let bench = Bench::start().await;
    let mut client = bench.connect().await;
    client.send(r#"{"action":"join","room":"a"}"#).await;
    let event = bench.functions.event("join").await;
    assert_eq!(
        (&event["body"], &event["requestContext"]["routeKey"]),
        (&json!(r#"{"action":"join","room":"a"}"#), &json!("join"))
    );
    bench.drained_of(client).await;
    assert_eq!(bench.functions.count("default"), 0);
}

#[tokio::test]
async fn a_message_that_names_no_route_goes_to_default() {
    let bench = Bench::start().await;
    let mut client = bench.connect().await;
    for frame in [
        "not json",
        "{}",
        "[]",
        "",
        "null",
        r#""join""#,
        r#"{"action":"unknown"}"#,
        r#"{"action":"JOIN"}"#,
        r#"{"x":{"action":"join"}}"#,
    ] {
        client.send(frame).await;
        let event = bench.functions.event("default").await;
        assert_eq!((&event["body"], &event["requestContext"]["routeKey"]), (&json!(frame), &json!("$default")));
    }
    assert_eq!(bench.functions.count("join"), 0);
}

#[tokio::test]
async fn the_predefined_routes_cannot_be_called_by_name() {
    let bench = Bench::start().await;
    let mut client = bench.connect().await;
    for key in ["$connect", "$disconnect", "$default"] {
        client.send(&json!({ "action": key }).to_string()).await;
        assert_eq!(bench.functions.event("default").await["requestContext"]["routeKey"], "$default");
    }
    assert_eq!((bench.functions.count("connect"), bench.functions.count("disconnect")), (1, 0));
}

#[tokio::test]
async fn a_message_without_a_route_is_forbidden_and_the_client_stays() {
    let bench = Bench::with(|api| _ = api.spec.routes.remove("$default")).await;
    let mut client = bench.connect().await;
    for frame in [r#"{"action":"unknown"}"#, "not json", r#"{"action":"$connect"}"#] {
        client.send(frame).await;
        assert_error(&client.json().await, "Forbidden", &client.id);
    }
    client.send(r#"{"action":"echo"}"#).await;
    assert_eq!(client.json().await, json!({ "action": "echo" }));
}

#[tokio::test]
async fn a_failed_function_is_an_error_frame_and_the_client_stays() {
    let bench = Bench::start().await;
    let mut client = bench.connect().await;
    for function in ["join", "echo"] {
        bench.functions.fails(function, "A secret");
        client.send(&json!({ "action": function }).to_string()).await;
        let event = bench.functions.event(function).await;
        let frame = client.json().await;
        assert_error(&frame, "Internal server error", &client.id);
        assert_eq!(frame["requestId"], event["requestContext"]["requestId"], "So that it can be found in the logs");
        for error in [
            || IntegrationError::Throttled("Too many".into()),
            || IntegrationError::Host("It crashed".into()),
            || IntegrationError::MalformedResponse,
        ] {
            bench.functions.script(function, move |_| Err(error()));
            client.send(&json!({ "action": function }).to_string()).await;
            assert_error(&client.json().await, "Internal server error", &client.id);
        }
        // Answers that are no answers of a proxy integration, such as one with a field of its own.
        for answer in ["not json", r#"{"statusCode":200,"Data":"Hello"}"#, r#"{"statusCode":"two"}"#, r#"["a"]"#] {
            bench.functions.script(function, move |_| Ok(answer.into()));
            client.send(&json!({ "action": function }).to_string()).await;
            assert_error(&client.json().await, "Internal server error", &client.id);
        }
    }
    bench.functions.answers("echo", json!({ "body": "still here" }));
    client.send(r#"{"action":"echo"}"#).await;
    assert_eq!(client.text().await, "still here");
}

#[tokio::test]
async fn a_function_that_exceeds_the_integration_timeout_is_an_error_frame() {
    let bench = Bench::with(|api| route(api, "join").integration_timeout = Duration::from_millis(50)).await;
    let gate = bench.functions.hold("join");
    let mut client = bench.connect().await;
    client.send(r#"{"action":"join"}"#).await;
    let event = bench.functions.event("join").await;
    let frame = client.json().await;
    assert_error(&frame, "Endpoint request timed out", &client.id);
    assert_eq!(frame["requestId"], event["requestContext"]["requestId"]);
    // It runs on, and the next one does not wait for it.
    client.send(r#"{"action":"join"}"#).await;
    assert_error(&client.json().await, "Endpoint request timed out", &client.id);
    assert_eq!(bench.functions.count("join"), 2);
    gate.add_permits(2);
    bench.drained_of(client).await;
}

#[tokio::test]
async fn only_a_route_with_a_route_response_answers() {
    let bench = Bench::start().await;
    let mut client = bench.connect().await;
    for function in ["join", "default"] {
        bench.functions.answers(function, json!({ "statusCode": 200, "body": "dropped" }));
    }
    client.send(r#"{"action":"join"}"#).await;
    bench.functions.event("join").await;
    client.send("default").await;
    bench.functions.event("default").await;
    // Without a body there is nothing to send.
    for answer in [json!({ "statusCode": 200 }), json!(null), json!({ "body": null })] {
        bench.functions.answers("echo", answer);
        client.send(r#"{"action":"echo"}"#).await;
        bench.functions.event("echo").await;
    }
    bench.functions.answers("echo", json!({ "statusCode": "200", "body": "the first frame" }));
    client.send(r#"{"action":"echo"}"#).await;
    assert_eq!(client.text().await, "the first frame");
}

#[tokio::test]
async fn a_base64_body_is_decoded() {
    let bench = Bench::start().await;
    let mut client = bench.connect().await;
    bench.functions.answers("echo", json!({ "body": "w6lsw6h2ZQ==", "isBase64Encoded": true }));
    client.send(r#"{"action":"echo"}"#).await;
    assert_eq!(client.text().await, "élève");
    bench.functions.answers("echo", json!({ "body": "w6lsw6h2ZQ==", "isBase64Encoded": false }));
    client.send(r#"{"action":"echo"}"#).await;
    assert_eq!(client.text().await, "w6lsw6h2ZQ==");
}

#[tokio::test]
async fn messages_of_one_connection_are_handled_at_once() {
    let bench = Bench::start().await;
    let gate = bench.functions.hold("join");
    let mut client = bench.connect().await;
    for n in 0..50 {
        client.send(&json!({ "action": "join", "n": n }).to_string()).await;
    }
    let mut begun = Vec::new();
    for _ in 0..50 {
        let event = bench.functions.event("join").await;
        let body: Value = serde_json::from_str(event["body"].as_str().unwrap()).unwrap();
        begun.push(body["n"].as_u64().unwrap());
    }
    begun.sort_unstable();
    assert!(begun.into_iter().eq(0..50), "All of them have begun before one has ended");
    client.send(r#"{"action":"echo"}"#).await;
    assert_eq!(client.json().await, json!({ "action": "echo" }));
    gate.add_permits(50);
    bench.drained_of(client).await;
}

#[tokio::test]
async fn in_order_messages_of_one_route_follow_each_other_and_do_not_hold_up_other_routes() {
    let bench = Bench::with(|api| api.in_order = true).await;
    let gate = bench.functions.hold("join");
    let mut client = bench.connect().await;
    for n in 0..50 {
        client.send(&json!({ "action": "join", "n": n }).to_string()).await;
    }
    client.send(r#"{"action":"echo"}"#).await;
    assert_eq!(client.json().await, json!({ "action": "echo" }));
    for n in 0..50 {
        let body = bench.functions.event("join").await["body"].as_str().unwrap().to_owned();
        assert_eq!(body, json!({ "action": "join", "n": n }).to_string());
        assert_eq!(bench.functions.count("join"), n + 1, "One after the other");
        gate.add_permits(1);
    }
}

#[tokio::test]
async fn one_client_does_not_hold_up_another() {
    let bench = Bench::start().await;
    let gate = bench.functions.hold("join");
    let (mut slow, mut quick) = (bench.connect().await, bench.connect().await);
    // More than wait for a route: the slow client is not read from any more.
    for n in 0..200 {
        slow.send(&json!({ "action": "join", "n": n }).to_string()).await;
    }
    bench.functions.event("join").await;
    quick.send(r#"{"action":"echo"}"#).await;
    assert_eq!(quick.json().await, json!({ "action": "echo" }));
    gate.add_permits(200);
    for _ in 1..200 {
        bench.functions.event("join").await;
    }
}

#[tokio::test]
async fn an_accepted_message_is_handled_even_if_the_client_leaves() {
    let bench = Bench::with(|api| api.limits.close = Duration::from_millis(50)).await;
    let gate = bench.functions.hold("join");
    let mut client = bench.connect().await;
    for _ in 0..5 {
        client.send(r#"{"action":"join"}"#).await;
    }
    bench.functions.event("join").await;
    client.close(None).await;
    assert_eq!(bench.disconnected().await.0, 1005);
    gate.add_permits(5);
    for _ in 1..5 {
        bench.functions.event("join").await;
    }
    bench.drained().await;
}

#[tokio::test]
async fn a_message_that_does_not_fit_its_model_is_a_bad_request_body() {
    let bench = Bench::with(|api| {
        let order = json!({ "type": "object", "required": ["name"], "properties": { "name": { "type": "string" } } });
        let echo = route(api, "echo");
        echo.model_selection = Some(Selection::parse("$request.body.kind").unwrap());
        echo.request_models = BTreeMap::from([("order".to_owned(), order.clone())]);
        let default = route(api, "$default");
        default.model_selection = Some(Selection::parse("$request.body.kind").unwrap());
        default.request_models = BTreeMap::from([("$default".to_owned(), order.clone())]);
        // Without an expression, nothing is compared.
        route(api, "join").request_models = BTreeMap::from([("order".to_owned(), order)]);
    })
    .await;
    let mut client = bench.connect().await;
    for frame in [
        r#"{"action":"echo","kind":"order"}"#,
        r#"{"action":"echo","kind":"order","name":1}"#,
        r#"{"action":"echo","kind":"other","name":"a"}"#,
        r#"{"name":7}"#,
        "not json",
    ] {
        client.send(frame).await;
        assert_error(&client.json().await, "Bad request body", &client.id);
    }
    assert_eq!(bench.functions.count("echo") + bench.functions.count("default"), 0);
    let good = json!({ "action": "echo", "kind": "order", "name": "a" });
    client.send(&good.to_string()).await;
    assert_eq!(client.json().await, good);
    for (frame, function) in [(r#"{"name":"a"}"#, "default"), (r#"{"action":"join","kind":"order"}"#, "join")] {
        client.send(frame).await;
        bench.functions.event(function).await;
    }
}
