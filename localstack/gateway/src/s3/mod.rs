//! S3: the template's buckets over HTTP, path style, at `/{bucket}` and `/{bucket}/{key}`.
//!
//! - [`s3s`] is the protocol: it reads requests, checks their signatures and writes the answers; `operations` is what it
//!   calls. `form` (a browser's POST) and `cors` come before it, because it does not stream the one or have the other.
//! - `store` keeps the objects: `object` is the file of one, `upload` the way into it.
//! - `access` says whose a call is, and takes it through the door of all services ([`crate::aws`]).
//!
//! Invariant: an object is visible as a whole or not at all, and no body is held in memory.

mod access;
mod conditions;
mod cors;
mod digests;
mod form;
mod lending;
mod lifecycle;
mod listing;
mod multipart;
mod object;
mod operations;
mod policy;
mod store;
#[cfg(test)]
mod tests;
mod upload;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::routing::any;
use http::header::{CONTENT_TYPE, EXPECT};
use http::{HeaderValue, Method, Response, StatusCode};
use s3s::service::{S3Service, S3ServiceBuilder};
use tempfile::TempDir;

use crate::aws::{Answer, Services};
use crate::ids::gateway_id;
use access::{Access, Door, Keys};
use operations::Operations;
use samovar_template::Bucket;
use store::Store;

/// What S3 takes in one upload.
const MAX_OBJECT_BYTES: u64 = 5 * 1024 * 1024 * 1024;
/// Of an object whose writer gave none.
const DEFAULT_CONTENT_TYPE: &str = "binary/octet-stream";

pub struct S3 {
    store: Arc<Store>,
    keys: Keys,
    protocol: S3Service,
    lifecycle_day: Duration,
    /// Where the objects are if they are not to stay.
    temporary: Mutex<Option<TempDir>>,
}

impl std::fmt::Debug for S3 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("S3").field("store", &self.store).finish_non_exhaustive()
    }
}

impl S3 {
    /// In the data directory, or in a temporary one that goes with the value. Callers are `functions`.
    pub fn open<'a>(
        data_dir: Option<&Path>,
        buckets: &[Bucket],
        functions: impl Iterator<Item = &'a str>,
        lifecycle_day: Duration,
    ) -> Result<Self> {
        let (root, temporary) = match data_dir {
            Some(dir) => (dir.join("objects"), None),
            None => {
                let dir = tempfile::Builder::new().prefix("gateway-objects-").tempdir();
                let dir = dir.context("A temporary directory for objects can't be made")?;
                (dir.path().to_owned(), Some(dir))
            }
        };
        let store = Arc::new(Store::open(&root, buckets)?);
        let keys = Keys::of(functions);
        let mut protocol = S3ServiceBuilder::new(Operations { store: Arc::clone(&store) });
        protocol.set_auth(keys.clone());
        protocol.set_access(Access);
        let protocol = protocol.build();
        Ok(Self { store, keys, protocol, lifecycle_day, temporary: Mutex::new(temporary) })
    }

    /// Nobody uses it any more: removes what is not to stay.
    pub fn close(&self) {
        let temporary = self.temporary.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(dir) = temporary
            && let Err(error) = dir.close()
        {
            tracing::warn!(%error, "The temporary directory of the objects is not removed");
        }
    }

    /// Requests whose first path segment is the name of a bucket.
    pub(crate) fn router(&self, services: Arc<Services>) -> Router {
        let router = self.store.buckets().fold(Router::new(), |router, bucket| {
            let name = &bucket.spec.name;
            router
                .route(&format!("/{name}"), any(handle))
                .route(&format!("/{name}/"), any(handle))
                .route(&format!("/{name}/{{*key}}"), any(handle))
        });
        router.with_state(services)
    }

    async fn answer(&self, door: &Arc<Door>, bucket: &Arc<store::Bucket>, request: Request) -> Response<Body> {
        let (mut head, body) = request.into_parts();
        let key = head.uri.path().trim_start_matches('/').split_once('/').map_or("", |(_, key)| key);
        if head.method == Method::OPTIONS {
            return cors::preflight(&bucket.spec.cors, &head.headers, !key.is_empty());
        }
        let (method, headers, is_of_bucket) = (head.method.clone(), head.headers.clone(), key.is_empty());
        let (body, receipt) = lending::lend(body);
        let mut response = if method == Method::POST && is_of_bucket && form::is_form(&headers) {
            form::post(self, bucket, door, &headers, body).await
        } else if let Err(error) = access::check_expires(head.uri.query()) {
            drop(body);
            into_response(error)
        } else {
            head.extensions.insert(Arc::clone(door));
            let request = Request::from_parts(head, s3s::Body::http_body_unsync(body));
            match self.protocol.call(request).await {
                Ok(response) => response.map(Body::new),
                Err(error) => {
                    tracing::error!(?error, "S3");
                    error_response(
                        StatusCode::INTERNAL_SERVER_ERROR,
                        "InternalError",
                        "We encountered an internal error.",
                        &[],
                    )
                }
            }
        };
        receipt.drain(headers.contains_key(EXPECT)).await;
        cors::decorate(&bucket.spec.cors, &method, &headers, response.headers_mut());
        response
    }
}

async fn handle(State(services): State<Arc<Services>>, request: Request) -> Response<Body> {
    let name = request.uri().path().trim_start_matches('/').split('/').next().unwrap_or_default();
    let found = services.s3.as_ref().and_then(|s3| Some((s3, Arc::clone(s3.store.bucket(name)?))));
    let Some((s3, bucket)) = found else {
        return error_response(StatusCode::NOT_FOUND, "NoSuchBucket", "The specified bucket does not exist", &[]);
    };
    let door = Arc::new(Door::new(Arc::clone(&services)));
    let response = s3.answer(&door, &bucket, request).await;
    let mut response = match door.passage() {
        None => response,
        Some(passage) => {
            let answer = (!passage.dropped()).then(|| {
                let status = response.status().as_u16();
                passage.executed(&Answer { status, headers: Vec::new(), body: Vec::new() });
                response
            });
            match passage.heard(answer).await {
                Some(response) => response,
                None => return crate::aws::broken(),
            }
        }
    };
    if let Ok(id) = HeaderValue::from_str(&gateway_id()) {
        response.headers_mut().insert("x-amz-request-id", id);
    }
    response
}

/// An error in S3's XML, with more than its code and message.
fn error_response(status: StatusCode, code: &str, message: &str, details: &[(&str, &str)]) -> Response<Body> {
    let details: String = details.iter().map(|(name, value)| format!("<{name}>{}</{name}>", escaped(value))).collect();
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{}</Message>{details}</Error>",
        escaped(message)
    );
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    response
}

fn into_response(error: s3s::S3Error) -> Response<Body> {
    let status = error.status_code().unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    error_response(status, error.code().as_str(), error.message().unwrap_or_default(), &[])
}

fn escaped(text: &str) -> String {
    let escape = |c: char| match c {
        '&' => "&amp;".to_owned(),
        '<' => "&lt;".to_owned(),
        '>' => "&gt;".to_owned(),
        '"' => "&quot;".to_owned(),
        c => c.to_string(),
    };
    text.chars().map(escape).collect()
}
