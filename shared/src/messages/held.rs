//! Objects that are written before what refers to them.
//!
//! A message and an answer are stored after their media, because nothing may refer to an object that is not there. The
//! message may then be refused, the conversation be deleted meanwhile, or the function die: an object would lie there
//! that nothing leads to. So there is a note of each object under `media/` before there is the object. Whoever has
//! stored a reference to it takes the note away. A note that is older than [`HOLD_FOR`] is looked at by the janitor: if
//! the object is used, the note goes; if not, the object goes, and then the note.
//!
//! **Nothing is left behind.** An object has a note before it is there. There is one note for an object, with the token
//! of whoever noted it last, and it goes in two ways: by the hand of that one, after its reference was stored; or after
//! the object was found to be used or was deleted. Whoever noted the object before, and is late, finds another token
//! and leaves the note.
//!
//! **Nothing is deleted that is referred to.** No function lives as long as [`HOLD_FOR`], so whoever stores a reference
//! has noted the object less than that ago. The janitor reads whether the object is used (`media#KEY`), and then marks
//! the note as dropped, on the condition that its token is the one that it has read. If somebody has noted the object
//! again meanwhile, the condition says no; and nobody else can still store a reference. Once the note is marked, noting
//! the object again is refused until the note is gone, and the object with it.

use aws_sdk_dynamodb::types::builders::PutBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, Put};

use super::{Claim, Messages, media_key, user_key};
use crate::clock::Timestamp;
use crate::dynamo::{Attributes, Item, conditional, text, time};
use crate::ids::{MediaKey, UserId};
use crate::{Error, Result};

/// The key of all objects that are held.
const HELD: &str = "held";

/// Longer than any function lives.
const HOLD_FOR: std::time::Duration = std::time::Duration::from_secs(3600);

/// Looked at in one run of the janitor.
const ROUND: usize = 200;

/// An object that nothing has referred to for too long.
#[derive(Debug)]
pub struct Held {
    user: UserId,
    key: MediaKey,
    token: String,
    /// Somebody has begun to delete it.
    dropped: bool,
}

impl Messages {
    /// Notes an object that is about to be written.
    ///
    /// # Errors
    /// When it is just being deleted.
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

    /// The same for media of an answer.
    pub async fn hold_answer(&self, claim: &Claim, key: &MediaKey) -> Result<()> {
        self.hold(&claim.message.user, key, &claim.token).await
    }

    /// A reference to the object is stored. Should this fail, the janitor will find it so.
    pub(super) async fn unhold(&self, user: &UserId, key: &MediaKey, token: &str) {
        if let Err(error) = self.forget_held(user, key, token).await {
            tracing::debug!(%error, media = %key, "The note of an object that is used was left to the janitor");
        }
    }

    /// That an object is used.
    pub(super) fn using(&self, user: &UserId, key: &MediaKey) -> PutBuilder {
        Put::builder().table_name(&self.config.table).item("pk", text(user_key(user))).item("sk", text(media_key(key)))
    }

    pub(super) async fn is_used(&self, user: &UserId, key: &MediaKey) -> Result<bool> {
        Ok(self.get(user_key(user), media_key(key)).await?.is_some())
    }

    /// Some of what is held for too long, each by itself.
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

    /// Deletes an object that is not used, and the note of it. Whether there was such an object.
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
                return Ok(false); // noted again, or used, or somebody else has done it
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
