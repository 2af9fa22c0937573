//! `$disconnect`: gives the place back. AWS does not promise this event. If it never comes, the lease ends by itself.
//! If it comes late, it finds another connection's lease and changes nothing.

use aws_lambda_events::apigw::{ApiGatewayProxyResponse, ApiGatewayWebsocketProxyRequest};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use shared::lambda::{Speaker, log, status};
use shared::leases::Leases;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let app = shared::lambda::start().await;
    let leases = app.leases()?;
    run(service_fn(|event| disconnect(&leases, event))).await
}

async fn disconnect(
    leases: &Leases,
    event: LambdaEvent<ApiGatewayWebsocketProxyRequest>,
) -> Result<ApiGatewayProxyResponse, Error> {
    let context = event.payload.request_context;
    let released = async {
        let speaker = Speaker::of(&context)?;
        leases.release(&speaker.user, &speaker.connection).await
    };
    match released.await {
        Ok(_) => Ok(status(200)),
        Err(error) => {
            log(&context, &error);
            Err(error.into())
        }
    }
}
