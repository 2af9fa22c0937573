//! Both tables at one moment, as plain values. The rules are checked on these.

use std::collections::{BTreeMap, BTreeSet};

use dynoxide::Database;
use serde_json::{Value, json};

use super::{CHAT, CONNECTIONS, request};
use crate::clock::Timestamp;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Snapshot {
    pub(crate) users: BTreeMap<String, UserItem>,
    pub(crate) slots: BTreeMap<u32, SlotItem>,
    /// The last number of each user's conversation.
    pub(crate) conversations: BTreeMap<(String, String), u64>,
    /// For each user and message id: the conversation and the number of the message.
    pub(crate) names: BTreeMap<(String, String), (String, u64)>,
    pub(crate) messages: BTreeMap<(String, u64), MessageItem>,
    /// Conversations that are being deleted.
    pub(crate) deleted: BTreeSet<String>,
    /// Media that nothing refers to yet.
    pub(crate) held: BTreeSet<String>,
    /// The ids of the messages that they answer.
    pub(crate) answers: BTreeMap<(String, u64), String>,
    /// The ids of all messages and answers, and of the items that they follow, if known.
    pub(crate) ids: BTreeMap<(String, u64), String>,
    pub(crate) parents: BTreeMap<(String, u64), (String, u64)>,
    /// The id that a user's conversation has for its last item.
    pub(crate) last_ids: BTreeMap<(String, String), String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UserItem {
    pub(crate) slot: u32,
    pub(crate) connection: String,
    pub(crate) session: Option<String>,
    pub(crate) expires_at: Timestamp,
    pub(crate) spoken: bool,
    pub(crate) pending: BTreeMap<String, Timestamp>,
    pub(crate) untold: BTreeMap<String, Timestamp>,
    pub(crate) replaced: BTreeMap<String, Timestamp>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SlotItem {
    pub(crate) user: String,
    pub(crate) connection: String,
    pub(crate) expires_at: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MessageItem {
    pub(crate) id: String,
    pub(crate) user: String,
    pub(crate) status: String,
}

impl MessageItem {
    pub(crate) fn is_answered(&self) -> bool {
        !matches!(self.status.as_str(), "queued" | "processing")
    }
}

impl Snapshot {
    pub(super) fn read(database: &Database) -> Self {
        let mut snapshot = Self::default();
        for item in scan(database, CONNECTIONS) {
            let key = text(&item, "pk");
            if let Some(user) = key.strip_prefix("user#") {
                snapshot.users.insert(user.to_owned(), UserItem::read(&item));
            } else {
                let slot = key.strip_prefix("slot#").and_then(|number| number.parse().ok()).expect("a slot's key");
                snapshot.slots.insert(slot, SlotItem::read(&item));
            }
        }
        for item in scan(database, CHAT) {
            snapshot.read_chat(&item);
        }
        snapshot
    }

    fn read_chat(&mut self, item: &Value) {
        let (pk, sk) = (text(item, "pk"), text(item, "sk"));
        if pk == "users" || pk == "workers" {
            return;
        }
        if pk == "deleted" {
            self.deleted.insert(text(item, "conversation_id"));
            return;
        }
        if pk == "held" {
            self.held.insert(text(item, "media_key"));
            return;
        }
        if let Some(user) = pk.strip_prefix("user#") {
            if let Some(conversation) = sk.strip_prefix("conv#") {
                let key = (user.to_owned(), conversation.to_owned());
                if item["last_id"].is_object() {
                    self.last_ids.insert(key.clone(), text(item, "last_id"));
                }
                self.conversations.insert(key, number(item, "last_seq") as u64);
            } else {
                let Some(id) = sk.strip_prefix("msg#").map(str::to_owned) else { return };
                let place = (text(item, "conversation_id"), number(item, "seq") as u64);
                self.names.insert((user.to_owned(), id), place);
            }
            return;
        }
        let conversation = pk.strip_prefix("conv#").expect("a conversation's key").to_owned();
        let place = (conversation, sk.parse().expect("a number"));
        self.ids.insert(place.clone(), text(item, "id"));
        if item["parent_id"].is_object() {
            self.parents.insert(place.clone(), (text(item, "parent_id"), number(item, "parent_seq") as u64));
        }
        if text(item, "role") == "assistant" {
            self.answers.insert(place, text(item, "reply_to").to_lowercase());
        } else {
            let id = text(item, "id").to_lowercase();
            let message = MessageItem { id, user: text(item, "user_id"), status: text(item, "status") };
            self.messages.insert(place, message);
        }
    }

    /// The user's lease, if it has not ended.
    pub(crate) fn lease(&self, user: &str, now: Timestamp) -> Option<&UserItem> {
        self.users.get(user).filter(|item| item.expires_at > now)
    }

    pub(crate) fn is_held_by(&self, user: &str, connection: &str, now: Timestamp) -> bool {
        self.lease(user, now).is_some_and(|lease| lease.connection == connection)
    }

    pub(crate) fn is_free(&self, slot: u32, now: Timestamp) -> bool {
        self.slots.get(&slot).is_none_or(|item| item.expires_at <= now)
    }

    pub(crate) fn held_slots(&self, now: Timestamp) -> usize {
        self.slots.values().filter(|slot| slot.expires_at > now).count()
    }
}

impl UserItem {
    /// The connection gave its lease back.
    pub(crate) fn is_released(&self) -> bool {
        self.expires_at == Timestamp(0)
    }

    fn read(item: &Value) -> Self {
        let moments = |name: &str| {
            let entries = item[name]["M"].as_object().into_iter().flatten();
            entries.map(|(id, since)| (id.clone(), Timestamp(integer(since)))).collect()
        };
        Self {
            slot: u32::try_from(number(item, "slot_no")).expect("a slot's number"),
            connection: text(item, "connection_id"),
            session: item["session_id"]["S"].as_str().map(str::to_owned),
            expires_at: Timestamp(number(item, "expires_at")),
            spoken: item["spoken"]["BOOL"].as_bool().expect("spoken"),
            pending: moments("pending"),
            untold: moments("untold"),
            replaced: moments("replaced"),
        }
    }
}

impl SlotItem {
    fn read(item: &Value) -> Self {
        Self {
            user: text(item, "user_id"),
            connection: text(item, "connection_id"),
            expires_at: Timestamp(number(item, "expires_at")),
        }
    }
}

fn scan(database: &Database, table: &str) -> Vec<Value> {
    let response = database.scan(request(json!({ "TableName": table, "ConsistentRead": true }))).expect("Scan");
    let response = serde_json::to_value(response).expect("JSON");
    assert!(response["LastEvaluatedKey"].is_null(), "more than a page");
    response["Items"].as_array().expect("items").clone()
}

fn text(item: &Value, name: &str) -> String {
    item[name]["S"].as_str().unwrap_or_else(|| panic!("no text `{name}` in {item}")).to_owned()
}

fn number(item: &Value, name: &str) -> i64 {
    integer(&item[name])
}

fn integer(value: &Value) -> i64 {
    value["N"].as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("no number: {value}"))
}
