//! The signatures are made by the SDK's own signer.

use std::time::{Duration, UNIX_EPOCH};

use aws_credential_types::Credentials as SdkCredentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign,
};
use aws_sigv4::sign::v4;

use super::*;

const NOW_SECONDS: u64 = 1_800_000_000;

fn keys() -> Keys {
    let shared = Credentials { access_key: "minio".into(), secret_key: "hidden".into(), session_token: None };
    Keys::of(["f"].into_iter(), Some(&shared))
}

/// A request with a body, signed for the service `lambda`.
fn signed(uri: &str, (key, secret, token): (&str, &str, Option<&str>), settings: SigningSettings) -> request::Parts {
    let identity = SdkCredentials::new(key, secret, token.map(str::to_owned), None, "test").into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region("us-east-1")
        .name("lambda")
        .time(UNIX_EPOCH + Duration::from_secs(NOW_SECONDS))
        .settings(settings)
        .build()
        .unwrap()
        .into();
    let headers = [("host", "localhost:8000"), ("x-mine", " a  b ")];
    let body = SignableBody::Bytes(b"body");
    let signable = SignableRequest::new("POST", format!("http://localhost:8000{uri}"), headers.into_iter(), body);
    let (instructions, _) = sign(signable.unwrap(), &params).unwrap().into_parts();
    let mut request = http::Request::builder().method("POST").uri(format!("http://localhost:8000{uri}"));
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let mut request = request.body(()).unwrap();
    instructions.apply_to_request_http1x(&mut request);
    request.into_parts().0
}

fn verify(head: &request::Parts, body: &[u8], seconds: u64) -> Result<Signer, Refused> {
    keys().verify_at(head, body, "lambda", i64::try_from(seconds * 1000).unwrap())
}

const FUNCTION: (&str, &str, Option<&str>) = ("LOCAL-f", "local", Some("local/7"));
const PERSON: (&str, &str, Option<&str>) = ("local", "local", None);

#[test]
fn requests_that_the_sdk_has_signed_are_taken() {
    for uri in ["/", "/a%20b/%C3%A9?b=2&a=1%2F3&a=0&empty", "/a+b?x=a%20b&y=~-._"] {
        for (credentials, function) in [(FUNCTION, "f"), (PERSON, OTHER), (("minio", "hidden", None), OTHER)] {
            let head = signed(uri, credentials, SigningSettings::default());
            let signer =
                verify(&head, b"body", NOW_SECONDS).unwrap_or_else(|why| panic!("{uri} {credentials:?} {why:?}"));
            assert_eq!((signer.access_key.as_str(), signer.caller.function.as_str()), (credentials.0, function));
        }
    }
    let signer = verify(&signed("/", FUNCTION, SigningSettings::default()), b"body", NOW_SECONDS).unwrap();
    assert_eq!(signer.caller.instance.as_deref(), Some("7"));
    assert_eq!(signer.arn("1"), "arn:aws:sts::1:assumed-role/f/f");
    assert_eq!(
        Signer { access_key: "local".into(), caller: Caller { function: OTHER.into(), instance: None } }.arn("1"),
        "arn:aws:iam::1:user/local"
    );
}

#[test]
fn an_address_may_have_the_signature_in_its_query() {
    let mut settings = SigningSettings::default();
    settings.signature_location = SignatureLocation::QueryParams;
    settings.expires_in = Some(Duration::from_secs(60));
    let head = signed("/a?b=1", FUNCTION, settings);
    assert!(head.uri.query().unwrap().contains("X-Amz-Signature="));
    assert_eq!(verify(&head, b"body", NOW_SECONDS + 59).unwrap().caller.function, "f");
    assert_eq!(verify(&head, b"body", NOW_SECONDS + 61), Err(Refused::Expired));
}

