"""Each rule of rules.py can fail, and nag.py reads a template as CloudFormation does: `python3 -m unittest`."""

import copy
import unittest

import nag
import rules

TEMPLATE = nag.read()
DEPLOYED = nag.resources(TEMPLATE, {})
WITH_BEDROCK = nag.resources(TEMPLATE, nag.parameter_sets()["Bedrock"])
WITH_DOMAIN = nag.resources(TEMPLATE, nag.parameter_sets()["a domain and a web ACL"])


def put(resource, *path):
    """A change that sets a property. The last of the path is the value."""

    def change(deployed):
        *keys, last, value = path
        place = deployed[resource]["Properties"]
        for key in keys:
            place = place[key]
        place[last] = value

    return change


def drop(resource, *path):
    """A change that removes a property."""

    def change(deployed):
        *keys, last = path
        place = deployed[resource]["Properties"]
        for key in keys:
            place = place[key]
        del place[last]

    return change


def allow(role, **statement):
    """A change that adds a statement to a role."""

    def change(deployed):
        statement.setdefault("Resource", "arn:aws:sqs:us-east-1:123456789012:queue")
        policy = deployed[role]["Properties"]["Policies"][0]
        policy["PolicyDocument"]["Statement"].append({"Effect": "Allow", **statement})

    return change


