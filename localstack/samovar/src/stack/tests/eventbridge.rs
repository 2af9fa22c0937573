//! EventBridge in a stack: events reach functions and queues through rules, and schedules are rules too.

use serde_json::json;

use super::*;

const TEMPLATE: &str = "
Transform: AWS::Serverless-2016-10-31
Resources:
  Orders: {Type: AWS::Events::EventBus, Properties: {Name: orders}}
  Log: {Type: AWS::SQS::Queue, Properties: {QueueName: log}}
  Handler:
    Type: AWS::Serverless::Function
    Metadata: {BuildMethod: rust-cargolambda, BuildProperties: {Binary: handler}}
    Properties:
      CodeUri: .
      Handler: bootstrap
      Runtime: provided.al2023
      Events:
        Placed:
          Type: EventBridgeRule
          Properties: {EventBusName: !Ref Orders, Pattern: {source: [shop], detail: {total: [{numeric: ['>', 10]}]}}}
  Copy:
    Type: AWS::Events::Rule
    Properties:
      EventBusName: !Ref Orders
      EventPattern: {source: [shop]}
      Targets:
        - Id: log
          Arn: !GetAtt Log.Arn
          InputTransformer: {InputPathsMap: {total: $.detail.total}, InputTemplate: '{\"total\": <total>}'}
";

#[tokio::test]
async fn an_event_reaches_the_functions_and_queues_of_the_rules_that_it_matches() {
    let bench = Bench::start(TEMPLATE).await.unwrap();
    let call = async |target: &str, request: Value| -> Value {
        let url = format!("{}/_aws", bench.stack.url);
        let sent = bench.http.post(url).header("x-amz-target", target).body(request.to_string()).send();
        let response = within("The call is answered", sent).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{target}");
        serde_json::from_slice(&response.bytes().await.unwrap()).unwrap()
    };
    let entry = |total: u32| {
        let detail = json!({ "total": total }).to_string();
        json!({ "EventBusName": "orders", "Source": "shop", "DetailType": "Placed", "Detail": detail })
    };
    let answer = call("AWSEvents.PutEvents", json!({ "Entries": [entry(5), entry(20)] })).await;
    assert_eq!(answer["FailedEntryCount"], 0);
    let event = bench.functions.event("handler").await;
    assert_eq!((&event["detail"]["total"], &event["detail-type"]), (&json!(20), &json!("Placed")));
    assert_eq!(event["id"], answer["Entries"][1]["EventId"]);
    let queue =
        json!({ "QueueUrl": format!("{}/_aws/sqs/000000000000/log", bench.stack.url), "MaxNumberOfMessages": 10 });
    let received = call("AmazonSQS.ReceiveMessage", queue).await;
    let mut bodies: Vec<_> = received["Messages"].as_array().unwrap().iter().map(|one| one["Body"].clone()).collect();
    bodies.sort_by_key(Value::to_string);
    assert_eq!(bodies, ["{\"total\": 20}", "{\"total\": 5}"]);
    assert_eq!(bench.functions.count("handler"), 1, "the other order does not match its rule");
    let (_, environment) = bench.send(Method::GET, "/_local/environment", None).await;
    assert!(environment.contains(&format!("AWS_ENDPOINT_URL_EVENTBRIDGE={}/_aws\n", bench.stack.url)), "{environment}");
}
