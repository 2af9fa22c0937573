//! `$default`: whatever no other route takes: not JSON, no action, an unknown one.

use aws_lambda_events::apigw::{ApiGatewayProxyResponse, ApiGatewayWebsocketProxyRequest};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use shared::lambda::refuse;
use shared::protocol::id_of;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    shared::lambda::start().await;
    run(service_fn(default_route)).await
}

async fn default_route(event: LambdaEvent<ApiGatewayWebsocketProxyRequest>) -> Result<ApiGatewayProxyResponse, Error> {
    let event = event.payload;
    let id = event.body.as_deref().and_then(id_of);
    Ok(refuse(&event, id, &shared::Error::UnknownAction))
}
