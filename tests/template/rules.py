"""The rules of cdk-nag's packs AwsSolutions and Serverless for the types of resources that the template has.

Their ids are cdk-nag's (version 3, RULES.md). Where a rule sees less of this template than it means to, the check here
sees more, and says so. A check gets all resources, the name of one and its properties, and yields a text for each
finding: "" if a resource can have only one, and otherwise the text that `applies_to` of a suppression names.
"""

import dataclasses
import json
import re
from collections.abc import Callable

# The types of resources for which these packs have no rule, or whose rules need a property that the type lacks here.
WITHOUT_RULES = {
    "AWS::ApiGateway::Account",
    "AWS::ApiGatewayV2::Authorizer",
    "AWS::ApiGatewayV2::Integration",
    "AWS::ApiGatewayV2::RouteResponse",
    "AWS::CloudFront::Function",
    "AWS::CloudFront::OriginAccessControl",
    "AWS::CloudFront::ResponseHeadersPolicy",
    "AWS::CloudWatch::Alarm",
    "AWS::CloudWatch::Dashboard",
    "AWS::Cognito::UserPoolClient",
    "AWS::Cognito::UserPoolDomain",
    "AWS::Cognito::UserPoolGroup",
    "AWS::Lambda::Permission",
    "AWS::SQS::QueuePolicy",
    "AWS::Scheduler::Schedule",
}


@dataclasses.dataclass(frozen=True)
class Rule:
    """`statement` is what holds for a resource that keeps the rule."""

    id: str
    statement: str
    types: frozenset[str]
    check: Callable


RULES = {}


def rule(identifier, statement, *types):
    """Makes a check a rule for resources of these types."""

    def add(check):
        RULES[identifier] = Rule(identifier, statement, frozenset(types), check)
        return check

    return add


def text(value):
    """A value with its references as cdk-nag writes them: <Resource.Attribute>."""
    match value:
        case str():
            return value
        case {"Ref": name}:
            return f"<{name}>"
        case {"Fn::GetAtt": str(name)}:
            return f"<{name}>"
        case {"Fn::GetAtt": [*path]}:
            return f"<{'.'.join(path)}>"
        case {"Fn::Sub": [pattern, names]}:
            return re.sub(r"\$\{([^}]+)}", lambda found: text(names.get(found[1], {"Ref": found[1]})), pattern)
        case {"Fn::Sub": pattern}:
            return re.sub(r"\$\{([^}]+)}", r"<\1>", pattern)
        case {"Fn::Join": [separator, parts]}:
            return separator.join(map(text, parts))
    return json.dumps(value, sort_keys=True)


def names(value, resource):
    """Whether a value refers to this resource."""
    return re.search(rf"<{re.escape(resource)}[.>]", text(value)) is not None


def listed(value):
    """IAM's values may be one or a list."""
    return value if isinstance(value, list) else [value]


def of_type(resources, kind):
    """The properties of all resources of a type."""
    return [resource["Properties"] for resource in resources.values() if resource["Type"] == kind]


def missing(properties, *path):
    """Yields one finding unless there is a value at the end of this path."""
    for key in path:
        properties = properties.get(key, {}) if isinstance(properties, dict) else {}
    if properties in ({}, None, ""):
        yield ""


# Storage


@rule("AwsSolutions-S1", "A bucket keeps a log of its requests.", "AWS::S3::Bucket")
def bucket_log(resources, name, properties):
    logs_of_others = [other.get("LoggingConfiguration", {}) for other in of_type(resources, "AWS::S3::Bucket")]
    if not properties.get("LoggingConfiguration") and not any(
        names(log.get("DestinationBucketName", ""), name) for log in logs_of_others
    ):
        yield ""


@rule("AwsSolutions-S2", "A bucket blocks every kind of public access.", "AWS::S3::Bucket")
def bucket_public_access(_, __, properties):
    # cdk-nag passes a bucket that does not say anything, because AWS blocks by default. Here it has to be said.
    blocked = properties.get("PublicAccessBlockConfiguration", {})
    kinds = ["BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets"]
    yield from (f"Property::{kind}" for kind in kinds if blocked.get(kind) is not True)


