//! Lambda authorizers: a function says by a policy who may call what. See "Use API Gateway Lambda authorizers" and
//! "Input to a Lambda authorizer" in API Gateway's developer guide.
//!
//! An answer is kept for the authorizer's time and used for every method that the same identity asks for, so a policy
//! that allows only the one method refuses the others, as on AWS. The policy itself is evaluated for each request.
//!
//! Unconfirmed: that a token has to match `ValidationExpression` only in a part, if the expression has no anchors.

use std::time::{Duration, Instant};

use regex_lite::Regex;
use serde_json::{Map, Value, json};

use super::Refused;
use crate::authorizer::cache::Cache;
use crate::authorizer::policy::{Verdict, evaluate};
use crate::invoke::{self, IntegrationError};
use crate::rest_api::Api;

/// API Gateway waits no longer for an integration. It publishes no other time for authorizers.
const TIMEOUT: Duration = Duration::from_secs(29);
const HEADERS: &str = "headers";

#[derive(Debug)]
pub(super) struct Lambda {
    function: String,
    cache: Duration,
    source: Source,
}

/// What an identity is.
#[derive(Debug)]
enum Source {
    /// The value of one header, which the function gets alone.
    Token { header: String, validation: Option<Validation> },
    /// Values of the request, which the function gets as a whole. These are paths in its event.
    Request { required: Vec<Vec<String>> },
}

/// `ValidationExpression`.
#[derive(Debug)]
enum Validation {
    Expression(Regex),
    /// It is none that can be evaluated, so it refuses every token.
    Unusable,
}

impl Validation {
    fn of(expression: &str) -> Self {
        Regex::new(expression).map_or(Self::Unusable, Self::Expression)
    }

    fn takes(&self, token: &str) -> bool {
        matches!(self, Self::Expression(expression) if expression.is_match(token))
    }
}

impl Lambda {
    pub(super) fn of_token(function: &str, header: &str, validation: Option<&str>, cache: Duration) -> Self {
        let (header, validation) = (header.to_owned(), validation.map(Validation::of));
        Self { function: function.to_owned(), cache, source: Source::Token { header, validation } }
    }

    /// The sources are the names of headers, query parameters, stage variables and values of the context.
    pub(super) fn of_request(function: &str, sources: [&[String]; 4], cache: Duration) -> Self {
        let [headers, query_strings, stage_variables, context] = sources;
        let mut required = Vec::new();
        for (place, names) in
            [(HEADERS, headers), ("queryStringParameters", query_strings), ("stageVariables", stage_variables)]
        {
            required.extend(names.iter().map(|name| vec![place.to_owned(), name.clone()]));
        }
        let of_context =
            |path: &String| ["requestContext"].into_iter().chain(path.split('.')).map(str::to_owned).collect();
        required.extend(context.iter().map(of_context));
        Self { function: function.to_owned(), cache, source: Source::Request { required } }
    }

    pub(super) async fn authorize(
        &self,
        api: &Api,
        answers: &Cache,
        event: &Value,
    ) -> Result<Map<String, Value>, Refused> {
        let identity = self.identity(event).ok_or(Refused::Unauthorized)?;
        let arn = method_arn(api, event);
        let began = Instant::now();
        let answer = match answers.get(&identity, began) {
            Some(kept) => kept,
            None => {
                let answer = self.ask(api, &self.event(event, &arn, &identity)).await?;
                // Without an identity, all callers would share the answer.
                if !identity.is_empty() {
                    answers.keep(identity, answer.clone(), self.cache, Instant::now());
                }
                answer
            }
        };
        match evaluate(&answer, &arn) {
            Verdict::Allow(mut context) => {
                let milliseconds = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
                context.insert("integrationLatency".to_owned(), milliseconds.into());
                Ok(context)
            }
            Verdict::Deny { explicit } => Err(Refused::Denied { explicit }),
            Verdict::Malformed(why) => {
                tracing::warn!("{}: the answer is not a valid authorizer's answer: {why}", self.function);
                Err(Refused::Broken)
            }
        }
    }

    /// The values that make the identity, or nothing if one of them is missing, empty or not valid.
    fn identity(&self, event: &Value) -> Option<Vec<String>> {
        match &self.source {
            Source::Token { header, validation } => {
                let token = value(event, &[HEADERS.to_owned(), header.clone()])?;
                validation.as_ref().is_none_or(|validation| validation.takes(&token)).then(|| vec![token])
            }
            Source::Request { required } => required.iter().map(|path| value(event, path)).collect(),
        }
    }

    fn event(&self, event: &Value, arn: &str, identity: &[String]) -> Value {
        if let (Source::Token { .. }, [token]) = (&self.source, identity) {
            return json!({ "type": "TOKEN", "methodArn": arn, "authorizationToken": token });
        }
        let mut own = json!({ "type": "REQUEST", "methodArn": arn });
        for name in ["resource", "path", "httpMethod", "headers", "multiValueHeaders", "requestContext"] {
            own[name] = event[name].clone();
        }
        for name in ["queryStringParameters", "multiValueQueryStringParameters", "pathParameters", "stageVariables"] {
            // Here an authorizer gets an empty map, unlike the method's function.
            own[name] = if event[name].is_null() { json!({}) } else { event[name].clone() };
        }
        own
    }

    async fn ask(&self, api: &Api, event: &Value) -> Result<Value, Refused> {
        let payload = event.to_string().into();
        let answer = invoke::within(TIMEOUT, &api.edge.invoker, &api.tasks, &self.function, payload).await;
        match answer {
            Ok(answer) => Ok(serde_json::from_slice(&answer).unwrap_or(Value::Null)),
            Err(IntegrationError::FunctionError { message, .. }) if message == "Unauthorized" => {
                Err(Refused::Unauthorized)
            }
            Err(error) => {
                tracing::warn!("{error}");
                Err(Refused::Broken)
            }
        }
    }
}

/// The ARN of a request: method and path as they came.
pub(super) fn method_arn(api: &Api, event: &Value) -> String {
    let text = |name: &str| event[name].as_str().unwrap_or_default();
    api.method_arn(text("httpMethod"), text("path"))
}

/// The text at a path of the event, unless it is empty. Names of headers may be in any case.
fn value(event: &Value, path: &[String]) -> Option<String> {
    let mut at = event;
    for (depth, name) in path.iter().enumerate() {
        let any_case = depth == 1 && path[0] == HEADERS;
        let is_named = |key: &String| key == name || any_case && key.eq_ignore_ascii_case(name);
        at = at.as_object()?.iter().find(|(key, _)| is_named(key))?.1;
    }
    at.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}
