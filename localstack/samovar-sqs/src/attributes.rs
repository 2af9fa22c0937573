//! A queue's attributes: their defaults, limits and text form.
//!
//! Invariant: an [`Attributes`] value is always valid by itself (ranges, FIFO rules). Rules that involve other queues,
//! such as the existence of a dead-letter queue, are checked in `state`.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::error::Error;

/// The limit on body and attributes of one message, and on all messages of a batch: 1 MiB since August 2025.
pub(super) const MAX_MESSAGE_BYTES: u32 = 1_048_576;
pub(super) const MAX_VISIBILITY_SECONDS: u32 = 43_200;
pub(super) const MAX_DELAY_SECONDS: u32 = 900;
pub(super) const MAX_WAIT_SECONDS: u32 = 20;

/// Attributes that GetQueueAttributes computes.
pub(super) const DERIVED: [&str; 6] = [
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesDelayed",
    "ApproximateNumberOfMessagesNotVisible",
    "CreatedTimestamp",
    "LastModifiedTimestamp",
    "QueueArn",
];

/// Attributes that can be set. Once set, they can be read.
pub(super) const SETTABLE: [&str; 15] = [
    "ContentBasedDeduplication",
    "DeduplicationScope",
    "DelaySeconds",
    "FifoQueue",
    "FifoThroughputLimit",
    "KmsDataKeyReusePeriodSeconds",
    "KmsMasterKeyId",
    "MaximumMessageSize",
    "MessageRetentionPeriod",
    "Policy",
    "ReceiveMessageWaitTimeSeconds",
    "RedriveAllowPolicy",
    "RedrivePolicy",
    "SqsManagedSseEnabled",
    "VisibilityTimeout",
];

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Attributes {
    pub(super) fifo: bool,
    pub(super) visibility_seconds: u32,
    pub(super) retention_seconds: u32,
    pub(super) delay_seconds: u32,
    pub(super) wait_seconds: u32,
    pub(super) max_message_bytes: u32,
    pub(super) content_based_deduplication: bool,
    pub(super) deduplication_per_group: bool,
    throughput_per_group: bool,
    pub(super) redrive: Option<RedrivePolicy>,
    pub(super) redrive_allow: Option<RedriveAllowPolicy>,
    managed_sse: bool,
    /// Attributes that are stored and returned, without effect: `Policy`, `KmsMasterKeyId`,
    /// `KmsDataKeyReusePeriodSeconds`.
    inert: BTreeMap<String, String>,
}

/// The receive count at which a message moves to the dead-letter queue, and that queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RedrivePolicy {
    pub(super) target_arn: String,
    pub(super) max_receive_count: u32,
    text: String,
}

/// The queues that may use this one as their dead-letter queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RedriveAllowPolicy {
    permission: Permission,
    source_arns: Vec<String>,
    text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Permission {
    AllowAll,
    DenyAll,
    ByQueue,
}

impl RedriveAllowPolicy {
    pub(super) fn allows(&self, source_arn: &str) -> bool {
        match self.permission {
            Permission::AllowAll => true,
            Permission::DenyAll => false,
            Permission::ByQueue => self.source_arns.iter().any(|arn| arn == source_arn),
        }
    }
}

impl Attributes {
    pub(super) fn new(fifo: bool) -> Self {
        Self {
            fifo,
            visibility_seconds: 30,
            retention_seconds: 345_600,
            delay_seconds: 0,
            wait_seconds: 0,
            max_message_bytes: MAX_MESSAGE_BYTES,
            content_based_deduplication: false,
            deduplication_per_group: false,
            throughput_per_group: false,
            redrive: None,
            redrive_allow: None,
            managed_sse: true,
            inert: BTreeMap::new(),
        }
    }

