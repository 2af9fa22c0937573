//! A function's `Events` of the type `HttpApi`: the routes of the HTTP APIs, with the authorization that SAM derives.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Context;
use super::event::{EVENT, HTTP_API};
use super::http_api::payload_format;
use super::websocket::IAM;
use crate::declarations::IMPLICIT_HTTP_API;
use crate::fields::{Fields, Schema};
use crate::model::{Authorization, Function, HttpApi, HttpRoute, PayloadFormat};
use crate::resource::Kind;
use crate::route_key::{METHODS, RouteKey};
use crate::yaml::{Data, Node};

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
/// The name that exempts an event from the default authorizer.
const NO_AUTHORIZER: &str = "NONE";

/// The facts about an API that its events need and its model does not have.
#[derive(Debug, Default)]
pub(super) struct Auth {
    pub(super) default_authorizer: Option<String>,
    /// `AuthorizationScopes` of each authorizer, for events without scopes of their own. Invalid authorizers are
    /// included.
    pub(super) scopes: BTreeMap<String, Vec<String>>,
}

/// Adds the routes to the APIs.
pub(super) fn routes(context: &Context<'_>, functions: &[Function], apis: &mut [(HttpApi, Auth)]) {
    for resource in context.scope.present(Kind::Function) {
        let events = resource.properties.get("Events");
        // The other events may refer to resources that are not run here.
        let events =
            events.and_then(|node| context.problems.keep(context.scope.leniently(|| context.scope.resolve(node)).0));
        for entry in events.flatten().iter().flat_map(Node::entries) {
            // Problems of the event itself have been noted with its function.
            if entry.value.get("Type").and_then(Node::as_text).as_deref() != Some(HTTP_API) {
                continue;
            }
            let event = Fields::new(&EVENT, &entry.value, context.problems);
            let none = Node { line: entry.line, data: Data::Map(Vec::new()) };
            let properties = Fields::new(&HTTP_EVENT, event.node("Properties").unwrap_or(&none), context.problems);
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
    let format = properties.text("PayloadFormatVersion");
    let payload_format = payload_format(properties, "PayloadFormatVersion", format, PayloadFormat::V2);
    let (api, auth) = api(properties, apis)?;
    let authorization = authorization(properties, auth);
    let key = key?;
    if api.routes.iter().any(|route| route.key.equals_but_for_names(&key)) {
        let line = properties.line(if properties.has("Path") { "Path" } else { "ApiId" });
        context.problems.add(line, format!("Another event already has the route {key} of {}", api.logical_id));
    }
    api.routes.push(HttpRoute {
        key,
        function: function?.name.clone(),
        integration_timeout: Duration::from_millis(timeout.into()),
        payload_format,
        authorization,
    });
    Some(())
}

fn key(properties: &Fields<'_>) -> Option<RouteKey> {
    match (properties.has("Path"), properties.has("Method")) {
        (false, false) => return Some(RouteKey::Default),
        (true, true) => {}
        (true, false) => {
            properties.wrong("Path", "needs Method beside it; an event without both is the $default route")
        }
        (false, true) => {
            properties.wrong("Method", "needs Path beside it; an event without both is the $default route")
        }
    }
    let (method, path) = (properties.text("Method"), properties.text("Path"));
    if let Some(method) = &method
        && !METHODS.contains(&method.to_ascii_uppercase().as_str())
    {
        properties.wrong("Method", &format!("is \"{method}\", but AWS takes {}", METHODS.join(", ")));
    }
    let path = path?;
    let key = RouteKey::parse(&method?, &path);
    key.map_err(|why| properties.wrong("Path", &format!("is \"{path}\", but a path {why}"))).ok()
}

/// The API of an event: the one that it names, or the implicit one.
fn api<'a>(properties: &Fields<'_>, apis: &'a mut [(HttpApi, Auth)]) -> Option<&'a mut (HttpApi, Auth)> {
    let id = match properties.has("ApiId") {
        true => properties.text("ApiId")?,
        false => IMPLICIT_HTTP_API.to_lowercase(),
    };
    let api = apis.iter_mut().find(|(api, _)| api.api_id == id);
    if api.is_none() {
        let message = format!("is \"{id}\", which is not an HTTP API of this template: use !Ref Api");
        properties.wrong("ApiId", &message);
    }
    api
}

/// As in SAM, the event's own authorizer precedes the default one, and its scopes precede those of the authorizer.
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
    if authorizer == IAM && !auth.scopes.contains_key(IAM) {
        properties.wrong("Auth", "has the Authorizer AWS_IAM, which AWS takes only with EnableIamAuthorizer: true");
        return None;
    }
    let Some(defaults) = auth.scopes.get(&authorizer) else {
        properties.wrong("Auth", &format!("has the Authorizer \"{authorizer}\", which its API does not have"));
        return None;
    };
    Some(Authorization { authorizer, scopes: if scopes.is_empty() { defaults.clone() } else { scopes } })
}
