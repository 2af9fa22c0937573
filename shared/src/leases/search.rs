//! Finds a free slot: reads slots consistently, a hundred at a time, in random order, until one is free.
//!
//! The order is random so that clients that search at once do not fight for the same slot. A hundred is what one
//! BatchGetItem reads. If a share f of the slots is free, a batch misses them all with probability (1-f)^100.

use aws_sdk_dynamodb::types::KeysAndAttributes;

use super::{Leases, slot_key};
use crate::clock::Timestamp;
use crate::dynamo::{Attributes, Item, built, text};
use crate::ids::UserId;
use crate::{Error, Result};

/// How many keys one BatchGetItem takes.
const BATCH: usize = 100;

/// A slot that is taken.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) slot: u32,
    pub(super) user: UserId,
    pub(super) expires_at: Timestamp,
}

impl Leases {
    /// Some free slots in random order. There are none only if every slot was seen taken (I7).
    pub(super) async fn free_slots(&self) -> Result<Vec<u32>> {
        let mut slots: Vec<u32> = (0..self.config.max_clients).collect();
        self.random.shuffle(&mut slots);
        for batch in slots.chunks(BATCH) {
            let taken = self.taken(batch.iter().copied()).await?;
            let is_taken = |slot: &u32| taken.iter().any(|taken| taken.slot == *slot);
            let free: Vec<u32> = batch.iter().copied().filter(|slot| !is_taken(slot)).collect();
            if !free.is_empty() {
                return Ok(free);
            }
        }
        Ok(Vec::new())
    }

    /// The slots among these that are taken.
    pub(super) async fn taken(&self, slots: impl Iterator<Item = u32>) -> Result<Vec<Taken>> {
        let now = self.clock.now();
        let items = self.read(slots.map(slot_key).collect(), "slot_no, user_id, expires_at").await?;
        let read = |item: &Item| {
            let attributes = Attributes(item);
            let user = UserId::parse(attributes.text("user_id")?)?;
            Ok(Taken { slot: attributes.number("slot_no")?, user, expires_at: attributes.time("expires_at")? })
        };
        let taken = items.iter().map(read).collect::<Result<Vec<_>>>()?;
        Ok(taken.into_iter().filter(|taken| taken.expires_at > now).collect())
    }

    /// Reads the items with these keys, a hundred at a time. Gives the key and these attributes of each.
    pub(super) async fn read(&self, keys: Vec<String>, attributes: &str) -> Result<Vec<Item>> {
        let mut keys: Vec<Item> = keys.into_iter().map(|key| Item::from([("pk".to_owned(), text(key))])).collect();
        let mut items = Vec::new();
        while !keys.is_empty() {
            let rest = keys.split_off(keys.len().min(BATCH));
            let request = KeysAndAttributes::builder()
                .set_keys(Some(std::mem::replace(&mut keys, rest)))
                .consistent_read(true)
                .projection_expression(format!("pk, {attributes}"));
            let output = self
                .db
                .batch_get_item()
                .request_items(&self.config.table, built(request.build())?)
                .send()
                .await
                .map_err(|error| Error::service("BatchGetItem", &error))?;
            // DynamoDB may leave some keys for another call.
            let left = output.unprocessed_keys().and_then(|tables| tables.get(&self.config.table));
            keys.extend(left.into_iter().flat_map(|left| left.keys().iter().cloned()));
            let found = output.responses.and_then(|mut tables| tables.remove(&self.config.table));
            items.extend(found.unwrap_or_default());
        }
        Ok(items)
    }
}
