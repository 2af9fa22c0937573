//! The WebSocket side as its clients, its functions and the users of `@connections` see it: over real sockets, in front
//! of scripted functions. Each test runs an API of its own on a free port and waits for events, not for time.
#![allow(clippy::unwrap_used, reason = "A test that panics has failed, as it should")]

mod client;
mod closing;
mod event_shapes;
mod handshake;
mod hostile;
mod iam;
mod integrations;
mod limits;
mod management;
mod messages;
mod races;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::integration::Backends;
use super::registry::Registry;
use super::{Api, Limits};
use crate::sigv4::Keys;
use crate::testing::functions::Functions;
use crate::testing::{NEVER, PATIENCE, within};
use client::{Client, RawClient, Upgrade};
use samovar_services::door::Door;
use samovar_template::{Authorizer, IdentitySource, Integration, Route, Selection, WebSocketApi};

/// A running API in front of scripted functions. Its routes: `join` without and `echo` with a route response, both and
/// `$default` to the functions of their name; `$connect` and `$disconnect` likewise.
struct Bench {
    api: Arc<Api>,
    functions: Arc<Functions>,
    address: SocketAddr,
    http: reqwest::Client,
    stop: CancellationToken,
    _stop_at_the_end: DropGuard,
}

impl Bench {
    async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// With an authorizer that wants `?token=` and lets everybody in.
    async fn authorized() -> Self {
        Self::with(|api| {
            let identity_sources = vec![IdentitySource::QueryString("token".into())];
            api.spec.authorizer = Some(Authorizer { function: "authorizer".into(), identity_sources });
        })
        .await
    }

    async fn with(change: impl FnOnce(&mut Api)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let functions = Arc::new(Functions::default());
        functions.answers("authorizer", allow());
        functions.script("echo", |event| Ok(json!({ "statusCode": 200, "body": event["body"] }).to_string().into()));
        let mut api = Api {
            spec: spec(),
            domain: address.to_string(),
            region: "us-east-1".into(),
            account_id: "000000000000".into(),
            in_order: false,
            limits: Limits { idle: NEVER, life: NEVER, close: NEVER, ..Limits::default() },
            invoker: Arc::clone(&functions) as _,
            keys: Keys::of(["caller"].into_iter(), None),
            api_keys: vec!["a-key".to_owned()],
            backends: Backends::default(),
            door: Door::default(),
            registry: Registry::default(),
            tasks: TaskTracker::new(),
        };
        change(&mut api);
        let api = Arc::new(api);
        let stop = CancellationToken::new();
        let router = super::router::router(vec![Arc::clone(&api)]);
        tokio::spawn(crate::server::serve(listener, router, None, stop.clone()));
        Self {
            api,
            functions,
            address,
            http: reqwest::Client::new(),
            _stop_at_the_end: stop.clone().drop_guard(),
            stop,
        }
    }

    /// `?token=` included, so that it is let in with and without an authorizer.
    fn request(&self) -> Request<()> {
        format!("ws://{}/prod?token=t", self.address).into_client_request().unwrap()
    }

    async fn upgrade(&self) -> Upgrade {
        client::upgrade(self.request()).await
    }

    async fn refused(&self) -> (u16, Value) {
        self.upgrade().await.expect_err("A refusal")
    }

    /// One at a time: the client's id is that of the next `$connect`.
    async fn connect(&self) -> Client {
        let (socket, _) = self.upgrade().await.unwrap();
        Client { id: self.connected().await, socket }
    }

    /// A raw client that is let in, with its id.
    async fn connect_raw(&self) -> (RawClient, String) {
        let mut client = RawClient::request(self.address, &HEAD).await;
        client.response().await;
        assert_eq!(client.status, 101);
        (client, self.connected().await)
    }

    async fn connected(&self) -> String {
        let event = self.functions.event("connect").await;
        event["requestContext"]["connectionId"].as_str().unwrap().to_owned()
    }

    /// Code and reason of the next `$disconnect`.
    async fn disconnected(&self) -> (u64, String) {
        let context = self.functions.event("disconnect").await["requestContext"].take();
        (context["disconnectStatusCode"].as_u64().unwrap(), context["disconnectReason"].as_str().unwrap().to_owned())
    }

    /// Waits until nothing runs any more: no handshake, connection or function.
    async fn drained(&self) {
        self.api.tasks.close();
        within("Everything ends", self.api.tasks.wait()).await;
        self.api.tasks.reopen();
    }

    async fn drained_of(&self, client: Client) {
        client.close(None).await;
        self.drained().await;
    }

    fn connection_url(&self, id: &str) -> String {
        format!("http://{}/prod/@connections/{id}", self.address)
    }

    async fn post(&self, id: &str, body: impl Into<reqwest::Body>) -> u16 {
        let request = self.http.post(self.connection_url(id)).body(body);
        within("The post is answered", request.send()).await.unwrap().status().as_u16()
    }

    async fn delete(&self, id: &str) -> u16 {
        let request = self.http.delete(self.connection_url(id));
        within("The delete is answered", request.send()).await.unwrap().status().as_u16()
    }
}

/// The headers that browsers send, as far as the captured events show them.
const HEAD: [&str; 7] = [
    "GET /prod HTTP/1.1",
    "Host: localhost",
    "Connection: upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: +W5xw47OHh3OTFsWKjGu9Q==",
    "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
];

fn spec() -> WebSocketApi {
    let keys = ["$connect", "$disconnect", "$default", "join", "echo"];
    let routes = keys.map(|key| {
        let function = key.trim_start_matches('$').to_owned();
        let route_response = key == "echo";
        let route = Route {
            integration: Integration::Proxy(function),
            integration_timeout: NEVER,
            route_response,
            api_key_required: false,
            request_models: BTreeMap::new(),
            model_selection: None,
            throttle: None,
        };
        (key.to_owned(), route)
    });
    WebSocketApi {
        logical_id: "ChatApi".into(),
        api_id: "chatapi".into(),
        name: "chat".into(),
        stage: "prod".into(),
        stage_variables: BTreeMap::new(),
        route_selection: Selection::parse("$request.body.action").unwrap(),
        api_key_selection: None,
        authorizer: None,
        iam_authorization: false,
        routes: BTreeMap::from(routes),
    }
}

fn route<'a>(api: &'a mut Api, key: &str) -> &'a mut Route {
    api.spec.routes.get_mut(key).unwrap()
}

/// The answer of an authorizer that lets a client in.
pub(super) fn allow() -> Value {
    policy("Allow")
}

pub(super) fn policy(effect: &str) -> Value {
    json!({
        "principalId": "user-1",
        "policyDocument": {
            "Version": "2012-10-17",
            "Statement": [{ "Action": "execute-api:Invoke", "Effect": effect, "Resource": "*" }],
        },
        "context": { "userId": "user-1", "level": 7, "admin": true },
    })
}
