//! `AWS::ApiGatewayV2::Api` and the resources that belong to it: what SAM generates, written by hand. They become the
//! same models as `AWS::Serverless::WebSocketApi` and `AWS::Serverless::HttpApi`.
//!
//! A route of an HTTP API whose integration is not a function is only named in the model.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::http_api::{self, stage_variables};
use super::integration::{INTEGRATION_RESPONSE, selection};
use super::websocket::{self, IAM};
use super::{Context, Policies, integration};
use crate::fields::{Fields, Schema};
use crate::model::{
    Authorization, Authorizer, Function, HttpApi, HttpRoute, Integration, LambdaAuthorizer, PayloadFormat, Route,
    WebSocketApi,
};
use crate::resource::{Kind, RAW_API, Resource};
use crate::route_key::RouteKey;
use crate::selection::Selection;
use crate::yaml::Node;

pub(crate) const API: Schema = Schema {
    subject: RAW_API,
    required: &[],
    optional: &[
        "ApiKeySelectionExpression",
        "Body",
        "BodyS3Location",
        "CorsConfiguration",
        "Name",
        "ProtocolType",
        "RouteKey",
        "RouteSelectionExpression",
        "Target",
    ],
    ignored: &[
        "BasePath",
        "CredentialsArn",
        "Description",
        "DisableExecuteApiEndpoint",
        "DisableSchemaValidation",
        "FailOnWarnings",
        "IpAddressType",
        "Tags",
        "Version",
    ],
};

pub(crate) const ROUTE: Schema = Schema {
    subject: "AWS::ApiGatewayV2::Route",
    required: &["ApiId", "RouteKey"],
    optional: &[
        "ApiKeyRequired",
        "AuthorizationScopes",
        "AuthorizationType",
        "AuthorizerId",
        "ModelSelectionExpression",
        "RequestModels",
        "RouteResponseSelectionExpression",
        "Target",
    ],
    ignored: &["OperationName", "RequestParameters"],
};

pub(crate) const INTEGRATION: Schema = Schema {
    subject: "AWS::ApiGatewayV2::Integration",
    required: &["ApiId", "IntegrationType"],
    optional: &[
        "CredentialsArn",
        "IntegrationMethod",
        "IntegrationSubtype",
        "IntegrationUri",
        "PassthroughBehavior",
        "PayloadFormatVersion",
        "RequestParameters",
        "RequestTemplates",
        "TemplateSelectionExpression",
        "TimeoutInMillis",
    ],
    ignored: &[
        "ConnectionId",
        "ConnectionType",
        "ContentHandlingStrategy",
        "Description",
        "ResponseParameters",
        "TlsConfig",
    ],
};

pub(crate) const STAGE: Schema = Schema {
    subject: "AWS::ApiGatewayV2::Stage",
    required: &["ApiId", "StageName"],
    optional: &["DefaultRouteSettings", "RouteSettings", "StageVariables"],
    ignored: &[
        "AccessLogSettings",
        "AccessPolicyId",
        "AutoDeploy",
        "ClientCertificateId",
        "DeploymentId",
        "Description",
        "Tags",
    ],
};

pub(crate) const AUTHORIZER: Schema = Schema {
    subject: "AWS::ApiGatewayV2::Authorizer",
    required: &["ApiId", "AuthorizerType", "Name"],
    optional: &[
        "AuthorizerPayloadFormatVersion",
        "AuthorizerResultTtlInSeconds",
        "AuthorizerUri",
        "EnableSimpleResponses",
        "IdentitySource",
        "JwtConfiguration",
    ],
    ignored: &["AuthorizerCredentialsArn", "IdentityValidationExpression"],
};

pub(crate) const MODEL: Schema = Schema {
    subject: "AWS::ApiGatewayV2::Model",
    required: &["ApiId", "Name", "Schema"],
    optional: &[],
    ignored: &["ContentType", "Description"],
};

