//! A function's `Events` of the type `HttpApi`: the routes of the HTTP APIs, with what SAM makes of their `Auth`.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Context;
use super::event::{EVENT, HTTP_API_EVENT};
use crate::fields::{Fields, Schema};
use crate::model::{Authorization, Function, HttpApi, HttpRoute};
use crate::resource::{Kind, Resource};
use crate::route_key::{METHODS, RouteKey};
use crate::yaml::{Data, Entry, Node};

pub(crate) const HTTP_EVENT: Schema = Schema {
    subject: "An event of the type HttpApi",
    required: &[],
    optional: &["ApiId", "Auth", "Method", "Path", "PayloadFormatVersion", "TimeoutInMillis"],
    ignored: &["RouteSettings"],
};

pub(crate) const EVENT_AUTH: Schema = Schema {
    subject: "Auth of an event of the type HttpApi",
    required: &[],
    optional: &["AuthorizationScopes", "Authorizer"],
    ignored: &[],
};

const LONGEST_TIMEOUT_MS: u32 = 30_000;
/// What takes an event out of the default authorizer's hands.
const NO_AUTHORIZER: &str = "NONE";

/// What events need to know of their API beside its model.
#[derive(Debug)]
pub(super) struct Auth {
    pub(super) default_authorizer: Option<String>,
    /// `AuthorizationScopes` of each authorizer, for events that have none of their own. Also of authorizers with problems.
    pub(super) scopes: BTreeMap<String, Vec<String>>,
}

/// The names of a function's events of this type, before anything is resolved.
pub(crate) fn names(function: &Resource) -> Vec<String> {
    let events = function.properties.get("Events").map(Node::entries).unwrap_or_default();
    let is_http = |entry: &&Entry| entry.value.get("Type").and_then(Node::as_text).as_deref() == Some(HTTP_API_EVENT);
    events.iter().filter(is_http).map(|entry| entry.key.clone()).collect()
}

/// Gives the APIs their routes.
pub(super) fn routes(context: &Context<'_>, functions: &[Function], apis: &mut [(HttpApi, Auth)]) {
    for resource in context.scope.present(Kind::Function) {
        let events =
            resource.properties.get("Events").and_then(|node| context.problems.keep(context.scope.resolve(node)));
        for entry in events.flatten().iter().flat_map(Node::entries) {
            // What is wrong with an event as such has been noted with its function.
            if entry.value.get("Type").and_then(Node::as_text).as_deref() != Some(HTTP_API_EVENT) {
                continue;
            }
            let event = Fields::new(&EVENT, &entry.value, context.problems);
            let Some(properties) = event.map("Properties", &HTTP_EVENT) else { continue };
            let function = functions.iter().find(|function| function.logical_id == resource.id);
            route(context, &properties, function, apis);
        }
    }
}

fn route(
    context: &Context<'_>,
    properties: &Fields<'_>,
    function: Option<&Function>,
    apis: &mut [(HttpApi, Auth)],
) -> Option<()> {
    let key = key(properties);
    let timeout = properties.integer("TimeoutInMillis", 50..=LONGEST_TIMEOUT_MS).unwrap_or(LONGEST_TIMEOUT_MS);
    if properties.text("PayloadFormatVersion").is_some_and(|version| version != "2.0") {
        properties.wrong("PayloadFormatVersion", "can only be \"2.0\" in the local stack");
    }
    let (api, auth) = api(properties, apis)?;
    let authorization = authorization(properties, auth);
    let key = key?;
    if api.routes.iter().any(|route| route.key.equals_but_for_names(&key)) {
        let line = properties.line(if properties.has("Path") { "Path" } else { "ApiId" });
        context.problems.add(line, format!("Another event has the route {key} of {} already", api.logical_id));
    }
    api.routes.push(HttpRoute {
        key,
        function: function?.name.clone(),
        integration_timeout: Duration::from_millis(timeout.into()),
        authorization,
    });
    Some(())
}

fn key(properties: &Fields<'_>) -> Option<RouteKey> {
    match (properties.has("Path"), properties.has("Method")) {
        (false, false) => return Some(RouteKey::Default),
        (true, true) => {}
        (true, false) => properties.wrong("Path", "needs Method beside it: without both it is the $default route"),
        (false, true) => properties.wrong("Method", "needs Path beside it: without both it is the $default route"),
    }
    let (method, path) = (properties.text("Method"), properties.text("Path"));
    if let Some(method) = &method
        && !METHODS.contains(&method.to_ascii_uppercase().as_str())
    {
        properties.wrong("Method", &format!("is \"{method}\", but AWS takes {}", METHODS.join(", ")));
    }
    let path = path?;
    let key = RouteKey::parse(&method?, &path);
    key.map_err(|why| properties.wrong("Path", &format!("is \"{path}\", but it {why}"))).ok()
}

fn api<'a>(properties: &Fields<'_>, apis: &'a mut [(HttpApi, Auth)]) -> Option<&'a mut (HttpApi, Auth)> {
    if !properties.has("ApiId") {
        let message =
            "is missing: the local stack has no implicit API, so declare an AWS::Serverless::HttpApi and refer to it";
        properties.wrong("ApiId", message);
    }
    let id = properties.text("ApiId")?;
    let api = apis.iter_mut().find(|(api, _)| api.api_id == id);
    if api.is_none() {
        let message = format!("is \"{id}\", which is not an HTTP API of this template: use !Ref Api");
        properties.wrong("ApiId", &message);
    }
    api
}

/// As SAM does it: the event's own authorizer goes before the default one, its scopes before those of the authorizer.
fn authorization(properties: &Fields<'_>, auth: &Auth) -> Option<Authorization> {
    let own = properties.node("Auth").filter(|node| !matches!(&node.data, Data::Map(entries) if entries.is_empty()));
    let own = own.map(|node| Fields::new(&EVENT_AUTH, node, properties.problems()));
    let named = own.as_ref().and_then(|own| own.text("Authorizer"));
    let scopes = own.as_ref().and_then(|own| own.texts("AuthorizationScopes")).unwrap_or_default();
    let authorizer = match (named, &auth.default_authorizer) {
        (Some(name), default) if name == NO_AUTHORIZER && !auth.scopes.contains_key(NO_AUTHORIZER) => {
            if default.is_none() {
                properties.wrong(
                    "Auth",
                    "has the Authorizer NONE, which AWS takes only where the API has a DefaultAuthorizer",
                );
            }
            return None;
        }
        (Some(name), _) => name,
        (None, Some(default)) => default.clone(),
        (None, None) => {
            if own.is_some() {
                properties.wrong("Auth", "needs an Authorizer, because the API has no DefaultAuthorizer");
            }
            return None;
        }
    };
    let Some(defaults) = auth.scopes.get(&authorizer) else {
        properties.wrong("Auth", &format!("has the Authorizer \"{authorizer}\", which its API does not have"));
        return None;
    };
    Some(Authorization { authorizer, scopes: if scopes.is_empty() { defaults.clone() } else { scopes } })
}
