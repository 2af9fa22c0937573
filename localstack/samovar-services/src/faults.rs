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

use super::answer::Answer;

/// One call of one service.
#[derive(Debug, Clone)]
pub struct Call {
    /// The function that called, by its access key.
    pub caller: String,
    /// `dynamodb`, `sqs` or `s3`.
    pub service: &'static str,
    /// Such as `PutItem`.
    pub operation: String,
    /// The request's; empty for S3, whose bodies are streams.
    pub body: Bytes,
}

/// Decides what becomes of calls.
pub trait Hook: fmt::Debug + Send + Sync {
    /// What becomes of this call; it waits until this is said.
    fn decide(&self, call: Call) -> BoxFuture<'_, Fault>;

    /// The service has executed a call of `caller`, which has not heard of it yet.
    fn executed(&self, _caller: &str, _answer: &Answer) {}
}

/// What becomes of one call.
#[derive(Debug, Default)]
pub struct Fault {
    /// The service does not execute the call.
    pub dropped: bool,
    /// What its caller hears of it.
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
    let message =
        format!("Transaction cancelled, please refer cancellation reasons for specific reasons [{}]", codes.join(", "));
    let kind = "com.amazonaws.dynamodb.v20120810#TransactionCanceledException";
    let body = json!({ "__type": kind, "Message": message, "CancellationReasons": reasons });
    Answer { status: 400, headers: Vec::new(), body: body.to_string().into_bytes() }
}

/// A single write that met a transaction on its item.
pub fn transaction_conflict() -> Answer {
    let kind = "com.amazonaws.dynamodb.v20120810#TransactionConflictException";
    Answer::error(400, kind, "Transaction is ongoing for the item")
}

/// DynamoDB's ProvisionedThroughputExceededException.
pub fn throughput_exceeded() -> Answer {
    let kind = "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException";
    Answer::error(400, kind, "The level of configured provisioned throughput for the table was exceeded")
}

/// A service's ThrottlingException.
pub fn throttled() -> Answer {
    Answer::error(400, "com.amazon.coral.availability#ThrottlingException", "Rate exceeded")
}

/// DynamoDB's InternalServerError.
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures_util::FutureExt as _;
    use serde_json::Value;

    use super::*;
    use crate::dynamodb::DynamoDb;
    use crate::queues::Queues;
    use crate::{PATH, Services};
    use samovar_sqs::{Sqs, Storage, SystemClock};

    /// One fault, and what was seen.
    #[derive(Debug, Default)]
    struct Once {
        fault: Mutex<Option<Fault>>,
        seen: Mutex<Vec<String>>,
    }

    impl Hook for Once {
        fn decide(&self, call: Call) -> BoxFuture<'_, Fault> {
            let line = format!("{} {} {}", call.caller, call.service, call.operation);
            self.seen.lock().expect("seen").push(line);
            let fault = self.fault.lock().expect("a fault").take().unwrap_or_default();
            async move { fault }.boxed()
        }

        fn executed(&self, caller: &str, answer: &Answer) {
            self.seen.lock().expect("seen").push(format!("{caller} heard {}", answer.status));
        }
    }

    async fn served() -> (Arc<Services>, String) {
        let queues = Sqs::open(Storage::Memory, "us-east-1", "000000000000", "http://127.0.0.1", Arc::new(SystemClock));
        let dynamodb = DynamoDb::open(None).expect("a database in memory");
        let services = Services::new(dynamodb, Queues::Embedded(queues.expect("queues in memory")), None);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}{PATH}", listener.local_addr().expect("its address"));
        let served = Arc::clone(&services);
        tokio::spawn(async move { served.serve(listener, tokio_util::sync::CancellationToken::new()).await });
        (services, url)
    }

    async fn create_queue(url: &str, name: &str) -> reqwest::Result<u16> {
        let call = reqwest::Client::new()
            .post(url)
            .header("x-amz-target", "AmazonSQS.CreateQueue")
            .header("authorization", "AWS4-HMAC-SHA256 Credential=LOCAL-worker/20260101/us-east-1/sqs/aws4_request")
            .body(json!({ "QueueName": name }).to_string());
        let response = call.send().await?;
        let status = response.status().as_u16();
        response.bytes().await.map(|_| status)
    }

    #[tokio::test]
    async fn a_fault_says_whether_a_call_is_executed_and_what_is_heard_of_it() {
        let (services, url) = served().await;
        let hook = Arc::new(Once::default());
        services.faults.install(hook.clone());
        let cases = [
            (Fault::none(), Some(200), true),
            (Fault::refused(throttled()), Some(400), false),
            (Fault::lost(Heard::Instead(internal_server_error())), Some(500), true),
            (Fault::lost(Heard::Break), None, true),
            (Fault::dropped(Heard::Break), None, false),
        ];
        for (number, (fault, status, executed)) in cases.into_iter().enumerate() {
            let case = format!("{fault:?}");
            *hook.fault.lock().expect("a fault") = Some(fault);
            hook.seen.lock().expect("seen").clear();
            assert_eq!(create_queue(&url, &format!("queue-{number}")).await.ok(), status, "{case}");
            let is_there = services.queues.counts().contains_key(&format!("queue-{number}"));
            assert_eq!(is_there, executed, "{case}");
            let mut seen = vec!["worker sqs CreateQueue"];
            seen.extend(executed.then_some("worker heard 200"));
            assert_eq!(*hook.seen.lock().expect("seen"), seen, "{case}");
        }
        // What was not executed is not billed.
        assert_eq!(services.meter.snapshot()["worker"]["sqs"]["CreateQueue"], Value::from(3));

        services.faults.clear();
        assert_eq!(create_queue(&url, "without").await.ok(), Some(200));
        assert_eq!(hook.seen.lock().expect("seen").len(), 1);
    }

    #[tokio::test]
    async fn a_call_that_is_never_answered_waits_until_its_caller_goes_away() {
        let (services, url) = served().await;
        let hook = Arc::new(Once::default());
        *hook.fault.lock().expect("a fault") = Some(Fault::lost(Heard::Nothing));
        services.faults.install(hook);
        tokio::select! {
            status = create_queue(&url, "silent") => panic!("it was answered: {status:?}"),
            () = async {
                while services.queues.counts().is_empty() {
                    tokio::task::yield_now().await;
                }
            } => {}
        }
        assert_eq!(create_queue(&url, "next").await.ok(), Some(200));
    }

    #[test]
    fn a_cancelled_transaction_names_a_reason_for_each_item() {
        let answer = transaction_cancelled(&["None", "TransactionConflict"]);
        let body: Value = serde_json::from_slice(&answer.body).expect("JSON");
        assert_eq!(body["CancellationReasons"], json!([{ "Code": "None" }, { "Code": "TransactionConflict" }]));
        assert!(body["Message"].as_str().is_some_and(|text| text.ends_with("[None, TransactionConflict]")), "{body}");
    }
}
