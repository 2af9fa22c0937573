//! The handshake, which is pending until the authorizer and `$connect` have answered.
//!
//! It runs in a task of its own. If the client leaves meanwhile, only the response is lost: `$connect` runs to its end,
//! and if it let the client in, `$disconnect` follows.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_PROTOCOL, UPGRADE, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::events::{self, Client, Closed, Handshake};
use super::registry::Connection;
use super::{Api, api_key, connection, iam, integration};
use crate::authorizer::policy::{Verdict, evaluate};
use crate::chaos::{DISCONNECT, GATEWAY};
use crate::clock::now_ms;
use crate::http_api::response::final_status;
use crate::ids::{gateway_id, gateway_trace_header};
use crate::invoke::IntegrationError;
use crate::server::{HeaderCase, Scheme};
use samovar_template::IdentitySource;

/// Answers an upgrade request when the handshake is decided.
pub(crate) async fn upgrade(api: Arc<Api>, mut request: Request<Body>, peer: SocketAddr) -> Response<Body> {
    let key = match websocket_key(request.method(), request.headers()) {
        Ok(key) => key,
        Err(why) => return refuse(StatusCode::UPGRADE_REQUIRED, why),
    };
    let upgraded = hyper::upgrade::on(&mut request);
    let handshake = read(&api, &request, peer);
    let (head, _) = request.into_parts();
    let signer = match iam::signer(&api, &head) {
        Ok(signer) => signer,
        Err((status, message)) => return refuse(status, &message),
    };
    let client = Client {
        connection_id: gateway_id(),
        connected_at_ms: now_ms(),
        source_ip: peer.ip().to_string(),
        user_agent: text(&head.headers, USER_AGENT.as_str()),
        signer,
        has_api_key: false,
        authorizer: None,
    };
    let (answer, response) = oneshot::channel();
    let tasks = api.tasks.clone();
    tasks.spawn(run_connection(api, handshake, client, key, upgraded, answer));
    response.await.unwrap_or_else(|_| refuse(StatusCode::INTERNAL_SERVER_ERROR, "Internal server error"))
}

/// Runs a connection from its handshake to its `$disconnect`.
async fn run_connection(
    api: Arc<Api>,
    handshake: Handshake,
    mut client: Client,
    key: String,
    upgraded: hyper::upgrade::OnUpgrade,
    answer: oneshot::Sender<Response<Body>>,
) {
    let admitted = async {
        let (authorizer, usage_identifier_key) = authorize(&api, &client, &handshake).await?;
        client.authorizer = authorizer;
        client.has_api_key = api_key::has_key(&api, &handshake.headers, usage_identifier_key.as_deref());
        let is_needed = api.spec.routes.get("$connect").is_some_and(|route| route.api_key_required);
        if is_needed && !client.has_api_key {
            return Err(refuse(StatusCode::FORBIDDEN, "Forbidden"));
        }
        connect(&api, &client, &handshake).await
    };
    let subprotocol = match admitted.await {
        Ok(subprotocol) => subprotocol,
        Err(refusal) => {
            let _ = answer.send(refusal); // the client may be gone
            return;
        }
    };
    let (connection, outgoing) = Connection::new(client);
    // Not earlier: before `$connect` has returned, posting to the connection gives 410.
    api.registry.add(Arc::clone(&connection));
    let _ = answer.send(switching_protocols(&key, subprotocol));
    let closed = match upgraded.await {
        Ok(upgraded) => connection::run(&api, &connection, upgraded, outgoing).await,
        Err(_) => Closed { code: 1006, reason: "Connection closed abnormally".into() },
    };
    api.registry.remove(&connection.client.connection_id);
    tracing::debug!(connection = connection.client.connection_id, code = closed.code, "Closed");
    if let Some(route) = api.spec.routes.get("$disconnect") {
        let event = events::disconnect(&api, &connection.client, &closed);
        // AWS promises only to try to deliver `$disconnect`.
        if api.door.decide(&integration::name(route), GATEWAY, DISCONNECT, event.to_string().into()).await.dropped {
            return;
        }
        if let Err(error) = integration::call(&api, route, &event).await {
            tracing::warn!(connection = connection.client.connection_id, "$disconnect: {error}");
        }
    }
}

/// The context that the authorizer gives a client, and the API key that it knows of it.
type Authorized = (Option<serde_json::Map<String, Value>>, Option<String>);

async fn authorize(api: &Arc<Api>, client: &Client, handshake: &Handshake) -> Result<Authorized, Response<Body>> {
    let Some(authorizer) = &api.spec.authorizer else { return Ok((None, None)) };
    let unauthorized = || refuse(StatusCode::UNAUTHORIZED, "Unauthorized");
    let broken = || refuse(StatusCode::INTERNAL_SERVER_ERROR, "Internal server error");
    if !authorizer.identity_sources.iter().all(|source| is_present(api, source, handshake)) {
        return Err(unauthorized());
    }
    let event = events::authorizer(api, client, handshake);
    let answer = match api.invoker.invoke(&authorizer.function, event.to_string().into()).await {
        Ok(answer) => answer,
        Err(IntegrationError::FunctionError { message, .. }) if message == "Unauthorized" => return Err(unauthorized()),
        Err(error) => {
            tracing::warn!("{error}");
            return Err(broken());
        }
    };
    let answer: Value = serde_json::from_slice(&answer).unwrap_or_default();
    match evaluate(&answer, &events::method_arn(api)) {
        Verdict::Allow(context) => {
            let key = answer.get("usageIdentifierKey").and_then(Value::as_str);
            Ok((Some(context), key.map(str::to_owned)))
        }
        Verdict::Deny { .. } => Err(refuse(StatusCode::FORBIDDEN, "User is not authorized to access this resource")),
        Verdict::Malformed(why) => {
            tracing::warn!("{}: the answer is not a valid authorizer's answer: {why}", authorizer.function);
            Err(broken())
        }
    }
}

