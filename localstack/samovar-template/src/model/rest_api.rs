//! A REST API.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Authorization;
use crate::route_key::RouteKey;

/// `AWS::Serverless::Api`, or the implicit API of events of type `Api`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestApi {
    /// Its name in the template; `ServerlessRestApi` for the implicit one.
    pub logical_id: String,
    /// The logical id in lower case, because it is part of host names.
    pub api_id: String,
    /// `Name`.
    pub name: String,
    /// `StageName`, the first segment of the API's paths; `Prod` for the implicit one.
    pub stage: String,
    /// `Variables`.
    pub stage_variables: BTreeMap<String, String>,
    /// `Cors`.
    pub cors: Option<RestCors>,
    /// The authorizers, by their names in the template.
    pub authorizers: BTreeMap<String, RestAuthorizer>,
    /// The key that routes with `ApiKeyRequired` take, if SAM makes one: `Auth.UsagePlan` with `CreateUsagePlan`. On
    /// AWS its value is random.
    pub api_key: Option<String>,
    /// `BinaryMediaTypes`, with `/` for the `~1` of the template.
    pub binary_media_types: Vec<String>,
    /// The events of type `Api` of all functions, and the methods of an OpenAPI definition. A route never is
    /// `$default`.
    pub routes: Vec<RestRoute>,
    /// Methods of an OpenAPI definition that API Gateway answers by itself.
    pub mocks: Vec<RestMock>,
    /// Routes whose integrations are not run here: from the route key to the integration's type.
    pub other_integrations: BTreeMap<String, String>,
}

/// A method with an integration of the type `MOCK`, whose answer is always the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestMock {
    /// Method and path.
    pub key: RouteKey,
    /// The status of the answer.
    pub status: u16,
    /// The headers of the answer.
    pub headers: Vec<(String, String)>,
    /// The body of the answer, as JSON.
    pub body: String,
}

/// A method of a path of a REST API, integrated with a function (`AWS_PROXY`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestRoute {
    /// Method and path.
    pub key: RouteKey,
    /// [`Function::name`](super::Function::name)
    pub function: String,
    /// `TimeoutInMillis`.
    pub integration_timeout: Duration,
    /// The authorizer of the route, or nothing where the route is open to everybody.
    pub authorization: Option<Authorization>,
    /// `ApiKeyRequired`.
    pub api_key_required: bool,
}

/// An authorizer of a REST API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RestAuthorizer {
    /// The tokens of user pools.
    Cognito {
        /// `UserPoolArn`, one or more.
        user_pools: Vec<String>,
        /// The header of the token.
        header: String,
    },
    /// A function that gets the token: `FunctionPayloadType` is `TOKEN`.
    Token {
        /// [`Function::name`](super::Function::name)
        function: String,
        /// The header of the token.
        header: String,
        /// `ValidationExpression`: a token that does not match it is refused before the function is called.
        validation: Option<String>,
        /// The time for which an answer is reused. Zero turns that off.
        cache: Duration,
    },
    /// A function that gets the request: `FunctionPayloadType` is `REQUEST`.
    Request {
        /// [`Function::name`](super::Function::name)
        function: String,
        /// The headers that a request must have.
        headers: Vec<String>,
        /// The query parameters that a request must have.
        query_strings: Vec<String>,
        /// The stage variables that must be set.
        stage_variables: Vec<String>,
        /// The values of the request's context that must be there.
        context: Vec<String>,
        /// The time for which an answer is reused. Zero turns that off.
        cache: Duration,
    },
}

/// `Cors` of a REST API: the values of the headers that the `OPTIONS` method of each path answers with. Each is sent as
/// it is. The functions add headers to their own answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestCors {
    /// `AllowOrigin`, for example `*`.
    pub allow_origin: String,
    /// `AllowMethods`. Without it, the methods of the path.
    pub allow_methods: Option<String>,
    /// `AllowHeaders`.
    pub allow_headers: Option<String>,
    /// `MaxAge`.
    pub max_age: Option<String>,
    /// `AllowCredentials`.
    pub allow_credentials: bool,
}
