//! The values of `!Ref` and `!GetAtt` for each type on one machine, and the physical names behind them.
//!
//! Names come from the declaration alone, not from the finished model, so resources can refer to each other in any
//! order.

use super::error::{Problem, hint};
use super::resource::{Kind, Resource};
use super::resources::event_rule::DEFAULT_BUS;
use super::scope::{PARTITION, Scope, URL_SUFFIX};
use super::yaml::{Data, Node};

/// The last part of the stack's id, which is random on AWS.
const STACK_UUID: &str = "00000000-0000-0000-0000-000000000000";
/// The last part of a stream's ARN, which is the time of its creation on AWS.
const STREAM_LABEL: &str = "2000-01-01T00:00:00.000";
/// The stage of the REST API that SAM makes for events without an API of their own.
pub(crate) const IMPLICIT_STAGE: &str = "Prod";

/// The attributes that SAM lets `!Ref` name behind a dot.
const SAM_ATTRIBUTES: [&str; 4] = ["Alias", "Deployment", "Stage", "Version"];

impl Scope<'_> {
    /// The value of `!Ref`; nothing for `AWS::NoValue`.
    pub(crate) fn reference(&self, line: usize, name: &str) -> Result<Option<Node>, Problem> {
        let locals = self.locals;
        let text = match name {
            "AWS::NoValue" => return Ok(None),
            "AWS::AccountId" => locals.account_id.clone(),
            "AWS::Region" => locals.region.clone(),
            "AWS::StackName" => locals.stack_name.clone(),
            "AWS::StackId" => {
                let (region, account, stack) = (&locals.region, &locals.account_id, &locals.stack_name);
                format!("arn:{PARTITION}:cloudformation:{region}:{account}:stack/{stack}/{STACK_UUID}")
            }
            "AWS::NotificationARNs" => return Ok(Some(Node { line, data: Data::List(Vec::new()) })),
            "AWS::Partition" => PARTITION.to_owned(),
            "AWS::URLSuffix" => URL_SUFFIX.to_owned(),
            _ => match self.parameters.get(name) {
                Some(parameter) if parameter.stored.is_some() => {
                    let stored = parameter.stored.as_deref().unwrap_or_default();
                    let what = format!(
                        "Parameter {name} is the value of {stored} in Parameter Store \
                         (--param {name}=VALUE gives another)"
                    );
                    let placeholder = self.missing(line, &what, format!("missing-{name}"))?;
                    if parameter.is_list() {
                        let items = vec![Node::text(line, placeholder)];
                        return Ok(Some(Node { line, data: Data::List(items) }));
                    }
                    placeholder
                }
                Some(parameter) if parameter.is_list() => {
                    let items = parameter.items().map(|item| Node::text(line, item)).collect();
                    return Ok(Some(Node { line, data: Data::List(items) }));
                }
                Some(parameter) => parameter.text.clone(),
                None => self.resource_reference(line, name)?,
            },
        };
        Ok(Some(Node::text(line, text)))
    }

    fn resource_reference(&self, line: usize, name: &str) -> Result<String, Problem> {
        if let Some((resource, attribute)) = name.split_once('.')
            && SAM_ATTRIBUTES.contains(&attribute)
        {
            return self.attribute(line, resource, attribute);
        }
        if let Some(what) = self.passed_over.get(name) {
            return self.not_run(line, name, what, format!("missing-{name}"));
        }
        match self.routes.get(name) {
            // A route exists if its API does.
            Some((api, _)) => self.resource(line, api).map(|_| name.to_owned()),
            None => self.resource(line, name)?.reference(self),
        }
    }

    /// The value of `!GetAtt`.
    pub(crate) fn attribute(&self, line: usize, name: &str, attribute: &str) -> Result<String, Problem> {
        if self.parameters.contains_key(name) {
            return Err(Problem::new(line, format!("\"{name}\" is a parameter: use !Ref")));
        }
        if let Some(what) = self.passed_over.get(name) {
            return self.not_run(line, name, what, format!("missing-{name}.{attribute}"));
        }
        self.resource(line, name)?.attribute(self, line, attribute)
    }

    fn not_run(&self, line: usize, name: &str, what: &str, placeholder: String) -> Result<String, Problem> {
        self.missing(line, &format!("\"{name}\" is {what}, which is not run here"), placeholder)
    }

    /// Finds the resource of this kind whose attribute has this value: this traces an ARN back to its resource.
    pub(crate) fn find(&self, kind: Kind, attribute: &str, value: &str) -> Option<&Resource> {
        self.present(kind).find(|resource| {
            resource.attribute(self, resource.line, attribute).is_ok_and(|attribute| attribute == value)
        })
    }
}

