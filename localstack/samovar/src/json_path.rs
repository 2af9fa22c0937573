//! Paths into JSON, in the form that API Gateway takes in selection expressions and mapping templates: `$.a.b[0]`,
//! `$['a b'].*`. The dollar sign may be missing.
//!
//! Names, indexes and wildcards are understood. A path with a wildcard gives the list of all that it stands for.

use std::borrow::Cow;

use serde_json::Value;

/// A step of a path.
#[derive(Debug, PartialEq, Eq)]
enum Step<'p> {
    Name(&'p str),
    /// From the end if it is negative.
    Index(i64),
    All,
}

/// The value at the path. `None` if there is none, or if the path is not one.
pub(crate) fn find<'v>(value: &'v Value, path: &str) -> Option<Cow<'v, Value>> {
    let mut found = vec![value];
    let mut is_list = false;
    let mut rest = path.trim().strip_prefix('$').unwrap_or(path.trim());
    while !rest.is_empty() {
        let (step, after) = next(rest)?;
        rest = after;
        is_list |= step == Step::All;
        found = found.into_iter().flat_map(|value| under(value, &step)).collect();
    }
    match is_list {
        true => Some(Cow::Owned(found.into_iter().cloned().collect())),
        false => found.first().copied().map(Cow::Borrowed),
    }
}

/// The first step of a path, and the rest.
fn next(path: &str) -> Option<(Step<'_>, &str)> {
    if let Some(bracketed) = path.strip_prefix('[') {
        for quote in ['\'', '"'] {
            if let Some(quoted) = bracketed.strip_prefix(quote) {
                let (name, rest) = quoted.split_once(quote)?;
                return Some((Step::Name(name), rest.strip_prefix(']')?));
            }
        }
        let (inside, rest) = bracketed.split_once(']')?;
        let step = if inside.trim() == "*" { Step::All } else { Step::Index(inside.trim().parse().ok()?) };
        return Some((step, rest));
    }
    let path = path.strip_prefix('.').unwrap_or(path);
    let end = path.find(['.', '[']).unwrap_or(path.len());
    match path.split_at(end) {
        ("", _) => None,
        ("*", rest) => Some((Step::All, rest)),
        (name, rest) => Some((Step::Name(name), rest)),
    }
}

fn under<'v>(value: &'v Value, step: &Step<'_>) -> Vec<&'v Value> {
    match (step, value) {
        (Step::Name(name), Value::Object(map)) => map.get(*name).into_iter().collect(),
        (Step::Index(index), Value::Array(list)) => {
            let length = i64::try_from(list.len()).unwrap_or(i64::MAX);
            let index = if *index < 0 { *index + length } else { *index };
            usize::try_from(index).ok().and_then(|index| list.get(index)).into_iter().collect()
        }
        (Step::All, Value::Object(map)) => map.values().collect(),
        (Step::All, Value::Array(list)) => list.iter().collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_path_has_names_indexes_and_wildcards() {
        let value = json!({ "a": { "b": [1, { "c d": "x" }, 3] }, "a.b": true, "n": null });
        for (path, expected) in [
            ("$", value.clone()),
            ("$.a.b[0]", json!(1)),
            ("a.b[-1]", json!(3)),
            ("$.a.b[1]['c d']", json!("x")),
            ("$[\"a.b\"]", json!(true)),
            ("$.n", json!(null)),
            ("$.a.b[*]", value["a"]["b"].clone()),
            ("$.a.*[ 0 ]", json!([1])),
            ("$.none.*", json!([])),
        ] {
            assert_eq!(find(&value, path).map(Cow::into_owned), Some(expected), "{path}");
        }
        for path in
            ["$.none", "$.a.b.c", "$.a.b[3]", "$.a.b[-4]", "$.a[0]", "$..a", "$.a.", "$[", "$['a", "$['a'x", "$[]"]
        {
            assert_eq!(find(&value, path), None, "{path}");
        }
    }
}
