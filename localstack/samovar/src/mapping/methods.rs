//! The methods of strings, lists and maps that templates call: those of Java's classes.

use std::fmt::Write as _;

use regex_lite::{Captures, Regex};
use serde_json::{Value, json};

use super::evaluate::Budget;
use super::{MAX_TEXT_BYTES, Problem};

type Result<T> = std::result::Result<T, Problem>;

/// The result of a method that changes its list or map.
pub(super) enum Changed {
    To(Value),
    /// The value has no such method.
    Nothing,
}

/// A value as Java writes it: `[1, a]`, `{a=1}`.
pub(super) fn text(value: &Value) -> String {
    let mut text = String::new();
    write(value, &mut text);
    text
}

fn write(value: &Value, text: &mut String) {
    match value {
        Value::Null => text.push_str("null"),
        Value::String(string) => text.push_str(string),
        Value::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                text.push_str(if index == 0 { "" } else { ", " });
                write(item, text);
            }
            text.push(']');
        }
        Value::Object(map) => {
            text.push('{');
            for (index, (key, value)) in map.iter().enumerate() {
                let _ = write!(text, "{}{key}=", if index == 0 { "" } else { ", " }); // a string takes everything
                write(value, text);
            }
            text.push('}');
        }
        other => _ = write!(text, "{other}"),
    }
}

/// `$value.name`.
pub(super) fn property(value: &Value, name: &str) -> Value {
    match (value, name) {
        (Value::Object(map), name) if map.contains_key(name) => map[name].clone(),
        (Value::Array(_) | Value::Object(_) | Value::String(_), "empty") => (size(value) == 0).into(),
        _ => Value::Null,
    }
}

/// `$value[key]`, and `get(key)`.
pub(super) fn under(value: &Value, key: &Value) -> Value {
    let found = match (value, key) {
        (Value::Object(map), key) => map.get(&text(key)),
        (Value::Array(items), key) => index(key).and_then(|index| items.get(index)),
        _ => None,
    };
    found.cloned().unwrap_or_default()
}

pub(super) fn under_mut<'v>(value: &'v mut Value, key: &Value) -> Option<&'v mut Value> {
    match value {
        Value::Object(map) => map.get_mut(&text(key)),
        Value::Array(items) => items.get_mut(index(key)?),
        _ => None,
    }
}

/// Sets what is under a key. Returns whether there is a place for it.
pub(super) fn assign(place: &mut Value, key: &Value, value: Value) -> bool {
    match place {
        Value::Object(map) => {
            map.insert(text(key), value);
            true
        }
        Value::Array(items) => match index(key).and_then(|index| items.get_mut(index)) {
            Some(item) => {
                *item = value;
                true
            }
            None => false,
        },
        _ => false,
    }
}

fn index(key: &Value) -> Option<usize> {
    key.as_u64().and_then(|index| usize::try_from(index).ok())
}

fn size(value: &Value) -> usize {
    match value {
        Value::Array(items) => items.len(),
        Value::Object(map) => map.len(),
        Value::String(text) => text.chars().count(),
        _ => 0,
    }
}

/// Whether a method of this name can change its list or map.
pub(super) fn changes(name: &str) -> bool {
    ["add", "addAll", "clear", "put", "putAll", "remove", "set"].contains(&name)
}