    /// These attributes with changes applied. An empty value resets an attribute to its default.
    pub(super) fn with(&self, changes: &BTreeMap<String, String>) -> Result<Self, Error> {
        let mut new = self.clone();
        for (name, value) in changes {
            new.set(name, value)?;
        }
        if new.throughput_per_group && !new.deduplication_per_group {
            return Err(invalid(
                "FifoThroughputLimit",
                "The perMessageGroupId value is allowed only when the value for DeduplicationScope is messageGroup.",
            ));
        }
        if changes.get("SqsManagedSseEnabled").is_some_and(|v| v.eq_ignore_ascii_case("true"))
            && new.inert.contains_key("KmsMasterKeyId")
        {
            return Err(Error::InvalidAttributeName(
                "You can use one type of server-side encryption (SSE) at one time. You can either enable KMS SSE or \
                 SQS \
                 SSE."
                    .to_owned(),
            ));
        }
        Ok(new)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), Error> {
        let default = Self::new(self.fifo);
        match name {
            "VisibilityTimeout" => {
                self.visibility_seconds = number(name, value, 0..=MAX_VISIBILITY_SECONDS, default.visibility_seconds)?;
            }
            "MessageRetentionPeriod" => {
                self.retention_seconds = number(name, value, 60..=1_209_600, default.retention_seconds)?;
            }
            "DelaySeconds" => self.delay_seconds = number(name, value, 0..=MAX_DELAY_SECONDS, default.delay_seconds)?,
            "ReceiveMessageWaitTimeSeconds" => {
                self.wait_seconds = number(name, value, 0..=MAX_WAIT_SECONDS, default.wait_seconds)?;
            }
            "MaximumMessageSize" => {
                self.max_message_bytes = number(name, value, 1024..=MAX_MESSAGE_BYTES, default.max_message_bytes)?;
            }
            "FifoQueue" if !self.fifo => return Err(Error::UnknownAttribute(name.to_owned())),
            "FifoQueue" => {
                if !boolean(name, value, true)? {
                    return Err(invalid(name, "Modifying queue type is not supported."));
                }
            }
            "ContentBasedDeduplication" if !self.fifo => return Err(Error::UnknownAttribute(name.to_owned())),
            "ContentBasedDeduplication" => self.content_based_deduplication = boolean(name, value, false)?,
            "DeduplicationScope" | "FifoThroughputLimit" if !self.fifo => {
                return Err(Error::InvalidAttributeName(format!(
                    "You can specify the {name} only when FifoQueue is set to true."
                )));
            }
            "DeduplicationScope" => self.deduplication_per_group = choice(name, value, "queue", "messageGroup")?,
            "FifoThroughputLimit" => self.throughput_per_group = choice(name, value, "perQueue", "perMessageGroupId")?,
            "RedrivePolicy" => self.redrive = redrive_policy(value)?,
            "RedriveAllowPolicy" => self.redrive_allow = redrive_allow_policy(value)?,
            "SqsManagedSseEnabled" => {
                self.managed_sse = boolean(name, value, true)?;
            }
            "KmsMasterKeyId" | "KmsDataKeyReusePeriodSeconds" | "Policy" => {
                if name == "KmsDataKeyReusePeriodSeconds" {
                    number(name, value, 60..=86_400, 300)?;
                }
                if value.is_empty() {
                    self.inert.remove(name);
                } else {
                    self.inert.insert(name.to_owned(), value.to_owned());
                    self.managed_sse &= name != "KmsMasterKeyId";
                }
            }
            _ => return Err(Error::UnknownAttribute(name.to_owned())),
        }
        Ok(())
    }

    /// The attributes in the form in which they are stored and in which GetQueueAttributes returns them.
    pub(super) fn render(&self) -> BTreeMap<String, String> {
        let mut map = self.inert.clone();
        let mut put = |name: &str, value: String| map.insert(name.to_owned(), value);
        put("VisibilityTimeout", self.visibility_seconds.to_string());
        put("MessageRetentionPeriod", self.retention_seconds.to_string());
        put("DelaySeconds", self.delay_seconds.to_string());
        put("ReceiveMessageWaitTimeSeconds", self.wait_seconds.to_string());
        put("MaximumMessageSize", self.max_message_bytes.to_string());
        put("SqsManagedSseEnabled", self.managed_sse.to_string());
        if self.fifo {
            put("FifoQueue", "true".to_owned());
            put("ContentBasedDeduplication", self.content_based_deduplication.to_string());
            put("DeduplicationScope", if self.deduplication_per_group { "messageGroup" } else { "queue" }.to_owned());
            let limit = if self.throughput_per_group { "perMessageGroupId" } else { "perQueue" };
            put("FifoThroughputLimit", limit.to_owned());
        }
        if let Some(policy) = &self.redrive {
            put("RedrivePolicy", policy.text.clone());
        }
        if let Some(policy) = &self.redrive_allow {
            put("RedriveAllowPolicy", policy.text.clone());
        }
        map
    }

