//! `$default` takes the frames that no other route takes: not JSON, no action, or an unknown action.

use aws_lambda_events::apigw::{ApiGatewayProxyResponse, ApiGatewayWebsocketProxyRequest};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use shared::lambda::{Failure, refuse};
use shared::protocol::unroutable;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    shared::lambda::start().await;
    run(service_fn(default_route)).await.map_err(Failure::from)
}

async fn default_route(event: LambdaEvent<ApiGatewayWebsocketProxyRequest>) -> Result<ApiGatewayProxyResponse, Error> {
    let event = event.payload;
    let (id, error) = unroutable(event.body.as_deref().unwrap_or_default());
    Ok(refuse(&event, id, &error))
}
