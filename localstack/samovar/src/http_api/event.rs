//! The event that a function receives: payload format 2.0, with the fields that API Gateway sends.
//!
//! `rawPath` contains the decoded path in spite of its name. It begins with the stage, unless the stage is `$default`.
//! `rawQueryString` contains the query as it was sent. Cookies, parameters, variables and body are left out if they are
//! empty.
//!
//! Unconfirmed: `userAgent` where the client sent none.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HOST, HeaderName, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
    USER_AGENT,
};
use http::{HeaderMap, HeaderValue};
use serde_json::{Map, Value, json};

use super::Api;
use super::identity::Identity;
use super::incoming::Incoming;
use super::routes::Selected;
use crate::clock::now_ms;
use crate::ids::gateway_trace_header;
use crate::server::Scheme;
use crate::uri::decode;

/// Headers that concern only one connection, or that have another place in the event.
const NOT_SHOWN: [HeaderName; 6] = [CONNECTION, COOKIE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE];

pub(super) fn event(
    api: &Api,
    incoming: &Incoming,
    body: &[u8],
    selected: &Selected<'_>,
    identity: Option<&Identity>,
    request_id: &str,
) -> Value {
    let head = &incoming.head;
    let route_key = selected.route.key.to_string();
    let path = decode(head.uri.path());
    let now_ms = now_ms();
    let mut context = json!({
        "accountId": api.edge.account_id,
        "apiId": api.spec.api_id,
        "domainName": api.edge.domain,
        "domainPrefix": api.spec.api_id,
        "http": {
            "method": head.method.as_str(),
            "path": path,
            "protocol": format!("{:?}", head.version),
            "sourceIp": incoming.peer.ip().to_string(),
            "userAgent": head.headers.get(USER_AGENT).map(text).unwrap_or_default(),
        },
        "requestId": request_id,
        "routeKey": route_key,
        "stage": api.spec.stage,
        "time": time(now_ms),
        "timeEpoch": now_ms,
    });
    if let Some(identity) = identity {
        context["authorizer"] = identity.context(&api.edge.account_id);
    }
    let mut event = json!({
        "version": "2.0",
        "routeKey": route_key,
        "rawPath": path,
        "rawQueryString": head.uri.query().unwrap_or_default(),
        "headers": headers(&api.edge.domain, incoming, body),
        "requestContext": context,
        "isBase64Encoded": false,
    });
    let mut add = |name: &str, values: Map<String, Value>| {
        if !values.is_empty() {
            event[name] = values.into();
        }
    };
    add("queryStringParameters", joined(crate::uri::query(head.uri.query())));
    add("pathParameters", joined(selected.parameters.clone()));
    add("stageVariables", joined(api.spec.stage_variables.clone()));
    let cookies = cookies(&head.headers);
    if !cookies.is_empty() {
        event["cookies"] = cookies.into();
    }
    if !body.is_empty() {
        let text = text_body(&head.headers, body);
        event["isBase64Encoded"] = text.is_none().into();
        event["body"] = text.map_or_else(|| STANDARD.encode(body), str::to_owned).into();
    }
    event
}

/// The headers in lower case, with those that API Gateway adds.
pub(crate) fn headers(domain: &str, incoming: &Incoming, body: &[u8]) -> Map<String, Value> {
    let own = &incoming.head.headers;
    let ip = incoming.peer.ip().to_string();
    let forwarded = own.get("x-forwarded-for").map_or_else(|| ip.clone(), |before| format!("{}, {ip}", text(before)));
    let trace = own.get("x-amzn-trace-id").map_or_else(gateway_trace_header, |trace| text(trace).into_owned());
    let port = domain.rsplit_once(':').map_or("443", |(_, port)| port);
    let of_the_edge = [
        (HOST.as_str(), domain.to_owned()),
        (CONTENT_LENGTH.as_str(), body.len().to_string()),
        ("x-amzn-trace-id", trace),
        ("x-forwarded-for", forwarded),
        ("x-forwarded-port", port.to_owned()),
        ("x-forwarded-proto", Scheme::of(&incoming.head.extensions).to_owned()),
    ];
    let shown = own.iter().filter(|(name, _)| !NOT_SHOWN.contains(name));
    let mut all = joined(shown.map(|(name, value)| (name.to_string(), text(value).into_owned())));
    all.extend(of_the_edge.map(|(name, value)| (name.to_owned(), value.into())));
    all
}

/// The values of each name, joined with commas.
pub(crate) fn joined(pairs: impl IntoIterator<Item = (String, String)>) -> Map<String, Value> {
    let mut values: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in pairs {
        values.entry(name).or_default().push(value);
    }
    values.into_iter().map(|(name, values)| (name, values.join(",").into())).collect()
}

pub(crate) fn cookies(headers: &HeaderMap) -> Vec<String> {
    let all = headers.get_all(COOKIE).iter().map(text);
    all.flat_map(|line| line.split(';').map(|cookie| cookie.trim().to_owned()).collect::<Vec<_>>())
        .filter(|cookie| !cookie.is_empty())
        .collect()
}

/// The body as text, if API Gateway treats its type as text. AWS does not publish which types these are. By its users'
/// measurements it is this list, and neither forms nor a body without a type. Unconfirmed: bytes of a text type that
/// are not UTF-8.
pub(crate) fn text_body<'a>(headers: &HeaderMap, body: &'a [u8]) -> Option<&'a str> {
    let content_type = headers.get(CONTENT_TYPE).map(text)?;
    let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_text = media_type.starts_with("text/")
        || ["application/json", "application/xml", "application/javascript"].contains(&media_type.as_str());
    is_text.then(|| std::str::from_utf8(body).ok()).flatten()
}

pub(crate) fn text(value: &HeaderValue) -> Cow<'_, str> {
    String::from_utf8_lossy(value.as_bytes())
}

/// `12/Mar/2020:19:03:58 +0000`
pub(crate) fn time(epoch_ms: i64) -> String {
    let time = jiff::Timestamp::from_millisecond(epoch_ms).unwrap_or_default();
    time.strftime("%d/%b/%Y:%H:%M:%S +0000").to_string()
}
