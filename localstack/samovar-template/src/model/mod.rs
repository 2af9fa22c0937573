//! The result of reading a template: plain data for one machine, checked, with every reference resolved.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::error::Problem;
use super::route_key::RouteKey;

mod api_key;
mod event_invoke;
mod event_rule;
mod function;
mod rest_api;
mod websocket;

pub use api_key::ApiKey;
pub use event_invoke::{EventInvokeConfig, Notification, Target};
pub use event_rule::{EventBus, EventRule, RuleTarget};
pub use function::{
    BuildMethod, Code, Esbuild, Function, FunctionUrl, Schedule, Scheduler, SqsEventSource, StreamEventSource, Trigger,
};
pub use rest_api::{RestApi, RestAuthorizer, RestCors, RestMock, RestRoute};
pub use websocket::{
    Authorizer, Backend, IdentitySource, Integration, IntegrationResponse, IntegrationRole, MappedIntegration,
    Passthrough, Route, Throttle, WebSocketApi,
};

/// The local values that references resolve to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Locals {
    /// `AWS::StackName`; generated names begin with it.
    pub stack_name: String,
    /// `AWS::Region`.
    pub region: String,
    /// `AWS::AccountId`.
    pub account_id: String,
    /// The queues' endpoint, e.g. `http://127.0.0.1:8000/_aws/sqs`; a queue is `{sqs_url}/{account}/{name}`.
    pub sqs_url: String,
    /// The OpenID issuer that stands in for every user pool.
    pub issuer: String,
    /// Whether a reference to something that is not here gives a placeholder. Otherwise it is an error.
    pub allow_missing: bool,
}

/// A valid template. Every part that is needed on one machine is understood.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Template {
    /// Values of the parameters, overrides included.
    pub parameters: BTreeMap<String, String>,
    /// `AWS::Serverless::Function` and `AWS::Lambda::Function`.
    pub functions: Vec<Function>,
    /// `AWS::Serverless::WebSocketApi`, and `AWS::ApiGatewayV2::Api` with the protocol `WEBSOCKET`.
    pub websocket_apis: Vec<WebSocketApi>,
    /// `AWS::Serverless::HttpApi`, the implicit one, and `AWS::ApiGatewayV2::Api` with the protocol `HTTP`.
    pub http_apis: Vec<HttpApi>,
    /// `AWS::Serverless::Api` and the implicit one.
    pub rest_apis: Vec<RestApi>,
    /// The `AWS::ApiGateway::ApiKey`s that are enabled.
    pub api_keys: Vec<ApiKey>,
    /// `AWS::SNS::Topic`.
    pub topics: Vec<Topic>,
    /// `AWS::Events::EventBus`.
    pub event_buses: Vec<EventBus>,
    /// `AWS::Events::Rule`, without those that SAM makes of functions' events: [`Function::rules`].
    pub event_rules: Vec<EventRule>,
    /// `AWS::SQS::Queue`.
    pub queues: Vec<Queue>,
    /// `AWS::DynamoDB::Table` and `AWS::Serverless::SimpleTable`.
    pub tables: Vec<Table>,
    /// `AWS::S3::Bucket`.
    pub buckets: Vec<Bucket>,
    /// Client ids, as `!Ref` gives them.
    pub user_pool_clients: Vec<String>,
    /// The outputs, without those that refer to resources which exist only when deployed.
    pub outputs: BTreeMap<String, String>,
    /// `Metadata.LocalState`.
    pub local_state: LocalState,
    /// The prefixes of the user pools' domains.
    pub user_pool_domains: Vec<String>,
    /// `Metadata.StaticSite`.
    pub static_site: Option<StaticSite>,
    /// Resources that would do work on AWS and are not run here: from the type to the logical ids.
    pub passed_over: BTreeMap<String, Vec<String>>,
    /// The lines of the resources, by their logical ids.
    pub lines: BTreeMap<String, usize>,
    /// Other parts of the template that have no effect here, by their lines.
    pub notes: Vec<Problem>,
}

impl Template {
    /// The types that are not run here with their resources, as one line; nothing if there are none.
    pub fn passed_over_line(&self) -> Option<String> {
        let types = self.passed_over.iter().map(|(name, ids)| format!("{name} ({})", ids.join(", ")));
        let types: Vec<String> = types.collect();
        (!types.is_empty()).then(|| format!("Not run here: {}", types.join(", ")))
    }
}

