//! Calls of SQS in the form that mapping templates write, `Action=SendMessage&MessageBody=…`, and the answers in the
//! form that API Gateway gives them: the query protocol's answer as JSON.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::uri::query;

/// The operation and the JSON request of a form. The queue is the one of the URI's path, `{account}/{name}`, unless the
/// form names another.
pub(super) fn request(form: &str, path: &str) -> Result<(String, Value), String> {
    let mut operation = None;
    let mut request = Map::from_iter([("QueueUrl".to_owned(), Value::from(format!("/{path}")))]);
    // By the number of the entry: name, data type, string value.
    let mut attributes: BTreeMap<String, (String, Map<String, Value>)> = BTreeMap::new();
    for (name, value) in query(Some(form.trim())) {
        if let Some((number, part)) = name.strip_prefix("MessageAttribute.").and_then(|rest| rest.split_once('.')) {
            let (attribute, values) = attributes.entry(number.to_owned()).or_default();
            match part {
                "Name" => *attribute = value,
                "Value.DataType" | "Value.StringValue" | "Value.BinaryValue" => {
                    values.insert(part["Value.".len()..].to_owned(), value.into());
                }
                _ => return Err(format!("The parameter {name} of SendMessage is not known here")),
            }
            continue;
        }
        match name.as_str() {
            "Action" => operation = Some(value),
            "Version" => {}
            "DelaySeconds" => {
                let seconds: i64 = value.parse().map_err(|_| "DelaySeconds is no number".to_owned())?;
                request.insert(name, seconds.into());
            }
            "MessageBody" | "MessageDeduplicationId" | "MessageGroupId" | "QueueUrl" => {
                request.insert(name, value.into());
            }
            _ => return Err(format!("The parameter {name} of SendMessage is not known here")),
        }
    }
    match operation.as_deref() {
        Some("SendMessage") => {}
        Some(other) => return Err(format!("The action {other} of SQS can't be called by an integration here")),
        None => return Err("The form has no Action".to_owned()),
    }
    if !attributes.is_empty() {
        let attributes: Map<_, _> = attributes.into_values().map(|(name, values)| (name, values.into())).collect();
        request.insert("MessageAttributes".to_owned(), attributes.into());
    }
    Ok(("SendMessage".to_owned(), request.into()))
}

/// The answer of an operation in the query protocol's JSON.
pub(super) fn answer(operation: &str, status: u16, body: &[u8], request_id: &str) -> Value {
    let result: Value = serde_json::from_slice(body).unwrap_or_default();
    if status >= 400 {
        let kind = result["__type"].as_str().unwrap_or_default();
        let code = kind.rsplit('#').next().unwrap_or_default();
        let fault = if status < 500 { "Sender" } else { "Receiver" };
        let error = json!({ "Code": code, "Message": result["message"], "Type": fault });
        return json!({ "Error": error, "RequestId": request_id });
    }
    json!({
        format!("{operation}Response"): {
            format!("{operation}Result"): result,
            "ResponseMetadata": { "RequestId": request_id },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_a_request_to_the_queue_of_the_path() {
        let form = "Action=SendMessage&MessageGroupId=g&MessageDeduplicationId=d&MessageAttribute.1.Name=a&\
                    MessageAttribute.1.Value.StringValue=v&MessageAttribute.1.Value.DataType=String&DelaySeconds=3&\
                    Version=2012-11-05&MessageBody=%7B%22a%22%3A+1%7D\n";
        let expected = json!({
            "QueueUrl": "/0/q.fifo", "MessageGroupId": "g", "MessageDeduplicationId": "d", "DelaySeconds": 3,
            "MessageBody": "{\"a\": 1}",
            "MessageAttributes": { "a": { "StringValue": "v", "DataType": "String" } },
        });
        assert_eq!(request(form, "0/q.fifo"), Ok(("SendMessage".to_owned(), expected)));
        let other = request("Action=SendMessage&MessageBody=b&QueueUrl=http%3A%2F%2Fx%2F0%2Fp", "0/q");
        assert_eq!(other.map(|(_, request)| request["QueueUrl"].clone()), Ok(json!("http://x/0/p")));
    }

    #[test]
    fn a_form_that_is_not_understood_has_a_reason() {
        for (form, why) in [
            ("MessageBody=a", "no Action"),
            ("", "no Action"),
            ("Action=PurgeQueue", "PurgeQueue"),
            ("Action=SendMessage&Delay=1", "Delay"),
            ("Action=SendMessage&DelaySeconds=x", "DelaySeconds is no number"),
            ("Action=SendMessage&MessageAttribute.1.Type=x", "MessageAttribute.1.Type"),
        ] {
            assert!(request(form, "0/q").is_err_and(|error| error.contains(why)), "{form}");
        }
    }

    #[test]
    fn an_answer_has_the_form_of_the_query_protocol() {
        assert_eq!(
            answer("SendMessage", 200, br#"{"MessageId":"m"}"#, "r"),
            json!({ "SendMessageResponse": {
                "SendMessageResult": { "MessageId": "m" }, "ResponseMetadata": { "RequestId": "r" },
            }})
        );
        let error = br#"{"__type":"com.amazonaws.sqs#QueueDoesNotExist","message":"none"}"#;
        assert_eq!(
            answer("SendMessage", 400, error, "r"),
            json!({
                "Error": { "Code": "QueueDoesNotExist", "Message": "none", "Type": "Sender" }, "RequestId": "r",
            })
        );
    }
}
