//! `Metadata.LocalState`: the application's own data that the local stack shows at `/_local/state`.
//!
//! The local stack knows nothing of the applications it runs, so the template names the parameters and items to show.

use std::collections::BTreeMap;

use super::error::Problems;
use super::fields::{Fields, Schema};
use super::model::{LocalState, Table, TableView};
use super::yaml::{Data, Node};

pub(crate) const LOCAL_STATE: Schema =
    Schema { subject: "Metadata.LocalState", required: &[], optional: &["Parameters", "Tables"], ignored: &[] };

pub(crate) const VIEW: Schema = Schema {
    subject: "Metadata.LocalState.Tables.*",
    required: &["Table", "KeyBeginsWith", "Fields"],
    optional: &["Expires"],
    ignored: &[],
};

pub(super) fn read(
    metadata: Option<&Node>,
    parameters: &BTreeMap<String, String>,
    tables: &[Table],
    problems: &Problems,
) -> LocalState {
    let mut state = LocalState::default();
    // Other entries of the metadata are for other tools.
    let Some(local_state) = metadata.and_then(|metadata| metadata.get("LocalState")) else { return state };
    let local_state = Fields::new(&LOCAL_STATE, local_state, problems);
    for (line, name, parameter) in pairs(&local_state, "Parameters") {
        match parameters.get(&parameter) {
            Some(value) => drop(state.parameters.insert(name, value.clone())),
            None => problems.add(line, format!("{parameter} is not a parameter of this template")),
        }
    }
    for entry in local_state.node("Tables").map(Node::entries).unwrap_or_default() {
        let view = Fields::new(&VIEW, &entry.value, problems);
        let (Some(table), Some(key_begins_with)) = (view.text("Table"), view.text("KeyBeginsWith")) else { continue };
        let Some(found) = tables.iter().find(|candidate| candidate.logical_id == table) else {
            view.wrong("Table", &format!("is {table}, which is not a table of this template"));
            continue;
        };
        let fields = pairs(&view, "Fields").into_iter().map(|(_, name, attribute)| (name, attribute)).collect();
        let view = TableView { table: found.name.clone(), key_begins_with, expires: view.text("Expires"), fields };
        state.tables.insert(entry.key.clone(), view);
    }
    state
}

fn pairs(fields: &Fields<'_>, name: &str) -> Vec<(usize, String, String)> {
    let Some(node) = fields.node(name) else { return Vec::new() };
    if !matches!(node.data, Data::Map(_)) {
        fields.wrong(name, "must be a map of names");
    }
    let text = |value: &Node| value.expect_text(&format!("A value of {name}"));
    let entries = node.entries().iter();
    entries
        .filter_map(|entry| Some((entry.line, entry.key.clone(), fields.problems().keep(text(&entry.value))?)))
        .collect()
}