/// Calls `$connect`; returns the subprotocol to select.
async fn connect(
    api: &Arc<Api>,
    client: &Client,
    handshake: &Handshake,
) -> Result<Option<HeaderValue>, Response<Body>> {
    let Some(route) = api.spec.routes.get("$connect") else { return Ok(None) };
    let event = events::connect(api, client, handshake);
    let answer = integration::call(api, route, &event).await.map_err(|error| {
        tracing::warn!("$connect: {error}");
        // AWS documents 502 for a function's error. It publishes nothing about the others, so their statuses are this
        // project's.
        match error {
            IntegrationError::Throttled(_) => refuse(StatusCode::TOO_MANY_REQUESTS, "Too many requests"),
            IntegrationError::IntegrationTimeout { .. } => {
                refuse(StatusCode::GATEWAY_TIMEOUT, "Endpoint request timed out")
            }
            IntegrationError::NoTemplate => refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, "Unsupported Media Type"),
            _ => refuse(StatusCode::BAD_GATEWAY, "Internal server error"),
        }
    })?;
    let status = final_status(answer.status).map_err(|why| {
        tracing::warn!("{}: the answer to $connect is malformed: {why}", integration::name(route));
        refuse(StatusCode::BAD_GATEWAY, "Internal server error")
    })?;
    if !status.is_success() {
        return Err(refuse(status, status.canonical_reason().unwrap_or("Refused")));
    }
    Ok(answer.subprotocol.and_then(|selected| subprotocol(&selected, handshake)))
}

/// The subprotocol that the integration selected, if the client offered it.
fn subprotocol(selected: &str, handshake: &Handshake) -> Option<HeaderValue> {
    let is_protocol = |name: &str| name.eq_ignore_ascii_case(SEC_WEBSOCKET_PROTOCOL.as_str());
    let offers = handshake.headers.iter().filter(|(name, _)| is_protocol(name));
    let offered = offers.flat_map(|(_, value)| value.split(',')).any(|name| name.trim() == selected);
    if !offered {
        // Some clients send their token as a subprotocol.
        tracing::warn!("$connect selected a subprotocol that the client did not offer");
        return None;
    }
    HeaderValue::from_str(selected).ok()
}

fn is_present(api: &Api, source: &IdentitySource, handshake: &Handshake) -> bool {
    match source {
        IdentitySource::Header(name) => {
            handshake.headers.iter().any(|(header, value)| header.eq_ignore_ascii_case(name) && !value.is_empty())
        }
        IdentitySource::QueryString(name) => {
            handshake.query.iter().any(|(key, value)| key == name && !value.is_empty())
        }
        IdentitySource::StageVariable(name) => {
            api.spec.stage_variables.get(name).is_some_and(|value| !value.is_empty())
        }
        IdentitySource::Context(_) => true,
    }
}

/// The request in the form of events, with the headers that API Gateway adds.
fn read(api: &Api, request: &Request<Body>, peer: SocketAddr) -> Handshake {
    let case = request.extensions().get::<HeaderCase>();
    let own = request.headers().iter().map(|(name, value)| {
        let name = case.map_or_else(|| name.to_string(), |case| case.of(name.as_str()));
        (name, String::from_utf8_lossy(value.as_bytes()).into_owned())
    });
    let mut headers: events::Headers = own.filter(|(name, _)| !name.eq_ignore_ascii_case("host")).collect();
    let port = api.domain.rsplit_once(':').map_or("443", |(_, port)| port);
    for (name, value) in [
        ("Host", api.domain.as_str()),
        ("X-Amzn-Trace-Id", &gateway_trace_header()),
        ("X-Forwarded-For", &peer.ip().to_string()),
        ("X-Forwarded-Port", port),
        ("X-Forwarded-Proto", Scheme::of(request.extensions())),
    ] {
        headers.push((name.to_owned(), value.to_owned()));
    }
    Handshake { headers, query: crate::uri::query(request.uri().query()) }
}

fn websocket_key(method: &Method, headers: &HeaderMap) -> Result<String, &'static str> {
    let has = |name: &str, token: &str| {
        let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|part| part.trim().eq_ignore_ascii_case(token))
    };
    if method != Method::GET || !has("upgrade", "websocket") || !has("connection", "upgrade") {
        return Err("This is a WebSocket API: connect with a WebSocket client");
    }
    if !has("sec-websocket-version", "13") {
        return Err("Sec-WebSocket-Version must be 13");
    }
    text(headers, "sec-websocket-key").ok_or("Sec-WebSocket-Key is missing")
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

fn switching_protocols(key: &str, subprotocol: Option<HeaderValue>) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    if let Ok(accept) = HeaderValue::from_str(&derive_accept_key(key.as_bytes())) {
        headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    }
    if let Some(subprotocol) = subprotocol {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, subprotocol);
    }
    response
}

fn refuse(status: StatusCode, message: &str) -> Response<Body> {
    let body = json!({ "message": message, "connectionId": gateway_id(), "requestId": gateway_id() });
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if status == StatusCode::UPGRADE_REQUIRED {
        response.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
    }
    response
}
