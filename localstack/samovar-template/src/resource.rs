//! A declared resource before its properties are read: its type and its unresolved properties.
//!
//! Types that declare the same thing in two ways have the same [`Kind`]: `AWS::Serverless::Function` and
//! `AWS::Lambda::Function` both give a function of the model.

use super::yaml::Node;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    ApiKey,
    ApiAuthorizer,
    ApiIntegration,
    ApiModel,
    ApiRoute,
    ApiStage,
    Bucket,
    EventInvokeConfig,
    EventBus,
    EventRule,
    EventSourceMapping,
    Function,
    FunctionUrl,
    HttpApi,
    IntegrationResponse,
    ManagedPolicy,
    Policy,
    Queue,
    ResponseHeadersPolicy,
    RestApi,
    Role,
    RouteResponse,
    Schedule,
    Subscription,
    Table,
    Topic,
    UsagePlan,
    UsagePlanKey,
    UserPool,
    UserPoolClient,
    UserPoolDomain,
    WebSocketApi,
}

/// The type whose property `ProtocolType` decides between two kinds.
pub(crate) const RAW_API: &str = "AWS::ApiGatewayV2::Api";
pub(crate) const RAW_FUNCTION: &str = "AWS::Lambda::Function";
pub(crate) const SIMPLE_TABLE: &str = "AWS::Serverless::SimpleTable";

/// The types that are understood.
pub(crate) const TYPES: [(&str, Kind); 35] = [
    ("AWS::ApiGateway::ApiKey", Kind::ApiKey),
    ("AWS::ApiGateway::UsagePlan", Kind::UsagePlan),
    ("AWS::ApiGateway::UsagePlanKey", Kind::UsagePlanKey),
    (RAW_API, Kind::WebSocketApi),
    ("AWS::ApiGatewayV2::Authorizer", Kind::ApiAuthorizer),
    ("AWS::ApiGatewayV2::Integration", Kind::ApiIntegration),
    ("AWS::ApiGatewayV2::IntegrationResponse", Kind::IntegrationResponse),
    ("AWS::ApiGatewayV2::Model", Kind::ApiModel),
    ("AWS::ApiGatewayV2::Route", Kind::ApiRoute),
    ("AWS::ApiGatewayV2::RouteResponse", Kind::RouteResponse),
    ("AWS::ApiGatewayV2::Stage", Kind::ApiStage),
    ("AWS::CloudFront::ResponseHeadersPolicy", Kind::ResponseHeadersPolicy),
    ("AWS::Cognito::UserPool", Kind::UserPool),
    ("AWS::Cognito::UserPoolClient", Kind::UserPoolClient),
    ("AWS::Cognito::UserPoolDomain", Kind::UserPoolDomain),
    ("AWS::DynamoDB::Table", Kind::Table),
    ("AWS::Events::EventBus", Kind::EventBus),
    ("AWS::Events::Rule", Kind::EventRule),
    ("AWS::IAM::ManagedPolicy", Kind::ManagedPolicy),
    ("AWS::IAM::Policy", Kind::Policy),
    ("AWS::IAM::Role", Kind::Role),
    ("AWS::Lambda::EventInvokeConfig", Kind::EventInvokeConfig),
    ("AWS::Lambda::EventSourceMapping", Kind::EventSourceMapping),
    (RAW_FUNCTION, Kind::Function),
    ("AWS::Lambda::Url", Kind::FunctionUrl),
    ("AWS::S3::Bucket", Kind::Bucket),
    ("AWS::Scheduler::Schedule", Kind::Schedule),
    ("AWS::SNS::Subscription", Kind::Subscription),
    ("AWS::SNS::Topic", Kind::Topic),
    ("AWS::SQS::Queue", Kind::Queue),
    ("AWS::Serverless::Api", Kind::RestApi),
    ("AWS::Serverless::Function", Kind::Function),
    ("AWS::Serverless::HttpApi", Kind::HttpApi),
    (SIMPLE_TABLE, Kind::Table),
    ("AWS::Serverless::WebSocketApi", Kind::WebSocketApi),
];

#[derive(Debug)]
pub(crate) struct Resource {
    pub(crate) id: String,
    pub(crate) line: usize,
    pub(crate) kind: Kind,
    /// One of [`TYPES`].
    pub(crate) type_name: &'static str,
    /// Unresolved; the globals are merged in.
    pub(crate) properties: Node,
    pub(crate) metadata: Option<Node>,
    pub(crate) condition: Option<String>,
}

impl Resource {
    /// A property as it is written, if it is plain text.
    pub(crate) fn written(&self, property: &str) -> Option<String> {
        self.properties.get(property)?.as_text()
    }
}
