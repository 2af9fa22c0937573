//! Moving dead letters back: StartMessageMoveTask and its relatives.
//!
//! A task takes the visible messages of a dead-letter queue and sends them to the queue that they came from, or to one
//! given queue. By AWS's documentation, moved messages count as new ones: they get a new id, no receives, and a new
//! retention period. Deduplication does not apply to them; otherwise a redrive within five minutes of the send would
//! lose the message.
//!
//! Invariants: there is one running task per source, and each message moves in one transaction. Tasks live in memory
//! only. After a restart the remaining messages are still in the dead-letter queue, and the task has to be started
//! again. (AWS would continue it.)

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::error::Error;
use super::message::{Content, Delivery, Stored};
use super::state::State;
use super::store::Change;
use super::tasks::{Handle, REMEMBERED, Status, Step, Task, TaskView, handle};

/// The number of messages to move under one lock when no rate is given. The lock is released in between.
const CHUNK: usize = 100;
impl State {
    /// Registers a task. The caller then drives it with [`State::step_move_task`].
    pub(super) fn start_move_task(
        &mut self,
        source_arn: &str,
        destination_arn: Option<&str>,
        per_second: Option<u32>,
        now_ms: i64,
    ) -> Result<(String, String), Error> {
        let source = self.resource(source_arn, "SourceArn")?;
        let destination = destination_arn.map(|arn| self.resource(arn, "DestinationArn")).transpose()?;
        if self.dead_letter_sources(&source).is_empty() {
            return Err(Error::InvalidParameterText(
                "Source queue must be configured as a Dead Letter Queue.".to_owned(),
            ));
        }
        if let Some(rate) = per_second.filter(|rate| !(1..=500).contains(rate)) {
            return Err(Error::parameter(
                "MaxNumberOfMessagesPerSecond",
                rate,
                "Must be between 1 and 500, if provided.",
            ));
        }
        let fifo = self.queue(&source, now_ms)?.attributes.fifo;
        if let Some(destination) = &destination
            && (*destination == source || self.queue(destination, now_ms)?.attributes.fifo != fifo)
        {
            let reason = "The destination must be another queue of the same type as the source.";
            return Err(Error::parameter("DestinationArn", destination_arn.unwrap_or_default(), reason));
        }
        if self.tasks.list.iter().any(|task| task.source == source && task.status == Status::Running) {
            return Err(Error::InvalidParameterText(
                "There is already a task running. Only one active task is allowed for a source queue arn at a given \
                 time."
                    .to_owned(),
            ));
        }
        let queue = self.queue(&source, now_ms)?;
        let to_move = queue.visible() as u64;
        let id = self.ids.uuid();
        let handle = handle(&id, source_arn);
        self.tasks.list.push_front(Task {
            id: id.clone(),
            source,
            destination,
            per_second,
            status: Status::Running,
            moved: 0,
            to_move,
            failure: None,
            started_ms: now_ms,
        });
        self.tasks.list.truncate(REMEMBERED);
        Ok((id, handle))
    }

    /// Moves the messages that are due, and returns the time of the next step.
    pub(super) fn step_move_task(&mut self, id: &str, now_ms: i64) -> Step {
        let Some(at) = self.tasks.list.iter().position(|task| task.id == id) else { return Step::Done };
        let mut task = self.tasks.list[at].clone();
        if task.status != Status::Running || self.closed {
            return Step::Done;
        }
        // With a rate, messages move one at a time, each at the moment when it is due.
        let due_ms =
            |moved: u64, rate: u32| task.started_ms + i64::try_from(moved * 1000 / u64::from(rate)).unwrap_or(i64::MAX);
        let chunk = if task.per_second.is_some() { 1 } else { CHUNK };
        let step = match task.per_second.map(|rate| due_ms(task.moved, rate)) {
            Some(due_ms) if due_ms > now_ms => Step::At(due_ms),
            _ => {
                let (moved, failure) = self.move_some(&task, chunk, now_ms);
                task.moved += moved;
                task.to_move = task.to_move.max(task.moved);
                task.failure = failure;
                match (moved, failure) {
                    (_, Some(_)) => task.status = Status::Failed,
                    (0, None) => task.status = Status::Completed,
                    (_, None) => {}
                }
                match task.status {
                    Status::Running => Step::At(task.per_second.map_or(now_ms, |rate| due_ms(task.moved, rate))),
                    _ => Step::Done,
                }
            }
        };
        self.tasks.list[at] = task;
        step
    }