const PARTS: [(Kind, &Schema); 6] = [
    (Kind::ApiAuthorizer, &AUTHORIZER),
    (Kind::ApiIntegration, &INTEGRATION),
    (Kind::ApiModel, &MODEL),
    (Kind::ApiRoute, &ROUTE),
    (Kind::ApiStage, &STAGE),
    (Kind::IntegrationResponse, &INTEGRATION_RESPONSE),
];

const LONGEST_HTTP_TIMEOUT_MS: u32 = 30_000;
const INTEGRATION_TYPES: [&str; 5] = ["AWS", "AWS_PROXY", "HTTP", "HTTP_PROXY", "MOCK"];

/// Checks that every part names an API of the template.
pub(super) fn check_owners(context: &Context<'_>) {
    for (kind, schema) in PARTS {
        for resource in context.scope.present(kind) {
            let fields = context.fields(resource, schema);
            let Some(id) = fields.text("ApiId") else { continue };
            let mut apis = [Kind::HttpApi, Kind::WebSocketApi].into_iter().flat_map(|kind| context.scope.present(kind));
            if !apis.any(|api| api.api_id() == id) {
                fields.wrong("ApiId", &format!("is \"{id}\", which is not an API of this template: use !Ref Api"));
            }
        }
    }
}

/// The schema of a model, by its name.
pub(super) fn model(context: &Context<'_>, name: &str) -> Option<Value> {
    context.scope.present(Kind::ApiModel).find_map(|resource| {
        let fields = context.fields(resource, &MODEL);
        (fields.text("Name")? == name || resource.id == name).then(|| fields.node("Schema").map(Node::to_json))?
    })
}

pub(super) fn websocket(
    context: &Context<'_>,
    resource: &Resource,
    functions: &[Function],
    policies: &Policies,
    responses: &BTreeMap<String, usize>,
) -> Option<WebSocketApi> {
    let fields = context.fields(resource, &API);
    fields.choice("ProtocolType", &["HTTP", "WEBSOCKET"]);
    for name in ["Name", "RouteSelectionExpression"].into_iter().filter(|name| !fields.has(name)) {
        fields.wrong(name, "is missing: a WebSocket API needs it");
    }
    let parts = Parts { context, api: resource, functions };
    let route_selection = websocket::route_selection(&fields);
    let mut api = WebSocketApi {
        logical_id: resource.id.clone(),
        api_id: resource.api_id(),
        name: fields.text("Name").unwrap_or_else(|| resource.id.clone()),
        stage: websocket::DEFAULT_STAGE.to_owned(),
        stage_variables: BTreeMap::new(),
        // The problem is noted.
        route_selection: route_selection.unwrap_or_else(Selection::nothing),
        api_key_selection: fields.text("ApiKeySelectionExpression"),
        authorizer: None,
        iam_authorization: false,
        routes: BTreeMap::new(),
    };
    let stage = parts.stage();
    if let Some(stage) = &stage {
        (api.stage, api.stage_variables) = (websocket::stage(stage), stage_variables(stage));
    }
    for (route, fields) in parts.of(Kind::ApiRoute, &ROUTE) {
        let Some(key) = fields.text("RouteKey") else { continue };
        if api.routes.contains_key(&key) {
            fields.wrong("RouteKey", &format!("is {key}, which another route of the API has too"));
        }
        parts.websocket_authorization(&fields, &key, &mut api);
        let (api_key_required, request_models, model_selection) = (
            fields.boolean("ApiKeyRequired").unwrap_or(false),
            context.request_models(&fields),
            selection(&fields, "ModelSelectionExpression"),
        );
        let Some((id, target)) = parts.integration(&fields) else { continue };
        let longest = websocket::DEFAULT_INTEGRATION_TIMEOUT_MS;
        let timeout = target.integer("TimeoutInMillis", 50..=longest).unwrap_or(longest);
        let integration = match target.choice("IntegrationType", &INTEGRATION_TYPES).as_deref() {
            Some("AWS_PROXY") => {
                let uri = integration::uri(&target, "AWS_PROXY");
                uri.and_then(|_| parts.named_function(&target, "IntegrationUri")).map(Integration::Proxy)
            }
            Some(kind) => parts.mapped(&id, kind, &target, policies),
            None => None,
        };
        // The response alone is enough: public samples without the expression show their answers.
        fields.choice("RouteResponseSelectionExpression", &["$default"]);
        let Some(integration) = integration else { continue };
        let route = Route {
            integration,
            integration_timeout: Duration::from_millis(timeout.into()),
            route_response: responses.contains_key(&route.id),
            api_key_required,
            request_models,
            model_selection,
            throttle: None,
        };
        api.routes.insert(key, route);
    }
    if let Some(stage) = &stage {
        api.routes = websocket::throttled(stage, api.routes);
    }
    Some(api)
}

