//! Evaluates an authorizer's answer: an IAM policy, for `execute-api:Invoke` on a method or on the `$connect` route.

use samovar_services::permissions::{is_action, is_resource};
use serde_json::{Map, Value};

/// The verdict on a client.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The client is let in, with this content of `requestContext.authorizer`.
    Allow(Map<String, Value>),
    Deny {
        /// A statement denies it. Otherwise none allows it.
        explicit: bool,
    },
    /// The answer does not have the form of an authorizer's answer.
    Malformed(&'static str),
}

/// What a policy says about one request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Decision<'a> {
    Allow { principal: &'a str },
    Deny { explicit: bool },
}

/// Evaluates the policy of an answer, for a request with this ARN.
///
/// # Errors
/// The answer does not have the form of an authorizer's answer: why.
pub(crate) fn decide<'a>(answer: &'a Value, method_arn: &str) -> Result<Decision<'a>, &'static str> {
    let principal = answer.get("principalId").and_then(Value::as_str).ok_or("it has no principalId")?;
    let statements = answer.pointer("/policyDocument/Statement");
    let statements = match statements.ok_or("it has no policyDocument with statements")? {
        Value::Array(statements) => statements.as_slice(),
        one => std::slice::from_ref(one),
    };
    let mut allowed = false;
    for statement in statements {
        let applies = any(statement.get("Action"), |pattern| is_action(pattern, "execute-api:Invoke"))
            && any(statement.get("Resource"), |pattern| is_resource(pattern, method_arn));
        match statement.get("Effect").and_then(Value::as_str) {
            Some("Deny") if applies => return Ok(Decision::Deny { explicit: true }),
            Some("Allow") => allowed |= applies,
            Some("Deny") => {}
            _ => return Err("a statement's Effect is neither Allow nor Deny"),
        }
    }
    Ok(if allowed { Decision::Allow { principal } } else { Decision::Deny { explicit: false } })
}

/// The verdict on a client of a WebSocket or REST API, whose context is text.
pub(crate) fn evaluate(answer: &Value, method_arn: &str) -> Verdict {
    let verdict = decide(answer, method_arn).and_then(|decision| {
        Ok(match decision {
            Decision::Deny { explicit } => Verdict::Deny { explicit },
            Decision::Allow { principal } => {
                let mut context = context_as_text(answer)?;
                context.insert("principalId".to_owned(), principal.into());
                Verdict::Allow(context)
            }
        })
    });
    verdict.unwrap_or_else(Verdict::Malformed)
}

/// The context of an answer, with its values as text.
///
/// # Errors
/// A value has no text.
pub(crate) fn context_as_text(answer: &Value) -> Result<Map<String, Value>, &'static str> {
    let mut context = Map::new();
    match answer.get("context") {
        None | Some(Value::Null) => {}
        Some(Value::Object(values)) => {
            for (name, value) in values {
                let text = match value {
                    Value::String(text) => text.clone(),
                    Value::Bool(_) | Value::Number(_) => value.to_string(),
                    Value::Null => continue,
                    Value::Array(_) | Value::Object(_) => {
                        return Err("its context has a value that is a list or an object");
                    }
                };
                context.insert(name.clone(), text.into());
            }
        }
        Some(_) => return Err("its context is not an object"),
    }
    Ok(context)
}

fn any(value: Option<&Value>, test: impl Fn(&str) -> bool) -> bool {
    match value {
        Some(Value::String(one)) => test(one),
        Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).any(test),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const ARN: &str = "arn:aws:execute-api:us-east-1:000000000000:api/ws/$connect";

    fn answer(statements: Value) -> Value {
        json!({ "principalId": "me", "policyDocument": { "Version": "2012-10-17", "Statement": statements } })
    }

    #[test]
    fn an_allow_that_covers_the_route_lets_in() {
        for resource in [ARN, "*", "arn:aws:execute-api:*:*:api/*", "arn:aws:execute-api:us-east-?:*/ws/*"] {
            let answer = answer(json!({ "Action": "execute-api:Invoke", "Effect": "Allow", "Resource": resource }));
            assert!(matches!(evaluate(&answer, ARN), Verdict::Allow(_)), "{resource}");
        }
    }

    #[test]
    fn a_policy_denies_by_default_and_a_deny_wins() {
        let allow = json!({ "Action": ["execute-api:*"], "Effect": "Allow", "Resource": ["*"] });
        let deny = json!({ "Action": "*", "Effect": "Deny", "Resource": format!("{ARN}*") });
        let elsewhere = json!({ "Action": "execute-api:Invoke", "Effect": "Allow", "Resource": "arn:aws:other*" });
        assert_eq!(evaluate(&answer(json!([allow, deny])), ARN), Verdict::Deny { explicit: true });
        let none = Verdict::Deny { explicit: false };
        assert_eq!(evaluate(&answer(json!([elsewhere])), ARN), none);
        assert_eq!(evaluate(&answer(json!([])), ARN), none);
    }

    #[test]
    fn context_values_become_strings() {
        let mut answer = answer(json!([{ "Action": "*", "Effect": "Allow", "Resource": "*" }]));
        answer["context"] = json!({ "number": 1, "flag": true, "text": "x", "none": null });
        let Verdict::Allow(context) = evaluate(&answer, ARN) else { panic!("allowed") };
        assert_eq!(Value::from(context), json!({ "principalId": "me", "number": "1", "flag": "true", "text": "x" }));
    }

    #[test]
    fn an_answer_without_a_policy_is_malformed() {
        let mut nested = answer(json!([{ "Action": "*", "Effect": "Allow", "Resource": "*" }]));
        nested["context"] = json!({ "list": [1] });
        for answer in [json!({}), json!({ "principalId": "me" }), nested, json!("text")] {
            assert!(matches!(evaluate(&answer, ARN), Verdict::Malformed(_)), "{answer}");
        }
    }
}
