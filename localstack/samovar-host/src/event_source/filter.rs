//! `FilterCriteria`: which records of a source are sent to the function.
//!
//! A record passes if one of the patterns matches. The body of a message is matched as JSON if the pattern has fields
//! below `body`, and such a pattern never matches a body that is not JSON. This is the table in "Properly filtering
//! Amazon SQS messages" of Lambda's developer guide (`with-sqs-filtering`).

use samovar_eventbridge::Pattern;
use serde_json::Value;

/// The field that has a message's body.
const BODY: &str = "body";

/// The patterns of a source. Without any, every record passes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Filter(pub Vec<Pattern>);

impl Filter {
    /// Whether every record passes.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a record passes, as it is in the function's event.
    pub(super) fn passes(&self, record: &str) -> bool {
        let Ok(mut record) = serde_json::from_str::<Value>(record) else { return false };
        let is_json = match record.get(BODY).and_then(Value::as_str).map(serde_json::from_str) {
            Some(Ok(body @ (Value::Object(_) | Value::Array(_)))) => {
                record[BODY] = body;
                true
            }
            _ => false,
        };
        self.0.iter().any(|pattern| (is_json || !pattern.looks_into(BODY)) && pattern.matches(&record))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn bodies_are_compared_by_the_table_of_the_developer_guide() {
        let json_body = r#"{"RequestCode":"BBBB"}"#;
        for (pattern, body, passes) in [
            (json!({ "body": ["plain"] }), "plain", true),
            (json!({ "body": ["plain"] }), "other", false),
            (json!({ "body": ["plain"] }), json_body, false),
            (json!({ "body": [json_body] }), json_body, false),
            (json!({ "body": { "RequestCode": ["BBBB"] } }), json_body, true),
            (json!({ "body": { "RequestCode": ["AAAA"] } }), json_body, false),
            (json!({ "body": { "RequestCode": ["BBBB"] } }), r#"[{"RequestCode":"BBBB"}]"#, true),
            (json!({ "body": { "RequestCode": ["BBBB"] } }), "plain", false),
            (json!({ "body": { "RequestCode": [{ "exists": false }] } }), "plain", false),
            (json!({ "body": { "RequestCode": [{ "exists": false }] } }), "{}", true),
            (json!({ "body": ["12"] }), "12", true),
            (json!({ "attributes": { "SenderId": ["me"] } }), "plain", true),
            (json!({ "attributes": { "SenderId": ["you"] } }), json_body, false),
        ] {
            let record = json!({ "body": body, "attributes": { "SenderId": "me" } }).to_string();
            let filter = Filter(vec![Pattern::of(&pattern).unwrap()]);
            assert_eq!(filter.passes(&record), passes, "{pattern} {body}");
        }
    }

    #[test]
    fn a_record_passes_if_one_of_the_patterns_matches() {
        let filter = Filter([r#"{"a":[1]}"#, r#"{"a":[2]}"#].map(|text| Pattern::parse(text).unwrap()).to_vec());
        let passing: Vec<bool> = (0..4).map(|a| filter.passes(&json!({ "a": a }).to_string())).collect();
        assert_eq!(passing, [false, true, true, false]);
    }
}
