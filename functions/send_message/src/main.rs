//! `sendMessage`: admits a message, queues it and answers `accepted`.
//!
//! The message is stored before it is queued. If this function crashes in between, the client sends the same id again,
//! and then the message is queued.
//!
//! A client may send a message again that has already ended. Then a worker tells the `reply` or `error` again. This
//! function does not: its frame would arrive before `accepted`, which is its response, and it would need the permission
//! to post to connections.
//!
//! A client that asks always learns the end. If this function still reads the message as unfinished, then the message
//! ends after that, and the function that ends it looks up the user's connection only then. That is the asking
//! connection, unless it has lost its place to another one.

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
            // The queue hands this job to a worker after the one that it is working on, so the end is told again after
            // that.
            deps.queue.tell(message, event.request_context.request_id.as_deref().unwrap_or_default()).await?;
        } else {
            deps.queue.send(&Job::from(message)).await?;
        }
        let shown = Message::of(message, &deps.media).await?;
        Ok(ServerFrame::Accepted { id: message.id.clone(), duplicate, message: shown })
    };
    admitted.await.map_err(|error| (Some(draft.id.clone()), error))
}
