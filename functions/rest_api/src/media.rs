//! `/api/uploads` and `/api/media`: give addresses under which browsers reach the storage itself.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use shared::clock::Timestamp;
use shared::ids::MediaKey;
use utoipa::ToSchema;

use crate::Deps;
use crate::input::{Body, Speaker};
use crate::problem::{Always, ByName, Problem, WithBody};

/// The file to upload.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[allow(dead_code, reason = "the schema of what `Body` reads")]
pub(crate) struct NewUpload {
    /// One of the types that a browser can show.
    #[schema(
        pattern = "^(image/(png|jpeg|gif|webp|avif)|audio/(mpeg|wav|x-wav|ogg|mp4|aac|flac|webm)|video/(mp4|webm|quicktime))$"
    )]
    content_type: String,
    /// The size of the file. The upload may have this many bytes at most.
    #[schema(minimum = 1)]
    bytes: u64,
}

/// A presigned POST: send `fields`, and the file last as `file`, as `multipart/form-data` to `url`.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Upload {
    /// The key to send in `sendMessage` once the file is uploaded.
    #[schema(value_type = String)]
    key: MediaKey,
    url: String,
    fields: BTreeMap<String, String>,
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
}

/// Allows one upload of one type and at most one size, straight to storage.
#[utoipa::path(post, path = "/api/uploads", operation_id = "createUpload", tag = "media",
    request_body(content = NewUpload, content_type = "application/json"),
    responses(
        (status = 201, description = "The address and the fields of the form", body = Upload),
        Always,
        WithBody,
    )
)]
pub(crate) async fn upload(
    State(deps): State<Deps>,
    speaker: Speaker,
    Body(mut fields): Body,
) -> Result<impl IntoResponse, Problem> {
    let content_type = fields.text("contentType");
    let content_type = fields.required("contentType", content_type);
    let bytes = fields.integer("bytes");
    let bytes = fields.required("bytes", bytes);
    fields.finish()?;
    let upload = deps.media.upload(&speaker.user, &content_type.unwrap_or_default(), bytes.unwrap_or_default()).await?;
    let upload = Upload { key: upload.key, url: upload.url, fields: upload.fields, expires_at: upload.expires_at };
    Ok((StatusCode::CREATED, Json(upload)))
}

/// Redirects to an upload, or to the media of a message. The address works for a limited time.
#[utoipa::path(get, path = "/api/media/{key}", operation_id = "getMedia",
    tag = "media", params(("key" = String, Path)), responses(
    (status = 302, description = "There", headers(("location" = String, description = "A fresh presigned GET"))),
    Always,
    ByName,
))]
pub(crate) async fn get(
    State(deps): State<Deps>,
    speaker: Speaker,
    Path(key): Path<String>,
) -> Result<impl IntoResponse, Problem> {
    let url = deps.media.find_link(&speaker.user, &MediaKey::parse(&key)?).await?;
    Ok((StatusCode::FOUND, [(header::LOCATION, url), (header::CACHE_CONTROL, "no-store".to_owned())]))
}
