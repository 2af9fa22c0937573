//! The janitor cleans up, once a minute, where no other function will.
//!
//! No limit depends on it: a place is free the moment its lease ends, whoever is told. The janitor does the following.
//! It closes the sockets of connections whose lease has ended or has passed to another connection, after telling them.
//! It deletes items that have no use any more. It queues messages again that have waited too long, because a function
//! crashed between table and queue or because workers died of them. It tells the users who wait for workers that can't
//! start. It continues to delete the contents of deleted conversations. It deletes media that no message refers to. And
//! it writes down, as metrics, how many places are in use and how many messages wait. It counts them in the leases that
//! it has read for its work, so the count costs no call.
//!
//! Each step is bounded and stands alone. If one message, socket, user or deletion fails, the failure is counted and
//! nothing else waits for it. A step that takes longer than `EACH` is cut off. Users and deletions are handled side by
//! side, so neither can use up the other's time. Both begin with another one each minute, so those that one run did not
//! reach are reached by a later one. A run remembers nothing beyond the tables. It forgets a socket only when the
//! socket is closed for certain, or when no connection can be as old.
//!
//! Every write is conditioned on what was read, and the order is such that a crash does no harm: a socket is closed
//! before its item goes, and a message is counted before it is queued again. So two runs at once are harmless, and a
//! run may be cut off anywhere.

#[cfg(test)]
mod tests;

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use crate::answer::{Finisher, MAX_ATTEMPTS, NOBODY_BEGAN, SILENT_AFTER, UNANSWERED};
use crate::clock::{Clock, Timestamp};
use crate::conversations::Conversations;
use crate::ids::{ConnectionId, MessageId, Random, UserId};
use crate::leases::{Lease, Leases, MAX_REPLACED};
use crate::messages::{Messages, Status, StoredMessage};
use crate::metrics::Metrics;
use crate::protocol::ClosingCode;
use crate::push::{CLOSED_BY_ADMIN, Push, REPLACED, dismiss};
use crate::queue::{Job, Queue};
use crate::{Error, Result};

/// A lease that ended less than this ago is left alone. By another machine's clock it may still last.
const CLOCK_SKEW: Duration = Duration::from_secs(1);

/// A message that waits longer is looked after. This is longer than a worker may take, so no worker has it. Each time
/// it is queued again, it gets twice as long.
const STUCK_AFTER: Duration = Duration::from_secs(90);

/// If a message waits longer, a worker should have begun with it, unless all are busy or none lives.
const UNBEGUN_FOR: Duration = Duration::from_secs(20);

/// A worker begins well within this time, even with a cold start. It must be less than `EACH`.
pub(crate) const BEGINS_WITHIN: Duration = Duration::from_secs(6);

/// The time between two looks whether a worker has begun.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// A message that has no answer by then is given up: its sender has long gone. Until then a long queue is no reason to
/// give up the messages in it.
const LONGEST_WAIT: Duration = Duration::from_secs(12 * 3600);

/// A replaced connection may not be open yet. It opens only after its own `$connect` has run, and the API waits 29 s
/// for that.
const OPEN_BY: Duration = Duration::from_secs(35);

/// The API ends each connection after two hours.
const LONGEST_CONNECTION: Duration = Duration::from_secs(2 * 3600 + 300);

/// After this long a run begins nothing more. The work under way still ends well within the function's timeout of 50 s.
const RUN_FOR: Duration = Duration::from_secs(30);

/// How long one user or one deletion may take.
const EACH: Duration = Duration::from_secs(10);

/// How many users are handled at once.
const SIDE_BY_SIDE: usize = 16;

/// The counts of one run.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    pub closed: u32,
    pub redriven: u32,
    pub given_up: u32,
    /// Deleted conversations of which nothing is left.
    pub deleted: u32,
    /// Objects that no message refers to.
    pub dropped: u32,
    /// How many things failed. The next run tries them again.
    pub failures: u32,
}

#[derive(Debug, Clone)]
pub struct Janitor {
    pub(crate) finisher: Finisher,
    pub(crate) leases: Leases,
    pub(crate) messages: Messages,
    pub(crate) conversations: Conversations,
    pub(crate) queue: Queue,
    pub(crate) push: Arc<dyn Push>,
    pub(crate) metrics: Metrics,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<Random>,
    /// How long a run waits for a worker to begin if no worker seems to live.
    pub(crate) begins_within: Duration,
}

/// Whether workers live. A run finds this out once, and only if it has to know.
type WorkersLive = OnceCell<bool>;

