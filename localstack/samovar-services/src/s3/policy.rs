//! The policy of a browser's form upload: until when it is good, and what the form may say.

use std::ops::RangeInclusive;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use s3s::{S3Error, S3Result, s3_error};
use serde::Deserialize;
use serde_json::Value;

/// The fields of a form, as they came; names are compared without case.
#[derive(Debug, Default)]
pub(super) struct FormFields(Vec<(String, String)>);

impl FormFields {
    pub(super) fn push(&mut self, name: &str, value: String) {
        self.0.push((name.to_owned(), value));
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(given, _)| given.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

#[derive(Debug)]
pub(super) struct Policy {
    expiration_ms: i64,
    conditions: Vec<Condition>,
    /// Of the file, in bytes.
    pub(super) length: RangeInclusive<u64>,
}

#[derive(Debug)]
struct Condition {
    field: String,
    value: String,
    /// Only the beginning is given.
    starts: bool,
}

#[derive(Deserialize)]
struct Document {
    expiration: String,
    conditions: Vec<Value>,
}

/// They need no condition: the policy itself, its signature, and what S3 does not look at.
const FREE_FIELDS: [&str; 3] = ["file", "policy", "x-amz-signature"];
const FREE_PREFIX: &str = "x-ignore-";

impl Policy {
    /// Reads the field `policy`.
    pub(super) fn parse(encoded: &str) -> S3Result<Self> {
        let json = STANDARD.decode(encoded).map_err(|_| invalid("Invalid Policy: Invalid Base64."))?;
        let document: Document =
            serde_json::from_slice(&json).map_err(|error| invalid(&format!("Invalid Policy: {error}.")))?;
        let expiration = document.expiration.parse::<jiff::Timestamp>();
        let expiration = expiration
            .map_err(|_| invalid(&format!("Invalid Policy: Invalid 'expiration' value: '{}'", document.expiration)))?;
        let mut policy = Self {
            expiration_ms: expiration.as_millisecond(),
            conditions: Vec::new(),
            length: 0..=super::upload::MAX_OBJECT_BYTES,
        };
        for condition in &document.conditions {
            policy.add(condition).ok_or_else(|| invalid(&format!("Invalid Policy: Invalid condition: {condition}")))?;
        }
        Ok(policy)
    }

    fn add(&mut self, condition: &Value) -> Option<()> {
        match condition {
            Value::Object(pairs) => {
                for (field, value) in pairs {
                    let value = value.as_str()?.to_owned();
                    self.conditions.push(Condition { field: field.clone(), value, starts: false });
                }
            }
            Value::Array(parts) => {
                let [operator, first, second] = parts.as_slice() else { return None };
                match operator.as_str()?.to_ascii_lowercase().as_str() {
                    "content-length-range" => self.length = bytes(first)?..=bytes(second)?,
                    operator @ ("eq" | "starts-with") => self.conditions.push(Condition {
                        field: first.as_str()?.strip_prefix('$')?.to_owned(),
                        value: second.as_str()?.to_owned(),
                        starts: operator == "starts-with",
                    }),
                    _ => return None,
                }
            }
            _ => return None,
        }
        Some(())
    }

    /// What can be said before the file is read.
    pub(super) fn check(&self, bucket: &str, fields: &FormFields, now_ms: i64) -> S3Result<()> {
        if now_ms >= self.expiration_ms {
            return Err(denied("Policy expired."));
        }
        // The bucket is in the address, not in the form, and is a condition like a field. (That S3 insists on it is from
        // reports of "Extra input fields: bucket", not from its documentation.)
        let value = |name: &str| if name.eq_ignore_ascii_case("bucket") { Some(bucket) } else { fields.get(name) };
        for condition in &self.conditions {
            // Unconfirmed: that a field that is not there does not begin with "".
            let holds = value(&condition.field).is_some_and(|value| match condition.starts {
                true => value.starts_with(&condition.value),
                false => value == condition.value,
            });
            if !holds {
                return Err(denied(&format!("Policy Condition failed: {condition}")));
            }
        }
        let covered = |name: &str| self.conditions.iter().any(|condition| condition.field.eq_ignore_ascii_case(name));
        let free = |name: &str| {
            let name = name.to_ascii_lowercase();
            FREE_FIELDS.contains(&name.as_str()) || name.starts_with(FREE_PREFIX)
        };
        let names = fields.iter().map(|(name, _)| name).chain(["bucket"]);
        let extra: Vec<_> = names.filter(|name| !free(name) && !covered(name)).collect();
        if !extra.is_empty() {
            return Err(denied(&format!("Extra input fields: {}", extra.join(", "))));
        }
        Ok(())
    }
}

impl std::fmt::Display for Condition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let operator = if self.starts { "starts-with" } else { "eq" };
        write!(f, "[\"{operator}\", \"${}\", \"{}\"]", self.field, self.value)
    }
}

