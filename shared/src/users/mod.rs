//! The users that Parley has met: the user that a token names, and since when. Accounts and passwords are the issuer's.
//!
//! A user is an item of its own and an item in the directory, which sorts all users by name. The transaction that
//! creates or renames a user writes both, on condition that the user's item has not changed since it was read. So the
//! directory has each user once, under the present name. A user item says where in the directory it is (`listed_as`).
//! An item that is older than the directory has no `listed_as`. It enters the directory the next time its user is met.
//! So meeting a user without changes costs one read, and a list is a query.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::builders::{DeleteBuilder, PutBuilder, UpdateBuilder};
use aws_sdk_dynamodb::types::{Delete, Put, Update};
use serde::{Deserialize, Serialize};

use crate::clock::{Clock, Timestamp};
use crate::config::ChatConfig;
use crate::dynamo::{Attributes, Item, Transaction, text, time};
use crate::ids::{Random, UserId};
use crate::messages::user_key;
use crate::paging::{Limit, List, Page, wire_bytes};
use crate::{Error, Result};

const USER: &str = "me";

/// The partition key of the directory.
const DIRECTORY: &str = "users";

/// Stands between name and id in the directory's sort key. It sorts before every character of a name, so `ann` comes
/// before `ann b`.
const BEFORE_ID: char = '\u{1}';

/// How much of a name a sort key has. A sort key has at most 1,024 bytes, 256 of them for the id.
const MAX_NAME_BYTES: usize = 700;

/// The longest sort key of DynamoDB.
const MAX_KEY_BYTES: usize = 1024;

/// How long the beginning of a name may be in a search.
pub const MAX_PREFIX_CHARS: usize = 128;

/// How often a write is tried for a user whom others meet at the same time.
const MAX_ATTEMPTS: u32 = 10;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    pub id: UserId,
    pub username: String,
    pub created_at: Timestamp,
}

/// The parts of the transaction that writes a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    User,
    Listing,
    /// The listing under the name before.
    OldListing,
}

/// A user as stored.
struct Known {
    user: User,
    listed_as: Option<String>,
}

#[derive(Debug, Clone)]
pub struct Users {
    db: Client,
    config: ChatConfig,
    clock: Arc<dyn Clock>,
    random: Arc<Random>,
}

/// Where a list goes on, and which names it has.
#[derive(Serialize, Deserialize)]
struct Position {
    prefix: String,
    at: String,
}

impl Users {
    pub fn new(db: Client, config: ChatConfig, clock: Arc<dyn Clock>, random: Arc<Random>) -> Self {
        Self { db, config, clock, random }
    }

    /// Gives the user that a token names, and creates it the first time. The name is the issuer's, and the issuer may
    /// change it.
    pub async fn meet(&self, id: &UserId, username: &str) -> Result<User> {
        let place = place(username, id);
        for _ in 0..MAX_ATTEMPTS {
            let known = self.find(id).await?;
            let created_at = known.as_ref().map_or_else(|| self.clock.now(), |known| known.user.created_at);
            let user = User { id: id.clone(), username: username.to_owned(), created_at };
            if known.as_ref().is_some_and(|known| known.listed_as.as_ref() == Some(&place) && known.user == user) {
                return Ok(user);
            }
            let mut transaction = Transaction::new()
                .with(Part::User, self.writing(&user, &place, known.as_ref()))
                .with(Part::Listing, self.listing(&user, &place));
            if let Some(old) = known.and_then(|known| known.listed_as).filter(|old| *old != place) {
                transaction.add(Part::OldListing, self.delisting(&old));
            }
            if transaction.send(&self.db, &self.random).await?.is_ok() {
                return Ok(user);
            }
            // Somebody else has met the user. If two first times happen at once, both see the same moment.
        }
        Err(Error::Contended { operation: "meet", attempts: MAX_ATTEMPTS })
    }