@rule("AwsSolutions-S5", "Nobody but a distribution reads the files of a web site.", "AWS::S3::Bucket")
def bucket_web_site(resources, name, properties):
    # cdk-nag looks at buckets that are web sites themselves. A bucket behind a distribution is looked at too.
    if "WebsiteConfiguration" in properties:
        yield "Property::WebsiteConfiguration"
    for policy in of_type(resources, "AWS::S3::BucketPolicy"):
        if names(policy["Bucket"], name):
            for statement in listed(policy["PolicyDocument"]["Statement"]):
                if statement["Effect"] == "Allow" and "*" in text(statement["Principal"]):
                    yield "Principal::*"


def demands_tls(statement, service):
    """Whether a statement refuses everybody every call that does not use TLS."""
    return (
        statement["Effect"] == "Deny"
        and bool({"*", f"{service}:*"} & {action.lower() for action in listed(statement["Action"])})
        and statement["Principal"] in ("*", {"AWS": "*"}, {"AWS": ["*"]})
        and str(statement.get("Condition", {}).get("Bool", {}).get("aws:SecureTransport")).lower() == "false"
    )


@rule(
    "AwsSolutions-S10",
    "A bucket and its objects take requests by TLS alone.",
    "AWS::S3::Bucket",
    "AWS::S3::BucketPolicy",
)
def bucket_tls(resources, name, properties):
    if "PolicyDocument" in properties:
        bucket, policies = text(properties["Bucket"]).strip("<>"), [properties]
    else:
        policies = [policy for policy in of_type(resources, "AWS::S3::BucketPolicy") if names(policy["Bucket"], name)]
        bucket = name
    for policy in policies:
        for statement in listed(policy["PolicyDocument"]["Statement"]):
            covered = {text(resource) for resource in listed(statement["Resource"])}
            if demands_tls(statement, "s3") and {f"<{bucket}.Arn>", f"<{bucket}.Arn>/*"} <= covered:
                return
    yield ""


@rule("AwsSolutions-DDB3", "A table can be restored to any second of the last days.", "AWS::DynamoDB::Table")
def table_backup(_, __, properties):
    if properties.get("PointInTimeRecoverySpecification", {}).get("PointInTimeRecoveryEnabled") is not True:
        yield ""


# Queues


@rule("AwsSolutions-SQS2", "A queue is encrypted.", "AWS::SQS::Queue")
def queue_encryption(_, __, properties):
    # cdk-nag passes a queue that does not say anything, because AWS encrypts by default. Here it has to be said.
    if not properties.get("KmsMasterKeyId") and properties.get("SqsManagedSseEnabled") is not True:
        yield ""


def dead_letter_queue_of(resources, name):
    """Whether another queue or a function sends its dead letters to this queue."""
    targets = [
        queue.get("RedrivePolicy", {}).get("deadLetterTargetArn", "") for queue in of_type(resources, "AWS::SQS::Queue")
    ]
    targets += [
        function.get("DeadLetterConfig", {}).get("TargetArn", "")
        for function in of_type(resources, "AWS::Lambda::Function")
    ]
    return any(names(target, name) for target in targets)


@rule("AwsSolutions-SQS3", "A queue has a dead-letter queue, or is one.", "AWS::SQS::Queue")
def queue_dead_letters(resources, name, properties):
    if not properties.get("RedrivePolicy", {}).get("deadLetterTargetArn") and not dead_letter_queue_of(resources, name):
        yield ""


@rule("Serverless-SQSRedrivePolicy", "A queue has a dead-letter queue.", "AWS::SQS::Queue")
def queue_redrive(_, __, properties):
    yield from missing(properties, "RedrivePolicy", "deadLetterTargetArn")


@rule("AwsSolutions-SQS4", "A queue takes requests by TLS alone.", "AWS::SQS::Queue")
def queue_tls(resources, name, _):
    # cdk-nag does not look at the resources of the statement. Here they have to name the queue.
    for policy in of_type(resources, "AWS::SQS::QueuePolicy"):
        if any(names(queue, name) for queue in policy["Queues"]):
            for statement in listed(policy["PolicyDocument"]["Statement"]):
                covered = {text(resource) for resource in listed(statement["Resource"])}
                if demands_tls(statement, "sqs") and f"<{name}.Arn>" in covered:
                    return
    yield ""


# The distribution


@rule("AwsSolutions-CFR1", "A distribution serves chosen countries.", "AWS::CloudFront::Distribution")
def distribution_countries(_, __, properties):
    restriction = properties["DistributionConfig"].get("Restrictions", {}).get("GeoRestriction", {})
    if restriction.get("RestrictionType", "none") == "none":
        yield ""


