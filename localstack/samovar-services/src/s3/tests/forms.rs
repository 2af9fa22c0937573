//! Uploads from a browser's form.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::*;

const BOUNDARY: &str = "----WebKitFormBoundaryAbC123";

/// A form as a function would make it, with its policy: all of it can be changed before it is sent.
pub(super) struct Form {
    pub(super) secret: String,
    pub(super) expires: String,
    pub(super) conditions: Vec<Value>,
    pub(super) fields: Vec<(String, String)>,
}

impl Form {
    pub(super) fn new(key: &str) -> Self {
        let now = jiff::Timestamp::from_millisecond(crate::clock::now_ms()).expect("a time");
        let date = now.strftime("%Y%m%dT%H%M%SZ").to_string();
        let fields = [
            ("key", key),
            ("Content-Type", "image/png"),
            ("x-amz-algorithm", "AWS4-HMAC-SHA256"),
            ("x-amz-credential", &format!("LOCAL-worker/{}/us-east-1/s3/aws4_request", &date[..8])),
            ("x-amz-date", &date),
            ("x-amz-security-token", "local"),
        ];
        let fields: Vec<_> = fields.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let mut conditions = vec![
            json!({ "bucket": BUCKET }),
            json!(["starts-with", "$key", "uploads/"]),
            json!(["eq", "$Content-Type", "image/png"]),
            json!(["content-length-range", 1, 16]),
        ];
        for (name, value) in &fields[2..] {
            conditions.push(json!({ name.as_str(): value }));
        }
        let expires = (now + jiff::SignedDuration::from_secs(60)).to_string();
        Self { secret: "local".to_owned(), expires, conditions, fields }
    }

    pub(super) fn set(mut self, name: &str, value: &str) -> Self {
        self.fields.retain(|(given, _)| given != name);
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(super) fn without(mut self, name: &str) -> Self {
        self.fields.retain(|(given, _)| given != name);
        self
    }

    /// A field that the policy allows.
    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        self.conditions.push(json!(["eq", format!("${name}"), value]));
        self.set(name, value)
    }

    fn signed(mut self) -> Self {
        let policy = json!({ "expiration": self.expires, "conditions": self.conditions }).to_string();
        let policy = STANDARD.encode(policy);
        let credential = self.fields.iter().find(|(name, _)| name == "x-amz-credential").expect("a field").1.clone();
        let mut key = format!("AWS4{}", self.secret).into_bytes();
        for part in credential.split('/').skip(1).chain([policy.as_str()]) {
            let signer = hmac::Key::new(hmac::HMAC_SHA256, &key);
            key = hmac::sign(&signer, part.as_bytes()).as_ref().to_vec();
        }
        self.fields.push(("policy".to_owned(), policy));
        self.fields.push(("x-amz-signature".to_owned(), super::super::upload::hex(&key)));
        self
    }

    /// The beginning and the end of the body, between which the file is.
    pub(super) fn around(self) -> (String, String) {
        (around_unsigned(&self.signed().fields), format!("\r\n--{BOUNDARY}--\r\n"))
    }

    pub(super) async fn send(self, served: &Served, file: &[u8]) -> reqwest::Result<reqwest::Response> {
        let (before, after) = self.around();
        let body = [before.as_bytes(), file, after.as_bytes()].concat();
        send_body(served, body).await
    }

    pub(super) async fn post(self, served: &Served, file: &[u8]) -> reqwest::Response {
        self.send(served, file).await.expect("an answer")
    }
}

