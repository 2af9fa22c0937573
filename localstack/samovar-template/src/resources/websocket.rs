//! `AWS::Serverless::WebSocketApi` and the `AWS::ApiGatewayV2::RouteResponse`s that belong to its routes.

use std::collections::BTreeMap;
use std::time::Duration;

use super::http_api::stage_variables;
use super::{Context, Policies, integration, raw_api};
use crate::fields::{Fields, Schema};
use crate::model::{Authorizer, Function, IdentitySource, Integration, Route, Throttle, WebSocketApi};
use crate::resource::{Kind, RAW_API, Resource};
use crate::selection::Selection;
use crate::yaml::{Data, Entry};

pub(crate) const WEBSOCKET_API: Schema = Schema {
    subject: "AWS::Serverless::WebSocketApi",
    required: &["Routes", "RouteSelectionExpression"],
    optional: &[
        "ApiKeySelectionExpression",
        "Auth",
        "DefaultRouteSettings",
        "Name",
        "RouteSettings",
        "StageName",
        "StageVariables",
    ],
    ignored: &[
        "AccessLogSettings",
        "Description",
        "DisableExecuteApiEndpoint",
        "DisableSchemaValidation",
        "Domain",
        "FailOnWarnings",
        "IpAddressType",
        "PropagateTags",
        "Tags",
    ],
};

pub(crate) const AUTH: Schema = Schema {
    subject: "Auth",
    required: &["AuthType"],
    optional: &["AuthArn", "IdentitySource"],
    ignored: &["InvokeRole", "Name"],
};

pub(crate) const ROUTE: Schema = Schema {
    subject: "A route",
    required: &["FunctionArn"],
    optional: &[
        "ApiKeyRequired",
        "IntegrationTimeout",
        "ModelSelectionExpression",
        "RequestModels",
        "RouteResponseSelectionExpression",
    ],
    ignored: &["OperationName", "RequestParameters"],
};

pub(crate) const ROUTE_SETTINGS: Schema = Schema {
    subject: "Settings of a route",
    required: &[],
    optional: &["ThrottlingBurstLimit", "ThrottlingRateLimit"],
    ignored: &["DataTraceEnabled", "DetailedMetricsEnabled", "LoggingLevel"],
};

pub(crate) const ROUTE_RESPONSE: Schema = Schema {
    subject: "AWS::ApiGatewayV2::RouteResponse",
    required: &["ApiId", "RouteId", "RouteResponseKey"],
    optional: &[],
    ignored: &["ModelSelectionExpression", "ResponseModels", "ResponseParameters"],
};

const SPECIAL_ROUTES: [&str; 3] = ["$connect", "$disconnect", "$default"];
pub(crate) const DEFAULT_STAGE: &str = "default";
/// The type of authorization by a signature with AWS credentials.
pub(super) const IAM: &str = "AWS_IAM";
pub(super) const DEFAULT_INTEGRATION_TIMEOUT_MS: u32 = 29_000;
/// API Gateway's default limits on the requests of an account: in a second, and at once.
const ACCOUNT_RATE: f64 = 10_000.0;
const ACCOUNT_BURST: u32 = 5_000;

/// The logical id that SAM gives a route: `sendMessage` becomes `{Api}SendmessageRoute`.
pub(crate) fn route_id(api: &str, key: &str) -> String {
    let key = key.trim_start_matches('$').to_lowercase();
    let (first, rest) = key.split_at(key.chars().next().map_or(0, char::len_utf8));
    format!("{api}{}{rest}Route", first.to_uppercase())
}

