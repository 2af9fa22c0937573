//! Cognito authorizers: the tokens of a user pool. The local issuer stands in for all of them.
//!
//! Without scopes a method takes ID tokens, and with scopes access tokens that have one of them. See "Control access to
//! REST APIs using Amazon Cognito user pools as an authorizer" in API Gateway's developer guide.
//!
//! Unconfirmed: 401 for a token without the scopes.

use samovar_template::{IdentitySource, JwtAuthorizer as Spec};
use serde_json::{Map, Value, json};

use super::Refused;
use crate::http_api::jwt::{EXPIRED, JwtAuthorizer, scopes_of, text};

/// An authorizer with its issuer's keys.
#[derive(Debug)]
pub(super) struct Cognito {
    header: String,
    tokens: JwtAuthorizer,
}

impl Cognito {
    pub(super) fn new(header: &str, issuer: &str) -> Self {
        // Neither the audience nor the source is used here.
        let identity_source = IdentitySource::Header(header.to_owned());
        let spec = Spec { issuer: issuer.to_owned(), audience: Vec::new(), identity_source };
        Self { header: header.to_owned(), tokens: JwtAuthorizer::new(&spec) }
    }

    /// `requestContext.authorizer` for a request with these headers.
    pub(super) async fn authorize(
        &self,
        headers: &http::HeaderMap,
        scopes: &[String],
    ) -> Result<Map<String, Value>, Refused> {
        let value = headers.get(&self.header).and_then(|value| value.to_str().ok()).ok_or(Refused::Unauthorized)?;
        let token = value.strip_prefix("Bearer ").unwrap_or(value).trim();
        let claims = self.tokens.claims(token).await.map_err(|why| {
            tracing::debug!("A token was refused: {why}");
            if why == EXPIRED { Refused::Expired } else { Refused::Unauthorized }
        })?;
        let wanted = if scopes.is_empty() { "id" } else { "access" };
        let has_scope = scopes.is_empty() || scopes_of(&claims).iter().any(|own| scopes.contains(own));
        if claims.get("token_use").and_then(Value::as_str) != Some(wanted) || !has_scope {
            return Err(Refused::Unauthorized);
        }
        let shown = claims.iter().filter(|(_, value)| !value.is_null());
        let shown: Map<_, _> = shown.map(|(name, value)| (name.clone(), shown_as(name, value).into())).collect();
        Ok(Map::from_iter([("claims".to_owned(), json!(shown))]))
    }
}

/// A claim as text: lists with commas, and two of the times as dates.
fn shown_as(name: &str, value: &Value) -> String {
    match (name, value) {
        ("exp" | "iat", Value::Number(seconds)) => {
            let time = seconds.as_i64().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
            time.map_or_else(|| value.to_string(), |time| time.strftime("%a %b %d %H:%M:%S UTC %Y").to_string())
        }
        (_, Value::Array(items)) => items.iter().map(text).collect::<Vec<_>>().join(","),
        _ => text(value),
    }
}