    /// Lists users by name, those whose name begins with `prefix` without regard to case. The list belongs to `reader`.
    pub async fn list(
        &self,
        reader: &UserId,
        prefix: Option<&str>,
        limit: Limit,
        cursor: Option<&str>,
    ) -> Result<Page<User>> {
        let list = List::of(reader, DIRECTORY);
        let prefix = prefix.map(str::to_lowercase);
        let (prefix, start) = match cursor.map(|cursor| list.position::<Position>(cursor)).transpose()? {
            None => (prefix.unwrap_or_default(), None),
            // DynamoDB refuses a start that is not a key or is outside of the query.
            Some(position)
                if !position.at.starts_with(&position.prefix) || !(1..=MAX_KEY_BYTES).contains(&position.at.len()) =>
            {
                return Err(List::no_position());
            }
            Some(position) if prefix.as_ref().is_none_or(|prefix| *prefix == position.prefix) => {
                (position.prefix, Some(key(DIRECTORY, &position.at)))
            }
            Some(_) => {
                return Err(Error::bad_request(
                    "This cursor belongs to a list of other names; begin again without a cursor",
                ));
            }
        };
        let query = self.db.query().table_name(&self.config.table).expression_attribute_values(":pk", text(DIRECTORY));
        let query = if prefix.is_empty() {
            query.key_condition_expression("pk = :pk")
        } else {
            query
                .key_condition_expression("pk = :pk AND begins_with(sk, :prefix)")
                .expression_attribute_values(":prefix", text(prefix.as_str()))
        };
        let items = query
            .consistent_read(true)
            .limit(limit.in_query())
            .set_exclusive_start_key(start)
            .into_paginator()
            .items()
            .send();
        let (users, more) = limit.page_of(items, read_listed, |listed| wire_bytes(&listed.username)).await?;
        let next = users.last().filter(|_| more).map(|last| list.cursor(Position { prefix, at: place_of(last) }));
        Ok(Page { items: users, next })
    }

    async fn find(&self, id: &UserId) -> Result<Option<Known>> {
        let output = self
            .db
            .get_item()
            .table_name(&self.config.table)
            .set_key(Some(key(&user_key(id), USER)))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| Error::service("GetItem", &error))?;
        output.item.as_ref().map(|item| Known::read(id, item)).transpose()
    }

    /// The write of the user's own item, on condition that the item is still as `known`.
    fn writing(&self, user: &User, place: &str, known: Option<&Known>) -> UpdateBuilder {
        let update = Update::builder()
            .table_name(&self.config.table)
            .set_key(Some(key(&user_key(&user.id), USER)))
            .update_expression("SET username = :username, created_at = :created, listed_as = :place")
            .expression_attribute_values(":username", text(user.username.as_str()))
            .expression_attribute_values(":created", time(user.created_at))
            .expression_attribute_values(":place", text(place));
        match known {
            None => update.condition_expression("attribute_not_exists(pk)"),
            Some(Known { listed_as: None, .. }) => {
                update.condition_expression("attribute_exists(pk) AND attribute_not_exists(listed_as)")
            }
            Some(Known { listed_as: Some(old), .. }) => {
                update.condition_expression("listed_as = :old").expression_attribute_values(":old", text(old.as_str()))
            }
        }
    }

    fn listing(&self, user: &User, place: &str) -> PutBuilder {
        Put::builder()
            .table_name(&self.config.table)
            .set_item(Some(key(DIRECTORY, place)))
            .item("user_id", text(user.id.as_str()))
            .item("username", text(user.username.as_str()))
            .item("created_at", time(user.created_at))
    }

    fn delisting(&self, place: &str) -> DeleteBuilder {
        Delete::builder().table_name(&self.config.table).set_key(Some(key(DIRECTORY, place)))
    }
}

impl Known {
    fn read(id: &UserId, item: &Item) -> Result<Self> {
        let attributes = Attributes(item);
        let (username, created_at) = (attributes.text("username")?.to_owned(), attributes.time("created_at")?);
        let listed_as = attributes.optional_text("listed_as").map(str::to_owned);
        Ok(Self { user: User { id: id.clone(), username, created_at }, listed_as })
    }
}

fn read_listed(item: &Item) -> Result<User> {
    let attributes = Attributes(item);
    let id = UserId::parse(attributes.text("user_id")?)?;
    Ok(User { id, username: attributes.text("username")?.to_owned(), created_at: attributes.time("created_at")? })
}

/// A user's sort key in the directory.
fn place(username: &str, id: &UserId) -> String {
    let name = username.to_lowercase();
    let name = &name[..name.floor_char_boundary(MAX_NAME_BYTES)];
    format!("{name}{BEFORE_ID}{id}")
}

fn place_of(user: &User) -> String {
    place(&user.username, &user.id)
}

fn key(pk: &str, sk: &str) -> Item {
    Item::from([("pk".to_owned(), text(pk)), ("sk".to_owned(), text(sk))])
}