pub(crate) fn websocket_apis(context: &Context<'_>, functions: &[Function], policies: &Policies) -> Vec<WebSocketApi> {
    raw_api::check_owners(context);
    integration::check_responses(context);
    let responses = route_responses(context);
    let mut apis: Vec<WebSocketApi> = Vec::new();
    for resource in context.scope.present(Kind::WebSocketApi) {
        let api = match resource.type_name {
            RAW_API => raw_api::websocket(context, resource, functions, policies, &responses),
            _ => build(context, resource, functions, &responses),
        };
        let Some(api) = api else { continue };
        if apis.iter().any(|other| other.api_id == api.api_id) {
            let message = format!("Another API differs from {} only in upper and lower case: rename one", resource.id);
            context.problems.add(resource.line, message);
        }
        apis.push(api);
    }
    apis
}

fn build(
    context: &Context<'_>,
    resource: &Resource,
    functions: &[Function],
    responses: &BTreeMap<String, usize>,
) -> Option<WebSocketApi> {
    let fields = context.fields(resource, &WEBSOCKET_API);
    let reader = Reader { context, functions };
    let routes = reader.routes(resource, &fields, responses);
    let authorizer = reader.authorizer(&fields);
    let routes = throttled(&fields, routes);
    if fields.has("Auth") && !routes.contains_key("$connect") {
        fields.wrong("Auth", "needs a $connect route: AWS authorizes only the handshake");
    }
    Some(WebSocketApi {
        logical_id: resource.id.clone(),
        api_id: resource.api_id(),
        name: fields.text("Name").unwrap_or_else(|| resource.id.clone()),
        stage: stage(&fields),
        stage_variables: stage_variables(&fields),
        route_selection: route_selection(&fields)?,
        api_key_selection: fields.text("ApiKeySelectionExpression"),
        authorizer,
        iam_authorization: fields.map("Auth", &AUTH).is_some_and(|auth| auth.text("AuthType").as_deref() == Some(IAM)),
        routes,
    })
}

pub(super) fn stage(fields: &Fields<'_>) -> String {
    let stage = fields.text("StageName").unwrap_or_else(|| DEFAULT_STAGE.to_owned());
    if stage == "$default" {
        fields.wrong("StageName", "cannot be $default: a WebSocket API has no default stage");
    } else if stage.is_empty() || !stage.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_') {
        fields.wrong("StageName", &format!("is \"{stage}\", but AWS takes letters, digits, hyphens and underscores"));
    }
    stage
}

/// The property `RouteSelectionExpression`. Its variables are parts of a message.
pub(super) fn route_selection(fields: &Fields<'_>) -> Option<Selection> {
    let property = "RouteSelectionExpression";
    let selection = Selection::parse(&fields.text(property)?).map_err(|why| fields.wrong(property, &why)).ok()?;
    let of_body = |name: &str| name.strip_prefix("request.body.").is_some_and(|path| !path.is_empty());
    if selection.variables().next().is_none() || !selection.variables().all(of_body) {
        let message = format!("is \"{selection}\", but a message is routed by $request.body.name");
        fields.wrong(property, &message);
        return None;
    }
    Some(selection)
}

/// The routes with the limits of the stage that these fields describe.
pub(super) fn throttled(stage: &Fields<'_>, mut routes: BTreeMap<String, Route>) -> BTreeMap<String, Route> {
    let default = stage.map("DefaultRouteSettings", &ROUTE_SETTINGS).and_then(|settings| throttle(&settings));
    for route in routes.values_mut() {
        route.throttle = default;
    }
    let Some(node) = stage.node("RouteSettings") else { return routes };
    if !matches!(node.data, Data::Map(_)) {
        stage.problems().push(node.not("RouteSettings", "a map"));
    }
    for entry in node.entries() {
        let own = throttle(&Fields::new(&ROUTE_SETTINGS, &entry.value, stage.problems()));
        match routes.get_mut(&entry.key) {
            Some(route) => route.throttle = own.or(default),
            None => {
                let message = format!("RouteSettings names the route \"{}\", which the API does not have", entry.key);
                stage.problems().note(entry.line, message);
            }
        }
    }
    routes
}