/// Calls a method that changes its list or map.
pub(super) fn change(place: &mut Value, name: &str, mut arguments: Vec<Value>) -> Result<Changed> {
    let result = match (place, name, arguments.as_mut_slice()) {
        (Value::Array(items), "add", [item]) => {
            items.push(item.take());
            true.into()
        }
        (Value::Array(items), "add", [at, item]) if index(at).is_some_and(|at| at <= items.len()) => {
            items.insert(index(at).unwrap_or_default(), item.take());
            Value::Null
        }
        (Value::Array(items), "addAll", [Value::Array(more)]) => {
            items.append(more);
            true.into()
        }
        (Value::Array(items), "set", [at, item]) => {
            let place = index(at).and_then(|at| items.get_mut(at));
            std::mem::replace(place.ok_or_else(|| Problem::new("set() has no such index"))?, item.take())
        }
        (Value::Array(items), "remove", [at]) => match index(at) {
            Some(at) if at < items.len() => items.remove(at),
            _ => match items.iter().position(|item| item == at) {
                Some(at) => {
                    items.remove(at);
                    true.into()
                }
                None => false.into(),
            },
        },
        (Value::Array(items), "clear", []) => {
            items.clear();
            Value::Null
        }
        (Value::Object(map), "put", [key, value]) => map.insert(text(key), value.take()).unwrap_or_default(),
        (Value::Object(map), "putAll", [Value::Object(more)]) => {
            map.append(more);
            Value::Null
        }
        (Value::Object(map), "remove", [key]) => map.remove(&text(key)).unwrap_or_default(),
        (Value::Object(map), "clear", []) => {
            map.clear();
            Value::Null
        }
        _ => return Ok(Changed::Nothing),
    };
    Ok(Changed::To(result))
}

/// Calls a method that changes nothing. A method of nothing gives nothing.
pub(super) fn call(value: &Value, name: &str, arguments: &[Value], budget: &mut Budget) -> Result<Value> {
    let result = match value {
        Value::Null => return Ok(Value::Null),
        Value::String(string) => of_text(string, name, arguments, budget)?,
        Value::Array(items) => of_list(items, name, arguments),
        Value::Object(map) => of_map(map, name, arguments),
        Value::Bool(_) | Value::Number(_) => None,
    };
    if let Some(result) = result {
        return Ok(result);
    }
    Ok(match (name, arguments) {
        ("toString", []) => budget.text(text(value))?.into(),
        ("equals", [other]) => (value == other).into(),
        ("size", []) => size(value).into(),
        ("isEmpty", []) => (size(value) == 0).into(),
        ("get", [key]) => under(value, key),
        ("intValue" | "longValue", []) if value.is_number() => value.as_f64().map_or(Value::Null, |n| json!(n as i64)),
        _ => {
            let kind = match value {
                Value::String(_) => "a text",
                Value::Array(_) => "a list",
                Value::Object(_) => "a map",
                Value::Bool(_) => "true or false",
                _ => "a number",
            };
            let count = arguments.len();
            return Err(Problem::new(format!("{kind} has no method {name} with {count} arguments of these types")));
        }
    })
}

fn of_list(items: &[Value], name: &str, arguments: &[Value]) -> Option<Value> {
    Some(match (name, arguments) {
        ("contains", [item]) => items.contains(item).into(),
        ("indexOf", [item]) => json!(items.iter().position(|one| one == item).map_or(-1, |at| at as i64)),
        ("subList", [from, to]) => {
            let (from, to) = (index(from)?, index(to)?);
            items.get(from..to)?.to_vec().into()
        }
        _ => return None,
    })
}

fn of_map(map: &serde_json::Map<String, Value>, name: &str, arguments: &[Value]) -> Option<Value> {
    Some(match (name, arguments) {
        ("containsKey", [key]) => map.contains_key(&text(key)).into(),
        ("containsValue", [value]) => map.values().any(|one| one == value).into(),
        ("keySet", []) => map.keys().cloned().map(Value::String).collect(),
        ("values", []) => map.values().cloned().collect(),
        ("entrySet", []) => map.iter().map(|(key, value)| json!({ "key": key, "value": value })).collect(),
        ("getOrDefault", [key, default]) => map.get(&text(key)).unwrap_or(default).clone(),
        _ => return None,
    })
}

