//! A whole stack, from an object to the invocation that it causes, and what a stop and a new start do to it.

use aws_sdk_s3::config::{Credentials, Region};

use super::*;

const TEMPLATE: &str = "
Transform: AWS::Serverless-2016-10-31
Globals: {Function: {CodeUri: ., Handler: bootstrap, Runtime: provided.al2023}}
Resources:
  Texts: {Type: AWS::S3::Bucket, Properties: {NotificationConfiguration: {EventBridgeConfiguration: {}}}}
  Failures: {Type: AWS::SQS::Queue}
  Counter:
    Type: AWS::Serverless::Function
    Metadata: {BuildMethod: rust-cargolambda, BuildProperties: {Binary: counter}}
    Properties:
      EventInvokeConfig:
        MaximumRetryAttempts: 0
        DestinationConfig: {OnFailure: {Type: SQS, Destination: !GetAtt Failures.Arn}}
      Events:
        Text:
          Type: S3
          Properties:
            Bucket: !Ref Texts
            Events: ['s3:ObjectCreated:*']
            Filter: {S3Key: {Rules: [{Name: suffix, Value: .txt}]}}
  Viewer:
    Type: AWS::Serverless::Function
    Metadata: {BuildMethod: rust-cargolambda, BuildProperties: {Binary: viewer}}
    Properties:
      Events:
        Picture:
          Type: EventBridgeRule
          Properties:
            Pattern:
              source: [aws.s3]
              detail-type: [Object Created]
              detail: {bucket: {name: [!Ref Texts]}, object: {key: [{suffix: .png}]}}
";

async fn put(bench: &Bench, key: &str) {
    let credentials = Credentials::new("LOCAL-invoke-endpoint", "local", Some("local".to_owned()), None, "tests");
    let config = aws_sdk_s3::Config::builder()
        .behavior_version_latest()
        .region(Region::new("us-east-1"))
        .endpoint_url(&bench.stack.url)
        .force_path_style(true)
        .credentials_provider(credentials);
    let client = aws_sdk_s3::Client::from_conf(config.build());
    client.put_object().bucket("local-texts").key(key).body(b"words".to_vec().into()).send().await.unwrap();
}

#[tokio::test]
async fn an_object_invokes_the_function_and_a_failure_goes_to_its_destination() {
    let bench = Bench::start(TEMPLATE).await.unwrap();
    bench.functions.fails("counter", "no");
    put(&bench, "picture.png").await;
    put(&bench, "in/a text.txt").await;
    let event = bench.functions.event("counter").await;
    assert_eq!(event["Records"][0]["s3"]["object"]["key"], "in/a+text.txt");
    let picture = bench.functions.event("viewer").await;
    assert_eq!((&picture["source"], &picture["detail"]["object"]["key"]), (&json!("aws.s3"), &json!("picture.png")));
    let receive = json!({ "QueueUrl": "local-Failures", "WaitTimeSeconds": 20 });
    let queues = &bench.stack.services.queues;
    let received = within("the failure is recorded", queues.expect("ReceiveMessage", &receive)).await.unwrap();
    let record: Value = serde_json::from_str(received["Messages"][0]["Body"].as_str().unwrap()).unwrap();
    assert_eq!(record["requestContext"]["condition"], "RetriesExhausted");
    assert_eq!(record["requestPayload"], event);
    assert_eq!(bench.functions.count("counter"), 1);
    within("The stack stops", bench.stack.stop(pending())).await;
}

#[tokio::test]
async fn an_event_that_no_process_has_handled_before_the_stop_is_handled_after_the_next_start() {
    let data = tempfile::tempdir().unwrap();
    let before = Bench::start_keeping(TEMPLATE, data.path()).await.unwrap();
    before.functions.hold("counter");
    put(&before, "a.txt").await;
    before.functions.event("counter").await;
    // The invocation does not end, so the stop gives it up.
    within("The stack stops", before.stack.stop(std::future::ready(()))).await;
    let after = Bench::start_keeping(TEMPLATE, data.path()).await.unwrap();
    let event = after.functions.event("counter").await;
    assert_eq!(event["Records"][0]["s3"]["object"]["key"], "a.txt");
    within("The stack stops", after.stack.stop(pending())).await;
}

#[tokio::test]
async fn a_topic_hands_messages_and_the_events_of_a_bucket_to_a_function() {
    let topic = "
  Told: {Type: AWS::SNS::Topic}
  Texts:
    Type: AWS::S3::Bucket
    Properties: {NotificationConfiguration: {TopicConfigurations: [{Event: 's3:ObjectCreated:*', Topic: !Ref Told}]}}
  Listener:
    Type: AWS::Serverless::Function
    Metadata: {BuildMethod: rust-cargolambda, BuildProperties: {Binary: listener}}
    Properties: {Events: {Any: {Type: SNS, Properties: {Topic: !Ref Told}}}}
";
    let head = TEMPLATE.split("  Texts:").next().unwrap();
    let bench = Bench::start(&format!("{head}{topic}")).await.unwrap();
    let (_, environment) = bench.send(Method::GET, "/_local/environment", None).await;
    let url = environment.lines().find_map(|line| line.strip_prefix("AWS_ENDPOINT_URL_SNS=")).unwrap();
    let arn = "arn:aws:sns:us-east-1:000000000000:local-Told";
    let publish = format!("Action=Publish&Version=2010-03-31&TopicArn={arn}&Message=hello");
    let request = bench.http.post(url).header("content-type", "application/x-www-form-urlencoded").body(publish);
    let answer = request.send().await.unwrap();
    let answer = (answer.status().as_u16(), answer.text().await.unwrap());
    let record = bench.functions.event("listener").await["Records"][0].take();
    assert_eq!((&record["EventSource"], &record["EventVersion"]), (&json!("aws:sns"), &json!("1.0")));
    let id = record["Sns"]["MessageId"].as_str().unwrap();
    assert!(answer.0 == 200 && answer.1.contains(&format!("<MessageId>{id}</MessageId>")), "{answer:?}");
    assert_eq!((&record["Sns"]["Message"], &record["Sns"]["TopicArn"]), (&json!("hello"), &json!(arn)));
    assert_eq!((&record["Sns"]["Subject"], &record["Sns"]["MessageAttributes"]), (&Value::Null, &json!({})));
    put(&bench, "a.txt").await;
    let record = bench.functions.event("listener").await["Records"][0].take();
    assert_eq!(record["Sns"]["Subject"], "Amazon S3 Notification");
    let of_bucket: Value = serde_json::from_str(record["Sns"]["Message"].as_str().unwrap()).unwrap();
    assert_eq!(of_bucket["Records"][0]["s3"]["object"]["key"], "a.txt");
    within("The stack stops", bench.stack.stop(pending())).await;
}
