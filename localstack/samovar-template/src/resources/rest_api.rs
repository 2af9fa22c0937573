//! `AWS::Serverless::Api`: stage, CORS and authorizers of a REST API. Its routes come from the events of functions
//! (`rest_event`).

use std::collections::BTreeMap;
use std::time::Duration;

use super::http_api::variables;
use super::openapi::Definition;
use super::rest_event::{Auth, routes};
use super::websocket::IAM;
use super::{Context, openapi};
use crate::fields::{Fields, Schema};
use crate::model::{Function, RestApi, RestAuthorizer, RestCors};
use crate::references::IMPLICIT_STAGE;
use crate::resource::{Kind, Resource};
use crate::yaml::{Data, Entry, Node};

pub(crate) const REST_API: Schema = Schema {
    subject: "AWS::Serverless::Api",
    required: &[],
    optional: &[
        "ApiKeySourceType",
        "Auth",
        "BinaryMediaTypes",
        "Cors",
        "DefinitionBody",
        "DefinitionUri",
        "Name",
        "StageName",
        "Variables",
    ],
    ignored: &[
        "AccessLogSetting",
        "AlwaysDeploy",
        "CacheClusterEnabled",
        "CacheClusterSize",
        "CanarySetting",
        "Description",
        "DisableExecuteApiEndpoint",
        "Domain",
        "EndpointAccessMode",
        "EndpointConfiguration",
        "FailOnWarnings",
        "GatewayResponses",
        "MergeDefinitions",
        "MethodSettings",
        "MinimumCompressionSize",
        "Mode",
        "Models",
        "OpenApiVersion",
        "Policy",
        "PropagateTags",
        "SecurityPolicy",
        "Tags",
        "TracingEnabled",
    ],
};

pub(crate) const AUTH: Schema = Schema {
    subject: "AWS::Serverless::Api.Auth",
    required: &[],
    optional: &["ApiKeyRequired", "Authorizers", "DefaultAuthorizer", "UsagePlan"],
    ignored: &[
        "AddApiKeyRequiredToCorsPreflight",
        "AddDefaultAuthorizerToCorsPreflight",
        "InvokeRole",
        "ResourcePolicy",
    ],
};

pub(crate) const USAGE_PLAN: Schema = Schema {
    subject: "UsagePlan",
    required: &["CreateUsagePlan"],
    optional: &[],
    // Requests are neither counted nor throttled here.
    ignored: &["Description", "Quota", "Tags", "Throttle", "UsagePlanName"],
};

pub(crate) const COGNITO: Schema = Schema {
    subject: "A Cognito authorizer",
    required: &["UserPoolArn"],
    optional: &["AuthorizationScopes", "Identity"],
    ignored: &[],
};

pub(crate) const LAMBDA: Schema = Schema {
    subject: "A Lambda authorizer",
    required: &["FunctionArn"],
    optional: &["AuthorizationScopes", "FunctionPayloadType", "Identity"],
    ignored: &["DisableFunctionDefaultPermissions", "FunctionInvokeRole"],
};

pub(crate) const IDENTITY: Schema = Schema {
    subject: "Identity",
    required: &[],
    optional: &[
        "Context",
        "Header",
        "Headers",
        "QueryStrings",
        "ReauthorizeEvery",
        "StageVariables",
        "ValidationExpression",
    ],
    ignored: &[],
};

pub(crate) const CORS: Schema = Schema {
    subject: "Cors",
    required: &[],
    optional: &["AllowCredentials", "AllowHeaders", "AllowMethods", "AllowOrigin", "MaxAge"],
    ignored: &[],
};

const DEFAULT_HEADER: &str = "Authorization";
const DEFAULT_CACHE_SECONDS: u32 = 300;

pub(crate) fn rest_apis(context: &Context<'_>, functions: &[Function]) -> Vec<RestApi> {
    let mut apis: Vec<(RestApi, Auth)> =
        context.scope.present(Kind::RestApi).map(|resource| build(context, resource, functions)).collect();
    routes(context, functions, &mut apis);
    apis.into_iter().map(|(api, _)| api).collect()
}

