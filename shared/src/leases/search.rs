//! Finding a free slot: consistent reads, a hundred at a time, in random order, until one shows a free slot.
//!
//! Random, because clients that search at once should not fight for the same slot; a hundred, because that is what one
//! BatchGetItem reads, and with a share f of slots free, a batch misses them all with probability (1-f)^100.

use aws_sdk_dynamodb::types::KeysAndAttributes;

use super::{Leases, built, slot_key};
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
            let taken = self.taken(batch).await?;
            let free: Vec<u32> = batch.iter().copied().filter(|slot| !taken.contains(slot)).collect();
            if !free.is_empty() {
                return Ok(free);
            }
        }
        Ok(Vec::new())
    }

    async fn taken(&self, slots: &[u32]) -> Result<Vec<u32>> {
        let now = self.clock.now();
        let mut keys: Vec<Item> =
            slots.iter().map(|&slot| Item::from([("pk".to_owned(), s(slot_key(slot)))])).collect();
        let mut taken = Vec::new();
        while !keys.is_empty() {
            let request = KeysAndAttributes::builder()
                .set_keys(Some(std::mem::take(&mut keys)))
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
                if fields.time("expires_at")? > now {
                    taken.push(fields.number("slot_no")?);
                }
            }
            // DynamoDB may leave keys for another call.
            let rest = output.unprocessed_keys().and_then(|tables| tables.get(&self.config.table));
            keys = rest.map(|rest| rest.keys().to_vec()).unwrap_or_default();
        }
        Ok(taken)
    }
}
