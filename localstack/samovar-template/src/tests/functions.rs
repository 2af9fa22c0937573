//! Functions: the place of their code, their URLs, and the events that invoke them.

use super::*;
use samovar_eventbridge::{Schedule as Expression, TimeZone};

use crate::{BuildMethod, Code, Function, FunctionUrl, Schedule, Scheduler, StreamEventSource, Trigger};

/// The function `F` in line 3, with this head (`Metadata: …,`) and these properties; more from line 4 on.
fn written(head: &str, properties: &str, more: &str) -> String {
    with_resources(&format!("  F: {{Type: AWS::Serverless::Function, {head} Properties: {{{properties}}}}}\n{more}"))
}

fn first(source: &str) -> Function {
    read(source).functions.remove(0)
}

fn triggers(events: &str, more: &str) -> Vec<Trigger> {
    let properties = format!("Handler: a, Runtime: python3.13, Events: {{{events}}}");
    first(&written("", &properties, more)).triggers
}

const TABLE: &str = "  T: {Type: AWS::DynamoDB::Table, Properties: {BillingMode: PAY_PER_REQUEST, \
                     AttributeDefinitions: [{AttributeName: a, AttributeType: S}], \
                     KeySchema: [{AttributeName: a, KeyType: HASH}], \
                     StreamSpecification: {StreamViewType: NEW_IMAGE}}}\n";

#[test]
fn the_code_is_a_folder_or_text_and_is_built_by_its_method() {
    let folder = |path: &str| (Code::Folder, PathBuf::from(path));
    let none = |code: Code| (code, PathBuf::from("infra"));
    for (head, properties, code, build) in [
        ("", "CodeUri: src, Handler: app.handler, Runtime: nodejs22.x", folder("infra/src"), BuildMethod::None),
        ("", "Handler: app.handler, Runtime: java21", folder("infra/."), BuildMethod::None),
        (
            "",
            "InlineCode: x, Handler: index.h, Runtime: python3.13",
            none(Code::Inline("x".to_owned())),
            BuildMethod::None,
        ),
        ("", "CodeUri: ., Handler: main, Runtime: go1.x", folder("infra/."), BuildMethod::Go),
        (
            "Metadata: {BuildMethod: makefile},",
            "CodeUri: ., Handler: bootstrap, Runtime: provided.al2",
            folder("infra/."),
            BuildMethod::Makefile,
        ),
        (
            "Metadata: {BuildMethod: go1.x},",
            "CodeUri: ., Handler: bootstrap, Runtime: provided.al2023",
            folder("infra/."),
            BuildMethod::Go,
        ),
        (
            "Metadata: {BuildMethod: dotnet7, BuildProperties: {A: b}},",
            "CodeUri: ., Handler: a.b, Runtime: dotnet8",
            folder("infra/."),
            BuildMethod::Other("dotnet7".to_owned()),
        ),
        (
            "Metadata: {BuildMethod: rust-cargolambda},",
            "CodeUri: ., Handler: bootstrap, Runtime: provided.al2023",
            folder("infra/."),
            BuildMethod::RustCargoLambda,
        ),
        ("", "PackageType: Image, ImageUri: a/b", none(Code::Image(Some("a/b".to_owned()))), BuildMethod::None),
    ] {
        let function = first(&written(head, properties, ""));
        assert_eq!(((function.code, function.code_dir), function.build_method), (code, build), "{properties}");
        assert_eq!(function.binary, None);
        assert_eq!(function.name, "F", "no binary names it");
    }
    let function = first(&written("", "CodeUri: ., Handler: app.handler, Runtime: nodejs22.x", ""));
    assert_eq!((function.runtime.as_str(), function.handler.as_str()), ("nodejs22.x", "app.handler"));
    let own = first(&written("Metadata: {BuildMethod: python3.13},", "Handler: a.b, Runtime: python3.13", ""));
    assert_eq!(own.build_method, BuildMethod::None, "SAM's name for the runtime's own way");
}

