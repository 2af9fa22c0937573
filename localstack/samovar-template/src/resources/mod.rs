//! The resources: for each type its schema, and a function that builds its part of the model.
//!
//! To teach the reader a type: a [`Kind`](crate::resource::Kind), what references to it give (`references.rs`), and a module here.

pub(crate) mod bucket;
mod event;
pub(crate) mod event_source;
mod function;
pub(crate) mod http_api;
pub(crate) mod http_event;
pub(crate) mod policy;
pub(crate) mod queue;
pub(crate) mod response_headers;
pub(crate) mod schedule;
pub(crate) mod table;
mod table_keys;
pub(crate) mod user_pool;
pub(crate) mod websocket;

use std::collections::BTreeMap;
use std::path::Path;

use crate::error::Problems;
use crate::fields::{Fields, Schema};
use crate::resource::Resource;
use crate::scope::Scope;
use crate::yaml::Entry;

pub(crate) use bucket::buckets;
pub(crate) use function::{FUNCTION, functions};
pub(crate) use http_api::{HTTP_API, http_apis};
pub(crate) use policy::managed_policies;
pub(crate) use queue::queues;
pub(crate) use response_headers::response_headers;
pub(crate) use table::tables;
pub(crate) use user_pool::{user_pool_clients, user_pool_domains, user_pools};
pub(crate) use websocket::{WEBSOCKET_API, websocket_apis};

/// What the builders of the model have at hand.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    pub(crate) scope: &'a Scope<'a>,
    pub(crate) problems: &'a Problems,
    /// Where the template is.
    pub(crate) folder: &'a Path,
}

impl<'a> Context<'a> {
    /// The resource's properties, resolved one by one so that one problem does not hide another.
    pub(crate) fn fields(&self, resource: &Resource, schema: &'static Schema) -> Fields<'a> {
        let mut values = BTreeMap::new();
        for Entry { line, key, value } in resource.properties.entries() {
            let value = if schema.ignored.contains(&key.as_str()) {
                None
            } else {
                match self.problems.keep(self.scope.resolve(value)) {
                    // AWS::NoValue: as if it were not there.
                    Some(None) => continue,
                    resolved => resolved.flatten(),
                }
            };
            values.insert(key.clone(), (*line, value));
        }
        Fields::checked(schema, resource.line, values, self.problems)
    }
}