/// A web site of files, which belongs to the stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaticSite {
    /// The folder of the files. Like all paths here it is relative to the template's folder.
    pub directory: PathBuf,
    /// How the files are built. Without it they must be there already.
    pub build: Option<SiteBuild>,
    /// The file that answers for a page without a file of its own.
    pub fallback: Option<String>,
    /// Files under this path never change.
    pub immutable: Option<String>,
    /// The headers of the response headers policy, in its order.
    pub headers: Vec<(String, String)>,
    /// Files that are generated from the stack's own values. Addresses in them are still those on AWS.
    pub files: BTreeMap<String, serde_json::Value>,
}

/// How a site's directory is built. The commands are shell commands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteBuild {
    /// Where commands are run.
    pub directory: PathBuf,
    /// The software that the commands need, as text for a person.
    pub needs: Option<String>,
    /// The command that installs the dependencies. It runs before `run` where they are missing.
    pub install: Option<String>,
    /// The command that builds the files.
    pub run: String,
    /// The files and folders in the directory that the site is built from.
    pub sources: Vec<String>,
}

/// An `AWS::CloudFront::ResponseHeadersPolicy`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ResponseHeaders {
    pub logical_id: String,
    pub headers: Vec<(String, String)>,
}

/// The values of the application that `/_local/state` shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LocalState {
    /// Values of parameters, under the names to show them by.
    pub parameters: BTreeMap<String, String>,
    /// Items of tables, under the names to show them by.
    pub tables: BTreeMap<String, TableView>,
}

/// Items of a table, as a local stack shows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableView {
    /// [`Table::name`]
    pub table: String,
    /// The beginning of the partition key `pk` of the items to show.
    pub key_begins_with: String,
    /// The attribute with the moment, in epoch milliseconds, after which an item is not shown.
    pub expires: Option<String>,
    /// Attributes, under the names to show them by.
    pub fields: BTreeMap<String, String>,
}

/// `AWS::Serverless::HttpApi`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpApi {
    /// Its name in the template.
    pub logical_id: String,
    /// The logical id in lower case, because it is part of host names.
    pub api_id: String,
    /// `Name`.
    pub name: String,
    /// `$default`, or the first segment of the API's paths.
    pub stage: String,
    /// `StageVariables`.
    pub stage_variables: BTreeMap<String, String>,
    /// `CorsConfiguration`.
    pub cors: Option<Cors>,
    /// The JWT authorizers, by their names in the template.
    pub authorizers: BTreeMap<String, JwtAuthorizer>,
    /// The Lambda authorizers, by their names in the template.
    pub lambda_authorizers: BTreeMap<String, LambdaAuthorizer>,
    /// The events of type `HttpApi` of all functions.
    pub routes: Vec<HttpRoute>,
    /// Routes whose integrations are not run here: from the route key to the integration's type.
    pub other_integrations: BTreeMap<String, String>,
}

/// A Lambda authorizer of an HTTP API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LambdaAuthorizer {
    /// [`Function::name`]
    pub function: String,
    /// `AuthorizerPayloadFormatVersion`.
    pub payload_format: PayloadFormat,
    /// `EnableSimpleResponses`.
    pub simple_responses: bool,
    /// The identity sources, such as `$request.header.Authorization`. A request without one of them is refused.
    pub identity_sources: Vec<String>,
    /// The time for which an answer is reused. Zero turns that off.
    pub cache: Duration,
}

/// The form of the events and answers of an HTTP API's function.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PayloadFormat {
    /// `1.0`, which is also the form of REST APIs.
    V1,
    /// `2.0`.
    #[default]
    V2,
}

/// A JWT authorizer of an HTTP API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JwtAuthorizer {
    /// `JwtConfiguration.issuer`.
    pub issuer: String,
    /// `JwtConfiguration.audience`.
    pub audience: Vec<String>,
    /// A header or a query parameter.
    pub identity_source: IdentitySource,
}

