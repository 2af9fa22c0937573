//! Operations on objects through the SDK.

use aws_sdk_s3::error::ProvideErrorMetadata as _;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{Delete, MetadataDirective, ObjectIdentifier};

use super::*;

#[tokio::test]
async fn an_object_comes_back_as_it_was_put() {
    let served = Served::new().await;
    let client = served.client();
    let put = client.put_object().bucket(BUCKET).key("a/cat.png").content_type("image/png").metadata("who", "alice");
    let put = put.cache_control("no-store").body(ByteStream::from_static(b"meow")).send().await.expect("stored");
    assert_eq!(put.e_tag(), Some("\"4a4be40c96ac6314e91d93f38043a634\""));

    let got = client.get_object().bucket(BUCKET).key("a/cat.png").send().await.expect("there");
    assert_eq!((got.content_type(), got.content_length(), got.e_tag()), (Some("image/png"), Some(4), put.e_tag()));
    assert_eq!((got.cache_control(), got.accept_ranges()), (Some("no-store"), Some("bytes")));
    assert_eq!(got.metadata().and_then(|metadata| metadata.get("who")).map(String::as_str), Some("alice"));
    assert_eq!(got.body.collect().await.expect("a body").to_vec(), b"meow");

    let head = client.head_object().bucket(BUCKET).key("a/cat.png").send().await.expect("there");
    assert_eq!((head.content_type(), head.content_length(), head.e_tag()), (Some("image/png"), Some(4), put.e_tag()));
    assert!(head.last_modified().is_some());
}

#[tokio::test]
async fn an_object_without_a_type_is_a_binary_octet_stream() {
    let served = Served::new().await;
    let presigned = served.client().put_object().bucket(BUCKET).key("a");
    let presigned = presigned.presigned(presigned::for_seconds(60)).await.expect("a URL");
    let put = reqwest::Client::new().put(presigned.uri()).body("x").send().await.expect("an answer");
    assert_eq!(put.status(), 200);
    let head = served.client().head_object().bucket(BUCKET).key("a").send().await.expect("there");
    assert_eq!(head.content_type(), Some("binary/octet-stream"));
}

#[tokio::test]
async fn a_part_of_an_object_can_be_read() {
    let served = Served::new().await;
    served.put("a", b"0123456789", "text/plain").await;
    for (range, body, shown) in [
        ("bytes=0-0", "0", "bytes 0-0/10"),
        ("bytes=2-4", "234", "bytes 2-4/10"),
        ("bytes=7-", "789", "bytes 7-9/10"),
        ("bytes=-3", "789", "bytes 7-9/10"),
        ("bytes=8-100", "89", "bytes 8-9/10"),
        ("bytes=-100", "0123456789", "bytes 0-9/10"),
    ] {
        let got = served.client().get_object().bucket(BUCKET).key("a").range(range).send().await.expect("there");
        assert_eq!((got.content_range(), got.content_length()), (Some(shown), i64::try_from(body.len()).ok()));
        assert_eq!(got.body.collect().await.expect("a body").to_vec(), body.as_bytes(), "{range}");
    }
    let beyond = served.client().get_object().bucket(BUCKET).key("a").range("bytes=10-").send().await;
    let error = beyond.expect_err("nothing there").into_service_error();
    assert_eq!(error.code(), Some("InvalidRange"));
}

#[tokio::test]
async fn a_missing_object_is_no_such_key() {
    let served = Served::new().await;
    let error = served.client().get_object().bucket(BUCKET).key("a").send().await.expect_err("nothing");
    assert!(error.into_service_error().is_no_such_key());
    let error = served.client().head_object().bucket(BUCKET).key("a").send().await.expect_err("nothing");
    assert!(error.into_service_error().is_not_found());
    let deleted = served.client().delete_object().bucket(BUCKET).key("a").send().await;
    deleted.expect("deleting nothing is no error");
    let error = served.client().get_object_tagging().bucket(BUCKET).key("a").send().await;
    assert_eq!(error.expect_err("not here").into_service_error().code(), Some("NotImplemented"));
}

