//! Notes in a table: `PUT`, `GET` and `DELETE /notes/{id}`, and `GET /notes` for all of them.

use std::collections::HashMap;

use aws_config::BehaviorVersion;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue};
use lambda_http::http::{Method, StatusCode};
use lambda_http::{Body, Error, Request, RequestExt as _, Response, run, service_fn};
use serde_json::{Value, json};

/// The largest text of a note, in bytes. DynamoDB's own limit on an item is 400 KB.
const MAX_TEXT_BYTES: usize = 4 * 1024;

struct Notes {
    client: Client,
    table: String,
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    lambda_http::tracing::init_default_subscriber();
    let config = aws_config::load_defaults(BehaviorVersion::latest()).await;
    let notes = Notes { client: Client::new(&config), table: std::env::var("NOTES_TABLE")? };
    run(service_fn(|request| handle(&notes, request))).await
}

async fn handle(notes: &Notes, request: Request) -> Result<Response<Body>, Error> {
    let id = request.path_parameters_ref().and_then(|parameters| parameters.first("id")).map(str::to_owned);
    match (request.method(), id) {
        (&Method::GET, None) => answer(StatusCode::OK, &notes.all().await?),
        (&Method::GET, Some(id)) => match notes.get(&id).await? {
            Some(note) => answer(StatusCode::OK, &note),
            None => not_found(),
        },
        (&Method::PUT, Some(id)) => match std::str::from_utf8(request.body()) {
            Ok(text) if (1..=MAX_TEXT_BYTES).contains(&text.len()) => {
                notes.put(&id, text).await?;
                answer(StatusCode::OK, &json!({ "id": id, "text": text }))
            }
            _ => answer(StatusCode::BAD_REQUEST, &json!({ "message": "A note is a text of 1 to 4096 bytes" })),
        },
        (&Method::DELETE, Some(id)) => match notes.delete(&id).await? {
            true => answer(StatusCode::OK, &json!({ "deleted": id })),
            false => not_found(),
        },
        // The template has no other routes.
        _ => answer(StatusCode::METHOD_NOT_ALLOWED, &json!({ "message": "Method Not Allowed" })),
    }
}

impl Notes {
    async fn put(&self, id: &str, text: &str) -> Result<(), Error> {
        let put = self.client.put_item().table_name(&self.table);
        put.item("id", string(id)).item("text", string(text)).send().await?;
        Ok(())
    }

    async fn get(&self, id: &str) -> Result<Option<Value>, Error> {
        let found = self.client.get_item().table_name(&self.table).key("id", string(id)).send().await?;
        Ok(found.item().map(note))
    }

    /// Whether there was such a note.
    async fn delete(&self, id: &str) -> Result<bool, Error> {
        let delete = self.client.delete_item().table_name(&self.table).key("id", string(id));
        let deleted = delete.return_values(ReturnValue::AllOld).send().await?;
        Ok(deleted.attributes().is_some())
    }

    /// A scan has at most 1 MB in each of its pages.
    async fn all(&self) -> Result<Value, Error> {
        let items: Vec<_> = self
            .client
            .scan()
            .table_name(&self.table)
            .into_paginator()
            .items()
            .send()
            .collect::<Result<_, _>>()
            .await?;
        Ok(items.iter().map(note).collect())
    }
}

fn note(item: &HashMap<String, AttributeValue>) -> Value {
    let text = |name| item.get(name).and_then(|value| value.as_s().ok());
    json!({ "id": text("id"), "text": text("text") })
}

fn string(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

fn not_found() -> Result<Response<Body>, Error> {
    answer(StatusCode::NOT_FOUND, &json!({ "message": "There is no such note" }))
}

fn answer(status: StatusCode, body: &Value) -> Result<Response<Body>, Error> {
    let response = Response::builder().status(status).header("content-type", "application/json");
    Ok(response.body(body.to_string().into())?)
}
