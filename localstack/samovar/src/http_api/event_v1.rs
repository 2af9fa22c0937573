//! The event that a function receives in the payload format 1.0, which resembles that of REST APIs.
//!
//! Unconfirmed: that header names are in the client's own case; that `resource` is `$default` for that route; that
//! `path` has the stage.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::USER_AGENT;
use serde_json::{Value, json};

use super::Api;
use super::event::{text, text_body, time};
use super::identity::Identity;
use super::incoming::Incoming;
use super::routes::Selected;
use crate::clock::now_ms;
use crate::rest_api::event::{headers, lists, or_null, singles};
use crate::uri::decode;

pub(super) fn event(
    api: &Api,
    incoming: &Incoming,
    body: &[u8],
    selected: &Selected<'_>,
    identity: Option<&Identity>,
    request_id: &str,
) -> Value {
    let (head, edge) = (&incoming.head, &api.edge);
    let key = selected.route.key.to_string();
    let resource = key.split_once(' ').map_or(key.as_str(), |(_, path)| path);
    let path = decode(head.uri.path());
    let headers = headers(&edge.domain, incoming);
    let query = crate::uri::query(head.uri.query());
    let now_ms = now_ms();
    let signer = match identity {
        Some(Identity::Iam(signer)) => Some(signer),
        _ => None,
    };
    let mut context = json!({
        "accountId": edge.account_id,
        "apiId": api.spec.api_id,
        "domainName": edge.domain,
        "domainPrefix": api.spec.api_id,
        "extendedRequestId": request_id,
        "httpMethod": head.method.as_str(),
        "identity": {
            "accessKey": signer.map(|signer| &signer.access_key),
            "accountId": signer.map(|_| &edge.account_id),
            "caller": signer.map(|signer| &signer.access_key),
            "cognitoAuthenticationProvider": null,
            "cognitoAuthenticationType": null,
            "cognitoIdentityId": null,
            "cognitoIdentityPoolId": null,
            "principalOrgId": null,
            "sourceIp": incoming.peer.ip().to_string(),
            "user": signer.map(|signer| &signer.access_key),
            "userAgent": head.headers.get(USER_AGENT).map(text).unwrap_or_default(),
            "userArn": signer.map(|signer| signer.arn(&edge.account_id)),
        },
        "path": path,
        "protocol": format!("{:?}", head.version),
        "requestId": request_id,
        "requestTime": time(now_ms),
        "requestTimeEpoch": now_ms,
        "resourceId": key,
        "resourcePath": resource,
        "stage": api.spec.stage,
    });
    if let Some(authorizer) = identity.and_then(Identity::context_v1) {
        context["authorizer"] = authorizer;
    }
    let text = text_body(&head.headers, body);
    let (encoded, body) = match (body, text) {
        ([], _) => (false, Value::Null),
        (_, Some(text)) => (false, text.into()),
        (bytes, None) => (true, STANDARD.encode(bytes).into()),
    };
    json!({
        "version": "1.0",
        "resource": resource,
        "path": path,
        "httpMethod": head.method.as_str(),
        "headers": singles(&headers),
        "multiValueHeaders": lists(&headers),
        "queryStringParameters": singles(&query),
        "multiValueQueryStringParameters": lists(&query),
        "requestContext": context,
        "pathParameters": or_null(&selected.parameters),
        "stageVariables": or_null(&api.spec.stage_variables),
        "body": body,
        "isBase64Encoded": encoded,
    })
}
