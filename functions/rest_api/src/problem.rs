//! Errors as `application/problem+json` (RFC 9457). Here an error is logged, once, and becomes a response that says
//! which rule said no, and nothing of the inside.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use shared::Error;
use shared::errors::Class;
use utoipa::{IntoResponses, ToSchema};

/// What went wrong (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// `about:blank`: the status says what kind of problem it is.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The status in words.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What is wrong with this request.
    detail: String,
    /// Of 422: each field that can't be as it is.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    errors: Vec<FieldError>,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct FieldError {
    pub(crate) field: String,
    /// What is wrong with it.
    pub(crate) message: String,
}

/// What every call can answer.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "documentation")]
pub(crate) enum Always {
    /// No valid token; the HTTP API says so before this is asked
    #[response(status = 401, headers(("www-authenticate" = String, description = "What is wrong with it")))]
    Unauthorized,
    /// Our fault
    #[response(status = 500, content_type = "application/problem+json")]
    Internal(Problem),
}

/// What a call that names something can answer.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "documentation")]
pub(crate) enum ByName {
    /// Not there, or not yours
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(Problem),
}

/// What a call for administrators can answer.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "documentation")]
pub(crate) enum Forbidden {
    /// Not a member of the group `admin`
    #[response(status = 403, content_type = "application/problem+json")]
    NotAdmin(Problem),
}

/// What a call with a cursor and other parameters can answer.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "documentation")]
pub(crate) enum OfList {
    /// Not a cursor of this list
    #[response(status = 400, content_type = "application/problem+json")]
    Malformed(Problem),
    /// A parameter can't be so
    #[response(status = 422, content_type = "application/problem+json")]
    Invalid(Problem),
}

/// What a call with a body can answer.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "documentation")]
pub(crate) enum WithBody {
    /// Not one JSON object
    #[response(status = 400, content_type = "application/problem+json")]
    Malformed(Problem),
    /// Too large
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(Problem),
    /// Not JSON
    #[response(status = 415, content_type = "application/problem+json")]
    NotJson(Problem),
    /// A field can't be so
    #[response(status = 422, content_type = "application/problem+json")]
    Invalid(Problem),
}

impl Problem {
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        let title = status.canonical_reason().unwrap_or("Error");
        Self { kind: "about:blank", title, status: status.as_u16(), detail: detail.into(), errors: Vec::new() }
    }

    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    pub(crate) fn method_not_allowed() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "The path does not have this method; see the header Allow")
    }

    pub(crate) fn invalid(errors: Vec<FieldError>) -> Self {
        let fields: Vec<&str> = errors.iter().map(|error| error.field.as_str()).collect();
        let detail = format!("Not as it must be: {}", fields.join(", "));
        Self { errors, ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail) }
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error.class() {
            Class::Rejected => tracing::debug!(code = error.code(), "Refused: {error}"),
            Class::Retry => tracing::warn!("{error}"),
            Class::Bug => tracing::error!("{error}"),
        }
        let detail = error.public_message();
        let status = match error {
            Error::Invalid { field, problem } => {
                return Self::invalid(vec![FieldError { field: field.to_owned(), message: problem }]);
            }
            Error::BadRequest(_)
            | Error::UnknownAction
            | Error::ParentNotFound
            | Error::IdUsed
            | Error::MediaUsed
            | Error::MediaMismatch { .. } => StatusCode::BAD_REQUEST,
            Error::ConversationNotFound | Error::MessageNotFound | Error::MediaNotFound => StatusCode::NOT_FOUND,
            Error::LeaseExpired => StatusCode::CONFLICT,
            Error::TextTooLarge { .. } | Error::MediaTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Error::TooManyPending { .. } => StatusCode::TOO_MANY_REQUESTS,
            Error::Service { .. }
            | Error::Contended { .. }
            | Error::OutOfTime { .. }
            | Error::Corrupt { .. }
            | Error::ConfigMissing { .. }
            | Error::ConfigInvalid { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, axum::Json(self)).into_response();
        let kind = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        response
    }
}
