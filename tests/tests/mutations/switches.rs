//! Each switch of the deployment changes exactly the values that are listed for it. A switch is a parameter on which a
//! condition depends.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use e2e::Deployment;
use serde_json::{Value, json};

use super::{Fault, Parameter};

/// A value with the defaults, and the value after a switch. Null is a value that is not there.
type Change = (Value, Value);

/// The parameters of a switch, and the values that they change, by their paths.
struct Switch {
    parameters: Vec<Parameter>,
    changes: BTreeMap<String, Change>,
}

impl Switch {
    fn new(parameters: &[Parameter]) -> Self {
        Self { parameters: parameters.to_vec(), changes: BTreeMap::new() }
    }

    fn changes(mut self, path: &str, before: impl Into<Value>, after: impl Into<Value>) -> Self {
        self.changes.insert(path.to_owned(), (before.into(), after.into()));
        self
    }

    fn adds(self, path: &str, value: impl Into<Value>) -> Self {
        self.changes(path, Value::Null, value)
    }

    fn removes(self, path: &str, value: impl Into<Value>) -> Self {
        self.changes(path, value, Value::Null)
    }
}

/// A member that stands for each text which has all of these parts.
const HAS: &str = "text with all of";

fn has(parts: &[&str]) -> Value {
    json!({ HAS: parts })
}

fn is(value: &Value, expected: &Value) -> bool {
    match (expected[HAS].as_array(), value) {
        (Some(parts), Value::String(text)) => {
            parts.iter().all(|part| part.as_str().is_some_and(|part| text.contains(part)))
        }
        _ => value == expected,
    }
}

const ISSUER: &str = "https://UserPool.ProviderURL";
const CLIENT: &str = "local-UserPoolClient";
const STORAGE: &str = "https://s3.us-east-1.amazonaws.com https://local-MediaBucket.s3.us-east-1.amazonaws.com";
const POLICY: &str = "Resources/SiteHeaders/Properties/ResponseHeadersPolicyConfig/SecurityHeadersConfig/\
                      ContentSecurityPolicy/ContentSecurityPolicy";

/// The policy of the page with this storage and this issuer.
fn page_policy(storage: &str, issuer: &str) -> Value {
    let apis = "https://local-HttpApi.execute-api.us-east-1.amazonaws.com \
                wss://local-WebSocketApi.execute-api.us-east-1.amazonaws.com";
    has(&[
        &format!("img-src 'self' blob: {storage};"),
        &format!("media-src 'self' blob: {storage};"),
        &format!("connect-src 'self' {apis} {storage} {issuer};"),
    ])
}

fn document(statement: &Value) -> Value {
    json!({ "Version": "2012-10-17", "Statement": [statement] })
}

fn managed_policy(statement: &Value) -> Value {
    json!({ "Type": "AWS::IAM::ManagedPolicy", "Properties": { "PolicyDocument": document(statement) } })
}

fn retained(kind: &str, properties: &Value) -> Value {
    json!({ "Type": kind, "DeletionPolicy": "Retain", "UpdateReplacePolicy": "Retain", "Properties": properties })
}

/// All switches. `defaults` is the deployment without any.
fn all(defaults: &Value) -> Vec<Switch> {
    vec![
        own_issuer(),
        Switch::new(&[("ReserveConcurrency", "false")])
            .removes("Resources/Worker/Properties/ReservedConcurrentExecutions", 500),
        own_storage(),
        bedrock(),
        key_of_the_model(),
        own_domain(),
        web_acl(),
        Switch::new(&[("AllowSignUp", "false")]).changes(
            "Resources/UserPool/Properties/AdminCreateUserConfig/AllowAdminCreateUserOnly",
            false,
            true,
        ),
        no_role_for_logs(),
        topic_of_alarms(defaults),
    ]
}

/// What the pool of users gives by default: an issuer, a client, and a page to sign in at.
fn own_issuer() -> Switch {
    let (issuer, audience) = ("https://id.example/realms/x", "web");
    let jwt = "Resources/HttpApi/Properties/Auth/Authorizers/Jwt/JwtConfiguration";
    let authorizer = "Resources/Authorizer/Properties/Environment/Variables";
    Switch::new(&[("OidcIssuer", issuer), ("OidcAudience", audience)])
        .changes(&format!("{jwt}/issuer"), ISSUER, issuer)
        .changes(&format!("{jwt}/audience/0"), CLIENT, audience)
        .changes(&format!("{authorizer}/OIDC_ISSUER"), ISSUER, issuer)
        .changes(&format!("{authorizer}/OIDC_AUDIENCE"), CLIENT, audience)
        .changes(POLICY, page_policy(STORAGE, &issuers()), page_policy(STORAGE, "https://id.example"))
        .changes("Outputs/Issuer/Value", ISSUER, issuer)
        .changes("Outputs/ClientId/Value", CLIENT, audience)
}