#[test]
fn a_function_of_cloudformation_has_its_code_role_and_mappings() {
    let raw = |code: &str| {
        with_resources(&format!(
            "  F: {{Type: AWS::Lambda::Function, Properties: {{Role: 'arn:aws:iam::1:role/r', Handler: index.h, \
             Runtime: python3.13, Code: {code}}}}}\n  Q: {{Type: AWS::SQS::Queue}}\n  M: {{Type: \
             AWS::Lambda::EventSourceMapping, Properties: {{FunctionName: !Ref F, EventSourceArn: !GetAtt Q.Arn, \
             BatchSize: 5}}}}\n  N: {{Type: AWS::Lambda::EventSourceMapping, Properties: {{FunctionName: \
             !GetAtt F.Arn,              EventSourceArn: !GetAtt T.StreamArn, StartingPosition: LATEST}}}}\n{TABLE}"
        ))
    };
    let function = first(&raw("{ZipFile: x}"));
    assert_eq!(function.code, Code::Inline("x".to_owned()));
    let source = &function.event_sources[0];
    assert_eq!((source.logical_id.as_str(), source.queue.as_str(), source.batch_size), ("M", "local-Q", 5));
    let [Trigger::DynamoDb(StreamEventSource { table, from_beginning: false, batch_size: 100, .. })] =
        function.triggers.as_slice()
    else {
        panic!("{:?}", function.triggers)
    };
    assert_eq!(table, "local-T");
    let packaged = first(&raw("src"));
    assert_eq!((packaged.code, packaged.code_dir), (Code::Folder, "infra/src".into()), "as the AWS CLI packages it");
    for (code, message) in [
        ("{}", "Code.ZipFile is missing: give ZipFile, a folder, or S3Bucket and S3Key"),
        (
            "{S3Bucket: b, S3Key: k}",
            "The code is at \"s3://b/k\" and not in a folder on this machine, so it has no value",
        ),
    ] {
        assert_problems(&raw(code), &[(3, message)]);
    }
    let wrong = raw("{ZipFile: x}").replace("FunctionName: !Ref F", "FunctionName: other");
    let message = "AWS::Lambda::EventSourceMapping.FunctionName is \"other\", which is not the Arn of a function";
    assert_problems(&wrong, &[(5, message)]);
    let elsewhere = raw("{ZipFile: x}").replace("!GetAtt Q.Arn", "'arn:aws:kinesis:a:1:stream/s'");
    assert_problems(
        &elsewhere,
        &[(5, "M: events of \"arn:aws:kinesis:a:1:stream/s\" do not come here (--allow-missing")],
    );
}

#[test]
fn esbuild_has_its_properties() {
    let code = "CodeUri: ., Handler: a.b, Runtime: nodejs22.x";
    let method = |properties: &str| {
        let metadata = format!("Metadata: {{BuildMethod: esbuild, BuildProperties: {{{properties}}}}},");
        match first(&written(&metadata, code, "")).build_method {
            BuildMethod::Esbuild(options) => options,
            other => panic!("{other:?}"),
        }
    };
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let few = crate::Esbuild {
        entry_points: texts(&["app.ts"]),
        external: Vec::new(),
        format: None,
        loader: Vec::new(),
        main_fields: None,
        minify: true,
        out_extension: Vec::new(),
        target: "es2020".to_owned(),
    };
    assert_eq!(method("EntryPoints: [app.ts], Sourcemap: true"), few);
    let all = crate::Esbuild {
        external: texts(&["aws-sdk"]),
        format: Some("esm".to_owned()),
        loader: texts(&[".png=dataurl"]),
        main_fields: Some("module,main".to_owned()),
        minify: false,
        out_extension: texts(&[".js=.mjs"]),
        target: "node20".to_owned(),
        ..few
    };
    let properties = "EntryPoints: [app.ts], External: [aws-sdk], Format: esm, Loader: ['.png=dataurl'], \
                      Minify: false, MainFields: 'module,main', OutExtension: ['.js=.mjs'], Target: node20";
    assert_eq!(method(properties), all);
    let without = "F has the BuildMethod esbuild, which needs BuildProperties with EntryPoints";
    assert_problems(&written("Metadata: {BuildMethod: esbuild},", code, ""), &[(3, without)]);
    let missing = "BuildProperties of esbuild needs the property \"EntryPoints\"";
    let empty = written("Metadata: {BuildMethod: esbuild, BuildProperties: {Minify: true}},", code, "");
    assert_problems(&empty, &[(3, missing)]);
}

