//! The common part of all code that uses DynamoDB: reading and writing attribute values, and one way to try a
//! conditional write or a [`Transaction`]. Contention is retried with jitter, a failed condition is a result, and
//! anything else is an error.

mod transaction;

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::error::{BuildError, ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::types::AttributeValue;

use crate::clock::Timestamp;
use crate::ids::Random;
use crate::{Error, Result};

pub use transaction::{Refusal, Transaction, Write};

pub type Item = HashMap<String, AttributeValue>;

/// How often one write is tried against concurrent transactions on the same items.
const MAX_ATTEMPTS: u32 = 10;

pub fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

pub fn number(value: impl std::fmt::Display) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

pub fn time(value: Timestamp) -> AttributeValue {
    number(value.0)
}

/// Reads an item. A missing or mistyped attribute is a bug, and the error names the item.
#[derive(Debug, Clone, Copy)]
pub struct Attributes<'a>(pub &'a Item);

impl<'a> Attributes<'a> {
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
        Error::Corrupt { key: format!("{}/{}", part("pk"), part("sk")), detail: format!("it has no valid `{name}`") }
    }
}

/// The SDK's builders fail only if a required member was not set. That is a bug.
pub(crate) fn built<T>(result: std::result::Result<T, BuildError>) -> Result<T> {
    result.map_err(|error| Error::Corrupt { key: "request".to_owned(), detail: error.to_string() })
}

/// Codes that mean "somebody else is writing this" or "slow down", in errors and in cancellation reasons.
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

/// Sends a single conditional write and repeats it while it is contended. `Ok(None)`: its condition failed.
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

/// Full jitter: writers that met once spread out, so that they do not meet again.
pub(crate) async fn pause(random: &Random, attempt: u32) {
    let ceiling_ms = 10u32 << attempt.min(6);
    tokio::time::sleep(Duration::from_millis(u64::from(1 + random.below(ceiling_ms)))).await;
}