fn issuers() -> String {
    format!("{ISSUER} https://local-UserPoolDomain.auth.us-east-1.amazoncognito.com")
}

fn own_storage() -> Switch {
    let (s3, own) = ("https://s3.us-east-1.amazonaws.com", "http://localhost:9000");
    Switch::new(&[("MediaEndpointUrl", own)])
        .changes("Globals/Function/Environment/Variables/MEDIA_ENDPOINT_URL", s3, own)
        .changes(POLICY, page_policy(STORAGE, &issuers()), page_policy(own, &issuers()))
}

fn bedrock() -> Switch {
    let invoke = json!({
        "Effect": "Allow",
        "Action": "bedrock:InvokeModelWithResponseStream",
        "Resource": ["arn:aws:bedrock:*::foundation-model/*", "arn:aws:bedrock:*:000000000000:inference-profile/*"],
    });
    let of_metrics = |provider: &str| has(&[&format!("\"Provider\", \"{provider}\"")]);
    Switch::new(&[("LlmProvider", "bedrock"), ("LlmModel", "m")])
        .changes("Resources/Worker/Properties/Environment/Variables/LLM_PROVIDER", "mock", "bedrock")
        .changes("Resources/Worker/Properties/Environment/Variables/LLM_MODEL", "", "m")
        .adds("Resources/Worker/Properties/Policies/1", "local-BedrockPolicy")
        .adds("Resources/BedrockPolicy", managed_policy(&invoke))
        .changes("Resources/SlowAnswersAlarm/Properties/Dimensions/1/Value", "mock", "bedrock")
        .changes("Resources/FailedAnswersAlarm/Properties/Dimensions/1/Value", "mock", "bedrock")
        .changes("Resources/Dashboard/Properties/DashboardBody", of_metrics("mock"), of_metrics("bedrock"))
}

fn key_of_the_model() -> Switch {
    let key = "arn:aws:secretsmanager:us-east-1:123456789012:secret:llm";
    let actions = ["secretsmanager:GetSecretValue", "ssm:GetParameter"];
    Switch::new(&[("LlmApiKeySecretArn", key)])
        .changes("Resources/Worker/Properties/Environment/Variables/LLM_API_KEY_SECRET_ARN", "", key)
        .adds("Resources/Worker/Properties/Policies/1", "local-ApiKeyPolicy")
        .adds(
            "Resources/ApiKeyPolicy",
            managed_policy(&json!({ "Effect": "Allow", "Action": actions, "Resource": key })),
        )
}

const DISTRIBUTION: &str = "Resources/Site/Properties/DistributionConfig";

fn own_domain() -> Switch {
    let certificate = "arn:aws:acm:us-east-1:123456789012:certificate/0-1";
    let of_viewers = format!("{DISTRIBUTION}/ViewerCertificate");
    Switch::new(&[("SiteDomainName", "chat.example.com"), ("SiteCertificateArn", certificate)])
        .adds(&format!("{DISTRIBUTION}/Aliases"), json!(["chat.example.com"]))
        .removes(&format!("{of_viewers}/CloudFrontDefaultCertificate"), true)
        .adds(&format!("{of_viewers}/AcmCertificateArn"), certificate)
        .adds(&format!("{of_viewers}/SslSupportMethod"), "sni-only")
        .adds(&format!("{of_viewers}/MinimumProtocolVersion"), "TLSv1.2_2021")
        .changes("Outputs/SiteAddress/Value", "https://Site.DomainName", "https://chat.example.com")
}

fn web_acl() -> Switch {
    let web_acl = "arn:aws:wafv2:us-east-1:123456789012:global/webacl/x/1";
    Switch::new(&[("SiteWebAclArn", web_acl)]).adds(&format!("{DISTRIBUTION}/WebACLId"), web_acl)
}