#[tokio::test]
async fn a_copy_keeps_type_and_metadata_unless_told_otherwise() {
    let served = Served::new().await;
    let client = served.client();
    let put = client.put_object().bucket(BUCKET).key("a é/1").content_type("image/png").metadata("who", "alice");
    put.body(ByteStream::from_static(b"meow")).send().await.expect("stored");
    let copy = || client.copy_object().copy_source(format!("{BUCKET}/a%20%C3%A9/1"));

    copy().bucket(OTHER).key("b").send().await.expect("copied");
    let got = client.get_object().bucket(OTHER).key("b").send().await.expect("there");
    assert_eq!(got.content_type(), Some("image/png"));
    assert_eq!(got.metadata().and_then(|metadata| metadata.get("who")).map(String::as_str), Some("alice"));
    assert_eq!(got.body.collect().await.expect("a body").to_vec(), b"meow");

    let itself = copy().bucket(BUCKET).key("a é/1").send().await;
    assert_eq!(itself.expect_err("no change").into_service_error().code(), Some("InvalidRequest"));
    let replaced = copy().bucket(BUCKET).key("a é/1").metadata_directive(MetadataDirective::Replace);
    replaced.content_type("text/plain").send().await.expect("replaced");
    let head = client.head_object().bucket(BUCKET).key("a é/1").send().await.expect("there");
    assert_eq!((head.content_type(), head.content_length()), (Some("text/plain"), Some(4)));
    assert_eq!(head.metadata().map(std::collections::HashMap::len), Some(0));

    for (source, code) in [(format!("{BUCKET}/none"), "NoSuchKey"), ("elsewhere/a".to_owned(), "NoSuchBucket")] {
        let error = client.copy_object().copy_source(source).bucket(BUCKET).key("c").send().await;
        assert_eq!(error.expect_err("no source").into_service_error().code(), Some(code));
    }
}

#[tokio::test]
async fn many_objects_are_deleted_at_once() {
    let served = Served::new().await;
    for key in ["a", "b", "c"] {
        served.put(key, b"x", "text/plain").await;
    }
    let object = |key: &str| ObjectIdentifier::builder().key(key).build().expect("a key");
    let delete = Delete::builder().objects(object("a")).objects(object("c")).objects(object("none"));
    let deleted = served.client().delete_objects().bucket(BUCKET).delete(delete.build().expect("objects"));
    let deleted = deleted.send().await.expect("deleted");
    assert_eq!((deleted.deleted().len(), deleted.errors().len()), (3, 0));
    assert_eq!(served.keys().await, ["b"]);
    assert_eq!(std::fs::read_dir(served.dir.path().join("objects").join(BUCKET)).expect("a folder").count(), 1);
}

#[tokio::test]
async fn a_list_is_in_order_by_prefix_and_in_pages() {
    let served = Served::new().await;
    for key in ["b/2", "a", "b/1", "b/sub/3", "b/sub/4", "c", "b-"] {
        served.put(key, b"xy", "text/plain").await;
    }
    assert_eq!(served.keys().await, ["a", "b-", "b/1", "b/2", "b/sub/3", "b/sub/4", "c"]);

    let client = served.client();
    let pages = client.list_objects_v2().bucket(BUCKET).prefix("b/").max_keys(3).into_paginator().send();
    let pages = pages.try_collect().await.expect("pages");
    let sizes: Vec<_> = pages.iter().map(|page| (page.key_count(), page.is_truncated())).collect();
    assert_eq!(sizes, [(Some(3), Some(true)), (Some(1), Some(false))]);
    assert_eq!(pages[1].contents()[0].key(), Some("b/sub/4"));
    assert_eq!(pages[1].contents()[0].size(), Some(2));

    // One entry a page, folders counting as one.
    let pages = client.list_objects_v2().bucket(BUCKET).delimiter("/").prefix("b").max_keys(1);
    let pages = pages.into_paginator().send().try_collect().await.expect("pages");
    let prefix = |page: &aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output| {
        page.common_prefixes().iter().filter_map(|it| it.prefix().map(str::to_owned)).next()
    };
    assert_eq!(pages.iter().map(prefix).collect::<Vec<_>>(), [None, Some("b/".to_owned())]);
    assert_eq!(pages[0].contents()[0].key(), Some("b-"));

    let after = client.list_objects_v2().bucket(BUCKET).start_after("b/sub/3").send().await.expect("a list");
    assert_eq!(after.contents().iter().filter_map(|object| object.key()).collect::<Vec<_>>(), ["b/sub/4", "c"]);
}