STATEMENT = ["PolicyDocument", "Statement", 0]
CONFIG = "DistributionConfig"
SETTINGS = "AccessLogSettings"
# What has to be found for each rule: the resource and the finding, after one change to what is deployed. Rules whose
# findings are suppressed today are broken in a set of parameters, or in a resource, that keeps them.
BREAKS = {
    "AwsSolutions-S1": [],
    "AwsSolutions-S2": [
        (
            "MediaBucket",
            "Property::BlockPublicAcls",
            put("MediaBucket", "PublicAccessBlockConfiguration", "BlockPublicAcls", False),
        ),
        ("SiteBucket", "Property::RestrictPublicBuckets", drop("SiteBucket", "PublicAccessBlockConfiguration")),
    ],
    "AwsSolutions-S5": [
        (
            "SiteBucket",
            "Property::WebsiteConfiguration",
            put("SiteBucket", "WebsiteConfiguration", {"IndexDocument": "index.html"}),
        ),
        ("SiteBucket", "Principal::*", put("SiteBucketPolicy", "PolicyDocument", "Statement", 1, "Principal", "*")),
        (
            "SiteBucket",
            "Principal::*",
            put("SiteBucketPolicy", "PolicyDocument", "Statement", 2, "Principal", {"AWS": "*"}),
        ),
    ],
    "AwsSolutions-S10": [
        ("MediaBucket", "", put("MediaBucketPolicy", *STATEMENT, "Effect", "Allow")),
        ("MediaBucketPolicy", "", put("MediaBucketPolicy", *STATEMENT, "Action", "s3:GetObject")),
        (
            "MediaBucket",
            "",
            put("MediaBucketPolicy", *STATEMENT, "Principal", {"AWS": "arn:aws:iam::123456789012:root"}),
        ),
        ("SiteBucket", "", put("SiteBucketPolicy", *STATEMENT, "Resource", {"Fn::GetAtt": ["SiteBucket", "Arn"]})),
        ("SiteBucket", "", put("SiteBucketPolicy", "Bucket", {"Ref": "MediaBucket"})),
        ("SiteBucket", "", drop("SiteBucketPolicy", *STATEMENT, "Condition")),
    ],
    "AwsSolutions-DDB3": [
        ("ChatTable", "", drop("ChatTable", "PointInTimeRecoverySpecification")),
        ("ChatTable", "", put("ChatTable", "PointInTimeRecoverySpecification", "PointInTimeRecoveryEnabled", False)),
    ],
    "AwsSolutions-SQS2": [
        ("MessageQueue", "", drop("MessageQueue", "SqsManagedSseEnabled")),
        ("MessageDeadLetterQueue", "", put("MessageDeadLetterQueue", "SqsManagedSseEnabled", False)),
    ],
    "AwsSolutions-SQS3": [
        ("MessageQueue", "", drop("MessageQueue", "RedrivePolicy")),
        ("MessageDeadLetterQueue", "", drop("MessageQueue", "RedrivePolicy")),
    ],
    "Serverless-SQSRedrivePolicy": [("MessageQueue", "", drop("MessageQueue", "RedrivePolicy"))],
    "AwsSolutions-SQS4": [
        ("MessageDeadLetterQueue", "", put("MessageQueuesPolicy", "Queues", [{"Ref": "MessageQueue"}])),
        (
            "MessageQueue",
            "",
            put("MessageQueuesPolicy", *STATEMENT, "Resource", {"Fn::GetAtt": ["MessageDeadLetterQueue", "Arn"]}),
        ),
        (
            "MessageQueue",
            "",
            put("MessageQueuesPolicy", *STATEMENT, "Condition", "Bool", "aws:SecureTransport", "true"),
        ),
        ("MessageQueue", "", put("MessageQueuesPolicy", *STATEMENT, "Action", "sqs:SendMessage")),
    ],
    "AwsSolutions-CFR1": [],
    "AwsSolutions-CFR2": [("Site", "", drop("Site", CONFIG, "WebACLId"))],
    "AwsSolutions-CFR3": [],
    "AwsSolutions-CFR4": [
        ("Site", "", put("Site", CONFIG, "ViewerCertificate", {"CloudFrontDefaultCertificate": True})),
        ("Site", "", put("Site", CONFIG, "ViewerCertificate", "MinimumProtocolVersion", "TLSv1_2016")),
        ("Site", "", put("Site", CONFIG, "ViewerCertificate", "SslSupportMethod", "vip")),
    ],
    "AwsSolutions-CFR5": [
        (
            "Site",
            "Origin::http-api",
            put("Site", CONFIG, "Origins", 1, "CustomOriginConfig", "OriginProtocolPolicy", "match-viewer"),
        ),
        ("Site", "Origin::http-api", drop("Site", CONFIG, "Origins", 1, "CustomOriginConfig", "OriginSSLProtocols")),
        (
            "Site",
            "Origin::websocket-api",
            put("Site", CONFIG, "Origins", 2, "CustomOriginConfig", "OriginSSLProtocols", ["TLSv1", "TLSv1.2"]),
        ),
    ],
    "AwsSolutions-CFR7": [("Site", "Origin::bucket", drop("Site", CONFIG, "Origins", 0, "OriginAccessControlId"))],
    "AwsSolutions-APIG1": [
        ("WebSocketApiwsStage", "", drop("WebSocketApiwsStage", SETTINGS)),
        ("HttpApiApiGatewayDefaultStage", "", drop("HttpApiApiGatewayDefaultStage", SETTINGS, "DestinationArn")),
    ],
    "Serverless-APIGWAccessLogging": [
        ("HttpApiApiGatewayDefaultStage", "", drop("HttpApiApiGatewayDefaultStage", SETTINGS, "Format"))
    ],
    "Serverless-APIGWStructuredLogging": [
        (
            "WebSocketApiwsStage",
            "",
            put("WebSocketApiwsStage", SETTINGS, "Format", "$context.requestId $context.status"),
        )
    ],
    "Serverless-APIGWDefaultThrottling": [
        (
            "WebSocketApiwsStage",
            "Property::ThrottlingBurstLimit",
            drop("WebSocketApiwsStage", "DefaultRouteSettings", "ThrottlingBurstLimit"),
        ),
        (
            "HttpApiApiGatewayDefaultStage",
            "Property::ThrottlingRateLimit",
            drop("HttpApiApiGatewayDefaultStage", "DefaultRouteSettings"),
        ),
    ],
    "AwsSolutions-APIG4": [
        ("WebSocketApiConnectRoute", "Route::$connect", put("WebSocketApiConnectRoute", "AuthorizationType", "NONE")),
        ("WebSocketApiConnectRoute", "Route::$connect", drop("WebSocketApiConnectRoute", "AuthorizationType")),
        (
            "HttpApi",
            "Route::X-AMAZON-APIGATEWAY-ANY-METHOD /api/{proxy+}",
            drop("HttpApi", "Body", "paths", "/api/{proxy+}", "x-amazon-apigateway-any-method", "security"),
        ),
    ],
    "AwsSolutions-IAM4": [
        (
            "JanitorEveryMinuteRole",
            "Policy::arn:aws:iam::aws:policy/AdministratorAccess",
            put("JanitorEveryMinuteRole", "ManagedPolicyArns", ["arn:aws:iam::aws:policy/AdministratorAccess"]),
        ),
    ],
    "AwsSolutions-IAM5": [
        ("ConnectRole", "Action::sqs:Send*", allow("ConnectRole", Action="sqs:Send*")),
        (
            "ConnectRole",
            "Resource::<ChatTable.Arn>/*",
            allow("ConnectRole", Action="dynamodb:Query", Resource={"Fn::Sub": "${ChatTable.Arn}/*"}),
        ),
        ("BedrockPolicy", "Action::bedrock:*", put("BedrockPolicy", *STATEMENT, "Action", ["bedrock:*"])),
    ],
    "Serverless-LambdaStarPermissions": [
        ("WorkerRole", "Action::*", allow("WorkerRole", Action=["sqs:SendMessage", "s3:*"])),
        ("WorkerRole", "Resource::*", allow("WorkerRole", Action="sqs:SendMessage", Resource="*")),
    ],
    "AwsSolutions-COG1": [
        ("UserPool", "Property::MinimumLength", put("UserPool", "Policies", "PasswordPolicy", "MinimumLength", 7)),
    ],
    "AwsSolutions-COG2": [],
    "AwsSolutions-COG8": [],
    "AwsSolutions-L1": [("Worker", "", put("Worker", "Runtime", "provided.al2"))],
    "Serverless-LambdaLatestVersion": [("Connect", "", put("Connect", "Runtime", "nodejs20.x"))],
    "Serverless-LambdaDefaultMemorySize": [("Worker", "", drop("Worker", "MemorySize"))],
    "Serverless-LambdaDefaultTimeout": [("Janitor", "", drop("Janitor", "Timeout"))],
    "Serverless-LambdaDLQ": [],
    "Serverless-LambdaTracing": [
        ("RestApi", "", put("RestApi", "TracingConfig", "Mode", "PassThrough")),
        ("Worker", "", drop("Worker", "TracingConfig")),
    ],
    "Serverless-LambdaEventSourceMappingDestination": [],
    "Serverless-CloudWatchLogGroupRetentionPeriod": [("HttpApiLogs", "", drop("HttpApiLogs", "RetentionInDays"))],
    "WS1004": [
        ("Cancel", "", drop("Cancel", "LoggingConfig", "LogGroup")),
        ("Cancel", "", drop("FunctionLogs", "RetentionInDays")),
    ],
}
# Rules that the template breaks wherever they apply. The change makes one resource keep the rule.
KEEPS = {
    "AwsSolutions-S1": [
        ("MediaBucket", put("MediaBucket", "LoggingConfiguration", {"DestinationBucketName": {"Ref": "SiteBucket"}})),
        ("SiteBucket", put("MediaBucket", "LoggingConfiguration", {"DestinationBucketName": {"Ref": "SiteBucket"}})),
    ],
    "AwsSolutions-CFR1": [
        (
            "Site",
            put(
                "Site",
                CONFIG,
                "Restrictions",
                {"GeoRestriction": {"RestrictionType": "whitelist", "Locations": ["DE"]}},
            ),
        )
    ],
    "AwsSolutions-CFR3": [("Site", put("Site", CONFIG, "Logging", {"Bucket": "logs.s3.amazonaws.com"}))],
    "AwsSolutions-COG2": [("UserPool", put("UserPool", "MfaConfiguration", "ON"))],
    "AwsSolutions-COG8": [("UserPool", put("UserPool", "UserPoolTier", "PLUS"))],
    "Serverless-LambdaDLQ": [
        (
            "Janitor",
            put("Janitor", "DeadLetterConfig", {"TargetArn": {"Fn::GetAtt": ["MessageDeadLetterQueue", "Arn"]}}),
        )
    ],
    "Serverless-LambdaEventSourceMappingDestination": [
        (
            "WorkerMessages",
            put(
                "WorkerMessages",
                "DestinationConfig",
                {"OnFailure": {"Destination": "arn:aws:sqs:us-east-1:123456789012:queue"}},
            ),
        )
    ],
}