fn build(context: &Context<'_>, resource: &Resource, functions: &[Function]) -> (RestApi, Auth) {
    let fields = context.fields(resource, &REST_API);
    let implicit = resource.id == crate::declarations::IMPLICIT_REST_API;
    if !implicit && !fields.has("StageName") {
        context.problems.add(resource.line, format!("{} needs the property \"StageName\"", REST_API.subject));
    }
    let mut auth = Auth::default();
    let authorizers =
        fields.map("Auth", &AUTH).map(|map| authorizers(context, &map, functions, &mut auth)).unwrap_or_default();
    let types = fields.texts("BinaryMediaTypes").unwrap_or_default();
    let mut api = RestApi {
        logical_id: resource.id.clone(),
        api_id: resource.api_id(),
        name: fields.text("Name").unwrap_or_else(|| resource.id.clone()),
        stage: stage(&fields),
        stage_variables: variables(&fields, "Variables"),
        cors: cors(&fields),
        authorizers,
        api_key: api_key(context, &fields, resource),
        binary_media_types: types.iter().map(|media_type| media_type.replace("~1", "/")).collect(),
        routes: Vec::new(),
        mocks: Vec::new(),
        other_integrations: BTreeMap::new(),
    };
    let of_file = match fields.node("DefinitionUri") {
        Some(node) if openapi::is_elsewhere(node) => {
            context.not_read(node.line, format!("{}: its OpenAPI definition is not on this machine", resource.id));
            None
        }
        Some(node) => fields.text("DefinitionUri").and_then(|path| openapi::file(context, node.line, &path)),
        None => None,
    };
    if let Some(node) = fields.node("DefinitionBody").or(of_file.as_ref()) {
        Definition::of(context, functions, node, resource.line).add_to(&mut api, &mut auth);
    }
    (api, auth)
}

fn stage(fields: &Fields<'_>) -> String {
    let stage = fields.text("StageName").unwrap_or_else(|| IMPLICIT_STAGE.to_owned());
    if stage.is_empty() || !stage.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_') {
        fields.wrong("StageName", &format!("is \"{stage}\", but AWS takes letters, digits, hyphens and underscores"));
    }
    stage
}

fn authorizers(
    context: &Context<'_>,
    fields: &Fields<'_>,
    functions: &[Function],
    auth: &mut Auth,
) -> BTreeMap<String, RestAuthorizer> {
    let problems = context.problems;
    auth.api_key_required = fields.boolean("ApiKeyRequired").unwrap_or(false);
    let mut authorizers = BTreeMap::new();
    if let Some(node) = fields.node("Authorizers") {
        if !matches!(node.data, Data::Map(_)) {
            problems.push(node.not("Authorizers", "a map"));
        }
        for Entry { key, value, .. } in node.entries() {
            let schema = if value.get("UserPoolArn").is_some() { &COGNITO } else { &LAMBDA };
            let authorizer = Fields::new(schema, value, problems);
            auth.scopes.insert(key.clone(), authorizer.texts("AuthorizationScopes").unwrap_or_default());
            let read = if value.get("UserPoolArn").is_some() {
                cognito(&authorizer)
            } else {
                lambda(context, &authorizer, functions)
            };
            authorizers.extend(read.map(|read| (key.clone(), read)));
        }
    }
    auth.default_authorizer = fields.text("DefaultAuthorizer").filter(|name| {
        let known = name == IAM || auth.scopes.contains_key(name);
        if !known {
            fields.wrong("DefaultAuthorizer", &format!("is \"{name}\", which is not one of Authorizers"));
        }
        known
    });
    authorizers
}

fn cognito(fields: &Fields<'_>) -> Option<RestAuthorizer> {
    let user_pools = match fields.node("UserPoolArn") {
        Some(Node { data: Data::List(_), .. }) => fields.texts("UserPoolArn")?,
        _ => vec![fields.text("UserPoolArn")?],
    };
    let header = fields.map("Identity", &IDENTITY).and_then(|identity| identity.text("Header"));
    Some(RestAuthorizer::Cognito { user_pools, header: header.unwrap_or_else(|| DEFAULT_HEADER.to_owned()) })
}

