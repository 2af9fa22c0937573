//! Compares JSON with a model of API Gateway, which is a JSON schema of draft 4 ([data models]).
//!
//! The keywords of the draft are understood, but for `format` and `dependencies`, which are passed over as other
//! annotations are. A `$ref` must be within the schema. Recursion and work are bounded, so that a schema that refers to
//! itself ends.
//!
//! [data models]: https://docs.aws.amazon.com/apigateway/latest/developerguide/models-mappings-models.html

use std::collections::BTreeSet;

use regex_lite::Regex;
use serde_json::{Map, Value};

const MAX_DEPTH: usize = 64;
const MAX_STEPS: usize = 100_000;

/// Checks that a value has the form of the schema.
///
/// # Errors
/// The first thing that is wrong with it, with its place: the names of the schema, and no text of the value.
pub(crate) fn check(schema: &Value, value: &Value) -> Result<(), String> {
    Checker { root: schema, steps: 0 }.check(schema, value, "$", 0)
}

struct Checker<'s> {
    root: &'s Value,
    steps: usize,
}

impl Checker<'_> {
    fn check(&mut self, schema: &Value, value: &Value, at: &str, depth: usize) -> Result<(), String> {
        self.steps += 1;
        if depth > MAX_DEPTH || self.steps > MAX_STEPS {
            return Err(format!("{at}: the schema takes too much work"));
        }
        let Value::Object(schema) = schema else { return Ok(()) };
        if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
            let root = self.root;
            let target = reference.strip_prefix('#').and_then(|pointer| root.pointer(pointer));
            let target = target.ok_or_else(|| format!("{at}: the schema {reference} is not here"))?;
            return self.check(target, value, at, depth + 1);
        }
        if let Some(types) = schema.get("type")
            && !list(types).iter().any(|kind| is_of_type(value, kind.as_str().unwrap_or_default()))
        {
            return Err(format!("{at} is not of the type {types}"));
        }
        if let Some(allowed) = schema.get("enum")
            && !list(allowed).contains(value)
        {
            return Err(format!("{at} is not one of {allowed}"));
        }
        match value {
            Value::Object(map) => self.object(schema, map, at, depth)?,
            Value::Array(items) => self.array(schema, items, at, depth)?,
            Value::String(text) => string(schema, text, at)?,
            Value::Number(number) => self::number(schema, number.as_f64().unwrap_or_default(), at)?,
            Value::Null | Value::Bool(_) => {}
        }
        self.combinations(schema, value, at, depth)
    }

    fn object(
        &mut self,
        schema: &Map<String, Value>,
        map: &Map<String, Value>,
        at: &str,
        depth: usize,
    ) -> Result<(), String> {
        for name in schema.get("required").into_iter().flat_map(list).filter_map(Value::as_str) {
            if !map.contains_key(name) {
                return Err(format!("{at} does not have {name}"));
            }
        }
        counted(schema, map.len(), at, ("minProperties", "maxProperties"))?;
        let properties = schema.get("properties").and_then(Value::as_object);
        let patterns = schema.get("patternProperties").and_then(Value::as_object);
        // A name that the schema does not have is the sender's.
        let within = format!("{at}.*");
        for (name, value) in map {
            let mut is_known = false;
            if let Some(property) = properties.and_then(|properties| properties.get(name)) {
                is_known = true;
                self.check(property, value, &format!("{at}.{name}"), depth + 1)?;
            }
            for (pattern, property) in patterns.into_iter().flatten() {
                if matches(pattern, name, at)? {
                    is_known = true;
                    self.check(property, value, &within, depth + 1)?;
                }
            }
            match schema.get("additionalProperties") {
                Some(Value::Bool(false)) if !is_known => {
                    return Err(format!("{at} has a property that is not allowed"));
                }
                Some(other) if !is_known => self.check(other, value, &within, depth + 1)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn array(&mut self, schema: &Map<String, Value>, items: &[Value], at: &str, depth: usize) -> Result<(), String> {
        counted(schema, items.len(), at, ("minItems", "maxItems"))?;
        if schema.get("uniqueItems") == Some(&Value::Bool(true)) {
            let different: BTreeSet<String> = items.iter().map(Value::to_string).collect();
            if different.len() < items.len() {
                return Err(format!("{at} has an item twice"));
            }
        }
        for (index, item) in items.iter().enumerate() {
            let within = format!("{at}[{index}]");
            let schema = match schema.get("items") {
                Some(Value::Array(each)) => match (each.get(index), schema.get("additionalItems")) {
                    (Some(own), _) => own,
                    (None, Some(Value::Bool(false))) => return Err(format!("{within} is not allowed")),
                    (None, Some(others)) => others,
                    (None, None) => continue,
                },
                Some(all) => all,
                None => continue,
            };
            self.check(schema, item, &within, depth + 1)?;
        }
        Ok(())
    }

    fn combinations(
        &mut self,
        schema: &Map<String, Value>,
        value: &Value,
        at: &str,
        depth: usize,
    ) -> Result<(), String> {
        for all in schema.get("allOf").into_iter().flat_map(list) {
            self.check(all, value, at, depth + 1)?;
        }
        for (keyword, most) in [("anyOf", usize::MAX), ("oneOf", 1)] {
            let Some(choices) = schema.get(keyword) else { continue };
            let mut fit = 0;
            for choice in list(choices) {
                fit += usize::from(self.check(choice, value, at, depth + 1).is_ok());
            }
            if fit == 0 || fit > most {
                return Err(format!("{at} fits {fit} of its {keyword}"));
            }
        }
        match schema.get("not") {
            Some(not) if self.check(not, value, at, depth + 1).is_ok() => Err(format!("{at} fits what it must not")),
            // What takes too much work has not been found to differ.
            Some(_) if self.steps > MAX_STEPS => Err(format!("{at}: the schema takes too much work")),
            _ => Ok(()),
        }
    }
}

fn list(value: &Value) -> &[Value] {
    match value {
        Value::Array(values) => values,
        one => std::slice::from_ref(one),
    }
}

fn is_of_type(value: &Value, kind: &str) -> bool {
    match kind {
        "array" => value.is_array(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "null" => value.is_null(),
        "number" => value.is_number(),
        "object" => value.is_object(),
        "string" => value.is_string(),
        _ => false,
    }
}

fn counted(schema: &Map<String, Value>, count: usize, at: &str, names: (&str, &str)) -> Result<(), String> {
    let limit = |name: &str| schema.get(name).and_then(Value::as_u64);
    let count = count as u64;
    let is_within =
        limit(names.0).is_none_or(|least| count >= least) && limit(names.1).is_none_or(|most| count <= most);
    match is_within {
        true => Ok(()),
        false => Err(format!("{at} has {count}, outside of {} and {}", names.0, names.1)),
    }
}

fn string(schema: &Map<String, Value>, text: &str, at: &str) -> Result<(), String> {
    counted(schema, text.chars().count(), at, ("minLength", "maxLength"))?;
    match schema.get("pattern").and_then(Value::as_str) {
        Some(pattern) if !matches(pattern, text, at)? => Err(format!("{at} does not have the pattern {pattern}")),
        _ => Ok(()),
    }
}

fn matches(pattern: &str, text: &str, at: &str) -> Result<bool, String> {
    let pattern = Regex::new(pattern).map_err(|error| format!("{at}: the pattern {pattern}: {error}"))?;
    Ok(pattern.is_match(text))
}

fn number(schema: &Map<String, Value>, number: f64, at: &str) -> Result<(), String> {
    let limit = |name: &str| schema.get(name).and_then(Value::as_f64);
    // In draft 4, these are flags.
    let is_exclusive = |name: &str| schema.get(name) == Some(&Value::Bool(true));
    let is_low =
        limit("minimum").is_some_and(|least| number < least || (is_exclusive("exclusiveMinimum") && number <= least));
    let is_high =
        limit("maximum").is_some_and(|most| number > most || (is_exclusive("exclusiveMaximum") && number >= most));
    if is_low || is_high {
        return Err(format!("{at} is outside of minimum and maximum"));
    }
    match limit("multipleOf").filter(|step| *step > 0.0) {
        Some(step) if (number / step).fract() != 0.0 => Err(format!("{at} is no multiple of {step}")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_value_fits_a_schema_or_has_a_first_problem() {
        let order = json!({
            "$schema": "http://json-schema.org/draft-04/schema#", "title": "order", "type": "object",
            "properties": { "Name": { "type": "string" }, "Number": { "type": ["string", "null"], "maxLength": 3 } },
            "required": ["Name", "Number"],
        });
        for (schema, good, bad, why) in [
            (
                order.clone(),
                json!({ "Name": "a", "Number": "123", "x": 1 }),
                json!({ "Name": "a" }),
                "$ does not have Number",
            ),
            (
                order.clone(),
                json!({ "Name": "", "Number": null }),
                json!({ "Name": 1, "Number": "" }),
                "$.Name is not of",
            ),
            (
                order,
                json!({ "Name": "a", "Number": "äöü" }),
                json!({ "Name": "a", "Number": "1234" }),
                "$.Number has 4",
            ),
            (
                json!({ "additionalProperties": false, "properties": { "a": {} } }),
                json!({ "a": 1 }),
                json!({ "b": 1 }),
                "$ has a property that is not allowed",
            ),
            (
                json!({ "additionalProperties": { "type": "integer" } }),
                json!({ "a": 1 }),
                json!({ "a": 1.5 }),
                "$.* is not",
            ),
            (
                json!({ "patternProperties": { "^x": { "type": "null" } } }),
                json!({ "x": null }),
                json!({ "xy": 1 }),
                "$.* is not",
            ),
            (json!({ "minProperties": 1 }), json!({ "a": 1 }), json!({}), "$ has 0"),
            (json!({ "items": { "enum": [1, "b"] } }), json!([1, "b", 1]), json!([1, "c"]), "$[1] is not one of"),
            (
                json!({ "items": [{ "type": "null" }], "additionalItems": false }),
                json!([null]),
                json!([null, 1]),
                "$[1]",
            ),
            (json!({ "uniqueItems": true, "maxItems": 2 }), json!([1, 2]), json!([1, 1]), "twice"),
            (json!({ "pattern": "^a+$" }), json!("aa"), json!("ab"), "pattern"),
            (json!({ "minimum": 1, "exclusiveMinimum": true }), json!(1.1), json!(1), "outside of minimum"),
            (json!({ "maximum": 5, "multipleOf": 2.5 }), json!(5), json!(4), "no multiple"),
            (json!({ "maximum": 5 }), json!(5), json!(6), "outside of minimum and maximum"),
            (json!({ "allOf": [{ "minimum": 1 }, { "maximum": 2 }] }), json!(2), json!(3), "outside"),
            (json!({ "anyOf": [{ "type": "null" }, { "minimum": 2 }] }), json!(null), json!(1), "0 of its anyOf"),
            (json!({ "oneOf": [{ "minimum": 1 }, { "minimum": 2 }] }), json!(1), json!(2), "2 of its oneOf"),
            (json!({ "not": { "type": "string" } }), json!(1), json!("a"), "must not"),
            (
                json!({ "definitions": { "n": { "type": "number" } }, "items": { "$ref": "#/definitions/n" } }),
                json!([1]),
                json!(["a"]),
                "$[0] is not of",
            ),
        ] {
            assert_eq!(check(&schema, &good), Ok(()), "{schema}");
            let problem = check(&schema, &bad).expect_err("a problem");
            assert!(problem.contains(why), "{schema}: {problem}");
        }
    }

    #[test]
    fn a_schema_that_cannot_be_evaluated_lets_nothing_through() {
        for (schema, why) in [
            (json!({ "$ref": "https://elsewhere.example/x" }), "is not here"),
            (json!({ "$ref": "#" }), "too much work"),
            (json!({ "anyOf": [{ "$ref": "#" }, { "$ref": "#" }] }), "anyOf"),
            (json!({ "not": { "anyOf": [{ "$ref": "#" }, { "$ref": "#" }] } }), "too much work"),
            (json!({ "pattern": "(" }), "the pattern ("),
        ] {
            let problem = check(&schema, &json!("a")).expect_err("a problem");
            assert!(problem.contains(why), "{schema}: {problem}");
        }
    }
}
