//! `DefinitionBody` and `DefinitionUri` of a REST API: routes and authorizers in OpenAPI, with API Gateway's extensions
//! ("OpenAPI extensions for API Gateway" in its developer guide).
//!
//! What describes the API to people and tools, such as schemas and answers, has no effect.

use std::time::Duration;

use serde_json::Value;

use super::Context;
use super::rest_event::{Auth, DEFAULT_TIMEOUT_MS};
use super::websocket::IAM;
use crate::error::Problems;
use crate::model::{Authorization, Function, RestApi, RestAuthorizer, RestMock, RestRoute};
use crate::route_key::{METHODS, RouteKey};
use crate::yaml::{Data, Entry, Node, parse};

const ANY: &str = "x-amazon-apigateway-any-method";
const INTEGRATION: &str = "x-amazon-apigateway-integration";
const AUTHORIZER: &str = "x-amazon-apigateway-authorizer";
const AUTH_TYPE: &str = "x-amazon-apigateway-authtype";
const VALIDATOR: &str = "x-amazon-apigateway-request-validator";
const BINARY: &str = "x-amazon-apigateway-binary-media-types";
/// The header of API keys, and the name of their scheme in SAM.
const API_KEY: &str = "x-api-key";
/// The values that an identity can have, by the beginnings of their names.
const SOURCES: [&str; 4] = ["method.request.header.", "method.request.querystring.", "stageVariables.", "context."];
/// API Gateway's own, which differs from SAM's.
const DEFAULT_CACHE_SECONDS: u64 = 300;

/// Reads the definition in a file on this machine. Nothing is returned if it can't be read.
pub(super) fn file(context: &Context<'_>, line: usize, path: &str) -> Option<Node> {
    let path = context.folder.join(path);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) => {
            context.problems.add(line, format!("The definition {} can't be read: {error}", path.display()));
            return None;
        }
    };
    let own = Problems::default();
    let node = parse(&text, &own);
    for problem in own.errors() {
        context.problems.add(line, format!("{}:{}: {}", path.display(), problem.line, problem.message));
    }
    node
}

/// The definition of an API.
pub(super) struct Definition<'a> {
    context: &'a Context<'a>,
    functions: &'a [Function],
    node: &'a Node,
    /// The same without lines.
    whole: Value,
    /// The API's own, for parts without one.
    line: usize,
}

impl<'a> Definition<'a> {
    pub(super) fn of(context: &'a Context<'a>, functions: &'a [Function], node: &'a Node, line: usize) -> Self {
        Self { context, functions, node, whole: node.to_json(), line }
    }

    /// Adds what the definition has to the API.
    pub(super) fn add_to(&self, api: &mut RestApi, auth: &mut Auth) {
        let whole = &self.whole;
        if !whole.is_object() {
            self.context.problems.push(self.node.not("An OpenAPI definition", "a map"));
            return;
        }
        api.binary_media_types.extend(texts(&whole[BINARY]));
        self.authorizers(api);
        let mut validates = whole.get(VALIDATOR).is_some();
        for Entry { key: path, value: item, .. } in self.node.get("paths").into_iter().flat_map(Node::entries) {
            for Entry { line, key: method, value: operation } in item.entries() {
                let method = if method == ANY { "ANY".to_owned() } else { method.to_ascii_uppercase() };
                // The others describe the path.
                if METHODS.contains(&method.as_str()) {
                    let operation = operation.to_json();
                    validates |= operation.get(VALIDATOR).is_some();
                    self.route((*line, &method, path), &operation, api, auth);
                }
            }
        }
        if validates {
            let message = format!("{}: requests are not validated here", api.logical_id);
            self.context.problems.note(self.line, message);
        }
    }