fn lambda(context: &Context<'_>, fields: &Fields<'_>, functions: &[Function]) -> Option<RestAuthorizer> {
    let kind = fields.choice("FunctionPayloadType", &["REQUEST", "TOKEN"]);
    let identity = fields.map("Identity", &IDENTITY);
    let text = |name| identity.as_ref().and_then(|identity| identity.text(name));
    let texts = |name| identity.as_ref().and_then(|identity| identity.texts(name)).unwrap_or_default();
    let seconds = identity.as_ref().and_then(|identity| identity.integer("ReauthorizeEvery", 0..=3600));
    let cache = Duration::from_secs(seconds.unwrap_or(DEFAULT_CACHE_SECONDS).into());
    let function = context.function_name(fields, "FunctionArn", functions)?;
    if kind.as_deref() != Some("REQUEST") {
        return Some(RestAuthorizer::Token {
            function,
            header: text("Header").unwrap_or_else(|| DEFAULT_HEADER.to_owned()),
            validation: text("ValidationExpression"),
            cache,
        });
    }
    let (headers, query_strings) = (texts("Headers"), texts("QueryStrings"));
    let (stage_variables, names) = (texts("StageVariables"), texts("Context"));
    let nothing = [&headers, &query_strings, &stage_variables, &names].iter().all(|names| names.is_empty());
    if nothing && !cache.is_zero() {
        let message = "is REQUEST, which needs an Identity with Headers, QueryStrings, StageVariables or Context \
                       (or ReauthorizeEvery: 0)";
        fields.wrong("FunctionPayloadType", message);
    }
    Some(RestAuthorizer::Request { function, headers, query_strings, stage_variables, context: names, cache })
}

/// The key of the usage plan that SAM makes.
fn api_key(context: &Context<'_>, fields: &Fields<'_>, resource: &Resource) -> Option<String> {
    if fields.choice("ApiKeySourceType", &["AUTHORIZER", "HEADER"]).as_deref() == Some("AUTHORIZER") {
        let message = format!("{}: API keys that authorizers return are not taken here", resource.id);
        context.not_read(fields.line("ApiKeySourceType"), message);
        return None;
    }
    let auth = fields.node("Auth")?;
    let plan = Fields::new(&USAGE_PLAN, auth.get("UsagePlan")?, fields.problems());
    let owner = match plan.choice("CreateUsagePlan", &["NONE", "PER_API", "SHARED"])?.as_str() {
        "PER_API" => resource.id.to_lowercase(),
        "SHARED" => "serverless".to_owned(),
        _ => return None,
    };
    // AWS takes keys of 20 characters and more.
    Some(format!("{:0<20}", format!("local-api-key-of-{owner}")))
}

/// A map, or the text of one origin. SAM wants the quotes of API Gateway's mapping: `"'*'"`.
fn cors(fields: &Fields<'_>) -> Option<RestCors> {
    let node = fields.node("Cors")?;
    let bare = |text: String| text.trim().trim_matches('\'').to_owned();
    if !matches!(node.data, Data::Map(_)) {
        let allow_origin = bare(fields.text("Cors")?);
        return Some(RestCors {
            allow_origin,
            allow_methods: None,
            allow_headers: None,
            max_age: None,
            allow_credentials: false,
        });
    }
    let cors = Fields::new(&CORS, node, fields.problems());
    Some(RestCors {
        // SAM's documentation calls it required, but SAM has this default.
        allow_origin: cors.text("AllowOrigin").map_or_else(|| "*".to_owned(), bare),
        allow_methods: cors.text("AllowMethods").map(bare),
        allow_headers: cors.text("AllowHeaders").map(bare),
        max_age: cors.text("MaxAge").map(bare),
        allow_credentials: cors.boolean("AllowCredentials").unwrap_or(false),
    })
}
