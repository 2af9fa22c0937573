//! What a template comes to on one machine: plain data, checked and without references.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::route_key::RouteKey;

/// The local values that references resolve to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Locals {
    pub stack_name: String,
    pub region: String,
    pub account_id: String,
    /// The queues' endpoint, e.g. `http://127.0.0.1:8000/_aws/sqs`; a queue is `{sqs_url}/{account}/{name}`.
    pub sqs_url: String,
    /// The OpenID issuer that stands for every user pool.
    pub issuer: String,
}

/// A template that is valid and understood as a whole.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    pub parameters: BTreeMap<String, String>,
    pub functions: Vec<Function>,
    pub websocket_apis: Vec<WebSocketApi>,
    pub http_apis: Vec<HttpApi>,
    pub queues: Vec<Queue>,
    pub tables: Vec<Table>,
    pub buckets: Vec<Bucket>,
    /// Client ids, as `!Ref` gives them.
    pub user_pool_clients: Vec<String>,
    /// Without the outputs of what exists only when deployed.
    pub outputs: BTreeMap<String, String>,
    pub local_state: LocalState,
    /// The prefixes of the user pools' domains.
    pub user_pool_domains: Vec<String>,
    pub static_site: Option<StaticSite>,
}

/// A web site of files, which belongs to the stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaticSite {
    /// Against the template's folder, like all paths here.
    pub directory: PathBuf,
    pub build: Option<SiteBuild>,
    /// The file that a page without a file of its own is.
    pub fallback: Option<String>,
    /// Files under this path never change.
    pub immutable: Option<String>,
    pub headers: Vec<(String, String)>,
    /// Files that are made of the stack's own values, with the addresses that they have on AWS.
    pub files: BTreeMap<String, serde_json::Value>,
}

/// How a site's directory is made. The commands are the shell's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteBuild {
    /// Where commands are run.
    pub directory: PathBuf,
    /// What must be installed for them, in words.
    pub needs: Option<String>,
    pub install: Option<String>,
    pub run: String,
    /// Files and folders in the directory that the site is made of.
    pub sources: Vec<String>,
}

/// An `AWS::CloudFront::ResponseHeadersPolicy`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ResponseHeaders {
    pub logical_id: String,
    pub headers: Vec<(String, String)>,
}

/// What to show of the application at `/_local/state`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LocalState {
    /// Values of parameters, under the names to show them by.
    pub parameters: BTreeMap<String, String>,
    /// Items of tables, likewise.
    pub tables: BTreeMap<String, TableView>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableView {
    /// [`Table::name`]
    pub table: String,
    /// Of the partition key `pk`.
    pub key_begins_with: String,
    /// The attribute with the moment, in epoch milliseconds, after which an item is not shown.
    pub expires: Option<String>,
    /// Attributes, under the names to show them by.
    pub fields: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Function {
    pub logical_id: String,
    /// The binary's name: what logs, state and invoke URLs call the function, unique in a template.
    pub name: String,
    /// What AWS calls it: `FunctionName`, or stack and logical id.
    pub function_name: String,
    pub arn: String,
    /// `CodeUri` against the template's folder.
    pub code_dir: PathBuf,
    /// `Metadata.BuildProperties.Binary`.
    pub binary: String,
    pub memory_mb: u32,
    pub timeout: Duration,
    pub reserved_concurrency: Option<u32>,
    pub environment: BTreeMap<String, String>,
    /// `Metadata.LocalEnvironment`: variables that are passed on from the environment of the local stack, where they are set there.
    pub local_environment: Vec<String>,
    /// Policy documents: inline ones, those of managed policies in the template, and what SAM adds for a queue.
    pub policies: Vec<serde_json::Value>,
    pub event_sources: Vec<SqsEventSource>,
    pub schedules: Vec<Schedule>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// As SAM makes it: the function's logical id and the event's name.
    pub logical_id: String,
    pub every: Duration,
    /// The event, as JSON; without it, the scheduler's own.
    pub input: Option<String>,
    pub enabled: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqsEventSource {
    /// As SAM makes it: the function's logical id and the event's name.
    pub logical_id: String,
    /// The queue's name.
    pub queue: String,
    pub queue_arn: String,
    pub batch_size: u32,
    pub maximum_batching_window: Duration,
    pub report_batch_item_failures: bool,
    pub maximum_concurrency: Option<u32>,
    pub enabled: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebSocketApi {
    pub logical_id: String,
    /// The logical id in lower case, because it is part of host names.
    pub api_id: String,
    pub name: String,
    pub stage: String,
    /// The path of `RouteSelectionExpression`: `["action"]` for `$request.body.action`.
    pub route_selection: Vec<String>,
    pub authorizer: Option<Authorizer>,
    pub routes: BTreeMap<String, Route>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorizer {
    /// [`Function::name`]
    pub function: String,
    pub identity_sources: Vec<IdentitySource>,
}

/// Where a request must bring its identity; without one the authorizer is not asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdentitySource {
    Header(String),
    QueryString(String),
    StageVariable(String),
    Context(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// [`Function::name`]
    pub function: String,
    pub integration_timeout: Duration,
    /// Whether the function's answer goes to the client as a frame.
    pub route_response: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpApi {
    pub logical_id: String,
    /// The logical id in lower case, because it is part of host names.
    pub api_id: String,
    pub name: String,
    /// `$default`, or what its paths begin with.
    pub stage: String,
    pub stage_variables: BTreeMap<String, String>,
    pub cors: Option<Cors>,
    /// By the names that the template gives them.
    pub authorizers: BTreeMap<String, JwtAuthorizer>,
    pub routes: Vec<HttpRoute>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JwtAuthorizer {
    pub issuer: String,
    pub audience: Vec<String>,
    /// A header or a parameter of the query.
    pub identity_source: IdentitySource,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cors {
    pub allow_origins: Vec<String>,
    pub allow_methods: Vec<String>,
    pub allow_headers: Vec<String>,
    pub expose_headers: Vec<String>,
    pub max_age_seconds: Option<i32>,
    pub allow_credentials: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpRoute {
    pub key: RouteKey,
    /// [`Function::name`]
    pub function: String,
    pub integration_timeout: Duration,
    pub authorization: Option<Authorization>,
}

/// What a request for a route must bring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorization {
    /// Of [`HttpApi::authorizers`].
    pub authorizer: String,
    /// The token must have one of them, if there are any.
    pub scopes: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    pub logical_id: String,
    pub name: String,
    pub arn: String,
    pub url: String,
    /// As the `CreateQueue` API takes them; only those that the template sets.
    pub attributes: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    pub logical_id: String,
    pub name: String,
    pub arn: String,
    /// The `CreateTable` request.
    pub create_table: serde_json::Value,
    pub ttl_attribute: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    pub logical_id: String,
    pub name: String,
    /// In the order of the template: the first that fits is the one.
    pub cors: Vec<CorsRule>,
    /// Of the lifecycle rules that are enabled.
    pub expirations: Vec<Expiration>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CorsRule {
    /// Each with at most one `*`, like the headers that are allowed.
    pub allowed_origins: Vec<String>,
    pub allowed_methods: Vec<String>,
    pub allowed_headers: Vec<String>,
    pub exposed_headers: Vec<String>,
    pub max_age_seconds: Option<u32>,
}

/// Objects whose keys begin so are deleted when they are this old.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expiration {
    pub prefix: String,
    pub days: u32,
}
