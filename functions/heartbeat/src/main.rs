//! `heartbeat`: renews the lease of a client that has spoken, and tells when it ends.

use aws_lambda_events::apigw::{ApiGatewayProxyResponse, ApiGatewayWebsocketProxyRequest};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use shared::lambda::{Speaker, refuse, respond};
use shared::leases::Leases;
use shared::protocol::ServerFrame;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let app = shared::lambda::start().await;
    let leases = app.leases()?;
    run(service_fn(|event| heartbeat(&leases, event))).await
}

async fn heartbeat(
    leases: &Leases,
    event: LambdaEvent<ApiGatewayWebsocketProxyRequest>,
) -> Result<ApiGatewayProxyResponse, Error> {
    let event = event.payload;
    let renewed = async {
        let speaker = Speaker::of(&event.request_context)?;
        leases.renew(&speaker.user, &speaker.connection).await
    };
    Ok(match renewed.await {
        Ok(lease_expires_at) => respond(ServerFrame::Heartbeat { lease_expires_at }),
        Err(error) => refuse(&event, None, &error),
    })
}