#[test]
fn a_url_is_a_property_or_a_resource() {
    let function = |properties: &str| format!("Handler: a, Runtime: python3.13, {properties}");
    let config = "FunctionUrlConfig: {AuthType: AWS_IAM, InvokeMode: RESPONSE_STREAM, Cors: {AllowOrigins: ['*']}}";
    let source = written("", &function(config), "");
    let url = first(&source).url.expect("a URL");
    let cors = crate::Cors { allow_origins: vec!["*".to_owned()], ..crate::Cors::default() };
    assert_eq!(url, FunctionUrl { id: "furl".to_owned(), iam_authorization: true, cors: Some(cors), streaming: true });
    let outputs = format!("{source}Outputs: {{Url: {{Value: !GetAtt FUrl.FunctionUrl}}}}\n");
    let address = "https://furl.lambda-url.eu-central-1.on.aws/";
    assert_eq!(read(&outputs).outputs, overrides(&[("Url", address)]), "under the id that SAM gives it");
    let raw = |target: &str| {
        let url =
            format!("  U: {{Type: AWS::Lambda::Url, Properties: {{AuthType: NONE, TargetFunctionArn: {target}}}}}\n");
        written("", &function("Timeout: 3"), &url)
    };
    let url = first(&raw("!GetAtt F.Arn")).url.expect("a URL");
    assert_eq!(url, FunctionUrl { id: "u".to_owned(), iam_authorization: false, cors: None, streaming: false });
    let message = "AWS::Lambda::Url.TargetFunctionArn is \"x\", which is not the Arn of a function";
    assert_problems(&raw("x"), &[(4, message)]);
    let message = "AWS::Lambda::Url.AuthType cannot be \"JWT\" (known: AWS_IAM, NONE)";
    assert_problems(&written("", &function("FunctionUrlConfig: {AuthType: JWT}"), ""), &[(3, message)]);
    assert_problems(&written("", &function("FunctionUrlConfig: a"), ""), &[(3, "FunctionUrlConfig must be a map")]);
}

