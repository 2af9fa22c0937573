//! Integrations that are no functions behind a proxy: mocks, functions, services and addresses, with mapped requests
//! and answers.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use samovar_services::dynamodb::DynamoDb;
use samovar_services::permissions::{Account, Permissions};
use samovar_services::queues::Queues;
use samovar_services::{Caller, OTHER, Services};
use samovar_sqs::{Sqs, Storage, SystemClock};
use samovar_template::{Backend, IntegrationResponse, IntegrationRole, MappedIntegration, Passthrough};
use serde_json::json;

use super::*;
use crate::testing::log::Log;

fn mapped(backend: Backend, templates: &[(&str, &str)]) -> MappedIntegration {
    MappedIntegration {
        backend,
        passthrough: Passthrough::WhenNoMatch,
        request_templates: templates.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect(),
        template_selection: None,
        request_parameters: BTreeMap::new(),
        responses: Vec::new(),
    }
}

fn response(key: &str, template: &str) -> IntegrationResponse {
    let templates = BTreeMap::from([("$default".to_owned(), template.to_owned())]);
    IntegrationResponse { key: key.to_owned(), templates, template_selection: None }
}

fn service(service: &str, call: &str, policies: Value) -> Backend {
    let (action, path) = match call.contains('/') {
        true => (None, call.to_owned()),
        false => (Some(call.to_owned()), String::new()),
    };
    let role = IntegrationRole { name: "gateway".to_owned(), policies: vec![policies] };
    Backend::Service { service: service.to_owned(), action, path, role }
}

fn allow(action: &str) -> Value {
    json!({ "Statement": [{ "Effect": "Allow", "Action": action, "Resource": "*" }] })
}

/// An API whose route `echo` has this integration, and a response.
async fn bench(integration: MappedIntegration, change: impl FnOnce(&mut Api)) -> Bench {
    Bench::with(|api| {
        route(api, "echo").integration = Integration::Mapped(Box::new(integration));
        change(api);
    })
    .await
}

async fn services() -> Arc<Services> {
    let account = "000000000000";
    let sqs =
        Sqs::open(Storage::Memory, "us-east-1", account, "http://127.0.0.1/_aws/sqs", Arc::new(SystemClock)).unwrap();
    sqs.create_queue("orders.fifo", &BTreeMap::from([("FifoQueue".to_owned(), "true".to_owned())])).await.unwrap();
    let dynamodb = DynamoDb::open(None).unwrap();
    let table = json!({
        "TableName": "connections", "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [{ "AttributeName": "id", "AttributeType": "S" }],
        "KeySchema": [{ "AttributeName": "id", "KeyType": "HASH" }],
    });
    dynamodb.expect("CreateTable", &table).await.unwrap();
    Services::new(dynamodb, Queues::Embedded(sqs), None)
}

async fn call(services: &Services, target: &str, request: Value) -> Value {
    let caller = Caller { function: OTHER.to_owned(), instance: None };
    let answer = services.call(caller, target, request.to_string().into()).await.unwrap();
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    serde_json::from_slice(&answer.body).unwrap_or_default()
}

