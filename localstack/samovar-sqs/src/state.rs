//! All queues: creates, configures and removes them, and knows which one is whose dead-letter queue. `delivery` handles
//! their messages.
//!
//! Invariants:
//! - Every change that must survive is pushed to `changes`. The caller gives them to the writer before it releases the
//!   lock, so the file gets the changes in the order in which they happened.
//! - Every operation first advances the time (`Queue::advance`), so no decision rests on a stale view.
//! - Code that makes a message available, or that makes an earlier wake-up necessary, calls `arrivals.notify_one`.

use std::collections::BTreeMap;

use super::attributes::Attributes;
use super::error::Error;
use super::ids::Ids;
use super::queue::Queue;
use super::store::{Change, QueueRow};
use super::tasks::Tasks;

const PURGE_INTERVAL_MS: i64 = 60_000;

#[derive(Debug)]
pub(super) struct State {
    pub(super) region: String,
    pub(super) account_id: String,
    pub(super) queues: BTreeMap<String, Queue>,
    pub(super) ids: Ids,
    pub(super) tasks: Tasks,
    pub(super) changes: Vec<Change>,
    pub(super) next_queue_id: i64,
    pub(super) closed: bool,
}

impl State {
    pub(super) fn new(region: &str, account_id: &str, ids: Ids) -> Self {
        Self {
            region: region.to_owned(),
            account_id: account_id.to_owned(),
            queues: BTreeMap::new(),
            ids,
            tasks: Tasks::default(),
            changes: Vec::new(),
            next_queue_id: 1,
            closed: false,
        }
    }

    pub(super) fn arn(&self, queue: &str) -> String {
        format!("arn:aws:sqs:{}:{}:{queue}", self.region, self.account_id)
    }

