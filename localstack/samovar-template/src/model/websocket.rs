//! WebSocket APIs.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::selection::Selection;

/// `AWS::Serverless::WebSocketApi`.
#[derive(Debug, Clone, PartialEq)]
pub struct WebSocketApi {
    /// Its name in the template.
    pub logical_id: String,
    /// The logical id in lower case, because it is part of host names.
    pub api_id: String,
    /// `Name`.
    pub name: String,
    /// `StageName`.
    pub stage: String,
    /// `StageVariables`.
    pub stage_variables: BTreeMap<String, String>,
    /// `RouteSelectionExpression`, with variables of the kind `request.body.NAME` alone.
    pub route_selection: Selection,
    /// `ApiKeySelectionExpression`, where the template sets it.
    pub api_key_selection: Option<String>,
    /// `Auth`, of type `CUSTOM`.
    pub authorizer: Option<Authorizer>,
    /// Whether `$connect` needs a request that is signed with AWS credentials: `Auth`, of type `AWS_IAM`.
    pub iam_authorization: bool,
    /// By route key.
    pub routes: BTreeMap<String, Route>,
}

/// The Lambda authorizer of a WebSocket API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorizer {
    /// [`Function::name`](crate::Function::name)
    pub function: String,
    /// The places where a handshake must carry an identity.
    pub identity_sources: Vec<IdentitySource>,
}

/// A place where a request must carry its identity. A request without it is refused before the authorizer is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdentitySource {
    /// `route.request.header.NAME`.
    Header(String),
    /// `route.request.querystring.NAME`.
    QueryString(String),
    /// `stageVariables.NAME`.
    StageVariable(String),
    /// `context.NAME`.
    Context(String),
}

/// A route of a WebSocket API.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// The target.
    pub integration: Integration,
    /// `IntegrationTimeout`.
    pub integration_timeout: Duration,
    /// Whether the integration's answer is sent to the client as a frame.
    pub route_response: bool,
    /// `ApiKeyRequired`.
    pub api_key_required: bool,
    /// `RequestModels`: from a value of the model selection expression to the model's JSON schema.
    pub request_models: BTreeMap<String, Value>,
    /// `ModelSelectionExpression`, where the template sets it.
    pub model_selection: Option<Selection>,
    /// From the stage's `RouteSettings`, or its `DefaultRouteSettings`. `None` if the template sets no limit.
    pub throttle: Option<Throttle>,
}

impl Route {
    /// The [`Function::name`](crate::Function::name) of the function that the route calls.
    pub fn function(&self) -> Option<&str> {
        match &self.integration {
            Integration::Proxy(function) => Some(function),
            Integration::Mapped(mapped) => match &mapped.backend {
                Backend::Function(function) => Some(function),
                Backend::Mock | Backend::Service { .. } | Backend::Http { .. } => None,
            },
        }
    }
}

/// The limit on the requests for a route: a bucket of tokens, of which each request takes one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Throttle {
    /// `ThrottlingRateLimit`: the tokens that are added in a second.
    pub rate: f64,
    /// `ThrottlingBurstLimit`: the tokens that the bucket holds.
    pub burst: u32,
}

/// The target of a route.
#[derive(Debug, Clone, PartialEq)]
pub enum Integration {
    /// `AWS_PROXY`: a function that gets the whole event, by its [`Function::name`](crate::Function::name).
    Proxy(String),
    /// An integration of another type, with what it is given and what it answers mapped.
    Mapped(Box<MappedIntegration>),
}

/// An integration of the types `AWS`, `HTTP`, `HTTP_PROXY` and `MOCK`.
#[derive(Debug, Clone, PartialEq)]
pub struct MappedIntegration {
    /// The thing that is called.
    pub backend: Backend,
    /// `PassthroughBehavior`.
    pub passthrough: Passthrough,
    /// `RequestTemplates`, by their keys.
    pub request_templates: BTreeMap<String, String>,
    /// `TemplateSelectionExpression`, which gives the key of the request template.
    pub template_selection: Option<Selection>,
    /// `RequestParameters`: from such as `integration.request.header.NAME` to such as `context.connectionId`.
    pub request_parameters: BTreeMap<String, String>,
    /// The `AWS::ApiGatewayV2::IntegrationResponse`s.
    pub responses: Vec<IntegrationResponse>,
}

/// The thing that an integration calls.
#[derive(Debug, Clone, PartialEq)]
pub enum Backend {
    /// Nothing: the request template gives the status.
    Mock,
    /// A function that gets what the request template makes, by its [`Function::name`](crate::Function::name).
    Function(String),
    /// A service of AWS.
    Service {
        /// Its name in the URI, such as `sqs`.
        service: String,
        /// The action of `:action/NAME`.
        action: Option<String>,
        /// The path of `:path/PATH`, without the slash before it.
        path: String,
        /// The role of `CredentialsArn`.
        role: IntegrationRole,
    },
    /// An address.
    Http {
        /// `IntegrationMethod`.
        method: String,
        /// `IntegrationUri`. It may have stage variables, as `${stageVariables.NAME}`.
        url: String,
        /// Whether the answer goes to the client as it is.
        proxy: bool,
    },
}

impl Backend {
    /// A name for messages: the function, the service with its action, or the address.
    pub fn name(&self) -> String {
        match self {
            Self::Mock => "MOCK".to_owned(),
            Self::Function(function) => function.clone(),
            Self::Service { service, action: Some(action), .. } => format!("{service}:{action}"),
            Self::Service { service, path, .. } => format!("{service}:{path}"),
            Self::Http { url, .. } => url.clone(),
        }
    }
}

/// The role as which an integration calls a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntegrationRole {
    /// `RoleName`, or a name made of stack and logical id.
    pub name: String,
    /// The documents of its policies.
    pub policies: Vec<Value>,
}

/// What happens to a message that no request template is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Passthrough {
    /// It is passed on as it is.
    #[default]
    WhenNoMatch,
    /// It is passed on as it is if the integration has no templates at all.
    WhenNoTemplates,
    /// It is refused.
    Never,
}

/// `AWS::ApiGatewayV2::IntegrationResponse`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntegrationResponse {
    /// `IntegrationResponseKey`: `$default`, or a pattern of statuses or error messages such as `/4\d\d/`.
    pub key: String,
    /// `ResponseTemplates`, by their keys.
    pub templates: BTreeMap<String, String>,
    /// `TemplateSelectionExpression`, which gives the key of the response template.
    pub template_selection: Option<Selection>,
}
