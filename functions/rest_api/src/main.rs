//! The REST API: users, conversations and their history; and who has the places, for administrators. Behind an HTTP API whose JWT authorizer has verified who speaks.
//!
//! [`api`] has the routes, each beside its documentation, from which the OpenAPI document is made; [`problem`] what errors
//! look like; [`input`] how requests are read.

mod admin;
mod admission;
mod api;
mod conversations;
mod docs;
mod input;
mod media;
mod messages;
mod problem;
mod users;

use std::sync::Arc;

use lambda_http::Error;
use shared::clock::{Clock, SystemClock};
use shared::config::{ChatConfig, LeaseConfig, MediaConfig, environment};
use shared::conversations::Conversations;
use shared::ids::Random;
use shared::leases::Leases;
use shared::media::Media;
use shared::messages::Messages;
use shared::push::{ManagementApi, Push};
use shared::users::Users;

/// What the routes work with.
#[derive(Debug, Clone)]
struct Deps {
    conversations: Conversations,
    leases: Leases,
    media: Media,
    messages: Messages,
    users: Users,
    push: Arc<dyn Push>,
    clock: Arc<dyn Clock>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let aws = shared::route::init().await;
    let db = aws_sdk_dynamodb::Client::new(&aws);
    let random = Arc::new(Random::from_system());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let chat = ChatConfig::read(&environment)?;
    let leases = Leases::new(db.clone(), LeaseConfig::read(&environment)?, clock.clone(), random.clone());
    let media = Media::new(&aws, &environment, MediaConfig::read(&environment)?, clock.clone(), random.clone())?;
    let messages =
        Messages::new(db.clone(), chat.clone(), leases.clone(), media.clone(), clock.clone(), random.clone());
    let deps = Deps {
        conversations: Conversations::new(
            db.clone(),
            chat.clone(),
            messages.clone(),
            media.clone(),
            clock.clone(),
            random.clone(),
        ),
        leases,
        media,
        messages,
        users: Users::new(db, chat, clock.clone(), random),
        push: Arc::new(ManagementApi(aws_sdk_apigatewaymanagement::Client::new(&aws))),
        clock,
    };
    lambda_http::run(api::router(deps)).await
}