    /// The name of the queue that an ARN of this account and region names.
    pub(super) fn name_of_arn<'a>(&self, arn: &'a str) -> Option<&'a str> {
        let name = arn.rsplit(':').next()?;
        (self.arn(name) == arn).then_some(name)
    }

    /// The queue, advanced to the current time.
    pub(super) fn queue(&mut self, name: &str, now_ms: i64) -> Result<&mut Queue, Error> {
        let queue = self.queues.get_mut(name).ok_or(Error::QueueDoesNotExist)?;
        for sequence in queue.advance(now_ms) {
            self.changes.push(Change::Remove { sequence });
        }
        if queue.sent.expire(now_ms) {
            self.changes.push(Change::ForgetSends { queue: queue.id, now_ms });
        }
        Ok(queue)
    }

    pub(super) fn create(&mut self, name: &str, given: &BTreeMap<String, String>, now_ms: i64) -> Result<bool, Error> {
        let fifo = given.get("FifoQueue").is_some_and(|value| value.eq_ignore_ascii_case("true"));
        check_name(name, fifo)?;
        let existing = self.queues.get(name).map(|queue| queue.attributes.clone());
        let attributes = existing.clone().unwrap_or_else(|| Attributes::new(fifo)).with(given)?;
        if let Some(existing) = existing {
            return match existing.first_difference(&attributes, given) {
                Some(attribute) => Err(Error::QueueNameExists { attribute }),
                None => Ok(false),
            };
        }
        self.check_redrive(name, &attributes)?;
        let queue = Queue::new(self.next_queue_id, name.to_owned(), attributes, now_ms);
        self.next_queue_id += 1;
        self.changes.push(Change::PutQueue(QueueRow::of(&queue)));
        self.queues.insert(name.to_owned(), queue);
        Ok(true)
    }

    pub(super) fn set_attributes(
        &mut self,
        name: &str,
        given: &BTreeMap<String, String>,
        now_ms: i64,
    ) -> Result<(), Error> {
        let attributes = self.queue(name, now_ms)?.attributes.with(given)?;
        self.check_redrive(name, &attributes)?;
        let queue = self.queue(name, now_ms)?;
        let retroactive = attributes.fifo && attributes.delay_seconds != queue.attributes.delay_seconds;
        queue.attributes = attributes;
        queue.modified_ms = now_ms;
        let row = QueueRow::of(queue);
        let delays = if retroactive { queue.apply_delay(now_ms) } else { Vec::new() };
        queue.arrivals.notify_one();
        self.changes.push(Change::PutQueue(row));
        self.changes.extend(delays.into_iter().map(|(sequence, delivery)| Change::Deliver { sequence, delivery }));
        Ok(())
    }

    fn check_redrive(&self, source: &str, attributes: &Attributes) -> Result<(), Error> {
        let Some(policy) = &attributes.redrive else { return Ok(()) };
        let refuse = |reason: &str| Err(Error::parameter("RedrivePolicy", &policy.target_arn, reason));
        let target = self.name_of_arn(&policy.target_arn);
        if target == Some(source) {
            return refuse("A queue cannot be its own dead-letter queue. Create another queue for the dead letters.");
        }
        match target.and_then(|name| self.queues.get(name)) {
            None => refuse("Dead letter target does not exist."),
            Some(target) if target.attributes.fifo != attributes.fifo => {
                refuse("Dead-letter queue must be same type of queue as the source.")
            }
            Some(target) if target.attributes.redrive_allow.as_ref().is_some_and(|p| !p.allows(&self.arn(source))) => {
                refuse("The RedriveAllowPolicy of the dead-letter queue does not allow this source queue.")
            }
            Some(_) => Ok(()),
        }
    }

    pub(super) fn delete_queue(&mut self, name: &str) -> Result<(), Error> {
        let queue = self.queues.remove(name).ok_or(Error::QueueDoesNotExist)?;
        self.changes.push(Change::DropQueue { queue: queue.id });
        queue.arrivals.notify_waiters();
        Ok(())
    }

    /// Removes all messages, in flight or not, and the deduplication ids, as AWS does.
    pub(super) fn purge(&mut self, name: &str, now_ms: i64) -> Result<(), Error> {
        let queue = self.queue(name, now_ms)?;
        if queue.purged_ms.is_some_and(|purged_ms| now_ms < purged_ms + PURGE_INTERVAL_MS) {
            return Err(Error::PurgeQueueInProgress(name.to_owned()));
        }
        queue.purged_ms = Some(now_ms);
        queue.clear();
        let queue = queue.id;
        self.changes.push(Change::Purge { queue });
        Ok(())
    }

    /// The queues that use this one as their dead-letter queue.
    pub(super) fn dead_letter_sources(&self, target: &str) -> Vec<&str> {
        let arn = self.arn(target);
        let uses = |queue: &&Queue| queue.attributes.redrive.as_ref().is_some_and(|policy| policy.target_arn == arn);
        self.queues.values().filter(uses).map(|queue| queue.name.as_str()).collect()
    }

    /// Restores loaded queues; the caller has read them from the file.
    pub(super) fn restore(&mut self, queues: Vec<Queue>) {
        self.next_queue_id = queues.iter().map(|queue| queue.id).max().unwrap_or(0) + 1;
        self.queues = queues.into_iter().map(|queue| (queue.name.clone(), queue)).collect();
    }
}

fn check_name(name: &str, fifo: bool) -> Result<(), Error> {
    let stem = if fifo { name.strip_suffix(".fifo") } else { Some(name) };
    let valid = |stem: &str| {
        !stem.is_empty() && stem.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    if name.len() <= 80 && stem.is_some_and(valid) {
        return Ok(());
    }
    Err(Error::InvalidParameterText(if fifo {
        "The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores, \
         must end with .fifo \
         suffix and be 1 to 80 in length."
            .to_owned()
    } else {
        "Can only include alphanumeric characters, hyphens, \
         or underscores. 1 to 80 in length. The suffix .fifo needs the \
         attribute FifoQueue=true."
            .to_owned()
    }))
}
