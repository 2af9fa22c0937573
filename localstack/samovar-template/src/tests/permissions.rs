//! The permissions of functions: roles, policies, policy templates, managed policies.

use super::*;

const DOCUMENT: &str = "{Version: 2012-10-17, Statement: [{Effect: Allow, Action: 'sqs:*', Resource: '*'}]}";

fn policies(properties: &str, more: &str) -> Vec<serde_json::Value> {
    read(&with_resources(&format!("{}{more}", function("F", properties)))).functions.remove(0).policies
}

/// A role with these properties, on one line.
fn role(properties: &str) -> String {
    format!("  R: {{Type: AWS::IAM::Role, Properties: {{AssumeRolePolicyDocument: {{}}, {properties}}}}}\n")
}

fn actions(policies: &[serde_json::Value]) -> Vec<String> {
    let statements = policies.iter().flat_map(|policy| policy["Statement"].as_array().cloned().unwrap_or_default());
    statements.map(|statement| statement["Action"].to_string()).collect()
}

#[test]
fn a_policy_template_has_sams_statements() {
    let table =
        "  T: {Type: AWS::Serverless::SimpleTable}\n  Q: {Type: AWS::SQS::Queue}\n  B: {Type: AWS::S3::Bucket}\n";
    let policies = policies(
        "Policies: [DynamoDBReadPolicy: {TableName: !Ref T}, SQSPollerPolicy: {QueueName: !GetAtt Q.QueueName}, \
         S3ReadPolicy: {BucketName: !Ref B}, VPCAccessPolicy: {}]",
        table,
    );
    let statement = |at: usize| policies[at]["Statement"][0].clone();
    let arn = "arn:aws:dynamodb:eu-central-1:000000000000:table/local-T";
    assert_eq!(statement(0)["Resource"], json!([arn, format!("{arn}/index/*")]));
    assert_eq!(statement(0)["Action"][0], "dynamodb:GetItem");
    assert_eq!(statement(1)["Resource"], json!(["arn:aws:sqs:eu-central-1:000000000000:local-Q"]));
    assert_eq!(statement(2)["Resource"], json!(["arn:aws:s3:::local-b", "arn:aws:s3:::local-b/*"]));
    assert_eq!(policies.len(), 3, "VPCAccessPolicy is for a service that is not here");
    let wrong = with_resources(&function("F", "Policies: [VPCAccessPolicy: none]"));
    assert_problems(&wrong, &[(3, "The value of VPCAccessPolicy must be a map, but is text")]);
}

#[test]
fn a_role_of_the_template_replaces_the_policies() {
    let with = format!(
        "Policies: [{{PolicyName: p, PolicyDocument: {DOCUMENT}}}], \
         ManagedPolicyArns: [!Ref M, 'arn:aws:iam::aws:policy/AmazonSQSReadOnlyAccess']"
    );
    let managed = format!(
        "  M: {{Type: AWS::IAM::ManagedPolicy, Properties: {{PolicyDocument: {}}}}}\n",
        DOCUMENT.replace("sqs", "s3")
    );
    let attached = format!(
        "  P: {{Type: AWS::IAM::Policy, Properties: {{PolicyName: p, Roles: [!Ref R], PolicyDocument: {}}}}}\n",
        DOCUMENT.replace("sqs", "dynamodb")
    );
    let events = "Events: {E: {Type: SQS, Properties: {Queue: !GetAtt Q.Arn}}}";
    let more = format!("{}{managed}{attached}  Q: {{Type: AWS::SQS::Queue}}\n", role(&with));
    let own = policies(&format!("Role: !GetAtt R.Arn, Policies: [{DOCUMENT}], {events}"), &more);
    let read_only = r#"["sqs:GetQueueAttributes","sqs:GetQueueUrl","sqs:ListDeadLetterSourceQueues","sqs:ListQueues"]"#;
    assert_eq!(
        actions(&own),
        ["\"sqs:*\"", "\"s3:*\"", read_only, "\"dynamodb:*\""],
        "and SAM adds nothing for the queue"
    );
}

#[test]
fn managed_policies_of_aws_are_known_by_name_and_by_arn() {
    let found =
        policies("Policies: [AWSLambdaBasicExecutionRole, 'arn:aws:iam::aws:policy/AmazonDynamoDBFullAccess']", "");
    assert_eq!(actions(&found), [r#"["dynamodb:*"]"#], "the first one is for logs");
    let found = policies("Policies: arn:aws:iam::aws:policy/service-role/AWSLambdaSQSQueueExecutionRole", "");
    assert_eq!(actions(&found), [r#"["sqs:ReceiveMessage","sqs:DeleteMessage","sqs:GetQueueAttributes"]"#]);
}

#[test]
fn a_function_whose_permissions_are_not_known_may_make_all_calls() {
    for (properties, what) in [
        ("Policies: [AmazonBraketFullAccess]", "policy AmazonBraketFullAccess"),
        ("Policies: ['arn:aws:iam::1:policy/AdministratorAccess']", "policy arn:aws:iam::1:policy/AdministratorAccess"),
        ("Role: 'arn:aws:iam::1:role/r'", "role arn:aws:iam::1:role/r"),
    ] {
        let template = read(&with_resources(&function("F", properties)));
        assert_eq!(actions(&template.functions[0].policies), ["\"*\""], "{properties}");
        let note = format!("F may make all calls here, because the contents of its {what} are not known");
        assert_eq!(template.notes[0].message, note);
    }
}

#[test]
fn a_wrong_role_or_policy_is_an_error() {
    for (properties, message) in [
        ("Policies: [{PolicyName: p}]", "A policy of a role needs the property \"PolicyDocument\""),
        (
            "Policies: [{PolicyName: p, PolicyDocument: {Statement: [{Effect: Permit}]}}]",
            "A policy statement.Effect cannot be",
        ),
        ("ManagedPolicy: []", "AWS::IAM::Role does not have the property \"ManagedPolicy\""),
    ] {
        let shown = error(&with_resources(&role(properties)));
        assert!(shown.contains(&format!("infra/t.yaml:3: {message}")), "{shown}");
    }
    let bare = with_resources("  P: {Type: AWS::IAM::Policy, Properties: {PolicyName: p}}\n");
    assert_problems(&bare, &[(3, "AWS::IAM::Policy needs the property \"PolicyDocument\"")]);
}
