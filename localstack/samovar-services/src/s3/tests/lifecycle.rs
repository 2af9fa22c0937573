//! Expired objects.

use super::*;
use crate::clock::now_ms;

#[tokio::test]
async fn objects_under_a_rules_prefix_are_deleted_when_their_days_are_over() {
    let served = Served::new().await;
    for key in ["uploads/1", "uploads/2", "kept/1"] {
        served.put(key, b"x", "text/plain").await;
    }
    let stored_ms = now_ms();
    let day_ms = i64::try_from(DAY.as_millis()).expect("a day");
    assert_eq!(served.s3().expire(stored_ms).await, 0, "not yet");
    assert_eq!(served.s3().expire(stored_ms + day_ms).await, 2);
    assert_eq!(served.keys().await, ["kept/1"]);
    assert_eq!(served.s3().expire(stored_ms + 10 * day_ms).await, 0, "once");
}

#[tokio::test]
async fn the_sweeper_deletes_until_it_is_stopped() {
    let dir = tempfile::tempdir().expect("a directory");
    let day = Duration::from_millis(1);
    let s3 = Arc::new(
        S3::open(Some(dir.path()), &buckets(), [FUNCTION].into_iter(), day, Notifications::default()).expect("buckets"),
    );
    let bucket = Arc::clone(s3.store.bucket(BUCKET).expect("a bucket"));
    let stop = CancellationToken::new();
    let sweeper = tokio::spawn({
        let (s3, stop) = (Arc::clone(&s3), stop.clone());
        async move { s3.sweep(stop).await }
    });
    let upload = s3.store.upload(&[]).await.expect("an upload");
    let body = futures_util::stream::once(async { Ok::<_, std::io::Error>(bytes::Bytes::from_static(b"x")) });
    let arrived = upload.receive(body, 10).await.expect("a body");
    let conditions = super::super::conditions::WriteConditions::default();
    let cause =
        (super::super::notifications::Happening::Put, super::super::notifications::Origin::itself(String::new()));
    let stored = super::super::changes::store(&bucket, arrived, "uploads/1", Default::default(), conditions, cause);
    stored.await.expect("stored");
    while bucket.get("uploads/1").await.expect("a folder").is_some() {
        tokio::task::yield_now().await;
    }
    stop.cancel();
    sweeper.await.expect("it ends");
}
