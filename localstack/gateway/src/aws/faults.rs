//! Injected faults: what a service that fails, contends, loses an answer or never gives one looks like to its caller.
//!
//! A [`Hook`] is shown every call before it is executed and says what becomes of it. It may wait before it says so: that is
//! how a test orders concurrent calls, and how one would simulate latency. A [`Fault`] says two things that are independent
//! of each other: whether the service executes the call, and what its caller hears. Without a hook nothing is asked,
//! allocated or waited for.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde_json::json;

use super::Answer;

/// One call of one service.
#[derive(Debug, Clone)]
pub struct Call {
    /// The function that called, by its access key.
    pub caller: String,
    pub service: &'static str,
    pub operation: String,
    pub body: Bytes,
}

/// Decides what becomes of calls.
pub trait Hook: fmt::Debug + Send + Sync {
    fn decide(&self, call: Call) -> BoxFuture<'_, Fault>;

    /// The service has executed a call of `caller`, which has not heard of it yet.
    fn executed(&self, _caller: &str, _answer: &Answer) {}
}

/// What becomes of one call.
#[derive(Debug, Default)]
pub struct Fault {
    /// The service does not execute the call.
    pub dropped: bool,
    pub heard: Heard,
}

/// What the caller hears.
#[derive(Debug, Default)]
pub enum Heard {
    /// What the service says. Of a dropped call, which the service never saw, there is nothing to hear: [`Heard::Nothing`].
    #[default]
    TheAnswer,
    /// This instead.
    Instead(Answer),
    /// The connection breaks.
    Break,
    /// Nothing, ever: whoever waits without a time limit waits until it is stopped.
    Nothing,
}

impl Fault {
    /// As if there was no hook.
    pub fn none() -> Self {
        Self::default()
    }

    /// Not executed, but refused.
    pub fn refused(answer: Answer) -> Self {
        Self { dropped: true, heard: Heard::Instead(answer) }
    }

    /// Not executed, and not answered as it should be.
    pub fn dropped(heard: Heard) -> Self {
        Self { dropped: true, heard }
    }

    /// Executed, but the answer is lost.
    pub fn lost(heard: Heard) -> Self {
        Self { dropped: false, heard }
    }
}

/// DynamoDB's TransactionCanceledException: a code for each item, `None` where there was nothing wrong with it.
pub fn transaction_cancelled(codes: &[&str]) -> Answer {
    let reasons: Vec<_> = codes.iter().map(|code| json!({ "Code": code })).collect();
    let message = format!(
        "Transaction cancelled, please refer cancellation reasons for specific reasons [{}]",
        codes.join(", ")
    );
    let kind = "com.amazonaws.dynamodb.v20120810#TransactionCanceledException";
    let body = json!({ "__type": kind, "Message": message, "CancellationReasons": reasons });
    Answer { status: 400, headers: Vec::new(), body: body.to_string().into_bytes() }
}

/// A single write that met a transaction on its item.
pub fn transaction_conflict() -> Answer {
    let kind = "com.amazonaws.dynamodb.v20120810#TransactionConflictException";
    Answer::error(400, kind, "Transaction is ongoing for the item")
}

pub fn throughput_exceeded() -> Answer {
    let kind = "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException";
    Answer::error(400, kind, "The level of configured provisioned throughput for the table was exceeded")
}

pub fn throttled() -> Answer {
    Answer::error(400, "com.amazon.coral.availability#ThrottlingException", "Rate exceeded")
}

pub fn internal_server_error() -> Answer {
    Answer::error(500, "com.amazonaws.dynamodb.v20120810#InternalServerError", "Internal server error")
}

/// The hook of a [`super::Services`], if there is one.
#[derive(Debug, Default)]
pub struct Faults(RwLock<Option<Arc<dyn Hook>>>);

impl Faults {
    /// Asks `hook` from now on, instead of the one before.
    pub fn install(&self, hook: Arc<dyn Hook>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(hook);
    }

    /// No more faults.
    pub fn clear(&self) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    pub(super) fn hook(&self) -> Option<Arc<dyn Hook>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
