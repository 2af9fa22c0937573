//! Compares messages with the models of their route ([request validation for WebSocket APIs]). A route without a
//! `ModelSelectionExpression` takes every message.
//!
//! [request validation for WebSocket APIs]:
//!     https://docs.aws.amazon.com/apigateway/latest/developerguide/websocket-api-request-validation.html

use samovar_template::Route;
use serde_json::Value;

use super::Api;
use super::integration::{scope, value};
use crate::json_schema;

/// Checks a message's event. The model is the one of the key that the route's expression gives, or `$default`.
///
/// # Errors
/// The reason why the message is refused.
pub(super) fn check(api: &Api, route: &Route, event: &Value) -> Result<(), String> {
    let Some(selection) = &route.model_selection else { return Ok(()) };
    let scope = scope(event, &api.spec.stage_variables);
    let key = selection.evaluate(|name| value(name, &scope));
    let model = route.request_models.get(&key).or_else(|| route.request_models.get("$default"));
    let model = model.ok_or_else(|| format!("There is no model for its {selection}"))?;
    let body = serde_json::from_str(&scope.body).map_err(|error| format!("The message is not JSON: {error}"))?;
    json_schema::check(model, &body)
}