#[test]
fn schedules_are_rates_or_cron_expressions() {
    let events = "A: {Type: Schedule, Properties: {Schedule: rate(5 minutes), Enabled: false}}, \
                  B: {Type: ScheduleV2, Properties: {ScheduleExpression: cron(0 9 ? * MON *), Input: '{}', \
                  ScheduleExpressionTimezone: Europe/Berlin, State: DISABLED}}";
    let function = first(&written("", &format!("Handler: a, Runtime: python3.13, Events: {{{events}}}"), ""));
    let [rate, cron] = function.schedules.as_slice() else { panic!("{:?}", function.schedules) };
    assert_eq!((rate.logical_id.as_str(), rate.scheduler, rate.enabled), ("FA", Scheduler::Rule, false));
    assert_eq!(rate.expression, Expression::Rate(Duration::from_secs(300)));
    let expected = Schedule {
        logical_id: "FB".to_owned(),
        scheduler: Scheduler::Scheduler,
        expression: Expression::parse("cron(0 9 ? * MON *)").expect("an expression"),
        time_zone: TimeZone::get("Europe/Berlin").expect("a time zone"),
        input: Some("{}".to_owned()),
        enabled: false,
    };
    assert_eq!(*cron, expected);
    for (properties, message) in [
        (
            "Schedule: daily",
            "An event of the type Schedule.Schedule is \"daily\": schedules are rate(1 minute), rate(5 minutes)",
        ),
        (
            "Schedule: cron(0 25 * * ? *)",
            "An event of the type Schedule.Schedule is \"cron(0 25 * * ? *)\": the field hours of a cron expression",
        ),
        (
            "Schedule: 'at(2030-01-01T00:00:00)'",
            "An event of the type Schedule.Schedule is \"at(2030-01-01T00:00:00)\": a rule of EventBridge has no at(…)",
        ),
        (
            "Schedule: rate(1 minute), State: ENABLED, Enabled: true",
            "An event of the type Schedule.State cannot stand beside",
        ),
        ("Schedule: rate(1 minute), State: on!", "An event of the type Schedule.State cannot be \"on!\""),
    ] {
        let event =
            format!("Handler: a, Runtime: python3.13, Events: {{E: {{Type: Schedule, Properties: {{{properties}}}}}}}");
        assert_problems(&written("", &event, ""), &[(3, message)]);
    }
    let schedule = |arn: &str| {
        format!(
            "  F: {{Type: AWS::Serverless::Function, Properties: {{Handler: a, Runtime: python3.13, \
             InlineCode: x}}}}\n  S: {{Type: AWS::Scheduler::Schedule, Properties: {{ScheduleExpression: rate(1 day), \
             FlexibleTimeWindow: {{Mode: 'OFF'}}, Target: {{Arn: {arn}, RoleArn: r, Input: '{{}}'}}}}}}\nOutputs: {{S: \
             {{Value: !Ref S}}, A: {{Value: !GetAtt S.Arn}}}}\n"
        )
    };
    let template = read(&with_resources(&schedule("!GetAtt F.Arn")));
    let expected = Schedule {
        logical_id: "local-S".to_owned(),
        scheduler: Scheduler::Scheduler,
        expression: Expression::Rate(Duration::from_secs(86_400)),
        time_zone: TimeZone::UTC,
        input: Some("{}".to_owned()),
        enabled: true,
    };
    assert_eq!(template.functions[0].schedules, [expected]);
    assert_eq!(template.outputs["S"], "local-S");
    assert_eq!(template.outputs["A"], "arn:aws:scheduler:eu-central-1:000000000000:schedule/default/local-S");
    let message = "S: schedules for \"arn:q\" are not run here (--allow-missing leaves them out)";
    assert_problems(&with_resources(&schedule("'arn:q'")), &[(4, message)]);
    let zone = "Handler: a, Runtime: python3.13, Events: {E: {Type: ScheduleV2, Properties: {ScheduleExpression: \
                'at(2030-01-01T00:00:00)', ScheduleExpressionTimezone: Mars/Olympus}}}";
    let message =
        "An event of the type ScheduleV2.ScheduleExpressionTimezone is \"Mars/Olympus\", which is no time zone";
    assert_problems(&written("", zone, ""), &[(3, message)]);
}

