//! Notes about objects that are written before anything refers to them.
//!
//! A message or an answer is stored after its media, because nothing may refer to an object that does not exist. After
//! the object is written, the message may be refused, the conversation may be deleted, or the function may die. Then
//! the object would stay, and nothing would lead to it. So each object under `media/` gets a note before it is written.
//! The function that stores a reference to the object removes the note. The janitor looks at notes that are older than
//! [`HOLD_FOR`]: if the object is used, it removes the note; if not, it deletes the object and then the note.
//!
//! **No object is left behind.** An object has a note before it exists. An object has one note, with the token of the
//! function that noted it last. The note goes in two ways. That function removes it after it has stored its reference.
//! Or the janitor removes it after it found the object used or deleted it. A function that noted the object earlier and
//! comes late finds another token and leaves the note.
//!
//! **No object that is in use is deleted.** No function lives as long as [`HOLD_FOR`], so a function that stores a
//! reference has noted the object less than that ago. The janitor reads whether the object is used (`media#KEY`). Then
//! it marks the note as dropped, on the condition that the note still has the token that it read. If a function has
//! noted the object again meanwhile, the condition fails. If the condition holds, no function can still store a
//! reference. From the mark until the note and the object are gone, no function can note the object again.

use aws_sdk_dynamodb::types::builders::PutBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, Put};

use super::{Claim, Messages, media_key, user_key};
use crate::clock::Timestamp;
use crate::dynamo::{Attributes, Item, conditional, text, time};
use crate::ids::{MediaKey, UserId};
use crate::{Error, Result};

/// The partition key of all notes.
const HELD: &str = "held";

/// Longer than any function lives.
const HOLD_FOR: std::time::Duration = std::time::Duration::from_secs(3600);

/// How many notes one run of the janitor looks at.
const ROUND: usize = 200;

/// An object that nothing has referred to for too long.
#[derive(Debug)]
pub struct Held {
    user: UserId,
    key: MediaKey,
    token: String,
    /// The janitor has begun to delete the object.
    dropped: bool,
}

impl Messages {
    /// Notes an object that is about to be written.
    ///
    /// # Errors
    /// When the object is just being deleted.
    pub(crate) async fn hold(&self, user: &UserId, key: &MediaKey, token: &str) -> Result<()> {
        let held = conditional(&self.random, "PutItem", || {
            self.db
                .put_item()
                .table_name(&self.config.table)
                .item("pk", text(HELD))
                .item("sk", text(held_key(user, key)))
                .item("user_id", text(user.as_str()))
                .item("media_key", text(key.as_str()))
                .item("token", text(token))
                .item("held_at", time(self.clock.now()))
                .condition_expression("attribute_not_exists(dropped)")
                .send()
        });
        held.await?.map(|_| ()).ok_or(Error::Contended { operation: "hold", attempts: 1 })
    }

    /// Notes media of an answer in the same way.
    pub async fn hold_answer(&self, claim: &Claim, key: &MediaKey) -> Result<()> {
        self.hold(&claim.message.user, key, &claim.token).await
    }

    /// Removes the note, because a reference to the object is stored. If this fails, the janitor finds the object used
    /// and removes the note.
    pub(super) async fn unhold(&self, user: &UserId, key: &MediaKey, token: &str) {
        if let Err(error) = self.forget_held(user, key, token).await {
            tracing::debug!(%error, media = %key, "A used object still has its note; the janitor will remove it");
        }
    }

    /// The item that says that the object is used.
    pub(super) fn using(&self, user: &UserId, key: &MediaKey) -> PutBuilder {
        Put::builder().table_name(&self.config.table).item("pk", text(user_key(user))).item("sk", text(media_key(key)))
    }

    pub(super) async fn is_used(&self, user: &UserId, key: &MediaKey) -> Result<bool> {
        Ok(self.get(user_key(user), media_key(key)).await?.is_some())
    }

    /// Some of the objects that were held for too long. Each is a result of its own.
    pub async fn held(&self) -> Result<Vec<Result<Held>>> {
        let before = Timestamp(self.clock.now().0 - i64::try_from(HOLD_FOR.as_millis()).unwrap_or(i64::MAX));
        let mut items = self
            .db
            .query()
            .table_name(&self.config.table)
            .consistent_read(true)
            .key_condition_expression("pk = :pk")
            .filter_expression("held_at < :before")
            .expression_attribute_values(":pk", text(HELD))
            .expression_attribute_values(":before", time(before))
            .into_paginator()
            .items()
            .send();
        let mut held = Vec::new();
        while held.len() < ROUND
            && let Some(item) = items.next().await
        {
            held.push(Held::read(&item.map_err(|error| Error::service("Query", &error))?));
        }
        Ok(held)
    }

    /// Deletes an object that is not used, and its note. Gives whether it deleted one.
    pub async fn drop_held(&self, held: &Held) -> Result<bool> {
        if !held.dropped {
            if self.is_used(&held.user, &held.key).await? {
                self.forget_held(&held.user, &held.key, &held.token).await?;
                return Ok(false);
            }
            let dropped = conditional(&self.random, "UpdateItem", || {
                self.db
                    .update_item()
                    .table_name(&self.config.table)
                    .key("pk", text(HELD))
                    .key("sk", text(held_key(&held.user, &held.key)))
                    .condition_expression("#token = :token")
                    .update_expression("SET dropped = :yes")
                    .expression_attribute_names("#token", "token")
                    .expression_attribute_values(":token", text(held.token.as_str()))
                    .expression_attribute_values(":yes", AttributeValue::Bool(true))
                    .send()
            });
            if dropped.await?.is_none() {
                return Ok(false); // noted again, used, or deleted by another run
            }
        }
        self.media.delete(&held.user, std::slice::from_ref(&held.key)).await?;
        self.forget_held(&held.user, &held.key, &held.token).await?;
        Ok(true)
    }

    async fn forget_held(&self, user: &UserId, key: &MediaKey, token: &str) -> Result<()> {
        conditional(&self.random, "DeleteItem", || {
            self.db
                .delete_item()
                .table_name(&self.config.table)
                .key("pk", text(HELD))
                .key("sk", text(held_key(user, key)))
                .condition_expression("#token = :token")
                .expression_attribute_names("#token", "token")
                .expression_attribute_values(":token", text(token))
                .send()
        })
        .await
        .map(|_| ())
    }
}

impl Held {
    fn read(item: &Item) -> Result<Self> {
        let attributes = Attributes(item);
        Ok(Self {
            user: UserId::parse(attributes.text("user_id")?)?,
            key: MediaKey::parse(attributes.text("media_key")?)?,
            token: attributes.text("token")?.to_owned(),
            dropped: attributes.flag("dropped"),
        })
    }
}

/// A key has meaning only together with its user.
fn held_key(user: &UserId, key: &MediaKey) -> String {
    format!("{key}#{user}")
}