    fn route(
        &self,
        (line, method, path): (usize, &str, &str),
        operation: &Value,
        api: &mut RestApi,
        auth: &mut Auth,
    ) -> Option<()> {
        let problems = self.context.problems;
        // API Gateway makes the same resource of a path with a slash at its end.
        let bare = path.strip_suffix('/').filter(|bare| !bare.is_empty()).unwrap_or(path);
        let key = RouteKey::parse(method, bare);
        let key = key.map_err(|why| problems.add(line, format!("The path \"{path}\" of the definition {why}"))).ok()?;
        let integration = &operation[INTEGRATION];
        let kind = integration["type"].as_str().unwrap_or("none").to_ascii_uppercase();
        if kind == "MOCK" {
            match mock(key.clone(), integration) {
                Some(mock) => api.mocks.push(mock),
                None => drop(api.other_integrations.insert(key.to_string(), "MOCK with templates".to_owned())),
            }
            return Some(());
        }
        if kind != "AWS_PROXY" {
            api.other_integrations.insert(key.to_string(), kind);
            return None;
        }
        let uri = integration["uri"].as_str().unwrap_or_default();
        let Some(function) = self.context.function(uri) else {
            problems.add(line, format!("The integration of {key} has the uri \"{uri}\", which names no function here"));
            return None;
        };
        let function = self.functions.iter().find(|one| one.logical_id == function.id)?.name.clone();
        let timeout = integration["timeoutInMillis"].as_u64().unwrap_or(DEFAULT_TIMEOUT_MS.into());
        let (authorization, api_key_required) = self.security(operation, auth);
        auth.defined.push(key.clone());
        api.routes.push(RestRoute {
            key,
            function,
            integration_timeout: Duration::from_millis(timeout),
            authorization,
            api_key_required,
        });
        Some(())
    }

    /// The schemes that an operation needs, or all operations, or by default SAM's authorizer.
    fn security(&self, operation: &Value, auth: &Auth) -> (Option<Authorization>, bool) {
        let needed = operation.get("security").or_else(|| self.whole.get("security")).and_then(Value::as_array);
        let Some(needed) = needed else {
            let named = auth.default_authorizer.clone();
            let scopes = named.as_ref().and_then(|name| auth.scopes.get(name)).cloned().unwrap_or_default();
            return (named.map(|authorizer| Authorization { authorizer, scopes }), auth.api_key_required);
        };
        let (mut authorization, mut key_required) = (None, false);
        for (name, scopes) in needed.iter().filter_map(Value::as_object).flatten() {
            let scheme = scheme(&self.whole, name);
            if scheme.get(AUTHORIZER).is_some() {
                authorization = Some(Authorization { authorizer: name.clone(), scopes: texts(scopes) });
            } else if scheme[AUTH_TYPE].as_str().is_some_and(|kind| kind.eq_ignore_ascii_case("awsSigv4")) {
                authorization = Some(Authorization { authorizer: IAM.to_owned(), scopes: Vec::new() });
            } else if scheme["name"].as_str().is_some_and(|header| header.eq_ignore_ascii_case(API_KEY)) {
                key_required = true;
            }
        }
        (authorization, key_required)
    }

    fn authorizers(&self, api: &mut RestApi) {
        let whole = &self.whole;
        let schemes = [&whole["components"]["securitySchemes"], &whole["securityDefinitions"]];
        for (name, scheme) in schemes.into_iter().filter_map(Value::as_object).flatten() {
            let Some(authorizer) = scheme.get(AUTHORIZER) else { continue };
            let seconds = authorizer["authorizerResultTtlInSeconds"].as_u64().unwrap_or(DEFAULT_CACHE_SECONDS);
            let cache = Duration::from_secs(seconds);
            let header = scheme["name"].as_str().unwrap_or("Authorization").to_owned();
            let uri = authorizer["authorizerUri"].as_str().unwrap_or_default();
            let function = || {
                let id = &self.context.function(uri)?.id;
                self.functions.iter().find(|one| one.logical_id == *id).map(|one| one.name.clone())
            };
            let read = match authorizer["type"].as_str().unwrap_or_default().to_ascii_lowercase().as_str() {
                "cognito_user_pools" => {
                    Some(RestAuthorizer::Cognito { user_pools: texts(&authorizer["providerARNs"]), header })
                }
                "token" => function().map(|function| RestAuthorizer::Token {
                    function,
                    header,
                    validation: authorizer["identityValidationExpression"].as_str().map(str::to_owned),
                    cache,
                }),
                "request" => function().map(|function| {
                    let sources = authorizer["identitySource"].as_str().unwrap_or_default();
                    self.request_authorizer(name, function, sources, cache)
                }),
                other => {
                    let message = format!("The authorizer {name} of the definition is of the type \"{other}\"");
                    self.context.problems.add(self.line, message + " (known: cognito_user_pools, request, token)");
                    continue;
                }
            };
            match read {
                Some(read) => drop(api.authorizers.insert(name.clone(), read)),
                None => {
                    let message = format!("The authorizer {name} has the uri \"{uri}\", which names no function here");
                    self.context.problems.add(self.line, message);
                }
            }
        }
    }

