//! Lambda authorizers: a function says who may call a route, with a policy or with yes and no. See "Control access to
//! HTTP APIs with AWS Lambda authorizers" in API Gateway's developer guide.
//!
//! An answer is kept for the authorizer's time and used for all routes that the same identity asks for. A policy is
//! evaluated for each request. Without identity sources nothing is kept.
//!
//! Unconfirmed: 401 for a function that fails with `Unauthorized`, as in REST APIs; that the context of an answer with
//! a policy has no `principalId` in the payload format 2.0.

use std::time::{Duration, Instant};

use axum::response::Response;
use http::StatusCode;
use samovar_template::{self as template, PayloadFormat};
use serde_json::{Map, Value, json};

use super::handle::Read;
use super::identity::Identity;
use super::response::refusal;
use crate::authorizer::cache::Cache;
use crate::authorizer::policy::{Decision, context_as_text, decide};
use crate::http_api::event::text;
use crate::invoke::{self, IntegrationError};
use crate::uri::query;

/// API Gateway waits no longer for an integration. It publishes no other time for authorizers.
const TIMEOUT: Duration = Duration::from_secs(30);

/// An authorizer with the answers that it has given.
#[derive(Debug)]
pub(super) struct LambdaAuthorizer {
    spec: template::LambdaAuthorizer,
    answers: Cache,
}

/// The reason why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    Unauthorized,
    Forbidden,
    /// The authorizer has failed, or its answer is none.
    Broken,
}

impl Refused {
    pub(super) fn response(self) -> Response {
        match self {
            Self::Unauthorized => refusal(StatusCode::UNAUTHORIZED, "Unauthorized"),
            Self::Forbidden => refusal(StatusCode::FORBIDDEN, "Forbidden"),
            Self::Broken => refusal(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error"),
        }
    }
}

impl LambdaAuthorizer {
    pub(super) fn new(spec: &template::LambdaAuthorizer) -> Self {
        Self { spec: spec.clone(), answers: Cache::default() }
    }

    pub(super) async fn authorize(&self, request: &Read<'_>) -> Result<Identity, Refused> {
        let sources = self.spec.identity_sources.iter().map(|source| value(request, source));
        let identity = sources.collect::<Option<Vec<_>>>().ok_or(Refused::Unauthorized)?;
        let kept = self.answers.get(&identity, Instant::now());
        let answer = match kept {
            Some(kept) => kept,
            None => {
                let answer = self.ask(request, &identity).await?;
                if !identity.is_empty() {
                    self.answers.keep(identity, answer.clone(), self.spec.cache, Instant::now());
                }
                answer
            }
        };
        self.read(&answer, &request.arn()).unwrap_or_else(|why| {
            tracing::warn!("{}: the answer is not a valid authorizer's answer: {why}", self.spec.function);
            Err(Refused::Broken)
        })
    }

    /// The caller that an answer lets in, or the reason why the answer is malformed.
    fn read(&self, answer: &Value, arn: &str) -> Result<Result<Identity, Refused>, &'static str> {
        let principal = if self.spec.simple_responses {
            match answer.get("isAuthorized").and_then(Value::as_bool).ok_or("it has no isAuthorized")? {
                true => None,
                false => return Ok(Err(Refused::Forbidden)),
            }
        } else {
            match decide(answer, arn)? {
                Decision::Allow { principal } => Some(principal.to_owned()),
                Decision::Deny { .. } => return Ok(Err(Refused::Forbidden)),
            }
        };
        let context = match (self.spec.payload_format, answer.get("context")) {
            (_, None | Some(Value::Null)) => None,
            (PayloadFormat::V1, Some(_)) => Some(context_as_text(answer)?),
            (PayloadFormat::V2, Some(Value::Object(context))) => Some(context.clone()),
            (PayloadFormat::V2, Some(_)) => return Err("its context is not an object"),
        };
        Ok(Ok(Identity::Lambda { context, principal }))
    }

    async fn ask(&self, request: &Read<'_>, identity: &[String]) -> Result<Value, Refused> {
        let (api, function) = (request.api, &self.spec.function);
        let payload = self.event(request, identity).to_string().into();
        match invoke::within(TIMEOUT, &api.edge.invoker, &api.tasks, function, payload).await {
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

    /// The event of the authorizer's function: that of a route's function without a body, and with what is asked.
    fn event(&self, request: &Read<'_>, identity: &[String]) -> Value {
        let mut event = request.event(self.spec.payload_format, None);
        event["type"] = "REQUEST".into();
        let arn = request.arn();
        match self.spec.payload_format {
            PayloadFormat::V1 => {
                let joined = identity.join(",");
                event["methodArn"] = arn.into();
                event["identitySource"] = joined.as_str().into();
                event["authorizationToken"] = joined.into();
                // Here an authorizer gets an empty map, unlike the route's function.
                for name in PARAMETERS.into_iter().filter(|name| event[name].is_null()).collect::<Vec<_>>() {
                    event[name] = json!({});
                }
            }
            PayloadFormat::V2 => {
                event["routeArn"] = arn.into();
                event["identitySource"] = if identity.is_empty() { Value::Null } else { json!(identity) };
            }
        }
        if let Some(fields) = event.as_object_mut() {
            fields.retain(|name, _| !["body", "isBase64Encoded"].contains(&name.as_str()));
        }
        event
    }
}

const PARAMETERS: [&str; 4] =
    ["multiValueQueryStringParameters", "pathParameters", "queryStringParameters", "stageVariables"];

/// The value of an identity source in a request, unless it is missing or empty.
fn value(request: &Read<'_>, source: &str) -> Option<String> {
    let head = &request.incoming.head;
    let found = if let Some(name) = source.strip_prefix("$request.header.") {
        head.headers.get(name).map(|value| text(value).into_owned())
    } else if let Some(name) = source.strip_prefix("$request.querystring.") {
        query(head.uri.query()).into_iter().find(|(key, _)| key == name).map(|(_, value)| value)
    } else if let Some(name) = source.strip_prefix("$stageVariables.") {
        request.api.spec.stage_variables.get(name).cloned()
    } else {
        context(request, source.strip_prefix("$context.")?)
    };
    found.filter(|value| !value.is_empty())
}

/// The context variables that a request has before its authorizer.
fn context(request: &Read<'_>, name: &str) -> Option<String> {
    let event: Map<String, Value> = match request.event(PayloadFormat::V2, None)["requestContext"].take() {
        Value::Object(context) => context,
        _ => return None,
    };
    let http = |name: &str| event.get("http")?.get(name)?.as_str();
    let found = match name {
        "httpMethod" => http("method"),
        "path" => http("path"),
        "protocol" => http("protocol"),
        "identity.sourceIp" => http("sourceIp"),
        "identity.userAgent" => http("userAgent"),
        other => event.get(other)?.as_str(),
    };
    found.map(str::to_owned)
}
