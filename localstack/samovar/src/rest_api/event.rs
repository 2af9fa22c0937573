//! The event that a function receives: the input format of a proxy integration of a REST API.
//!
//! Unlike in HTTP APIs, header names are in the client's own case, parameters that are absent are null, and `path` is
//! without the stage.
//!
//! Unconfirmed: that `path` is as the client sent it, without a slash at its end, and the values of variables decoded;
//! bytes of a text that are not UTF-8.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use http::header::{CONNECTION, CONTENT_TYPE, HOST, HeaderName, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, USER_AGENT};
use serde_json::{Map, Value, json};

use super::handle::Ids;
use super::{Api, media};
use crate::clock::now_ms;
use crate::http_api::event::time;
use crate::http_api::incoming::Incoming;
use crate::http_api::routes::Selected;
use crate::ids::gateway_trace_header;
use crate::server::{HeaderCase, Scheme};

/// Headers that concern only one connection, and those that the edge sets.
const NOT_SHOWN: [HeaderName; 6] = [CONNECTION, HOST, TE, TRAILER, TRANSFER_ENCODING, UPGRADE];

pub(super) fn event(
    api: &Api,
    incoming: &Incoming,
    path: &str,
    body: &[u8],
    selected: &Selected<'_>,
    ids: &Ids,
) -> Value {
    let head = &incoming.head;
    let key = selected.route.key.to_string();
    let resource = key.split_once(' ').map_or("/", |(_, path)| path);
    let headers = headers(&api.edge.domain, incoming);
    let query = crate::uri::query(head.uri.query());
    let content_type = head.headers.get(CONTENT_TYPE).map(text).unwrap_or_default();
    let binary = media::is_binary(&api.spec.binary_media_types, &content_type);
    let body = match body {
        [] => Value::Null,
        bytes if binary => STANDARD.encode(bytes).into(),
        bytes => String::from_utf8_lossy(bytes).into(),
    };
    json!({
        "resource": resource,
        "path": path,
        "httpMethod": head.method.as_str(),
        "headers": singles(&headers),
        "multiValueHeaders": lists(&headers),
        "queryStringParameters": singles(&query),
        "multiValueQueryStringParameters": lists(&query),
        "pathParameters": or_null(&selected.parameters),
        "stageVariables": or_null(&api.spec.stage_variables),
        "requestContext": context(api, incoming, resource, ids),
        "isBase64Encoded": binary && !body.is_null(),
        "body": body,
    })
}

fn context(api: &Api, incoming: &Incoming, resource: &str, ids: &Ids) -> Value {
    let head = &incoming.head;
    let now_ms = now_ms();
    json!({
        "accountId": api.edge.account_id,
        "apiId": api.spec.api_id,
        "deploymentId": format!("{}deployment", api.spec.api_id),
        "domainName": api.edge.domain,
        "domainPrefix": api.spec.api_id,
        "extendedRequestId": ids.extended,
        "httpMethod": head.method.as_str(),
        "identity": {
            "accessKey": null,
            "accountId": null,
            "caller": null,
            "cognitoAuthenticationProvider": null,
            "cognitoAuthenticationType": null,
            "cognitoIdentityId": null,
            "cognitoIdentityPoolId": null,
            "principalOrgId": null,
            "sourceIp": incoming.peer.ip().to_string(),
            "user": null,
            "userAgent": head.headers.get(USER_AGENT).map(text),
            "userArn": null,
        },
        "path": head.uri.path(),
        "protocol": format!("{:?}", head.version),
        "requestId": ids.request,
        "requestTime": time(now_ms),
        "requestTimeEpoch": now_ms,
        // On AWS it is random. Here it names the resource.
        "resourceId": resource.trim_matches('/'),
        "resourcePath": resource,
        "stage": api.spec.stage,
    })
}

/// The headers in the client's own case, with those that API Gateway adds.
pub(crate) fn headers(domain: &str, incoming: &Incoming) -> Vec<(String, String)> {
    let head = &incoming.head;
    let case = head.extensions.get::<HeaderCase>();
    let own =
        head.headers.iter().filter(|(name, _)| !NOT_SHOWN.contains(name) && !name.as_str().starts_with("x-forwarded-"));
    let mut all: Vec<(String, String)> = own
        .map(|(name, value)| {
            let name = case.map_or_else(|| name.to_string(), |case| case.of(name.as_str()));
            (name, text(value).into_owned())
        })
        .collect();
    let ip = incoming.peer.ip().to_string();
    let before = head.headers.get("x-forwarded-for").map(text);
    let forwarded = before.map_or_else(|| ip.clone(), |before| format!("{before}, {ip}"));
    let port = domain.rsplit_once(':').map_or("443", |(_, port)| port);
    let mut add = |name: &str, value: String| all.push((name.to_owned(), value));
    add("Host", domain.to_owned());
    add("X-Forwarded-For", forwarded);
    add("X-Forwarded-Port", port.to_owned());
    add("X-Forwarded-Proto", Scheme::of(&head.extensions).to_owned());
    if !head.headers.contains_key("x-amzn-trace-id") {
        add("X-Amzn-Trace-Id", gateway_trace_header());
    }
    all
}

/// The last value of each name, or null.
pub(crate) fn singles(pairs: &[(String, String)]) -> Value {
    let map: Map<String, Value> = pairs.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
    or_null(&map)
}

/// All values of each name, or null.
pub(crate) fn lists(pairs: &[(String, String)]) -> Value {
    let mut map: Map<String, Value> = Map::new();
    for (name, value) in pairs {
        if let Some(list) = map.entry(name.clone()).or_insert_with(|| json!([])).as_array_mut() {
            list.push(value.as_str().into());
        }
    }
    or_null(&map)
}

/// A map as JSON, or null if it is empty.
pub(crate) fn or_null(map: &impl serde::Serialize) -> Value {
    let map = json!(map);
    if map.as_object().is_some_and(|map| map.is_empty()) { Value::Null } else { map }
}

fn text(value: &HeaderValue) -> Cow<'_, str> {
    String::from_utf8_lossy(value.as_bytes())
}
