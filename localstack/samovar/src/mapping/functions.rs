//! The functions of `$input` and `$util`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::evaluate::Budget;
use super::methods::text;
use super::{Problem, Scope};
use crate::json_path;

type Result<T> = std::result::Result<T, Problem>;

/// `$input.name` without, or `$input.name(…)` with arguments.
pub(super) fn of_input(scope: &Scope, name: &str, arguments: Option<&[Value]>, budget: &mut Budget) -> Result<Value> {
    let params = &scope.params;
    let arguments: Option<Vec<&str>> =
        arguments.map(|arguments| arguments.iter().map(|argument| argument.as_str().unwrap_or_default()).collect());
    match (name, arguments.as_deref()) {
        ("body", None) => Ok(budget.text(scope.body.clone())?.into()),
        ("params", Some([])) => {
            let all = json!({ "path": params.path, "querystring": params.querystring, "header": params.header });
            budget.value(all)
        }
        // They are looked for in this order.
        ("params", Some([name])) => {
            let found = [&params.path, &params.querystring, &params.header].into_iter().find_map(|map| map.get(*name));
            let found = found.or_else(|| header(&params.header, name));
            Ok(found.map_or("", String::as_str).into())
        }
        ("json", Some([path])) => {
            budget.pay(scope.body.len())?;
            let body = json_of(&scope.body);
            let found = json_path::find(&body, path);
            // What is missing is an empty string of JSON.
            Ok(budget.text(found.map_or_else(|| "\"\"".to_owned(), |value| value.to_string()))?.into())
        }
        ("path", Some([path])) => {
            budget.pay(scope.body.len())?;
            let body = json_of(&scope.body);
            budget.value(json_path::find(&body, path).map(std::borrow::Cow::into_owned).unwrap_or_default())
        }
        _ => Err(Problem::new(format!("$input has no {name} with these arguments"))),
    }
}

fn header<'h>(headers: &'h BTreeMap<String, String>, name: &str) -> Option<&'h String> {
    headers.iter().find(|(header, _)| header.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

/// A body as JSON. Without a body it is an empty object, and other text is a string.
fn json_of(body: &str) -> Value {
    if body.trim().is_empty() {
        return json!({});
    }
    serde_json::from_str(body).unwrap_or_else(|_| body.into())
}

/// `$util.name(…)`.
pub(super) fn of_util(name: &str, arguments: Option<&[Value]>, budget: &mut Budget) -> Result<Value> {
    let [argument] = arguments.unwrap_or_default() else {
        return Err(Problem::new(format!("$util has no {name} with these arguments")));
    };
    if argument.is_null() {
        return Ok(Value::Null);
    }
    let argument = budget.text(text(argument))?;
    let wrong = |why: String| Problem::new(format!("$util.{name}: {why}"));
    let result = match name {
        "escapeJavaScript" => escape(&argument),
        "urlEncode" => url_encode(&argument),
        "urlDecode" => crate::uri::decode(&argument.replace('+', " ")),
        "base64Encode" => STANDARD.encode(&argument),
        "base64Decode" => {
            let bytes = STANDARD.decode(&argument).map_err(|error| wrong(error.to_string()))?;
            String::from_utf8(bytes).map_err(|error| wrong(error.to_string()))?
        }
        "parseJson" => {
            let value = serde_json::from_str(&argument).map_err(|error| wrong(error.to_string()))?;
            return budget.value(value);
        }
        _ => return Err(Problem::new(format!("$util has no {name}"))),
    };
    Ok(budget.text(result)?.into())
}

/// As Java's `StringEscapeUtils.escapeJavaScript`, which API Gateway uses.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\'' | '"' | '\\' | '/' => escaped.extend(['\\', character]),
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            '\t' => escaped.push_str("\\t"),
            '\u{8}' => escaped.push_str("\\b"),
            '\u{c}' => escaped.push_str("\\f"),
            ' '..='~' => escaped.push(character),
            other => {
                for unit in other.encode_utf16(&mut [0; 2]) {
                    let _ = write!(escaped, "\\u{unit:04X}"); // a string takes everything
                }
            }
        }
    }
    escaped
}

/// As Java's `URLEncoder`: the encoding of forms.
fn url_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' ' => encoded.push('+'),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'*' | b'_' => encoded.push(byte.into()),
            other => _ = write!(encoded, "%{other:02X}"),
        }
    }
    encoded
}