/// `CorsConfiguration` of an HTTP API.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cors {
    /// `AllowOrigins`.
    pub allow_origins: Vec<String>,
    /// `AllowMethods`.
    pub allow_methods: Vec<String>,
    /// `AllowHeaders`.
    pub allow_headers: Vec<String>,
    /// `ExposeHeaders`.
    pub expose_headers: Vec<String>,
    /// `MaxAge`.
    pub max_age_seconds: Option<i32>,
    /// `AllowCredentials`.
    pub allow_credentials: bool,
}

/// A route of an HTTP API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpRoute {
    /// Method and path.
    pub key: RouteKey,
    /// [`Function::name`]
    pub function: String,
    /// `TimeoutInMillis`.
    pub integration_timeout: Duration,
    /// `PayloadFormatVersion`.
    pub payload_format: PayloadFormat,
    /// The authorizer of the route, or nothing where the route is open to everybody.
    pub authorization: Option<Authorization>,
}

/// The authorization that a request for a route needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorization {
    /// A key of the API's authorizers, or `AWS_IAM` for requests that are signed with AWS credentials.
    pub authorizer: String,
    /// The token must have one of these scopes, if there are any.
    pub scopes: Vec<String>,
}

/// `AWS::SQS::Queue`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    /// Its name in the template.
    pub logical_id: String,
    /// `QueueName`, or a name made of stack and logical id.
    pub name: String,
    /// As `!GetAtt Queue.Arn` gives it.
    pub arn: String,
    /// As `!Ref` gives it.
    pub url: String,
    /// The attributes in the form of the `CreateQueue` API; only those that the template sets.
    pub attributes: BTreeMap<String, String>,
}

/// `AWS::DynamoDB::Table`.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// Its name in the template.
    pub logical_id: String,
    /// `TableName`, or a name made of stack and logical id.
    pub name: String,
    /// As `!GetAtt Table.Arn` gives it.
    pub arn: String,
    /// As `!GetAtt Table.StreamArn` gives it, whether or not there is a stream.
    pub stream_arn: String,
    /// The `CreateTable` request.
    pub create_table: serde_json::Value,
    /// `TimeToLiveSpecification`, where it is enabled.
    pub ttl_attribute: Option<String>,
}

/// `AWS::SNS::Topic`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// Its name in the template.
    pub logical_id: String,
    /// `TopicName`, or a name made of stack and logical id.
    pub name: String,
    /// As `!Ref` gives it.
    pub arn: String,
    /// The subscriptions of queues, and of other endpoints. Functions subscribe with [`Trigger::Sns`].
    pub subscriptions: Vec<Subscription>,
}

/// A subscription of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// `sqs`, `lambda`, `email`, `https` and so on.
    pub protocol: String,
    /// The ARN of a queue or function, or an address.
    pub endpoint: String,
    /// `FilterPolicy`.
    pub filter_policy: Option<serde_json::Value>,
    /// Whether the policy is for the body, and not for the attributes: `FilterPolicyScope` is `MessageBody`.
    pub filter_by_body: bool,
    /// `RawMessageDelivery`.
    pub raw_message_delivery: bool,
}

/// `AWS::S3::Bucket`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    /// Its name in the template.
    pub logical_id: String,
    /// `BucketName`, or a name made of stack and logical id.
    pub name: String,
    /// In the order of the template. The first rule that matches a request applies.
    pub cors: Vec<CorsRule>,
    /// From the lifecycle rules that are enabled.
    pub expirations: Vec<Expiration>,
    /// `NotificationConfiguration`, without those for functions.
    pub notifications: Vec<Notification>,
    /// Whether its events are put on the default bus of EventBridge.
    pub event_bridge: bool,
}

/// A rule of a bucket's `CorsConfiguration`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CorsRule {
    /// Each with at most one `*`, as in the allowed headers.
    pub allowed_origins: Vec<String>,
    /// `AllowedMethods`.
    pub allowed_methods: Vec<String>,
    /// `AllowedHeaders`.
    pub allowed_headers: Vec<String>,
    /// `ExposedHeaders`.
    pub exposed_headers: Vec<String>,
    /// `MaxAge`.
    pub max_age_seconds: Option<u32>,
}

/// Deletes objects of a certain age whose keys begin with a prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expiration {
    /// The beginning of the keys.
    pub prefix: String,
    /// `ExpirationInDays`.
    pub days: u32,
}
