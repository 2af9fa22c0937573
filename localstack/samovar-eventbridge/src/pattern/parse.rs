//! Reads a pattern, and refuses what EventBridge refuses.

use std::net::IpAddr;

use serde_json::{Map, Value};

use super::comparison::{Comparison, MOST, Order, Text};
use super::{Node, Object, PatternError};

const OR: &str = "$or";
const MATCH_TYPES: &str = "anything-but, cidr, equals-ignore-case, exists, numeric, prefix, suffix and wildcard";

/// A reason. The callers add the path.
type Wrong = String;

pub(super) fn root(value: &Value) -> Result<Object, PatternError> {
    let Value::Object(fields) = value else { return Err(PatternError::NotAnObject) };
    object(fields, &mut Vec::new())
}

fn object(fields: &Map<String, Value>, path: &mut Vec<String>) -> Result<Object, PatternError> {
    if fields.is_empty() {
        return Err(wrong(path, "an empty object is not allowed".to_owned()));
    }
    let mut object = Object::default();
    for (name, value) in fields {
        path.push(name.clone());
        match alternatives(name, value) {
            Some(maps) => {
                let parsed: Result<_, _> = maps.into_iter().map(|map| self::object(map, path)).collect();
                object.alternatives = Some(parsed?);
            }
            None => object.fields.push((name.clone(), node(value, path)?)),
        }
        path.pop();
    }
    Ok(object)
}

/// The objects of `$or`. With anything but two or more objects it is the name of a field.
fn alternatives<'a>(name: &str, value: &'a Value) -> Option<Vec<&'a Map<String, Value>>> {
    let values = value.as_array().filter(|values| name == OR && values.len() > 1)?;
    values.iter().map(Value::as_object).collect()
}

fn node(value: &Value, path: &mut Vec<String>) -> Result<Node, PatternError> {
    match value {
        Value::Object(fields) => Ok(Node::Object(object(fields, path)?)),
        Value::Array(values) if values.is_empty() => Err(wrong(path, "an empty list is not allowed".to_owned())),
        Value::Array(values) => {
            let comparisons: Result<_, Wrong> = values.iter().map(comparison).collect();
            comparisons.map(Node::Leaf).map_err(|reason| wrong(path, reason))
        }
        other => Err(wrong(path, format!("{other} must be in a list: [{other}]"))),
    }
}

fn wrong(path: &[String], reason: String) -> PatternError {
    PatternError::Part { path: path.join("."), reason }
}

fn comparison(value: &Value) -> Result<Comparison, Wrong> {
    match value {
        Value::Array(_) => Err("a list within a list is not allowed".to_owned()),
        Value::Object(_) => {
            let (kind, value) = one_field(value)?;
            match kind {
                "exists" => match value {
                    Value::Bool(exists) => Ok(Comparison::Exists(*exists)),
                    _ => Err("exists must be true or false".to_owned()),
                },
                "numeric" => numeric(value),
                "cidr" => network(value),
                "anything-but" => anything_but(value),
                _ => text(kind, value).map(Comparison::Text),
            }
        }
        exactly => Ok(Comparison::Exactly(exactly.clone())),
    }
}

/// The one field of an object.
fn one_field(value: &Value) -> Result<(&str, &Value), Wrong> {
    let mut fields = value.as_object().into_iter().flatten();
    match (fields.next(), fields.next()) {
        (Some((name, value)), None) => Ok((name, value)),
        _ => Err(format!("{value} must have one field: one of {MATCH_TYPES}")),
    }
}

fn text(kind: &str, value: &Value) -> Result<Text, Wrong> {
    let text = || value.as_str().map(str::to_owned).ok_or_else(|| format!("{kind} must be text"));
    let ignoring_case = || match one_field(value)? {
        ("equals-ignore-case", Value::String(text)) => Ok(text.to_lowercase()),
        _ => Err(format!("{kind} must be text or {{\"equals-ignore-case\": TEXT}}")),
    };
    match kind {
        "prefix" if value.is_object() => Ok(Text::PrefixIgnoreCase(ignoring_case()?)),
        "suffix" if value.is_object() => Ok(Text::SuffixIgnoreCase(ignoring_case()?)),
        "prefix" => Ok(Text::Prefix(text()?)),
        "suffix" => Ok(Text::Suffix(text()?)),
        "equals-ignore-case" => Ok(Text::EqualsIgnoreCase(text()?.to_lowercase())),
        "wildcard" => Ok(Text::Wildcard(parts(&text()?)?)),
        _ => Err(format!("\"{kind}\" is not a comparison: there are {MATCH_TYPES}")),
    }
}

