//! The caller of a route, as its function is told.

use serde_json::{Map, Value, json};

use super::jwt::Claims;
use crate::sigv4::Signer;

/// A caller that an authorizer has let in.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Identity {
    /// Of a JWT authorizer.
    Jwt(Claims),
    /// Of a Lambda authorizer: the context that it has given, if any.
    Lambda {
        context: Option<Map<String, Value>>,
        /// Of an answer with a policy.
        principal: Option<String>,
    },
    /// Of a request that was signed with AWS credentials.
    Iam(Signer),
}

impl Identity {
    /// `requestContext.authorizer` in the payload format 2.0.
    pub(super) fn context(&self, account_id: &str) -> Value {
        match self {
            Self::Jwt(claims) => json!({ "jwt": claims.context() }),
            Self::Lambda { context, .. } => json!({ "lambda": context }),
            Self::Iam(signer) => json!({ "iam": signer.context(account_id) }),
        }
    }

    /// `requestContext.authorizer` in the payload format 1.0. A signer is in `identity` instead.
    pub(super) fn context_v1(&self) -> Option<Value> {
        match self {
            Self::Jwt(claims) => Some(claims.context()),
            Self::Lambda { context, principal } => {
                let mut all = context.clone().unwrap_or_default();
                all.extend(principal.as_ref().map(|principal| ("principalId".to_owned(), principal.as_str().into())));
                Some(all.into())
            }
            Self::Iam(_) => None,
        }
    }
}
