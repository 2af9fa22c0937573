//! `/api/conversations/{id}/messages`

use axum::Json;
use axum::extract::{Path, State};
use serde::Serialize;
use shared::Error;
use shared::conversations::{Order, Range};
use shared::ids::{ConversationId, MessageId};
use shared::protocol::Message;
use utoipa::{IntoParams, ToSchema};

use crate::Deps;
use crate::conversations::limit;
use crate::input::{Query, Speaker};
use crate::problem::{Always, ByName, OfList, Problem};

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MessagePage {
    items: Vec<Message>,
    /// Of the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next_cursor: Option<String>,
}

#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "the documentation of what `Query` reads")]
pub(crate) struct HistoryQuery {
    /// At most this many items.
    #[param(minimum = 1, maximum = 100, default = 20, nullable = false)]
    limit: Option<u32>,
    /// `nextCursor` of the page before. It holds `order` and `after` too.
    #[param(nullable = false)]
    cursor: Option<String>,
    /// `asc`: the oldest first. `desc`: the newest first.
    #[param(pattern = "^(asc|desc)$", default = "asc", nullable = false)]
    order: Option<String>,
    /// The id of a message or answer: gives only what came after it.
    #[param(nullable = false)]
    after: Option<String>,
}

fn order(text: &str) -> Result<Order, Error> {
    match text {
        "asc" => Ok(Order::Asc),
        "desc" => Ok(Order::Desc),
        _ => Err(Error::invalid("order", "must be asc or desc")),
    }
}

fn message_id(text: &str) -> Result<MessageId, Error> {
    MessageId::parse_any(text).ok_or(Error::MessageNotFound)
}

/// Lists the messages and answers of a conversation in the order in which they came.
#[utoipa::path(get, path = "/api/conversations/{id}/messages", operation_id = "listMessages", tag = "messages",
    params(("id" = String, Path), HistoryQuery),
    responses(
        (status = 200, description = "Some of them", body = MessagePage),
        Always,
        ByName,
        OfList,
    )
)]
pub(crate) async fn list(
    State(deps): State<Deps>,
    speaker: Speaker,
    Path(id): Path<String>,
    Query(mut query): Query,
) -> Result<Json<MessagePage>, Problem> {
    let limit = limit(&mut query);
    let (cursor, order, after) = (query.text("cursor"), query.parsed("order", order), query.text("after"));
    query.ignore_others();
    query.finish()?;
    let id = ConversationId::parse(&id)?;
    let after = after.as_deref().map(message_id).transpose()?;
    let page = deps.conversations.history(&speaker.user, &id, &Range { order, after, cursor }, limit).await?;
    Ok(Json(MessagePage { items: Message::of_all(&page.items, &deps.media).await?, next_cursor: page.next }))
}

/// Gives one message or answer.
#[utoipa::path(get, path = "/api/conversations/{id}/messages/{messageId}", operation_id = "getMessage",
    tag = "messages",
    params(("id" = String, Path), ("messageId" = String, Path)),
    responses(
        (status = 200, description = "As it is now", body = Message),
        Always,
        ByName,
    )
)]
pub(crate) async fn get(
    State(deps): State<Deps>,
    speaker: Speaker,
    Path((id, message)): Path<(String, String)>,
) -> Result<Json<Message>, Problem> {
    let id = ConversationId::parse(&id)?;
    let message = deps.conversations.message(&speaker.user, &id, &message_id(&message)?).await?;
    Ok(Json(Message::of(&message, &deps.media).await?))
}
