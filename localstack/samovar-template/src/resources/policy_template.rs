//! The policy templates of SAM: names for statements with parameters, such as `DynamoDBCrudPolicy: {TableName: !Ref
//! T}`.
//!
//! The statements of services that a local stack can have are given in full. The other templates are known by name and
//! parameters only: no call of theirs is answered here, so there is nothing to allow.

use serde_json::{Value, json};

use super::Context;
use crate::error::hint;
use crate::scope::PARTITION;
use crate::yaml::{Data, Node};

/// A template with its parameters.
struct PolicyTemplate {
    name: &'static str,
    parameters: &'static [&'static str],
    statements: &'static [Statement],
}

struct Statement {
    /// Separated by spaces.
    actions: &'static str,
    /// Separated by spaces. `SERVICE:PATH`, in which `{Parameter}` stands for a value.
    resources: &'static str,
}

const TEMPLATES: [PolicyTemplate; 20] = [
    PolicyTemplate {
        name: "DynamoDBBackupFullAccessPolicy",
        parameters: &["TableName"],
        statements: &[
            Statement {
                actions: "dynamodb:CreateBackup dynamodb:DescribeContinuousBackups",
                resources: "dynamodb:table/{TableName}",
            },
            Statement {
                actions: "dynamodb:DeleteBackup dynamodb:DescribeBackup dynamodb:ListBackups",
                resources: "dynamodb:table/{TableName}/backup/*",
            },
        ],
    },
    PolicyTemplate {
        name: "DynamoDBCrudPolicy",
        parameters: &["TableName"],
        statements: &[Statement {
            actions: "dynamodb:GetItem dynamodb:DeleteItem dynamodb:PutItem dynamodb:Scan dynamodb:Query \
                          dynamodb:UpdateItem dynamodb:BatchWriteItem dynamodb:BatchGetItem dynamodb:DescribeTable \
                          dynamodb:ConditionCheckItem",
            resources: "dynamodb:table/{TableName} dynamodb:table/{TableName}/index/*",
        }],
    },
    PolicyTemplate {
        name: "DynamoDBReadPolicy",
        parameters: &["TableName"],
        statements: &[Statement {
            actions: "dynamodb:GetItem dynamodb:Scan dynamodb:Query dynamodb:BatchGetItem dynamodb:DescribeTable",
            resources: "dynamodb:table/{TableName} dynamodb:table/{TableName}/index/*",
        }],
    },
    PolicyTemplate {
        name: "DynamoDBReconfigurePolicy",
        parameters: &["TableName"],
        statements: &[Statement { actions: "dynamodb:UpdateTable", resources: "dynamodb:table/{TableName}" }],
    },
    PolicyTemplate {
        name: "DynamoDBRestoreFromBackupPolicy",
        parameters: &["TableName"],
        statements: &[
            Statement { actions: "dynamodb:RestoreTableFromBackup", resources: "dynamodb:table/{TableName}/backup/*" },
            Statement {
                actions: "dynamodb:PutItem dynamodb:UpdateItem dynamodb:DeleteItem dynamodb:GetItem dynamodb:Query \
                          dynamodb:Scan dynamodb:BatchWriteItem",
                resources: "dynamodb:table/{TableName}",
            },
        ],
    },
    PolicyTemplate {
        name: "DynamoDBStreamReadPolicy",
        parameters: &["StreamName", "TableName"],
        statements: &[
            Statement {
                actions: "dynamodb:DescribeStream dynamodb:GetRecords dynamodb:GetShardIterator",
                resources: "dynamodb:table/{TableName}/stream/{StreamName}",
            },
            Statement { actions: "dynamodb:ListStreams", resources: "dynamodb:table/{TableName}/stream/*" },
        ],
    },
    PolicyTemplate {
        name: "DynamoDBWritePolicy",
        parameters: &["TableName"],
        statements: &[Statement {
            actions: "dynamodb:PutItem dynamodb:UpdateItem dynamodb:BatchWriteItem",
            resources: "dynamodb:table/{TableName} dynamodb:table/{TableName}/index/*",
        }],
    },
    PolicyTemplate {
        name: "EventBridgePutEventsPolicy",
        parameters: &["EventBusName"],
        statements: &[Statement { actions: "events:PutEvents", resources: "events:event-bus/{EventBusName}" }],
    },
    PolicyTemplate {
        name: "LambdaInvokePolicy",
        parameters: &["FunctionName"],
        statements: &[Statement { actions: "lambda:InvokeFunction", resources: "lambda:function:{FunctionName}*" }],
    },
    PolicyTemplate {
        name: "S3CrudPolicy",
        parameters: &["BucketName"],
        statements: &[Statement {
            actions: "s3:GetObject s3:ListBucket s3:GetBucketLocation s3:GetObjectVersion s3:PutObject \
                          s3:PutObjectAcl s3:GetLifecycleConfiguration s3:PutLifecycleConfiguration s3:DeleteObject",
            resources: "s3:{BucketName} s3:{BucketName}/*",
        }],
    },
    PolicyTemplate {
        name: "S3FullAccessPolicy",
        parameters: &["BucketName"],
        statements: &[
            Statement {
                actions: "s3:GetObject s3:GetObjectAcl s3:GetObjectVersion s3:PutObject s3:PutObjectAcl \
                          s3:DeleteObject s3:DeleteObjectTagging s3:DeleteObjectVersionTagging s3:GetObjectTagging \
                          s3:GetObjectVersionTagging s3:PutObjectTagging s3:PutObjectVersionTagging",
                resources: "s3:{BucketName}/*",
            },
            Statement {
                actions: "s3:ListBucket s3:GetBucketLocation s3:GetLifecycleConfiguration \
                          s3:PutLifecycleConfiguration",
                resources: "s3:{BucketName}",
            },
        ],
    },
    PolicyTemplate {
        name: "S3ReadPolicy",
        parameters: &["BucketName"],
        statements: &[Statement {
            actions: "s3:GetObject s3:ListBucket s3:GetBucketLocation s3:GetObjectVersion \
                          s3:GetLifecycleConfiguration",
            resources: "s3:{BucketName} s3:{BucketName}/*",
        }],
    },
    PolicyTemplate {
        name: "S3WritePolicy",
        parameters: &["BucketName"],
        statements: &[Statement {
            actions: "s3:PutObject s3:PutObjectAcl s3:PutLifecycleConfiguration",
            resources: "s3:{BucketName} s3:{BucketName}/*",
        }],
    },
    PolicyTemplate {
        name: "SNSCrudPolicy",
        parameters: &["TopicName"],
        statements: &[Statement {
            actions: "sns:ListSubscriptionsByTopic sns:CreateTopic sns:SetTopicAttributes sns:Subscribe \
                          sns:Publish",
            resources: "sns:{TopicName}*",
        }],
    },
    PolicyTemplate {
        name: "SNSPublishMessagePolicy",
        parameters: &["TopicName"],
        statements: &[Statement { actions: "sns:Publish", resources: "sns:{TopicName}" }],
    },
    PolicyTemplate {
        name: "SQSPollerPolicy",
        parameters: &["QueueName"],
        statements: &[Statement {
            actions: "sqs:ChangeMessageVisibility sqs:ChangeMessageVisibilityBatch sqs:DeleteMessage \
                          sqs:DeleteMessageBatch sqs:GetQueueAttributes sqs:ReceiveMessage",
            resources: "sqs:{QueueName}",
        }],
    },
    PolicyTemplate {
        name: "SQSSendMessagePolicy",
        parameters: &["QueueName"],
        statements: &[Statement { actions: "sqs:SendMessage*", resources: "sqs:{QueueName}" }],
    },
    PolicyTemplate {
        name: "StepFunctionsCallbackPolicy",
        parameters: &["StateMachineName"],
        statements: &[Statement {
            actions: "states:SendTaskFailure states:SendTaskHeartbeat states:SendTaskSuccess",
            resources: "states:stateMachine:{StateMachineName}",
        }],
    },
    PolicyTemplate {
        name: "StepFunctionsExecutionPolicy",
        parameters: &["StateMachineName"],
        statements: &[Statement {
            actions: "states:StartExecution",
            resources: "states:stateMachine:{StateMachineName}",
        }],
    },
    PolicyTemplate {
        name: "StepFunctionsExecutionPolicy_v2",
        parameters: &["StateMachineName"],
        statements: &[Statement {
            actions: "states:StartExecution states:StartSyncExecution",
            resources: "states:stateMachine:{StateMachineName}",
        }],
    },
];

