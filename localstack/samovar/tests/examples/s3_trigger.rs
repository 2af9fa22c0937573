//! `examples/s3-trigger`.

use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{Credentials, Region};
use serde_json::{Value, json};

use crate::harness::{Example, there_is_python};

const BUCKET: &str = "texts-000000000000";

fn client(url: &str) -> Client {
    let credentials = Credentials::new("LOCAL-invoke-endpoint", "local", Some("local".to_owned()), None, "tests");
    let config = aws_sdk_s3::Config::builder()
        .behavior_version_latest()
        .region(Region::new("us-east-1"))
        .endpoint_url(url)
        .force_path_style(true)
        .credentials_provider(credentials);
    Client::from_conf(config.build())
}

async fn upload(client: &Client, key: &str, text: &[u8]) {
    client.put_object().bucket(BUCKET).key(key).body(text.to_vec().into()).send().await.unwrap();
}

/// The object under this key, as soon as it is there.
async fn result(client: &Client, key: &str) -> Value {
    let found = async {
        loop {
            if let Ok(found) = client.get_object().bucket(BUCKET).key(key).send().await {
                return found.body.collect().await.unwrap().to_vec();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let body = tokio::time::timeout(Duration::from_secs(60), found).await.expect("the function writes its result");
    serde_json::from_slice(&body).unwrap()
}

#[tokio::test]
async fn an_upload_is_counted_and_one_that_is_no_text_goes_to_the_queue() {
    if !there_is_python() {
        return;
    }
    let example = Example::start("s3-trigger");
    let client = client(&example.url);
    upload(&client, "other/fox.txt", b"not counted").await;
    upload(&client, "in/the fox+1.txt", b"the quick the lazy").await;
    assert_eq!(result(&client, "out/the fox+1.json").await, json!({ "the": 2, "quick": 1, "lazy": 1 }));
    upload(&client, "in/noise.txt", b"\xff").await;
    let receive = json!({ "QueueUrl": "local-Failures", "WaitTimeSeconds": 20 }).to_string();
    let request = reqwest::Client::new().post(format!("{}/_aws", example.url)).body(receive);
    let answer = request.header("x-amz-target", "AmazonSQS.ReceiveMessage").send().await.unwrap();
    let answer: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    let record: Value = serde_json::from_str(answer["Messages"][0]["Body"].as_str().unwrap()).unwrap();
    assert_eq!(record["responsePayload"]["errorType"], "UnicodeDecodeError", "{record:#}");
    let key = &record["requestPayload"]["Records"][0]["s3"]["object"]["key"];
    assert_eq!(key, "in/noise.txt");
    let listed = client.list_objects_v2().bucket(BUCKET).prefix("out/").send().await.unwrap();
    assert_eq!(listed.key_count(), Some(1));
    example.stop();
}
