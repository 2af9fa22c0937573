//! The resources: a schema for each type, and a function that builds its part of the model.
//!
//! To add a type, add a [`Kind`](crate::resource::Kind), the values of its references (`references.rs`), and a module
//! here.

pub(crate) mod api_key;
mod aws_policy;
pub(crate) mod bucket;
pub(crate) mod code;
pub(crate) mod esbuild;
pub(crate) mod event;
pub(crate) mod event_invoke;
pub(crate) mod event_rule;
pub(crate) mod event_source;
pub(crate) mod event_source_mapping;
pub(crate) mod function;
pub(crate) mod function_url;
pub(crate) mod http_api;
pub(crate) mod http_event;
pub(crate) mod integration;
pub(crate) mod notification;
mod openapi;
pub(crate) mod policy;
mod policy_template;
pub(crate) mod queue;
pub(crate) mod raw_api;
pub(crate) mod response_headers;
pub(crate) mod rest_api;
pub(crate) mod rest_event;
pub(crate) mod schedule;
pub(crate) mod simple_table;
pub(crate) mod stream_source;
pub(crate) mod table;
pub(crate) mod table_keys;
mod target;
pub(crate) mod topic;
pub(crate) mod trigger;
pub(crate) mod user_pool;
pub(crate) mod websocket;

use std::collections::BTreeMap;
use std::path::Path;

use crate::error::{Problem, Problems};
use crate::fields::{Fields, Schema};
use crate::model::Function;
use crate::resource::{Kind, Resource};
use crate::scope::Scope;
use crate::yaml::Entry;

pub(crate) use api_key::api_keys;
pub(crate) use bucket::buckets;
pub(crate) use event_rule::{event_buses, event_rules};
pub(crate) use function::{FUNCTION, functions};
pub(crate) use http_api::{HTTP_API, http_apis};
pub(crate) use policy::Policies;
pub(crate) use queue::queues;
pub(crate) use response_headers::response_headers;
pub(crate) use rest_api::{REST_API, rest_apis};
pub(crate) use simple_table::SIMPLE_TABLE;
pub(crate) use table::tables;
pub(crate) use topic::topics;
pub(crate) use user_pool::{user_pool_clients, user_pool_domains, user_pools};
pub(crate) use websocket::{WEBSOCKET_API, websocket_apis};

/// Properties that may refer to resources which are not run here: nothing that they say of such a resource has an
/// effect.
const LENIENT: [&str; 12] = [
    "DestinationConfig",
    "EventInvokeConfig",
    "EventBusName",
    "Events",
    "IntegrationUri",
    "ManagedPolicyArns",
    "NotificationConfiguration",
    "Policies",
    "PolicyDocument",
    "Role",
    "Roles",
    "Targets",
];

/// The inputs of the functions that build the model.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    pub(crate) scope: &'a Scope<'a>,
    pub(crate) problems: &'a Problems,
    /// The template's folder.
    pub(crate) folder: &'a Path,
}

impl<'a> Context<'a> {
    /// The resource's properties, resolved one by one, so that one problem does not hide another.
    pub(crate) fn fields(&self, resource: &Resource, schema: &'static Schema) -> Fields<'a> {
        let mut values = BTreeMap::new();
        for Entry { line, key, value } in resource.properties.entries() {
            let value = if schema.ignored.contains(&key.as_str()) {
                None
            } else {
                let resolved = match LENIENT.contains(&key.as_str()) {
                    true => self.scope.leniently(|| self.scope.resolve(value)).0,
                    false => self.scope.resolve(value),
                };
                match self.problems.keep(resolved) {
                    // AWS::NoValue counts as absent.
                    Some(None) => continue,
                    resolved => resolved.flatten(),
                }
            };
            values.insert(key.clone(), (*line, value));
        }
        Fields::checked(schema, resource.line, values, self.problems)
    }

    /// Notes a part that is needed and not read. A run may do without it.
    pub(crate) fn not_read(&self, line: usize, message: String) {
        match self.scope.locals.allow_missing {
            true => self.problems.note(line, message),
            false => self.problems.add(line, message + " (--allow-missing leaves them out)"),
        }
    }

    /// The function that an ARN or a name stands for: the function's own, with a version or alias, or within the URI of
    /// an integration.
    pub(crate) fn function(&self, named: &str) -> Option<&'a Resource> {
        let arn = match named.split_once("/functions/") {
            Some((_, rest)) => rest.strip_suffix("/invocations")?,
            None => named,
        };
        self.scope.present(Kind::Function).find(|function| {
            let is = |value: Result<String, Problem>| {
                value.is_ok_and(|value| {
                    arn.strip_prefix(value.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
                })
            };
            is(function.attribute(self.scope, function.line, "Arn")) || is(function.name(self.scope))
        })
    }

    /// Notes that a property names no function of the template.
    pub(crate) fn missing_function(&self, fields: &Fields<'_>, property: &str, named: &str) {
        let message =
            format!("is \"{named}\", which is not the Arn of a function of this template: use !GetAtt Function.Arn");
        fields.wrong(property, &message);
    }

    /// [`Function::name`] of the function whose ARN or name the property has. A function with problems of its own is
    /// not reported again here.
    pub(crate) fn function_name(&self, fields: &Fields<'_>, property: &str, functions: &[Function]) -> Option<String> {
        let named = fields.text(property)?;
        let Some(resource) = self.function(&named) else {
            self.missing_function(fields, property, &named);
            return None;
        };
        functions.iter().find(|function| function.logical_id == resource.id).map(|function| function.name.clone())
    }
}