/// The texts between the `*`s of a wildcard. A backslash makes the next `*` or backslash an ordinary one.
fn parts(text: &str) -> Result<Vec<String>, Wrong> {
    let (mut parts, mut part) = (Vec::new(), String::new());
    let mut after_star = false;
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        let star = letter == '*';
        match letter {
            '*' if after_star => return Err(format!("\"{text}\" has two * in a row: one does the same")),
            '*' => parts.push(std::mem::take(&mut part)),
            '\\' => match letters.next() {
                Some(escaped @ ('*' | '\\')) => part.push(escaped),
                _ => return Err(format!("\"{text}\" has a \\ that is not before * or \\")),
            },
            other => part.push(other),
        }
        after_star = star;
    }
    parts.push(part);
    Ok(parts)
}

fn anything_but(value: &Value) -> Result<Comparison, Wrong> {
    let wrong =
        || "anything-but takes texts or numbers, or one of equals-ignore-case, prefix, suffix, wildcard".to_owned();
    let all = |value: &Value| -> Result<Vec<Value>, Wrong> {
        let values = value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
        let of_one_type = values.iter().all(Value::is_string) || values.iter().all(Value::is_number);
        if values.is_empty() || !of_one_type { Err(wrong()) } else { Ok(values) }
    };
    if !value.is_object() {
        return Ok(Comparison::AnythingBut(all(value)?.into_iter().map(Comparison::Exactly).collect()));
    }
    let (kind, value) = one_field(value)?;
    let texts: Result<_, _> = match value.is_object() {
        // {"prefix": {"equals-ignore-case": …}}
        true => text(kind, value).map(|one| vec![Comparison::Text(one)]),
        false => all(value)?.iter().map(|one| text(kind, one).map(Comparison::Text)).collect(),
    };
    texts.map(Comparison::AnythingBut)
}

fn numeric(value: &Value) -> Result<Comparison, Wrong> {
    let wrong = || {
        "numeric takes one comparison, such as [\"<\", 5], or a range, such as [\">\", 0, \"<=\", 5]; the signs are =, \
         <, <=, > and >="
            .to_owned()
    };
    let values = value.as_array().ok_or_else(wrong)?;
    let mut limits = Vec::new();
    for pair in values.chunks(2) {
        let [Value::String(sign), Value::Number(limit)] = pair else { return Err(wrong()) };
        let order = match sign.as_str() {
            "=" => Order::Equal,
            "<" => Order::Less,
            "<=" => Order::LessOrEqual,
            ">" => Order::Greater,
            ">=" => Order::GreaterOrEqual,
            _ => return Err(wrong()),
        };
        let limit = limit.as_f64().filter(|limit| limit.abs() <= MOST);
        limits.push((order, limit.ok_or("a number must be between -5.0e9 and 5.0e9")?));
    }
    let is_lower = |order: Order| matches!(order, Order::Greater | Order::GreaterOrEqual);
    let is_upper = |order: Order| matches!(order, Order::Less | Order::LessOrEqual);
    match limits.as_slice() {
        [_] => {}
        [(from, low), (to, high)] if is_lower(*from) && is_upper(*to) && low < high => {}
        _ => return Err(wrong()),
    }
    Ok(Comparison::Numeric(limits))
}

fn network(value: &Value) -> Result<Comparison, Wrong> {
    let read = || {
        let (address, bits) = value.as_str()?.split_once('/')?;
        let (address, bits): (IpAddr, u8) = (address.parse().ok()?, bits.parse().ok()?);
        let most = if address.is_ipv4() { 32 } else { 128 };
        (bits <= most).then_some(Comparison::Network(address, bits))
    };
    read()
        .ok_or_else(|| format!("cidr must be an address and the bits of its prefix, such as 10.0.0.0/24, not {value}"))
}