    /// An authorizer that gets the request. `sources` are separated by commas.
    fn request_authorizer(&self, name: &str, function: String, sources: &str, cache: Duration) -> RestAuthorizer {
        let mut named: [Vec<String>; 4] = Default::default();
        let sources: Vec<&str> = sources.split(',').map(str::trim).filter(|source| !source.is_empty()).collect();
        for source in &sources {
            let found = SOURCES.iter().zip(&mut named).find_map(|(prefix, names)| {
                let name = source.strip_prefix(prefix).filter(|name| !name.is_empty())?;
                names.push(name.to_owned());
                Some(())
            });
            if found.is_none() {
                let message = format!("The authorizer {name} has the identitySource \"{source}\"");
                self.context.problems.add(self.line, format!("{message} (known: {})", SOURCES.join("…, ") + "…"));
            }
        }
        if sources.is_empty() && !cache.is_zero() {
            let message = format!("The authorizer {name} keeps its answers, so it needs an identitySource");
            self.context.problems.add(self.line, message + " (or authorizerResultTtlInSeconds: 0)");
        }
        let [headers, query_strings, stage_variables, context] = named;
        RestAuthorizer::Request { function, headers, query_strings, stage_variables, context, cache }
    }
}

fn scheme<'a>(whole: &'a Value, name: &str) -> &'a Value {
    let found = &whole["components"]["securitySchemes"][name];
    if found.is_null() { &whole["securityDefinitions"][name] } else { found }
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// A mock without expressions: its answer is always the same.
fn mock(key: RouteKey, integration: &Value) -> Option<RestMock> {
    let is_plain = |text: &str| !text.contains(['$', '#']);
    let templates = integration["requestTemplates"].as_object()?;
    let template = templates.get("application/json").or_else(|| templates.values().next())?.as_str()?;
    let asked: Value = serde_json::from_str(template).ok().filter(|_| is_plain(template))?;
    let asked = number(&asked["statusCode"])?.to_string();
    let responses = integration["responses"].as_object()?;
    let response = responses.get(&asked).or_else(|| responses.get("default"))?;
    let mut mock = RestMock { key, status: number(&response["statusCode"])?, headers: Vec::new(), body: String::new() };
    for (name, value) in response["responseParameters"].as_object().into_iter().flatten() {
        let name = name.strip_prefix("method.response.header.")?;
        let value = value.as_str()?.strip_prefix('\'')?.strip_suffix('\'')?;
        mock.headers.push((name.to_owned(), value.to_owned()));
    }
    for template in response["responseTemplates"].as_object().into_iter().flat_map(|templates| templates.values()) {
        template.as_str().filter(|text| is_plain(text))?.clone_into(&mut mock.body);
    }
    Some(mock)
}

fn number(value: &Value) -> Option<u16> {
    match value {
        Value::String(text) => text.parse().ok(),
        number => number.as_u64()?.try_into().ok(),
    }
}

/// Whether this is a map, so that it is not the path of a file.
pub(super) fn is_elsewhere(node: &Node) -> bool {
    matches!(node.data, Data::Map(_)) || node.as_text().is_some_and(|uri| uri.contains("://"))
}
