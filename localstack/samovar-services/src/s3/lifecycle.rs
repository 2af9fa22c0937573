//! Lifecycle rules: a periodic sweep deletes expired objects.
//!
//! S3 deletes objects at a midnight (UTC) after their last day. Here they are deleted as soon as their days are over.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::S3;
use super::changes::delete;
use super::notifications::{Happening, Origin};
use super::object::Head;
use crate::clock::now_ms;
use crate::ids::request_id;
use samovar_template::Expiration;

const MAX_BETWEEN_SWEEPS: Duration = Duration::from_secs(60);
const MIN_BETWEEN_SWEEPS: Duration = Duration::from_millis(50);

impl S3 {
    /// Sweeps until stopped.
    pub async fn sweep(&self, stop: CancellationToken) {
        let every = (self.lifecycle_day / 10).clamp(MIN_BETWEEN_SWEEPS, MAX_BETWEEN_SWEEPS);
        loop {
            tokio::select! {
                () = tokio::time::sleep(every) => {}
                () = stop.cancelled() => return,
            }
            let deleted = self.expire(now_ms()).await;
            if deleted > 0 {
                tracing::debug!(deleted, "Lifecycle sweep");
            }
        }
    }

    /// Deletes the objects that have expired at this time, and returns their number.
    pub(super) async fn expire(&self, now_ms: i64) -> usize {
        let mut deleted = 0;
        for bucket in self.store.buckets() {
            for rule in &bucket.spec.expirations {
                let until_ms = now_ms.saturating_sub(age_ms(rule, self.lifecycle_day));
                let is_over = move |head: &Head| head.modified_ms <= until_ms;
                let over: Vec<String> = bucket.list(&rule.prefix, std::ops::Bound::Unbounded, |heads| {
                    heads.filter(|head| is_over(head)).map(|head| head.key.clone()).collect()
                });
                for key in over {
                    // The object may have been overwritten meanwhile, so the condition is checked again at the
                    // deletion.
                    let cause = (Happening::Expire, Origin::itself(request_id()));
                    match delete(bucket, &key, is_over, cause).await {
                        Ok(was_there) => deleted += usize::from(was_there),
                        Err(error) => tracing::warn!(%error, key, "An expired object could not be deleted"),
                    }
                }
            }
        }
        deleted
    }
}

fn age_ms(rule: &Expiration, day: Duration) -> i64 {
    i64::try_from(day.as_millis().saturating_mul(u128::from(rule.days))).unwrap_or(i64::MAX)
}