/// Templates for services that are not run here, with their parameters.
const OTHERS: [(&str, &[&str]); 61] = [
    ("AMIDescribePolicy", &[]),
    ("AWSSecretsManagerGetSecretValuePolicy", &["SecretArn"]),
    ("AWSSecretsManagerRotationPolicy", &["FunctionName"]),
    ("AcmGetCertificatePolicy", &["CertificateArn"]),
    ("AthenaQueryPolicy", &["WorkGroupName"]),
    ("CloudFormationDescribeStacksPolicy", &[]),
    ("CloudWatchDashboardPolicy", &[]),
    ("CloudWatchDescribeAlarmHistoryPolicy", &[]),
    ("CloudWatchPutMetricPolicy", &[]),
    ("CodeCommitCrudPolicy", &["RepositoryName"]),
    ("CodeCommitReadPolicy", &["RepositoryName"]),
    ("CodePipelineLambdaExecutionPolicy", &[]),
    ("CodePipelineReadOnlyPolicy", &["PipelineName"]),
    ("ComprehendBasicAccessPolicy", &[]),
    ("CostExplorerReadOnlyPolicy", &[]),
    ("EC2CopyImagePolicy", &["ImageId"]),
    ("EC2DescribePolicy", &[]),
    ("EFSWriteAccessPolicy", &["AccessPoint", "FileSystem"]),
    ("EKSDescribePolicy", &[]),
    ("EcsRunTaskPolicy", &["TaskDefinition"]),
    ("ElasticMapReduceAddJobFlowStepsPolicy", &["ClusterId"]),
    ("ElasticMapReduceCancelStepsPolicy", &["ClusterId"]),
    ("ElasticMapReduceModifyInstanceFleetPolicy", &["ClusterId"]),
    ("ElasticMapReduceModifyInstanceGroupsPolicy", &["ClusterId"]),
    ("ElasticMapReduceSetTerminationProtectionPolicy", &["ClusterId"]),
    ("ElasticMapReduceTerminateJobFlowsPolicy", &["ClusterId"]),
    ("ElasticsearchHttpPostPolicy", &["DomainName"]),
    ("FilterLogEventsPolicy", &["LogGroupName"]),
    ("FirehoseCrudPolicy", &["DeliveryStreamName"]),
    ("FirehoseWritePolicy", &["DeliveryStreamName"]),
    ("KMSDecryptPolicy", &["KeyId"]),
    ("KMSEncryptPolicy", &["KeyId"]),
    ("KMSEncryptPolicy_v2", &["KeyId"]),
    ("KinesisCrudPolicy", &["StreamName"]),
    ("KinesisStreamReadPolicy", &["StreamName"]),
    ("MobileAnalyticsWriteOnlyAccessPolicy", &[]),
    ("OrganizationsListAccountsPolicy", &[]),
    ("PinpointEndpointAccessPolicy", &["PinpointApplicationId"]),
    ("PollyFullAccessPolicy", &["LexiconName"]),
    ("RekognitionDetectOnlyPolicy", &[]),
    ("RekognitionFacesManagementPolicy", &["CollectionId"]),
    ("RekognitionFacesPolicy", &[]),
    ("RekognitionLabelsPolicy", &[]),
    ("RekognitionNoDataAccessPolicy", &["CollectionId"]),
    ("RekognitionReadPolicy", &["CollectionId"]),
    ("RekognitionWriteOnlyAccessPolicy", &["CollectionId"]),
    ("Route53ChangeResourceRecordSetsPolicy", &["HostedZoneId"]),
    ("SESBulkTemplatedCrudPolicy", &["IdentityName"]),
    ("SESBulkTemplatedCrudPolicy_v2", &["IdentityName", "TemplateName"]),
    ("SESCrudPolicy", &["IdentityName"]),
    ("SESEmailTemplateCrudPolicy", &[]),
    ("SESSendBouncePolicy", &["IdentityName"]),
    ("SSMParameterReadPolicy", &["ParameterName"]),
    ("SSMParameterWithSlashPrefixReadPolicy", &["ParameterName"]),
    ("SageMakerCreateEndpointConfigPolicy", &["EndpointConfigName"]),
    ("SageMakerCreateEndpointPolicy", &["EndpointName"]),
    ("ServerlessRepoReadWriteAccessPolicy", &[]),
    ("TextractDetectAnalyzePolicy", &[]),
    ("TextractGetResultPolicy", &[]),
    ("TextractPolicy", &[]),
    ("VPCAccessPolicy", &[]),
];

