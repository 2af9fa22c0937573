//! API keys: a route may need one. It comes with the handshake, in the header `x-api-key` or from the authorizer, as
//! the `ApiKeySelectionExpression` says ([API key selection expressions]).
//!
//! Quotas and throttling of usage plans are not applied.
//!
//! [API key selection expressions]:
//!     https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-websocket-api-selection-expressions.html

use super::Api;
use super::events::Headers;

/// The expression for a key that the authorizer returns.
const OF_AUTHORIZER: &str = "$context.authorizer.usageIdentifierKey";
const HEADER: &str = "x-api-key";

/// Whether a handshake has a key that a usage plan takes for this API and stage. `usage_identifier_key` is the one that
/// the authorizer has returned.
pub(super) fn has_key(api: &Api, headers: &Headers, usage_identifier_key: Option<&str>) -> bool {
    let key = match api.spec.api_key_selection.as_deref() {
        Some(OF_AUTHORIZER) => usage_identifier_key,
        _ => headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(HEADER)).map(|(_, value)| value.as_str()),
    };
    key.is_some_and(|key| api.api_keys.iter().any(|own| own == key))
}
