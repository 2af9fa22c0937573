//! Forms, policies and requests that no browser makes. Wrong ones are refused, and nothing of them is stored.

use axum::body::Bytes;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use super::super::multipart;
use super::super::policy::{FormFields, Policy};
use super::forms::{Form, content_type};
use super::*;

fn config() -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::default() }
}

/// Texts of these words and of arbitrary text, in any order.
fn words(words: &'static [&'static str]) -> impl Strategy<Value = String> {
    let word = prop_oneof![
        4 => proptest::sample::select(words).prop_map(str::to_owned),
        1 => any::<String>(),
    ];
    proptest::collection::vec(word, 0..24).prop_map(|words| words.concat())
}

/// The text of a form with these parts, as a browser sends it.
fn encoded(boundary: &str, parts: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut form = Vec::new();
    for (name, value) in parts {
        let head = format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n");
        form.extend([head.as_bytes(), value, b"\r\n"].concat());
    }
    form.extend(format!("--{boundary}--\r\n").into_bytes());
    form
}

/// Reads a form that arrives in portions of this size.
async fn read(form: &[u8], content_type: &str, portion: usize) -> Option<Vec<(String, Vec<u8>)>> {
    let portions: Vec<_> = form.chunks(portion).map(|portion| Ok(Bytes::copy_from_slice(portion))).collect();
    let mut form = multipart::Form::new(futures_util::stream::iter(portions), content_type)?;
    let mut parts = Vec::new();
    while let Some(part) = form.next_part().await.ok()? {
        let mut value = Vec::new();
        while let Some(piece) = form.piece().await.ok()? {
            value.extend_from_slice(&piece);
        }
        parts.push((part.name, value));
    }
    Some(parts)
}

#[test]
fn a_form_is_read_as_it_was_written_and_any_other_text_is_read_or_refused() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let value = proptest::collection::vec(prop_oneof![any::<u8>(), Just(b'\r'), Just(b'\n'), Just(b'-')], 0..48);
    let parts = proptest::collection::vec(("[A-Za-z0-9 ;=-]{1,12}", value), 0..5);
    let tested =
        TestRunner::new(config()).run(&("[A-Za-z0-9]{8,40}", parts, 1_usize..64), |(boundary, parts, size)| {
            let content_type = format!("multipart/form-data; boundary={boundary}");
            let form = encoded(&boundary, &parts);
            prop_assert_eq!(runtime.block_on(read(&form, &content_type, size)), Some(parts));
            Ok(())
        });
    tested.expect("forms come back");
    let text = words(&[
        "--B",
        "\r\n",
        "\r\n\r\n",
        "--",
        "Content-Disposition: form-data",
        "; name=",
        "\"",
        "\\\"",
        "key",
        "; filename=",
        "Content-Type: x",
        ":",
        ";",
        "=",
        "\0",
    ]);
    let kind = words(&["multipart/form-data", "; boundary=", "\"", "B", ";", "=", " "]);
    let tested = TestRunner::new(config()).run(&(text, kind, 1_usize..64), |(text, kind, size)| {
        for kind in [kind.as_str(), "multipart/form-data; boundary=B"] {
            runtime.block_on(read(text.as_bytes(), kind, size));
        }
        Ok(())
    });
    tested.expect("no text is too much");
}

#[test]
fn any_policy_is_read_or_refused_and_none_allows_a_field_that_it_does_not_name() {
    let member = words(&["eq", "starts-with", "content-length-range", "$key", "$", "key", "bucket", "", "9999999999"]);
    let value = prop_oneof![member.prop_map(Value::from), any::<i64>().prop_map(Value::from), Just(Value::Null)];
    let condition = prop_oneof![
        proptest::collection::vec(value.clone(), 0..5).prop_map(Value::from),
        proptest::collection::btree_map("[a-z$-]{0,8}", value.clone(), 0..3).prop_map(|map| json!(map)),
        value,
    ];
    let conditions = proptest::collection::vec(condition, 0..5);
    let expiration = words(&["2099-01-01T00:00:00Z", "-", "+", "9999999999-01-01T00:00:00Z", "T", "Z", "0"]);
    let tested = TestRunner::new(config()).run(&(conditions, expiration), |(conditions, expiration)| {
        let named = json!(conditions).to_string().contains("acl");
        for expiration in [expiration.as_str(), "2099-01-01T00:00:00Z"] {
            let document = json!({ "expiration": expiration, "conditions": conditions }).to_string();
            if let Ok(policy) = Policy::parse(&STANDARD.encode(document)) {
                let mut fields = FormFields::default();
                fields.push("key", "a".to_owned());
                fields.push("acl", "public-read".to_owned());
                prop_assert!(named || policy.check(BUCKET, &fields, 0).is_err());
            }
        }
        Ok(())
    });
    tested.expect("policies are read or refused");
}

#[test]
fn a_form_without_a_good_signature_stores_nothing() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let served = runtime.block_on(Served::new());
    let value = words(&[
        "uploads/1",
        "../",
        "${filename}",
        "AWS4-HMAC-SHA256",
        "LOCAL-worker/",
        "20990101",
        "/us-east-1/s3/aws4_request",
        "local",
        "e30=",
        "eyJleHBpcmF0aW9uIjoiMjA5OS0wMS0wMVQwMDowMDowMFoiLCJjb25kaXRpb25zIjpbXX0=",
        "0",
        "f",
        "+",
    ]);
    let names = proptest::sample::select(vec![
        "key",
        "policy",
        "Content-Type",
        "x-amz-algorithm",
        "x-amz-credential",
        "x-amz-date",
        "x-amz-signature",
        "x-amz-security-token",
        "acl",
        "success_action_redirect",
        "x-amz-meta-a",
        "file",
    ]);
    let parts = proptest::collection::vec((names.prop_map(str::to_owned), value.prop_map(String::into_bytes)), 0..12);
    let boundary = content_type().split_once('=').expect("a boundary").1.to_owned();
    let http = reqwest::Client::new();
    let tested = TestRunner::new(config()).run(&parts, |mut parts| {
        parts.push(("file".to_owned(), b"x".to_vec()));
        let request = http.post(format!("{}/{BUCKET}", served.url)).header("content-type", content_type());
        let response = runtime.block_on(request.body(encoded(&boundary, &parts)).send()).expect("an answer");
        prop_assert!((400..500).contains(&response.status().as_u16()), "{:?}", response);
        Ok(())
    });
    tested.expect("all are refused");
    assert_eq!((runtime.block_on(served.keys()), served.uploads()), (Vec::new(), 0));
    // A form with a good signature is still accepted.
    assert_eq!(runtime.block_on(Form::new("uploads/1").post(&served, b"x")).status(), 204);
}

