//! Tidying up, once a minute: what nobody else is left to do.
//!
//! No limit depends on it: a place is free the moment its lease ends, whoever is told. It closes the sockets of those whose
//! lease has ended or has passed to another connection, after telling them; deletes items that mean nothing any more; drives messages again that have waited
//! too long, because a crash came between table and queue, or no worker could live with them; and goes on deleting what deleted
//! conversations held.
//!
//! Every write is conditioned on what was seen, and in an order that a crash can't hurt: a socket is closed before its item
//! goes, a message is counted before it is queued again. So it is harmless to run twice at once, and to be cut off anywhere.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;

use crate::answer::{Finisher, MAX_ATTEMPTS};
use crate::clock::{Clock, Timestamp};
use crate::conversations::Conversations;
use crate::ids::{MessageId, UserId};
use crate::leases::{Lease, Leases};
use crate::messages::Messages;
use crate::protocol::ClosingCode;
use crate::push::{CLOSED_BY_ADMIN, Push, REPLACED, dismiss};
use crate::queue::{Job, Queue};
use crate::{Error, Result};

/// A lease that ended less than this ago is left alone: by another machine's clock it may still last.
const CLOCK_SKEW: Duration = Duration::from_secs(1);

/// A message that waits longer is looked after; longer than a worker may take, so that none is at work on it. Each time it
/// is queued again, it is given twice as long.
const STUCK_AFTER: Duration = Duration::from_secs(90);

/// A message that has no answer by then is given up: its sender has long gone. Until then a long queue is no
/// reason to give up on what waits in it.
const LONGEST_WAIT: Duration = Duration::from_secs(12 * 3600);

/// A replaced connection may not be open yet: it is while its own `$connect` runs, which the API waits 29 s for.
const OPEN_BY: Duration = Duration::from_secs(35);

/// Spent on deleted conversations; what is left waits for the next run.
const SWEEP_FOR: Duration = Duration::from_secs(20);

/// Users looked after at once.
const SIDE_BY_SIDE: usize = 16;

/// What a run did.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    pub closed: u32,
    pub redriven: u32,
    pub given_up: u32,
    /// Deleted conversations of which nothing is left.
    pub deleted: u32,
    /// Users, or deletions, for which something failed; the next run tries again.
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
    pub(crate) clock: Arc<dyn Clock>,
}

impl Janitor {
    /// Looks after everybody, once.
    ///
    /// # Errors
    /// When the leases can't be read; what fails for one user is counted and does not keep the others waiting.
    pub async fn run(&self) -> Result<Report> {
        let users = self.leases.all().await?;
        let reports = futures_util::stream::iter(users).map(async |(user, lease)| {
            let mut report = Report::default();
            if let Err(error) = self.look_after(&user, &lease, &mut report).await {
                tracing::warn!(%user, "Not tidied up: {error}");
                report.failures += 1;
            }
            report
        });
        let sum = |sum: Report, one: Report| Report {
            closed: sum.closed + one.closed,
            redriven: sum.redriven + one.redriven,
            given_up: sum.given_up + one.given_up,
            deleted: sum.deleted + one.deleted,
            failures: sum.failures + one.failures,
        };
        let total =
            reports.buffer_unordered(SIDE_BY_SIDE).fold(Report::default(), async |total, one| sum(total, one)).await;
        Ok(sum(total, self.sweep().await))
    }

    /// Goes on with the conversations that are being deleted.
    async fn sweep(&self) -> Report {
        let mut report = Report::default();
        let stop_at = self.clock.now().plus(SWEEP_FOR);
        let swept = async {
            for deletion in self.conversations.deletions().await? {
                let time = stop_at.since(self.clock.now());
                if time.is_zero() {
                    break;
                }
                report.deleted += u32::from(self.conversations.sweep(&deletion, time).await?);
            }
            Ok::<_, Error>(())
        };
        if let Err(error) = swept.await {
            tracing::warn!("Deleted conversations were not tidied up: {error}");
            report.failures += 1;
        }
        report
    }

    async fn look_after(&self, user: &UserId, lease: &Lease, report: &mut Report) -> Result<()> {
        let now = self.clock.now();
        for (message, since) in lease.unanswered() {
            if now.since(since) > STUCK_AFTER {
                self.unstick(user, &message, now, report).await?;
            }
        }
        // To whoever is not connected any more, history tells.
        for (message, _) in lease.untold.iter().filter(|_| lease.expires_at > now) {
            match self.messages.find(user, message).await? {
                Some(message) => self.queue.tell(&message, &format!("janitor {now}")).await?,
                None => self.leases.settle(user, message).await?,
            }
        }
        for (connection, since) in &lease.replaced {
            let (code, message) = if lease.closed.as_ref() == Some(connection) {
                (ClosingCode::ClosedByAdmin, CLOSED_BY_ADMIN)
            } else {
                (ClosingCode::Replaced, REPLACED)
            };
            dismiss(&*self.push, connection, code, message).await?;
            if now.since(*since) > OPEN_BY {
                self.leases.forget_replaced(user, connection).await?;
            }
        }
        if lease.expires_at.plus(CLOCK_SKEW) > now {
            return Ok(());
        }
        if !lease.is_released() {
            let (code, message) = if lease.spoken {
                (ClosingCode::LeaseExpired, "Nothing was heard of you for too long")
            } else {
                (ClosingCode::FirstMessage, "You sent no message in time")
            };
            dismiss(&*self.push, &lease.connection, code, message).await?;
            report.closed += 1;
        }
        self.leases.forget(user, lease).await
    }

    async fn unstick(&self, user: &UserId, id: &MessageId, now: Timestamp, report: &mut Report) -> Result<()> {
        let message = match self.messages.find(user, id).await? {
            Some(message) if !message.status.is_final() => message,
            Some(message) => return self.messages.uncount(&message).await,
            // Deleted, with its conversation.
            None => return self.finisher.tell_deleted(user, id).await,
        };
        if message.claimed_at.is_some_and(|at| now.since(at) < STUCK_AFTER) {
            return Ok(()); // a worker is at it
        }
        let waited = now.since(message.created_at);
        let hopeless = message.attempts >= MAX_ATTEMPTS || waited > LONGEST_WAIT;
        if hopeless {
            tracing::error!(message = %id, redriven = message.redriven, "Given up after {} s", waited.as_secs());
            self.finisher.give_up(&message).await?;
            report.given_up += 1;
        } else if waited > STUCK_AFTER * (1 << message.redriven.min(16))
            && self.messages.count_redrive(&message).await?
        {
            tracing::warn!(message = %id, "Waited for {} s, queued again", waited.as_secs());
            self.queue.send_again(&Job::from(&message), message.redriven + 1).await?;
            report.redriven += 1;
        }
        Ok(())
    }
}
