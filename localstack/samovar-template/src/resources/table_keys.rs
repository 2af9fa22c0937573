//! The keys of tables and indexes, checked against the attribute definitions.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::fields::{Fields, Schema};

pub(crate) const ATTRIBUTE: Schema = Schema {
    subject: "An attribute definition",
    required: &["AttributeName", "AttributeType"],
    optional: &[],
    ignored: &[],
};

pub(crate) const KEY: Schema =
    Schema { subject: "A key", required: &["AttributeName", "KeyType"], optional: &[], ignored: &[] };

/// `AttributeDefinitions`. DynamoDB accepts only attributes that are keys.
#[derive(Debug)]
pub(crate) struct Attributes {
    types: BTreeMap<String, String>,
    used: RefCell<BTreeSet<String>>,
}

impl Attributes {
    pub(crate) fn read(fields: &Fields<'_>) -> Self {
        let mut types = BTreeMap::new();
        for definition in fields.maps("AttributeDefinitions", &ATTRIBUTE).unwrap_or_default() {
            let kind = definition.choice("AttributeType", &["B", "N", "S"]);
            let Some(name) = definition.text("AttributeName") else { continue };
            if types.insert(name.clone(), kind.unwrap_or_default()).is_some() {
                definition.wrong("AttributeName", &format!("is \"{name}\", which is defined twice"));
            }
        }
        Self { types, used: RefCell::default() }
    }

    pub(crate) fn check_used(&self, fields: &Fields<'_>) {
        for name in self.types.keys().filter(|name| !self.used.borrow().contains(*name)) {
            fields
                .wrong("AttributeDefinitions", &format!("has \"{name}\", which is not a key of the table or an index"));
        }
    }

    pub(crate) fn to_json(&self) -> Value {
        let definitions = self.types.iter().map(|(name, kind)| json!({ "AttributeName": name, "AttributeType": kind }));
        definitions.collect()
    }
}

/// One `KeySchema`: the partition key, then perhaps the sort key.
#[derive(Debug, Default)]
pub(crate) struct Keys(Vec<String>);

const KEY_TYPES: [&str; 2] = ["HASH", "RANGE"];

impl Keys {
    pub(crate) fn read(fields: &Fields<'_>, attributes: &Attributes) -> Self {
        let keys = fields.maps("KeySchema", &KEY).unwrap_or_default();
        let kinds: Vec<_> = keys.iter().map(|key| key.choice("KeyType", &KEY_TYPES).unwrap_or_default()).collect();
        if fields.node("KeySchema").is_some() && !(1..=2).contains(&kinds.len())
            || kinds != KEY_TYPES[..kinds.len().min(2)]
        {
            fields.wrong("KeySchema", "must be a HASH key, optionally followed by a RANGE key");
        }
        let names: Vec<String> = keys.iter().filter_map(|key| key.text("AttributeName")).collect();
        for name in &names {
            if !attributes.types.contains_key(name) {
                fields.wrong("KeySchema", &format!("has \"{name}\", which is not in AttributeDefinitions"));
            }
            attributes.used.borrow_mut().insert(name.clone());
        }
        if names.len() == 2 && names[0] == names[1] {
            fields.wrong("KeySchema", "has the same attribute twice");
        }
        Self(names)
    }

    /// Checks an index. A local index sorts the table's own partitions by another key.
    pub(crate) fn check_index(self, fields: &Fields<'_>, table: Option<&Keys>) -> Self {
        if let Some(table) = table
            && (self.0.len() != 2 || table.0.len() != 2 || self.0.first() != table.0.first())
        {
            let message =
                "of a local index must be the HASH key of the table, which needs a RANGE key too, and a RANGE key";
            fields.wrong("KeySchema", message);
        }
        self
    }

    pub(crate) fn to_json(&self) -> Value {
        let keys = self.0.iter().zip(KEY_TYPES).map(|(name, kind)| json!({ "AttributeName": name, "KeyType": kind }));
        keys.collect()
    }
}
