//! Finding a free slot: consistent reads, a hundred at a time, in random order, until one shows a free slot.
//!
//! Random, because clients that search at once should not fight for the same slot; a hundred, because that is what one
//! BatchGetItem reads, and with a share f of slots free, a batch misses them all with probability (1-f)^100.

use aws_sdk_dynamodb::types::KeysAndAttributes;

use super::{Leases, built, slot_key};
use crate::clock::Timestamp;
use crate::dynamo::{Fields, Item, s};
use crate::{Error, Result};

/// Keys in one BatchGetItem.
const BATCH: usize = 100;

impl Leases {
    /// Some free slots in random order; none only when every slot was seen taken (I7).
    pub(super) async fn free_slots(&self) -> Result<Vec<u32>> {
        let mut slots: Vec<u32> = (0..self.config.max_clients).collect();
        self.random.shuffle(&mut slots);
        for batch in slots.chunks(BATCH) {
            let taken = self.ends(batch.iter().copied()).await?;
            let is_taken = |slot: &u32| taken.iter().any(|(number, _)| number == slot);
            let free: Vec<u32> = batch.iter().copied().filter(|slot| !is_taken(slot)).collect();
            if !free.is_empty() {
                return Ok(free);
            }
        }
        Ok(Vec::new())
    }

    /// Of these slots, the ones that are taken, each with the end of its lease.
    pub(super) async fn ends(&self, slots: impl Iterator<Item = u32>) -> Result<Vec<(u32, Timestamp)>> {
        let now = self.clock.now();
        let mut keys: Vec<Item> = slots.map(|slot| Item::from([("pk".to_owned(), s(slot_key(slot)))])).collect();
        let mut taken = Vec::new();
        while !keys.is_empty() {
            let rest = keys.split_off(keys.len().min(BATCH));
            let request = KeysAndAttributes::builder()
                .set_keys(Some(std::mem::replace(&mut keys, rest)))
                .consistent_read(true)
                .projection_expression("pk, slot_no, expires_at");
            let output = self
                .db
                .batch_get_item()
                .request_items(&self.config.table, built(request.build())?)
                .send()
                .await
                .map_err(|error| Error::service("BatchGetItem", &error))?;
            for item in output.responses().into_iter().flat_map(|tables| tables.values()).flatten() {
                let fields = Fields(item);
                let end = fields.time("expires_at")?;
                if end > now {
                    taken.push((fields.number("slot_no")?, end));
                }
            }
            // DynamoDB may leave keys for another call.
            let left = output.unprocessed_keys().and_then(|tables| tables.get(&self.config.table));
            keys.extend(left.into_iter().flat_map(|left| left.keys().iter().cloned()));
        }
        Ok(taken)
    }
}
