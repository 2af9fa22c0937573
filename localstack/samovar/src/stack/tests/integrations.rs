//! A WebSocket API whose routes call services of the stack as a role, without any function.

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::json;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

use super::*;

const TEMPLATE: &str = "
Resources:
  Log: {Type: AWS::SQS::Queue, Properties: {QueueName: log}}
  Copy:
    Type: AWS::Events::Rule
    Properties: {EventPattern: {source: [chat]}, Targets: [{Id: log, Arn: !GetAtt Log.Arn}]}
  Api:
    Type: AWS::ApiGatewayV2::Api
    Properties: {Name: chat, ProtocolType: WEBSOCKET, RouteSelectionExpression: $request.body.action}
  Stage: {Type: AWS::ApiGatewayV2::Stage, Properties: {ApiId: !Ref Api, StageName: ws}}
  Role:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument: {}
      Policies:
        - PolicyName: events
          PolicyDocument: {Statement: [{Effect: Allow, Action: 'events:PutEvents', Resource: '*'}]}
  Put:
    Type: AWS::ApiGatewayV2::Integration
    Properties:
      ApiId: !Ref Api
      IntegrationType: AWS
      IntegrationUri: !Sub 'arn:aws:apigateway:${AWS::Region}:events:action/PutEvents'
      CredentialsArn: !GetAtt Role.Arn
      RequestTemplates:
        $default: >-
          {\"Entries\": [{\"Source\": \"chat\", \"DetailType\": \"$context.routeKey\",
          \"Detail\": \"$util.escapeJavaScript($input.json('$'))\"}]}
  Say:
    Type: AWS::ApiGatewayV2::Route
    Properties: {ApiId: !Ref Api, RouteKey: say, Target: !Sub 'integrations/${Put}'}
  Said:
    Type: AWS::ApiGatewayV2::RouteResponse
    Properties: {ApiId: !Ref Api, RouteId: !Ref Say, RouteResponseKey: $default}
  Send:
    Type: AWS::ApiGatewayV2::Integration
    Properties:
      ApiId: !Ref Api
      IntegrationType: AWS
      IntegrationUri: !Sub 'arn:aws:apigateway:${AWS::Region}:sqs:path/${AWS::AccountId}/log'
      CredentialsArn: !GetAtt Role.Arn
      RequestTemplates: {$default: 'Action=SendMessage&MessageBody=denied'}
  Direct:
    Type: AWS::ApiGatewayV2::Route
    Properties: {ApiId: !Ref Api, RouteKey: direct, Target: !Sub 'integrations/${Send}'}
";

#[tokio::test]
async fn a_message_becomes_an_event_and_a_call_that_the_role_may_not_make_is_refused() {
    let bench = Bench::start(TEMPLATE).await.unwrap();
    let url = format!("{}/ws", bench.stack.url.replacen("http", "ws", 1));
    let (mut socket, _) = within("The handshake ends", connect_async(url)).await.unwrap();
    let mut ask = async |text: &str| -> Value {
        socket.send(Message::text(text)).await.unwrap();
        let frame = within("A frame comes", socket.next()).await.unwrap().unwrap();
        serde_json::from_str(&frame.into_text().unwrap()).unwrap()
    };
    let refused = ask(r#"{"action":"direct"}"#).await;
    assert_eq!(refused["message"], "Internal server error");
    let answer = ask(r#"{"action":"say","text":"say \"me\""}"#).await;
    assert_eq!(answer["FailedEntryCount"], 0, "{answer}");
    let receive = json!({ "QueueUrl": "log", "MaxNumberOfMessages": 10, "WaitTimeSeconds": 10 });
    let sent = bench.http.post(format!("{}/_aws", bench.stack.url)).header("x-amz-target", "AmazonSQS.ReceiveMessage");
    let response = within("The queue answers", sent.body(receive.to_string()).send()).await.unwrap();
    let received: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
    let messages = received["Messages"].as_array().unwrap();
    assert_eq!(messages.len(), 1, "only the event: {received}");
    let event: Value = serde_json::from_str(messages[0]["Body"].as_str().unwrap()).unwrap();
    assert_eq!((&event["detail-type"], &event["detail"]["text"]), (&json!("say"), &json!("say \"me\"")));
    drop(socket);
    bench.stack.stop(std::future::pending()).await;
}
