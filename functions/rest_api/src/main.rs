//! The REST API: users, conversations and their history, and the connected clients for administrators. It stands behind
//! an HTTP API whose JWT authorizer has verified the token.
//!
//! [`api`] has the routes, each beside its documentation. The OpenAPI document is made from them. [`problem`] says what
//! errors look like, and [`input`] reads requests.

mod admin;
mod admission;
mod api;
mod conversations;
mod docs;
#[cfg(test)]
mod hostile;
mod input;
mod media;
mod messages;
mod problem;
mod users;

use std::sync::Arc;

use shared::clock::Clock;
use shared::conversations::Conversations;
use shared::lambda::Failure;
use shared::leases::Leases;
use shared::media::Media;
use shared::push::Push;
use shared::users::Users;

/// The parts that the routes use.
#[derive(Debug, Clone)]
struct Deps {
    conversations: Conversations,
    leases: Leases,
    media: Media,
    users: Users,
    push: Arc<dyn Push>,
    clock: Arc<dyn Clock>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let app = shared::lambda::start().await;
    let deps = Deps {
        conversations: app.conversations()?,
        leases: app.leases()?,
        media: app.media()?,
        users: app.users()?,
        push: app.push()?,
        clock: app.clock(),
    };
    lambda_http::run(api::router(deps)).await.map_err(Failure::from)
}
