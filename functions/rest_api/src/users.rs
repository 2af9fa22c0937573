//! `/api/me`

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use shared::clock::Timestamp;
use shared::ids::UserId;
use utoipa::ToSchema;

use crate::Deps;
use crate::input::Speaker;
use crate::problem::{Always, Problem};

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct User {
    #[schema(value_type = String)]
    id: UserId,
    username: String,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

impl From<shared::users::User> for User {
    fn from(user: shared::users::User) -> Self {
        let shared::users::User { id, username, created_at } = user;
        Self { id, username, created_at }
    }
}

/// Gives the user of the token. The first call of a new user creates it.
#[utoipa::path(get, path = "/api/me", operation_id = "getMe", tag = "users", responses(
    (status = 200, description = "The user", body = User),
    Always,
))]
pub(crate) async fn me(State(deps): State<Deps>, speaker: Speaker) -> Result<Json<User>, Problem> {
    Ok(Json(deps.users.meet(&speaker.user, &speaker.username).await?.into()))
}