def deployed_for(rule):
    """What is deployed with parameters that keep the rule."""
    if rule in ("AwsSolutions-CFR2", "AwsSolutions-CFR4"):
        return WITH_DOMAIN
    return WITH_BEDROCK


def changed(deployed, change):
    deployed = copy.deepcopy(deployed)
    change(deployed)
    return nag.findings(deployed)


def with_suppression(entry, resource=None):
    """The template with one more suppression."""
    template = copy.deepcopy(TEMPLATE)
    place = template["Resources"][resource] if resource else template
    metadata = place.setdefault("Metadata", {})
    metadata.setdefault("cdk_nag", {}).setdefault("rules_to_suppress", []).append(entry)
    return template


class EachRule(unittest.TestCase):
    def test_has_a_break_or_is_broken_today(self):
        self.assertEqual(sorted(BREAKS), sorted(rules.RULES))
        for rule, breaks in BREAKS.items():
            self.assertTrue(breaks or KEEPS.get(rule), f"{rule} is never seen to fail")

    def test_finds_what_breaks_it(self):
        for rule, breaks in BREAKS.items():
            deployed = deployed_for(rule)
            for resource, what, change in breaks:
                finding = nag.Finding(rule, resource, what)
                with self.subTest(str(finding)):
                    self.assertNotIn(finding, nag.findings(deployed))
                    self.assertIn(finding, changed(deployed, change))

    def test_that_is_broken_today_would_see_a_repair(self):
        for rule, repairs in KEEPS.items():
            for resource, change in repairs:
                finding = nag.Finding(rule, resource, "")
                with self.subTest(str(finding)):
                    self.assertIn(finding, nag.findings(DEPLOYED))
                    self.assertNotIn(finding, changed(DEPLOYED, change))

    def test_is_open_after_the_break_because_no_suppression_covers_it(self):
        meant, _ = nag.suppressions(TEMPLATE)
        for rule, breaks in BREAKS.items():
            for resource, what, _ in breaks:
                # The two that a parameter decides are suppressed, because the defaults break them.
                if rule not in ("AwsSolutions-CFR2", "AwsSolutions-CFR4"):
                    finding = nag.Finding(rule, resource, what)
                    self.assertFalse([one for one in meant if one.covers(TEMPLATE, finding)], str(finding))

    def test_knows_every_type_of_resource(self):
        self.assertEqual(nag.unknown_types(DEPLOYED), [])
        topic = {**DEPLOYED, "Topic": {"Type": "AWS::SNS::Topic", "Properties": {}}}
        self.assertEqual(nag.unknown_types(topic), ["AWS::SNS::Topic"])


