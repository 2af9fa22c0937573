//! The life of a message: it is sent, received, dead-lettered, deleted or returned.
//!
//! These are operations of [`State`] and keep its invariants. They add one: a message is in exactly one queue at any
//! time. Moving it to the dead-letter queue removes and adds it in one critical section, and so in one transaction.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::attributes::MAX_VISIBILITY_SECONDS;
use super::deduplication::FirstSend;
use super::error::Error;
use super::ids::{Receipt, sequence_number};
use super::message::{Content, Delivery, Message, MessageAttributes, Stored, md5_hex, md5_of_attributes, sha256_hex};
use super::queue::Queue;
use super::state::State;
use super::store::Change;

/// AWS's quota of messages in flight per standard queue.
const MAX_IN_FLIGHT: usize = 120_000;

/// A message to send. Its own parameters are already checked.
#[derive(Clone, Debug, Default)]
pub(super) struct Outgoing {
    pub(super) body: String,
    pub(super) attributes: MessageAttributes,
    pub(super) trace_header: Option<String>,
    pub(super) group: Option<String>,
    pub(super) deduplication_id: Option<String>,
    pub(super) delay_seconds: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SendReceipt {
    pub(super) message_id: String,
    pub(super) sequence_number: Option<String>,
}

/// A message on its way to a receiver, with its previous state, in case it does not arrive.
#[derive(Debug)]
pub(super) struct Handout {
    pub(super) message: Message,
    receipt: Receipt,
    before: Delivery,
}

impl State {
    pub(super) fn send(&mut self, name: &str, message: Outgoing, now_ms: i64) -> Result<SendReceipt, Error> {
        let queue = self.queue(name, now_ms)?;
        let fifo = queue.attributes.fifo;
        let deduplication_id = match message.deduplication_id {
            None if fifo && queue.attributes.content_based_deduplication => Some(sha256_hex(&message.body)),
            given => given,
        };
        let key = deduplication_id.clone().filter(|_| fifo).map(|id| {
            let scope = message.group.clone().filter(|_| queue.attributes.deduplication_per_group);
            (scope, id)
        });
        if let Some(first) = key.as_ref().and_then(|key| queue.sent.find(key)) {
            let receipt = SendReceipt {
                message_id: first.message_id.clone(),
                sequence_number: Some(sequence_number(first.sequence)),
            };
            // The first send may not be on disk yet. Its repeat must not be acknowledged earlier.
            self.changes.push(Change::Barrier);
            return Ok(receipt);
        }
        let delay_seconds = message.delay_seconds.filter(|_| !fifo).unwrap_or(queue.attributes.delay_seconds);
        let (message_id, sequence) = (self.ids.uuid(), self.ids.sequence(now_ms));
        let content = Content {
            message_id: message_id.clone(),
            body: message.body,
            group: message.group,
            deduplication_id,
            attributes: message.attributes,
            trace_header: message.trace_header,
            sent_ms: now_ms,
            dead_letter_source: None,
        };
        let visible_ms = now_ms + i64::from(delay_seconds) * 1000;
        let delivery = Delivery { visible_ms, ..Delivery::default() };
        self.put(name, Stored { sequence, content: Arc::new(content), delivery }, now_ms)?;
        if let Some(key) = key {
            let first = FirstSend { message_id: message_id.clone(), sequence, sent_ms: now_ms };
            let queue = self.queue(name, now_ms)?;
            queue.sent.record(key.clone(), first.clone());
            let queue = queue.id;
            self.changes.push(Change::RecordSend { queue, key, first });
        }
        Ok(SendReceipt { message_id, sequence_number: fifo.then(|| sequence_number(sequence)) })
    }

    /// Adds a message to a queue and wakes a receiver.
    pub(super) fn put(&mut self, name: &str, message: Stored, now_ms: i64) -> Result<(), Error> {
        let queue = self.queue(name, now_ms)?;
        queue.insert(message.clone(), now_ms);
        queue.arrivals.notify_one();
        let queue = queue.id;
        self.changes.push(Change::PutMessage { queue, message });
        Ok(())
    }