/// Tools write the bounds as numbers or as text.
fn bytes(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

fn invalid(message: &str) -> S3Error {
    s3_error!(InvalidPolicyDocument, "{message}")
}

fn denied(why: &str) -> S3Error {
    s3_error!(AccessDenied, "Invalid according to Policy: {why}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW_MS: i64 = 1_767_225_600_000; // 2026-01-01T00:00:00Z

    fn policy(conditions: &Value) -> Policy {
        let document = json!({ "expiration": "2026-01-01T00:00:01Z", "conditions": conditions });
        Policy::parse(&STANDARD.encode(document.to_string())).expect("a policy")
    }

    fn check(conditions: &Value, fields: &[(&str, &str)]) -> Result<(), String> {
        let mut form = FormFields::default();
        for (name, value) in fields {
            form.push(name, (*value).to_owned());
        }
        let message = |error: S3Error| error.message().unwrap_or_default().to_owned();
        policy(conditions).check("media", &form, NOW_MS).map_err(message)
    }

    #[test]
    fn every_condition_must_hold_and_every_field_must_have_one() {
        let bucket = json!({ "bucket": "media" });
        let conditions = json!([bucket, ["starts-with", "$key", "up/"], ["eq", "$Content-Type", "image/png"]]);
        let type_ = ("content-type", "image/png");
        assert_eq!(check(&conditions, &[("key", "up/1"), type_, ("X-Ignore-a", "b"), ("Policy", "p")]), Ok(()));
        for (fields, why) in [
            (vec![("key", "other/1"), type_], "Policy Condition failed: [\"starts-with\", \"$key\", \"up/\"]"),
            (vec![("key", "up/1")], "Policy Condition failed: [\"eq\", \"$Content-Type\", \"image/png\"]"),
            (
                vec![("key", "up/1"), ("Content-Type", "image/PNG")],
                "Policy Condition failed: [\"eq\", \"$Content-Type\", \"image/png\"]",
            ),
            (vec![("key", "up/1"), type_, ("acl", "private")], "Extra input fields: acl"),
        ] {
            assert_eq!(check(&conditions, &fields), Err(format!("Invalid according to Policy: {why}")));
        }
        let extra = "Invalid according to Policy: Extra input fields: bucket";
        assert_eq!(check(&json!([["eq", "$key", "a"]]), &[("key", "a")]), Err(extra.to_owned()));
        let other = check(&json!([{ "bucket": "other" }, ["eq", "$key", "a"]]), &[("key", "a")]);
        assert!(other.is_err_and(|why| why.contains("\"$bucket\", \"other\"")));
    }

    #[test]
    fn a_policy_ends_when_it_says() {
        let policy = policy(&json!([{ "bucket": "media" }]));
        let check = |now_ms| policy.check("media", &FormFields::default(), now_ms);
        assert!(check(NOW_MS + 999).is_ok());
        let error = check(NOW_MS + 1000).expect_err("expired");
        assert_eq!(error.message(), Some("Invalid according to Policy: Policy expired."));
    }

    #[test]
    fn the_length_of_the_file_may_be_bounded() {
        assert_eq!(policy(&json!([["content-length-range", 1, 25]])).length, 1..=25);
        assert_eq!(policy(&json!([["content-length-range", "1", "25"]])).length, 1..=25);
        assert_eq!(policy(&json!([])).length, 0..=crate::s3::upload::MAX_OBJECT_BYTES);
    }

    #[test]
    fn what_is_not_a_policy_is_refused() {
        let end = "2026-01-01T00:00:00Z";
        for text in [
            "{".to_owned(),
            json!({ "conditions": [] }).to_string(),
            json!({ "expiration": "tomorrow", "conditions": [] }).to_string(),
            json!({ "expiration": end, "conditions": [["like", "$key", "a"]] }).to_string(),
            json!({ "expiration": end, "conditions": [["eq", "key", "a"]] }).to_string(),
            json!({ "expiration": end, "conditions": [["content-length-range", -1, 2]] }).to_string(),
        ] {
            let error = Policy::parse(&STANDARD.encode(&text)).expect_err(&text);
            assert_eq!(error.code().as_str(), "InvalidPolicyDocument", "{text}");
        }
        assert!(Policy::parse("%").is_err());
    }
}
