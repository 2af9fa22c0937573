//! Authorizers of REST APIs: who may call a method, and what the function is told about them.
//!
//! - [`lambda`] asks a function, by its token or by the request.
//!
//! A refusal is a gateway response with AWS's default body ("Gateway response types for API Gateway" in its developer
//! guide).

mod lambda;

use axum::response::Response;
use http::StatusCode;
use samovar_template::RestAuthorizer;
use serde_json::{Map, Value};

use super::Api;
use super::response::{denied, refusal};
use crate::authorizer::cache::Cache;

/// An authorizer with the answers that it has given.
#[derive(Debug)]
pub(super) struct Authorizer {
    kind: Kind,
    answers: Cache,
}

#[derive(Debug)]
enum Kind {
    Lambda(lambda::Lambda),
    /// Not served.
    Cognito,
}

/// The reason why a request is refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// It has no valid identity.
    Unauthorized,
    /// A policy denies it, or none allows it.
    Denied { explicit: bool },
    /// The authorizer has failed, or its answer is none.
    Broken,
}

/// Whether this request may call a method that needs the authorizer; `requestContext.authorizer` of its event if it may.
/// `event` is the one that the method's function would get.
pub(super) async fn authorize(api: &Api, authorizer: &str, event: &Value) -> Result<Map<String, Value>, Refused> {
    match api.authorizers.get(authorizer) {
        Some(authorizer) => authorizer.authorize(api, event).await,
        None => Err(Refused::Unauthorized),
    }
}

impl Refused {
    pub(super) fn response(&self) -> Response {
        match self {
            Self::Unauthorized => refusal(StatusCode::UNAUTHORIZED, "Unauthorized", "UnauthorizedException"),
            Self::Denied { explicit: true } => {
                denied("User is not authorized to access this resource with an explicit deny")
            }
            Self::Denied { explicit: false } => denied("User is not authorized to access this resource"),
            Self::Broken => super::response::authorizer_failed(),
        }
    }
}

impl Authorizer {
    pub(super) fn new(spec: &RestAuthorizer) -> Self {
        let kind = match spec {
            RestAuthorizer::Cognito { .. } => Kind::Cognito,
            lambda => lambda::Lambda::of(lambda).map_or(Kind::Cognito, Kind::Lambda),
        };
        Self { kind, answers: Cache::default() }
    }

    async fn authorize(&self, api: &Api, event: &Value) -> Result<Map<String, Value>, Refused> {
        match &self.kind {
            Kind::Lambda(lambda) => lambda.authorize(api, &self.answers, event).await,
            Kind::Cognito => Err(Refused::Unauthorized),
        }
    }
}
