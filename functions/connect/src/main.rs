//! `$connect`: takes a place for the user, or refuses with a status. 409: the user is connected with another session,
//! and the client did not ask for `takeover=true`. 503: all places are taken.

use aws_lambda_events::apigw::{ApiGatewayProxyResponse, ApiGatewayWebsocketProxyRequest};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use shared::auth::selected_subprotocol;
use shared::lambda::{Failure, Speaker, log, log_refused, status, username};
use shared::leases::{Connected, Handshake, Leases};
use shared::protocol::ClosingCode;
use shared::push::{Push, REPLACED, dismiss};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let app = shared::lambda::start().await;
    let leases = app.leases()?;
    let push = app.push()?;
    run(service_fn(|event| connect(&leases, &*push, event))).await.map_err(Failure::from)
}

async fn connect(
    leases: &Leases,
    push: &dyn Push,
    event: LambdaEvent<ApiGatewayWebsocketProxyRequest>,
) -> Result<ApiGatewayProxyResponse, Error> {
    let event = event.payload;
    let result = async {
        let speaker = Speaker::of(&event.request_context)?;
        let query = &event.query_string_parameters;
        let handshake = Handshake {
            username: username(&event.request_context),
            ..Handshake::parse(query.first("session"), query.first("takeover"))?
        };
        leases.connect(&speaker.user, &speaker.connection, &handshake).await
    };
    let replaced = match result.await {
        Ok(Connected::Granted { replaced, .. }) => replaced,
        Ok(Connected::AlreadyConnected) => {
            return Ok(refuse(&event, 409, "the user is connected with another session"));
        }
        Ok(Connected::Full) => return Ok(refuse(&event, 503, "all places are taken")),
        Err(error @ shared::Error::BadRequest(_)) => return Ok(refuse(&event, 400, &error.to_string())),
        Err(error) => {
            log(&event.request_context, &error);
            return Err(error.into());
        }
    };
    if let Some(old) = replaced {
        // The old connection has lost its place even if this call fails. The janitor tries again.
        let told = dismiss(push, &old, ClosingCode::Replaced, REPLACED).await;
        if let Err(error) = told {
            tracing::warn!(connection = %old, "The replaced connection was not closed: {error}");
        }
    }
    let mut response = status(200);
    let offered = event.headers.get("sec-websocket-protocol").and_then(|value| value.to_str().ok());
    if let Some(selected) = selected_subprotocol(offered) {
        response.headers.insert("Sec-WebSocket-Protocol", selected.parse()?);
    }
    Ok(response)
}

fn refuse(event: &ApiGatewayWebsocketProxyRequest, code: i64, reason: &str) -> ApiGatewayProxyResponse {
    log_refused(&event.request_context, code, reason);
    status(code)
}
