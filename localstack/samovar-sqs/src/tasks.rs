//! Message move tasks: the record of each, and its form in ListMessageMoveTasks. `moves` does their work.

use std::collections::VecDeque;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};

/// The number of finished tasks that are kept.
pub(super) const REMEMBERED: usize = 100;

/// The tasks, newest first.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    pub(super) list: VecDeque<Task>,
}

#[derive(Clone, Debug)]
pub(super) struct Task {
    pub(super) id: String,
    pub(super) source: String,
    pub(super) destination: Option<String>,
    pub(super) per_second: Option<u32>,
    pub(super) status: Status,
    pub(super) moved: u64,
    pub(super) to_move: u64,
    pub(super) failure: Option<&'static str>,
    pub(super) started_ms: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Running,
    Completed,
    Cancelled,
    Failed,
}

/// A task in the form of ListMessageMoveTasks.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct TaskView {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) task_handle: Option<String>,
    pub(super) status: &'static str,
    pub(super) source_arn: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) destination_arn: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) max_number_of_messages_per_second: Option<u32>,
    pub(super) approximate_number_of_messages_moved: u64,
    pub(super) approximate_number_of_messages_to_move: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) failure_reason: Option<&'static str>,
    pub(super) started_timestamp: i64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Handle {
    pub(super) task_id: String,
    pub(super) source_arn: String,
}

/// The next step of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// There is another step at this moment.
    At(i64),
    Done,
}

pub(super) fn handle(id: &str, source_arn: &str) -> String {
    let handle = Handle { task_id: id.to_owned(), source_arn: source_arn.to_owned() };
    BASE64.encode(serde_json::to_vec(&handle).expect("two strings have a JSON form"))
}