impl Resource {
    pub(crate) fn reference(&self, scope: &Scope<'_>) -> Result<String, Problem> {
        match self.kind {
            Kind::Bucket
            | Kind::EventBus
            | Kind::Function
            | Kind::Schedule
            | Kind::Policy
            | Kind::Role
            | Kind::Table => self.name(scope),
            // A rule of another bus than the default one is named together with its bus.
            Kind::EventRule => Ok(self.rule_path(scope)?.replace('/', "|")),
            Kind::ManagedPolicy => self.attribute(scope, self.line, "PolicyArn"),
            Kind::Queue => self.attribute(scope, self.line, "QueueUrl"),
            Kind::Topic => self.attribute(scope, self.line, "TopicArn"),
            Kind::HttpApi | Kind::RestApi | Kind::WebSocketApi => Ok(self.api_id()),
            Kind::UserPool => Ok(format!("{}_{}", scope.locals.region, self.id)),
            Kind::ApiStage | Kind::UserPoolDomain => self.name(scope),
            Kind::FunctionUrl => self.attribute(scope, self.line, "FunctionArn"),
            Kind::ApiAuthorizer
            | Kind::ApiIntegration
            | Kind::ApiKey
            | Kind::ApiModel
            | Kind::ApiRoute
            | Kind::EventInvokeConfig
            | Kind::EventSourceMapping
            | Kind::IntegrationResponse
            | Kind::ResponseHeadersPolicy
            | Kind::RouteResponse
            | Kind::Subscription
            | Kind::UsagePlan
            | Kind::UsagePlanKey
            | Kind::UserPoolClient => Ok(self.id.clone()),
        }
    }

