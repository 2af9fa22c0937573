//! Decides who may connect. A client needs a bearer token of the configured issuer, in the `Authorization` header or in
//! a subprotocol.

use aws_lambda_events::apigw::{ApiGatewayCustomAuthorizerRequestTypeRequest, ApiGatewayCustomAuthorizerResponse};
use aws_lambda_events::iam::{IamPolicyEffect, IamPolicyStatement};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde_json::{Value, json};
use shared::auth::{AuthError, Verifier, token_of};
use shared::lambda::Failure;

/// The error text that API Gateway answers with 401.
const UNAUTHORIZED: &str = "Unauthorized";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let verifier = shared::lambda::start().await.verifier()?;
    if let Err(error) = verifier.warm_up().await {
        // This is not fatal: the first token makes it try again.
        tracing::warn!("{error}");
    }
    run(service_fn(|event| authorize(&verifier, event))).await.map_err(Failure::from)
}

async fn authorize(
    verifier: &Verifier,
    event: LambdaEvent<ApiGatewayCustomAuthorizerRequestTypeRequest>,
) -> Result<ApiGatewayCustomAuthorizerResponse<Value>, Error> {
    let request = event.payload;
    let header = |name: &str| request.headers.get(name).and_then(|value| value.to_str().ok());
    // The log never has the token: anybody who reads the log could use it.
    let request_id = request.request_context.request_id.as_deref().unwrap_or_default();
    let refuse = |reason: &str| {
        tracing::info!(request = request_id, reason, "Refused a token");
        Err(UNAUTHORIZED.into())
    };
    let Some(token) = token_of(header("authorization"), header("sec-websocket-protocol")) else {
        return refuse(
            "the handshake has no token, neither in the header Authorization nor as subprotocol bearer.TOKEN",
        );
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
        Err(AuthError::Refused(reason)) => refuse(reason),
        Err(error @ AuthError::Unavailable(_)) => {
            tracing::error!(request = request_id, "{error}");
            Err(error.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    use lambda_runtime::Context;
    use lambda_runtime::tracing::subscriber;
    use shared::clock::SystemClock;
    use shared::config::AuthConfig;

    use super::*;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("the log").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_refused_token_leaves_a_line_that_says_why_and_not_the_token() {
        // Nobody asks the issuer here: each token is refused before that.
        let config = AuthConfig { issuer: "http://127.0.0.1".to_owned(), audience: "parley".to_owned() };
        let verifier = Verifier::new(config, Arc::new(SystemClock)).expect("a verifier");
        // The last two are {"alg":"HS256"} and {"alg":"ES256"}, without a key's id.
        for (header, why) in [
            (None, "has no token"),
            (Some("Bearer c2VjcmV0LXRva2Vu"), "it is no JWT"),
            (Some("Bearer eyJhbGciOiJIUzI1NiJ9.c2VjcmV0.c2VjcmV0"), "signature algorithm is not accepted"),
            (Some("Bearer eyJhbGciOiJFUzI1NiJ9.c2VjcmV0.c2VjcmV0"), "does not say which key signed it"),
        ] {
            let log = Log::default();
            let written = log.clone();
            let subscriber = subscriber::fmt().with_ansi(false).with_writer(move || written.clone()).finish();
            let guard = tracing::subscriber::set_default(subscriber);
            let mut request = ApiGatewayCustomAuthorizerRequestTypeRequest::default();
            request.request_context.request_id = Some("the-request".to_owned());
            if let Some(header) = header {
                request.headers.insert("authorization", header.parse().expect("a header"));
            }
            let refused = authorize(&verifier, LambdaEvent::new(request, Context::default())).await;
            drop(guard);
            assert_eq!(refused.expect_err("it is refused").to_string(), UNAUTHORIZED);
            let line = String::from_utf8_lossy(&log.0.lock().expect("the log")).into_owned();
            assert!(line.contains(why) && line.contains("the-request") && line.contains("INFO"), "{why}: {line}");
            assert!(!line.contains("c2VjcmV0"), "{line}");
        }
    }
}