pub(super) fn http(context: &Context<'_>, resource: &Resource, functions: &[Function]) -> HttpApi {
    let fields = context.fields(resource, &API);
    if fields.choice("ProtocolType", &["HTTP", "WEBSOCKET"]).is_none()
        && !fields.has("Body")
        && !fields.has("BodyS3Location")
    {
        fields.wrong("ProtocolType", "is missing: give HTTP or WEBSOCKET");
    }
    let parts = Parts { context, api: resource, functions };
    let mut api = HttpApi {
        logical_id: resource.id.clone(),
        api_id: resource.api_id(),
        name: fields.text("Name").unwrap_or_else(|| resource.id.clone()),
        stage: http_api::DEFAULT_STAGE.to_owned(),
        stage_variables: BTreeMap::new(),
        cors: http_api::cors(&fields),
        authorizers: BTreeMap::new(),
        lambda_authorizers: BTreeMap::new(),
        routes: Vec::new(),
        other_integrations: BTreeMap::new(),
    };
    if ["Body", "BodyS3Location"].iter().any(|body| fields.has(body)) {
        let message = format!("{}: the routes of its OpenAPI definition are not read", resource.id);
        context.not_read(resource.line, message);
    }
    if fields.has("Target") {
        parts.quick_route(&fields, &mut api);
    } else if let Some(stage) = parts.stage() {
        (api.stage, api.stage_variables) = (http_api::stage(&stage), stage_variables(&stage));
    }
    parts.http_authorizers(&mut api);
    for (_, fields) in parts.of(Kind::ApiRoute, &ROUTE) {
        parts.http_route(&fields, &mut api);
    }
    api
}

/// What a route calls.
enum Target {
    /// [`Function::name`]
    Function(String),
    /// An integration of this type.
    Other(String),
    /// A problem that is noted.
    Wrong,
}

/// The resources that belong to one API.
pub(super) struct Parts<'a> {
    pub(super) context: &'a Context<'a>,
    api: &'a Resource,
    functions: &'a [Function],
}

impl<'a> Parts<'a> {
    pub(super) fn of(&self, kind: Kind, schema: &'static Schema) -> Vec<(&'a Resource, Fields<'a>)> {
        let id = self.api.api_id();
        let parts = self.context.scope.present(kind).map(|part| (part, self.context.fields(part, schema)));
        parts.filter(|(_, fields)| fields.text("ApiId").as_deref() == Some(&id)).collect()
    }