    pub(crate) fn attribute(&self, scope: &Scope<'_>, line: usize, attribute: &str) -> Result<String, Problem> {
        let locals = scope.locals;
        let arn = |service: &str, path: String| {
            format!("arn:{PARTITION}:{service}:{}:{}:{path}", locals.region, locals.account_id)
        };
        let iam_arn = |path: &str, name: String| format!("arn:{PARTITION}:iam::{}:{path}/{name}", locals.account_id);
        Ok(match (self.kind, attribute) {
            (Kind::Function, "Arn") => arn("lambda", format!("function:{}", self.name(scope)?)),
            // Here a function has one version, whatever it is called.
            (Kind::Function, "Alias" | "Version") => self.attribute(scope, line, "Arn")?,
            (Kind::FunctionUrl, "FunctionUrl") => {
                format!("https://{}.lambda-url.{}.on.aws/", self.api_id(), locals.region)
            }
            (Kind::FunctionUrl, "FunctionArn") => self.url_target(scope)?,
            (Kind::Queue, "Arn") => arn("sqs", self.name(scope)?),
            (Kind::Queue, "QueueName") => self.name(scope)?,
            (Kind::Queue, "QueueUrl") => {
                let endpoint = locals.sqs_url.trim_end_matches('/');
                format!("{endpoint}/{}/{}", locals.account_id, self.name(scope)?)
            }
            (Kind::Topic, "TopicArn") => arn("sns", self.name(scope)?),
            (Kind::Topic, "TopicName") => self.name(scope)?,
            // Bucket names are globally unique, so their ARNs contain neither region nor account.
            (Kind::Bucket, "Arn") => format!("arn:{PARTITION}:s3:::{}", self.name(scope)?),
            (Kind::Bucket, "DomainName") => format!("{}.s3.{URL_SUFFIX}", self.name(scope)?),
            (Kind::Bucket, "RegionalDomainName") => {
                format!("{}.s3.{}.{URL_SUFFIX}", self.name(scope)?, locals.region)
            }
            (Kind::Bucket, "DualStackDomainName") => {
                format!("{}.s3.dualstack.{}.{URL_SUFFIX}", self.name(scope)?, locals.region)
            }
            (Kind::Bucket, "WebsiteURL") => {
                format!("http://{}.s3-website-{}.{URL_SUFFIX}", self.name(scope)?, locals.region)
            }
            (Kind::Table, "Arn") => arn("dynamodb", format!("table/{}", self.name(scope)?)),
            (Kind::Table, "StreamArn") => arn("dynamodb", format!("table/{}/stream/{STREAM_LABEL}", self.name(scope)?)),
            (Kind::Schedule, "Arn") => arn("scheduler", format!("schedule/default/{}", self.name(scope)?)),
            (Kind::EventBus, "Arn") => arn("events", format!("event-bus/{}", self.name(scope)?)),
            (Kind::EventBus, "Name") => self.name(scope)?,
            (Kind::EventRule, "Arn") => arn("events", format!("rule/{}", self.rule_path(scope)?)),
            (Kind::ManagedPolicy, "PolicyArn") => iam_arn("policy", self.name(scope)?),
            (Kind::Role, "Arn") => iam_arn("role", self.name(scope)?),
            (Kind::Role, "RoleId") => self.id.clone(),
            (Kind::Policy, "Id") => self.id.clone(),
            (Kind::HttpApi | Kind::WebSocketApi, "ApiId") => self.api_id(),
            (Kind::RestApi, "RestApiId") => self.api_id(),
            (Kind::RestApi, "RootResourceId") => format!("{}root", self.api_id()),
            (Kind::HttpApi | Kind::RestApi, "Stage") => self.name(scope)?,
            (Kind::HttpApi | Kind::RestApi, "Deployment") => format!("{}deployment", self.api_id()),
            (Kind::HttpApi, "ApiEndpoint") => {
                format!("https://{}.execute-api.{}.{URL_SUFFIX}", self.api_id(), locals.region)
            }
            (Kind::WebSocketApi, "ApiEndpoint") => {
                format!("wss://{}.execute-api.{}.{URL_SUFFIX}", self.api_id(), locals.region)
            }
            (Kind::ApiRoute, "RouteId") => self.id.clone(),
            (Kind::ApiAuthorizer, "AuthorizerId") => self.id.clone(),
            (Kind::ApiIntegration, "IntegrationId") => self.id.clone(),
            (Kind::IntegrationResponse, "IntegrationResponseId") => self.id.clone(),
            (Kind::ApiKey, "APIKeyId") => self.id.clone(),
            (Kind::UsagePlan | Kind::UsagePlanKey, "Id") => self.id.clone(),
            (Kind::ApiModel, "ModelId") => self.id.clone(),
            (Kind::EventSourceMapping, "Id") => self.id.clone(),
            (Kind::EventSourceMapping, "EventSourceMappingArn") => {
                arn("lambda", format!("event-source-mapping:{}", self.id))
            }
            (Kind::Subscription, "Arn") => arn("sns", self.id.clone()),
            (Kind::UserPool, "Arn") => arn("cognito-idp", format!("userpool/{}", self.reference(scope)?)),
            (Kind::UserPool, "UserPoolId") => self.reference(scope)?,
            (Kind::UserPool, "ProviderURL") => locals.issuer.clone(),
            (Kind::UserPool, "ProviderName") => {
                format!("cognito-idp.{}.{URL_SUFFIX}/{}", locals.region, self.reference(scope)?)
            }
            (Kind::UserPoolClient, "ClientId") => self.id.clone(),
            (Kind::ResponseHeadersPolicy, "Id") => self.id.clone(),
            _ => {
                let message = format!("{} does not have the attribute \"{attribute}\"", self.type_name);
                return Err(Problem::new(line, message + &hint(attribute, self.attributes().iter().copied())));
            }
        })
    }

    /// The ARN of the function that an `AWS::Lambda::Url` is for.
    fn url_target(&self, scope: &Scope<'_>) -> Result<String, Problem> {
        match self.properties.get("TargetFunctionArn") {
            Some(node) => scope.text(node, "AWS::Lambda::Url.TargetFunctionArn"),
            None => Err(Problem::new(self.line, "AWS::Lambda::Url needs the property \"TargetFunctionArn\"")),
        }
    }

    /// The name of a rule, behind that of its bus unless it is the default one.
    fn rule_path(&self, scope: &Scope<'_>) -> Result<String, Problem> {
        let bus = match self.properties.get("EventBusName") {
            Some(node) => scope.text(node, "AWS::Events::Rule.EventBusName")?,
            None => DEFAULT_BUS.to_owned(),
        };
        let (name, bus) = (self.name(scope)?, bus.rsplit('/').next().unwrap_or_default());
        Ok(if bus == DEFAULT_BUS { name } else { format!("{bus}/{name}") })
    }

    pub(crate) fn api_id(&self) -> String {
        self.id.to_lowercase()
    }

