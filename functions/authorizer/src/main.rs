//! Decides who may connect: a bearer token of the configured issuer, from the `Authorization` header or a subprotocol.

use aws_lambda_events::apigw::{ApiGatewayCustomAuthorizerRequestTypeRequest, ApiGatewayCustomAuthorizerResponse};
use aws_lambda_events::iam::{IamPolicyEffect, IamPolicyStatement};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde_json::{Value, json};
use shared::auth::{AuthError, Verifier, token_of};

/// The error text that API Gateway answers with 401.
const UNAUTHORIZED: &str = "Unauthorized";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let verifier = shared::lambda::start().await.verifier()?;
    if let Err(error) = verifier.warm_up().await {
        // Not fatal: tried again with the first token.
        tracing::warn!("{error}");
    }
    run(service_fn(|event| authorize(&verifier, event))).await
}

async fn authorize(
    verifier: &Verifier,
    event: LambdaEvent<ApiGatewayCustomAuthorizerRequestTypeRequest>,
) -> Result<ApiGatewayCustomAuthorizerResponse<Value>, Error> {
    let request = event.payload;
    let header = |name: &str| request.headers.get(name).and_then(|value| value.to_str().ok());
    let Some(token) = token_of(header("authorization"), header("sec-websocket-protocol")) else {
        return Err(UNAUTHORIZED.into());
    };
    match verifier.verify(token).await {
        Ok(identity) => {
            let mut statement = IamPolicyStatement::default();
            statement.action = vec!["execute-api:Invoke".to_owned()];
            statement.effect = IamPolicyEffect::Allow;
            statement.resource = vec![request.method_arn.unwrap_or_default()];
            let mut response = ApiGatewayCustomAuthorizerResponse::default();
            response.principal_id = Some(identity.user.to_string());
            response.policy_document.version = Some("2012-10-17".to_owned());
            response.policy_document.statement = vec![statement];
            response.context = json!({ "username": identity.username.unwrap_or_default() });
            Ok(response)
        }
        Err(AuthError::Refused(reason)) => {
            tracing::debug!(reason, "Refused a token");
            Err(UNAUTHORIZED.into())
        }
        Err(error @ AuthError::Unavailable(_)) => {
            tracing::error!("{error}");
            Err(error.into())
        }
    }
}
