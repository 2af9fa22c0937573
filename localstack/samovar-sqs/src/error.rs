//! What can go wrong, as AWS names it.
//!
//! Each error knows its two names on the wire: the JSON protocol's type and the older query protocol's code. The SDKs read
//! the second from a header and recognise errors by it. Where AWS's own text was recorded (by LocalStack's tests against
//! AWS) it is used as it is; where the text is ours it says what to do.

use std::path::PathBuf;

/// A refused call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the message of each variant says what it is")]
pub enum Error {
    #[error("The specified queue does not exist.")]
    QueueDoesNotExist,
    #[error("A queue already exists with the same name and a different value for attribute {attribute}")]
    QueueNameExists { attribute: String },
    #[error("Unknown Attribute {0}.")]
    UnknownAttribute(String),
    #[error("{0}")]
    InvalidAttributeName(String),
    #[error("Invalid value for the parameter {name}. Reason: {reason}")]
    InvalidAttributeValue { name: String, reason: String },
    #[error("Value {value} for parameter {name} is invalid. Reason: {reason}")]
    InvalidParameter { name: &'static str, value: String, reason: String },
    /// `InvalidParameterValue` whose text does not have the usual form.
    #[error("{0}")]
    InvalidParameterText(String),
    #[error("The request must contain the parameter {0}.")]
    MissingParameter(&'static str),
    #[error("{0}")]
    InvalidMessageContents(String),
    #[error("The input receipt handle \"{0}\" is not a valid receipt handle.")]
    ReceiptHandleIsInvalid(String),
    #[error("Value {0} for parameter ReceiptHandle is invalid. Reason: The receipt handle has expired.")]
    ReceiptHandleExpired(String),
    #[error(
        "Value {0} for parameter ReceiptHandle is invalid. Reason: Message does not exist or is not available for \
         visibility timeout change."
    )]
    ReceiptHandleNotCurrent(String),
    #[error("There should be at least one {0} in the request.")]
    EmptyBatchRequest(&'static str),
    #[error("Maximum number of entries per request are 10. You have sent {0}.")]
    TooManyEntriesInBatchRequest(usize),
    #[error("Id {0} repeated.")]
    BatchEntryIdsNotDistinct(String),
    #[error(
        "A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at most 80 letters \
         long."
    )]
    InvalidBatchEntryId,
    #[error("Batch requests cannot be longer than {limit_bytes} bytes. You have sent {sent_bytes} bytes.")]
    BatchRequestTooLong { limit_bytes: usize, sent_bytes: usize },
    #[error("Only one PurgeQueue operation on {0} is allowed every 60 seconds.")]
    PurgeQueueInProgress(String),
    #[error("Too many messages in flight: at most {0} of a standard queue. Delete the messages that are done.")]
    OverLimit(usize),
    #[error("{0}")]
    ResourceNotFound(String),
    #[error("The operation {0} is not one that this server knows.")]
    UnknownOperation(String),
    #[error("The request is not JSON of the form that the operation takes: {0}")]
    Serialization(String),
    #[error("The queue server is closed; start it again")]
    Closed,
    #[error(
        "The queues could not be written to disk, so nothing more is acknowledged: {0}. Restart once there is room"
    )]
    Storage(String),
}

impl Error {
    pub(crate) fn parameter(name: &'static str, value: impl ToString, reason: impl Into<String>) -> Self {
        Self::InvalidParameter { name, value: value.to_string(), reason: reason.into() }
    }

