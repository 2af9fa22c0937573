//! Frames to connections, through the management API. A trait, because tests must be able to force its failures.

use std::fmt;

use aws_sdk_apigatewaymanagement::Client;
use aws_sdk_apigatewaymanagement::config::http::HttpResponse;
use aws_sdk_apigatewaymanagement::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_apigatewaymanagement::primitives::Blob;
use futures_util::future::BoxFuture;

use crate::Error;
use crate::ids::ConnectionId;
use crate::protocol::{ClosingCode, ServerFrame};

/// What a connection is told whose place another one of its user has now.
pub const REPLACED: &str = "You went on in another window";

/// What a connection is told that an administrator closes.
pub const CLOSED_BY_ADMIN: &str = "An administrator has closed your connection";

#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// The connection is no more.
    #[error("The connection is gone")]
    Gone,
    /// The client reads too slowly: the buffer of its connection is full. AWS gives the same name to a client's rate.
    #[error("The connection takes no more for now")]
    Slow,
    /// The account's rate is used up, whoever the client is.
    #[error("Too many requests of this account")]
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

/// By its name, and where the answer has none, by its status.
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

/// Tells a connection why it is closed, then closes it. One that is gone already is as good; one that can't be told is
/// closed all the same. Where closing is refused for being one call too many, it is not closed.
pub async fn dismiss(
    push: &dyn Push,
    connection: &ConnectionId,
    code: ClosingCode,
    message: &str,
) -> Result<(), Error> {
    let frame = ServerFrame::Closing { code, message: message.to_owned() }.to_json();
    let told = push.post(connection, frame).await;
    let closed = push.close(connection).await;
    // Closing is what counts. One that takes no more is not told why.
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
    async fn what_keeps_a_frame_from_its_connection_is_told_apart() {
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