#[tokio::test]
async fn a_mock_answers_by_its_templates() {
    let mut mock = mapped(Backend::Mock, &[("$default", r#"{"statusCode": 200}"#)]);
    mock.responses = vec![response("$default", r#"{"pong":"$context.connectionId","said":$input.json('$')}"#)];
    let bench = bench(mock.clone(), |api| {
        route(api, "$connect").integration = Integration::Mapped(Box::new(mapped(
            Backend::Mock,
            &[("$default", "{\"statusCode\": #if($input.params('token') == 't')200#{else}403#end}")],
        )));
        // Without a route response, nothing is sent.
        route(api, "join").integration = Integration::Mapped(Box::new(mock));
    })
    .await;
    let (socket, _) = bench.upgrade().await.unwrap();
    let mut client = Client { id: String::new(), socket };
    client.send(r#"{"action":"join"}"#).await;
    client.send(r#"{"action":"echo"}"#).await;
    let answer = client.json().await;
    assert!(crate::ids::is_gateway_id(answer["pong"].as_str().unwrap()), "{answer}");
    assert_eq!(answer["said"], json!({}), "A mock has no body of a backend");
    let refused = super::client::upgrade(format!("ws://{}/prod", bench.address).into_client_request().unwrap()).await;
    assert_eq!(refused.expect_err("the mock refuses").0, 403);
    assert_eq!(bench.functions.count("connect"), 0);
}

#[tokio::test]
async fn a_mapped_function_gets_what_the_template_makes_and_its_errors_select_a_response() {
    let template = r#"{"who": "$context.connectionId", "text": "$util.escapeJavaScript($input.path('$.text'))"}"#;
    let mut called = mapped(Backend::Function("worker".to_owned()), &[("application/json", template)]);
    called.responses = vec![response("/.*[Bb]oom.*/", r#"{"sorry":$input.json('$.errorMessage')}"#)];
    let bench = bench(called, |_| {}).await;
    let mut client = bench.connect().await;
    bench.functions.answers("worker", json!({ "sum": 3 }));
    client.send(r#"{"action":"echo","text":"a \"b\""}"#).await;
    assert_eq!(client.json().await, json!({ "sum": 3 }));
    assert_eq!(bench.functions.event("worker").await, json!({ "who": client.id, "text": "a \"b\"" }));
    bench.functions.fails("worker", "a boom");
    client.send(r#"{"action":"echo","text":""}"#).await;
    assert_eq!(client.json().await, json!({ "sorry": "a boom" }));
    bench.functions.fails("worker", "another");
    client.send(r#"{"action":"echo","text":""}"#).await;
    assert_eq!(client.json().await["message"], "Internal server error");
}

#[tokio::test]
async fn a_message_without_a_template_or_with_a_broken_one_is_an_error_frame() {
    let mut strict = mapped(Backend::Function("worker".to_owned()), &[("other", "{}")]);
    strict.passthrough = Passthrough::Never;
    let broken = mapped(Backend::Function("worker".to_owned()), &[("$default", "#if(")]);
    let no_json = mapped(Backend::Function("worker".to_owned()), &[("$default", "text")]);
    let bench = bench(strict, |api| {
        route(api, "join").integration = Integration::Mapped(Box::new(broken));
        route(api, "$default").integration = Integration::Mapped(Box::new(no_json));
    })
    .await;
    let mut client = bench.connect().await;
    for (action, message) in
        [("echo", "Unsupported Media Type"), ("join", "Internal server error"), ("x", "Internal server error")]
    {
        client.send(&json!({ "action": action }).to_string()).await;
        assert_eq!(client.json().await["message"], message, "{action}");
    }
    assert_eq!(bench.functions.count("worker"), 0);
}

#[tokio::test]
async fn a_connection_is_an_item_without_any_function() {
    let services = services().await;
    let put = r#"{"TableName": "connections", "Item": {"id": {"S": "$context.connectionId"},
        "query": {"S": "$input.params().get('querystring')"}}}"#;
    let delete = r#"{"TableName": "connections", "Key": {"id": {"S": "$context.connectionId"}}}"#;
    let policies = allow("dynamodb:*Item");
    let account = Account { region: "us-east-1".to_owned(), id: "000000000000".to_owned() };
    services.door().enforce(Permissions::of([("gateway", &[policies][..])].into_iter(), account));
    let put_item = |template: &str| mapped(service("dynamodb", "PutItem", Value::Null), &[("$default", template)]);
    let bench = bench(put_item("{}"), |api| {
        api.backends.services = Some(Arc::clone(&services));
        let mut connect = put_item(put);
        connect.responses = vec![IntegrationResponse { templates: BTreeMap::new(), ..response("/200/", "") }];
        route(api, "$connect").integration = Integration::Mapped(Box::new(connect));
        route(api, "$disconnect").integration = Integration::Mapped(Box::new(mapped(
            service("dynamodb", "DeleteItem", Value::Null),
            &[("$default", delete)],
        )));
        let scan = mapped(service("dynamodb", "Scan", Value::Null), &[("$default", r#"{"TableName":"connections"}"#)]);
        route(api, "join").integration = Integration::Mapped(Box::new(scan));
    })
    .await;
    let (socket, _) = bench.upgrade().await.unwrap();
    let mut client = Client { id: String::new(), socket };
    let items = call(&services, "DynamoDB_20120810.Scan", json!({ "TableName": "connections" })).await["Items"].take();
    assert_eq!((items.as_array().unwrap().len(), &items[0]["query"]["S"]), (1, &json!("{token=t}")));
    // A request that the service refuses, and one that the role may not make.
    for action in ["echo", "join"] {
        client.send(&json!({ "action": action }).to_string()).await;
        assert_eq!(client.json().await["message"], "Internal server error", "{action}");
    }
    bench.drained_of(client).await;
    let left = call(&services, "DynamoDB_20120810.Scan", json!({ "TableName": "connections" })).await;
    assert_eq!(left["Items"], json!([]));
    let counted = bench.functions.count("connect") + bench.functions.count("disconnect");
    assert_eq!(counted, 0);
}

#[tokio::test]
async fn a_message_goes_to_a_queue_as_a_form() {
    let services = services().await;
    let form = "Action=SendMessage&MessageGroupId=$input.path('$.group')&MessageDeduplicationId=$context.requestId&\
                MessageAttribute.1.Name=connectionId&MessageAttribute.1.Value.StringValue=$context.connectionId&\
                MessageAttribute.1.Value.DataType=String&MessageBody=$util.urlEncode($input.json('$'))";
    let mut queue = mapped(service("sqs", "000000000000/orders.fifo", Value::Null), &[("$default", form)]);
    queue.passthrough = Passthrough::Never;
    queue
        .request_parameters
        .insert("integration.request.header.Content-Type".to_owned(), "'application/x-www-form-urlencoded'".to_owned());
    let bench = bench(queue, |api| api.backends.services = Some(Arc::clone(&services))).await;
    let mut client = bench.connect().await;
    client.send(r#"{"action":"echo","group":"g","text":"a & b"}"#).await;
    let answer = client.json().await;
    let id = answer["SendMessageResponse"]["SendMessageResult"]["MessageId"].clone();
    let receive = json!({ "QueueUrl": "orders.fifo", "MessageAttributeNames": ["All"] });
    let message = call(&services, "AmazonSQS.ReceiveMessage", receive).await["Messages"][0].take();
    let body: Value = serde_json::from_str(message["Body"].as_str().unwrap()).unwrap();
    assert_eq!((&body["text"], &message["MessageId"]), (&json!("a & b"), &id));
    assert_eq!(message["MessageAttributes"]["connectionId"]["StringValue"], json!(client.id));
    // Without a group, the queue refuses the message.
    client.send(r#"{"action":"echo","group":""}"#).await;
    assert_eq!(client.json().await["message"], "Internal server error");
}

#[tokio::test]
async fn an_address_gets_the_request_and_its_answer_is_mapped() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let echo = |headers: http::HeaderMap, uri: http::Uri, body: Bytes| async move {
        let status = if body.is_empty() { http::StatusCode::IM_A_TEAPOT } else { http::StatusCode::OK };
        let who = headers.get("x-connection").map(|value| value.to_str().unwrap().to_owned());
        (status, json!({ "who": who, "uri": uri.to_string(), "body": String::from_utf8_lossy(&body) }).to_string())
    };
    let backend = tokio::spawn(async move { axum::serve(listener, Router::new().route("/{id}", post(echo))).await });
    let url = format!("http://{address}/${{stageVariables.id}}");
    let http = |proxy| Backend::Http { method: "POST".to_owned(), url: url.clone(), proxy };
    let parameters = BTreeMap::from([
        ("integration.request.header.x-connection".to_owned(), "context.connectionId".to_owned()),
        ("integration.request.querystring.q".to_owned(), "route.request.body.text".to_owned()),
    ]);
    let mut proxy = mapped(http(true), &[]);
    proxy.request_parameters = parameters;
    let mut own = mapped(http(false), &[("$default", "")]);
    own.responses = vec![response("/4\\d\\d/", "refused")];
    let bench = bench(proxy, |api| {
        api.spec.stage_variables.insert("id".to_owned(), "seven".to_owned());
        route(api, "join").integration = Integration::Mapped(Box::new(own));
        route(api, "join").route_response = true;
        let nowhere = Backend::Http { method: "POST".to_owned(), url: "http://127.0.0.1:1/".to_owned(), proxy: true };
        route(api, "$default").integration = Integration::Mapped(Box::new(mapped(nowhere, &[])));
    })
    .await;
    let mut client = bench.connect().await;
    let frame = r#"{"action":"echo","text":"a b"}"#;
    client.send(frame).await;
    assert_eq!(client.json().await, json!({ "who": client.id, "uri": "/seven?q=a+b", "body": frame }));
    client.send(r#"{"action":"join"}"#).await;
    assert_eq!(client.text().await, "refused");
    client.send("nowhere").await;
    assert_eq!(client.json().await["message"], "Internal server error");
    backend.abort();
}

#[tokio::test]
async fn the_log_has_no_text_of_messages_and_no_tokens() {
    let log = Log::begin();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let refuse = |body: String| async move { (http::StatusCode::BAD_REQUEST, body) };
    let backend = tokio::spawn(async move { axum::serve(listener, Router::new().route("/", post(refuse))).await });
    let http = |url: String| {
        let mut integration = mapped(Backend::Http { method: "POST".to_owned(), url, proxy: true }, &[]);
        let query = ("integration.request.querystring.q".to_owned(), "route.request.body.text".to_owned());
        integration.request_parameters = BTreeMap::from([query]);
        Integration::Mapped(Box::new(integration))
    };
    let bench = Bench::with(|api| {
        route(api, "echo").integration = http(format!("http://{address}/"));
        route(api, "$default").integration = http("http://127.0.0.1:1/".to_owned());
        let join = route(api, "join");
        join.model_selection = Some(Selection::parse("$request.body.text").unwrap());
        join.request_models = BTreeMap::from([("small".to_owned(), json!({ "additionalProperties": false }))]);
    })
    .await;
    bench.functions.answers("connect", json!({ "statusCode": 200, "headers": { "Sec-WebSocket-Protocol": "secret" } }));
    let mut client = bench.connect().await;
    for frame in [
        json!({ "action": "echo", "text": "secret" }),
        json!({ "action": "none", "text": "secret" }),
        json!({ "action": "join", "text": "secret" }),
        json!({ "action": "join", "text": "small", "secret": "secret" }),
    ] {
        client.send(&frame.to_string()).await;
        within("An answer comes", client.text()).await;
    }
    let log = log.text();
    for expected in [
        "selected a subprotocol that the client did not offer".to_owned(),
        format!("http://{address}/ answered 400 with 33 bytes"),
        "http://127.0.0.1:1/ can't be reached: ".to_owned(),
        "There is no model for its $request.body.text".to_owned(),
        "has a property that is not allowed".to_owned(),
    ] {
        assert!(log.contains(&expected), "{expected}: {log}");
    }
    assert!(!log.contains("secret"), "{log}");
    backend.abort();
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/from", listener.local_addr().unwrap());
    let from = || async { (http::StatusCode::TEMPORARY_REDIRECT, [("location", "/to")], "moved") };
    let router = Router::new().route("/from", post(from)).route("/to", post(|| async { "followed" }));
    let backend = tokio::spawn(async move { axum::serve(listener, router).await });
    let http = Backend::Http { method: "POST".to_owned(), url, proxy: true };
    let bench = bench(mapped(http, &[]), |_| {}).await;
    let mut client = bench.connect().await;
    client.send(r#"{"action":"echo"}"#).await;
    assert_eq!(client.text().await, "moved");
    backend.abort();
}

#[tokio::test]
async fn a_mapped_integration_that_takes_too_long_is_a_frame_too() {
    let called = mapped(Backend::Function("worker".to_owned()), &[("$default", "{}")]);
    let bench = bench(called, |api| route(api, "echo").integration_timeout = Duration::from_millis(50)).await;
    let gate = bench.functions.hold("worker");
    let mut client = bench.connect().await;
    client.send(r#"{"action":"echo"}"#).await;
    assert_eq!(client.json().await["message"], "Endpoint request timed out");
    gate.add_permits(1);
    bench.drained_of(client).await;
}
