//! `AWS::Serverless::HttpApi`: stage, CORS and JWT authorizers. Its routes come from the events of functions
//! (`http_event`).

use std::collections::BTreeMap;
use std::time::Duration;

use super::http_event::{Auth, routes};
use super::websocket::IAM;
use super::{Context, raw_api};
use crate::fields::{Fields, Schema};
use crate::model::{Cors, Function, HttpApi, IdentitySource, JwtAuthorizer, LambdaAuthorizer, PayloadFormat};
use crate::resource::{Kind, RAW_API, Resource};
use crate::yaml::{Data, Entry, Node};

pub(crate) const HTTP_API: Schema = Schema {
    subject: "AWS::Serverless::HttpApi",
    required: &[],
    optional: &["Auth", "CorsConfiguration", "DefinitionBody", "DefinitionUri", "Name", "StageName", "StageVariables"],
    ignored: &[
        "AccessLogSettings",
        "DefaultRouteSettings",
        "Description",
        "DisableExecuteApiEndpoint",
        "Domain",
        "FailOnWarnings",
        "PropagateTags",
        "RouteSettings",
        "Tags",
    ],
};

pub(crate) const AUTH: Schema = Schema {
    subject: "AWS::Serverless::HttpApi.Auth",
    required: &[],
    optional: &["Authorizers", "DefaultAuthorizer", "EnableIamAuthorizer"],
    ignored: &[],
};

/// SAM rejects an authorizer without `IdentitySource`, though its documentation calls the property optional.
pub(crate) const AUTHORIZER: Schema = Schema {
    subject: "A JWT authorizer",
    required: &["IdentitySource", "JwtConfiguration"],
    optional: &["AuthorizationScopes"],
    ignored: &[],
};

pub(crate) const LAMBDA_AUTHORIZER: Schema = Schema {
    subject: "A Lambda authorizer",
    required: &["AuthorizerPayloadFormatVersion", "FunctionArn"],
    optional: &["EnableSimpleResponses", "Identity"],
    ignored: &["EnableFunctionDefaultPermissions", "FunctionInvokeRole"],
};

pub(crate) const IDENTITY: Schema = Schema {
    subject: "Identity",
    required: &[],
    optional: &["Context", "Headers", "QueryStrings", "ReauthorizeEvery", "StageVariables"],
    ignored: &[],
};

pub(crate) const JWT_CONFIGURATION: Schema =
    Schema { subject: "JwtConfiguration", required: &["audience", "issuer"], optional: &[], ignored: &[] };

pub(crate) const CORS: Schema = Schema {
    subject: "CorsConfiguration",
    required: &[],
    optional: &["AllowCredentials", "AllowHeaders", "AllowMethods", "AllowOrigins", "ExposeHeaders", "MaxAge"],
    ignored: &[],
};

pub(crate) const DEFAULT_STAGE: &str = "$default";
const LARGEST_MAX_AGE_SECONDS: u32 = 86_400;

pub(crate) fn http_apis(context: &Context<'_>, functions: &[Function]) -> Vec<HttpApi> {
    let mut apis: Vec<(HttpApi, Auth)> = Vec::new();
    for resource in context.scope.present(Kind::HttpApi) {
        let others =
            [Kind::HttpApi, Kind::RestApi, Kind::WebSocketApi].into_iter().flat_map(|kind| context.scope.present(kind));
        if others.filter(|other| other.api_id() == resource.api_id()).count() > 1 {
            let message = format!("Another API differs from {} only in upper and lower case: rename one", resource.id);
            context.problems.add(resource.line, message);
        }
        apis.push(match resource.type_name {
            RAW_API => (raw_api::http(context, resource, functions), Auth::default()),
            _ => build(context, resource, functions),
        });
    }
    routes(context, functions, &mut apis);
    apis.into_iter().map(|(api, _)| api).collect()
}

/// The logical id that SAM gives the stage, where the template alone determines it.
pub(crate) fn stage_id(resource: &Resource) -> Option<String> {
    let id = &resource.id;
    match resource.properties.get("StageName").map(Node::as_text) {
        None => Some(format!("{id}ApiGatewayDefaultStage")),
        Some(None) => Some(format!("{id}Stage")), // a function's value
        Some(Some(stage)) if stage == DEFAULT_STAGE => Some(format!("{id}ApiGatewayDefaultStage")),
        Some(Some(stage)) if stage.chars().all(char::is_alphanumeric) => Some(format!("{id}{stage}Stage")),
        Some(Some(_)) => None, // ends with a hash
    }
}

