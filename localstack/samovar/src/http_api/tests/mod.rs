//! HTTP APIs as their clients and functions see them: over real sockets, in front of scripted functions. Each test runs
//! an API of its own on a free port and waits for events, not for time.
#![allow(clippy::unwrap_used, reason = "A test that panics has failed, as it should")]

mod authorizer;
mod claims;
mod cors;
mod elsewhere;
mod event_shapes;
mod hostile;
mod issuer;
mod lambda;
mod matching;
mod payload_v1;
mod requests;
mod responses;
mod tokens;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use http::Method;
use reqwest::RequestBuilder;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Api, router};
use crate::edge::Edge;
use crate::testing::functions::Functions;
use crate::testing::{NEVER, within};
use issuer::Issuer;
use samovar_template::{
    Authorization, Cors, HttpApi, HttpRoute, IdentitySource, JwtAuthorizer, PayloadFormat, RouteKey,
};

const AUDIENCE: &str = "our-client";

/// A running API in front of scripted functions.
struct Bench {
    api: Arc<Api>,
    functions: Arc<Functions>,
    address: SocketAddr,
    http: reqwest::Client,
    stop: CancellationToken,
    _stop_at_the_end: DropGuard,
}

impl Bench {
    /// With these routes, each to a function: `("GET /pets", "pets")`.
    async fn start(routes: &[(&str, &str)]) -> Self {
        Self::with(routes, |_| {}).await
    }

    async fn with(routes: &[(&str, &str)], change: impl FnOnce(&mut Api)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let functions = Arc::new(Functions::default());
        let mut api = Api::new(spec(routes), &Edge::of(address, &functions));
        change(&mut api);
        let api = Arc::new(api);
        let stop = CancellationToken::new();
        tokio::spawn(crate::server::serve(listener, router(vec![Arc::clone(&api)]), None, stop.clone()));
        // Tests look at every response as it is.
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Self { api, functions, address, http, _stop_at_the_end: stop.clone().drop_guard(), stop }
    }

    /// With one route, `GET /me`, which wants a token of this issuer for [`AUDIENCE`], with one of these scopes if any.
    async fn guarded(issuer: &Issuer, scopes: &[&str]) -> Self {
        let spec = JwtAuthorizer {
            issuer: issuer.url.clone(),
            audience: vec!["another".into(), AUDIENCE.into()],
            identity_source: IdentitySource::Header("Authorization".into()),
        };
        Self::guarded_by(spec, scopes).await
    }

    async fn guarded_by(spec: JwtAuthorizer, scopes: &[&str]) -> Self {
        let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        Self::with(&[("GET /me", "me"), ("GET /open", "open")], |api| {
            let mut authorizer = super::JwtAuthorizer::new(&spec);
            (authorizer.keys.refetch_after, authorizer.keys.retry_after) = (NEVER, NEVER);
            api.authorizers.insert("Users".into(), authorizer);
            api.spec.authorizers.insert("Users".into(), spec);
            api.spec.routes[0].authorization = Some(Authorization { authorizer: "Users".into(), scopes });
        })
        .await
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("http://{}{path}", self.address))
    }

    async fn get(&self, path: &str) -> Answer {
        send(self.request(Method::GET, path)).await
    }

    async fn get_with(&self, path: &str, token: &str) -> Answer {
        send(self.request(Method::GET, path).header("authorization", format!("Bearer {token}"))).await
    }

    /// The event of one such request.
    async fn event_of(&self, function: &str, request: RequestBuilder) -> Value {
        assert_eq!(send(request).await.status, 200);
        self.functions.event(function).await
    }
}

/// A response that has been read.
#[derive(Debug)]
struct Answer {
    status: u16,
    headers: http::HeaderMap,
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
    fn assert_refused(&self, status: u16, message: &str) {
        assert_eq!((self.status, self.text()), (status, json!({ "message": message }).to_string().as_str()));
        assert!(crate::ids::is_gateway_id(self.header("apigw-requestid").unwrap()));
    }
}

async fn send(request: RequestBuilder) -> Answer {
    let response = within("The request is answered", request.send()).await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Answer { status, headers, body: response.bytes().await.unwrap().to_vec() }
}

fn spec(routes: &[(&str, &str)]) -> HttpApi {
    HttpApi {
        logical_id: "HttpApi".into(),
        api_id: "httpapi".into(),
        name: "http".into(),
        stage: "$default".into(),
        stage_variables: BTreeMap::new(),
        cors: None,
        authorizers: BTreeMap::new(),
        lambda_authorizers: BTreeMap::new(),
        other_integrations: BTreeMap::new(),
        routes: routes.iter().map(|(key, function)| route(key, function)).collect(),
    }
}

fn route(key: &str, function: &str) -> HttpRoute {
    let parsed = match key.split_once(' ') {
        Some((method, path)) => RouteKey::parse(method, path).unwrap(),
        None => RouteKey::Default,
    };
    assert_eq!(parsed.to_string(), key);
    HttpRoute {
        key: parsed,
        function: function.into(),
        integration_timeout: NEVER,
        payload_format: PayloadFormat::V2,
        authorization: None,
    }
}
