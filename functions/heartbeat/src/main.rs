//! `heartbeat`: renews the client's lease and tells it when the lease ends. If the client waits for an answer, the
//! heartbeat also checks that the answer is on its way.

use aws_lambda_events::apigw::{ApiGatewayProxyResponse, ApiGatewayWebsocketProxyRequest};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use shared::answer::Rescuer;
use shared::lambda::{Failure, Speaker, log, refuse, respond};
use shared::leases::Leases;
use shared::protocol::ServerFrame;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let app = shared::lambda::start().await;
    let (leases, rescuer) = (app.leases()?, app.rescuer()?);
    run(service_fn(|event| heartbeat(&leases, &rescuer, event))).await.map_err(Failure::from)
}

async fn heartbeat(
    leases: &Leases,
    rescuer: &Rescuer,
    event: LambdaEvent<ApiGatewayWebsocketProxyRequest>,
) -> Result<ApiGatewayProxyResponse, Error> {
    let event = event.payload;
    let renewed = async {
        let speaker = Speaker::of(&event.request_context)?;
        let renewed = leases.renew(&speaker.user, &speaker.connection).await?;
        if let Err(error) = rescuer.look_after(&speaker.user, &renewed.pending).await {
            // The next heartbeat looks again.
            log(&event.request_context, &error);
        }
        Ok(renewed)
    };
    Ok(match renewed.await {
        Ok(renewed) => respond(ServerFrame::Heartbeat { lease_expires_at: renewed.expires_at }),
        Err(error) => refuse(&event, None, &error),
    })
}
