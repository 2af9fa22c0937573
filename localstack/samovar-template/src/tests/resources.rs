//! The resource types: the model that each one gives, and the properties that are errors.

use insta::assert_snapshot;

use super::*;

#[test]
fn all_problems_are_shown_in_the_order_of_the_lines() {
    let source = with_resources(
        r#"  Q:
    Type: AWS::SQS::Queue
    Properties:
      Foo: 1
      VisibilityTimeout: 50000
      DelaySeconds: soon
  R:
    Type: AWS::SQS::Queue
    Properties: {FifoQueue: maybe, QueueName: [a]}
"#,
    );
    assert_snapshot!(error(&source), @r#"
    infra/t.yaml:6: AWS::SQS::Queue does not have the property "Foo" (nearest: Tags, FifoQueue, QueueName)
    infra/t.yaml:7: AWS::SQS::Queue.VisibilityTimeout is 50000, but AWS takes 0 to 43200
    infra/t.yaml:8: AWS::SQS::Queue.DelaySeconds must be a whole number, but is "soon"
    infra/t.yaml:11: AWS::SQS::Queue.QueueName must be text, but is a list
    "#);
}

#[test]
fn an_unknown_type_is_an_error_and_a_deployed_only_type_is_not() {
    let source = with_resources(
        "  B: {Type: AWS::Serverless::Funktion}\n  C: {Type: AWS::SQS::Qeue}\n  \
         D: {Type: AWS::SQS::Queue, DependsOn: X}\n",
    );
    assert_snapshot!(error(&source), @r#"
    infra/t.yaml:3: SAM does not have the type AWS::Serverless::Funktion: did you mean "AWS::Serverless::Function" or "AWS::Serverless::Application"?
    infra/t.yaml:4: There is no type AWS::SQS::Qeue: did you mean "AWS::SQS::Queue"?
    infra/t.yaml:5: DependsOn names "X", which is not a resource: did you mean "B", "C" or "D"?
    "#);

    let alarm =
        "  A: {Type: AWS::CloudWatch::Alarm, Properties: {Dimensions: [{Value: !GetAtt Q.QueueName}], X: !GetAZs a}}\n";
    let source = with_resources(&format!("{alarm}  Q: {{Type: AWS::SQS::Queue}}\n"));
    let template = read(&format!("{source}Outputs:\n  A: {{Value: !Ref A}}\n  Q: {{Value: !GetAtt Q.QueueName}}"));
    assert_eq!(template.outputs, overrides(&[("Q", "local-Q")]), "without what only exists when deployed");

    let source = with_resources(&format!("{alarm}  Q: {{Type: AWS::SQS::Queue, Properties: {{QueueName: !Ref A}}}}\n"));
    assert_problems(&source, &[(4, "\"A\" is AWS::CloudWatch::Alarm, which is not run here, so it has no value")]);
}

#[test]
fn queues_give_the_attributes_of_create_queue() {
    let source = with_resources(
        r#"  Jobs:
    Type: AWS::SQS::Queue
    Properties:
      FifoQueue: true
      ContentBasedDeduplication: true
      RedrivePolicy: {deadLetterTargetArn: !GetAtt Dead.Arn, maxReceiveCount: 3}
      Tags: !GetAZs ignored
  Dead: {Type: AWS::SQS::Queue, Properties: {FifoQueue: true}}
"#,
    );
    let queues = read(&source).queues;
    assert_eq!(queues[1].name, "local-Jobs.fifo");
    assert_eq!(queues[1].url, "http://127.0.0.1:8000/_aws/sqs/000000000000/local-Jobs.fifo");
    let redrive =
        r#"{"deadLetterTargetArn":"arn:aws:sqs:eu-central-1:000000000000:local-Dead.fifo","maxReceiveCount":3}"#;
    let expected = [("ContentBasedDeduplication", "true"), ("FifoQueue", "true"), ("RedrivePolicy", redrive)];
    assert_eq!(queues[1].attributes, overrides(&expected));
}

#[test]
fn a_queue_that_aws_would_refuse_is_an_error() {
    let queue = |properties: &str| {
        with_resources(&format!(
            "  Q: {{Type: AWS::SQS::Queue, Properties: {{{properties}}}}}\n  S: {{Type: AWS::SQS::Queue}}\n"
        ))
    };
    for (properties, message) in [
        (
            "FifoQueue: true, QueueName: a",
            "AWS::SQS::Queue.QueueName is \"a\", but the name of a FIFO queue ends in .fifo",
        ),
        ("QueueName: a.fifo", "AWS::SQS::Queue.QueueName is \"a.fifo\", but only FIFO queues end in .fifo"),
        ("QueueName: a b", "AWS::SQS::Queue.QueueName is \"a b\", but AWS takes"),
        ("DeduplicationScope: queue", "AWS::SQS::Queue.DeduplicationScope is only for FIFO queues"),
        (
            "FifoQueue: true, FifoThroughputLimit: perMessageGroupId",
            "AWS::SQS::Queue.FifoThroughputLimit can be perMessageGroupId only",
        ),
        (
            "RedrivePolicy: {deadLetterTargetArn: x, maxReceiveCount: 1}",
            "RedrivePolicy.deadLetterTargetArn is \"x\", which is not a queue",
        ),
        (
            "RedrivePolicy: {deadLetterTargetArn: !GetAtt S.Arn, maxReceiveCount: 0}",
            "RedrivePolicy.maxReceiveCount is 0, but AWS takes 1 to 1000",
        ),
        ("QueueName: !GetAtt Q.QueueName", "The QueueName of Q depends on itself"),
    ] {
        assert_problems(&queue(properties), &[(3, message)]);
    }
    let source = queue("FifoQueue: true, RedrivePolicy: {deadLetterTargetArn: !GetAtt S.Arn, maxReceiveCount: 1}");
    assert_problems(
        &source,
        &[(3, "RedrivePolicy.deadLetterTargetArn is a standard queue, but the dead-letter queue of a FIFO queue")],
    );
}

#[test]
fn tables_give_the_create_table_request() {
    let source = with_resources(
        r#"  T:
    Type: AWS::DynamoDB::Table
    Properties:
      TableName: things
      BillingMode: PAY_PER_REQUEST
      AttributeDefinitions:
        - {AttributeName: pk, AttributeType: S}
        - {AttributeName: sk, AttributeType: N}
        - {AttributeName: at, AttributeType: S}
      KeySchema: [{AttributeName: pk, KeyType: HASH}, {AttributeName: sk, KeyType: RANGE}]
      LocalSecondaryIndexes:
        - IndexName: byTime
          KeySchema: [{AttributeName: pk, KeyType: HASH}, {AttributeName: at, KeyType: RANGE}]
          Projection: {ProjectionType: ALL}
      GlobalSecondaryIndexes:
        - IndexName: times
          KeySchema: [{AttributeName: at, KeyType: HASH}]
          Projection: {ProjectionType: INCLUDE, NonKeyAttributes: [x]}
      TimeToLiveSpecification: {AttributeName: ttl, Enabled: false}
"#,
    );
    let table = read(&source).tables.remove(0);
    assert_eq!((table.name.as_str(), table.ttl_attribute), ("things", None));
    assert_eq!(table.arn, "arn:aws:dynamodb:eu-central-1:000000000000:table/things");
    let key = |name: &str, kind: &str| json!({ "AttributeName": name, "KeyType": kind });
    let attribute = |name: &str, kind: &str| json!({ "AttributeName": name, "AttributeType": kind });
    assert_eq!(
        table.create_table,
        json!({
            "TableName": "things",
            "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [attribute("at", "S"), attribute("pk", "S"), attribute("sk", "N")],
            "KeySchema": [key("pk", "HASH"), key("sk", "RANGE")],
            "LocalSecondaryIndexes": [{
                "IndexName": "byTime",
                "KeySchema": [key("pk", "HASH"), key("at", "RANGE")],
                "Projection": { "ProjectionType": "ALL" },
            }],
            "GlobalSecondaryIndexes": [{
                "IndexName": "times",
                "KeySchema": [key("at", "HASH")],
                "Projection": { "ProjectionType": "INCLUDE", "NonKeyAttributes": ["x"] },
            }],
        })
    );
}

#[test]
fn a_table_whose_keys_do_not_agree_is_an_error() {
    let table = |more: &str| with_resources(&format!("  T: {{Type: AWS::DynamoDB::Table, Properties: {{{more}}}}}\n"));
    let definitions = "AttributeDefinitions: [{AttributeName: pk, AttributeType: S}]";
    let keys = "KeySchema: [{AttributeName: pk, KeyType: HASH}]";
    for (properties, message) in [
        (format!("{definitions}, {keys}"), "AWS::DynamoDB::Table.ProvisionedThroughput is missing"),
        (
            format!("BillingMode: PAY_PER_REQUEST, {definitions}, KeySchema: [{{AttributeName: pk, KeyType: RANGE}}]"),
            "AWS::DynamoDB::Table.KeySchema must be a HASH key",
        ),
        (
            format!(
                "BillingMode: PAY_PER_REQUEST, {keys}, AttributeDefinitions: [{{AttributeName: pk, \
                 AttributeType: S}}, {{AttributeName: x, AttributeType: S}}]"
            ),
            "AWS::DynamoDB::Table.AttributeDefinitions has \"x\", which is not a key",
        ),
        (
            format!(
                "BillingMode: PAY_PER_REQUEST, {definitions}, {keys}, LocalSecondaryIndexes: [{{IndexName: abc, \
                 KeySchema: [{{AttributeName: pk, KeyType: HASH}}], Projection: {{ProjectionType: ALL}}}}]"
            ),
            "An index.KeySchema of a local index must be",
        ),
        (
            format!("BillingMode: PAY_PER_REQUEST, {definitions}, {keys}, TableName: a"),
            "AWS::DynamoDB::Table.TableName is \"a\", but AWS takes",
        ),
    ] {
        assert_problems(&table(&properties), &[(3, message)]);
    }
}

#[test]
fn functions_have_the_documents_of_their_policies() {
    let source = with_resources(&format!(
        "{}  P: {{Type: AWS::IAM::ManagedPolicy, Properties: {{PolicyDocument: {{Version: 2012-10-17, \
         Statement: {{Effect: Allow, Action: 'sqs:*', \
         Resource: !GetAtt Q.Arn}}}}}}}}\n  Q: {{Type: AWS::SQS::Queue}}\n",
        function("F", "Policies: [!Ref P, {Statement: [{Effect: Deny, Action: ['a:b'], Resource: '*'}]}]"),
    ));
    let statement =
        json!({ "Effect": "Allow", "Action": "sqs:*", "Resource": "arn:aws:sqs:eu-central-1:000000000000:local-Q" });
    let expected = [
        json!({ "Version": "2012-10-17", "Statement": statement }),
        json!({ "Statement": [{ "Effect": "Deny", "Action": ["a:b"], "Resource": "*" }] }),
    ];
    assert_eq!(read(&source).functions[0].policies, expected);

    for (policies, message) in [
        (
            "[SQSPolerPolicy: {QueueName: q}]",
            "SAM does not have the policy template \"SQSPolerPolicy\": did you mean \"SQSPollerPolicy\"?",
        ),
        ("[SQSPollerPolicy: {Queue: q, QueueName: q}]", "SQSPollerPolicy does not have the parameter \"Queue\""),
        ("[SQSPollerPolicy: {}]", "SQSPollerPolicy needs the parameter \"QueueName\""),
        ("{Statement: [{Effect: Allow, Action: a}]}", "A policy statement needs either Resource or NotResource"),
        (
            "{Statement: [{Effect: allow, Action: a, Resource: b}]}",
            "A policy statement.Effect cannot be \"allow\": did you mean",
        ),
    ] {
        assert_problems(&with_resources(&function("F", &format!("Policies: {policies}"))), &[(3, message)]);
    }
}

#[test]
fn a_function_that_cannot_be_deployed_or_run_here_is_an_error() {
    for (properties, message) in [
        ("Timeout: 901", "AWS::Serverless::Function.Timeout is 901, but AWS takes 1 to 900"),
        ("MemorySize: 64", "AWS::Serverless::Function.MemorySize is 64, but AWS takes 128 to 10240"),
        ("Layer: [a]", "AWS::Serverless::Function does not have the property \"Layer\": did you mean \"Layers\"?"),
        ("Environment: {Variables: {AWS_REGION: a}}", "The environment variable AWS_REGION is reserved by Lambda"),
        ("Environment: {Variables: {A-B: a}}", "\"A-B\" cannot be an environment variable"),
        ("Environment: {Variables: {LIST: [a]}}", "The environment variable LIST must be text, but is a list"),
        (
            "Events: {E: {Type: Scheduled, Properties: {Schedule: rate(1 minute)}}}",
            "An event.Type cannot be \"Scheduled\": did you mean \"Schedule\" or \"ScheduleV2\"?",
        ),
    ] {
        assert_problems(&with_resources(&function("F", properties)), &[(3, message)]);
    }
    let bare = r#"  F:
    Type: AWS::Serverless::Function
    Metadata: {BuildMethod: rust-cargolambda, BuildProperties: {Binary: a/b}}
    Properties: {CodeUri: s3://b/c, Runtime: python3.x}
"#;
    let expected = [
        (3, "AWS::Serverless::Function needs the property \"Handler\""),
        (5, "BuildProperties.Binary is \"a/b\", which is not the name of a binary"),
        (6, "AWS::Serverless::Function.Runtime cannot be \"python3.x\" (known: provided.al2023, provided.al2, or one"),
        (6, "The code is at \"s3://b/c\" and not in a folder on this machine, so it has no value (--allow-missing"),
    ];
    assert_problems(&with_resources(bare), &expected);
}

fn api(properties: &str, routes: &str) -> String {
    let selection = "RouteSelectionExpression: $request.body.action";
    format!(
        "  Api: {{Type: AWS::Serverless::WebSocketApi, Properties: {{{selection}, \
         {properties} Routes: {{{routes}}}}}}}\n"
    )
}

#[test]
fn websocket_apis_have_defaults_authorizers_and_route_responses() {
    let response = "  R: {Type: AWS::ApiGatewayV2::RouteResponse, Properties: {ApiId: !Ref Api, \
                    RouteId: !Ref ApiSendmessageRoute, RouteResponseKey: $default}}\n";
    let auth = "Auth: {AuthType: CUSTOM, AuthArn: !GetAtt F.Arn, IdentitySource: [route.request.header.Auth, \
                route.request.querystring.t, context.a, stageVariables.b]},";
    let routes = "$connect: {FunctionArn: !GetAtt F.Arn}, \
                  sendMessage: {FunctionArn: !GetAtt F.Arn, IntegrationTimeout: 1000, \
                  RouteResponseSelectionExpression: $default}, \
                  other: {FunctionArn: !GetAtt F.Arn, RouteResponseSelectionExpression: $default}";
    let api = read(&with_resources(&format!("{}{}{response}", function("F", ""), api(auth, routes))))
        .websocket_apis
        .remove(0);
    assert_eq!((api.api_id.as_str(), api.name.as_str(), api.stage.as_str()), ("api", "Api", "default"));
    let sources = [
        IdentitySource::Header("Auth".to_owned()),
        IdentitySource::QueryString("t".to_owned()),
        IdentitySource::Context("a".to_owned()),
        IdentitySource::StageVariable("b".to_owned()),
    ];
    assert_eq!(api.authorizer.expect("authorizer").identity_sources, sources);
    assert!(api.routes["sendMessage"].route_response);
    assert!(!api.routes["other"].route_response, "there is no RouteResponse for it");
    assert_eq!(api.routes["sendMessage"].integration_timeout, Duration::from_secs(1));
    assert_eq!(api.routes["$connect"].integration_timeout, Duration::from_secs(29));
}

#[test]
fn a_websocket_api_that_cannot_be_deployed_is_an_error() {
    let connect = "$connect: {FunctionArn: !GetAtt F.Arn}";
    for (properties, routes, message) in [
        ("StageName: $default,", connect, "AWS::Serverless::WebSocketApi.StageName cannot be $default"),
        ("Auth: {AuthType: JWT},", connect, "Auth.AuthType is JWT, but AWS takes CUSTOM, AWS_IAM and NONE"),
        ("Auth: {AuthType: CUSTOM},", connect, "Auth.AuthType is CUSTOM, which needs AuthArn"),
        (
            "Auth: {AuthType: NONE},",
            "a: {FunctionArn: !GetAtt F.Arn}",
            "AWS::Serverless::WebSocketApi.Auth needs a $connect route",
        ),
        (
            "StageVariable: {a: b},",
            connect,
            "AWS::Serverless::WebSocketApi does not have the property \"StageVariable\"",
        ),
        ("", "a: {FunctionArn: !Ref F}", "A route.FunctionArn is \"local-F\", which is not the Arn of a function"),
        ("", "a-b: {FunctionArn: !GetAtt F.Arn}", "The route key \"a-b\" must be letters and digits"),
        (
            "",
            "a: {FunctionArn: !GetAtt F.Arn, IntegrationTimeout: 30000}",
            "A route.IntegrationTimeout is 30000, but AWS takes 50 to 29000",
        ),
        (
            "",
            "a: {FunctionArn: !GetAtt F.Arn}, A: {FunctionArn: !GetAtt F.Arn}",
            "The routes \"a\" and \"A\" get the same logical id, ApiARoute",
        ),
        ("", "", "AWS::Serverless::WebSocketApi.Routes is empty"),
    ] {
        let source = with_resources(&format!("{}{}", function("F", ""), api(properties, routes)));
        assert_problems(&source, &[(4, message)]);
    }
    let source = with_resources(&format!("{}{}", function("F", ""), api("", connect)));
    for expression in ["$context.routeKey", "$request.header.a", "static", "$request.body.", "'${request.body.a'"] {
        assert_problems(
            &source.replace("$request.body.action", expression),
            &[(4, "AWS::Serverless::WebSocketApi.RouteSelectionExpression is")],
        );
    }
    for expression in ["'${request.body.a.b}'", "'${request.body.a}-$request.body.b[0]'"] {
        let api = read(&source.replace("$request.body.action", expression)).websocket_apis.remove(0);
        assert_eq!(format!("'{}'", api.route_selection), expression);
    }
}

#[test]
fn resources_that_sam_generates_have_no_value() {
    let alarm = "  A: {Type: AWS::CloudWatch::Alarm, Properties: {X: [!Ref FRole, !Ref ApiwsStage, \
                 !Ref ApiConnectIntegration]}}\n";
    let api = api("StageName: ws,", "$connect: {FunctionArn: !GetAtt F.Arn}");
    read(&with_resources(&format!("{}{api}{alarm}", function("F", ""))));
    let queue = "  Q: {Type: AWS::SQS::Queue, Properties: {QueueName: !Ref FRole}}\n";
    let message = "\"FRole\" is a role made by SAM, which is not run here, so it has no value";
    assert_problems(&with_resources(&format!("{}{queue}", function("F", ""))), &[(4, message)]);
}

#[test]
fn a_route_response_belongs_to_a_route_that_selects_it() {
    let response = |route: &str, key: &str| {
        let routes = "a: {FunctionArn: !GetAtt F.Arn}";
        let response = format!(
            "  R: {{Type: AWS::ApiGatewayV2::RouteResponse, Properties: {{ApiId: !Ref Api, RouteId: {route}, \
             RouteResponseKey: {key}}}}}\n"
        );
        with_resources(&format!("{}{}{response}", function("F", ""), api("", routes)))
    };
    assert_problems(
        &response("!Ref ApiARoute", "$default"),
        &[(5, "The route a has this response but no RouteResponseSelectionExpression")],
    );
    assert_problems(
        &response("!Ref ApiBRoute", "$default"),
        &[(5, "There is no parameter or resource \"ApiBRoute\": did you mean \"ApiARoute\"?")],
    );
    assert_problems(
        &response("!Ref F", "$default"),
        &[(5, "AWS::ApiGatewayV2::RouteResponse.RouteId is \"local-F\", which is not a route of Api")],
    );
}

#[test]
fn user_pool_clients_are_known_by_their_logical_ids() {
    let source = with_resources(
        "  Pool: {Type: AWS::Cognito::UserPool, Properties: {UserPoolName: a}}\n  \
         Client: {Type: AWS::Cognito::UserPoolClient, Properties: {UserPoolId: !Ref Pool}}\n",
    );
    let template = read(&format!("{source}Outputs:\n  Issuer: {{Value: !GetAtt Pool.ProviderURL}}"));
    assert_eq!(template.user_pool_clients, ["Client"]);
    assert_eq!(template.outputs["Issuer"], locals().issuer);
    let source = source.replace("UserPoolId: !Ref Pool", "UserPoolId: other, GenerateSecret: true");
    assert_snapshot!(error(&source), @r#"
    infra/t.yaml:4: AWS::Cognito::UserPoolClient.GenerateSecret cannot be true: the local issuer has no client secrets
    infra/t.yaml:4: AWS::Cognito::UserPoolClient.UserPoolId is "other", which is not a user pool of this template
    "#);
}

#[test]
fn local_environment_lists_the_variables_that_a_function_inherits() {
    let with = |variables: &str| {
        let metadata = "BuildMethod: rust-cargolambda, BuildProperties: {Binary: f}";
        let properties = "CodeUri: .., Handler: bootstrap, Runtime: provided.al2023";
        with_resources(&format!(
            r#"  F:
    Type: AWS::Serverless::Function
    Metadata: {{{metadata}, LocalEnvironment: {variables}}}
    Properties: {{{properties}}}
"#
        ))
    };
    assert_eq!(read(&with("[API_KEY, OTHER]")).functions[0].local_environment, ["API_KEY", "OTHER"]);
    assert_problems(&with("API_KEY"), &[(5, "Metadata.LocalEnvironment must be a list of variables")]);
    assert_problems(&with("[[a]]"), &[(5, "A variable of Metadata.LocalEnvironment must be text")]);
    assert_problems(&with("[AWS_REGION]"), &[(5, "The environment variable AWS_REGION is reserved by Lambda")]);
}
