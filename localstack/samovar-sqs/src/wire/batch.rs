//! Batches: up to ten entries, each with its own result, in one commit.
//!
//! A mistake in the batch as a whole (count, ids, size, FIFO parameters) refuses the call. A mistake in an entry fails
//! only that entry.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::messages::{Checksums, HandleInput, Sent, rules, visibility_ms};
use super::validate::MessageInput;
use super::{queue_of, required};
use crate::Sqs;
use crate::attributes::MAX_MESSAGE_BYTES;
use crate::error::Error;
use crate::message::size_bytes;
use crate::state::State;

const MAX_ENTRIES: usize = 10;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Batch<T> {
    queue_url: Option<String>,
    #[serde(default = "Vec::new")]
    entries: Vec<T>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct BatchResult<T> {
    successful: Vec<T>,
    failed: Vec<Failed>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Failed {
    id: String,
    code: String,
    message: String,
    sender_fault: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Done {
    id: String,
}

impl Failed {
    fn new(id: String, error: &Error) -> Self {
        // In a batch, AWS gives an expired handle another name than in a single call.
        let (code, message) = match error {
            Error::ReceiptHandleExpired(_) => {
                ("ReceiptHandleIsInvalid".to_owned(), "The receipt handle has expired".to_owned())
            }
            error => (error.code(), error.to_string()),
        };
        Self { id, code, message, sender_fault: error.is_sender_fault() }
    }
}

impl<T> BatchResult<T> {
    fn of(results: impl IntoIterator<Item = (String, Result<T, Error>)>) -> Self {
        let mut batch = Self { successful: Vec::new(), failed: Vec::new() };
        for (id, result) in results {
            match result {
                Ok(done) => batch.successful.push(done),
                Err(error) => batch.failed.push(Failed::new(id, &error)),
            }
        }
        batch
    }
}

pub(super) async fn send(sqs: &Sqs, request: Batch<MessageInput>) -> Result<BatchResult<Sent>, Error> {
    let queue = queue_of(request.queue_url)?;
    let entries = identified(request.entries, "SendMessageBatchRequestEntry", |entry| entry.id.take())?;
    let rules = rules(sqs, &queue)?;
    for (_, entry) in &entries {
        rules.check_fifo(entry, true)?;
    }
    let size =
        |entry: &MessageInput| size_bytes(entry.message_body.as_deref().unwrap_or_default(), &entry.message_attributes);
    let (limit_bytes, sent_bytes) = (MAX_MESSAGE_BYTES as usize, entries.iter().map(|(_, entry)| size(entry)).sum());
    if sent_bytes > limit_bytes {
        return Err(Error::BatchRequestTooLong { limit_bytes, sent_bytes });
    }
    let checked: Vec<_> = entries
        .into_iter()
        .map(|(id, entry)| (id, rules.check(entry, true).map(|message| (Checksums::of(&message), message))))
        .collect();
    let results: Vec<_> = sqs
        .inner
        .run(|state, now_ms| {
            let send = |(id, checked): (String, Result<_, Error>)| {
                let result = checked.and_then(|(checksums, message): (Checksums, _)| {
                    let receipt = state.send(&queue, message, now_ms)?;
                    Ok(checksums.sent(Some(id.clone()), receipt))
                });
                (id, result)
            };
            Ok(checked.into_iter().map(send).collect())
        })
        .await?;
    Ok(BatchResult::of(results))
}

pub(super) async fn delete(sqs: &Sqs, request: Batch<HandleInput>) -> Result<BatchResult<Done>, Error> {
    let queue = queue_of(request.queue_url)?;
    let entries = identified(request.entries, "DeleteMessageBatchRequestEntry", |entry| entry.id.take())?;
    each(sqs, &queue, entries, |state, entry, now_ms| {
        state.delete(&queue, &required(entry.receipt_handle, "ReceiptHandle")?, now_ms)
    })
    .await
}

pub(super) async fn change_visibility(sqs: &Sqs, request: Batch<HandleInput>) -> Result<BatchResult<Done>, Error> {
    let queue = queue_of(request.queue_url)?;
    let entries = identified(request.entries, "ChangeMessageVisibilityBatchRequestEntry", |entry| entry.id.take())?;
    each(sqs, &queue, entries, |state, entry, now_ms| {
        let handle = required(entry.receipt_handle, "ReceiptHandle")?;
        let visibility_ms = visibility_ms(required(entry.visibility_timeout, "VisibilityTimeout")?)?;
        state.change_visibility(&queue, &handle, visibility_ms, now_ms)
    })
    .await
}

async fn each<T>(
    sqs: &Sqs,
    queue: &str,
    entries: Vec<(String, T)>,
    mut operate: impl FnMut(&mut State, T, i64) -> Result<(), Error>,
) -> Result<BatchResult<Done>, Error> {
    let results: Vec<_> = sqs
        .inner
        .run(|state, now_ms| {
            // A missing queue refuses the call, not each entry.
            state.queue(queue, now_ms)?;
            let done = entries.into_iter().map(|(id, entry)| {
                let result = operate(state, entry, now_ms).map(|()| Done { id: id.clone() });
                (id, result)
            });
            Ok(done.collect())
        })
        .await?;
    Ok(BatchResult::of(results))
}

/// The entries with their ids, which must be present, well formed and distinct.
fn identified<T>(
    entries: Vec<T>,
    entry_type: &'static str,
    take_id: impl Fn(&mut T) -> Option<String>,
) -> Result<Vec<(String, T)>, Error> {
    if entries.is_empty() {
        return Err(Error::EmptyBatchRequest(entry_type));
    }
    if entries.len() > MAX_ENTRIES {
        return Err(Error::TooManyEntriesInBatchRequest(entries.len()));
    }
    let mut seen = HashSet::new();
    let mut identified = Vec::with_capacity(entries.len());
    for mut entry in entries {
        let id = required(take_id(&mut entry), "Id")?;
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if !(1..=80).contains(&id.len()) || !id.bytes().all(allowed) {
            return Err(Error::InvalidBatchEntryId);
        }
        if !seen.insert(id.clone()) {
            return Err(Error::BatchEntryIdsNotDistinct(id));
        }
        identified.push((id, entry));
    }
    Ok(identified)
}