#[test]
fn what_was_changed_after_the_signing_is_refused() {
    let mut settings = SigningSettings::default();
    settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    let head = || signed("/a?b=1", FUNCTION, settings.clone());
    assert!(verify(&head(), b"body", NOW_SECONDS).is_ok());
    assert_eq!(verify(&head(), b"another", NOW_SECONDS), Err(Refused::Mismatch));
    let mut changed = head();
    changed.uri = "http://localhost:8000/a?b=2".parse().unwrap();
    assert_eq!(verify(&changed, b"body", NOW_SECONDS), Err(Refused::Mismatch));
    let mut changed = head();
    changed.headers.insert("x-mine", "c".parse().unwrap());
    assert_eq!(verify(&changed, b"body", NOW_SECONDS), Err(Refused::Mismatch));
    let mut changed = head();
    changed.headers.remove("x-mine");
    assert_eq!(verify(&changed, b"body", NOW_SECONDS), Err(Refused::Mismatch));
    let mut changed = head();
    changed.headers.insert("x-amz-content-sha256", "UNSIGNED-PAYLOAD".parse().unwrap());
    assert_eq!(verify(&changed, b"body", NOW_SECONDS), Err(Refused::Mismatch));
}

#[test]
fn each_other_request_is_refused_for_its_reason() {
    let sign = |credentials| signed("/", credentials, SigningSettings::default());
    let at = |head: &request::Parts, seconds| verify(head, b"body", seconds).unwrap_err();
    assert_eq!(at(&sign(("LOCAL-f", "wrong", Some("local"))), NOW_SECONDS), Refused::Mismatch);
    for unknown in [("LOCAL-g", "local", Some("local")), ("LOCAL-f", "local", None), ("LOCAL-f", "local", Some("x"))] {
        assert_eq!(at(&sign(unknown), NOW_SECONDS), Refused::UnknownKey);
    }
    assert_eq!(at(&sign(("minio", "hidden", Some("x"))), NOW_SECONDS), Refused::UnknownKey);
    assert_eq!(at(&sign(FUNCTION), NOW_SECONDS + 301), Refused::Expired);
    assert_eq!(at(&sign(FUNCTION), NOW_SECONDS - 301), Refused::Expired);
    let for_another = keys().verify_at(&sign(FUNCTION), b"body", "execute-api", 0).unwrap_err();
    assert!(matches!(for_another, Refused::Malformed(_)));

    let with = |authorization: &str| {
        let request =
            http::Request::builder().uri("/").header("host", "localhost").header("x-amz-date", "20270115T080000Z");
        at(&request.header("authorization", authorization).body(()).unwrap().into_parts().0, NOW_SECONDS)
    };
    assert_eq!(with("Bearer token"), Refused::Unsigned);
    let scope = "Credential=local/20270115/us-east-1/lambda/aws4_request";
    for malformed in [
        ALGORITHM.to_owned(),
        format!("{ALGORITHM} {scope}"),
        format!("{ALGORITHM} Credential=local, SignedHeaders=host, Signature=0"),
        format!("{ALGORITHM} Credential=local/20270115/us-east-1/lambda, SignedHeaders=host, Signature=0"),
        format!("{ALGORITHM} Credential=local/20270114/us-east-1/lambda/aws4_request, SignedHeaders=host, Signature=0"),
    ] {
        assert!(matches!(with(&malformed), Refused::Malformed(_)), "{malformed}");
    }
    // The time is right, and the host or the signature is not.
    assert_eq!(with(&format!("{ALGORITHM} {scope}, SignedHeaders=x-amz-date, Signature=0")), Refused::Mismatch);
    assert_eq!(with(&format!("{ALGORITHM} {scope}, SignedHeaders=host, Signature=0")), Refused::Mismatch);
    for refused in
        [Refused::Unsigned, Refused::UnknownKey, Refused::Expired, Refused::Mismatch, Refused::Malformed("x")]
    {
        assert!(!refused.message().0.is_empty() && refused.message().1.ends_with("Exception"));
    }
}
