//! A declared resource before its properties are read: its type and its unresolved properties.

use super::yaml::Node;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Bucket,
    Function,
    HttpApi,
    ManagedPolicy,
    Queue,
    ResponseHeadersPolicy,
    RouteResponse,
    Table,
    UserPool,
    UserPoolClient,
    UserPoolDomain,
    WebSocketApi,
}

impl Kind {
    pub(crate) const ALL: [(&str, Kind); 12] = [
        ("AWS::ApiGatewayV2::RouteResponse", Kind::RouteResponse),
        ("AWS::CloudFront::ResponseHeadersPolicy", Kind::ResponseHeadersPolicy),
        ("AWS::Cognito::UserPool", Kind::UserPool),
        ("AWS::Cognito::UserPoolClient", Kind::UserPoolClient),
        ("AWS::Cognito::UserPoolDomain", Kind::UserPoolDomain),
        ("AWS::DynamoDB::Table", Kind::Table),
        ("AWS::IAM::ManagedPolicy", Kind::ManagedPolicy),
        ("AWS::S3::Bucket", Kind::Bucket),
        ("AWS::SQS::Queue", Kind::Queue),
        ("AWS::Serverless::Function", Kind::Function),
        ("AWS::Serverless::HttpApi", Kind::HttpApi),
        ("AWS::Serverless::WebSocketApi", Kind::WebSocketApi),
    ];

    pub(crate) fn type_name(self) -> &'static str {
        Self::ALL.iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| name)
    }
}

#[derive(Debug)]
pub(crate) struct Resource {
    pub(crate) id: String,
    pub(crate) line: usize,
    pub(crate) kind: Kind,
    /// Unresolved; the globals are merged in.
    pub(crate) properties: Node,
    pub(crate) metadata: Option<Node>,
    pub(crate) condition: Option<String>,
}
