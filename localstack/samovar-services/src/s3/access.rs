//! Access control: the access keys of the functions, their session token, and the door where calls are counted.
//!
//! A presigned URL acts for its signer: S3 checks what the signer may do. So its use is counted for the function that
//! signed, whoever uses it.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use axum::extract::{Query, Request};
use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderMap, Uri};
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};
use s3s::dto::CopySource;
use s3s::path::S3Path;
use s3s::{S3Error, S3ErrorCode, S3Result, s3_error};

use super::notifications::Origin;
use crate::credentials::{self, Caller, SECRET_KEY};
use crate::door::{Door, Passage};
use crate::ids::request_id;
use crate::needs;
use crate::permissions::{Denied, Need};

/// S3 refuses a presigned URL that is valid for longer.
const MAX_PRESIGNED_SECONDS: u32 = 7 * 24 * 60 * 60;

/// The access keys of all functions.
#[derive(Debug, Clone)]
pub(super) struct Keys(Arc<BTreeSet<String>>);

impl Keys {
    pub(super) fn of<'a>(functions: impl Iterator<Item = &'a str>) -> Self {
        Self(Arc::new(functions.map(credentials::access_key).collect()))
    }

    pub(super) fn secret(&self, access_key: &str) -> S3Result<&'static str> {
        if !self.0.contains(access_key) {
            return Err(unknown_access_key());
        }
        Ok(SECRET_KEY)
    }
}

fn unknown_access_key() -> s3s::S3Error {
    s3_error!(InvalidAccessKeyId, "The AWS Access Key Id you provided does not exist in our records.")
}

/// A function's credentials are temporary, as on AWS. Without their token the key is unknown, as there.
pub(super) fn check_token(token: Option<&str>) -> S3Result<()> {
    match token {
        Some(token) if credentials::is_session_token(token) => Ok(()),
        Some(_) => Err(s3_error!(InvalidToken, "The provided token is malformed or otherwise invalid.")),
        None => Err(unknown_access_key()),
    }
}

/// Whether a request or its address is signed for S3.
pub(super) fn is_signed(request: &Request) -> bool {
    const SCOPE: &str = "/s3/aws4_request";
    let header = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    header.is_some_and(|header| header.starts_with("AWS4-HMAC-SHA256") && header.contains(SCOPE))
        || query(request.uri()).iter().any(|(name, value)| name == "X-Amz-Credential" && value.ends_with(SCOPE))
}

/// Refuses signatures of the old version 2, as S3 does for buckets that were made since 2020.
pub(super) fn check_version(uri: &Uri, headers: &HeaderMap) -> S3Result<()> {
    let header = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    if header.is_some_and(|header| header.starts_with("AWS "))
        || query(uri).iter().any(|(name, _)| name == "AWSAccessKeyId")
    {
        return Err(s3_error!(
            InvalidRequest,
            "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256."
        ));
    }
    Ok(())
}

/// Checks how long a presigned URL is valid. S3 does so before it checks the signature.
pub(super) fn check_expires(uri: &Uri) -> S3Result<()> {
    let query = query(uri);
    let lasts = query.iter().find(|(name, _)| name == "X-Amz-Expires").and_then(|(_, seconds)| seconds.parse().ok());
    if lasts.is_some_and(|seconds: u32| seconds > MAX_PRESIGNED_SECONDS) {
        return Err(s3_error!(
            AuthorizationQueryParametersError,
            "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than \
             604800 seconds"
        ));
    }
    Ok(())
}

/// The pairs of a query, decoded.
fn query(uri: &Uri) -> Vec<(String, String)> {
    Query::try_from_uri(uri).map(|Query(pairs)| pairs).unwrap_or_default()
}

#[async_trait::async_trait]
impl S3Auth for Keys {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        self.secret(access_key).map(SecretKey::from)
    }
}