    /// The first of the given attributes that differs here.
    pub(super) fn first_difference(&self, other: &Self, names: &BTreeMap<String, String>) -> Option<String> {
        let (mine, others) = (self.render(), other.render());
        names.keys().find(|name| mine.get(*name) != others.get(*name)).cloned()
    }
}

fn invalid(name: &str, reason: impl Into<String>) -> Error {
    Error::InvalidAttributeValue { name: name.to_owned(), reason: reason.into() }
}

fn number(name: &str, value: &str, range: std::ops::RangeInclusive<u32>, default: u32) -> Result<u32, Error> {
    if value.is_empty() {
        return Ok(default);
    }
    value.parse().ok().filter(|number| range.contains(number)).ok_or_else(|| {
        invalid(name, format!("Must be a whole number from {} to {}, got {value}.", range.start(), range.end()))
    })
}

fn boolean(name: &str, value: &str, default: bool) -> Result<bool, Error> {
    match value.to_ascii_lowercase().as_str() {
        "" => Ok(default),
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(invalid(name, format!("Must be true or false, got {value}."))),
    }
}

/// Returns whether the value is the second of the two. Empty means the first, which is the default.
fn choice(name: &str, value: &str, first: &str, second: &str) -> Result<bool, Error> {
    match value {
        "" => Ok(false),
        _ if value == first => Ok(false),
        _ if value == second => Ok(true),
        _ => Err(invalid(name, format!("Must be {first} or {second}, got {value}."))),
    }
}

fn redrive_policy(text: &str) -> Result<Option<RedrivePolicy>, Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Wire {
        dead_letter_target_arn: Option<String>,
        max_receive_count: Option<serde_json::Value>,
    }
    if text.is_empty() {
        return Ok(None);
    }
    let refuse = |reason: String| Error::parameter("RedrivePolicy", text, reason);
    let wire: Wire = serde_json::from_str(text).map_err(|error| refuse(format!("Must be a JSON object: {error}.")))?;
    let missing = |name: &str| refuse(format!("Redrive policy does not contain mandatory attribute: {name}."));
    let target_arn = wire.dead_letter_target_arn.ok_or_else(|| missing("deadLetterTargetArn"))?;
    let count = wire.max_receive_count.ok_or_else(|| missing("maxReceiveCount"))?;
    // Templates write a number, the AWS console a string.
    let count = count.as_str().map_or_else(|| count.to_string(), str::to_owned);
    let max_receive_count = count.parse().ok().filter(|count| (1..=1000).contains(count)).ok_or_else(|| {
        refuse(format!("Invalid value for maxReceiveCount: {count}, valid values are from 1 to 1000 both inclusive."))
    })?;
    // AWS returns the policy in this form, whatever form was sent.
    let text =
        serde_json::json!({ "deadLetterTargetArn": target_arn, "maxReceiveCount": max_receive_count }).to_string();
    Ok(Some(RedrivePolicy { target_arn, max_receive_count, text }))
}

fn redrive_allow_policy(text: &str) -> Result<Option<RedriveAllowPolicy>, Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Wire {
        redrive_permission: Permission,
        #[serde(default)]
        source_queue_arns: Vec<String>,
    }
    if text.is_empty() {
        return Ok(None);
    }
    let refuse = |reason: String| Error::parameter("RedriveAllowPolicy", text, reason);
    let wire: Wire = serde_json::from_str(text).map_err(|error| {
        refuse(format!("Must be a JSON object with redrivePermission allowAll, denyAll or byQueue: {error}."))
    })?;
    let (permission, source_arns) = (wire.redrive_permission, wire.source_queue_arns);
    if (permission == Permission::ByQueue) == source_arns.is_empty() || source_arns.len() > 10 {
        return Err(refuse("sourceQueueArns takes 1 to 10 ARNs with byQueue and none otherwise.".to_owned()));
    }
    Ok(Some(RedriveAllowPolicy { permission, source_arns, text: text.to_owned() }))
}
