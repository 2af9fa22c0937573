//! Reads requests: the user who sends them, their query, their body. An error names every wrong field at once.

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use lambda_http::RequestExt as _;
use lambda_http::request::RequestContext;
use serde_json::{Map, Value};
use shared::Error;
use shared::ids::UserId;

use crate::problem::{FieldError, Problem};

/// Bodies here hold a title, or the description of an upload.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// Claims that may hold a name to show, the best first; `sub` always does.
const NAME_CLAIMS: [&str; 6] = ["username", "cognito:username", "preferred_username", "name", "email", "sub"];

/// The user of the token. The HTTP API's authorizer has verified it.
#[derive(Debug)]
pub(crate) struct Speaker {
    pub(crate) user: UserId,
    pub(crate) username: String,
}

impl<S: Sync> FromRequestParts<S> for Speaker {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let unauthorized = || Error::Corrupt {
            key: "requestContext".to_owned(),
            detail: "it has no authorizer.jwt.claims.sub: does the route have a JWT authorizer?".to_owned(),
        };
        let Some(RequestContext::ApiGatewayV2(context)) = parts.request_context_ref() else {
            return Err(unauthorized().into());
        };
        let jwt = context.authorizer.as_ref().and_then(|authorizer| authorizer.jwt.as_ref());
        let claims = &jwt.ok_or_else(unauthorized)?.claims;
        let user = UserId::parse(claims.get("sub").ok_or_else(unauthorized)?)?;
        let name = NAME_CLAIMS.iter().find_map(|name| claims.get(*name).filter(|value| !value.is_empty()));
        Ok(Self { username: name.cloned().unwrap_or_default(), user })
    }
}

/// Named values, taken one by one. A value of the wrong kind is an error, and so is a value that nobody took.
#[derive(Debug)]
pub(crate) struct Fields {
    values: Map<String, Value>,
    errors: Vec<FieldError>,
}

impl Fields {
    pub(crate) fn wrong(&mut self, field: &str, message: impl Into<String>) {
        self.errors.push(FieldError { field: field.to_owned(), message: message.into() });
    }

    pub(crate) fn text(&mut self, field: &'static str) -> Option<String> {
        match self.values.remove(field)? {
            Value::String(text) => Some(text),
            _ => {
                self.wrong(field, "must be a string");
                None
            }
        }
    }

    /// A whole number that is not negative.
    pub(crate) fn integer(&mut self, field: &'static str) -> Option<u64> {
        match self.values.remove(field)?.as_u64() {
            Some(number) => Some(number),
            None => {
                self.wrong(field, "must be a whole number");
                None
            }
        }
    }

    /// A text that `parse` understands.
    pub(crate) fn parsed<T>(&mut self, field: &'static str, parse: impl Fn(&str) -> Result<T, Error>) -> Option<T> {
        match parse(&self.text(field)?) {
            Ok(value) => Some(value),
            Err(Error::Invalid { problem, .. }) => {
                self.wrong(field, problem);
                None
            }
            Err(error) => {
                self.wrong(field, error.public_message());
                None
            }
        }
    }

    pub(crate) fn required<T>(&mut self, field: &'static str, value: Option<T>) -> Option<T> {
        if value.is_none() && !self.errors.iter().any(|error| error.field == field) {
            self.wrong(field, "is missing");
        }
        value
    }

    /// For a query: ignores parameters that nobody asked for, as the web does everywhere.
    pub(crate) fn ignore_others(&mut self) {
        self.values.clear();
    }

    pub(crate) fn finish(mut self) -> Result<(), Problem> {
        for field in std::mem::take(&mut self.values).keys() {
            self.wrong(field, "is not known");
        }
        if self.errors.is_empty() { Ok(()) } else { Err(Problem::invalid(self.errors)) }
    }
}

/// The query string's parameters. If one is given several times, its values are joined with commas.
#[derive(Debug)]
pub(crate) struct Query(pub(crate) Fields);

impl<S: Sync> FromRequestParts<S> for Query {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let parameters = parts.query_string_parameters();
        let mut values = Map::new();
        for (name, value) in parameters.iter() {
            match values.get_mut(name) {
                Some(Value::String(all)) => {
                    all.push(',');
                    all.push_str(value);
                }
                _ => drop(values.insert(name.to_owned(), value.into())),
            }
        }
        Ok(Self(Fields { values, errors: Vec::new() }))
    }
}

/// A JSON object. An absent body counts as an empty one.
#[derive(Debug)]
pub(crate) struct Body(pub(crate) Fields);

impl<S: Sync> FromRequest<S> for Body {
    type Rejection = Problem;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let bytes = axum::body::to_bytes(body, MAX_BODY_BYTES).await.map_err(|_| {
            let detail = format!("The body is too large: at most {MAX_BODY_BYTES} bytes are allowed");
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
        })?;
        let values = if bytes.is_empty() {
            Map::new()
        } else if is_json(&parts.headers) {
            let malformed = || Problem::new(StatusCode::BAD_REQUEST, "The body must be one JSON object");
            serde_json::from_slice(&bytes).map_err(|_| malformed())?
        } else {
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "Content-Type must be application/json"));
        };
        Ok(Self(Fields { values, errors: Vec::new() }))
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/json")
}
