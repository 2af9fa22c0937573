//! Conditional requests: `If-Match` and the like, on reading, on writing, and on what is copied.

use s3s::dto::{ETag, ETagCondition, Timestamp};
use s3s::{S3Error, S3Result, s3_error};

use super::object::{Head, modified};

/// Which version of an object may be read.
#[derive(Debug, Default)]
pub(super) struct ReadConditions {
    pub(super) matching: Option<ETagCondition>,
    pub(super) none_matching: Option<ETagCondition>,
    pub(super) modified_since: Option<Timestamp>,
    pub(super) unmodified_since: Option<Timestamp>,
}

/// Which version of an object may be overwritten.
#[derive(Debug, Default)]
pub(super) struct WriteConditions {
    pub(super) matching: Option<ETagCondition>,
    pub(super) none_matching: Option<ETagCondition>,
}

fn precondition_failed() -> S3Error {
    s3_error!(PreconditionFailed, "At least one of the pre-conditions you specified did not hold")
}

/// What is asked for is not there.
pub(super) fn no_such_key() -> S3Error {
    s3_error!(NoSuchKey, "The specified key does not exist.")
}

fn is(condition: &ETagCondition, head: &Head) -> bool {
    match condition {
        ETagCondition::Any => true,
        ETagCondition::ETag(etag) => etag.weak_cmp(&ETag::Strong(head.etag.clone())),
    }
}

impl ReadConditions {
    /// `unchanged` is what is answered where there is nothing new: 304 to readers, 412 to copies.
    pub(super) fn check(&self, head: &Head, unchanged: impl FnOnce() -> S3Error) -> S3Result<()> {
        // Dates in headers have whole seconds.
        let seconds = Head { modified_ms: head.modified_ms / 1000 * 1000, ..head.clone() };
        let last_modified = modified(&seconds);
        // An ETag goes before a date.
        let is_wanted = match (&self.matching, &self.unmodified_since) {
            (Some(condition), _) => is(condition, head),
            (None, Some(since)) => last_modified <= *since,
            (None, None) => true,
        };
        if !is_wanted {
            return Err(precondition_failed());
        }
        let is_new = match (&self.none_matching, &self.modified_since) {
            (Some(condition), _) => !is(condition, head),
            (None, Some(since)) => last_modified > *since,
            (None, None) => true,
        };
        if is_new { Ok(()) } else { Err(unchanged()) }
    }
}

/// Nothing new for a reader, or for a copy.
pub(super) fn not_modified(head: &Head) -> S3Error {
    let mut error = s3_error!(NotModified, "Not Modified");
    let mut headers = http::HeaderMap::new();
    if let Ok(etag) = format!("\"{}\"", head.etag).parse() {
        headers.insert(http::header::ETAG, etag);
    }
    error.set_headers(headers);
    error
}

pub(super) fn not_modified_for_copy() -> S3Error {
    precondition_failed()
}

impl WriteConditions {
    pub(super) fn check(&self, existing: Option<&Head>) -> S3Result<()> {
        if let Some(condition) = &self.matching {
            let existing = existing.ok_or_else(no_such_key)?;
            if !is(condition, existing) {
                return Err(precondition_failed());
            }
        }
        match (&self.none_matching, existing) {
            (Some(condition), Some(existing)) if is(condition, existing) => Err(precondition_failed()),
            _ => Ok(()),
        }
    }
}