    /// Returns the number of moved messages, and the reason if it had to stop.
    fn move_some(&mut self, task: &Task, max: usize, now_ms: i64) -> (u64, Option<&'static str>) {
        const NO_QUEUE: &str = "AWS.SimpleQueueService.NonExistentQueue";
        let Ok(source) = self.queue(&task.source, now_ms) else { return (0, Some(NO_QUEUE)) };
        let picked = source.pick(max, |_| false).deliver;
        let mut moved = 0;
        for sequence in picked {
            let content = match self.queue(&task.source, now_ms) {
                Ok(source) => source.get(sequence).map(|message| Arc::clone(&message.content)),
                Err(_) => return (moved, Some(NO_QUEUE)),
            };
            let Some(content) = content else { continue };
            let Some(target) = task.destination.as_ref().or(content.dead_letter_source.as_ref()) else {
                return (moved, Some("CouldNotDetermineMessageSource"));
            };
            let anew = Content {
                message_id: self.ids.uuid(),
                sent_ms: now_ms,
                dead_letter_source: None,
                ..Content::clone(&content)
            };
            let delivery = Delivery { visible_ms: now_ms, ..Delivery::default() };
            let message = Stored { sequence: self.ids.sequence(now_ms), content: Arc::new(anew), delivery };
            if self.put(target, message, now_ms).is_err() {
                return (moved, Some(NO_QUEUE));
            }
            if let Ok(source) = self.queue(&task.source, now_ms) {
                source.remove(sequence);
            }
            self.changes.push(Change::Remove { sequence });
            moved += 1;
        }
        (moved, None)
    }

    pub(super) fn list_move_tasks(&self, source_arn: &str, max: usize) -> Result<Vec<TaskView>, Error> {
        let source = self.resource(source_arn, "SourceArn")?;
        Ok(self.tasks.list.iter().filter(|task| task.source == source).take(max).map(|task| self.view(task)).collect())
    }

    /// Returns the number of messages that had been moved.
    pub(super) fn cancel_move_task(&mut self, task_handle: &str) -> Result<u64, Error> {
        let handle: Handle = BASE64
            .decode(task_handle)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .ok_or_else(|| Error::InvalidParameterText("Value for parameter TaskHandle is invalid.".to_owned()))?;
        self.resource(&handle.source_arn, "SourceArn")?;
        let running = |task: &&mut Task| task.id == handle.task_id && task.status == Status::Running;
        match self.tasks.list.iter_mut().find(running) {
            None => Err(Error::ResourceNotFound("Task does not exist.".to_owned())),
            Some(task) => {
                task.status = Status::Cancelled;
                Ok(task.moved)
            }
        }
    }

    fn view(&self, task: &Task) -> TaskView {
        let source_arn = self.arn(&task.source);
        TaskView {
            task_handle: (task.status == Status::Running).then(|| handle(&task.id, &source_arn)),
            status: match task.status {
                Status::Running => "RUNNING",
                Status::Completed => "COMPLETED",
                Status::Cancelled => "CANCELLED",
                Status::Failed => "FAILED",
            },
            source_arn,
            destination_arn: task.destination.as_deref().map(|name| self.arn(name)),
            max_number_of_messages_per_second: task.per_second,
            approximate_number_of_messages_moved: task.moved,
            approximate_number_of_messages_to_move: task.to_move,
            failure_reason: task.failure,
            started_timestamp: task.started_ms,
        }
    }

    /// The queue that an ARN parameter names.
    fn resource(&self, arn: &str, parameter: &str) -> Result<String, Error> {
        let name = self.name_of_arn(arn).filter(|name| self.queues.contains_key(*name));
        name.map(str::to_owned).ok_or_else(|| {
            Error::ResourceNotFound(format!(
                "The resource that you specified for the {parameter} parameter doesn't exist."
            ))
        })
    }
}
