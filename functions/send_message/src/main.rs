//! `sendMessage`: admits a message, queues it and answers `accepted`.
//!
//! Admission comes first and is durable; a crash before the queue is healed by the client, which sends the id again.
//!
//! Who sends a message again that has ended is told its `reply` or `error` again, by a worker. From here it would come
//! before `accepted`, which is this function's response, and this function would have to be allowed to post to
//! connections. Nobody who asks is left untold: a message that is read here as not ended ends after this read, and the
//! address to tell it at is read after that; by then the asking connection has the place, or has lost it to another.

use aws_lambda_events::apigw::{ApiGatewayProxyResponse, ApiGatewayWebsocketProxyRequest};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use shared::config::AdmissionConfig;
use shared::ids::MessageId;
use shared::lambda::{Failure, Speaker, refuse, respond};
use shared::media::Media;
use shared::messages::{Admission, Messages};
use shared::protocol::{Message, ServerFrame, parse_send_message};
use shared::queue::{Job, Queue};

struct Deps {
    messages: Messages,
    media: Media,
    queue: Queue,
    limits: AdmissionConfig,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let app = shared::lambda::start().await;
    let deps = Deps { messages: app.messages()?, media: app.media()?, queue: app.queue()?, limits: app.limits()? };
    run(service_fn(|event| send_message(&deps, event))).await.map_err(Failure::from)
}

async fn send_message(
    deps: &Deps,
    event: LambdaEvent<ApiGatewayWebsocketProxyRequest>,
) -> Result<ApiGatewayProxyResponse, Error> {
    let event = event.payload;
    Ok(match accept(deps, &event).await {
        Ok(frame) => respond(frame),
        Err((id, error)) => refuse(&event, id, &error),
    })
}

async fn accept(
    deps: &Deps,
    event: &ApiGatewayWebsocketProxyRequest,
) -> Result<ServerFrame, (Option<MessageId>, shared::Error)> {
    let body = event.body.as_deref().unwrap_or_default();
    let draft = parse_send_message(body, deps.limits.max_text_bytes)?;
    let admitted = async {
        let speaker = Speaker::of(&event.request_context)?;
        let admission = deps.messages.admit(&speaker.user, &speaker.connection, &draft, &deps.limits).await?;
        let (message, duplicate) = match &admission {
            Admission::New(message) => (message, false),
            Admission::Duplicate(message) => (message, true),
        };
        if message.status.is_final() {
            // Whoever has not heard of the end hears of it now, from the worker: behind what it is telling at the
            // moment.
            deps.queue.tell(message, event.request_context.request_id.as_deref().unwrap_or_default()).await?;
        } else {
            deps.queue.send(&Job::from(message)).await?;
        }
        let shown = Message::of(message, &deps.media).await?;
        Ok(ServerFrame::Accepted { id: message.id.clone(), duplicate, message: shown })
    };
    admitted.await.map_err(|error| (Some(draft.id.clone()), error))
}
