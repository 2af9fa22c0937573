//! `cancel`: stops the answer to a message. A `reply` tells what came of it. If no worker had begun with the message,
//! this function sends that `reply`. Otherwise the worker that has the message sends it.
//!
//! The route has no response, because there is nothing to say when all is well. An error is pushed to the client.

use std::sync::Arc;

use aws_lambda_events::apigw::{ApiGatewayProxyResponse, ApiGatewayWebsocketProxyRequest};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use shared::answer::Finisher;
use shared::lambda::{Failure, Speaker, log, status};
use shared::leases::Leases;
use shared::protocol::{ServerFrame, id_of, parse_cancel};
use shared::push::{Push, PushError};

struct Deps {
    leases: Leases,
    finisher: Finisher,
    push: Arc<dyn Push>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let app = shared::lambda::start().await;
    let deps = Deps { leases: app.leases()?, finisher: app.finisher()?, push: app.push_once()? };
    run(service_fn(|event| cancel(&deps, event))).await.map_err(Failure::from)
}

async fn cancel(
    deps: &Deps,
    event: LambdaEvent<ApiGatewayWebsocketProxyRequest>,
) -> Result<ApiGatewayProxyResponse, Error> {
    let event = event.payload;
    let speaker = Speaker::of(&event.request_context)?;
    let body = event.body.as_deref().unwrap_or_default();
    let cancelled = async {
        let message = parse_cancel(body)?;
        // As in every route, a client is heard only while it holds a place.
        deps.leases.renew(&speaker.user, &speaker.connection).await?;
        deps.finisher.cancel(&speaker.user, &message).await
    };
    if let Err(error) = cancelled.await {
        log(&event.request_context, &error);
        let frame = ServerFrame::error(id_of(body), &error).to_json();
        match deps.push.post(&speaker.connection, frame).await {
            Ok(()) | Err(PushError::Gone) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(status(200))
}
