//! `/api/admin`: lists the clients that hold places, closes them, and lists all users. It is for members of the group
//! `admin`. [`guard`] checks every request under this path, also for paths that do not exist.

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use lambda_http::RequestExt as _;
use lambda_http::request::RequestContext;
use serde::Serialize;
use shared::Error;
use shared::clock::Timestamp;
use shared::ids::UserId;
use shared::leases::Holder;
use shared::protocol::ClosingCode;
use shared::push::{CLOSED_BY_ADMIN, dismiss};
use shared::users::MAX_PREFIX_CHARS;
use utoipa::{IntoParams, ToSchema};

use crate::Deps;
use crate::conversations::limit;
use crate::input::{Query, Speaker};
use crate::problem::{Always, ByName, Forbidden, OfList, Problem};
use crate::users::User;

const PATH: &str = "/api/admin";
const GROUP: &str = "admin";

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Clients {
    /// The number of places.
    capacity: u32,
    /// The clients that hold one, by slot.
    items: Vec<Client>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Client {
    slot: u32,
    #[schema(value_type = String)]
    user_id: UserId,
    username: String,
    /// The time of the client's present connection. Absent if the place was taken before this was stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, format = DateTime, required = false)]
    connected_at: Option<Timestamp>,
    /// The time at which the client loses its place, if it sends nothing until then.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
    /// Messages that are not answered yet.
    pending: usize,
}

impl From<Holder> for Client {
    fn from(Holder { user, lease }: Holder) -> Self {
        Self {
            slot: lease.slot,
            username: lease.username.clone().unwrap_or_else(|| user.to_string()),
            user_id: user,
            connected_at: lease.connected_at,
            expires_at: lease.expires_at,
            pending: lease.unanswered().count(),
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UserPage {
    items: Vec<User>,
    /// Of the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next_cursor: Option<String>,
}

#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "the documentation of what `Query` reads")]
pub(crate) struct UsersQuery {
    /// At most this many items.
    #[param(minimum = 1, maximum = 100, default = 20, nullable = false)]
    limit: Option<u32>,
    /// `nextCursor` of the page before; it brings `username` with it.
    #[param(nullable = false)]
    cursor: Option<String>,
    /// Only users whose name begins with this, in small letters or capitals.
    #[param(max_length = 128, nullable = false)]
    username: Option<String>,
}

/// Lists the clients that hold a place now.
#[utoipa::path(get, path = "/api/admin/clients", operation_id = "listClients", tag = "admin", responses(
    (status = 200, description = "All places that are taken", body = Clients),
    Always,
    Forbidden,
))]
pub(crate) async fn clients(State(deps): State<Deps>) -> Result<Json<Clients>, Problem> {
    let items = deps.leases.holders().await?.into_iter().map(Client::from).collect();
    Ok(Json(Clients { capacity: deps.leases.capacity(), items }))
}

/// Takes a user's place away. The client is told `closing` and its connection is closed. The user may connect again.
#[utoipa::path(delete, path = "/api/admin/clients/{userId}", operation_id = "closeClient",
    tag = "admin", params(("userId" = String, Path)), responses(
    (status = 204, description = "Its place is free"),
    Always,
    Forbidden,
    ByName,
))]
pub(crate) async fn close(State(deps): State<Deps>, Path(user): Path<String>) -> Result<StatusCode, Problem> {
    let no_place = || Problem::not_found("This user holds no place");
    let user = UserId::parse(&user).map_err(|_| no_place())?;
    let connection = deps.leases.close(&user).await?.ok_or_else(no_place)?;
    let told = dismiss(&*deps.push, &connection, ClosingCode::ClosedByAdmin, CLOSED_BY_ADMIN).await;
    if let Err(error) = told {
        // The connection has lost its place even if this call fails. The janitor tries again.
        tracing::warn!(%connection, "The connection could not be closed; the janitor tries again: {error}");
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Lists all users by name.
#[utoipa::path(get, path = "/api/admin/users", operation_id = "listUsers", tag = "admin", params(UsersQuery), responses(
    (status = 200, description = "Some of them", body = UserPage),
    Always,
    Forbidden,
    OfList,
))]
pub(crate) async fn users(
    State(deps): State<Deps>,
    speaker: Speaker,
    Query(mut query): Query,
) -> Result<Json<UserPage>, Problem> {
    let limit = limit(&mut query);
    let cursor = query.text("cursor");
    let prefix = query.parsed("username", |text| match text.chars().count() {
        ..=MAX_PREFIX_CHARS => Ok(text.to_owned()),
        _ => Err(Error::invalid("username", format!("must have at most {MAX_PREFIX_CHARS} characters"))),
    });
    query.ignore_others();
    query.finish()?;
    let page = deps.users.list(&speaker.user, prefix.as_deref(), limit, cursor.as_deref()).await?;
    Ok(Json(UserPage { items: page.items.into_iter().map(Into::into).collect(), next_cursor: page.next }))
}

/// Refuses everybody but administrators under this path. A preflight passes: it asks for nothing.
pub(crate) async fn guard(request: Request, next: Next) -> Response {
    let below = request.uri().path().strip_prefix(PATH);
    let is_guarded = below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if is_guarded && request.method() != Method::OPTIONS && !is_admin(&request) {
        return Problem::new(StatusCode::FORBIDDEN, "Only members of the group admin may do this").into_response();
    }
    next.run(request).await
}

fn is_admin(request: &Request) -> bool {
    let Some(RequestContext::ApiGatewayV2(context)) = request.request_context_ref() else { return false };
    let jwt = context.authorizer.as_ref().and_then(|authorizer| authorizer.jwt.as_ref());
    let groups = jwt.and_then(|jwt| jwt.claims.get("cognito:groups"));
    groups.is_some_and(|groups| groups_of(groups).iter().any(|group| group == GROUP))
}

/// Reads a list from a claim. API Gateway writes it as one text, `[admin other]`. Others write JSON, or one name alone.
pub(crate) fn groups_of(claim: &str) -> Vec<String> {
    let claim = claim.trim();
    if let Ok(groups) = serde_json::from_str(claim) {
        return groups;
    }
    let names = claim.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(claim);
    names.split_whitespace().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_read_as_api_gateway_writes_them_and_as_others_do() {
        for (claim, groups) in [
            ("[admin]", &["admin"][..]),
            ("[admin other]", &["admin", "other"]),
            ("[other  admin ]", &["other", "admin"]),
            (r#"["admin","other"]"#, &["admin", "other"]),
            (r#" [ "ad min" ] "#, &["ad min"]),
            ("admin", &["admin"]),
            ("[]", &[]),
            ("", &[]),
            ("[administrators]", &["administrators"]),
            ("[not,admin]", &["not,admin"]),
            ("[Admin]", &["Admin"]),
        ] {
            assert_eq!(groups_of(claim), groups, "{claim}");
        }
    }
}
