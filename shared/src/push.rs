//! Frames to connections, through the management API. A trait, because tests must be able to force its failures.

use std::fmt;

use aws_sdk_apigatewaymanagement::Client;
use aws_sdk_apigatewaymanagement::error::ProvideErrorMetadata;
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
    /// The client reads too slowly, or the account's rate is used up.
    #[error("Too many requests")]
    Slow,
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

fn classify(
    operation: &'static str,
    error: impl ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
) -> PushError {
    match error.code() {
        Some("GoneException") => PushError::Gone,
        Some("LimitExceededException" | "TooManyRequestsException") => PushError::Slow,
        _ => PushError::Failed(Error::service(operation, &error)),
    }
}

/// Tells a connection why it is closed, then closes it. One that is gone already is as good; one that can't be told is closed
/// all the same. Where closing is refused for being one call too many, it is not closed.
pub async fn dismiss(
    push: &dyn Push,
    connection: &ConnectionId,
    code: ClosingCode,
    message: &str,
) -> Result<(), Error> {
    let frame = ServerFrame::Closing { code, message: message.to_owned() }.to_json();
    let told = push.post(connection, frame).await;
    let closed = push.close(connection).await;
    match (told, closed) {
        (_, Err(PushError::Slow)) => Err(Error::service("DeleteConnection", &PushError::Slow)),
        (_, Err(PushError::Failed(error))) | (Err(PushError::Failed(error)), _) => Err(error),
        _ => Ok(()),
    }
}