    /// The name in the template; or CloudFormation's pattern of stack and logical id, without its random part.
    pub(crate) fn name(&self, scope: &Scope<'_>) -> Result<String, Problem> {
        let property = match self.kind {
            Kind::Bucket => "BucketName",
            Kind::EventBus | Kind::EventRule | Kind::Schedule => "Name",
            Kind::Function => "FunctionName",
            Kind::Queue => "QueueName",
            Kind::Table => "TableName",
            Kind::Topic => "TopicName",
            Kind::ManagedPolicy => "ManagedPolicyName",
            Kind::Policy => "PolicyName",
            Kind::Role => "RoleName",
            Kind::UserPoolDomain => "Domain",
            Kind::ApiStage | Kind::HttpApi | Kind::RestApi => "StageName",
            Kind::ApiAuthorizer
            | Kind::ApiIntegration
            | Kind::ApiKey
            | Kind::ApiModel
            | Kind::ApiRoute
            | Kind::EventInvokeConfig
            | Kind::EventSourceMapping
            | Kind::FunctionUrl
            | Kind::IntegrationResponse
            | Kind::ResponseHeadersPolicy
            | Kind::RouteResponse
            | Kind::Subscription
            | Kind::UsagePlan
            | Kind::UsagePlanKey
            | Kind::UserPool
            | Kind::UserPoolClient
            | Kind::WebSocketApi => "",
        };
        if scope.naming.borrow().contains(&self.id) {
            return Err(Problem::new(self.line, format!("The {property} of {} depends on itself", self.id)));
        }
        scope.naming.borrow_mut().push(self.id.clone());
        let name = self.resolve_name(scope, property);
        scope.naming.borrow_mut().pop();
        name
    }

    fn resolve_name(&self, scope: &Scope<'_>, property: &str) -> Result<String, Problem> {
        let resolved = |property: &str| match self.properties.get(property) {
            Some(node) => scope.resolve(node),
            None => Ok(None),
        };
        if let Some(name) = resolved(property)? {
            return name.expect_text(&format!("{}.{property}", self.type_name));
        }
        let (stack, id) = (&scope.locals.stack_name, &self.id);
        let fifo = |property: &str| -> Result<&str, Problem> {
            let is = resolved(property)?.and_then(|is| is.as_text());
            Ok(if is.as_deref() == Some("true") { ".fifo" } else { "" })
        };
        Ok(match self.kind {
            Kind::Bucket => format!("{stack}-{id}").to_lowercase(),
            Kind::HttpApi | Kind::ApiStage => "$default".to_owned(),
            Kind::RestApi => IMPLICIT_STAGE.to_owned(),
            Kind::Queue => format!("{stack}-{id}{}", fifo("FifoQueue")?),
            Kind::Topic => format!("{stack}-{id}{}", fifo("FifoTopic")?),
            _ => format!("{stack}-{id}"),
        })
    }

    fn attributes(&self) -> &'static [&'static str] {
        match self.kind {
            Kind::Function => &["Alias", "Arn", "Version"],
            Kind::FunctionUrl => &["FunctionArn", "FunctionUrl"],
            Kind::Table => &["Arn", "StreamArn"],
            Kind::EventBus => &["Arn", "Name"],
            Kind::EventRule | Kind::Schedule => &["Arn"],
            Kind::Bucket => &["Arn", "DomainName", "DualStackDomainName", "RegionalDomainName", "WebsiteURL"],
            Kind::Queue => &["Arn", "QueueName", "QueueUrl"],
            Kind::Topic => &["TopicArn", "TopicName"],
            Kind::ManagedPolicy => &["PolicyArn"],
            Kind::Policy => &["Id"],
            Kind::Role => &["Arn", "RoleId"],
            Kind::HttpApi => &["ApiEndpoint", "ApiId", "Deployment", "Stage"],
            Kind::WebSocketApi => &["ApiEndpoint", "ApiId"],
            Kind::RestApi => &["Deployment", "RestApiId", "RootResourceId", "Stage"],
            Kind::ApiRoute => &["RouteId"],
            Kind::ApiAuthorizer => &["AuthorizerId"],
            Kind::ApiIntegration => &["IntegrationId"],
            Kind::ApiKey => &["APIKeyId"],
            Kind::UsagePlan | Kind::UsagePlanKey => &["Id"],
            Kind::ApiModel => &["ModelId"],
            Kind::IntegrationResponse => &["IntegrationResponseId"],
            Kind::EventInvokeConfig => &[],
            Kind::EventSourceMapping => &["EventSourceMappingArn", "Id"],
            Kind::Subscription => &["Arn"],
            Kind::UserPool => &["Arn", "ProviderName", "ProviderURL", "UserPoolId"],
            Kind::UserPoolClient => &["ClientId"],
            Kind::ResponseHeadersPolicy => &["Id"],
            Kind::ApiStage | Kind::RouteResponse | Kind::UserPoolDomain => &[],
        }
    }
}
