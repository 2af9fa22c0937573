//! Authorizers of REST APIs: who may call a method, and what the function is told about them.
//!
//! - [`lambda`] asks a function, by its token or by the request.
//! - [`cognito`] takes the tokens of user pools, and [`iam`] signatures with AWS credentials.
//!
//! A refusal is a gateway response with AWS's default body ("Gateway response types for API Gateway" in its developer
//! guide).

mod cognito;
mod iam;
mod lambda;

use axum::response::Response;
use http::StatusCode;
use samovar_template::{Authorization, RestAuthorizer};
use serde_json::{Map, Value};

use super::Api;
use super::response::{denied, refusal};
use crate::authorizer::cache::Cache;
use crate::http_api::incoming::Incoming;
use cognito::Cognito;
use lambda::Lambda;

/// An authorizer with the answers that it has given.
#[derive(Debug)]
pub(super) struct Authorizer {
    kind: Kind,
    answers: Cache,
}

#[derive(Debug)]
enum Kind {
    Lambda(Lambda),
    Cognito(Cognito),
}

/// The reason why a request is refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// It has no valid identity.
    Unauthorized,
    /// Its token was valid once.
    Expired,
    /// A policy denies it, or none allows it.
    Denied { explicit: bool },
    /// The authorizer has failed, or its answer is none.
    Broken,
}

/// Lets a request in that may call a method with this authorization, and writes into its event who calls. Otherwise
/// this is the response. `event` is the one that the method's function gets.
pub(super) async fn authorize(
    api: &Api,
    incoming: &Incoming,
    needed: &Authorization,
    event: &mut Value,
) -> Result<(), Response> {
    if needed.authorizer == iam::IAM {
        let arn = lambda::method_arn(api, event);
        return iam::authorize(api, incoming, arn, event).map_err(|refused| *refused);
    }
    let context = match api.authorizers.get(&needed.authorizer) {
        Some(authorizer) => authorizer.authorize(api, incoming, &needed.scopes, event).await,
        // The template reader makes sure that the authorizer exists.
        None => Err(Refused::Unauthorized),
    };
    event["requestContext"]["authorizer"] = context.map_err(|refused| refused.response())?.into();
    Ok(())
}

impl Refused {
    pub(super) fn response(&self) -> Response {
        match self {
            Self::Unauthorized => refusal(StatusCode::UNAUTHORIZED, "Unauthorized", "UnauthorizedException"),
            Self::Expired => {
                refusal(StatusCode::UNAUTHORIZED, "The incoming token has expired", "UnauthorizedException")
            }
            Self::Denied { explicit: true } => {
                denied("User is not authorized to access this resource with an explicit deny")
            }
            Self::Denied { explicit: false } => denied("User is not authorized to access this resource"),
            Self::Broken => super::response::authorizer_failed(),
        }
    }
}

impl Authorizer {
    /// `issuer` stands in for all user pools.
    pub(super) fn new(spec: &RestAuthorizer, issuer: &str) -> Self {
        let kind = match spec {
            RestAuthorizer::Cognito { header, .. } => Kind::Cognito(Cognito::new(header, issuer)),
            RestAuthorizer::Token { function, header, validation, cache } => {
                Kind::Lambda(Lambda::of_token(function, header, validation.as_deref(), *cache))
            }
            RestAuthorizer::Request { function, headers, query_strings, stage_variables, context, cache } => {
                let sources = [headers, query_strings, stage_variables, context].map(Vec::as_slice);
                Kind::Lambda(Lambda::of_request(function, sources, *cache))
            }
        };
        Self { kind, answers: Cache::default() }
    }

    async fn authorize(
        &self,
        api: &Api,
        incoming: &Incoming,
        scopes: &[String],
        event: &Value,
    ) -> Result<Map<String, Value>, Refused> {
        match &self.kind {
            Kind::Lambda(lambda) => lambda.authorize(api, &self.answers, event).await,
            Kind::Cognito(cognito) => cognito.authorize(&incoming.head.headers, scopes).await,
        }
    }
}