    /// The type in the JSON protocol, with its namespace.
    pub fn type_name(&self) -> String {
        let (namespace, name) = match self {
            Self::QueueDoesNotExist => (SQS, "QueueDoesNotExist"),
            Self::QueueNameExists { .. } => (SQS, "QueueNameExists"),
            Self::UnknownAttribute(_) | Self::InvalidAttributeName(_) => (SQS, "InvalidAttributeName"),
            Self::InvalidAttributeValue { .. } => (SQS, "InvalidAttributeValue"),
            Self::InvalidParameter { .. }
            | Self::InvalidParameterText(_)
            | Self::ReceiptHandleExpired(_)
            | Self::ReceiptHandleNotCurrent(_) => (CORAL, "InvalidParameterValueException"),
            Self::MissingParameter(_) => (CORAL, "MissingRequiredParameterException"),
            Self::InvalidMessageContents(_) => (SQS, "InvalidMessageContents"),
            Self::ReceiptHandleIsInvalid(_) => (SQS, "ReceiptHandleIsInvalid"),
            Self::EmptyBatchRequest(_) => (SQS, "EmptyBatchRequest"),
            Self::TooManyEntriesInBatchRequest(_) => (SQS, "TooManyEntriesInBatchRequest"),
            Self::BatchEntryIdsNotDistinct(_) => (SQS, "BatchEntryIdsNotDistinct"),
            Self::InvalidBatchEntryId => (SQS, "InvalidBatchEntryId"),
            Self::BatchRequestTooLong { .. } => (SQS, "BatchRequestTooLong"),
            Self::PurgeQueueInProgress(_) => (SQS, "PurgeQueueInProgress"),
            Self::OverLimit(_) => (SQS, "OverLimit"),
            Self::ResourceNotFound(_) => (SQS, "ResourceNotFoundException"),
            Self::UnknownOperation(_) => (CORAL, "UnknownOperationException"),
            Self::Serialization(_) => (CORAL, "SerializationException"),
            Self::Closed => (CORAL, "ServiceUnavailableException"),
            Self::Storage(_) => (CORAL, "InternalFailure"),
        };
        format!("{namespace}#{name}")
    }

    /// The code in the query protocol, which batches and the SDKs' error types use.
    pub fn code(&self) -> String {
        match self {
            Self::QueueDoesNotExist => "AWS.SimpleQueueService.NonExistentQueue".to_owned(),
            Self::QueueNameExists { .. } => "QueueAlreadyExists".to_owned(),
            Self::InvalidParameter { .. }
            | Self::InvalidParameterText(_)
            | Self::ReceiptHandleExpired(_)
            | Self::ReceiptHandleNotCurrent(_) => "InvalidParameterValue".to_owned(),
            Self::MissingParameter(_) => "MissingParameter".to_owned(),
            _ => {
                let type_name = self.type_name();
                let name = type_name.split_once('#').map_or(type_name.as_str(), |(_, name)| name).to_owned();
                match self {
                    Self::EmptyBatchRequest(_)
                    | Self::TooManyEntriesInBatchRequest(_)
                    | Self::BatchEntryIdsNotDistinct(_)
                    | Self::InvalidBatchEntryId
                    | Self::BatchRequestTooLong { .. }
                    | Self::PurgeQueueInProgress(_) => format!("AWS.SimpleQueueService.{name}"),
                    _ => name,
                }
            }
        }
    }

    /// The status of the HTTP response.
    pub fn status(&self) -> u16 {
        match self {
            Self::ResourceNotFound(_) => 404,
            Self::OverLimit(_) => 403,
            Self::Storage(_) => 500,
            Self::Closed => 503,
            _ => 400,
        }
    }

    /// Whether the caller is to blame, as batches and the query header say it.
    pub fn is_sender_fault(&self) -> bool {
        self.status() < 500
    }
}

const SQS: &str = "com.amazonaws.sqs";
const CORAL: &str = "com.amazon.coral.service";

/// The server could not start.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message of each variant says what it is")]
pub enum OpenError {
    #[error("The queue file {} is in use by another process; stop that one or choose another file", path.display())]
    InUse { path: PathBuf },
    #[error("The queue file {} was written by a newer version (schema {found}, known {known})", path.display())]
    NewerSchema { path: PathBuf, found: i64, known: i64 },
    #[error("The queue file {} holds what this version cannot read: {reason}", path.display())]
    Corrupt { path: PathBuf, reason: String },
    #[error("The queue file {} cannot be opened: {source}", path.display())]
    Sqlite { path: PathBuf, source: rusqlite::Error },
    #[error("The thread that writes the queue file could not start: {0}")]
    Thread(std::io::Error),
}
