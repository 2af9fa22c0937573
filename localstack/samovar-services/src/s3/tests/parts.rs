//! Objects that are uploaded in parts.

use aws_sdk_s3::error::ProvideErrorMetadata as _;
use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart};

use super::*;

const PART_BYTES: usize = 5 * 1024 * 1024;

async fn begin(served: &Served, key: &str) -> String {
    let begun = served.client().create_multipart_upload().bucket(BUCKET).key(key).content_type("video/mp4");
    let begun = begun.metadata("who", "alice").checksum_algorithm(ChecksumAlgorithm::Crc32).send().await;
    begun.expect("an upload").upload_id().expect("its id").to_owned()
}

async fn send(served: &Served, key: &str, id: &str, number: i32, bytes: Vec<u8>) -> CompletedPart {
    let part = served.client().upload_part().bucket(BUCKET).key(key).upload_id(id).part_number(number);
    let sent = part.body(bytes.into()).send().await.expect("a part");
    CompletedPart::builder().part_number(number).set_e_tag(sent.e_tag().map(str::to_owned)).build()
}

/// Completes the upload. Returns the ETag, or the code of the error.
async fn complete(served: &Served, key: &str, id: &str, parts: &[CompletedPart]) -> Result<String, String> {
    let parts = CompletedMultipartUpload::builder().set_parts(Some(parts.to_vec())).build();
    let completed = served.client().complete_multipart_upload().bucket(BUCKET).key(key).upload_id(id);
    match completed.multipart_upload(parts).send().await {
        Ok(output) => Ok(output.e_tag().unwrap_or_default().to_owned()),
        Err(error) => Err(error.into_service_error().code().unwrap_or_default().to_owned()),
    }
}

#[tokio::test]
async fn parts_in_any_order_become_one_object_that_is_not_there_before() {
    let served = Served::new().await;
    let id = begin(&served, "film").await;
    let last = send(&served, "film", &id, 7, b"end".to_vec()).await;
    send(&served, "film", &id, 2, vec![9; PART_BYTES]).await;
    let first = send(&served, "film", &id, 2, vec![1; PART_BYTES]).await;
    let listed = served.client().list_parts().bucket(BUCKET).key("film").upload_id(&id).max_parts(1).send().await;
    let listed = listed.expect("a list");
    assert_eq!(
        (listed.parts().len(), listed.is_truncated(), listed.next_part_number_marker()),
        (1, Some(true), Some("2"))
    );
    assert!(served.keys().await.is_empty());

    let etag = complete(&served, "film", &id, &[first, last]).await.expect("an object");
    assert!(etag.ends_with("-2\""), "{etag}");
    let got = served.client().get_object().bucket(BUCKET).key("film").checksum_mode("ENABLED".into()).send().await;
    let got = got.expect("there");
    assert_eq!((got.content_type(), got.e_tag()), (Some("video/mp4"), Some(etag.as_str())));
    assert_eq!(got.metadata().and_then(|metadata| metadata.get("who")).map(String::as_str), Some("alice"));
    let body = got.body.collect().await.expect("a body that fits its checksum").to_vec();
    assert_eq!(body, [vec![1; PART_BYTES], b"end".to_vec()].concat());
    assert_eq!(served.uploads(), 0, "the parts are gone");
    assert_eq!(complete(&served, "film", &id, &[]).await, Err("NoSuchUpload".to_owned()));
}

#[tokio::test]
async fn parts_that_do_not_fit_are_refused_and_the_upload_goes_on() {
    let served = Served::new().await;
    let id = begin(&served, "a").await;
    let (one, two) = (send(&served, "a", &id, 1, b"1".to_vec()).await, send(&served, "a", &id, 2, b"2".to_vec()).await);
    let missing = CompletedPart::builder().part_number(3).e_tag("\"0\"").build();
    let changed = CompletedPart::builder().part_number(1).e_tag("\"0\"").build();
    for (parts, code) in [
        (vec![two.clone(), one.clone()], "InvalidPartOrder"),
        (vec![one.clone(), one.clone()], "InvalidPartOrder"),
        (vec![one.clone(), missing], "InvalidPart"),
        (vec![changed], "InvalidPart"),
        (vec![one, two.clone()], "EntityTooSmall"),
    ] {
        assert_eq!(complete(&served, "a", &id, &parts).await, Err(code.to_owned()), "{parts:?}");
    }
    assert_eq!(complete(&served, "b", &id, std::slice::from_ref(&two)).await, Err("NoSuchUpload".to_owned()));
    complete(&served, "a", &id, &[two]).await.expect("an object");
    assert_eq!(served.get("a").await.expect("there"), b"2");
}

#[tokio::test]
async fn an_upload_that_is_aborted_leaves_nothing() {
    let served = Served::new().await;
    let id = begin(&served, "a").await;
    send(&served, "a", &id, 1, b"1".to_vec()).await;
    let abort = || served.client().abort_multipart_upload().bucket(BUCKET).key("a").upload_id(&id).send();
    abort().await.expect("aborted");
    assert_eq!(served.uploads(), 0);
    let again = abort().await.expect_err("it is over").into_service_error();
    assert!(again.is_no_such_upload(), "{again:?}");
    let late = served.client().upload_part().bucket(BUCKET).key("a").upload_id(&id).part_number(1);
    let late = late.body(b"x".to_vec().into()).send().await.expect_err("it is over");
    assert_eq!(late.into_service_error().code(), Some("NoSuchUpload"));
}
