//! Managed policies of AWS, by their names.
//!
//! The list has the common ones. They are reduced to the statements for services that a local stack can have: a policy
//! that only lets a function write logs allows nothing here.

use serde_json::{Value, json};

/// From the name to the actions, separated by spaces. All are allowed for every resource.
const POLICIES: [(&str, &str); 40] = [
    ("AWSLambdaBasicExecutionRole", ""),
    ("AWSLambdaDynamoDBExecutionRole", STREAMS),
    ("AWSLambdaENIManagementAccess", ""),
    ("AWSLambdaExecute", "s3:GetObject s3:PutObject"),
    ("AWSLambdaInvocation-DynamoDB", STREAMS),
    ("AWSLambdaKinesisExecutionRole", KINESIS),
    ("AWSLambdaMSKExecutionRole", ""),
    ("AWSLambdaRole", "lambda:InvokeFunction"),
    ("AWSLambdaSQSQueueExecutionRole", "sqs:ReceiveMessage sqs:DeleteMessage sqs:GetQueueAttributes"),
    ("AWSLambdaVPCAccessExecutionRole", ""),
    ("AWSLambda_FullAccess", "lambda:*"),
    ("AWSLambda_ReadOnlyAccess", ""),
    ("AWSStepFunctionsFullAccess", "states:*"),
    ("AWSXRayDaemonWriteAccess", ""),
    ("AWSXrayWriteOnlyAccess", ""),
    ("AdministratorAccess", "*"),
    ("AmazonAPIGatewayInvokeFullAccess", "execute-api:Invoke execute-api:ManageConnections"),
    ("AmazonBedrockFullAccess", ""),
    ("AmazonDynamoDBFullAccess", "dynamodb:*"),
    (
        "AmazonDynamoDBReadOnlyAccess",
        "dynamodb:BatchGetItem dynamodb:Describe* dynamodb:List* dynamodb:GetItem dynamodb:Query dynamodb:Scan \
         dynamodb:PartiQLSelect",
    ),
    ("AmazonEventBridgeFullAccess", "events:*"),
    ("AmazonPollyReadOnlyAccess", ""),
    ("AmazonRekognitionFullAccess", ""),
    ("AmazonS3FullAccess", "s3:*"),
    ("AmazonS3ObjectLambdaExecutionRolePolicy", ""),
    ("AmazonS3ReadOnlyAccess", "s3:Get* s3:List* s3:Describe*"),
    ("AmazonSESFullAccess", ""),
    ("AmazonSNSFullAccess", "sns:*"),
    ("AmazonSQSFullAccess", "sqs:*"),
    ("AmazonSQSReadOnlyAccess", "sqs:GetQueueAttributes sqs:GetQueueUrl sqs:ListDeadLetterSourceQueues sqs:ListQueues"),
    ("AmazonSSMReadOnlyAccess", ""),
    ("AmazonTextractFullAccess", ""),
    ("CloudWatchFullAccess", ""),
    ("CloudWatchLambdaInsightsExecutionRolePolicy", ""),
    ("CloudWatchLogsFullAccess", ""),
    ("ComprehendFullAccess", ""),
    ("PowerUserAccess", "*"),
    ("SecretsManagerReadWrite", ""),
    ("TranslateFullAccess", ""),
    ("TranslateReadOnly", ""),
];

const STREAMS: &str = "dynamodb:DescribeStream dynamodb:GetRecords dynamodb:GetShardIterator dynamodb:ListStreams";
const KINESIS: &str = "kinesis:DescribeStream kinesis:GetRecords kinesis:GetShardIterator kinesis:ListStreams";

/// The document of the policy with this name or ARN, if it is on the list.
pub(super) fn document(policy: &str) -> Option<Value> {
    let name = match policy.strip_prefix("arn:") {
        Some(_) if !policy.contains(":iam::aws:policy/") => return None,
        Some(arn) => arn.rsplit('/').next()?,
        None => policy,
    };
    let (_, actions) = POLICIES.iter().find(|(known, _)| *known == name)?;
    let actions: Vec<&str> = actions.split_whitespace().collect();
    let allow = || json!({ "Effect": "Allow", "Action": actions, "Resource": "*" });
    let statements: Vec<Value> = if actions.is_empty() { Vec::new() } else { vec![allow()] };
    Some(json!({ "Version": "2012-10-17", "Statement": statements }))
}
