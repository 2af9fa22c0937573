//! The answer of a proxy integration's function. API Gateway takes one with the documented fields alone, and no answer
//! with any other field (a user's capture in [middy #1219]).
//!
//! An answer to a message may be empty, or without a `statusCode`: AWS's behaviour is unconfirmed, and nothing of such
//! an answer would reach the client.
//!
//! [middy #1219]: https://github.com/middyjs/middy/issues/1219

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::SEC_WEBSOCKET_PROTOCOL;
use serde_json::{Map, Value};

const FIELDS: [&str; 5] = ["body", "headers", "isBase64Encoded", "multiValueHeaders", "statusCode"];

/// The parts of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// From 100 to 599.
    pub status: Option<u16>,
    /// Decoded. `None` if the answer has none.
    pub body: Option<Vec<u8>>,
    /// The header `Sec-WebSocket-Protocol`.
    pub subprotocol: Option<String>,
}

/// Reads an answer.
///
/// # Errors
/// The reason why it is malformed.
pub(super) fn read(answer: &Value) -> Result<Answer, String> {
    let fields = match answer {
        Value::Null => &Map::new(),
        Value::Object(fields) => fields,
        _ => return Err("it is not an object".to_owned()),
    };
    if let Some(other) = fields.keys().find(|name| !FIELDS.contains(&name.as_str())) {
        return Err(format!("it has the field {other:?}; API Gateway takes only {}", FIELDS.join(", ")));
    }
    let status = match fields.get("statusCode") {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(text.parse().ok()),
        Some(number) => Some(number.as_u64().and_then(|status| u16::try_from(status).ok())),
    };
    let status = status
        .map(|status| status.filter(|status| (100..600).contains(status)).ok_or("its statusCode is not one of HTTP"))
        .transpose()?;
    let is_base64 = match fields.get("isBase64Encoded") {
        None | Some(Value::Null) => false,
        Some(Value::Bool(is)) => *is,
        // Public samples write it as text, like the status.
        Some(Value::String(text)) if ["true", "false"].contains(&text.as_str()) => text == "true",
        Some(_) => return Err("its isBase64Encoded is neither true nor false".to_owned()),
    };
    let body = match fields.get("body") {
        None | Some(Value::Null) => "",
        Some(body) => body.as_str().ok_or("its body is not a string")?,
    };
    let has_body = fields.get("body").is_some_and(|body| !body.is_null());
    let body = match is_base64 {
        true => STANDARD.decode(body).map_err(|error| format!("its body is not base64: {error}"))?,
        false => body.as_bytes().to_vec(),
    };
    Ok(Answer { status, body: has_body.then_some(body), subprotocol: subprotocol(fields) })
}

fn subprotocol(fields: &Map<String, Value>) -> Option<String> {
    let map = |name: &str| fields.get(name).and_then(Value::as_object).into_iter().flatten();
    let single = map("headers").filter_map(|(name, value)| Some((name, value.as_str()?)));
    let multi = map("multiValueHeaders").filter_map(|(name, values)| Some((name, values.get(0)?.as_str()?)));
    let mut all = single.chain(multi);
    let found = all.find(|(name, _)| name.eq_ignore_ascii_case(SEC_WEBSOCKET_PROTOCOL.as_str()));
    found.map(|(_, value)| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_answer_has_a_status_and_a_body() {
        let answer = |status: Option<u16>, body: Option<&str>| {
            Ok(Answer { status, body: body.map(Into::into), subprotocol: None })
        };
        for (value, expected) in [
            (json!({ "statusCode": 200, "body": "a" }), answer(Some(200), Some("a"))),
            (json!({ "statusCode": "403", "headers": {}, "multiValueHeaders": {} }), answer(Some(403), None)),
            (json!({ "body": "YQ==", "isBase64Encoded": true }), answer(None, Some("a"))),
            (json!({ "statusCode": null, "body": null, "isBase64Encoded": null }), answer(None, None)),
            (json!({ "body": "YQ==", "isBase64Encoded": "true" }), answer(None, Some("a"))),
            (json!({ "body": "YQ==", "isBase64Encoded": "false" }), answer(None, Some("YQ=="))),
            (json!({ "body": "" }), answer(None, Some(""))),
            (json!({}), answer(None, None)),
            (json!(null), answer(None, None)),
        ] {
            assert_eq!(read(&value), expected, "{value}");
        }
    }

    #[test]
    fn the_subprotocol_is_a_header_of_either_kind() {
        for answer in [
            json!({ "headers": { "sec-websocket-protocol": "chat" } }),
            json!({ "multiValueHeaders": { "Sec-WebSocket-Protocol": ["chat", "x"] } }),
        ] {
            assert_eq!(read(&answer).map(|answer| answer.subprotocol), Ok(Some("chat".to_owned())), "{answer}");
        }
    }

    #[test]
    fn a_malformed_answer_has_a_reason() {
        for (value, why) in [
            (json!("text"), "not an object"),
            (json!([]), "not an object"),
            (json!({ "statusCode": 200, "Data": "x" }), "the field \"Data\""),
            (json!({ "statusCode": "two" }), "statusCode"),
            (json!({ "statusCode": 99 }), "statusCode"),
            (json!({ "statusCode": 600 }), "statusCode"),
            (json!({ "statusCode": [200] }), "statusCode"),
            (json!({ "statusCode": 200.5 }), "statusCode"),
            (json!({ "body": {} }), "body is not a string"),
            (json!({ "body": "*", "isBase64Encoded": true }), "not base64"),
            (json!({ "isBase64Encoded": "yes" }), "isBase64Encoded"),
            (json!({ "isBase64Encoded": 1 }), "isBase64Encoded"),
        ] {
            assert!(read(&value).is_err_and(|error| error.contains(why)), "{value}");
        }
    }
}