    /// Hands out up to `max` messages. Messages that were received too often move to the dead-letter queue meanwhile.
    pub(super) fn receive(
        &mut self,
        name: &str,
        max: usize,
        visibility_ms: Option<i64>,
        now_ms: i64,
    ) -> Result<Vec<Handout>, Error> {
        let dead_letters = self.dead_letter_queue(name);
        let queue = self.queue(name, now_ms)?;
        let room = MAX_IN_FLIGHT.saturating_sub(queue.in_flight());
        if room == 0 && !queue.attributes.fifo {
            return Err(Error::OverLimit(MAX_IN_FLIGHT));
        }
        if room == 0 || max == 0 {
            return Ok(Vec::new());
        }
        let max_receives = queue.attributes.redrive.as_ref().map_or(u32::MAX, |policy| policy.max_receive_count);
        let picked =
            queue.pick(max.min(room), |delivery| dead_letters.is_some() && delivery.receives_here >= max_receives);
        for sequence in picked.give_up {
            if let Some(target) = &dead_letters {
                self.give_up(name, sequence, target, now_ms)?;
            }
        }
        picked.deliver.into_iter().map(|sequence| self.hand_out(name, sequence, visibility_ms, now_ms)).collect()
    }

    /// The dead-letter queue of a queue, if it exists.
    fn dead_letter_queue(&self, name: &str) -> Option<String> {
        let policy = self.queues.get(name)?.attributes.redrive.as_ref()?;
        let target = self.name_of_arn(&policy.target_arn)?;
        self.queues.contains_key(target).then(|| target.to_owned())
    }

    fn give_up(&mut self, name: &str, sequence: i64, target: &str, now_ms: i64) -> Result<(), Error> {
        let queue = self.queue(name, now_ms)?;
        let fifo = queue.attributes.fifo;
        let Some(message) = queue.remove(sequence) else { return Ok(()) };
        self.changes.push(Change::Remove { sequence });
        let content = Content {
            // AWS counts retention from the first send on standard queues, and from the move on FIFO queues.
            sent_ms: if fifo { now_ms } else { message.content.sent_ms },
            dead_letter_source: Some(name.to_owned()),
            ..Content::clone(&message.content)
        };
        let delivery = Delivery { visible_ms: now_ms, token: None, receives_here: 0, ..message.delivery };
        let sequence = self.ids.sequence(now_ms);
        self.put(target, Stored { sequence, content: Arc::new(content), delivery }, now_ms)
    }

    fn hand_out(
        &mut self,
        name: &str,
        sequence: i64,
        visibility_ms: Option<i64>,
        now_ms: i64,
    ) -> Result<Handout, Error> {
        let token = self.ids.token();
        let queue = self.queue(name, now_ms)?;
        let before = queue.get(sequence).ok_or(Error::QueueDoesNotExist)?.delivery;
        let visibility_ms = visibility_ms.unwrap_or(i64::from(queue.attributes.visibility_seconds) * 1000);
        let delivery = Delivery {
            visible_ms: now_ms + visibility_ms,
            token: Some(token),
            received_ms: now_ms,
            first_received_ms: before.first_received_ms.or(Some(now_ms)),
            receive_count: before.receive_count.saturating_add(1),
            receives_here: before.receives_here.saturating_add(1),
        };
        queue.set_delivery(sequence, delivery, now_ms);
        let receipt = Receipt { queue: queue.id, sequence, token };
        let stored = queue.get(sequence).ok_or(Error::QueueDoesNotExist)?.clone();
        let fifo = queue.attributes.fifo;
        self.changes.push(Change::Deliver { sequence, delivery });
        Ok(Handout { message: self.render(&stored, receipt, fifo), receipt, before })
    }

    /// Undoes a receive that did not reach its receiver, as if it had not happened.
    pub(super) fn take_back(&mut self, name: &str, handouts: &[Handout], now_ms: i64) {
        let Ok(queue) = self.queue(name, now_ms) else { return };
        let mut changes = Vec::new();
        for Handout { receipt, before, .. } in handouts {
            let current = queue.get(receipt.sequence).and_then(|message| message.delivery.token);
            if queue.id == receipt.queue && current == Some(receipt.token) {
                queue.set_delivery(receipt.sequence, *before, now_ms);
                changes.push(Change::Deliver { sequence: receipt.sequence, delivery: *before });
            }
        }
        queue.arrivals.notify_one();
        self.changes.extend(changes);
    }

    /// Makes all messages in flight visible.
    pub(super) fn release(&mut self, name: &str, now_ms: i64) -> Result<(), Error> {
        let queue = self.queue(name, now_ms)?;
        let mut changes = Vec::new();
        for (sequence, delivery) in queue.all_in_flight() {
            let delivery = Delivery { visible_ms: now_ms, ..delivery };
            queue.set_delivery(sequence, delivery, now_ms);
            changes.push(Change::Deliver { sequence, delivery });
        }
        queue.arrivals.notify_one();
        self.changes.extend(changes);
        Ok(())
    }

