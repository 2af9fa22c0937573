//! Forms that were changed after they were signed: extra fields, repeated fields, two files. Storage takes exactly what
//! the REST API signed.

use e2e::media::{Upload, download, fixture};
use e2e::{Rest, Stack};
use reqwest::multipart::{Form, Part};

async fn send(upload: &Upload, form: Form) -> u16 {
    let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().expect("a client");
    http.post(&upload.url).multipart(form).send().await.expect("an answer").status().as_u16()
}

fn fields(upload: &Upload) -> Form {
    upload.fields.iter().fold(Form::new(), |form, (name, value)| form.text(name.clone(), value.clone()))
}

fn file(bytes: Vec<u8>) -> Part {
    Part::bytes(bytes).file_name("file")
}

async fn is_stored(rest: &Rest, upload: &Upload) -> bool {
    rest.get(&format!("/api/media/{}", upload.key)).await.status != 404
}

#[tokio::test]
async fn a_field_that_was_not_signed_refuses_the_whole_form() {
    let stack = Stack::quick().await;
    let rest = stack.rest("alice").await;
    let picture = fixture("picture.png");
    for (name, value) in [
        ("acl", "public-read"),
        ("tagging", "<Tagging/>"),
        ("success_action_redirect", "http://127.0.0.1:1/"),
        ("redirect", "http://127.0.0.1:1/"),
        ("Content-Disposition", "inline; filename=x.html"),
        ("Content-Encoding", "gzip"),
        ("Cache-Control", "max-age=31536000"),
        ("Expires", "Thu, 01 Jan 2099 00:00:00 GMT"),
        ("x-amz-meta-owner", "mallory"),
        ("x-amz-website-redirect-location", "https://evil.example"),
        ("x-amz-storage-class", "GLACIER"),
        ("x-amz-server-side-encryption", "AES256"),
        ("surprise", "x"),
    ] {
        let upload = Upload::new(&rest, "image/png", picture.len()).await;
        let form = fields(&upload).text(name, value).part("file", file(picture.clone()));
        let status = send(&upload, form).await;
        assert!((400..500).contains(&status), "{name}: {status}");
        assert!(!is_stored(&rest, &upload).await, "{name}");
        // The unchanged form still works.
        assert_eq!(send(&upload, fields(&upload).part("file", file(picture.clone()))).await, 204, "{name}");
    }
}

#[tokio::test]
async fn a_field_that_comes_twice_is_used_as_it_was_checked() {
    let stack = Stack::quick().await;
    let rest = stack.rest("alice").await;
    let picture = fixture("picture.png");
    let other = Upload::new(&rest, "image/gif", picture.len()).await;
    for name in
        ["key", "KEY", "Content-Type", "content-type", "policy", "x-amz-signature", "x-amz-credential", "x-amz-date"]
    {
        let signed = other.fields.iter().find(|(field, _)| field.eq_ignore_ascii_case(name)).expect("a field");
        for first in [true, false] {
            let upload = Upload::new(&rest, "image/png", picture.len()).await;
            let before = if first { Form::new().text(name, signed.1.clone()) } else { Form::new() };
            let form = upload.fields.iter().fold(before, |form, (name, value)| form.text(name.clone(), value.clone()));
            let form = if first { form } else { form.text(name, signed.1.clone()) };
            let status = send(&upload, form.part("file", file(picture.clone()))).await;
            assert!(status == 204 || (400..500).contains(&status), "{name}: {status}");
            assert!(!is_stored(&rest, &other).await, "{name}: under another key");
            assert_eq!(is_stored(&rest, &upload).await, status == 204, "{name}");
            if status == 204 {
                let lead = format!("/api/media/{}", upload.key);
                let stored = rest.request(http::Method::GET, &lead).send().await.expect("it");
                assert_eq!(stored.headers()["content-type"], "image/png", "{name}");
            }
        }
    }
}

#[tokio::test]
async fn a_form_with_two_files_stores_at_most_the_first_and_that_one_is_as_it_was_signed() {
    let stack = Stack::quick().await;
    let rest = stack.rest("alice").await;
    let picture = fixture("picture.png");
    let page = b"<script>alert(1)</script>".to_vec();
    let upload = Upload::new(&rest, "image/png", picture.len()).await;
    let html = || file(page.clone()).mime_str("text/html").expect("a type");
    let form = fields(&upload).part("file", file(picture.clone())).part("file", html()).text("key", "uploads/x.png");
    let status = send(&upload, form).await;
    assert!(status == 204 || (400..500).contains(&status), "{status}");
    if status == 204 {
        let request = rest.request(http::Method::GET, &format!("/api/media/{}", upload.key));
        let (status, kind, bytes) = download(request.send().await.expect("it").url().as_str()).await;
        assert_eq!((status, kind.as_str(), bytes), (200, "image/png", picture.clone()));
    }
    // Fields after the file are ignored, so a form whose signed fields come there is refused.
    let upload = Upload::new(&rest, "image/png", picture.len()).await;
    let late = upload.fields.iter().fold(
        Form::new().text("key", upload.key.clone()).part("file", file(picture.clone())),
        |form, (name, value)| form.text(name.clone(), value.clone()),
    );
    assert!((400..500).contains(&send(&upload, late).await));
    assert!(!is_stored(&rest, &upload).await);
    // The type in the file's own part has no effect.
    let claimed = fields(&upload).part("file", file(picture).mime_str("text/html").expect("a type"));
    assert_eq!(send(&upload, claimed).await, 204);
    let lead = rest.request(http::Method::GET, &format!("/api/media/{}", upload.key)).send().await.expect("it");
    assert_eq!(lead.headers()["content-type"], "image/png");
}