#[tokio::test]
async fn a_condition_is_decided_at_the_moment_of_the_write() {
    let served = Served::new().await;
    let client = served.client();
    let put = |body: &'static [u8]| client.put_object().bucket(BUCKET).key("a").body(ByteStream::from_static(body));
    let racing = futures_util::future::join_all((0..20).map(|_| put(b"x").if_none_match("*").send())).await;
    assert_eq!(racing.iter().filter(|put| put.is_ok()).count(), 1, "one is first");
    let error = put(b"y").if_match("\"0\"").send().await.expect_err("another version").into_service_error();
    assert_eq!(error.code(), Some("PreconditionFailed"));
    let etag = client.head_object().bucket(BUCKET).key("a").send().await.expect("there");
    put(b"y").if_match(etag.e_tag().expect("an ETag")).send().await.expect("this version");

    let etag = client.head_object().bucket(BUCKET).key("a").send().await.expect("there");
    let again = client.get_object().bucket(BUCKET).key("a").if_none_match(etag.e_tag().expect("an ETag"));
    let error = again.send().await.expect_err("nothing new");
    assert_eq!(error.raw_response().map(|raw| raw.status().as_u16()), Some(304));
}

#[tokio::test]
async fn a_body_with_a_wrong_checksum_is_refused() {
    let served = Served::new().await;
    let put = served.client().put_object().bucket(BUCKET).key("a").body(ByteStream::from_static(b"meow"));
    let error = put.content_md5("AAAAAAAAAAAAAAAAAAAAAA==").send().await.expect_err("another body");
    assert_eq!(error.into_service_error().code(), Some("BadDigest"));
    let put = served.client().put_object().bucket(BUCKET).key("a").body(ByteStream::from_static(b"meow"));
    let error = put.checksum_crc32("AAAAAA==").send().await.expect_err("another body");
    assert_eq!(error.into_service_error().code(), Some("BadDigest"));
    assert_eq!((served.get("a").await, served.uploads()), (None, 0));
}

#[tokio::test]
async fn a_body_can_be_sent_in_chunks_with_a_trailing_checksum() {
    let served = Served::new().await;
    let file = tempfile::NamedTempFile::new().expect("a file");
    let body: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    std::fs::write(file.path(), &body).expect("written");
    let stream = ByteStream::from_path(file.path()).await.expect("a stream");
    let put = served.client().put_object().bucket(BUCKET).key("a").body(stream).send().await.expect("stored");
    assert!(
        put.checksum_crc32().is_some() || put.checksum_crc64_nvme().is_some(),
        "the SDK sends a sum after the body"
    );
    assert_eq!(served.get("a").await, Some(body));
}

#[tokio::test]
async fn acls_and_tags_are_refused() {
    let served = Served::new().await;
    let version = served.client().get_object().bucket(BUCKET).key("a").version_id("1").send().await;
    assert_eq!(version.expect_err("no versions").into_service_error().code(), Some("NoSuchVersion"));
    let put = || served.client().put_object().bucket(BUCKET).key("a").body(ByteStream::from_static(b"x"));
    let acl = put().acl(aws_sdk_s3::types::ObjectCannedAcl::PublicRead).send().await;
    assert_eq!(acl.expect_err("no ACLs").into_service_error().code(), Some("AccessControlListNotSupported"));
    let tags = put().tagging("a=b").send().await;
    assert_eq!(tags.expect_err("no tags").into_service_error().code(), Some("NotImplemented"));
    let large = put().metadata("a", "b".repeat(2048)).send().await;
    assert_eq!(large.expect_err("too much").into_service_error().code(), Some("MetadataTooLarge"));
}

#[tokio::test]
async fn objects_are_there_after_a_restart() {
    let served = Served::new().await;
    served.put("a/b", b"meow", "image/png").await;
    served.put("c", b"", "text/plain").await;
    let again = services(Some(served.dir.path()));
    let store = &again.s3.as_ref().expect("embedded").store;
    let keys = store.bucket(BUCKET).expect("a bucket").list("", std::ops::Bound::Unbounded, |heads| {
        heads.map(|head| (head.key.clone(), head.size_bytes)).collect::<Vec<_>>()
    });
    assert_eq!(keys, [("a/b".to_owned(), 4), ("c".to_owned(), 0)]);
}

#[tokio::test]
async fn without_a_data_directory_no_file_remains() {
    let services = services(None);
    let s3 = services.s3.as_ref().expect("embedded");
    let path = s3.temporary.lock().expect("a directory").as_ref().expect("a directory").path().to_owned();
    assert!(path.join(BUCKET).is_dir());
    s3.close();
    assert!(!path.exists());
}