impl Report {
    fn plus(self, other: Self) -> Self {
        Self {
            closed: self.closed + other.closed,
            redriven: self.redriven + other.redriven,
            given_up: self.given_up + other.given_up,
            deleted: self.deleted + other.deleted,
            dropped: self.dropped + other.dropped,
            failures: self.failures + other.failures,
        }
    }

    /// Counts a failure, or gives the value.
    fn note<T>(&mut self, of: &dyn Display, result: Result<T>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                tracing::warn!(%of, "Could not tidy up; the next run tries again: {error}");
                self.failures += 1;
                None
            }
        }
    }
}

impl Janitor {
    /// Looks after everybody, once.
    ///
    /// # Errors
    /// If the leases can't be read. A failure of one user is counted, and the others do not wait for it.
    pub async fn run(&self) -> Result<Report> {
        let stop_at = Instant::now() + RUN_FOR;
        let (users, deletions, held) =
            tokio::join!(self.look_after_all(stop_at), self.sweep(stop_at), self.drop_held(stop_at));
        Ok(users?.plus(deletions).plus(held))
    }

    async fn look_after_all(&self, stop_at: Instant) -> Result<Report> {
        let workers_live = &WorkersLive::new();
        let mut users = self.leases.all().await?;
        self.count(users.iter().flatten().map(|(_, lease)| lease));
        self.shuffle(&mut users);
        let reports =
            futures_util::stream::iter(users).take_until(tokio::time::sleep_until(stop_at)).map(async |user| {
                let mut report = Report::default();
                if let Some((user, lease)) = report.note(&"a user's item", user) {
                    let done =
                        tokio::time::timeout(EACH, self.look_after(&user, &lease, workers_live, &mut report)).await;
                    report.note(&user, done.map_err(|_| self.cut_off()));
                }
                report
            });
        let reports = reports.buffer_unordered(SIDE_BY_SIDE);
        Ok(reports.fold(Report::default(), async |total, one| total.plus(one)).await)
    }

