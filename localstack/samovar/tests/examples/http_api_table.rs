//! `examples/http-api-table`.

use reqwest::Method;
use serde_json::json;

use crate::harness::Example;

#[tokio::test]
async fn an_http_api_in_rust_keeps_notes_in_its_table() {
    let example = Example::start("http-api-table");
    assert_eq!(example.get("/notes").await, (200, json!([])));
    let milk = json!({"id": "milk", "text": "two bottles"});
    assert_eq!(example.send(Method::PUT, "/notes/milk", "two bottles").await, (200, milk.clone()));
    assert_eq!(example.get("/notes/milk").await, (200, milk.clone()));
    assert_eq!(example.get("/notes").await, (200, json!([milk])));
    let deleted = (200, json!({"deleted": "milk"}));
    assert_eq!(example.send(Method::DELETE, "/notes/milk", "").await, deleted);
    let none = (404, json!({"message": "There is no such note"}));
    assert_eq!(example.get("/notes/milk").await, none);
    assert_eq!(example.send(Method::DELETE, "/notes/milk", "").await, none);
    let empty = json!({"message": "A note is a text of 1 to 4096 bytes"});
    assert_eq!(example.send(Method::PUT, "/notes/milk", "").await, (400, empty));
    assert_eq!(example.get("/nowhere").await, (404, json!({"message": "Not Found"})));
    let log = example.stop();
    assert!(!log.contains("ERROR"), "{log}");
}
