//! `AWS_IAM`: requests that are signed with AWS credentials. A function may call what its policies allow.

use axum::response::Response;
use http::StatusCode;
use samovar_services::permissions::{Denied, Need};
use serde_json::Value;

use crate::http_api::incoming::Incoming;
use crate::rest_api::Api;
use crate::rest_api::response::{denied, refusal};

/// The name of the authorizer.
pub(super) const IAM: &str = "AWS_IAM";
/// The service that requests are signed for.
const SERVICE: &str = "execute-api";

/// Writes the signer into the event's `requestContext.identity`, or refuses the request.
pub(super) fn authorize(api: &Api, incoming: &Incoming, arn: String, event: &mut Value) -> Result<(), Box<Response>> {
    let edge = &api.edge;
    let body = incoming.body.as_deref().unwrap_or_default();
    let signer = edge.keys.verify(&incoming.head, body, SERVICE).map_err(|refused| {
        let (message, kind) = refused.message();
        Box::new(refusal(StatusCode::FORBIDDEN, message, kind))
    })?;
    let need = Need { action: "execute-api:Invoke".into(), resource: arn };
    let checked = edge.door.check(&signer.caller.function, |_| vec![need]);
    checked.map_err(|Denied(message)| Box::new(denied(&message)))?;
    let identity = &mut event["requestContext"]["identity"];
    for name in ["accessKey", "caller", "user"] {
        identity[name] = signer.access_key.as_str().into();
    }
    identity["accountId"] = edge.account_id.as_str().into();
    identity["userArn"] = signer.arn(&edge.account_id).into();
    Ok(())
}
