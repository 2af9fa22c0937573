//! `examples/sqs-fan-out`.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Example, there_is_python};

/// Waits until the order with this id looks like this.
async fn becomes(example: &Example, id: &Value, expected: Value) {
    let path = format!("/orders/{}", id.as_str().unwrap());
    let looks = async {
        loop {
            let (status, shown) = example.get(&path).await;
            assert_eq!(status, 200, "{shown}");
            if shown == expected {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), looks).await.expect("both departments work");
}

#[tokio::test]
async fn an_order_comes_to_both_queues_and_the_filter_keeps_one_of_them_away() {
    if !there_is_python() {
        return;
    }
    let example = Example::start("sqs-fan-out");
    let (status, song) = example.post("/orders", r#"{"item": "song", "kind": "download"}"#).await;
    assert_eq!(status, 202, "{song}");
    let (_, tea) = example.post("/orders", r#"{"item": "tea", "kind": "parcel"}"#).await;
    becomes(&example, &tea["id"], json!({ "billed": "tea", "shipped": "tea" })).await;
    becomes(&example, &song["id"], json!({ "billed": "song", "shipped": null })).await;
    let log = example.stop();
    assert!(!log.contains("shipped song") && !log.contains("ERROR"), "{log}");
}
