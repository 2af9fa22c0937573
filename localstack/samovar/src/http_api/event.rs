//! The event that a function sees: payload format 2.0, field by field as API Gateway sends it.
//!
//! The path is decoded in `rawPath`, in spite of its name, and begins with the stage unless that is `$default`; the query is
//! as it was sent in `rawQueryString`. What is empty is not there: cookies, parameters, variables, body.
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
use super::incoming::Incoming;
use super::jwt::Identity;
use super::routes::Selected;
use crate::clock::now_ms;
use crate::ids::trace_id;
use crate::uri::decode;

/// What concerns one connection only, and what is shown elsewhere.
const NOT_SHOWN: [HeaderName; 6] = [CONNECTION, COOKIE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE];

pub(crate) fn event(
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
        "accountId": api.account_id,
        "apiId": api.spec.api_id,
        "domainName": api.domain,
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
        context["authorizer"] = identity.context();
    }
    let mut event = json!({
        "version": "2.0",
        "routeKey": route_key,
        "rawPath": path,
        "rawQueryString": head.uri.query().unwrap_or_default(),
        "headers": headers(api, incoming, body),
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

/// In lower case, and with those that the edge adds.
fn headers(api: &Api, incoming: &Incoming, body: &[u8]) -> Map<String, Value> {
    let own = &incoming.head.headers;
    let ip = incoming.peer.ip().to_string();
    let forwarded = own.get("x-forwarded-for").map_or_else(|| ip.clone(), |before| format!("{}, {ip}", text(before)));
    let trace = own.get("x-amzn-trace-id").map_or_else(trace_id, |trace| text(trace).into_owned());
    let port = api.domain.rsplit_once(':').map_or("443", |(_, port)| port);
    let of_the_edge = [
        (HOST.as_str(), api.domain.clone()),
        (CONTENT_LENGTH.as_str(), body.len().to_string()),
        ("x-amzn-trace-id", trace),
        ("x-forwarded-for", forwarded),
        ("x-forwarded-port", port.to_owned()),
        ("x-forwarded-proto", "http".to_owned()),
    ];
    let shown = own.iter().filter(|(name, _)| !NOT_SHOWN.contains(name));
    let mut all = joined(shown.map(|(name, value)| (name.to_string(), text(value).into_owned())));
    all.extend(of_the_edge.map(|(name, value)| (name.to_owned(), value.into())));
    all
}

/// Values of one name, joined with commas.
fn joined(pairs: impl IntoIterator<Item = (String, String)>) -> Map<String, Value> {
    let mut values: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in pairs {
        values.entry(name).or_default().push(value);
    }
    values.into_iter().map(|(name, values)| (name, values.join(",").into())).collect()
}

fn cookies(headers: &HeaderMap) -> Vec<String> {
    let all = headers.get_all(COOKIE).iter().map(text);
    all.flat_map(|line| line.split(';').map(|cookie| cookie.trim().to_owned()).collect::<Vec<_>>())
        .filter(|cookie| !cookie.is_empty())
        .collect()
}

/// The body as text, where its type is one that API Gateway takes for text. AWS does not publish which; by its users'
/// measurements it is these, and neither forms nor what has no type. Unconfirmed: bytes of a text type that are not UTF-8.
fn text_body<'a>(headers: &HeaderMap, body: &'a [u8]) -> Option<&'a str> {
    let content_type = headers.get(CONTENT_TYPE).map(text)?;
    let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_text = media_type.starts_with("text/")
        || ["application/json", "application/xml", "application/javascript"].contains(&media_type.as_str());
    is_text.then(|| std::str::from_utf8(body).ok()).flatten()
}

fn text(value: &HeaderValue) -> Cow<'_, str> {
    String::from_utf8_lossy(value.as_bytes())
}

/// `12/Mar/2020:19:03:58 +0000`
fn time(epoch_ms: i64) -> String {
    let time = jiff::Timestamp::from_millisecond(epoch_ms).unwrap_or_default();
    time.strftime("%d/%b/%Y:%H:%M:%S +0000").to_string()
}