fn around_unsigned(fields: &[(String, String)]) -> String {
    let field = |(name, value): &(String, String)| {
        format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let fields: String = fields.iter().map(field).collect();
    let file = "Content-Disposition: form-data; name=\"file\"; filename=\"cat.png\"\r\nContent-Type: image/png";
    format!("{fields}--{BOUNDARY}\r\n{file}\r\n\r\n")
}

async fn send_body(served: &Served, body: Vec<u8>) -> reqwest::Result<reqwest::Response> {
    let request = reqwest::Client::new().post(format!("{}/{BUCKET}", served.url)).body(body);
    request.header("content-type", content_type()).send().await
}

pub(super) fn content_type() -> String {
    format!("multipart/form-data; boundary={BOUNDARY}")
}

#[tokio::test]
async fn a_form_is_an_upload_that_a_presigned_url_brings_back() {
    let served = Served::new().await;
    let form = Form::new("uploads/1").with("x-amz-meta-who", "alice").set("x-ignore-me", "anything");
    let posted = form.post(&served, b"meow").await;
    assert_eq!(posted.status(), 204);
    assert_eq!(posted.headers()["etag"], "\"4a4be40c96ac6314e91d93f38043a634\"");
    assert_eq!(posted.headers()["location"], format!("{}/{BUCKET}/uploads%2F1", served.url));
    let get = served.client().get_object().bucket(BUCKET).key("uploads/1");
    let got = reqwest::get(get.presigned(presigned::for_seconds(60)).await.expect("a URL").uri()).await;
    let got = got.expect("an answer");
    assert_eq!(
        (&got.headers()["content-type"], &got.headers()["x-amz-meta-who"]),
        (&"image/png".parse().expect("a value"), &"alice".parse().expect("a value"))
    );
    assert_eq!(got.text().await.expect("a body"), "meow");
}

#[tokio::test]
async fn a_form_chooses_what_success_looks_like() {
    let served = Served::new().await;
    let created = Form::new("uploads/a&b").with("success_action_status", "201").post(&served, b"x").await;
    assert_eq!(created.status(), 201);
    let text = created.text().await.expect("a body");
    assert_eq!(between(&text, "<Key>", "</Key>"), "uploads/a&amp;b");
    assert_eq!(between(&text, "<Bucket>", "</Bucket>"), BUCKET);
    let form = Form::new("uploads/1").with("success_action_status", "200");
    assert_eq!(form.post(&served, b"x").await.status(), 200);
    let form = Form::new("uploads/1").with("success_action_status", "404");
    assert_eq!(form.post(&served, b"x").await.status(), 204, "no success");

    let form = Form::new("uploads/1").with("success_action_redirect", "http://127.0.0.1:1/done?a=b");
    let (before, after) = form.around();
    let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().expect("a client");
    let request = http.post(format!("{}/{BUCKET}/", served.url)).header("content-type", content_type());
    let response = request.body(format!("{before}x{after}")).send().await.expect("an answer");
    assert_eq!(response.status(), 303);
    let etag = "9dd4e461268c8034f5c8564e155c67a6";
    let expected = format!("http://127.0.0.1:1/done?a=b&bucket={BUCKET}&key=uploads%2F1&etag=%22{etag}%22");
    assert_eq!(response.headers()["location"], expected);
}

#[tokio::test]
async fn the_name_of_the_file_can_be_part_of_the_key() {
    let served = Served::new().await;
    assert_eq!(Form::new("uploads/${filename}").post(&served, b"x").await.status(), 204);
    assert_eq!(served.keys().await, ["uploads/cat.png"]);
}

#[tokio::test]
async fn a_form_that_its_policy_does_not_allow_is_refused() {
    let served = Served::new().await;
    let condition = |form: &Form| form.conditions.len();
    let mut expired = Form::new("uploads/1");
    expired.expires = "2026-01-01T00:00:00.000Z".to_owned();
    let mut forged = Form::new("uploads/1");
    forged.secret = "guessed".to_owned();
    let mut garbled = Form::new("uploads/1");
    garbled.conditions.push(json!(["like", "$key", "a"]));
    assert_eq!(condition(&garbled), 9);
    let credential = |scope: &str| {
        let form = Form::new("uploads/1");
        let day = form.fields[4].1[..8].to_owned();
        form.without("x-amz-credential").with("x-amz-credential", &scope.replace("DAY", &day))
    };
    let no_token = {
        let mut form = Form::new("uploads/1").without("x-amz-security-token");
        form.conditions.retain(|condition| condition.get("x-amz-security-token").is_none());
        form
    };
    let wrong_token = {
        let mut form = Form::new("uploads/1").without("x-amz-security-token");
        form.conditions.retain(|condition| condition.get("x-amz-security-token").is_none());
        form.with("x-amz-security-token", "old")
    };
    let unknown = {
        let mut form = credential("LOCAL-nobody/DAY/us-east-1/s3/aws4_request");
        form.conditions.retain(|condition| condition.get("x-amz-credential").is_none());
        form
    };
    for (name, form, file, status, code) in [
        ("another prefix", Form::new("other/1"), b"x".as_slice(), 403, "AccessDenied"),
        ("a way out", Form::new("../uploads/1"), b"x", 403, "AccessDenied"),
        ("another type", Form::new("uploads/1").set("Content-Type", "image/gif"), b"x", 403, "AccessDenied"),
        ("a type in other case", Form::new("uploads/1").set("Content-Type", "Image/png"), b"x", 403, "AccessDenied"),
        ("no type", Form::new("uploads/1").without("Content-Type"), b"x", 403, "AccessDenied"),
        ("one field more", Form::new("uploads/1").set("x-amz-meta-a", "b"), b"x", 403, "AccessDenied"),
        ("expired", expired, b"x", 403, "AccessDenied"),
        ("nothing in the file", Form::new("uploads/1"), b"", 400, "EntityTooSmall"),
        ("too much in the file", Form::new("uploads/1"), &[7; 17], 400, "EntityTooLarge"),
        ("a forged signature", forged, b"x", 403, "SignatureDoesNotMatch"),
        ("an unknown key", unknown, b"x", 403, "InvalidAccessKeyId"),
        ("another service", credential("LOCAL-worker/DAY/us-east-1/sqs/aws4_request"), b"x", 400, "InvalidArgument"),
        ("no token", no_token, b"x", 403, "InvalidAccessKeyId"),
        ("a wrong token", wrong_token, b"x", 400, "InvalidToken"),
        ("no policy that is one", garbled, b"x", 400, "InvalidPolicyDocument"),
        ("no key", Form::new("uploads/1").without("key"), b"x", 400, "InvalidArgument"),
        ("a long key", Form::new(&format!("uploads/{}", "x".repeat(1024))), b"x", 400, "KeyTooLongError"),
        ("an ACL", Form::new("uploads/1").with("acl", "public-read"), b"x", 400, "AccessControlListNotSupported"),
    ] {
        let response = form.post(&served, file).await;
        assert_eq!(outcome(response).await, (status, code.to_owned()), "{name}");
    }
    assert_eq!((served.keys().await, served.uploads()), (Vec::new(), 0));
    assert!(!served.calls().contains_key("PutObject"));
    for (length, status) in [(1, 204), (16, 204)] {
        assert_eq!(
            Form::new("uploads/1").post(&served, &vec![7; length]).await.status(),
            status,
            "the range has its ends"
        );
    }
}

#[tokio::test]
async fn the_size_errors_say_what_is_allowed() {
    let served = Served::new().await;
    let text = Form::new("uploads/1").post(&served, &[7; 17]).await.text().await.expect("a body");
    assert_eq!(between(&text, "<MaxSizeAllowed>", "</MaxSizeAllowed>"), "16");
    let text = Form::new("uploads/1").post(&served, b"").await.text().await.expect("a body");
    assert_eq!(between(&text, "<MinSizeAllowed>", "</MinSizeAllowed>"), "1");
    assert_eq!(between(&text, "<ProposedSize>", "</ProposedSize>"), "0");
}

#[tokio::test]
async fn a_form_without_policy_file_or_form_is_refused() {
    let served = Served::new().await;
    let key = [("key".to_owned(), "uploads/1".to_owned())];
    let end = format!("\r\n--{BOUNDARY}--\r\n");
    for (body, status, code) in [
        (format!("{}x{end}", around_unsigned(&key)), 403, "AccessDenied"),
        (format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\na{end}"), 400, "InvalidArgument"),
        ("nothing of the kind".to_owned(), 400, "MalformedPOSTRequest"),
        (String::new(), 411, "MissingContentLength"),
        (format!("--{BOUNDARY}\r\nContent-Disposition: form-data"), 400, "MalformedPOSTRequest"),
        (
            format!("{}x{end}", around_unsigned(&[("key".to_owned(), "k".repeat(30_000))])),
            400,
            "MaxPostPreDataLengthExceededError",
        ),
    ] {
        let response = send_body(&served, body.clone().into_bytes()).await.expect("an answer");
        assert_eq!(outcome(response).await, (status, code.to_owned()), "{}", &body[..body.len().min(200)]);
    }
}

#[tokio::test]
async fn a_file_that_is_much_too_large_is_answered_and_not_kept() {
    let served = Served::new().await;
    let response = Form::new("uploads/1").post(&served, &vec![7; 30 * 1024 * 1024]).await;
    assert_eq!(outcome(response).await, (400, "EntityTooLarge".to_owned()));
    assert_eq!((served.keys().await, served.uploads()), (Vec::new(), 0));
}

#[tokio::test]
async fn a_file_is_taken_as_it_is_also_where_it_looks_like_the_end_of_the_form() {
    let served = Served::new().await;
    let almost = format!("\r\n--{}\r\n\r\n--\r\n-", &BOUNDARY[..BOUNDARY.len() - 1]);
    let mut form = Form::new("uploads/1");
    form.conditions.retain(|condition| condition[0] != "content-length-range");
    assert_eq!(form.post(&served, almost.as_bytes()).await.status(), 204);
    assert_eq!(served.get("uploads/1").await.as_deref(), Some(almost.as_bytes()));
}
