//! Writes that happen together or not at all. Each write has a name, its part of the transaction. After a refusal, the
//! caller asks by that name which condition failed. Positions would change with every write that is added.
//!
//! Each use has an enum of its parts. Several writes may be one part if none of them has a condition.

use std::fmt::Debug;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata as _, SdkError};
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::builders::{DeleteBuilder, PutBuilder, UpdateBuilder};
use aws_sdk_dynamodb::types::{CancellationReason, TransactWriteItem};

use super::{Item, MAX_ATTEMPTS, built, is_contention, pause};
use crate::ids::Random;
use crate::{Error, Result};

const OPERATION: &str = "TransactWriteItems";

#[derive(Debug)]
pub struct Transaction<Part> {
    writes: Vec<(Part, Write)>,
}

#[derive(Debug)]
pub enum Write {
    Put(PutBuilder),
    Update(UpdateBuilder),
    Delete(DeleteBuilder),
}

/// The parts whose condition failed, each with its item as it was at that moment.
#[derive(Debug)]
pub struct Refusal<Part>(Vec<(Part, Item)>);

impl<Part: Copy + PartialEq> Refusal<Part> {
    /// The item of a part whose condition failed. It is empty if there was no item, or if the write does not ask for
    /// it.
    pub fn by(&self, part: Part) -> Option<&Item> {
        self.0.iter().find(|(refused, _)| *refused == part).map(|(_, item)| item)
    }

    pub fn is_by(&self, part: Part) -> bool {
        self.by(part).is_some()
    }
}

impl<Part: Copy + PartialEq + Debug> Transaction<Part> {
    pub fn new() -> Self {
        Self { writes: Vec::new() }
    }

    #[must_use]
    pub fn with(mut self, part: Part, write: impl Into<Write>) -> Self {
        self.add(part, write);
        self
    }

    pub fn add(&mut self, part: Part, write: impl Into<Write>) {
        self.writes.push((part, write.into()));
    }

    /// Writes all or nothing. `Ok(Err(_))`: a condition failed. Contention is retried.
    pub async fn send(self, db: &Client, random: &Random) -> Result<std::result::Result<(), Refusal<Part>>> {
        let mut parts = Vec::new();
        let mut items = Vec::new();
        for (part, write) in self.writes {
            parts.push(part);
            items.push(write.build()?);
        }
        for attempt in 0..MAX_ATTEMPTS {
            let error = match db.transact_write_items().set_transact_items(Some(items.clone())).send().await {
                Ok(_) => return Ok(Ok(())),
                Err(error) => error,
            };
            match failure(error, &parts) {
                TransactionFailure::Refused(refusal) => return Ok(Err(refusal)),
                TransactionFailure::Contended => pause(random, attempt).await,
                TransactionFailure::Other(error) => return Err(error),
            }
        }
        Err(Error::Contended { operation: OPERATION, attempts: MAX_ATTEMPTS })
    }
}

impl<Part: Copy + PartialEq + Debug> Default for Transaction<Part> {
    fn default() -> Self {
        Self::new()
    }
}

impl Write {
    fn build(self) -> Result<TransactWriteItem> {
        let item = TransactWriteItem::builder();
        Ok(match self {
            Self::Put(put) => item.put(built(put.build())?),
            Self::Update(update) => item.update(built(update.build())?),
            Self::Delete(delete) => item.delete(built(delete.build())?),
        }
        .build())
    }
}

impl From<PutBuilder> for Write {
    fn from(put: PutBuilder) -> Self {
        Self::Put(put)
    }
}

impl From<UpdateBuilder> for Write {
    fn from(update: UpdateBuilder) -> Self {
        Self::Update(update)
    }
}

impl From<DeleteBuilder> for Write {
    fn from(delete: DeleteBuilder) -> Self {
        Self::Delete(delete)
    }
}

enum TransactionFailure<Part> {
    Refused(Refusal<Part>),
    Contended,
    Other(Error),
}

fn failure<Part: Copy>(error: SdkError<TransactWriteItemsError>, parts: &[Part]) -> TransactionFailure<Part> {
    let understood = match error.as_service_error() {
        Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => {
            cancellation(cancelled.cancellation_reasons(), parts)
        }
        _ => is_contention(error.code()).then_some(TransactionFailure::Contended),
    };
    understood.unwrap_or_else(|| TransactionFailure::Other(Error::service(OPERATION, &error)))
}

/// DynamoDB gives one reason for each write, in the order of the writes.
fn cancellation<Part: Copy>(reasons: &[CancellationReason], parts: &[Part]) -> Option<TransactionFailure<Part>> {
    // Contention is checked first: if there is any, DynamoDB may not have evaluated every condition.
    if reasons.iter().any(|reason| is_contention(reason.code())) {
        return Some(TransactionFailure::Contended);
    }
    let refused: Vec<(Part, Item)> = parts
        .iter()
        .zip(reasons)
        .filter(|(_, reason)| reason.code() == Some("ConditionalCheckFailed"))
        .map(|(part, reason)| (*part, reason.item().cloned().unwrap_or_default()))
        .collect();
    (!refused.is_empty()).then_some(TransactionFailure::Refused(Refusal(refused)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dynamo::text;

    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Part {
        First,
        Second,
        Third,
    }

    /// A transaction that was cancelled for these reasons, with the items `a`, `b` and `c`.
    fn cancelled(codes: [&str; 3]) -> Option<TransactionFailure<Part>> {
        let reason = |(code, name)| CancellationReason::builder().code(code).item("name", text(name)).build();
        let reasons: Vec<_> = codes.into_iter().zip(["a", "b", "c"]).map(reason).collect();
        cancellation(&reasons, &[Part::First, Part::Second, Part::Third])
    }

    #[test]
    fn a_refusal_is_read_by_part() {
        let Some(TransactionFailure::Refused(refusal)) = cancelled(["None", "ConditionalCheckFailed", "None"]) else {
            panic!("not refused")
        };
        assert_eq!(refusal.by(Part::Second).and_then(|item| item.get("name")), Some(&text("b")));
        assert!(!refusal.is_by(Part::First) && !refusal.is_by(Part::Third));
    }

    #[test]
    fn beside_contention_nothing_is_a_refusal() {
        let contended = cancelled(["ConditionalCheckFailed", "None", "TransactionConflict"]);
        assert!(matches!(contended, Some(TransactionFailure::Contended)));
    }

    #[test]
    fn a_reason_that_is_neither_refusal_nor_contention_is_an_error() {
        assert!(cancelled(["None", "ValidationError", "None"]).is_none());
    }
}