class Suppressions(unittest.TestCase):
    def problems(self, template):
        return nag.check(template, nag.parameter_sets())[0]

    def test_the_template_has_no_finding(self):
        self.assertEqual(self.problems(TEMPLATE), [])

    def test_a_finding_without_a_suppression_names_rule_resource_and_parameters(self):
        template = copy.deepcopy(TEMPLATE)
        del template["Resources"]["ConnectionsTable"]["Metadata"]["cdk_nag"]
        template["Resources"]["Site"]["Metadata"]["cdk_nag"]["rules_to_suppress"] = [
            entry
            for entry in template["Resources"]["Site"]["Metadata"]["cdk_nag"]["rules_to_suppress"]
            if entry["id"] != "AwsSolutions-CFR2"
        ]
        table, site = self.problems(template)
        self.assertIn(
            "Site breaks AwsSolutions-CFR2 (A distribution has a web ACL.) with the parameters of default", site
        )
        self.assertNotIn("a domain and a web ACL", site)
        self.assertIn("ConnectionsTable breaks AwsSolutions-DDB3", table)
        self.assertIn("with any parameters", table)

    def test_one_that_suppresses_nothing_is_a_problem(self):
        entry = {"id": "AwsSolutions-DDB3", "reason": "None"}
        expected = ["The suppression of AwsSolutions-DDB3 in ChatTable suppresses nothing: remove it"]
        self.assertEqual(self.problems(with_suppression(entry, "ChatTable")), expected)

    def test_each_finding_that_it_names_must_exist(self):
        entry = {"id": "AwsSolutions-APIG4", "reason": "None", "applies_to": ["Route::GET /docs", "Route::GET /other"]}
        (problem,) = self.problems(with_suppression(entry, "HttpApi"))
        self.assertIn("for Route::GET /other suppresses nothing", problem)

    def test_one_holds_for_what_sam_makes_of_the_resource_and_for_no_other(self):
        self.assertEqual(nag.source(TEMPLATE, "ConnectRole"), "Connect")
        self.assertEqual(nag.source(TEMPLATE, "WebSocketApiConnectRoute"), "WebSocketApi")
        self.assertEqual(nag.source(TEMPLATE, "WebSocketApiLogs"), "WebSocketApiLogs")
        self.assertIsNone(nag.source(TEMPLATE, "Another"))

    def test_its_form_is_checked(self):
        for entry, resource, expected in [
            ({"id": "AwsSolutions-S99", "reason": "None"}, "MediaBucket", "names no rule"),
            ({"id": "AwsSolutions-S1", "reason": " "}, "MediaBucket", "has no reason"),
            (
                {"id": "AwsSolutions-S1", "reason": "None", "appliesTo": []},
                "MediaBucket",
                "id, reason and applies_to alone",
            ),
            ({"id": "AwsSolutions-S1", "reason": "None"}, None, "must name its findings in applies_to"),
        ]:
            with self.subTest(expected):
                _, problems = nag.suppressions(with_suppression(entry, resource))
                self.assertEqual(len(problems), 1)
                self.assertIn(expected, problems[0])


