//! What every use of DynamoDB here shares: attribute values in and out, and the one way a conditional write or a transaction
//! is tried: contention is retried with jitter, a failed condition is an answer, anything else is an error.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{AttributeValue, TransactWriteItem};

use crate::clock::Timestamp;
use crate::ids::Random;
use crate::{Error, Result};

pub type Item = HashMap<String, AttributeValue>;

/// Tries of one write against concurrent transactions on the same items, before giving up.
const MAX_ATTEMPTS: u32 = 10;

pub fn s(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

pub fn n(value: impl std::fmt::Display) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

pub fn time(value: Timestamp) -> AttributeValue {
    n(value.0)
}

/// Reading an item: a missing or mistyped attribute is a bug that names the item.
#[derive(Debug, Clone, Copy)]
pub struct Fields<'a>(pub &'a Item);

impl<'a> Fields<'a> {
    pub fn text(&self, name: &str) -> Result<&'a str> {
        self.optional_text(name).ok_or_else(|| self.corrupt(name))
    }

    pub fn optional_text(&self, name: &str) -> Option<&'a str> {
        self.0.get(name)?.as_s().ok().map(String::as_str)
    }

    pub fn number<T: std::str::FromStr>(&self, name: &str) -> Result<T> {
        let text = self.0.get(name).and_then(|value| value.as_n().ok());
        text.and_then(|text| text.parse().ok()).ok_or_else(|| self.corrupt(name))
    }

    pub fn time(&self, name: &str) -> Result<Timestamp> {
        self.number(name).map(Timestamp)
    }

    pub fn flag(&self, name: &str) -> bool {
        matches!(self.0.get(name), Some(AttributeValue::Bool(true)))
    }

    pub fn map(&self, name: &str) -> Option<&'a HashMap<String, AttributeValue>> {
        self.0.get(name)?.as_m().ok()
    }

    fn corrupt(&self, name: &str) -> Error {
        let part = |key: &str| self.optional_text(key).unwrap_or_default().to_owned();
        Error::Corrupt { key: format!("{}/{}", part("pk"), part("sk")), detail: format!("no valid `{name}`") }
    }
}

/// Which items of a refused transaction failed their condition, by index, each with what it was at that moment.
#[derive(Debug, Default)]
pub struct Refused(HashMap<usize, Item>);

impl Refused {
    /// The item whose condition failed; empty if there was none.
    pub fn item(&self, index: usize) -> Option<&Item> {
        self.0.get(&index)
    }
}

/// Writes all or nothing. `Ok(Err(_))`: a condition said no.
pub async fn transact(
    db: &Client,
    random: &Random,
    items: &[TransactWriteItem],
) -> Result<std::result::Result<(), Refused>> {
    const OPERATION: &str = "TransactWriteItems";
    for attempt in 0..MAX_ATTEMPTS {
        let error = match db.transact_write_items().set_transact_items(Some(items.to_vec())).send().await {
            Ok(_) => return Ok(Ok(())),
            Err(error) => error,
        };
        match outcome(error) {
            Outcome::Refused(refused) => return Ok(Err(refused)),
            Outcome::Contended => pause(random, attempt).await,
            Outcome::Failed(error) => return Err(error),
        }
    }
    Err(Error::Contended { operation: OPERATION, attempts: MAX_ATTEMPTS })
}

enum Outcome {
    Refused(Refused),
    Contended,
    Failed(Error),
}

fn outcome(error: SdkError<TransactWriteItemsError>) -> Outcome {
    let Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) = error.as_service_error() else {
        return if is_contention(error.code()) {
            Outcome::Contended
        } else {
            Outcome::Failed(Error::service("TransactWriteItems", &error))
        };
    };
    let reasons = cancelled.cancellation_reasons();
    // Contention first: beside it, DynamoDB need not have evaluated every condition.
    if reasons.iter().any(|reason| is_contention(reason.code())) {
        return Outcome::Contended;
    }
    let failed = |(index, reason): (usize, &aws_sdk_dynamodb::types::CancellationReason)| {
        (reason.code() == Some("ConditionalCheckFailed")).then(|| (index, reason.item().cloned().unwrap_or_default()))
    };
    let refused: HashMap<usize, Item> = reasons.iter().enumerate().filter_map(failed).collect();
    if refused.is_empty() {
        return Outcome::Failed(Error::service("TransactWriteItems", &error));
    }
    Outcome::Refused(Refused(refused))
}

/// Codes that mean "somebody else is writing this" or "slower", in errors and in cancellation reasons.
pub fn is_contention(code: Option<&str>) -> bool {
    matches!(
        code,
        Some(
            "TransactionConflict"
                | "TransactionConflictException"
                | "TransactionInProgressException"
                | "ThrottlingError"
                | "ThrottlingException"
                | "ProvisionedThroughputExceeded"
                | "ProvisionedThroughputExceededException"
                | "RequestLimitExceeded"
        )
    )
}

/// Sends a single conditional write, again while it is contended. `Ok(None)`: its condition said no.
pub async fn conditional<T, E, F>(random: &Random, operation: &'static str, send: impl Fn() -> F) -> Result<Option<T>>
where
    F: Future<Output = std::result::Result<T, SdkError<E>>>,
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    for attempt in 0..MAX_ATTEMPTS {
        match send().await {
            Ok(output) => return Ok(Some(output)),
            Err(error) if error.code() == Some("ConditionalCheckFailedException") => return Ok(None),
            Err(error) if is_contention(error.code()) => pause(random, attempt).await,
            Err(error) => return Err(Error::service(operation, &error)),
        }
    }
    Err(Error::Contended { operation, attempts: MAX_ATTEMPTS })
}

/// Full jitter: spreads those who met once, so that they don't meet again.
pub(crate) async fn pause(random: &Random, attempt: u32) {
    let ceiling_ms = 10u32 << attempt.min(6);
    tokio::time::sleep(Duration::from_millis(u64::from(1 + random.below(ceiling_ms)))).await;
}
