//! A speed measurement; run in release mode with `--ignored --nocapture`.

use std::time::Instant;

use super::*;
use crate::SystemClock;

async fn measure(label: &str, storage: Storage, callers: u32, cycles: u32) {
    let sqs = Sqs::open(storage, "us-east-1", "000000000000", BASE_URL, Arc::new(SystemClock)).unwrap();
    sqs.create_queue("q.fifo", &map([("FifoQueue", "true")])).await.unwrap();
    let start = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for caller in 0..callers {
        let sqs = sqs.clone();
        tasks.spawn(async move {
            for cycle in 0..cycles {
                let request = json!({
                    "QueueUrl": "q.fifo",
                    "MessageBody": "x".repeat(200),
                    "MessageGroupId": caller.to_string(),
                    "MessageDeduplicationId": format!("{caller}-{cycle}"),
                });
                assert_eq!(sqs.call("SendMessage", request.to_string().as_bytes()).await.status, 200);
                let request = json!({ "QueueUrl": "q.fifo", "WaitTimeSeconds": 20 });
                let response = sqs.call("ReceiveMessage", request.to_string().as_bytes()).await;
                let body: Value = serde_json::from_slice(&response.body).unwrap();
                let request = json!({ "QueueUrl": "q.fifo", "ReceiptHandle": body["Messages"][0]["ReceiptHandle"] });
                assert_eq!(sqs.call("DeleteMessage", request.to_string().as_bytes()).await.status, 200);
            }
        });
    }
    tasks.join_all().await;
    let per_second = f64::from(callers * cycles) / start.elapsed().as_secs_f64();
    println!("{label}, {callers} callers: {per_second:.0} sends + receives + deletes a second");
    sqs.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures, asserts nothing"]
async fn sends_receives_and_deletes_a_second() {
    for (callers, cycles) in [(1, 20_000), (50, 1_000)] {
        measure("memory", Storage::Memory, callers, cycles).await;
    }
    for (callers, cycles) in [(1, 1_000), (50, 300)] {
        let directory = tempfile::tempdir().unwrap();
        measure("file", Storage::File(directory.path().join("sqs")), callers, cycles).await;
    }
}