    /// Writes the metrics of what is in use.
    fn count<'a>(&self, leases: impl Iterator<Item = &'a Lease>) {
        let now = self.clock.now();
        let (mut places, mut unanswered) = (0, 0);
        for lease in leases {
            places += u64::from(lease.expires_at > now);
            unanswered += lease.pending.len() as u64;
        }
        self.metrics.in_use(places, unanswered, now);
    }

    /// Continues to delete the conversations that are being deleted.
    async fn sweep(&self, stop_at: Instant) -> Report {
        let mut report = Report::default();
        let deletions = self.conversations.deletions().await;
        for deletion in report.note(&"deleted conversations", deletions).unwrap_or_default() {
            if Instant::now() >= stop_at {
                break;
            }
            let Some(deletion) = report.note(&"a deleted conversation", deletion) else { continue };
            // A long conversation is deleted in parts. The next run continues.
            let swept = tokio::time::timeout(EACH, self.conversations.sweep(&deletion, EACH / 2)).await;
            let swept = swept.unwrap_or_else(|_| Err(self.cut_off()));
            report.deleted += u32::from(report.note(&deletion.conversation, swept).unwrap_or(false));
        }
        report
    }

    /// Deletes objects that were written and are not used.
    async fn drop_held(&self, stop_at: Instant) -> Report {
        let mut report = Report::default();
        let held = self.messages.held().await;
        for held in report.note(&"held media", held).unwrap_or_default() {
            if Instant::now() >= stop_at {
                break;
            }
            let Some(held) = report.note(&"held media", held) else { continue };
            let dropped = tokio::time::timeout(EACH, self.messages.drop_held(&held)).await;
            let dropped = dropped.unwrap_or_else(|_| Err(self.cut_off()));
            report.dropped += u32::from(report.note(&"held media", dropped).unwrap_or(false));
        }
        report
    }

    fn cut_off(&self) -> Error {
        Error::OutOfTime { at: self.clock.now() }
    }

    fn shuffle<T>(&self, all: &mut [T]) {
        if let Ok(count @ 1..) = u32::try_from(all.len()) {
            all.rotate_left(self.random.below(count) as usize);
        }
    }

    async fn look_after(&self, user: &UserId, lease: &Lease, workers_live: &WorkersLive, report: &mut Report) {
        let now = self.clock.now();
        for (message, since) in lease.unanswered() {
            if now.since(since) > UNBEGUN_FOR {
                let unstuck = self.unstick(user, &message, now, workers_live, report).await;
                report.note(&message, unstuck);
            }
        }
        // A user who is not connected any more finds the end in the history.
        for (message, _) in lease.untold.iter().filter(|_| lease.expires_at > now) {
            let told = self.have_told(user, message, now).await;
            report.note(message, told);
        }
        for (connection, since) in lease.replaced.iter().take(MAX_REPLACED) {
            let closed = self.close_replaced(user, lease, connection, now.since(*since)).await;
            report.note(connection, closed);
        }
        if lease.expires_at.plus(CLOCK_SKEW) <= now {
            let ended = self.end(user, lease, now, report).await;
            report.note(user, ended);
        }
    }

    /// Queues a job that tells a user how a message ended.
    async fn have_told(&self, user: &UserId, message: &MessageId, now: Timestamp) -> Result<()> {
        match self.messages.find(user, message).await? {
            Some(message) => self.queue.tell(&message, &format!("janitor {now}")).await,
            None => self.leases.settle(user, message).await,
        }
    }

    async fn close_replaced(
        &self,
        user: &UserId,
        lease: &Lease,
        connection: &ConnectionId,
        since: Duration,
    ) -> Result<()> {
        let (code, message) = if lease.closed.as_ref() == Some(connection) {
            (ClosingCode::ClosedByAdmin, CLOSED_BY_ADMIN)
        } else {
            (ClosingCode::Replaced, REPLACED)
        };
        let closed = dismiss(&*self.push, connection, code, message).await;
        if since > LONGEST_CONNECTION || (closed.is_ok() && since > OPEN_BY) {
            self.leases.forget_replaced(user, connection).await?;
        }
        closed
    }

    /// Closes the socket of a lease that has ended, and forgets it.
    async fn end(&self, user: &UserId, lease: &Lease, now: Timestamp, report: &mut Report) -> Result<()> {
        let mut closed = Ok(());
        if !lease.is_released() {
            let (code, message) = if lease.spoken {
                (ClosingCode::LeaseExpired, "Your client has sent nothing for too long; connect again")
            } else {
                (ClosingCode::FirstMessage, "You have sent no message in time; connect again to send one")
            };
            closed = dismiss(&*self.push, &lease.connection, code, message).await;
            report.closed += u32::from(closed.is_ok());
        }
        if closed.is_ok() || now.since(lease.expires_at) > LONGEST_CONNECTION {
            self.leases.forget(user, lease).await?;
        }
        closed
    }

    /// Whether workers live. Either one has given a sign lately, or one begins with this message when the message is
    /// queued again. There may be no sign only because the message never reached the queue.
    async fn workers_live(&self, unbegun: &StoredMessage, now: Timestamp) -> Result<bool> {
        let live = async || {
            let seen = self.messages.worker_seen().await?;
            Ok::<_, Error>(seen.is_some_and(|seen| now.since(seen) <= SILENT_AFTER))
        };
        if live().await? {
            return Ok(true);
        }
        self.queue.rescue_at(unbegun, now).await?;
        let give_up_at = Instant::now() + self.begins_within;
        while Instant::now() < give_up_at {
            tokio::time::sleep(LOOK_EVERY.min(self.begins_within)).await;
            if live().await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn unstick(
        &self,
        user: &UserId,
        id: &MessageId,
        now: Timestamp,
        workers_live: &WorkersLive,
        report: &mut Report,
    ) -> Result<()> {
        let message = match self.messages.find(user, id).await? {
            Some(message) if !message.status.is_final() => message,
            Some(message) => return self.messages.uncount(&message).await,
            // The message was deleted with its conversation.
            None => return self.finisher.tell_deleted(user, id).await,
        };
        if message.claimed_at.is_some_and(|at| now.since(at) < STUCK_AFTER) {
            return Ok(()); // a worker has it
        }
        let waited = now.since(message.created_at);
        let unbegun = message.status == Status::Queued && message.claimed_at.is_none();
        if unbegun && !*workers_live.get_or_try_init(|| self.workers_live(&message, now)).await? {
            tracing::error!(message = %id, "Gave up after {} s: no worker starts", waited.as_secs());
            report.given_up += u32::from(self.finisher.give_up(&message, NOBODY_BEGAN).await?);
        } else if waited > STUCK_AFTER && message.attempts >= MAX_ATTEMPTS || waited > LONGEST_WAIT {
            tracing::error!(message = %id, redriven = message.redriven, "Gave up after {} s", waited.as_secs());
            report.given_up += u32::from(self.finisher.give_up(&message, UNANSWERED).await?);
        } else if waited > STUCK_AFTER * (1 << message.redriven.min(16))
            && self.messages.count_redrive(&message).await?
        {
            tracing::warn!(message = %id, "The message has waited for {} s and is queued again", waited.as_secs());
            self.queue.send_again(&Job::from(&message), message.redriven + 1).await?;
            report.redriven += 1;
        }
        Ok(())
    }
}