class Parameters(unittest.TestCase):
    def test_each_condition_is_seen_both_ways(self):
        seen = {name: set() for name in TEMPLATE["Conditions"]}
        for given in nag.parameter_sets().values():
            resolver = nag.Resolver(TEMPLATE, nag.values(TEMPLATE, given))
            for name, results in seen.items():
                results.add(resolver.holds(name))
        self.assertEqual({name: results for name, results in seen.items() if len(results) < 2}, {})

    def test_conditions_are_resolved(self):
        template = {
            "Conditions": {
                "Yes": {"Fn::Equals": [{"Ref": "Number"}, 2]},
                "No": {"Fn::Not": [{"Condition": "Yes"}]},
                "Both": {"Fn::And": [{"Condition": "Yes"}, {"Condition": "No"}]},
                "One": {"Fn::Or": [{"Condition": "Yes"}, {"Condition": "No"}]},
                "Strange": {"Fn::Contains": ["a", "b"]},
            }
        }
        resolver = nag.Resolver(template, {"Number": 2})
        self.assertEqual([resolver.holds(name) for name in ["Yes", "No", "Both", "One"]], [True, False, False, True])
        value = {
            "A": {"Fn::If": ["Yes", [{"Ref": "Number"}, {"Ref": "AWS::NoValue"}], 0]},
            "B": {"Fn::If": ["No", 1, nag.NO_VALUE]},
        }
        self.assertEqual(resolver.value(value), {"A": [2]})
        with self.assertRaisesRegex(nag.Mistake, "Fn::Contains"):
            resolver.holds("Strange")

    def test_resources_come_and_go_with_their_condition(self):
        self.assertIn("ApiLogsRole", DEPLOYED)
        self.assertNotIn("ApiLogsRole", WITH_DOMAIN)
        self.assertNotIn("BedrockPolicy", DEPLOYED)
        self.assertIn("BedrockPolicy", WITH_BEDROCK)

    def test_a_set_of_parameters_must_fit_the_template(self):
        with self.assertRaisesRegex(nag.Mistake, "names Colour"):
            nag.values(TEMPLATE, {"Colour": "red"})
        with self.assertRaisesRegex(nag.Mistake, "LlmProvider the value other.* one of mock, openai, bedrock"):
            nag.values(TEMPLATE, {"LlmProvider": "other"})


if __name__ == "__main__":
    unittest.main()
