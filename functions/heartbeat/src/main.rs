//! `heartbeat`: renews the lease of a client that has spoken, and tells when it ends.

use std::sync::Arc;

use aws_lambda_events::apigw::{ApiGatewayProxyResponse, ApiGatewayWebsocketProxyRequest};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use shared::clock::SystemClock;
use shared::config::{LeaseConfig, environment};
use shared::ids::Random;
use shared::leases::Leases;
use shared::protocol::ServerFrame;
use shared::route::{Speaker, refuse, respond};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let aws = shared::route::init().await;
    let db = aws_sdk_dynamodb::Client::new(&aws);
    let random = Arc::new(Random::from_system());
    let leases = Leases::new(db, LeaseConfig::read(&environment)?, Arc::new(SystemClock), random);
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
