//! Operations on message move tasks: start, list, cancel.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::required;
use crate::error::Error;
use crate::tasks::TaskView;
use crate::{Inner, Sqs};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct StartMessageMoveTask {
    source_arn: Option<String>,
    destination_arn: Option<String>,
    max_number_of_messages_per_second: Option<u32>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct StartedMoveTask {
    task_handle: String,
}

pub(super) async fn start(sqs: &Sqs, request: StartMessageMoveTask) -> Result<StartedMoveTask, Error> {
    let source = required(request.source_arn, "SourceArn")?;
    let (destination, rate) = (request.destination_arn.as_deref(), request.max_number_of_messages_per_second);
    let (id, task_handle) =
        sqs.inner.run(|state, now_ms| state.start_move_task(&source, destination, rate, now_ms)).await?;
    // Weak, so that a task does not keep a dropped server alive.
    tokio::spawn(Inner::drive_move_task(Arc::downgrade(&sqs.inner), id));
    Ok(StartedMoveTask { task_handle })
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListMessageMoveTasks {
    source_arn: Option<String>,
    max_results: Option<usize>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct TaskList {
    results: Vec<TaskView>,
}

pub(super) fn list(sqs: &Sqs, request: ListMessageMoveTasks) -> Result<TaskList, Error> {
    let source = required(request.source_arn, "SourceArn")?;
    let max = request.max_results.unwrap_or(1);
    if !(1..=10).contains(&max) {
        return Err(Error::parameter("MaxResults", max, "Must be between 1 and 10, if provided."));
    }
    Ok(TaskList { results: sqs.inner.lock().list_move_tasks(&source, max)? })
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct CancelMessageMoveTask {
    task_handle: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Cancelled {
    approximate_number_of_messages_moved: u64,
}

pub(super) async fn cancel(sqs: &Sqs, request: CancelMessageMoveTask) -> Result<Cancelled, Error> {
    let handle = required(request.task_handle, "TaskHandle")?;
    let moved = sqs.inner.run(|state, _| state.cancel_move_task(&handle)).await?;
    Ok(Cancelled { approximate_number_of_messages_moved: moved })
}