/// The names of all templates.
fn names() -> impl Iterator<Item = &'static str> {
    TEMPLATES.iter().map(|template| template.name).chain(OTHERS.iter().map(|(name, _)| *name))
}

/// The document that `NAME: {PARAMETER: VALUE}` stands for.
pub(super) fn expand(context: &Context<'_>, line: usize, name: &str, parameters: &Node) -> Option<Value> {
    let problems = context.problems;
    let template = TEMPLATES.iter().find(|template| template.name == name);
    let other = OTHERS.iter().find(|(other, _)| *other == name).map(|(_, parameters)| *parameters);
    let Some(known) = template.map(|template| template.parameters).or(other) else {
        problems.add(line, format!("SAM does not have the policy template \"{name}\"{}", hint(name, names())));
        return None;
    };
    if !matches!(parameters.data, Data::Map(_)) {
        problems.push(parameters.not(&format!("The value of {name}"), "a map"));
        return None;
    }
    for entry in parameters.entries().iter().filter(|entry| !known.contains(&entry.key.as_str())) {
        let hint = hint(&entry.key, known.iter().copied());
        problems.add(entry.line, format!("{name} does not have the parameter \"{}\"{hint}", entry.key));
    }
    for parameter in known.iter().filter(|parameter| parameters.get(parameter).is_none()) {
        problems.add(line, format!("{name} needs the parameter \"{parameter}\""));
    }
    let values: Vec<(&str, String)> = known
        .iter()
        .filter_map(|parameter| {
            let value = parameters.get(parameter)?.expect_text(&format!("{name}.{parameter}"));
            Some((*parameter, problems.keep(value)?))
        })
        .collect();
    let statements: Vec<Value> =
        template?.statements.iter().map(|statement| statement.with(context, &values)).collect();
    Some(json!({ "Version": "2012-10-17", "Statement": statements }))
}

impl Statement {
    fn with(&self, context: &Context<'_>, values: &[(&str, String)]) -> Value {
        let locals = context.scope.locals;
        let resources = self.resources.split(' ').map(|resource| {
            let (service, path) = resource.split_once(':').unwrap_or((resource, ""));
            let path =
                values.iter().fold(path.to_owned(), |path, (name, value)| path.replace(&format!("{{{name}}}"), value));
            // Bucket names are globally unique, so their ARNs contain neither region nor account.
            let (region, account) =
                if service == "s3" { ("", "") } else { (locals.region.as_str(), locals.account_id.as_str()) };
            format!("arn:{PARTITION}:{service}:{region}:{account}:{path}")
        });
        let actions: Vec<&str> = self.actions.split(' ').collect();
        json!({ "Effect": "Allow", "Action": actions, "Resource": resources.collect::<Vec<_>>() })
    }
}