fn no_role_for_logs() -> Switch {
    let gateway = json!({
        "Effect": "Allow", "Principal": { "Service": "apigateway.amazonaws.com" }, "Action": "sts:AssumeRole",
    });
    let role = json!({
        "AssumeRolePolicyDocument": document(&gateway),
        "ManagedPolicyArns": ["arn:aws:iam::aws:policy/service-role/AmazonAPIGatewayPushToCloudWatchLogs"],
    });
    let account = json!({ "CloudWatchRoleArn": "ApiLogsRole.Arn" });
    let waits = json!([{ "Key": "permission", "Value": "local-ApiLogsAccount" }]);
    Switch::new(&[("SetApiLogsRole", "false")])
        .removes("Resources/WebSocketApiLogs/Properties/Tags", waits)
        .removes("Resources/ApiLogsRole", retained("AWS::IAM::Role", &role))
        .removes("Resources/ApiLogsAccount", retained("AWS::ApiGateway::Account", &account))
}

/// Each alarm tells the topic.
fn topic_of_alarms(defaults: &Value) -> Switch {
    let topic = "arn:aws:sns:us-east-1:123456789012:alarms";
    let resources = defaults["Resources"].as_object().into_iter().flatten();
    let alarms = resources.filter(|(_, resource)| resource["Type"] == "AWS::CloudWatch::Alarm");
    let actions = alarms.flat_map(|(id, _)| ["AlarmActions", "OKActions"].map(|action| (id, action)));
    actions.fold(Switch::new(&[("AlarmTopicArn", topic)]), |switch, (id, action)| {
        switch.adds(&format!("Resources/{id}/Properties/{action}"), json!([topic]))
    })
}

/// Finds where two values differ, as deep in them as possible.
fn differences(path: &str, a: &Value, b: &Value, found: &mut BTreeMap<String, Change>) {
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
    match (a, b) {
        (Value::Object(one), Value::Object(other)) => {
            for name in one.keys().chain(other.keys()).collect::<BTreeSet<_>>() {
                differences(&below(name), &a[name], &b[name], found);
            }
        }
        (Value::Array(one), Value::Array(other)) => {
            for at in 0..one.len().max(other.len()) {
                differences(&below(&at.to_string()), &a[at], &b[at], found);
            }
        }
        _ if a != b => {
            found.insert(path.to_owned(), (a.clone(), b.clone()));
        }
        _ => {}
    }
}

pub(crate) fn check(document: &Arc<Value>, defaults: &Value) -> Result<(), Fault> {
    for Switch { parameters, changes } in all(defaults) {
        let deployment = Deployment::of(document, &parameters)?;
        let mut found = BTreeMap::new();
        differences("", defaults, &deployment.whole()?, &mut found);
        for path in found.keys().chain(changes.keys()).collect::<BTreeSet<_>>() {
            let (found, expected) = (found.get(path), changes.get(path));
            let same = found
                .zip(expected)
                .is_some_and(|(found, expected)| is(&found.0, &expected.0) && is(&found.1, &expected.1));
            if !same {
                return Err(format!("With {parameters:?}, {path} changes like {found:?}, and not like {expected:?}"));
            }
        }
        let broken = deployment.broken_rules()?;
        if !broken.is_empty() {
            return Err(format!("{parameters:?} are refused by {broken:?}"));
        }
    }
    Ok(())
}

/// Parameters that are refused, and by which rule.
const REFUSED: [(&[Parameter], &str); 4] = [
    (&[("LlmProvider", "openai")], "AModelHasAName"),
    (&[("LlmProvider", "bedrock")], "AModelHasAName"),
    (&[("OidcIssuer", "https://id.example")], "AnIssuerHasAnAudience"),
    (&[("SiteDomainName", "chat.example.com")], "ADomainNameHasACertificate"),
];

pub(crate) fn check_rules(document: &Arc<Value>) -> Result<(), Fault> {
    let broken = |parameters: &[Parameter]| Deployment::of(document, parameters)?.broken_rules();
    let defaults = broken(&[])?;
    if !defaults.is_empty() {
        return Err(format!("The defaults are refused by {defaults:?}"));
    }
    for (parameters, rule) in REFUSED {
        let broken = broken(parameters)?;
        if broken != [rule] {
            return Err(format!("{parameters:?} are refused by {broken:?}, and not by {rule}"));
        }
    }
    let rules: BTreeSet<&str> = document["Rules"].as_object().into_iter().flatten().map(|(name, _)| &**name).collect();
    let expected: BTreeSet<&str> = REFUSED.iter().map(|(_, rule)| *rule).collect();
    if rules == expected { Ok(()) } else { Err(format!("The rules are {rules:?}, and not {expected:?}")) }
}