fn build(context: &Context<'_>, resource: &Resource, functions: &[Function]) -> (HttpApi, Auth) {
    let fields = context.fields(resource, &HTTP_API);
    let mut auth = Auth::default();
    let mut read = Authorizers::default();
    if let Some(map) = fields.map("Auth", &AUTH) {
        authorizers(context, &map, functions, &mut auth, &mut read);
    }
    if ["DefinitionBody", "DefinitionUri"].iter().any(|definition| fields.has(definition)) {
        let message = format!("{}: the routes of its OpenAPI definition are not read", resource.id);
        context.not_read(resource.line, message);
    }
    let api = HttpApi {
        logical_id: resource.id.clone(),
        api_id: resource.api_id(),
        name: fields.text("Name").unwrap_or_else(|| resource.id.clone()),
        stage: stage(&fields),
        stage_variables: stage_variables(&fields),
        cors: cors(&fields),
        authorizers: read.jwt,
        lambda_authorizers: read.lambda,
        routes: Vec::new(),
        other_integrations: BTreeMap::new(),
    };
    (api, auth)
}

pub(super) fn stage(fields: &Fields<'_>) -> String {
    let stage = fields.text("StageName").unwrap_or_else(|| DEFAULT_STAGE.to_owned());
    let named = !stage.is_empty() && stage.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    if !named && stage != DEFAULT_STAGE {
        let takes = "$default, or letters, digits, hyphens and underscores";
        fields.wrong("StageName", &format!("is \"{stage}\", but AWS takes {takes}"));
    }
    stage
}

pub(super) fn stage_variables(fields: &Fields<'_>) -> BTreeMap<String, String> {
    variables(fields, "StageVariables")
}

/// The stage variables under this property.
pub(super) fn variables(fields: &Fields<'_>, property: &str) -> BTreeMap<String, String> {
    let Some(node) = fields.node(property) else { return BTreeMap::new() };
    if !matches!(node.data, Data::Map(_)) {
        fields.problems().push(node.not(property, "a map"));
    }
    let text = |entry: &Entry| {
        let value = entry.value.expect_text(&format!("The stage variable {}", entry.key));
        Some((entry.key.clone(), fields.problems().keep(value)?))
    };
    node.entries().iter().filter_map(text).collect()
}

/// The authorizers of an API, by kinds.
#[derive(Debug, Default)]
struct Authorizers {
    jwt: BTreeMap<String, JwtAuthorizer>,
    lambda: BTreeMap<String, LambdaAuthorizer>,
}

fn authorizers(
    context: &Context<'_>,
    fields: &Fields<'_>,
    functions: &[Function],
    auth: &mut Auth,
    read: &mut Authorizers,
) {
    let problems = fields.problems();
    if fields.boolean("EnableIamAuthorizer") == Some(true) {
        auth.scopes.insert(IAM.to_owned(), Vec::new());
    }
    if let Some(node) = fields.node("Authorizers") {
        if !matches!(node.data, Data::Map(_)) {
            problems.push(node.not("Authorizers", "a map"));
        }
        for Entry { key, value, .. } in node.entries() {
            auth.scopes.insert(key.clone(), Vec::new());
            // SAM tells the kinds of authorizers apart by this key.
            if value.get("FunctionArn").is_some() {
                let authorizer = Fields::new(&LAMBDA_AUTHORIZER, value, problems);
                let authorizer = lambda(context, &authorizer, functions);
                read.lambda.extend(authorizer.map(|authorizer| (key.clone(), authorizer)));
                continue;
            }
            let authorizer = Fields::new(&AUTHORIZER, value, problems);
            auth.scopes.insert(key.clone(), authorizer.texts("AuthorizationScopes").unwrap_or_default());
            let source = authorizer.text("IdentitySource");
            let authorizer = source.and_then(|source| jwt(&authorizer, &source));
            read.jwt.extend(authorizer.map(|authorizer| (key.clone(), authorizer)));
        }
    }
    auth.default_authorizer = fields.text("DefaultAuthorizer").filter(|name| {
        let known = auth.scopes.contains_key(name);
        if !known {
            fields.wrong("DefaultAuthorizer", &format!("is \"{name}\", which is not one of Authorizers"));
        }
        known
    });
}

fn lambda(context: &Context<'_>, fields: &Fields<'_>, functions: &[Function]) -> Option<LambdaAuthorizer> {
    let format = fields.text("AuthorizerPayloadFormatVersion");
    let payload_format = payload_format(fields, "AuthorizerPayloadFormatVersion", format, PayloadFormat::V2);
    let identity = fields.map("Identity", &IDENTITY);
    let mut identity_sources = Vec::new();
    let mut cache = 0;
    if let Some(identity) = &identity {
        for (property, prefix) in [
            ("Headers", "$request.header."),
            ("QueryStrings", "$request.querystring."),
            ("StageVariables", "$stageVariables."),
            ("Context", "$context."),
        ] {
            let names = identity.texts(property).unwrap_or_default();
            identity_sources.extend(names.into_iter().map(|name| format!("{prefix}{name}")));
        }
        cache = identity.integer("ReauthorizeEvery", 0..=3600).unwrap_or(0);
    }
    Some(LambdaAuthorizer {
        function: context.function_name(fields, "FunctionArn", functions)?,
        payload_format,
        simple_responses: fields.boolean("EnableSimpleResponses").unwrap_or(false),
        identity_sources,
        cache: Duration::from_secs(cache.into()),
    })
}