/// What one of the two limits alone leaves open is the account's own.
fn throttle(settings: &Fields<'_>) -> Option<Throttle> {
    let burst = settings.integer("ThrottlingBurstLimit", 0..=u32::MAX);
    let rate = settings.text("ThrottlingRateLimit").and_then(|text| {
        let rate = text.parse::<f64>().ok().filter(|rate| rate.is_finite() && *rate >= 0.0);
        if rate.is_none() {
            settings.wrong("ThrottlingRateLimit", &format!("must be a number from 0 up, but is \"{text}\""));
        }
        rate
    });
    if rate.is_none() && burst.is_none() {
        return None;
    }
    Some(Throttle { rate: rate.unwrap_or(ACCOUNT_RATE), burst: burst.unwrap_or(ACCOUNT_BURST) })
}

/// The generated ids of the routes that have a route response, with the lines of the responses.
fn route_responses(context: &Context<'_>) -> BTreeMap<String, usize> {
    let mut responses = BTreeMap::new();
    for resource in context.scope.present(Kind::RouteResponse) {
        let fields = context.fields(resource, &ROUTE_RESPONSE);
        fields.choice("RouteResponseKey", &["$default"]);
        let Some((api_id, route)) = fields.text("ApiId").zip(fields.text("RouteId")) else { continue };
        let Some(api) = context.scope.present(Kind::WebSocketApi).find(|api| api.api_id() == api_id) else {
            fields.wrong("ApiId", &format!("is \"{api_id}\", which is not a WebSocket API of this template"));
            continue;
        };
        let raw = context.scope.present(Kind::ApiRoute).any(|raw| raw.id == route);
        if !raw && context.scope.routes.get(&route).is_none_or(|(owner, _)| *owner != api.id) {
            fields.wrong("RouteId", &format!("is \"{route}\", which is not a route of {}", api.id));
        } else if responses.insert(route.clone(), fields.line("RouteId")).is_some() {
            fields.wrong("RouteId", &format!("is \"{route}\", which already has a route response"));
        }
    }
    responses
}

/// Whether a route's answers go to the client. AWS needs a route response and its selection for that.
pub(super) fn answers(fields: &Fields<'_>, key: &str, response: Option<usize>) -> bool {
    let selected = fields.choice("RouteResponseSelectionExpression", &["$default"]).is_some();
    if let Some(line) = response
        && !selected
    {
        let message =
            format!("The route {key} has this response but no RouteResponseSelectionExpression: add it, with $default");
        fields.problems().add(line, message);
    }
    selected && response.is_some()
}

struct Reader<'a> {
    context: &'a Context<'a>,
    functions: &'a [Function],
}