fn of_text(text: &str, name: &str, arguments: &[Value], budget: &mut Budget) -> Result<Option<Value>> {
    budget.pay(text.len())?;
    let strings: Vec<&str> = arguments.iter().filter_map(Value::as_str).collect();
    let at = |byte: Option<usize>| json!(byte.map_or(-1, |byte| text[..byte].chars().count() as i64));
    let made = |budget: &mut Budget, text: String| Ok(Some(budget.text(text)?.into()));
    Ok(Some(match (name, strings.as_slice(), arguments) {
        ("length", _, []) => text.chars().count().into(),
        ("trim", _, []) => return made(budget, text.trim().to_owned()),
        ("toLowerCase", _, []) => return made(budget, text.to_lowercase()),
        ("toUpperCase", _, []) => return made(budget, text.to_uppercase()),
        ("contains", [part], [_]) => text.contains(part).into(),
        ("startsWith", [part], [_]) => text.starts_with(part).into(),
        ("endsWith", [part], [_]) => text.ends_with(part).into(),
        ("equalsIgnoreCase", [other], [_]) => (text.to_lowercase() == other.to_lowercase()).into(),
        ("compareTo", [other], [_]) => (text.cmp(other) as i64).into(),
        ("indexOf", [part], [_]) => at(text.find(part)),
        ("lastIndexOf", [part], [_]) => at(text.rfind(part)),
        ("concat", [other], [_]) => return made(budget, text.to_owned() + other),
        ("charAt", [], [at]) => {
            let character = index(at).and_then(|at| text.chars().nth(at));
            character.map_or(Value::Null, |character| character.to_string().into())
        }
        ("substring", [], [from]) => return substring(text, from, None),
        ("substring", [], [from, to]) => return substring(text, from, Some(to)),
        ("replace", [from, to], [_, _]) => {
            let found = text.matches(from).count();
            let grown = to.len().saturating_mul(found);
            if grown > MAX_TEXT_BYTES {
                return Err(Problem::new(format!("a text has more than {MAX_TEXT_BYTES} bytes")));
            }
            return made(budget, text.replace(from, to));
        }
        ("replaceAll", [pattern, to], [_, _]) => return made(budget, replace(text, pattern, to, usize::MAX)?),
        ("replaceFirst", [pattern, to], [_, _]) => return made(budget, replace(text, pattern, to, 1)?),
        ("matches", [pattern], [_]) => regex(&format!("^(?:{pattern})$"))?.is_match(text).into(),
        ("split", [pattern], [_]) => {
            let mut parts: Vec<&str> = regex(pattern)?.split(text).collect();
            // As in Java.
            while parts.len() > 1 && parts.last().is_some_and(|part| part.is_empty()) {
                parts.pop();
            }
            return budget.value(json!(parts)).map(Some);
        }
        _ => return Ok(None),
    }))
}

fn substring(text: &str, from: &Value, to: Option<&Value>) -> Result<Option<Value>> {
    let count = text.chars().count();
    let (from, to) = (index(from), to.map_or(Some(count), index));
    match (from, to) {
        (Some(from), Some(to)) if from <= to && to <= count => {
            Ok(Some(text.chars().skip(from).take(to - from).collect::<String>().into()))
        }
        _ => Err(Problem::new(format!("substring() goes beyond a text of {count} characters"))),
    }
}

fn regex(pattern: &str) -> Result<Regex> {
    Regex::new(pattern).map_err(|error| Problem::new(format!("{pattern:?} is no regular expression here: {error}")))
}

/// Replaces up to `most` matches, within the limit of a text.
fn replace(text: &str, pattern: &str, replacement: &str, most: usize) -> Result<String> {
    let regex = regex(pattern)?;
    let (mut replaced, mut end) = (String::new(), 0);
    for captures in regex.captures_iter(text).take(most) {
        let Some(whole) = captures.get(0) else { continue };
        replaced.push_str(&text[end..whole.start()]);
        expand(replacement, &captures, &mut replaced);
        end = whole.end();
        if replaced.len() > MAX_TEXT_BYTES {
            return Err(Problem::new(format!("a text has more than {MAX_TEXT_BYTES} bytes")));
        }
    }
    replaced.push_str(&text[end..]);
    Ok(replaced)
}

/// A replacement as Java has it: `$1` is a group, and a backslash takes the next character as it is.
fn expand(replacement: &str, captures: &Captures<'_>, text: &mut String) {
    let mut characters = replacement.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => text.extend(characters.next()),
            '$' => {
                let group = characters.clone().next().and_then(|digit| digit.to_digit(10));
                match group {
                    Some(group) => {
                        characters.next();
                        text.push_str(captures.get(group as usize).map_or("", |group| group.as_str()));
                    }
                    None => text.push('$'),
                }
            }
            other => text.push(other),
        }
    }
}
