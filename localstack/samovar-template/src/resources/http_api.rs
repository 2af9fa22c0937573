//! `AWS::Serverless::HttpApi`: stage, CORS and JWT authorizers. Its routes are events of functions: `http_event`.

use std::collections::BTreeMap;

use super::Context;
use super::http_event::{Auth, routes};
use crate::fields::{Fields, Schema};
use crate::model::{Cors, Function, HttpApi, IdentitySource, JwtAuthorizer};
use crate::resource::{Kind, Resource};
use crate::yaml::{Data, Entry, Node};

pub(crate) const HTTP_API: Schema = Schema {
    subject: "AWS::Serverless::HttpApi",
    required: &[],
    optional: &["Auth", "CorsConfiguration", "Name", "StageName", "StageVariables"],
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

/// SAM takes an authorizer only with an `IdentitySource`, though its documentation calls that optional.
pub(crate) const AUTHORIZER: Schema = Schema {
    subject: "A JWT authorizer",
    required: &["IdentitySource", "JwtConfiguration"],
    optional: &["AuthorizationScopes"],
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
        let others = [Kind::HttpApi, Kind::WebSocketApi].into_iter().flat_map(|kind| context.scope.present(kind));
        if others.filter(|other| other.api_id() == resource.api_id()).count() > 1 {
            let message = format!("Another API differs from {} only in upper and lower case: rename one", resource.id);
            context.problems.add(resource.line, message);
        }
        apis.push(build(context, resource));
    }
    routes(context, functions, &mut apis);
    apis.into_iter().map(|(api, _)| api).collect()
}

/// The logical id that SAM gives the stage, where it can be told from the template alone.
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

fn build(context: &Context<'_>, resource: &Resource) -> (HttpApi, Auth) {
    let fields = context.fields(resource, &HTTP_API);
    let mut auth = Auth { default_authorizer: None, scopes: BTreeMap::new() };
    let authorizers = fields.map("Auth", &AUTH).map(|map| authorizers(&map, &mut auth)).unwrap_or_default();
    let api = HttpApi {
        logical_id: resource.id.clone(),
        api_id: resource.api_id(),
        name: fields.text("Name").unwrap_or_else(|| resource.id.clone()),
        stage: stage(&fields),
        stage_variables: stage_variables(&fields),
        cors: cors(&fields),
        authorizers,
        routes: Vec::new(),
    };
    (api, auth)
}

fn stage(fields: &Fields<'_>) -> String {
    let stage = fields.text("StageName").unwrap_or_else(|| DEFAULT_STAGE.to_owned());
    let named = !stage.is_empty() && stage.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    if !named && stage != DEFAULT_STAGE {
        let takes = "$default, or letters, digits, hyphens and underscores";
        fields.wrong("StageName", &format!("is \"{stage}\", but AWS takes {takes}"));
    }
    stage
}

fn stage_variables(fields: &Fields<'_>) -> BTreeMap<String, String> {
    let Some(node) = fields.node("StageVariables") else { return BTreeMap::new() };
    if !matches!(node.data, Data::Map(_)) {
        fields.problems().push(node.not("StageVariables", "a map"));
    }
    let text = |entry: &Entry| {
        let value = entry.value.expect_text(&format!("The stage variable {}", entry.key));
        Some((entry.key.clone(), fields.problems().keep(value)?))
    };
    node.entries().iter().filter_map(text).collect()
}

fn authorizers(fields: &Fields<'_>, auth: &mut Auth) -> BTreeMap<String, JwtAuthorizer> {
    let only_jwt = "the local stack has only JWT authorizers";
    if fields.boolean("EnableIamAuthorizer") == Some(true) {
        fields.wrong("EnableIamAuthorizer", &format!("cannot be true: {only_jwt}"));
    }
    let mut authorizers = BTreeMap::new();
    if let Some(node) = fields.node("Authorizers") {
        if !matches!(node.data, Data::Map(_)) {
            fields.problems().push(node.not("Authorizers", "a map"));
        }
        for Entry { line, key, value } in node.entries() {
            auth.scopes.insert(key.clone(), Vec::new());
            // What SAM tells them apart by.
            if matches!(value.data, Data::Map(_)) && value.get("JwtConfiguration").is_none() {
                let what = if value.get("FunctionArn").is_some() { "a Lambda authorizer" } else { "no JWT authorizer" };
                let message = format!("{key} is {what} (it has no JwtConfiguration), but {only_jwt}");
                fields.problems().add(*line, message);
                continue;
            }
            let authorizer = Fields::new(&AUTHORIZER, value, fields.problems());
            auth.scopes.insert(key.clone(), authorizer.texts("AuthorizationScopes").unwrap_or_default());
            authorizers.extend(jwt(&authorizer).map(|jwt| (key.clone(), jwt)));
        }
    }
    auth.default_authorizer = fields.text("DefaultAuthorizer").filter(|name| {
        let known = auth.scopes.contains_key(name);
        if !known {
            fields.wrong("DefaultAuthorizer", &format!("is \"{name}\", which is not one of Authorizers"));
        }
        known
    });
    authorizers
}

fn jwt(fields: &Fields<'_>) -> Option<JwtAuthorizer> {
    // SAM takes these names in any case, because CloudFormation's own type has them with capitals.
    let mut node = fields.node("JwtConfiguration")?.clone();
    if let Data::Map(entries) = &mut node.data {
        entries.iter_mut().for_each(|entry| entry.key = entry.key.to_ascii_lowercase());
    }
    let configuration = Fields::new(&JWT_CONFIGURATION, &node, fields.problems());
    let issuer = configuration.text("issuer");
    if let Some(issuer) = &issuer
        && !issuer.starts_with("https://")
        // AWS takes only https; the local issuer, and others on this machine, are plain.
        && !issuer.starts_with("http://")
    {
        configuration.wrong("issuer", &format!("is \"{issuer}\", which is not a URL"));
    }
    let audience = match configuration.node("audience") {
        Some(Node { data: Data::List(_), .. }) => configuration.texts("audience"),
        _ => configuration.text("audience").map(|one| vec![one]),
    };
    if audience.as_ref().is_some_and(Vec::is_empty) {
        configuration.wrong("audience", "is empty, but AWS wants at least one");
    }
    let source = fields.text("IdentitySource")?;
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
fn cors(fields: &Fields<'_>) -> Option<Cors> {
    let node = fields.node("CorsConfiguration")?;
    if !matches!(node.data, Data::Map(_)) {
        let all = Cors { allow_origins: vec!["*".to_owned()], ..Cors::default() };
        return fields.boolean("CorsConfiguration")?.then_some(all);
    }
    let cors = Fields::new(&CORS, node, fields.problems());
    let list = |name| cors.texts(name).unwrap_or_default();
    let max_age = cors.node("MaxAge").and_then(Node::as_text);
    let read = Cors {
        allow_origins: list("AllowOrigins"),
        allow_methods: list("AllowMethods"),
        allow_headers: list("AllowHeaders"),
        expose_headers: list("ExposeHeaders"),
        max_age_seconds: match max_age.as_deref() {
            Some("-1") => Some(-1), // the browser is to keep nothing
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
    Some(read)
}