/// The format that a property names.
pub(super) fn payload_format(
    fields: &Fields<'_>,
    property: &str,
    version: Option<String>,
    default: PayloadFormat,
) -> PayloadFormat {
    match version.as_deref() {
        None => default,
        Some("1.0" | "1") => PayloadFormat::V1,
        Some("2.0" | "2") => PayloadFormat::V2,
        Some(other) => {
            fields.wrong(property, &format!("is \"{other}\", but AWS takes 1.0 and 2.0"));
            default
        }
    }
}

pub(super) fn jwt(fields: &Fields<'_>, source: &str) -> Option<JwtAuthorizer> {
    // SAM accepts these names in either case, because CloudFormation's own type writes them with capitals.
    let mut node = fields.node("JwtConfiguration")?.clone();
    if let Data::Map(entries) = &mut node.data {
        entries.iter_mut().for_each(|entry| entry.key = entry.key.to_ascii_lowercase());
    }
    let configuration = Fields::new(&JWT_CONFIGURATION, &node, fields.problems());
    let issuer = configuration.text("issuer");
    if let Some(issuer) = &issuer
        && !issuer.starts_with("https://")
        // AWS accepts only https. The local issuer, and others on this machine, use plain http.
        && !issuer.starts_with("http://")
    {
        configuration.wrong("issuer", &format!("is \"{issuer}\", which is not a URL"));
    }
    let audience = match configuration.node("audience") {
        Some(Node { data: Data::List(_), .. }) => configuration.texts("audience"),
        _ => configuration.text("audience").map(|one| vec![one]),
    };
    if audience.as_ref().is_some_and(Vec::is_empty) {
        configuration.wrong("audience", "is empty, but AWS requires at least one entry");
    }
    let named = |prefix| source.strip_prefix(prefix).filter(|name: &&str| !name.is_empty()).map(str::to_owned);
    let identity_source = named("$request.header.")
        .map(IdentitySource::Header)
        .or_else(|| named("$request.querystring.").map(IdentitySource::QueryString));
    if identity_source.is_none() {
        let known = "$request.header.x or $request.querystring.x";
        fields.wrong("IdentitySource", &format!("is \"{source}\", which is not {known}"));
    }
    Some(JwtAuthorizer { issuer: issuer?, audience: audience?, identity_source: identity_source? })
}

/// A map, or `true` for every origin.
pub(super) fn cors(fields: &Fields<'_>) -> Option<Cors> {
    let node = fields.node("CorsConfiguration")?;
    if !matches!(node.data, Data::Map(_)) {
        let all = Cors { allow_origins: vec!["*".to_owned()], ..Cors::default() };
        return fields.boolean("CorsConfiguration")?.then_some(all);
    }
    Some(cors_of(&Fields::new(&CORS, node, fields.problems())))
}

/// The rules of a map with the properties of `CorsConfiguration`.
pub(super) fn cors_of(cors: &Fields<'_>) -> Cors {
    let list = |name| cors.texts(name).unwrap_or_default();
    let max_age = cors.node("MaxAge").and_then(Node::as_text);
    let read = Cors {
        allow_origins: list("AllowOrigins"),
        allow_methods: list("AllowMethods"),
        allow_headers: list("AllowHeaders"),
        expose_headers: list("ExposeHeaders"),
        max_age_seconds: match max_age.as_deref() {
            Some("-1") => Some(-1), // tells the browser to cache nothing
            _ => cors.integer("MaxAge", 0..=LARGEST_MAX_AGE_SECONDS).and_then(|seconds| seconds.try_into().ok()),
        },
        allow_credentials: cors.boolean("AllowCredentials").unwrap_or(false),
    };
    for origin in read.allow_origins.iter().filter(|origin| *origin != "*") {
        let host = origin.split_once("://").map(|(_, host)| host);
        if host.is_none_or(|host| host.is_empty() || host.contains('/')) {
            let takes = "*, https://*, http://* and origins such as https://example.com";
            cors.wrong("AllowOrigins", &format!("has \"{origin}\", but AWS takes {takes}"));
        }
    }
    if read.allow_credentials && (read.allow_origins.is_empty() || read.allow_origins.iter().any(|one| one == "*")) {
        cors.wrong("AllowCredentials", "cannot be true where AllowOrigins is * or not set");
    }
    read
}