    /// The API's stage. AWS lets an API have several; here it has one.
    fn stage(&self) -> Option<Fields<'a>> {
        let mut stages = self.of(Kind::ApiStage, &STAGE);
        stages.sort_by_key(|(stage, _)| stage.line);
        let problems = self.context.problems;
        if stages.is_empty() {
            problems.note(self.api.line, format!("{} has no stage, so on AWS nobody could call it", self.api.id));
        }
        for (stage, _) in stages.iter().skip(1) {
            let message = format!("{} is another stage of {}, which is not run here", stage.id, self.api.id);
            problems.note(stage.line, message);
        }
        stages.into_iter().next().map(|(_, fields)| fields)
    }

    /// The integration that a route's `Target` names, with its logical id.
    fn integration(&self, route: &Fields<'_>) -> Option<(String, Fields<'a>)> {
        let Some(target) = route.text("Target") else {
            if !route.has("Target") {
                route.wrong("Target", "is missing, so the route has no integration");
            }
            return None;
        };
        let id = target.strip_prefix("integrations/");
        let found =
            self.of(Kind::ApiIntegration, &INTEGRATION).into_iter().find(|(part, _)| Some(part.id.as_str()) == id);
        if found.is_none() {
            let message = format!("is \"{target}\", which is not integrations/ and an integration of {}", self.api.id);
            route.wrong("Target", &message);
        }
        found.map(|(part, fields)| (part.id.clone(), fields))
    }

    fn function(&self, integration: &Fields<'_>) -> Target {
        let Some(kind) = integration.choice("IntegrationType", &INTEGRATION_TYPES) else { return Target::Wrong };
        if kind != "AWS_PROXY" {
            return Target::Other(kind);
        }
        if let Some(subtype) = integration.text("IntegrationSubtype") {
            return Target::Other(format!("AWS_PROXY {subtype}"));
        }
        if !integration.has("IntegrationUri") {
            integration.wrong("IntegrationUri", "is missing: AWS_PROXY needs it");
        }
        self.named_function(integration, "IntegrationUri").map_or(Target::Wrong, Target::Function)
    }

    pub(super) fn named_function(&self, fields: &Fields<'_>, property: &str) -> Option<String> {
        self.context.function_name(fields, property, self.functions)
    }

    fn authorizer(&self, route: &Fields<'_>) -> Option<(&'a Resource, Fields<'a>)> {
        let id = route.text("AuthorizerId")?;
        let found = self.of(Kind::ApiAuthorizer, &AUTHORIZER).into_iter().find(|(part, _)| part.id == id);
        if found.is_none() {
            route.wrong("AuthorizerId", &format!("is \"{id}\", which is not an authorizer of {}", self.api.id));
        }
        found
    }

    fn websocket_authorization(&self, route: &Fields<'_>, key: &str, api: &mut WebSocketApi) {
        let kind = route.choice("AuthorizationType", &[IAM, "CUSTOM", "NONE"]);
        let Some(kind) = kind.filter(|kind| kind != "NONE") else { return };
        if key != "$connect" {
            route.wrong("AuthorizationType", &format!("is {kind}, which AWS takes only for the route $connect"));
        } else if kind == IAM {
            api.iam_authorization = true;
        } else if !route.has("AuthorizerId") {
            route.wrong("AuthorizerId", "is missing: the AuthorizationType CUSTOM needs it");
        } else if let Some((_, fields)) = self.authorizer(route) {
            fields.choice("AuthorizerType", &["REQUEST"]);
            let identity_sources = websocket::identity_sources(&fields);
            let function = self.named_function(&fields, "AuthorizerUri");
            api.authorizer = function.map(|function| Authorizer { function, identity_sources });
        }
    }

    fn http_authorizers(&self, api: &mut HttpApi) {
        for (resource, fields) in self.of(Kind::ApiAuthorizer, &AUTHORIZER) {
            let Some(kind) = fields.choice("AuthorizerType", &["JWT", "REQUEST"]) else { continue };
            if kind == "JWT" {
                // SAM writes one source, and CloudFormation a list of one.
                let source = fields.texts("IdentitySource").and_then(|sources| sources.into_iter().next());
                let jwt = source.and_then(|source| http_api::jwt(&fields, &source));
                api.authorizers.extend(jwt.map(|jwt| (resource.id.clone(), jwt)));
                continue;
            }
            let cache = fields.integer("AuthorizerResultTtlInSeconds", 0..=3600).unwrap_or(0);
            let format = fields.text("AuthorizerPayloadFormatVersion");
            let Some(function) = self.named_function(&fields, "AuthorizerUri") else { continue };
            let authorizer = LambdaAuthorizer {
                function,
                payload_format: http_api::payload_format(
                    &fields,
                    "AuthorizerPayloadFormatVersion",
                    format,
                    PayloadFormat::V1,
                ),
                simple_responses: fields.boolean("EnableSimpleResponses").unwrap_or(false),
                identity_sources: fields.texts("IdentitySource").unwrap_or_default(),
                cache: Duration::from_secs(cache.into()),
            };
            api.lambda_authorizers.insert(resource.id.clone(), authorizer);
        }
    }

    fn http_route(&self, fields: &Fields<'_>, api: &mut HttpApi) -> Option<()> {
        let written = fields.text("RouteKey")?;
        let key = match written.split_once(' ') {
            None if written == "$default" => Ok(RouteKey::Default),
            None => Err("is not $default, or a method and a path".to_owned()),
            Some((method, path)) => RouteKey::parse(method, path).map_err(|why| format!("has a path that {why}")),
        };
        let key = key.map_err(|why| fields.wrong("RouteKey", &format!("is \"{written}\", but {why}"))).ok()?;
        if api.routes.iter().any(|other| other.key.equals_but_for_names(&key)) {
            fields.wrong("RouteKey", &format!("is {key}, which another route of the API has too"));
        }
        let authorization = match fields.choice("AuthorizationType", &[IAM, "CUSTOM", "JWT", "NONE"]).as_deref() {
            Some(IAM) => Some(IAM.to_owned()),
            Some("CUSTOM" | "JWT") => Some(self.authorizer(fields)?.0.id.clone()),
            _ => None,
        };
        let scopes = fields.texts("AuthorizationScopes").unwrap_or_default();
        let (_, integration) = self.integration(fields)?;
        match self.function(&integration) {
            Target::Function(function) => {
                let format = integration.text("PayloadFormatVersion");
                let longest = LONGEST_HTTP_TIMEOUT_MS;
                let timeout = integration.integer("TimeoutInMillis", 50..=longest).unwrap_or(longest);
                api.routes.push(HttpRoute {
                    key,
                    function,
                    integration_timeout: Duration::from_millis(timeout.into()),
                    payload_format: http_api::payload_format(
                        &integration,
                        "PayloadFormatVersion",
                        format,
                        PayloadFormat::V1,
                    ),
                    authorization: authorization.map(|authorizer| Authorization { authorizer, scopes }),
                });
            }
            Target::Other(what) => {
                api.other_integrations.insert(written, what);
            }
            Target::Wrong => {}
        }
        Some(())
    }

    /// `Target`: AWS makes the one route, its integration and the stage `$default`.
    fn quick_route(&self, fields: &Fields<'_>, api: &mut HttpApi) -> Option<()> {
        let target = fields.text("Target")?;
        let written = fields.text("RouteKey").unwrap_or_else(|| "$default".to_owned());
        if target.starts_with("http") {
            api.other_integrations.insert(written, "HTTP_PROXY".to_owned());
            return None;
        }
        let key = match written.split_once(' ') {
            Some((method, path)) => RouteKey::parse(method, path)
                .map_err(|why| fields.wrong("RouteKey", &format!("is \"{written}\", but has a path that {why}")))
                .ok()?,
            None => RouteKey::Default,
        };
        api.routes.push(HttpRoute {
            key,
            function: self.named_function(fields, "Target")?,
            integration_timeout: Duration::from_millis(LONGEST_HTTP_TIMEOUT_MS.into()),
            payload_format: PayloadFormat::V2,
            authorization: None,
        });
        Some(())
    }
}