#[test]
fn buckets_topics_and_streams_invoke_functions() {
    let filter = "Filter: {S3Key: {Rules: [{Name: prefix, Value: in/}, {Name: Suffix, Value: .png}]}}";
    let bucket = "  B: {Type: AWS::S3::Bucket}\n";
    let s3 = triggers(
        &format!("E: {{Type: S3, Properties: {{Bucket: !Ref B, Events: 's3:ObjectCreated:*', {filter}}}}}"),
        bucket,
    );
    let expected = Trigger::S3 {
        bucket: "local-b".to_owned(),
        events: vec!["s3:ObjectCreated:*".to_owned()],
        prefix: "in/".to_owned(),
        suffix: ".png".to_owned(),
    };
    assert_eq!(s3, std::slice::from_ref(&expected));
    // The same as CloudFormation writes it.
    let configuration = format!("{{Event: 's3:ObjectCreated:*', Function: !GetAtt F.Arn, {filter}}}");
    let bucket = format!(
        "  B: {{Type: AWS::S3::Bucket, Properties: {{NotificationConfiguration: {{LambdaConfigurations: \
         [{configuration}]}}}}}}\n"
    );
    assert_eq!(triggers("", &bucket), [expected]);
    let sns = triggers(
        "E: {Type: SNS, Properties: {Topic: !Ref T, FilterPolicy: {kind: [a]}, FilterPolicyScope: MessageBody}}",
        "  T: {Type: AWS::SNS::Topic, Properties: {TopicName: t}}\n",
    );
    let topic = "arn:aws:sns:eu-central-1:000000000000:t".to_owned();
    assert_eq!(sns, [Trigger::Sns { topic, filter_policy: Some(json!({"kind": ["a"]})), filter_by_body: true }]);
    let stream = triggers(
        "E: {Type: DynamoDB, Properties: {Stream: !GetAtt T.StreamArn, StartingPosition: TRIM_HORIZON, BatchSize: 7, \
         MaximumBatchingWindowInSeconds: 1, FunctionResponseTypes: [ReportBatchItemFailures], Enabled: false, \
         FilterCriteria: {Filters: [{Pattern: {eventName: [INSERT]}}]}, BisectBatchOnFunctionError: true, \
         MaximumRetryAttempts: 2, MaximumRecordAgeInSeconds: -1, DestinationConfig: {OnFailure: {Type: SQS, \
         Destination: !GetAtt Q.Arn}}}}",
        &format!("{TABLE}  Q: {{Type: AWS::SQS::Queue}}\n"),
    );
    let expected = Trigger::DynamoDb(StreamEventSource {
        logical_id: "FE".to_owned(),
        table: "local-T".to_owned(),
        stream_arn: "arn:aws:dynamodb:eu-central-1:000000000000:table/local-T/stream/2000-01-01T00:00:00.000"
            .to_owned(),
        bisect_batch_on_function_error: true,
        maximum_retry_attempts: Some(2),
        maximum_record_age: None,
        on_failure: Some("arn:aws:sqs:eu-central-1:000000000000:local-Q".to_owned()),
        from_beginning: true,
        batch_size: 7,
        maximum_batching_window: Duration::from_secs(1),
        report_batch_item_failures: true,
        filters: vec![samovar_eventbridge::Pattern::parse(r#"{"eventName":["INSERT"]}"#).expect("a pattern")],
        enabled: false,
    });
    assert_eq!(stream, [expected]);
}

#[test]
fn an_event_that_cannot_come_is_an_error_and_can_be_left_out() {
    let event = |kind: &str, properties: &str, more: &str| {
        let event = format!("Events: {{E: {{Type: {kind}, Properties: {{{properties}}}}}}}");
        written("", &format!("Handler: a, Runtime: python3.13, {event}"), more)
    };
    let plain = TABLE.replace(", StreamSpecification: {StreamViewType: NEW_IMAGE}", "");
    for (kind, properties, more, message) in [
        (
            "S3",
            "Bucket: other, Events: 's3:ObjectCreated:*'",
            "",
            "An event of the type S3.Bucket is \"other\", which is not a bucket",
        ),
        (
            "S3",
            "Bucket: !Ref B, Events: [put]",
            "  B: {Type: AWS::S3::Bucket}\n",
            "An event of the type S3.Events has \"put\"",
        ),
        (
            "S3",
            "Bucket: !Ref B, Events: 's3:ObjectCreated:*', Filter: {S3Key: {Rules: [{Name: infix, Value: a}]}}",
            "  B: {Type: AWS::S3::Bucket}\n",
            "A rule of S3Key.Name is \"infix\", but AWS takes prefix and suffix",
        ),
        (
            "DynamoDB",
            "Stream: !GetAtt T.StreamArn, StartingPosition: LATEST",
            &plain,
            "An event of the type DynamoDB.Stream names the stream of T, which has no StreamSpecification",
        ),
    ] {
        assert_problems(&event(kind, properties, more), &[(3, message)]);
    }
    for (kind, properties, message) in [
        (
            "SNS",
            "Topic: 'arn:aws:sns:a:1:t'",
            "The topic \"arn:aws:sns:a:1:t\" is not in this template: its events do not come here",
        ),
        (
            "DynamoDB",
            "Stream: 'arn:s', StartingPosition: LATEST",
            "The stream \"arn:s\" is not in this template: its events do not come here",
        ),
        ("Kinesis", "Stream: a", "F: events of the type Kinesis do not come here"),
    ] {
        let source = event(kind, properties, "");
        assert_problems(&source, &[(3, &format!("{message} (--allow-missing leaves them out)"))]);
        let locals = Locals { allow_missing: true, ..locals() };
        let template = parse(&source, Path::new("t.yaml"), &BTreeMap::new(), &locals).expect("a template");
        assert!(template.functions[0].triggers.is_empty() && template.functions[0].event_sources.is_empty());
        let notes: Vec<_> = template.notes.iter().map(|note| (note.line, note.message.as_str())).collect();
        assert_eq!(notes, [(3, message)]);
    }
    let notifications = |more: &str| {
        with_resources(&format!(
            "  B: {{Type: AWS::S3::Bucket, Properties: {{NotificationConfiguration: {{{more}}}}}}}\n"
        ))
    };
    for (configuration, expected) in [
        ("EventBridgeConfiguration: {}", true),
        ("EventBridgeConfiguration: {EventBridgeEnabled: true}", true),
        ("EventBridgeConfiguration: {EventBridgeEnabled: false}", false),
        ("LambdaConfigurations: []", false),
    ] {
        assert_eq!(read(&notifications(configuration)).buckets[0].event_bridge, expected, "{configuration}");
    }
    let message = "A configuration of LambdaConfigurations.Function is \"x\", which is not the Arn of a function";
    assert_problems(
        &notifications("LambdaConfigurations: [{Event: 's3:ObjectCreated:*', Function: x}]"),
        &[(3, message)],
    );
}

#[test]
fn topics_have_their_subscriptions() {
    let source = with_resources(
        "  T: {Type: AWS::SNS::Topic, Properties: {Subscription: [{Protocol: email, Endpoint: a@b.example}]}}\n  \
         S: {Type: AWS::SNS::Subscription, Properties: {TopicArn: !Ref T, Protocol: sqs, Endpoint: !GetAtt Q.Arn, \
         RawMessageDelivery: true, FilterPolicy: {a: [b]}}}\n  Q: {Type: AWS::SQS::Queue}\n",
    );
    let topic = read(&source).topics.remove(0);
    assert_eq!((topic.name.as_str(), topic.arn.as_str()), ("local-T", "arn:aws:sns:eu-central-1:000000000000:local-T"));
    let protocols: Vec<_> =
        topic.subscriptions.iter().map(|one| (one.protocol.as_str(), one.raw_message_delivery)).collect();
    assert_eq!(protocols, [("email", false), ("sqs", true)]);
    assert_eq!(topic.subscriptions[1].filter_policy, Some(json!({"a": ["b"]})));
    let message = "AWS::SNS::Subscription.Protocol cannot be \"queue\"";
    assert_problems(&source.replace("Protocol: sqs", "Protocol: queue"), &[(4, message)]);
    let source = source.replace("Endpoint: !GetAtt Q.Arn, ", "");
    assert_problems(&source, &[(4, "AWS::SNS::Subscription.Endpoint is missing")]);
}

#[test]
fn a_simple_table_has_one_key() {
    let table = |properties: &str| {
        with_resources(&format!("  T: {{Type: AWS::Serverless::SimpleTable, Properties: {{{properties}}}}}\n"))
    };
    let request = |properties: &str| read(&table(properties)).tables.remove(0).create_table;
    let expected = json!({
        "TableName": "local-T",
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [{ "AttributeName": "id", "AttributeType": "S" }],
        "KeySchema": [{ "AttributeName": "id", "KeyType": "HASH" }],
    });
    assert_eq!(request(""), expected, "SAM's defaults");
    let other = request(
        "PrimaryKey: {Name: n, Type: Number}, ProvisionedThroughput: {ReadCapacityUnits: 1, WriteCapacityUnits: 2}",
    );
    assert_eq!(other["AttributeDefinitions"][0], json!({ "AttributeName": "n", "AttributeType": "N" }));
    assert_eq!(
        (&other["BillingMode"], &other["ProvisionedThroughput"]["WriteCapacityUnits"]),
        (&json!("PROVISIONED"), &json!(2))
    );
    assert_problems(&table("PrimaryKey: {Type: Text}"), &[(3, "PrimaryKey.Type cannot be \"Text\"")]);
}
