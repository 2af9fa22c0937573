//! S3: the template's buckets over HTTP, at `/{bucket}` and `/{bucket}/{key}`, and under S3's own names.
//!
//! - [`s3s`] is the protocol: it reads requests, checks their signatures and writes the answers. It calls `operations`.
//!   `form` (a browser's POST) and `cors` run before it, because it does not stream forms and has no CORS.
//! - A request belongs here if its path begins with a bucket's name, or if it is signed for S3, whatever its path is.
//!   So a client can list the buckets, and a request for a bucket that does not exist gets the answer of S3 and not one
//!   of the site or an API.
//! - `parts` keeps the parts of uploads that are not completed, and `assembling` has the operations on them.
//! - `store` keeps the objects: `object` is the file format of one, and `upload` writes it.
//! - `host` finds the bucket in the names that S3 itself has.
//! - `access` identifies the caller, and takes the call through the door of all services.
//! - `notifications` tells functions and queues what has happened to an object.
//!
//! Invariant: an object is visible as a whole or not at all, and no body is held in memory.

mod access;
mod assembling;
mod changes;
mod conditions;
mod cors;
mod digests;
mod form;
mod host;
mod lending;
mod lifecycle;
mod listing;
mod multipart;
mod notifications;
mod object;
mod operations;
mod parts;
mod policy;
mod response;
mod store;
#[cfg(test)]
mod tests;
mod upload;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::middleware::{self, Next};
use axum::routing::any;
use http::header::EXPECT;
use http::{HeaderValue, Method, Response, StatusCode};
use s3s::service::{S3Service, S3ServiceBuilder};
use tempfile::TempDir;

use crate::answer::{Answer, broken};
use crate::door::Door;
use crate::needs;
use access::{Access, Entrance, Keys};
pub use notifications::Notifications;
use operations::Operations;
use response::{error_response, into_response};
use samovar_template::Bucket;
use store::Store;

/// The buckets, and the functions that may use them.
pub struct S3 {
    store: Arc<Store>,
    keys: Keys,
    protocol: S3Service,
    lifecycle_day: Duration,
    /// The folder of the objects, if it is to be removed at the end.
    temporary: Mutex<Option<TempDir>>,
}

impl std::fmt::Debug for S3 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("S3").field("store", &self.store).finish_non_exhaustive()
    }
}

impl S3 {
    /// Opens the buckets in the data directory, or in a temporary one that is removed with this value. `functions` are
    /// the callers.
    pub fn open<'a>(
        data_dir: Option<&Path>,
        buckets: &[Bucket],
        functions: impl Iterator<Item = &'a str>,
        lifecycle_day: Duration,
        notifications: Notifications,
    ) -> Result<Self> {
        let (root, temporary) = match data_dir {
            Some(dir) => (dir.join("objects"), None),
            None => {
                let dir = tempfile::Builder::new().prefix("samovar-objects-").tempdir();
                let dir = dir.context("A temporary directory for objects could not be created")?;
                (dir.path().to_owned(), Some(dir))
            }
        };
        let store = Arc::new(Store::open(&root, buckets, temporary.is_none(), notifications)?);
        let keys = Keys::of(functions);
        let mut protocol = S3ServiceBuilder::new(Operations::new(Arc::clone(&store)));
        protocol.set_auth(keys.clone());
        protocol.set_access(Access);
        protocol.set_host(host::Hosts);
        let protocol = protocol.build();
        Ok(Self { store, keys, protocol, lifecycle_day, temporary: Mutex::new(temporary) })
    }

    /// Removes the temporary directory. Must be called when nobody uses the buckets any more.
    pub fn close(&self) {
        let temporary = self.temporary.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(dir) = temporary
            && let Err(error) = dir.close()
        {
            tracing::warn!(%error, "The temporary directory of the objects could not be removed");
        }
    }

    /// Routes the requests whose first path segment is the name of a bucket.
    pub(crate) fn router(self: &Arc<Self>, door: Door) -> Router {
        let router = self.store.buckets().fold(Router::new(), |router, bucket| {
            let name = &bucket.spec.name;
            router
                .route(&format!("/{name}"), any(handle))
                .route(&format!("/{name}/"), any(handle))
                .route(&format!("/{name}/{{*key}}"), any(handle))
        });
        router.with_state((Arc::clone(self), door))
    }

    /// Takes from `others` the requests that are signed for S3.
    pub(crate) fn before(self: &Arc<Self>, door: Door, others: Router) -> Router {
        let state = (Arc::clone(self), door);
        others.layer(middleware::from_fn(move |request: Request, next: Next| {
            let state = state.clone();
            async move {
                if access::is_signed(&request) { handle(State(state), request).await } else { next.run(request).await }
            }
        }))
    }

    /// `bucket` is that of the path, if there is one.
    async fn answer(
        &self,
        entrance: &Arc<Entrance>,
        bucket: Option<&Arc<store::Bucket>>,
        request: Request,
    ) -> Response<Body> {
        let is_of_bucket = host::addressed(&request).1.is_empty();
        let (mut head, body) = request.into_parts();
        if let Some(bucket) = bucket.filter(|_| head.method == Method::OPTIONS) {
            return cors::preflight(&bucket.spec.cors, &head.headers, !is_of_bucket);
        }
        let (method, headers) = (head.method.clone(), head.headers.clone());
        let form = bucket.filter(|_| method == Method::POST && is_of_bucket && form::is_form(&headers));
        let (body, receipt) = lending::lend(body);
        let mut response = if let Some(bucket) = form {
            form::post((&self.store, &self.keys), bucket, entrance, &headers, body).await
        } else if let Err(error) =
            access::check_version(&head.uri, &headers).and_then(|()| access::check_expires(&head.uri))
        {
            drop(body);
            into_response(error)
        } else {
            head.extensions.insert(Arc::clone(entrance));
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
        if let Some(bucket) = bucket {
            cors::decorate(&bucket.spec.cors, &method, &headers, response.headers_mut());
        }
        response
    }
}

async fn handle(State((s3, door)): State<(Arc<S3>, Door)>, request: Request) -> Response<Body> {
    let bucket = s3.store.bucket(host::addressed(&request).0).map(Arc::clone);
    let source = request.extensions().get().map(|ConnectInfo(peer): &ConnectInfo<SocketAddr>| peer.ip());
    let entrance = Arc::new(Entrance::new(door, source));
    let mut response = s3.answer(&entrance, bucket.as_ref(), request).await;
    // Who may not list a bucket is not told what is missing in it.
    if let Some(bucket) = bucket.filter(|_| response.status() == StatusCode::NOT_FOUND)
        && let Err(denied) = entrance.check(vec![needs::to_list(&bucket.spec.name)])
    {
        let headers = std::mem::take(response.headers_mut());
        response = into_response(denied);
        for (name, value) in headers.iter().filter(|(name, _)| name.as_str().starts_with("access-control-")) {
            response.headers_mut().append(name, value.clone());
        }
    }
    let mut response = match entrance.passage() {
        None => response,
        Some(passage) => {
            let answer = (!passage.dropped()).then(|| {
                let status = response.status().as_u16();
                passage.executed(&Answer { status, headers: Vec::new(), body: Vec::new() });
                response
            });
            match passage.heard(answer).await {
                Some(response) => response,
                None => return broken(),
            }
        }
    };
    if let Ok(id) = HeaderValue::from_str(&entrance.request_id) {
        response.headers_mut().insert("x-amz-request-id", id);
    }
    response
}
