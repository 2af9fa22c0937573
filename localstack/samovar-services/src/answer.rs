//! The answer of a service, before it becomes an HTTP response.

use axum::body::{Body, Bytes};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use serde_json::json;

/// The answer of a service.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status of the HTTP response.
    pub status: u16,
    /// Its own headers.
    pub headers: Vec<(&'static str, String)>,
    /// The bytes to send.
    pub body: Vec<u8>,
}

impl Answer {
    /// An error of the AWS JSON protocols, with its type and message.
    pub fn error(status: u16, kind: &str, message: &str) -> Self {
        let body = json!({ "__type": kind, "message": message }).to_string().into_bytes();
        Self { status, headers: Vec::new(), body }
    }
}

impl From<Answer> for Response<Body> {
    fn from(answer: Answer) -> Self {
        let mut response = Response::new(Body::from(answer.body));
        *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        for (name, value) in answer.headers {
            if let Ok(value) = HeaderValue::from_str(&value) {
                response.headers_mut().insert(HeaderName::from_static(name), value);
            }
        }
        response
    }
}

/// A response that cannot be finished, so that the connection breaks.
pub fn broken() -> Response<Body> {
    let error = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
    Response::new(Body::from_stream(futures_util::stream::once(async { Err::<Bytes, _>(error) })))
}
