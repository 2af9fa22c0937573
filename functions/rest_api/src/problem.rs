//! Errors as `application/problem+json` (RFC 9457). An error is logged here, once. The response says which rule refused
//! the request, and nothing about the server's internals.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use shared::Error;
use shared::errors::Class;
use utoipa::{IntoResponses, ToSchema};

/// An error (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// `about:blank`: the status says what kind of problem it is.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The status in words.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// The fault of this request, for a person.
    detail: String,
    /// With 422: each field that is wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    errors: Vec<FieldError>,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct FieldError {
    pub(crate) field: String,
    /// The fault of this field, for a person.
    pub(crate) message: String,
}

/// Responses that every call can give.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "documentation")]
pub(crate) enum Always {
    /// The token is missing or not valid. The HTTP API says so itself, before the function runs
    #[response(status = 401, headers(("www-authenticate" = String, description = "What is wrong with the token")))]
    Unauthorized,
    /// The server failed
    #[response(status = 500, content_type = "application/problem+json")]
    Internal(Problem),
}

/// Responses of a call that names an item.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "documentation")]
pub(crate) enum ByName {
    /// It does not exist, or it belongs to another user
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(Problem),
}

/// Responses of a call for administrators.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "documentation")]
pub(crate) enum Forbidden {
    /// The user is not a member of the group `admin`
    #[response(status = 403, content_type = "application/problem+json")]
    NotAdmin(Problem),
}

/// Responses of a call with a cursor and other parameters.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "documentation")]
pub(crate) enum OfList {
    /// The cursor does not belong to this list
    #[response(status = 400, content_type = "application/problem+json")]
    Malformed(Problem),
    /// A parameter has a wrong value
    #[response(status = 422, content_type = "application/problem+json")]
    Invalid(Problem),
}

/// Responses of a call with a body.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "documentation")]
pub(crate) enum WithBody {
    /// The body is not one JSON object
    #[response(status = 400, content_type = "application/problem+json")]
    Malformed(Problem),
    /// The body, or the file that it describes, is too large
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(Problem),
    /// The body is not JSON
    #[response(status = 415, content_type = "application/problem+json")]
    NotJson(Problem),
    /// A field has a wrong value
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
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "This path does not allow this method; the header Allow lists those that it does",
        )
    }

    pub(crate) fn invalid(errors: Vec<FieldError>) -> Self {
        let fields: Vec<&str> = errors.iter().map(|error| error.field.as_str()).collect();
        let detail = format!("Some fields have wrong values: {}", fields.join(", "));
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

#[cfg(test)]
mod tests {
    use insta::assert_json_snapshot;

    use super::*;

    #[test]
    fn a_problem_names_each_wrong_field() {
        let wrong = |field: &str, message: &str| FieldError { field: field.to_owned(), message: message.to_owned() };
        let problem = Problem::invalid(vec![wrong("title", "must be a string"), wrong("titel", "is not known")]);
        assert_json_snapshot!(problem, @r#"
        {
          "type": "about:blank",
          "title": "Unprocessable Entity",
          "status": 422,
          "detail": "Some fields have wrong values: title, titel",
          "errors": [
            {
              "field": "title",
              "message": "must be a string"
            },
            {
              "field": "titel",
              "message": "is not known"
            }
          ]
        }
        "#);
    }

    #[test]
    fn a_failure_of_the_server_shows_no_internals() {
        let error = Error::Service { operation: "PutItem", detail: "table secret-name".to_owned() };
        assert_json_snapshot!(Problem::from(error), @r#"
        {
          "type": "about:blank",
          "title": "Internal Server Error",
          "status": 500,
          "detail": "Something went wrong on our side; try again"
        }
        "#);
    }
}