@rule("AwsSolutions-CFR2", "A distribution has a web ACL.", "AWS::CloudFront::Distribution")
def distribution_web_acl(_, __, properties):
    yield from missing(properties["DistributionConfig"], "WebACLId")


@rule("AwsSolutions-CFR3", "A distribution keeps a log of its requests.", "AWS::CloudFront::Distribution")
def distribution_log(_, __, properties):
    yield from missing(properties["DistributionConfig"], "Logging")


@rule("AwsSolutions-CFR4", "Viewers of a distribution use TLS 1.1 or newer.", "AWS::CloudFront::Distribution")
def distribution_viewers(_, __, properties):
    certificate = properties["DistributionConfig"].get("ViewerCertificate", {})
    if (
        certificate.get("CloudFrontDefaultCertificate") is True
        or certificate.get("SslSupportMethod", "vip") == "vip"
        or certificate.get("MinimumProtocolVersion", "TLSv1") in ("SSLv3", "TLSv1", "TLSv1_2016")
    ):
        yield ""


@rule("AwsSolutions-CFR5", "A distribution reaches its origins by TLS 1.1 or newer.", "AWS::CloudFront::Distribution")
def distribution_origins(_, __, properties):
    for origin in properties["DistributionConfig"]["Origins"]:
        custom = origin.get("CustomOriginConfig")
        if custom and (
            custom.get("OriginProtocolPolicy") != "https-only"
            or not custom.get("OriginSSLProtocols")
            or {"SSLv3", "TLSv1"} & set(custom["OriginSSLProtocols"])
        ):
            yield f"Origin::{origin['Id']}"


@rule("AwsSolutions-CFR7", "A distribution reads buckets with an access control.", "AWS::CloudFront::Distribution")
def distribution_buckets(resources, _, properties):
    buckets = [name for name, resource in resources.items() if resource["Type"] == "AWS::S3::Bucket"]
    for origin in properties["DistributionConfig"]["Origins"]:
        if any(names(origin["DomainName"], bucket) for bucket in buckets) and not origin.get("OriginAccessControlId"):
            yield f"Origin::{origin['Id']}"


# The APIs


@rule("AwsSolutions-APIG1", "A stage keeps a log of its requests.", "AWS::ApiGatewayV2::Stage")
@rule("Serverless-APIGWAccessLogging", "A stage keeps a log of its requests.", "AWS::ApiGatewayV2::Stage")
def stage_log(_, __, properties):
    yield from missing(properties, "AccessLogSettings", "DestinationArn")
    yield from missing(properties, "AccessLogSettings", "Format")


@rule("Serverless-APIGWStructuredLogging", "The lines of a stage's log are JSON.", "AWS::ApiGatewayV2::Stage")
def stage_log_format(_, __, properties):
    try:
        json.loads(properties.get("AccessLogSettings", {}).get("Format", "{}"))
    except ValueError:
        yield ""


@rule("Serverless-APIGWDefaultThrottling", "A stage has a rate and a burst of its own.", "AWS::ApiGatewayV2::Stage")
def stage_throttling(_, __, properties):
    for limit in ["ThrottlingRateLimit", "ThrottlingBurstLimit"]:
        if not properties.get("DefaultRouteSettings", {}).get(limit):
            yield f"Property::{limit}"


@rule("AwsSolutions-APIG4", "A route asks who calls.", "AWS::ApiGatewayV2::Route", "AWS::ApiGatewayV2::Api")
def route_authorizer(_, __, properties):
    # cdk-nag looks at resources alone. SAM writes the routes of an HTTP API into the API's OpenAPI document.
    if "RouteKey" in properties and properties.get("AuthorizationType", "NONE") == "NONE":
        yield f"Route::{properties['RouteKey']}"
    for path, operations in properties.get("Body", {}).get("paths", {}).items():
        for method, operation in operations.items():
            security = operation.get("security", [])
            if not security or any(authorizer == "NONE" for entry in security for authorizer in entry):
                yield f"Route::{method.upper()} {path}"


# Permissions


@rule("AwsSolutions-IAM4", "A role has no policies that AWS manages.", "AWS::IAM::Role")
def managed_policies(_, __, properties):
    for policy in map(text, properties.get("ManagedPolicyArns", [])):
        if ":iam::aws:" in policy:
            yield f"Policy::{policy}"


