//! Frames to connections, through the management API. It is a trait, because tests must be able to make it fail.

use std::fmt;

use aws_sdk_apigatewaymanagement::Client;
use aws_sdk_apigatewaymanagement::config::http::HttpResponse;
use aws_sdk_apigatewaymanagement::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_apigatewaymanagement::primitives::Blob;
use futures_util::future::BoxFuture;

use crate::Error;
use crate::ids::ConnectionId;
use crate::protocol::{ClosingCode, ServerFrame};

/// The text for a connection that has lost its place to another connection of its user.
pub const REPLACED: &str = "You continued in another window";

/// The text for a connection that an administrator closes.
pub const CLOSED_BY_ADMIN: &str = "An administrator has closed your connection";

#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// The connection does not exist any more.
    #[error("The connection is gone")]
    Gone,
    /// The client reads too slowly: its connection's buffer is full. AWS uses the same name when a client exceeds its
    /// rate.
    #[error("The connection's buffer is full")]
    Slow,
    /// The account's rate is used up, whichever client this is.
    #[error("This account has made too many requests")]
    Throttled,
    #[error(transparent)]
    Failed(#[from] Error),
}

pub trait Push: Send + Sync + fmt::Debug {
    fn post<'a>(&'a self, connection: &'a ConnectionId, frame: String) -> BoxFuture<'a, Result<(), PushError>>;
    fn close<'a>(&'a self, connection: &'a ConnectionId) -> BoxFuture<'a, Result<(), PushError>>;
}

#[derive(Debug, Clone)]
pub struct ManagementApi(pub Client);

impl Push for ManagementApi {
    fn post<'a>(&'a self, connection: &'a ConnectionId, frame: String) -> BoxFuture<'a, Result<(), PushError>> {
        Box::pin(async move {
            let request = self.0.post_to_connection().connection_id(connection.as_str()).data(Blob::new(frame));
            request.send().await.map(|_| ()).map_err(|error| classify("PostToConnection", error))
        })
    }

    fn close<'a>(&'a self, connection: &'a ConnectionId) -> BoxFuture<'a, Result<(), PushError>> {
        Box::pin(async move {
            let request = self.0.delete_connection().connection_id(connection.as_str());
            request.send().await.map(|_| ()).map_err(|error| classify("DeleteConnection", error))
        })
    }
}

/// Finds the kind of an error by its name, or by its status if it has no name.
fn classify<E>(operation: &'static str, error: SdkError<E, HttpResponse>) -> PushError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let status = error.raw_response().map(|response| response.status().as_u16());
    match (error.code(), status) {
        (Some("GoneException"), _) | (_, Some(410)) => PushError::Gone,
        (Some("LimitExceededException"), _) => PushError::Slow,
        (Some("ThrottlingException" | "TooManyRequestsException"), _) | (_, Some(429)) => PushError::Throttled,
        _ => PushError::Failed(Error::service(operation, &error)),
    }
}

/// Tells a connection why it is closed, then closes it. A connection that is already gone counts as closed. One that
/// can't be told is closed anyway. If the gateway refuses to close because the account made too many calls, it stays
/// open.
pub async fn dismiss(
    push: &dyn Push,
    connection: &ConnectionId,
    code: ClosingCode,
    message: &str,
) -> Result<(), Error> {
    let frame = ServerFrame::Closing { code, message: message.to_owned() }.to_json();
    let told = push.post(connection, frame).await;
    let closed = push.close(connection).await;
    // Only closing matters: a connection that takes no more frames is closed without being told why.
    for (result, is_closing) in [(told, false), (closed, true)] {
        match result {
            Ok(()) | Err(PushError::Gone) => {}
            Err(PushError::Slow | PushError::Throttled) if !is_closing => {}
            Err(PushError::Slow | PushError::Throttled) => {
                return Err(Error::Contended { operation: "DeleteConnection", attempts: 1 });
            }
            Err(PushError::Failed(error)) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use aws_credential_types::Credentials;
    use aws_sdk_apigatewaymanagement::config::retry::RetryConfig;
    use aws_sdk_apigatewaymanagement::config::{BehaviorVersion, Config, Region};

    use super::*;
    use crate::testing::connection;
    use crate::testing::endpoint::{Endpoint, status};

    #[tokio::test]
    async fn the_reasons_why_a_frame_did_not_arrive_are_told_apart() {
        let named = |name: &str| format!("x-amzn-errortype: {name}\r\n");
        for (line, headers, expected) in [
            ("410 Gone", named("GoneException"), "gone"),
            ("410 Gone", String::new(), "gone"),
            ("429 Too Many Requests", named("LimitExceededException"), "slow"),
            ("429 Too Many Requests", named("ThrottlingException"), "throttled"),
            ("429 Too Many Requests", String::new(), "throttled"),
            ("500 Internal Server Error", String::new(), "failed"),
        ] {
            let endpoint = Endpoint::start(vec![status(line, &headers, "{\"message\":\"no\"}")]);
            let config = Config::builder()
                .behavior_version(BehaviorVersion::latest())
                .region(Region::from_static("us-east-1"))
                .credentials_provider(Credentials::new("AKID", "secret", None, None, "tests"))
                .retry_config(RetryConfig::disabled())
                .endpoint_url(endpoint.url.as_str());
            let posted = ManagementApi(Client::from_conf(config.build())).post(&connection("c"), "{}".to_owned()).await;
            let kind = match posted.expect_err(line) {
                PushError::Gone => "gone",
                PushError::Slow => "slow",
                PushError::Throttled => "throttled",
                PushError::Failed(_) => "failed",
            };
            assert_eq!(kind, expected, "{line} {headers}");
        }
    }
}
