//! `/api/conversations`

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use shared::clock::Timestamp;
use shared::conversations::{self, Title};
use shared::ids::ConversationId;
use shared::paging::Limit;
use utoipa::{IntoParams, ToSchema};

use crate::Deps;
use crate::input::{Body, Fields, Query, Speaker};
use crate::problem::{Always, ByName, OfList, Problem, WithBody};

/// How long the request itself deletes. The janitor deletes the rest of a long conversation.
const SWEEP_FOR: Duration = Duration::from_secs(2);

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Conversation {
    #[schema(value_type = String)]
    id: ConversationId,
    title: String,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When a message was last sent, or the title changed.
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
}

impl From<conversations::Conversation> for Conversation {
    fn from(conversation: conversations::Conversation) -> Self {
        let conversations::Conversation { id, title, created_at, updated_at } = conversation;
        Self { id, title, created_at, updated_at }
    }
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ConversationPage {
    items: Vec<Conversation>,
    /// Of the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next_cursor: Option<String>,
}

/// A new conversation.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "the schema of what `Body` reads")]
pub(crate) struct NewConversation {
    #[schema(min_length = 1, max_length = 100, default = "New conversation", nullable = false)]
    title: Option<String>,
}

/// The changes to a conversation.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "the schema of what `Body` reads")]
pub(crate) struct ConversationChange {
    #[schema(min_length = 1, max_length = 100)]
    title: String,
}

#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "the documentation of what `Query` reads")]
pub(crate) struct PageQuery {
    /// At most this many items.
    #[param(minimum = 1, maximum = 100, default = 20, nullable = false)]
    limit: Option<u32>,
    /// `nextCursor` of the page before.
    #[param(nullable = false)]
    cursor: Option<String>,
}

/// Reads `limit`, or takes its default.
pub(crate) fn limit(query: &mut Fields) -> Limit {
    let parse = |text: &str| Limit::new(text.parse().unwrap_or(0));
    query.parsed("limit", parse).unwrap_or(Limit::DEFAULT)
}

/// Makes a conversation.
#[utoipa::path(post, path = "/api/conversations", operation_id = "createConversation", tag = "conversations",
    request_body(content = NewConversation, content_type = "application/json"),
    responses(
        (status = 201, description = "It is made", body = Conversation,
            headers(("location" = String, description = "Its path"))),
        Always,
        WithBody,
    )
)]
pub(crate) async fn create(
    State(deps): State<Deps>,
    speaker: Speaker,
    Body(mut fields): Body,
) -> Result<impl IntoResponse, Problem> {
    let title = fields.parsed("title", Title::parse).unwrap_or_default();
    fields.finish()?;
    let made: Conversation = deps.conversations.create(&speaker.user, title).await?.into();
    let location = format!("/api/conversations/{}", made.id);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(made)))
}

/// Lists the user's conversations, the most recently used first.
#[utoipa::path(get, path = "/api/conversations", operation_id = "listConversations",
    tag = "conversations", params(PageQuery), responses(
    (status = 200, description = "Some of them", body = ConversationPage),
    Always,
    OfList,
))]
pub(crate) async fn list(
    State(deps): State<Deps>,
    speaker: Speaker,
    Query(mut query): Query,
) -> Result<Json<ConversationPage>, Problem> {
    let limit = limit(&mut query);
    let cursor = query.text("cursor");
    query.ignore_others();
    query.finish()?;
    let page = deps.conversations.list(&speaker.user, limit, cursor.as_deref()).await?;
    Ok(Json(ConversationPage { items: page.items.into_iter().map(Into::into).collect(), next_cursor: page.next }))
}

/// Gives one conversation.
#[utoipa::path(get, path = "/api/conversations/{id}", operation_id = "getConversation",
    tag = "conversations", params(("id" = String, Path)), responses(
    (status = 200, description = "As it is now", body = Conversation),
    Always,
    ByName,
))]
pub(crate) async fn get(
    State(deps): State<Deps>,
    speaker: Speaker,
    Path(id): Path<String>,
) -> Result<Json<Conversation>, Problem> {
    let conversation = deps.conversations.get(&speaker.user, &ConversationId::parse(&id)?).await?;
    Ok(Json(conversation.into()))
}

/// Gives a conversation another title.
#[utoipa::path(patch, path = "/api/conversations/{id}", operation_id = "renameConversation",
    tag = "conversations", params(("id" = String, Path)),
    request_body(content = ConversationChange, content_type = "application/json"),
    responses(
        (status = 200, description = "As it is now", body = Conversation),
        Always,
        ByName,
        WithBody,
    )
)]
pub(crate) async fn rename(
    State(deps): State<Deps>,
    speaker: Speaker,
    Path(id): Path<String>,
    Body(mut fields): Body,
) -> Result<Json<Conversation>, Problem> {
    let title = fields.parsed("title", Title::parse);
    let title = fields.required("title", title).unwrap_or_default();
    fields.finish()?;
    let renamed = deps.conversations.rename(&speaker.user, &ConversationId::parse(&id)?, title).await?;
    Ok(Json(renamed.into()))
}

/// Deletes a conversation with its messages and media. It is gone at once. The messages of a long one are deleted soon
/// after.
#[utoipa::path(delete, path = "/api/conversations/{id}", operation_id = "deleteConversation",
    tag = "conversations", params(("id" = String, Path)), responses(
    (status = 204, description = "It is gone"),
    Always,
    ByName,
))]
pub(crate) async fn delete(
    State(deps): State<Deps>,
    speaker: Speaker,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let deletion = deps.conversations.delete(&speaker.user, &ConversationId::parse(&id)?).await?;
    if let Err(error) = deps.conversations.sweep(&deletion, SWEEP_FOR).await {
        tracing::warn!(conversation = id, "The janitor will delete the rest of the conversation: {error}");
    }
    Ok(StatusCode::NO_CONTENT)
}