/// The passage of one request through the door.
#[derive(Debug)]
pub(super) struct Entrance {
    door: Door,
    passage: Mutex<Option<Passage>>,
    /// The function that makes the call, or that has signed for it.
    function: OnceLock<String>,
    /// The address of the client.
    source: IpAddr,
    /// The id of the request in the answer and in events.
    pub(super) request_id: String,
}

impl Entrance {
    /// `source` is the address of the client, if the server knows it.
    pub(super) fn new(door: Door, source: Option<IpAddr>) -> Self {
        let source = source.unwrap_or(Ipv4Addr::LOCALHOST.into());
        Self { door, passage: Mutex::default(), function: OnceLock::new(), source, request_id: request_id() }
    }

    /// The request, for the events of what it does.
    pub(super) fn origin(&self) -> Origin {
        let function = self.function.get().cloned();
        Origin { function, source_ip: self.source.to_string(), request_id: self.request_id.clone() }
    }

    /// Must be called once the caller and the operation are known. Returns an error if the call must not be executed;
    /// the actual answer is then decided on the way out.
    /// `token` is the session token, if the signer itself makes the call.
    pub(super) async fn enter(
        &self,
        access_key: &str,
        token: Option<&str>,
        operation: &str,
        needs: Vec<Need>,
    ) -> S3Result<()> {
        let function = credentials::function_of(access_key).to_owned();
        let _ = self.function.set(function.clone());
        self.check(needs)?;
        let caller = Caller { function, instance: token.and_then(credentials::instance) };
        // Bodies are streams, so hooks do not see them.
        let passage = self.door.enter(&caller, "s3", operation, &Bytes::new()).await;
        let dropped = passage.dropped();
        *self.passage.lock().unwrap_or_else(PoisonError::into_inner) = Some(passage);
        if dropped { Err(s3_error!(InternalError, "The call was dropped")) } else { Ok(()) }
    }

    /// Whether the caller may do all of this.
    pub(super) fn check(&self, needs: Vec<Need>) -> S3Result<()> {
        let Some(function) = self.function.get() else { return Ok(()) };
        self.door
            .check(function, |_| needs)
            .map_err(|Denied(message)| S3Error::with_message(S3ErrorCode::AccessDenied, message))
    }

    pub(super) fn passage(&self) -> Option<Passage> {
        self.passage.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The check of a call whose signature is right.
#[derive(Debug)]
pub(super) struct Access;

#[async_trait::async_trait]
impl S3Access for Access {
    async fn check(&self, context: &mut S3AccessContext<'_>) -> S3Result<()> {
        let Some(credentials) = context.credentials() else { return Err(s3_error!(AccessDenied, "Access Denied")) };
        let access_key = credentials.access_key.clone();
        let query = query(context.uri());
        let asked = |name: &str| query.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str());
        let header = context.headers().get("x-amz-security-token").and_then(|value| value.to_str().ok());
        let header = header.map(str::to_owned);
        check_token(asked("X-Amz-Security-Token").or(header.as_deref()))?;
        let operation = context.s3_op().name().to_owned();
        let Some(entrance) = context.extensions_mut().get::<Arc<Entrance>>().cloned() else {
            return Err(s3_error!(InternalError, "A request has not passed the door"));
        };
        let (bucket, key) = match context.s3_path() {
            S3Path::Root => ("", ""),
            S3Path::Bucket { bucket } => (&**bucket, ""),
            S3Path::Object { bucket, key } => (&**bucket, &**key),
        };
        let source = context.headers().get("x-amz-copy-source").and_then(|value| value.to_str().ok());
        let source = source.and_then(|source| CopySource::parse(source).ok());
        let source = source.and_then(|source| match source {
            CopySource::Bucket { bucket, key, .. } => Some(format!("{bucket}/{key}")),
            CopySource::AccessPoint { .. } | CopySource::Outpost { .. } => None,
        });
        let needs = needs::of_object_call(&operation, bucket, key, source.as_deref());
        entrance.enter(&access_key, header.as_deref(), &operation, needs).await
    }
}
