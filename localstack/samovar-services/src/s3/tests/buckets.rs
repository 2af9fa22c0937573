//! Calls about buckets: which buckets exist, and which objects they have.

use aws_sdk_s3::error::ProvideErrorMetadata as _;

use super::*;

#[tokio::test]
async fn each_call_about_a_bucket_that_does_not_exist_says_so() {
    let served = Served::new().await;
    let client = served.client();
    let got = client.get_object().bucket("nowhere").key("a/b").send().await.expect_err("no bucket");
    assert_eq!(got.into_service_error().code(), Some("NoSuchBucket"));
    let listed = client.list_objects_v2().bucket("nowhere").send().await.expect_err("no bucket");
    assert!(listed.into_service_error().is_no_such_bucket());
    let put = client.put_object().bucket("nowhere").key("a").body(b"x".to_vec().into()).send().await;
    assert_eq!(put.expect_err("no bucket").into_service_error().code(), Some("NoSuchBucket"));
    let head = client.head_bucket().bucket("nowhere").send().await.expect_err("no bucket");
    assert!(head.into_service_error().is_not_found());
    let presigned = client.get_object().bucket("nowhere").key("a").presigned(presigned::for_seconds(60)).await;
    let response = reqwest::get(presigned.expect("a URL").uri()).await.expect("an answer");
    assert_eq!(outcome(response).await, (404, "NoSuchBucket".to_owned()));
    // A caller with a wrong signature is not told which buckets exist. A request without a signature is not for S3.
    let stranger = served.client_of("LOCAL-worker", "wrong", Some("local"));
    let error = stranger.get_object().bucket("nowhere").key("a").send().await.expect_err("no key");
    assert_eq!(error.into_service_error().code(), Some("SignatureDoesNotMatch"));
    let unsigned = reqwest::get(format!("{}/nowhere/a", served.url)).await.expect("an answer");
    assert_eq!((unsigned.status().as_u16(), unsigned.text().await.expect("a body").as_str()), (404, ""));
}

#[tokio::test]
async fn the_buckets_are_listed_and_counted_as_a_call() {
    let served = Served::new().await;
    let listed = served.client().list_buckets().send().await.expect("a list");
    let names: Vec<_> = listed.buckets().iter().filter_map(|bucket| bucket.name()).collect();
    assert_eq!(names, [BUCKET, OTHER]);
    assert!(listed.buckets().iter().all(|bucket| bucket.creation_date().is_some()));
    assert_eq!(served.calls()["ListBuckets"], 1);
}

#[tokio::test]
async fn the_old_list_gives_all_keys_page_by_page() {
    let served = Served::new().await;
    for key in ["a", "b/1", "b/2", "c", "d/1", "e é"] {
        served.put(key, b"x", "text/plain").await;
    }
    let client = served.client();
    let mut keys = Vec::new();
    let mut marker = None;
    loop {
        let page = client.list_objects().bucket(BUCKET).max_keys(2).set_marker(marker.take()).send().await;
        let page = page.expect("a page");
        assert_eq!(page.next_marker(), None, "without a delimiter, the last key is the next marker");
        keys.extend(page.contents().iter().filter_map(|object| object.key().map(str::to_owned)));
        if page.is_truncated() != Some(true) {
            break;
        }
        marker = keys.last().cloned();
    }
    assert_eq!(keys, ["a", "b/1", "b/2", "c", "d/1", "e é"]);

    let (mut seen, mut marker) = (Vec::new(), None);
    loop {
        let page = client.list_objects().bucket(BUCKET).delimiter("/").max_keys(2).set_marker(marker.take());
        let page = page.send().await.expect("a page");
        seen.extend(page.contents().iter().filter_map(|object| object.key().map(str::to_owned)));
        seen.extend(page.common_prefixes().iter().filter_map(|prefix| prefix.prefix().map(str::to_owned)));
        marker = page.next_marker().map(str::to_owned);
        if marker.is_none() {
            break;
        }
    }
    seen.sort();
    assert_eq!(seen, ["a", "b/", "c", "d/", "e é"]);
    let of_prefix = client.list_objects().bucket(BUCKET).prefix("b/").send().await.expect("a page");
    assert_eq!(of_prefix.contents().len(), 2);
}

#[tokio::test]
async fn the_old_signature_is_refused_with_the_name_of_the_new_one() {
    let served = Served::new().await;
    let client = reqwest::Client::new();
    let url = format!("{}/{BUCKET}/a", served.url);
    let header = client.get(&url).header("authorization", "AWS LOCAL-worker:c2lnbmF0dXJl").send().await;
    let address = client.get(format!("{url}?AWSAccessKeyId=LOCAL-worker&Expires=4102444800&Signature=x")).send().await;
    for response in [header, address] {
        let response = response.expect("an answer");
        assert_eq!(response.status(), 400);
        let text = response.text().await.expect("a body");
        assert!(text.contains("<Code>InvalidRequest</Code>") && text.contains("AWS4-HMAC-SHA256"), "{text}");
    }
}