def allowed(properties):
    """The statements of a role or a policy that allow something."""
    documents = [policy["PolicyDocument"] for policy in properties.get("Policies", [])]
    documents += [properties["PolicyDocument"]] if "PolicyDocument" in properties else []
    for document in documents:
        for statement in listed(document["Statement"]):
            if statement["Effect"] == "Allow":
                yield statement


@rule("AwsSolutions-IAM5", "A policy names each call and each resource.", "AWS::IAM::Role", "AWS::IAM::ManagedPolicy")
def wildcards(_, __, properties):
    for statement in allowed(properties):
        for kind in ["Action", "Resource"]:
            yield from (f"{kind}::{one}" for one in map(text, listed(statement[kind])) if "*" in one)


@rule("Serverless-LambdaStarPermissions", "A function may not make every call, or reach everything.", "AWS::IAM::Role")
def all_permissions(_, __, properties):
    if "lambda.amazonaws.com" in text(properties["AssumeRolePolicyDocument"]):
        for statement in allowed(properties):
            if any(action == "*" or action.endswith(":*") for action in listed(statement["Action"])):
                yield "Action::*"
            if "*" in listed(statement["Resource"]):
                yield "Resource::*"


# People


@rule(
    "AwsSolutions-COG1",
    "A password has 8 characters, and a capital, a digit and a symbol among them.",
    "AWS::Cognito::UserPool",
)
def passwords(_, __, properties):
    policy = properties.get("Policies", {}).get("PasswordPolicy", {})
    if policy.get("MinimumLength", 0) < 8:
        yield "Property::MinimumLength"
    for kind in ["RequireUppercase", "RequireNumbers", "RequireSymbols"]:
        if policy.get(kind) is not True:
            yield f"Property::{kind}"


@rule("AwsSolutions-COG2", "Everybody signs in with a second factor.", "AWS::Cognito::UserPool")
def second_factor(_, __, properties):
    if properties.get("MfaConfiguration") != "ON":
        yield ""


@rule("AwsSolutions-COG8", "A user pool has the plan Plus, with protection against threats.", "AWS::Cognito::UserPool")
def plan(_, __, properties):
    if properties.get("UserPoolTier") != "PLUS":
        yield ""


# Functions


@rule("AwsSolutions-L1", "A function has the newest runtime.", "AWS::Lambda::Function")
@rule("Serverless-LambdaLatestVersion", "A function has the newest runtime.", "AWS::Lambda::Function")
def runtime(_, __, properties):
    # cdk-nag leaves out runtimes without a language. Every function here has one.
    if properties.get("Runtime") != "provided.al2023":
        yield ""


@rule("Serverless-LambdaDefaultMemorySize", "A function says how much memory it has.", "AWS::Lambda::Function")
def memory(_, __, properties):
    yield from missing(properties, "MemorySize")


@rule("Serverless-LambdaDefaultTimeout", "A function says how long it may run.", "AWS::Lambda::Function")
def timeout(_, __, properties):
    yield from missing(properties, "Timeout")


@rule("Serverless-LambdaDLQ", "A function has a dead-letter queue for asynchronous calls.", "AWS::Lambda::Function")
def function_dead_letters(_, __, properties):
    yield from missing(properties, "DeadLetterConfig", "TargetArn")


@rule("Serverless-LambdaTracing", "A function has traces.", "AWS::Lambda::Function")
def tracing(_, __, properties):
    if properties.get("TracingConfig", {}).get("Mode") != "Active":
        yield ""


@rule(
    "Serverless-LambdaEventSourceMappingDestination",
    "An event source sends what fails somewhere.",
    "AWS::Lambda::EventSourceMapping",
)
def event_source_destination(_, __, properties):
    yield from missing(properties, "DestinationConfig", "OnFailure", "Destination")


@rule(
    "Serverless-CloudWatchLogGroupRetentionPeriod", "A log group says how long it keeps lines.", "AWS::Logs::LogGroup"
)
def retention(_, __, properties):
    yield from missing(properties, "RetentionInDays")


# cfn-lint-serverless has this rule, but looks for a group that is named after the function. infra/template.yaml turns
# it off there.
@rule(
    "WS1004",
    "A function writes to a log group of the template, which keeps lines for a while.",
    "AWS::Lambda::Function",
)
def function_log(resources, _, properties):
    group = properties.get("LoggingConfig", {}).get("LogGroup", "")
    for name, resource in resources.items():
        if (
            resource["Type"] == "AWS::Logs::LogGroup"
            and names(group, name)
            and resource["Properties"].get("RetentionInDays")
        ):
            return
    yield ""
