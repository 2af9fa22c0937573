//! `Globals`: properties for all resources of a type, merged in the way SAM merges them.
//!
//! Maps are merged, lists are appended (the global items first), and any other value is replaced. An intrinsic function
//! counts as a scalar. Merging happens before resolving, as in SAM, so a list from `!If` replaces and does not append.

use std::collections::BTreeMap;

use super::error::{Problems, hint};
use super::fields::Schema;
use super::resource::{self, Resource};
use super::resources::{FUNCTION, HTTP_API, REST_API, SIMPLE_TABLE, WEBSOCKET_API};
use super::yaml::{Data, Entry, Node};

/// The sections of `Globals`, each with the properties that SAM accepts only on the resources themselves.
const SECTIONS: [(&str, &str, &Schema, &[&str]); 5] = [
    ("Api", "AWS::Serverless::Api", &REST_API, &["Description", "DisableExecuteApiEndpoint", "StageName"]),
    ("Function", "AWS::Serverless::Function", &FUNCTION, &["Events", "FunctionName", "Policies", "Role"]),
    (
        "HttpApi",
        "AWS::Serverless::HttpApi",
        &HTTP_API,
        &["Description", "DisableExecuteApiEndpoint", "Name", "StageName"],
    ),
    ("SimpleTable", resource::SIMPLE_TABLE, &SIMPLE_TABLE, &["PrimaryKey", "TableName", "Tags"]),
    (
        "WebSocketApi",
        "AWS::Serverless::WebSocketApi",
        &WEBSOCKET_API,
        &["Auth", "Description", "Name", "Routes", "StageName"],
    ),
];

/// Sections for types that the local stack does not run.
const PASSED_OVER: [&str; 3] = ["CapacityProvider", "LayerVersion", "StateMachine"];

#[derive(Debug, Default)]
pub(crate) struct Globals(BTreeMap<&'static str, Node>);

impl Globals {
    pub(crate) fn read(section: Option<&Node>, problems: &Problems) -> Self {
        let mut globals = BTreeMap::new();
        for entry in section.map(Node::entries).unwrap_or_default() {
            let Some((name, type_name, schema, forbidden)) = SECTIONS.iter().find(|(name, ..)| *name == entry.key)
            else {
                if !PASSED_OVER.contains(&entry.key.as_str()) {
                    let hint = hint(&entry.key, SECTIONS.iter().map(|(name, ..)| *name).chain(PASSED_OVER));
                    problems.add(entry.line, format!("Globals.{} is not understood{hint}", entry.key));
                }
                continue;
            };
            let Data::Map(properties) = &entry.value.data else {
                problems.push(entry.value.not(&format!("Globals.{name}"), "a map"));
                continue;
            };
            let known = || schema.names().filter(|known| !forbidden.contains(known));
            let (kept, wrong): (Vec<Entry>, Vec<Entry>) =
                properties.iter().cloned().partition(|property| known().any(|known| known == property.key));
            for property in wrong {
                let hint = hint(&property.key, known());
                problems.add(property.line, format!("Globals.{name} cannot have \"{}\"{hint}", property.key));
            }
            globals.insert(*type_name, Node { line: entry.value.line, data: Data::Map(kept) });
        }
        Self(globals)
    }

    /// A resource's properties with the global ones, except for what `IgnoreGlobals` names.
    pub(crate) fn merge(&self, resource: Resource, ignored: &[String]) -> Resource {
        let Some(global) = self.0.get(resource.type_name) else { return resource };
        if ignored.iter().any(|name| name == "*") {
            return resource;
        }
        let kept = global.entries().iter().filter(|entry| !ignored.contains(&entry.key)).cloned().collect();
        let properties = merge(Node { line: global.line, data: Data::Map(kept) }, resource.properties);
        Resource { properties, ..resource }
    }
}

fn merge(global: Node, local: Node) -> Node {
    let line = local.line;
    let data = match (global.data, local.data) {
        (Data::Map(mut merged), Data::Map(entries)) => {
            for entry in entries {
                match merged.iter_mut().find(|other| other.key == entry.key) {
                    // SAM replaces this list instead of appending to it. The local stack ignores the property either
                    // way.
                    Some(other) if entry.key == "Architectures" => *other = entry,
                    Some(other) => {
                        let Entry { line, value: global, .. } = other.clone();
                        let is_map = matches!((&global.data, &entry.value.data), (Data::Map(_), Data::Map(_)));
                        other.line = if is_map { line } else { entry.line };
                        other.value = merge(global, entry.value);
                    }
                    None => merged.push(entry),
                }
            }
            Data::Map(merged)
        }
        (Data::List(mut items), Data::List(more)) => {
            items.extend(more);
            Data::List(items)
        }
        (_, local) => local,
    };
    Node { line, data }
}
