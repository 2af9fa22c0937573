//! The stream of a table: a write through the services' API becomes an invocation, also after a restart.

use serde_json::json;
use tokio::sync::{mpsc, oneshot};

use super::*;

const TABLE: &str = "
Transform: AWS::Serverless-2016-10-31
Resources:
  Items:
    Type: AWS::DynamoDB::Table
    Properties:
      TableName: items
      BillingMode: PAY_PER_REQUEST
      AttributeDefinitions: [{AttributeName: pk, AttributeType: S}]
      KeySchema: [{AttributeName: pk, KeyType: HASH}]
      StreamSpecification: {StreamViewType: NEW_IMAGE}
  Reader:
    Type: AWS::Serverless::Function
    Metadata: {BuildMethod: rust-cargolambda, BuildProperties: {Binary: reader}}
    Properties:
      CodeUri: .
      Handler: bootstrap
      Runtime: provided.al2023
      Events:
        Items:
          Type: DynamoDB
          Properties:
            Stream: !GetAtt Items.StreamArn
            StartingPosition: LATEST
            MaximumRetryAttempts: 0
            FilterCriteria: {Filters: [{Pattern: {dynamodb: {Keys: {pk: {S: [{anything-but: skip}]}}}}}]}
            DestinationConfig: {OnFailure: {Destination: !GetAtt Failed.Arn}}
  Failed: {Type: AWS::SQS::Queue, Properties: {QueueName: failed}}
";

/// An invocation, which succeeds when the test says so.
type Invocation = (Value, oneshot::Sender<()>);

/// A stack in this folder, with a function whose invocations wait for the test.
async fn start(dir: &std::path::Path) -> (Stack, mpsc::Receiver<Invocation>) {
    let (seen, events) = mpsc::channel(1);
    let invoke = move |event: Bytes| {
        let seen = seen.clone();
        async move {
            let (succeed, succeeds) = oneshot::channel();
            let _ = seen.send((serde_json::from_slice(&event).unwrap(), succeed)).await;
            succeeds.await.map(|()| "null").map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
        }
    };
    let router = Router::new().route("/2015-03-31/functions/{function}/invocations", post(invoke));
    let listener = listen(0).unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(crate::server::serve(listener, router, None, CancellationToken::new()));
    let path = dir.join("template.yaml");
    std::fs::write(&path, TABLE).unwrap();
    let (path, data) = (path.display().to_string(), dir.join("data").display().to_string());
    let args = ["samovar", "--port", "0", "--data-dir", &data, "--template", &path, "--invoke-endpoint", &endpoint];
    let stack = Stack::start(&Options::from_args(args, &Defaults::default()).unwrap()).await.unwrap();
    (stack, events)
}

async fn call(stack: &Stack, target: &str, request: &Value) -> Value {
    let call = reqwest::Client::new().post(format!("{}/_aws", stack.url)).header("x-amz-target", target);
    let response = within("The call is answered", call.body(request.to_string()).send()).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK, "{target}");
    serde_json::from_slice(&response.bytes().await.unwrap()).unwrap_or_default()
}

async fn put(stack: &Stack, key: &str) {
    let request = json!({ "TableName": "items", "Item": { "pk": { "S": key } } });
    call(stack, "DynamoDB_20120810.PutItem", &request).await;
}

fn keys(event: &Value) -> Vec<&str> {
    event["Records"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["dynamodb"]["Keys"]["pk"]["S"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn a_write_becomes_an_invocation_and_what_was_not_finished_comes_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (stack, mut events) = start(dir.path()).await;
    put(&stack, "skip").await;
    put(&stack, "a").await;
    let (event, succeed) = within("The function is invoked", events.recv()).await.unwrap();
    succeed.send(()).unwrap();
    let record = &event["Records"][0];
    assert_eq!((keys(&event), &record["eventName"]), (vec!["a"], &json!("INSERT")));
    let arn = "arn:aws:dynamodb:us-east-1:000000000000:table/items/stream/2000-01-01T00:00:00.000";
    assert_eq!((&record["eventSourceARN"], &record["awsRegion"]), (&json!(arn), &json!("us-east-1")));
    assert_eq!(record["dynamodb"]["NewImage"], json!({ "pk": { "S": "a" } }));

    put(&stack, "bad").await;
    let (event, fail) = within("The function is invoked", events.recv()).await.unwrap();
    assert_eq!(keys(&event), ["bad"]);
    drop(fail);
    let receive = json!({ "QueueUrl": format!("{}/_aws/sqs/000000000000/failed", stack.url), "WaitTimeSeconds": 20 });
    let received = call(&stack, "AmazonSQS.ReceiveMessage", &receive).await;
    let body: Value = serde_json::from_str(received["Messages"][0]["Body"].as_str().unwrap()).unwrap();
    assert_eq!(body["requestContext"]["condition"], "RetryAttemptsExhausted");
    assert_eq!(body["DDBStreamBatchInfo"]["streamArn"], arn);

    // The stack stops while the function has a batch, and the next one has the table as it was.
    put(&stack, "b").await;
    let running = within("The function is invoked", events.recv()).await.unwrap();
    put(&stack, "c").await;
    within("The stack stops", stack.stop(std::future::ready(()))).await;
    drop((running, events));
    let (stack, mut events) = start(dir.path()).await;
    put(&stack, "d").await;
    let mut after = Vec::new();
    while after.last().map(String::as_str) != Some("d") {
        let (event, succeed) = within("The function is invoked", events.recv()).await.unwrap();
        succeed.send(()).unwrap();
        after.extend(keys(&event).into_iter().map(str::to_owned));
    }
    assert_eq!(after, ["b", "c", "d"], "in their order, none lost");
    within("The stack stops", stack.stop(std::future::ready(()))).await;
}

#[tokio::test]
async fn programs_read_the_stream_by_its_api() {
    let dir = tempfile::tempdir().unwrap();
    let (stack, _events) = start(dir.path()).await;
    put(&stack, "skip").await;
    let listed = call(&stack, "DynamoDBStreams_20120810.ListStreams", &json!({ "TableName": "items" })).await;
    let arn = &listed["Streams"][0]["StreamArn"];
    let described = call(&stack, "DynamoDBStreams_20120810.DescribeStream", &json!({ "StreamArn": arn })).await;
    let shard = &described["StreamDescription"]["Shards"][0]["ShardId"];
    let request = json!({ "StreamArn": arn, "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON" });
    let iterator = call(&stack, "DynamoDBStreams_20120810.GetShardIterator", &request).await;
    let records = call(&stack, "DynamoDBStreams_20120810.GetRecords", &iterator).await;
    assert_eq!(records["Records"][0]["dynamodb"]["Keys"]["pk"]["S"], "skip");
    let environment = reqwest::get(format!("{}/_local/environment", stack.url)).await.unwrap().text().await.unwrap();
    assert!(environment.contains(&format!("AWS_ENDPOINT_URL_DYNAMODB_STREAMS={}/_aws\n", stack.url)), "{environment}");
    within("The stack stops", stack.stop(std::future::ready(()))).await;
}
