//! `Globals`: properties for all resources of a type, merged in the way SAM merges them.
//!
//! Maps are merged, lists are appended (the global items first), and any other value is replaced. An intrinsic function
//! counts as a scalar. Merging happens before resolving, as in SAM, so a list from `!If` replaces and does not append.

use std::collections::BTreeMap;

use super::error::{Problems, hint};
use super::fields::Schema;
use super::resource::Kind;
use super::resources::{FUNCTION, HTTP_API, WEBSOCKET_API};
use super::yaml::{Data, Entry, Node};

/// The sections of `Globals`, each with the properties that SAM accepts only on the resources themselves.
const SECTIONS: [(&str, Kind, &Schema, &[&str]); 3] = [
    ("Function", Kind::Function, &FUNCTION, &["Events", "FunctionName", "Policies"]),
    ("HttpApi", Kind::HttpApi, &HTTP_API, &["Description", "DisableExecuteApiEndpoint", "Name", "StageName"]),
    ("WebSocketApi", Kind::WebSocketApi, &WEBSOCKET_API, &["Auth", "Description", "Name", "Routes", "StageName"]),
];

#[derive(Debug, Default)]
pub(crate) struct Globals(BTreeMap<Kind, Node>);

impl Globals {
    pub(crate) fn read(section: Option<&Node>, problems: &Problems) -> Self {
        let mut globals = BTreeMap::new();
        for entry in section.map(Node::entries).unwrap_or_default() {
            let Some((name, kind, schema, forbidden)) = SECTIONS.iter().find(|(name, ..)| *name == entry.key) else {
                let hint = hint(&entry.key, SECTIONS.iter().map(|(name, ..)| *name));
                problems.add(entry.line, format!("Globals.{} is not understood{hint}", entry.key));
                continue;
            };
            if !matches!(entry.value.data, Data::Map(_)) {
                problems.push(entry.value.not(&format!("Globals.{name}"), "a map"));
                continue;
            }
            for property in entry.value.entries() {
                let known = || schema.names().filter(|known| !forbidden.contains(known));
                if !known().any(|known| known == property.key) {
                    let message =
                        format!("Globals.{name} cannot have \"{}\"{}", property.key, hint(&property.key, known()));
                    problems.add(property.line, message);
                }
            }
            globals.insert(*kind, entry.value.clone());
        }
        Self(globals)
    }

    /// A resource's properties with the global ones, except for what `IgnoreGlobals` names.
    pub(crate) fn merge(&self, kind: Kind, ignored: &[String], local: Node) -> Node {
        let Some(global) = self.0.get(&kind) else { return local };
        if ignored.iter().any(|name| name == "*") {
            return local;
        }
        let kept = global.entries().iter().filter(|entry| !ignored.contains(&entry.key)).cloned().collect();
        merge(Node { line: global.line, data: Data::Map(kept) }, local)
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