    fn render(&self, stored: &Stored, receipt: Receipt, fifo: bool) -> Message {
        let (content, delivery) = (&*stored.content, &stored.delivery);
        let mut attributes = BTreeMap::new();
        let mut put = |name: &str, value: String| attributes.insert(name.to_owned(), value);
        put("SenderId", self.account_id.clone());
        put("SentTimestamp", content.sent_ms.to_string());
        put("ApproximateReceiveCount", delivery.receive_count.to_string());
        put("ApproximateFirstReceiveTimestamp", delivery.first_received_ms.unwrap_or_default().to_string());
        if fifo {
            put("SequenceNumber", sequence_number(stored.sequence));
        }
        if let Some(group) = &content.group {
            put("MessageGroupId", group.clone());
        }
        if let Some(id) = &content.deduplication_id {
            put("MessageDeduplicationId", id.clone());
        }
        if let Some(header) = &content.trace_header {
            put("AWSTraceHeader", header.clone());
        }
        if let Some(source) = &content.dead_letter_source {
            put("DeadLetterQueueSourceArn", self.arn(source));
        }
        Message {
            message_id: content.message_id.clone(),
            receipt_handle: receipt.handle(),
            md5_of_body: md5_hex(content.body.as_bytes()),
            body: content.body.clone(),
            attributes,
            md5_of_message_attributes: md5_of_attributes(&content.attributes),
            message_attributes: content.attributes.clone(),
        }
    }

    /// Deletes a message by its receipt handle. The cases, from AWS's documentation and from LocalStack's recordings of
    /// AWS:
    /// - the message is gone: success;
    /// - standard queue, handle of the latest receive: the message is deleted, even after the visibility timeout;
    /// - standard queue, older handle: success, but the message stays;
    /// - FIFO queue, older handle, or handle after its visibility timeout: refused as expired.
    pub(super) fn delete(&mut self, name: &str, handle: &str, now_ms: i64) -> Result<(), Error> {
        let queue = self.queue(name, now_ms)?;
        let receipt = own_receipt(queue, handle)?;
        let Some(delivery) = queue.get(receipt.sequence).map(|message| message.delivery) else { return Ok(()) };
        let latest = delivery.token == Some(receipt.token);
        if queue.attributes.fifo && !(latest && delivery.visible_ms > now_ms) {
            return Err(Error::ReceiptHandleExpired(handle.to_owned()));
        }
        if latest {
            queue.remove(receipt.sequence);
            queue.arrivals.notify_one();
            self.changes.push(Change::Remove { sequence: receipt.sequence });
        }
        Ok(())
    }

    /// Changes the visibility of a message in flight.
    ///
    /// AWS refuses this once the message is gone, and on FIFO queues once the timeout has passed. On standard queues it
    /// is allowed after the timeout while nobody has received the message again. One rule is stricter than AWS: on
    /// standard queues, AWS was seen to accept a handle older than the latest receive. Here it is refused, because it
    /// would cut short the work of another receiver.
    pub(super) fn change_visibility(
        &mut self,
        name: &str,
        handle: &str,
        visibility_ms: i64,
        now_ms: i64,
    ) -> Result<(), Error> {
        let queue = self.queue(name, now_ms)?;
        let receipt = own_receipt(queue, handle)?;
        let delivery = queue.get(receipt.sequence).map(|message| message.delivery);
        let Some(delivery) = delivery.filter(|delivery| delivery.token == Some(receipt.token)) else {
            return Err(Error::ReceiptHandleNotCurrent(handle.to_owned()));
        };
        if queue.attributes.fifo && delivery.visible_ms <= now_ms {
            return Err(Error::ReceiptHandleExpired(handle.to_owned()));
        }
        let limit_ms = i64::from(MAX_VISIBILITY_SECONDS) * 1000;
        if now_ms - delivery.received_ms + visibility_ms > limit_ms {
            return Err(Error::parameter(
                "VisibilityTimeout",
                visibility_ms / 1000,
                format!(
                    "Total VisibilityTimeout for the message is beyond the limit [{MAX_VISIBILITY_SECONDS} seconds]"
                ),
            ));
        }
        let delivery = Delivery { visible_ms: now_ms + visibility_ms, ..delivery };
        queue.set_delivery(receipt.sequence, delivery, now_ms);
        queue.arrivals.notify_one();
        self.changes.push(Change::Deliver { sequence: receipt.sequence, delivery });
        Ok(())
    }
}

fn own_receipt(queue: &Queue, handle: &str) -> Result<Receipt, Error> {
    Receipt::parse(handle)
        .filter(|receipt| receipt.queue == queue.id)
        .ok_or_else(|| Error::ReceiptHandleIsInvalid(handle.to_owned()))
}
