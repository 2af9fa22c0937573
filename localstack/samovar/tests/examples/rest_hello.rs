//! `examples/rest-hello`.

use serde_json::json;

use crate::harness::{Example, there_is_python};

#[tokio::test]
async fn a_rest_api_in_python_greets_and_counts_words() {
    if !there_is_python() {
        return;
    }
    let example = Example::start("rest-hello");
    assert_eq!(example.get("/Prod/hello").await, (200, json!({"message": "Hello world", "stage": "Prod"})));
    assert_eq!(example.get("/Prod/hello/Zo%C3%AB").await, (200, json!({"message": "Hello Zoë", "stage": "Prod"})));
    let words = example.post("/Prod/words", "the quick the lazy").await;
    assert_eq!(words, (200, json!({"the": 2, "quick": 1, "lazy": 1})));
    assert_eq!(example.post("/Prod/words", " ").await, (400, json!({"message": "Send a text"})));
    let nowhere = (403, json!({"message": "Missing Authentication Token"}));
    assert_eq!(example.get("/Prod/nowhere").await, nowhere);
    let log = example.stop();
    assert!(!log.contains("ERROR"), "{log}");
}