#[tokio::test]
async fn a_field_that_comes_twice_is_used_with_the_value_that_was_checked() {
    for (name, other) in [("key", "other/1"), ("Key", "other/1"), ("Content-Type", "text/html"), ("policy", "e30=")] {
        for first in [true, false] {
            let served = Served::new().await;
            let (before, after) = Form::new("uploads/1").around();
            let boundary = content_type().split_once('=').expect("a boundary").1.to_owned();
            let extra = format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{other}\r\n");
            let file = before.rfind(&format!("--{boundary}")).expect("a file");
            let body = match first {
                true => format!("{extra}{before}x{after}"),
                false => format!("{}{extra}{}x{after}", &before[..file], &before[file..]),
            };
            let request = reqwest::Client::new().post(format!("{}/{BUCKET}", served.url)).body(body);
            let status = request.header("content-type", content_type()).send().await.expect("an answer").status();
            match status.as_u16() {
                204 => {
                    assert_eq!(served.keys().await, ["uploads/1"], "{name}");
                    let head = served.client().head_object().bucket(BUCKET).key("uploads/1").send().await;
                    assert_eq!(head.expect("it").content_type(), Some("image/png"), "{name}");
                }
                status => {
                    assert!((400..500).contains(&status), "{name}: {status}");
                    assert!(served.keys().await.is_empty(), "{name}");
                }
            }
        }
    }
}

#[tokio::test]
async fn at_most_the_first_of_two_files_is_stored() {
    let served = Served::new().await;
    let (before, after) = Form::new("uploads/1").around();
    let boundary = content_type().split_once('=').expect("a boundary").1.to_owned();
    let second = format!("--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"b\"\r\n\r\n");
    let body = format!("{before}first\r\n{second}the second{after}");
    let request = reqwest::Client::new().post(format!("{}/{BUCKET}", served.url)).body(body);
    let response = request.header("content-type", content_type()).send().await.expect("an answer");
    match response.status().as_u16() {
        204 => assert_eq!(served.get("uploads/1").await.as_deref(), Some(&b"first"[..])),
        status => assert_eq!(status, 400),
    }
    assert!(served.keys().await.len() <= 1);
}

/// Rust reads the number `+f` like `0f`, but `+f` is not a hexadecimal byte.
#[tokio::test]
async fn a_signature_is_hexadecimal_digits_and_nothing_else() {
    let served = Served::new().await;
    let zero_at = |form: &str| {
        let at =
            form.find("\"x-amz-signature\"").and_then(|at| Some(at + form[at..].find("\r\n\r\n")? + 4)).expect("it");
        (at..at + 64).step_by(2).find(|at| form.as_bytes()[*at] == b'0')
    };
    // Among 100 signatures there is almost certainly one with a byte below 16.
    let forms = (0..100).map(|number| Form::new(&format!("uploads/{number}")).around());
    let (mut before, after) = forms.into_iter().find(|(before, _)| zero_at(before).is_some()).expect("a zero");
    let zero = zero_at(&before).expect("a zero");
    before.replace_range(zero..=zero, "+");
    let request = reqwest::Client::new().post(format!("{}/{BUCKET}", served.url)).body(format!("{before}x{after}"));
    let response = request.header("content-type", content_type()).send().await.expect("an answer");
    assert_eq!(outcome(response).await, (403, "SignatureDoesNotMatch".to_owned()));
}

#[test]
fn any_request_to_a_bucket_is_answered_and_none_is_let_in() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let served = runtime.block_on(Served::new());
    let path = words(&["/local-media", "/", "..", "%2e%2e", "%", "%00", "%ff", "a", ".", "//", "+", "~"]);
    let query = words(&[
        "X-Amz-Algorithm=AWS4-HMAC-SHA256",
        "&",
        "=",
        "X-Amz-Credential=",
        "LOCAL-worker%2F",
        "X-Amz-Expires=",
        "604800",
        "-1",
        "X-Amz-Signature=",
        "uploads",
        "list-type=2",
        "%",
        "%zz",
    ]);
    let method = proptest::sample::select(vec!["GET", "PUT", "POST", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE"]);
    let http = reqwest::Client::new();
    let tested = TestRunner::new(config()).run(&(path, query, method), |(path, query, method)| {
        let url = format!("{}/{}?{query}", served.url, path.trim_start_matches('/'));
        let Ok(url) = url.parse::<reqwest::Url>() else { return Ok(()) };
        let request = http.request(method.parse().expect("a method"), url.clone()).body("x");
        let status = runtime.block_on(request.send()).expect("an answer").status().as_u16();
        prop_assert!((400..500).contains(&status) || status == 501, "{} {}: {}", method, url, status);
        Ok(())
    });
    tested.expect("all are answered");
    assert_eq!((runtime.block_on(served.keys()), served.uploads()), (Vec::new(), 0));
}
