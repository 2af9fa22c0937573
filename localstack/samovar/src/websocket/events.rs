//! The events of functions, with the fields that API Gateway sends.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::Api;
use crate::clock::now_ms;
use crate::ids::gateway_id;
use crate::sigv4::Signer;

/// Name and value of each header, in order, with names in the client's own case.
pub(crate) type Headers = Vec<(String, String)>;

/// The facts about a client that its handshake provides.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    pub connection_id: String,
    pub connected_at_ms: i64,
    pub source_ip: String,
    pub user_agent: Option<String>,
    /// The one who has signed the handshake, if it had to be signed.
    pub signer: Option<Signer>,
    /// Whether it has given an API key that is taken here.
    pub has_api_key: bool,
    /// `requestContext.authorizer` of every later event.
    pub authorizer: Option<Map<String, Value>>,
}

/// How a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Closed {
    pub code: u16,
    pub reason: String,
}

/// A handshake as the authorizer and `$connect` receive it.
#[derive(Debug, Clone)]
pub(crate) struct Handshake {
    pub headers: Headers,
    pub query: Vec<(String, String)>,
}

pub(crate) fn authorizer(api: &Api, client: &Client, handshake: &Handshake) -> Value {
    let mut event = json!({
        "type": "REQUEST",
        "methodArn": method_arn(api),
        "stageVariables": api.spec.stage_variables,
        "requestContext": context(api, client, "$connect", "CONNECT", None),
    });
    // Unlike the integration, the authorizer gets the hop-by-hop headers, and empty maps if there is no query.
    let mut headers = handshake.headers.clone();
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-length")) {
        headers.push(("content-length".to_owned(), "0".to_owned()));
    }
    insert_maps(&mut event, "headers", "multiValueHeaders", &headers);
    insert_maps(&mut event, "queryStringParameters", "multiValueQueryStringParameters", &handshake.query);
    event
}

pub(crate) fn connect(api: &Api, client: &Client, handshake: &Handshake) -> Value {
    let mut event = json!({
        "requestContext": context(api, client, "$connect", "CONNECT", None),
        "isBase64Encoded": false,
    });
    let hop_by_hop =
        |name: &str| ["connection", "upgrade", "content-length"].iter().any(|hop| name.eq_ignore_ascii_case(hop));
    let headers: Headers = handshake.headers.iter().filter(|(name, _)| !hop_by_hop(name)).cloned().collect();
    insert_maps(&mut event, "headers", "multiValueHeaders", &headers);
    if !handshake.query.is_empty() {
        insert_maps(&mut event, "queryStringParameters", "multiValueQueryStringParameters", &handshake.query);
    }
    with_stage_variables(api, event)
}

pub(crate) fn message(api: &Api, client: &Client, route_key: &str, request_id: &str, body: &str) -> Value {
    let mut context = context(api, client, route_key, "MESSAGE", Some(request_id));
    context.insert("messageId".into(), gateway_id().into());
    with_stage_variables(api, json!({ "requestContext": context, "body": body, "isBase64Encoded": false }))
}

pub(crate) fn disconnect(api: &Api, client: &Client, closed: &Closed) -> Value {
    let mut context = context(api, client, "$disconnect", "DISCONNECT", None);
    context.insert("disconnectStatusCode".into(), closed.code.into());
    context.insert("disconnectReason".into(), closed.reason.as_str().into());
    let mut event = json!({ "requestContext": context, "isBase64Encoded": false });
    let empty = |name: &str| (name.to_owned(), String::new());
    let headers =
        vec![("Host".to_owned(), api.domain.clone()), empty("x-api-key"), empty("X-Forwarded-For"), empty("x-restapi")];
    insert_maps(&mut event, "headers", "multiValueHeaders", &headers);
    with_stage_variables(api, event)
}

/// An integration gets the variables of the stage if there are any.
fn with_stage_variables(api: &Api, mut event: Value) -> Value {
    if !api.spec.stage_variables.is_empty() {
        event["stageVariables"] = json!(api.spec.stage_variables);
    }
    event
}

/// The frame that a client gets if its message could not be handled.
pub(crate) fn error_frame(message: &str, connection_id: &str, request_id: &str) -> String {
    json!({ "message": message, "connectionId": connection_id, "requestId": request_id }).to_string()
}

pub(crate) fn method_arn(api: &Api) -> String {
    let Api { region, account_id, spec, .. } = api;
    format!("arn:aws:execute-api:{region}:{account_id}:{}/{}/$connect", spec.api_id, spec.stage)
}

fn context(
    api: &Api,
    client: &Client,
    route_key: &str,
    event_type: &str,
    request_id: Option<&str>,
) -> Map<String, Value> {
    let now_ms = now_ms();
    let request_id = request_id.map_or_else(gateway_id, str::to_owned);
    let mut identity = Map::from_iter([("sourceIp".to_owned(), Value::from(client.source_ip.as_str()))]);
    if let Some(agent) = &client.user_agent {
        identity.insert("userAgent".into(), agent.as_str().into());
    }
    if let Some(signer) = &client.signer {
        for (name, value) in [
            ("accessKey", signer.access_key.clone()),
            ("accountId", api.account_id.clone()),
            ("caller", signer.access_key.clone()),
            ("user", signer.access_key.clone()),
            ("userArn", signer.arn(&api.account_id)),
        ] {
            identity.insert(name.into(), value.into());
        }
    }
    let context = json!({
        "routeKey": route_key,
        "eventType": event_type,
        "messageDirection": "IN",
        "connectionId": client.connection_id,
        "connectedAt": client.connected_at_ms,
        "requestTimeEpoch": now_ms,
        "requestTime": request_time(now_ms),
        "requestId": request_id,
        "extendedRequestId": request_id,
        "domainName": api.domain,
        "stage": api.spec.stage,
        "apiId": api.spec.api_id,
        "identity": identity,
    });
    let Value::Object(mut context) = context else { return Map::new() };
    if let Some(authorizer) = &client.authorizer {
        context.insert("authorizer".into(), authorizer.clone().into());
    }
    context
}

/// `11/Nov/2024:11:35:24 +0000`
fn request_time(epoch_ms: i64) -> String {
    let time = jiff::Timestamp::from_millisecond(epoch_ms).unwrap_or_default();
    time.strftime("%d/%b/%Y:%H:%M:%S +0000").to_string()
}

/// Adds both maps of a list of pairs: one with the last value of each name, one with all values.
fn insert_maps(event: &mut Value, single: &str, multi: &str, pairs: &[(String, String)]) {
    let mut last: BTreeMap<&str, &str> = BTreeMap::new();
    let mut all: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, value) in pairs {
        last.insert(name, value);
        all.entry(name).or_default().push(value);
    }
    event[single] = json!(last);
    event[multi] = json!(all);
}
