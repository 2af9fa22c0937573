//! Changes of objects: the write, and then its events.
//!
//! Both are one task, which goes on when the client leaves. An object that is visible has its events sent.

use std::future::Future;
use std::io;
use std::sync::Arc;

use s3s::{S3Error, S3Result};

use super::conditions::WriteConditions;
use super::notifications::{Changed, Happening, Origin};
use super::object::{Description, Head};
use super::operations::failed;
use super::store::Bucket;
use super::upload::Arrived;
use crate::clock::now_ms;

/// Makes an uploaded body the object of a key.
pub(super) async fn store(
    bucket: &Arc<Bucket>,
    arrived: Arrived,
    key: &str,
    description: Description,
    conditions: WriteConditions,
    (happening, origin): (Happening, Origin),
) -> S3Result<Arc<Head>> {
    let (file, head) = arrived.finish(key, description, now_ms()).await.map_err(failed)?;
    let bucket = Arc::clone(bucket);
    let stored = to_its_end(async move {
        let check = move |existing: Option<&Head>| conditions.check(existing).map_err(StoreFailure::Condition);
        let (head, sequence) = bucket.put(file, head, check).await?;
        bucket.notify(&Changed::made(happening, &head, sequence), &origin).await?;
        Ok(head)
    });
    stored.await.map_err(|refused| match refused {
        StoreFailure::Condition(error) => error,
        StoreFailure::Disk(error) => failed(error),
    })
}

/// Deletes an object if it exists and `condition` holds for it. Returns whether it was deleted.
pub(super) async fn delete(
    bucket: &Arc<Bucket>,
    key: &str,
    condition: impl FnOnce(&Head) -> bool + Send + 'static,
    (happening, origin): (Happening, Origin),
) -> io::Result<bool> {
    let (bucket, key) = (Arc::clone(bucket), key.to_owned());
    to_its_end(async move {
        let Some(sequence) = bucket.delete(&key, condition).await? else { return Ok(false) };
        bucket.notify(&Changed::gone(happening, &key, sequence, now_ms()), &origin).await?;
        Ok(true)
    })
    .await
}

async fn to_its_end<T: Send + 'static, E: From<io::Error> + Send + 'static>(
    change: impl Future<Output = Result<T, E>> + Send + 'static,
) -> Result<T, E> {
    tokio::spawn(change).await.unwrap_or_else(|failed| Err(io::Error::other(failed).into()))
}

enum StoreFailure {
    Condition(S3Error),
    Disk(io::Error),
}

impl From<io::Error> for StoreFailure {
    fn from(error: io::Error) -> Self {
        Self::Disk(error)
    }
}
