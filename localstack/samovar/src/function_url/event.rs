//! The event that a function receives: payload format 2.0, as of an HTTP API, with the differences that events of AWS
//! have. A caller without a signature is `anonymous` in place of the account.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::USER_AGENT;
use serde_json::{Map, Value, json};

use super::Url;
use crate::clock::now_ms;
use crate::http_api::event::{cookies, headers, joined, text, text_body, time};
use crate::http_api::incoming::Incoming;
use crate::sigv4::Signer;
use crate::uri::decode;

/// `path` is without the prefix of the URL.
pub(super) fn event(
    url: &Url,
    incoming: &Incoming,
    path: &str,
    body: &[u8],
    signer: Option<&Signer>,
    request_id: &str,
) -> Value {
    let (head, edge) = (&incoming.head, &url.edge);
    let path = decode(path);
    let now_ms = now_ms();
    let mut request_context = json!({
        "accountId": if signer.is_some() { edge.account_id.as_str() } else { "anonymous" },
        "apiId": url.id,
        "domainName": edge.domain,
        "domainPrefix": url.id,
        "http": {
            "method": head.method.as_str(),
            "path": path,
            "protocol": format!("{:?}", head.version),
            "sourceIp": incoming.peer.ip().to_string(),
            "userAgent": head.headers.get(USER_AGENT).map(text).unwrap_or_default(),
        },
        "requestId": request_id,
        "routeKey": "$default",
        "stage": "$default",
        "time": time(now_ms),
        "timeEpoch": now_ms,
    });
    if let Some(signer) = signer {
        request_context["authorizer"] = json!({ "iam": signer.context(&edge.account_id) });
    }
    let mut event = json!({
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": head.uri.query().unwrap_or_default(),
        "headers": headers(&edge.domain, incoming, body),
        "requestContext": request_context,
        "isBase64Encoded": false,
    });
    let query: Map<String, Value> = joined(crate::uri::query(head.uri.query()));
    if !query.is_empty() {
        event["queryStringParameters"] = query.into();
    }
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
