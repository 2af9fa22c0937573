//! A function's `Events` of the type `Api`: the routes of the REST APIs, with the authorization that SAM derives.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Context;
use super::event::{EVENT, REST_API};
use super::websocket::IAM;
use crate::declarations::IMPLICIT_REST_API;
use crate::fields::{Fields, Schema};
use crate::model::{Authorization, Function, RestApi, RestRoute};
use crate::resource::Kind;
use crate::route_key::{METHODS, RouteKey};
use crate::yaml::Node;

pub(crate) const REST_EVENT: Schema = Schema {
    subject: "An event of the type Api",
    required: &["Method", "Path"],
    optional: &["Auth", "RestApiId", "TimeoutInMillis"],
    ignored: &["RequestModel", "RequestParameters", "ResponseTransferMode"],
};

pub(crate) const EVENT_AUTH: Schema = Schema {
    subject: "Auth of an event of the type Api",
    required: &[],
    optional: &["ApiKeyRequired", "AuthorizationScopes", "Authorizer"],
    ignored: &["InvokeRole", "OverrideApiAuth", "ResourcePolicy"],
};

pub(super) const DEFAULT_TIMEOUT_MS: u32 = 29_000;
/// Regional and private APIs can have more than the default.
const LONGEST_TIMEOUT_MS: u32 = 900_000;
/// The name that exempts an event from the default authorizer.
const NO_AUTHORIZER: &str = "NONE";

/// The facts about an API that its events need and its model does not have.
#[derive(Debug, Default)]
pub(super) struct Auth {
    pub(super) default_authorizer: Option<String>,
    /// `AuthorizationScopes` of each authorizer. Invalid authorizers are included.
    pub(super) scopes: BTreeMap<String, Vec<String>>,
    pub(super) api_key_required: bool,
    /// The routes of the OpenAPI definition. An event may have the same route, and then the event counts.
    pub(super) defined: Vec<RouteKey>,
}

/// Adds the routes to the APIs.
pub(super) fn routes(context: &Context<'_>, functions: &[Function], apis: &mut [(RestApi, Auth)]) {
    for resource in context.scope.present(Kind::Function) {
        let events = resource.properties.get("Events");
        // The other events may refer to resources that are not run here.
        let events =
            events.and_then(|node| context.problems.keep(context.scope.leniently(|| context.scope.resolve(node)).0));
        for entry in events.flatten().iter().flat_map(Node::entries) {
            // Problems of the event itself have been noted with its function.
            if entry.value.get("Type").and_then(Node::as_text).as_deref() != Some(REST_API) {
                continue;
            }
            let event = Fields::new(&EVENT, &entry.value, context.problems);
            let Some(properties) = event.map("Properties", &REST_EVENT) else {
                event.wrong("Properties", "is missing: an event of the type Api needs Path and Method");
                continue;
            };
            let function = functions.iter().find(|function| function.logical_id == resource.id);
            route(&properties, function, apis);
        }
    }
}

fn route(properties: &Fields<'_>, function: Option<&Function>, apis: &mut [(RestApi, Auth)]) -> Option<()> {
    let key = key(properties);
    let timeout = properties.integer("TimeoutInMillis", 50..=LONGEST_TIMEOUT_MS).unwrap_or(DEFAULT_TIMEOUT_MS);
    let (api, auth) = api(properties, apis)?;
    let (authorization, api_key_required) = authorization(properties, auth);
    let key = key?;
    if let Some(at) = auth.defined.iter().position(|defined| defined.equals_but_for_names(&key)) {
        auth.defined.remove(at);
        api.routes.retain(|route| !route.key.equals_but_for_names(&key));
    }
    if api.routes.iter().any(|route| route.key.equals_but_for_names(&key)) {
        properties.wrong("Path", &format!("makes the route {key} of {}, which another event has too", api.logical_id));
    }
    api.routes.push(RestRoute {
        key,
        function: function?.name.clone(),
        integration_timeout: Duration::from_millis(timeout.into()),
        authorization,
        api_key_required,
    });
    Some(())
}

fn key(properties: &Fields<'_>) -> Option<RouteKey> {
    let (method, path) = (properties.text("Method"), properties.text("Path"));
    if let Some(method) = &method
        && !METHODS.contains(&method.to_ascii_uppercase().as_str())
        && method != "*"
    {
        properties.wrong("Method", &format!("is \"{method}\", but AWS takes {}", METHODS.join(", ")));
    }
    let (method, path) = (method?, path?);
    // API Gateway makes the same resource of a path with a slash at its end.
    let bare = path.strip_suffix('/').filter(|bare| !bare.is_empty()).unwrap_or(&path);
    let key = RouteKey::parse(if method == "*" { "ANY" } else { &method }, bare);
    key.map_err(|why| properties.wrong("Path", &format!("is \"{path}\", but a path {why}"))).ok()
}

/// The API of an event: the one that it names, or the implicit one.
fn api<'a>(properties: &Fields<'_>, apis: &'a mut [(RestApi, Auth)]) -> Option<&'a mut (RestApi, Auth)> {
    let id = match properties.has("RestApiId") {
        true => properties.text("RestApiId")?,
        false => IMPLICIT_REST_API.to_lowercase(),
    };
    let api = apis.iter_mut().find(|(api, _)| api.api_id == id);
    if api.is_none() {
        let message = format!("is \"{id}\", which is not an AWS::Serverless::Api of this template: use !Ref Api");
        properties.wrong("RestApiId", &message);
    }
    api
}

/// As in SAM, the event's own authorizer precedes the default one, and its scopes precede those of the authorizer.
fn authorization(properties: &Fields<'_>, auth: &Auth) -> (Option<Authorization>, bool) {
    let own = properties.map("Auth", &EVENT_AUTH);
    let key_required = own.as_ref().and_then(|own| own.boolean("ApiKeyRequired")).unwrap_or(auth.api_key_required);
    let named = own.as_ref().and_then(|own| own.text("Authorizer"));
    let scopes = own.as_ref().and_then(|own| own.texts("AuthorizationScopes")).unwrap_or_default();
    let Some(authorizer) = named.or_else(|| auth.default_authorizer.clone()) else { return (None, key_required) };
    if authorizer == NO_AUTHORIZER {
        return (None, key_required);
    }
    if authorizer == IAM {
        return (Some(Authorization { authorizer, scopes: Vec::new() }), key_required);
    }
    let Some(defaults) = auth.scopes.get(&authorizer) else {
        properties.wrong("Auth", &format!("has the Authorizer \"{authorizer}\", which its API does not have"));
        return (None, key_required);
    };
    let scopes = if scopes.is_empty() { defaults.clone() } else { scopes };
    (Some(Authorization { authorizer, scopes }), key_required)
}
