//! `examples/order-events`.

use serde_json::{Value, json};

use crate::harness::{Example, there_is_python, within};

async fn call(example: &Example, target: &str, request: &Value) -> Value {
    let request = reqwest::Client::new().post(format!("{}/_aws", example.url)).body(request.to_string());
    let answer = within("the call is answered", request.header("x-amz-target", target).send()).await.unwrap();
    assert!(answer.status().is_success(), "{target}: {}", answer.status());
    serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap_or_default()
}

async fn order(example: &Example, id: &str, total: u32) {
    let item = json!({ "id": { "S": id }, "total": { "N": total.to_string() } });
    call(example, "DynamoDB_20120810.PutItem", &json!({ "TableName": "orders", "Item": item })).await;
}

/// The next large order, which is then removed from the queue.
async fn large(example: &Example) -> Value {
    loop {
        let receive = json!({ "QueueUrl": "large-orders", "WaitTimeSeconds": 20 });
        let received = call(example, "AmazonSQS.ReceiveMessage", &receive).await;
        if let Some(message) = received["Messages"].get(0) {
            let delete = json!({ "QueueUrl": "large-orders", "ReceiptHandle": message["ReceiptHandle"] });
            call(example, "AmazonSQS.DeleteMessage", &delete).await;
            return serde_json::from_str(message["Body"].as_str().unwrap()).unwrap();
        }
    }
}

#[tokio::test]
async fn large_orders_reach_the_queue_also_if_the_stack_is_killed_after_the_order() {
    if !there_is_python() {
        return;
    }
    let example = Example::start_kept("order-events");
    order(&example, "small", 20).await;
    order(&example, "large", 120).await;
    let expected = json!({ "order": "large", "text": "large costs 120.0" });
    assert_eq!(within("the order is in the queue", large(&example)).await, expected);
    order(&example, "later", 500).await;
    let example = example.killed_and_started_again();
    let later = within("the order is in the queue", large(&example)).await;
    assert_eq!(later["order"], "later", "the order was stored, so its record is not lost");
    example.stop();
}
