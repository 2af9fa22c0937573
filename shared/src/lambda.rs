//! The edge towards Lambda, and the only module of this library that knows Lambda and its events: how a function
//! starts, which user speaks, how a frame becomes a route response.
//!
//! An error is logged here, once. Its frame says no more than the contract.

use std::fmt;

use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_lambda_events::apigw::{
    ApiGatewayProxyResponse, ApiGatewayWebsocketProxyRequest, ApiGatewayWebsocketProxyRequestContext,
};
use aws_lambda_events::encodings::Body;

use crate::app::App;
use crate::config::environment;
use crate::errors::Class;
use crate::ids::{ConnectionId, MessageId, UserId};
use crate::protocol::ServerFrame;
use crate::{Error, Result, http};

/// The reason why a function could not start, as one plain sentence for its log. `main` would print the error's
/// insides.
pub struct Failure(String);

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self(error.to_string())
    }
}

impl From<Box<dyn std::error::Error + Send + Sync>> for Failure {
    fn from(error: Box<dyn std::error::Error + Send + Sync>) -> Self {
        Self(error.to_string())
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The user and the connection behind an event. The authorizer found the user when the connection was made.
#[derive(Debug, Clone)]
pub struct Speaker {
    pub user: UserId,
    pub connection: ConnectionId,
}

impl Speaker {
    pub fn of(context: &ApiGatewayWebsocketProxyRequestContext) -> Result<Self> {
        let missing =
            |what: &str| Error::Corrupt { key: "requestContext".to_owned(), detail: format!("it has no {what}") };
        let user = context.authorizer.fields.get("principalId").and_then(|value| value.as_str());
        Ok(Self {
            user: UserId::parse(user.ok_or_else(|| missing("authorizer.principalId"))?)?,
            connection: ConnectionId::new(context.connection_id.as_deref().ok_or_else(|| missing("connectionId"))?),
        })
    }
}

/// The user's name as the token gives it, to show.
pub fn username(context: &ApiGatewayWebsocketProxyRequestContext) -> Option<String> {
    let name = context.authorizer.fields.get("username").and_then(|value| value.as_str());
    name.filter(|name| !name.is_empty()).map(str::to_owned)
}

/// Starts logging and reads the SDK's settings and the environment, once, at init.
pub async fn start() -> App {
    lambda_runtime::tracing::init_default_subscriber();
    let mut sdk = aws_config::from_env().http_client(http::client());
    // Lambda gives a function its credentials like this. The SDK would look here first, too, but would also make a
    // client for each other source.
    if environment("AWS_ACCESS_KEY_ID").is_some() {
        sdk = sdk.credentials_provider(EnvironmentVariableCredentialsProvider::new());
    }
    App::new(sdk.load().await, environment)
}

/// A route response that carries a frame.
pub fn respond(frame: ServerFrame) -> ApiGatewayProxyResponse {
    let mut response = status(200);
    response.body = Some(Body::Text(frame.to_json()));
    response
}

/// A bare status.
pub fn status(code: i64) -> ApiGatewayProxyResponse {
    let mut response = ApiGatewayProxyResponse::default();
    response.status_code = code;
    response
}

/// A frame that says what was wrong with a client's frame. The response is a success: the function did its work, and
/// the frame reaches the client either way.
pub fn refuse(
    event: &ApiGatewayWebsocketProxyRequest,
    id: Option<MessageId>,
    error: &Error,
) -> ApiGatewayProxyResponse {
    log(&event.request_context, error);
    respond(ServerFrame::error(id, error))
}

/// Logs why a handshake was refused. The client sees a status at most, and a browser sees not even that.
pub fn log_refused(context: &ApiGatewayWebsocketProxyRequestContext, status: i64, reason: &str) {
    let connection = context.connection_id.as_deref().unwrap_or_default();
    let request = context.request_id.as_deref().unwrap_or_default();
    let user = context.authorizer.fields.get("principalId").and_then(|value| value.as_str()).unwrap_or_default();
    tracing::info!(connection, request, user, status, reason, "Refused a handshake");
}

pub fn log(context: &ApiGatewayWebsocketProxyRequestContext, error: &Error) {
    let connection = context.connection_id.as_deref().unwrap_or_default();
    let request = context.request_id.as_deref().unwrap_or_default();
    match error.class() {
        Class::Rejected => tracing::debug!(connection, request, code = error.code(), "Refused: {error}"),
        Class::Retry => tracing::warn!(connection, request, "{error}"),
        Class::Bug => tracing::error!(connection, request, "{error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Log;

    #[test]
    fn the_reason_why_a_function_does_not_start_is_one_plain_sentence() {
        let missing = Failure::from(Error::ConfigMissing { name: "QUEUE_URL" });
        assert_eq!(format!("{missing:?}"), "QUEUE_URL is not set; set it in the function's environment");
    }

    #[test]
    fn a_refused_handshake_leaves_a_line_that_says_why_and_whose_it_was() {
        let mut context = ApiGatewayWebsocketProxyRequestContext::default();
        context.connection_id = Some("BFHPhfCWIAMCKlQ=".to_owned());
        context.authorizer.fields.insert("principalId".to_owned(), "ann".into());
        let log = Log::default();
        log.during(|| log_refused(&context, 503, "all places are taken"));
        let line = log.text();
        for part in ["INFO", "BFHPhfCWIAMCKlQ=", "ann", "503", "all places are taken"] {
            assert!(line.contains(part), "{part}: {line}");
        }
    }
}