impl Reader<'_> {
    fn routes(
        &self,
        api: &Resource,
        fields: &Fields<'_>,
        responses: &BTreeMap<String, usize>,
    ) -> BTreeMap<String, Route> {
        let Some(node) = fields.node("Routes") else { return BTreeMap::new() };
        if !matches!(node.data, Data::Map(_)) {
            self.context.problems.push(node.not("Routes", "a map"));
        } else if node.entries().is_empty() {
            fields.wrong("Routes", "is empty, but AWS requires at least one route");
        }
        let routes = node.entries().iter().filter_map(|entry| {
            let key = &entry.key;
            let alphanumeric = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric());
            if !alphanumeric && !SPECIAL_ROUTES.contains(&key.as_str()) {
                let message = format!("The route key \"{key}\" must be letters and digits, or one of ");
                self.context.problems.add(entry.line, message + &SPECIAL_ROUTES.join(", "));
            }
            Some((key.clone(), self.route(entry, responses.get(&route_id(&api.id, key)).copied())?))
        });
        routes.collect()
    }

    fn route(&self, entry: &Entry, response: Option<usize>) -> Option<Route> {
        let fields = Fields::new(&ROUTE, &entry.value, self.context.problems);
        let route_response = answers(&fields, &entry.key, response);
        let timeout = fields.integer("IntegrationTimeout", 50..=DEFAULT_INTEGRATION_TIMEOUT_MS);
        Some(Route {
            integration_timeout: Duration::from_millis(timeout.unwrap_or(DEFAULT_INTEGRATION_TIMEOUT_MS).into()),
            route_response,
            api_key_required: fields.boolean("ApiKeyRequired").unwrap_or(false),
            request_models: self.context.request_models(&fields),
            model_selection: integration::selection(&fields, "ModelSelectionExpression"),
            throttle: None,
            integration: Integration::Proxy(self.function(&fields, "FunctionArn")?),
        })
    }

    fn authorizer(&self, fields: &Fields<'_>) -> Option<Authorizer> {
        let auth = fields.map("Auth", &AUTH)?;
        match auth.text("AuthType")?.as_str() {
            "CUSTOM" => {}
            none @ ("NONE" | IAM) => {
                if auth.has("AuthArn") || auth.has("IdentitySource") {
                    auth.wrong("AuthType", &format!("is {none}, which allows no further properties"));
                }
                return None;
            }
            other => {
                auth.wrong("AuthType", &format!("is {other}, but AWS takes CUSTOM, AWS_IAM and NONE"));
                return None;
            }
        }
        if !auth.has("AuthArn") {
            auth.wrong("AuthType", "is CUSTOM, which needs AuthArn");
        }
        let identity_sources = identity_sources(&auth);
        Some(Authorizer { identity_sources, function: self.function(&auth, "AuthArn")? })
    }

    /// The function whose ARN the property has. A function with problems of its own is not reported again here.
    fn function(&self, fields: &Fields<'_>, property: &str) -> Option<String> {
        let arn = fields.text(property)?;
        let Some(resource) = self.context.scope.find(Kind::Function, "Arn", &arn) else {
            let message =
                format!("is \"{arn}\", which is not the Arn of a function of this template: use !GetAtt Function.Arn");
            fields.wrong(property, &message);
            return None;
        };
        let function = self.functions.iter().find(|function| function.logical_id == resource.id)?;
        Some(function.name.clone())
    }
}

/// The property `IdentitySource`.
pub(super) fn identity_sources(fields: &Fields<'_>) -> Vec<IdentitySource> {
    let sources = fields.texts("IdentitySource").unwrap_or_default();
    let sources = sources.iter().filter_map(|source| {
        let parsed = identity_source(source);
        if parsed.is_none() {
            let known = "route.request.header.x, route.request.querystring.x, stageVariables.x or context.x";
            fields.wrong("IdentitySource", &format!("has \"{source}\", which is not {known}"));
        }
        parsed
    });
    sources.collect()
}

fn identity_source(expression: &str) -> Option<IdentitySource> {
    let named = |prefix| expression.strip_prefix(prefix).filter(|name| !name.is_empty()).map(str::to_owned);
    named("route.request.header.")
        .map(IdentitySource::Header)
        .or_else(|| named("route.request.querystring.").map(IdentitySource::QueryString))
        .or_else(|| named("stageVariables.").map(IdentitySource::StageVariable))
        .or_else(|| named("context.").map(IdentitySource::Context))
}

impl Context<'_> {
    /// `RequestModels`: names of models, with the schemas behind them.
    pub(super) fn request_models(&self, fields: &Fields<'_>) -> BTreeMap<String, serde_json::Value> {
        let mut models = BTreeMap::new();
        let Some(node) = fields.node("RequestModels") else { return models };
        if !matches!(node.data, Data::Map(_)) {
            self.problems.push(node.not("RequestModels", "a map"));
        }
        for entry in node.entries() {
            let Some(name) = self.problems.keep(entry.value.expect_text("A value of RequestModels")) else { continue };
            match raw_api::model(self, &name) {
                Some(schema) => drop(models.insert(entry.key.clone(), schema)),
                None => {
                    let message = format!("RequestModels names \"{name}\", which is not a model of this template");
                    self.problems.add(entry.line, message);
                }
            }
        }
        models
    }
}
