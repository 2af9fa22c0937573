//! Uploads files as a browser's form does, and checks what comes back.

use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};

use crate::rest::Rest;

/// A presigned POST as the API gives it.
#[derive(Debug, Clone)]
pub struct Upload {
    pub key: String,
    pub url: String,
    pub fields: Vec<(String, String)>,
}

impl Upload {
    /// Asks the API for an upload.
    pub async fn new(rest: &Rest, content_type: &str, bytes: usize) -> Self {
        Self::read(
            &rest.post("/api/uploads", &json!({ "contentType": content_type, "bytes": bytes })).await.expect(201),
        )
    }

    fn read(upload: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("{upload}")).to_owned();
        let fields = upload["fields"].as_object().expect("fields").iter();
        Self {
            key: text(&upload["key"]),
            url: text(&upload["url"]),
            fields: fields.map(|(name, value)| (name.clone(), text(value))).collect(),
        }
    }

    /// The same upload with another value of one field.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        let field = self.fields.iter_mut().find(|(field, _)| field == name);
        value.clone_into(&mut field.unwrap_or_else(|| panic!("there is no field {name}")).1);
        self
    }

    pub fn field(&self, name: &str) -> &str {
        self.fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str()).expect("the field")
    }

    /// Sends the form. Gives status and body of the answer.
    pub async fn send(&self, file: impl Into<Vec<u8>>) -> (u16, String) {
        let mut form = Form::new();
        for (name, value) in &self.fields {
            form = form.text(name.clone(), value.clone());
        }
        let form = form.part("file", Part::bytes(file.into()).file_name("file"));
        let response = reqwest::Client::new().post(&self.url).multipart(form).send().await.expect("an answer");
        (response.status().as_u16(), response.text().await.expect("a body"))
    }

    /// Asks for an upload and sends the form. Gives the key.
    pub async fn done(rest: &Rest, content_type: &str, file: &[u8]) -> String {
        let upload = Self::new(rest, content_type, file.len()).await;
        let (status, body) = upload.send(file).await;
        assert_eq!(status, 204, "{body}");
        upload.key
    }
}

/// A small real file of the type.
pub fn fixture(name: &str) -> Vec<u8> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Reads an address. Gives status, type and bytes.
pub async fn download(url: &str) -> (u16, String, Vec<u8>) {
    let response = reqwest::get(url).await.expect("an answer");
    let kind = response.headers().get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let (status, kind) = (response.status().as_u16(), kind.to_owned());
    (status, kind, response.bytes().await.expect("a body").to_vec())
}
