//! Events that services send: their targets, and how Lambda handles those for a function.

use std::time::Duration;

/// A resource of the template to which a service sends events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// [`Function::function_name`](super::Function::function_name)
    Function(String),
    /// [`Queue::name`](super::Queue::name)
    Queue(String),
    /// [`Topic::arn`](super::Topic::arn)
    Topic(String),
}

/// How Lambda handles the asynchronous invocations of a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventInvokeConfig {
    /// `MaximumEventAgeInSeconds`.
    pub maximum_event_age: Duration,
    /// `MaximumRetryAttempts`, from 0 to 2.
    pub maximum_retry_attempts: u32,
    /// The destination of a record of each invocation that has succeeded.
    pub on_success: Option<Target>,
    /// The destination of a record of each event that is given up.
    pub on_failure: Option<Target>,
    /// The queue or topic for events that are given up: `DeadLetterQueue` or `DeadLetterConfig`.
    pub dead_letters: Option<Target>,
}

impl Default for EventInvokeConfig {
    /// Lambda's defaults: two retries within six hours.
    fn default() -> Self {
        Self {
            maximum_event_age: Duration::from_secs(6 * 3600),
            maximum_retry_attempts: 2,
            on_success: None,
            on_failure: None,
            dead_letters: None,
        }
    }
}

/// A notification of a bucket for a queue or a topic. Functions have [`Trigger::S3`](super::Trigger::S3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// The queue or topic.
    pub target: Target,
    /// For example `s3:ObjectCreated:*`.
    pub event: String,
    /// The beginning of the keys.
    pub prefix: String,
    /// The end of the keys.
    pub suffix: String,
}
