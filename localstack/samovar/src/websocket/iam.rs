//! Authorizes a handshake that is signed with AWS credentials (`AWS_IAM`): the signature, in the header or the query,
//! and the permission to invoke `$connect`.

use http::{StatusCode, request};
use samovar_services::permissions::{Denied, Need};

use super::{Api, events};
use crate::sigv4::{Refused, Signer};

/// The service that requests are signed for.
const SERVICE: &str = "execute-api";

/// The signer of a handshake, if the API needs one.
///
/// # Errors
/// The status and the message of the refusal.
pub(super) fn signer(api: &Api, head: &request::Parts) -> Result<Option<Signer>, (StatusCode, String)> {
    if !api.spec.iam_authorization {
        return Ok(None);
    }
    let signer = api.keys.verify(head, b"", SERVICE).map_err(|refused| {
        tracing::debug!("A handshake was refused: {refused:?}");
        let message = if refused == Refused::Unsigned { "Missing Authentication Token" } else { "Forbidden" };
        (StatusCode::FORBIDDEN, message.to_owned())
    })?;
    let need = Need { action: "execute-api:Invoke".into(), resource: events::method_arn(api) };
    let denied = |Denied(message)| (StatusCode::FORBIDDEN, message);
    api.door.check(&signer.caller.function, |_| vec![need]).map_err(denied)?;
    Ok(Some(signer))
}
