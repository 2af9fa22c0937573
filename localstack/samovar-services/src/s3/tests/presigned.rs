//! Signatures, and addresses that a function signs for others.

use std::time::Duration;

use aws_sdk_s3::presigning::PresigningConfig;

use super::*;

pub(super) fn for_seconds(seconds: u64) -> PresigningConfig {
    PresigningConfig::expires_in(Duration::from_secs(seconds)).expect("a time")
}

/// Signed so long ago, for a minute.
fn signed_ago(seconds: u64) -> PresigningConfig {
    let then = std::time::UNIX_EPOCH + Duration::from_millis(crate::clock::now_ms().unsigned_abs());
    let builder = PresigningConfig::builder().start_time(then - Duration::from_secs(seconds));
    builder.expires_in(Duration::from_secs(60)).build().expect("a time")
}

#[tokio::test]
async fn a_presigned_url_puts_and_gets_without_credentials() {
    let served = Served::new().await;
    let http = reqwest::Client::new();
    let put = served.client().put_object().bucket(BUCKET).key("a b/é+.png").content_type("image/png").content_length(4);
    let put = put.presigned(for_seconds(60)).await.expect("a URL");
    let with = |content_type: &'static str, body: &'static str| {
        http.put(put.uri()).header("content-type", content_type).body(body).send()
    };
    let refused = (403, "SignatureDoesNotMatch".to_owned());
    assert_eq!(outcome(with("image/gif", "meow").await.expect("an answer")).await, refused, "another type");
    assert_eq!(outcome(with("image/png", "meow!").await.expect("an answer")).await, refused, "another length");
    assert_eq!(with("image/png", "meow").await.expect("an answer").status(), 200);

    let get = served.client().get_object().bucket(BUCKET).key("a b/é+.png");
    let get = get.response_content_disposition("attachment").presigned(for_seconds(60)).await.expect("a URL");
    let got = http.get(get.uri()).send().await.expect("an answer");
    let header = |name: &str| got.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    assert_eq!(header("content-type").as_deref(), Some("image/png"));
    assert_eq!(header("content-disposition").as_deref(), Some("attachment"));
    assert!(header("x-amz-request-id").is_some());
    assert_eq!(got.text().await.expect("a body"), "meow");
    let part = http.get(get.uri()).header("range", "bytes=1-2").send().await.expect("an answer");
    assert_eq!((part.status().as_u16(), part.text().await.expect("a body")), (206, "eo".to_owned()));
}

#[tokio::test]
async fn an_address_that_is_not_as_it_was_signed_is_refused() {
    let served = Served::new().await;
    served.put("a", b"meow", "image/png").await;
    served.put("b", b"meow", "image/png").await;
    let http = reqwest::Client::new();
    let signed = |config: PresigningConfig, client: Client| async move {
        client.get_object().bucket(BUCKET).key("a").presigned(config).await.expect("a URL").uri().to_owned()
    };
    let good = signed(for_seconds(60), served.client()).await;
    assert_eq!(http.get(&good).send().await.expect("an answer").status(), 200);

    let cases = [
        (good.replace("/a?", "/b?"), 403, "SignatureDoesNotMatch"),
        (good.replace("X-Amz-Expires=60", "X-Amz-Expires=600"), 403, "SignatureDoesNotMatch"),
        (good.replace("X-Amz-Security-Token=local", "X-Amz-Security-Token=other"), 403, "SignatureDoesNotMatch"),
        (format!("{}/{BUCKET}/a", served.url), 403, "AccessDenied"),
        (signed(signed_ago(61), served.client()).await, 403, "AccessDenied"),
        (
            signed(for_seconds(60), served.client_of("LOCAL-nobody", "local", Some("local"))).await,
            403,
            "InvalidAccessKeyId",
        ),
        (
            signed(for_seconds(60), served.client_of("LOCAL-worker", "wrong", Some("local"))).await,
            403,
            "SignatureDoesNotMatch",
        ),
        (signed(for_seconds(60), served.client_of("LOCAL-worker", "local", None)).await, 403, "InvalidAccessKeyId"),
        (signed(for_seconds(60), served.client_of("LOCAL-worker", "local", Some("old"))).await, 400, "InvalidToken"),
    ];
    for (url, status, code) in cases {
        let response = http.get(&url).send().await.expect("an answer");
        assert_eq!(outcome(response).await, (status, code.to_owned()), "{url}");
    }
    let put = http.put(&good).body("x").send().await.expect("an answer");
    assert_eq!(outcome(put).await, (403, "SignatureDoesNotMatch".to_owned()), "signed for reading");
    let expired = http.get(signed(signed_ago(61), served.client()).await).send().await.expect("an answer");
    assert!(expired.text().await.expect("a body").contains("<Message>Request has expired</Message>"));
}

#[tokio::test]
async fn a_body_that_is_not_the_one_that_was_announced_is_refused() {
    let served = Served::new().await;
    let put = served.client().put_object().bucket(BUCKET).key("a").presigned(for_seconds(60)).await.expect("a URL");
    let request = reqwest::Client::new().put(put.uri()).header("x-amz-content-sha256", "0".repeat(64)).body("meow");
    let response = request.send().await.expect("an answer");
    assert_eq!(outcome(response).await, (400, "XAmzContentSHA256Mismatch".to_owned()));
    assert_eq!((served.get("a").await, served.uploads()), (None, 0));
}

#[tokio::test]
async fn an_address_is_good_for_a_week_at_most() {
    let served = Served::new().await;
    let get = served.client().get_object().bucket(BUCKET).key("a").presigned(for_seconds(604_800)).await;
    let get = get.expect("a URL").uri().to_owned();
    assert_eq!(outcome(reqwest::get(&get).await.expect("an answer")).await, (404, "NoSuchKey".to_owned()));
    let longer = get.replace("X-Amz-Expires=604800", "X-Amz-Expires=604801");
    let refused = (400, "AuthorizationQueryParametersError".to_owned());
    assert_eq!(outcome(reqwest::get(&longer).await.expect("an answer")).await, refused);
}

#[tokio::test]
async fn a_refused_upload_is_answered_although_the_client_still_sends() {
    let served = Served::new().await;
    let put = reqwest::Client::new().put(format!("{}/{BUCKET}/a", served.url)).body(vec![7; 8 * 1024 * 1024]);
    let response = put.send().await.expect("an answer, not a reset");
    assert_eq!(outcome(response).await, (403, "AccessDenied".to_owned()));
    assert_eq!(served.get("a").await, None);
}

#[tokio::test]
async fn calls_with_wrong_credentials_are_refused() {
    use aws_sdk_s3::error::ProvideErrorMetadata as _;
    let served = Served::new().await;
    for (client, code) in [
        (served.client_of("LOCAL-worker", "wrong", Some("local")), "SignatureDoesNotMatch"),
        (served.client_of("LOCAL-nobody", "local", Some("local")), "InvalidAccessKeyId"),
        (served.client_of("AKIAIOSFODNN7EXAMPLE", "local", None), "InvalidAccessKeyId"),
        (served.client_of("LOCAL-worker", "local", Some("old")), "InvalidToken"),
        (served.client_of("LOCAL-worker", "local", None), "InvalidAccessKeyId"),
    ] {
        let error = client.get_object().bucket(BUCKET).key("a").send().await.expect_err(code);
        assert_eq!(error.into_service_error().code(), Some(code));
    }
    assert!(served.calls().is_empty(), "who is refused has called nothing");
}
