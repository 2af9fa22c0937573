//! Injected faults: services that fail, contend, lose an answer or never give one.
//!
//! A [`Hook`] sees every call before it is executed, and decides its fate. It may wait before it decides: this is how a
//! test orders concurrent calls, and how one could simulate latency. A [`Fault`] has two independent parts: whether the
//! service executes the call, and what the caller receives. Without a hook there is no allocation and no waiting.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde_json::json;

use super::answer::Answer;

/// One call to one service.
#[derive(Debug, Clone)]
pub struct Call {
    /// The call's number among those that pass one door, so that the parts of its life can be matched.
    pub number: u64,
    /// The calling function, according to its access key.
    pub caller: String,
    /// The process that made the call, if its credentials tell it. A presigned URL is used by somebody else.
    pub instance: Option<String>,
    /// `dynamodb`, `sqs` or `s3`; users of this crate may have their own.
    pub service: &'static str,
    /// The operation, such as `PutItem`.
    pub operation: String,
    /// The body of the request. It is empty for S3, whose bodies are streams.
    pub body: Bytes,
}

/// Decides the fate of calls.
pub trait Hook: fmt::Debug + Send + Sync {
    /// Decides about this call. The call waits for the decision.
    fn decide(&self, call: Call) -> BoxFuture<'_, Fault>;

    /// Notes that the service has executed a call. The caller has not received the answer yet.
    fn executed(&self, _call: &Call, _answer: &Answer) {}
}

/// The fate of one call.
#[derive(Debug, Default)]
pub struct Fault {
    /// The service does not execute the call.
    pub dropped: bool,
    /// The service executes the call twice, as if the network had doubled it. The caller receives the first answer.
    /// S3 and calls that are dropped are not doubled.
    pub repeated: bool,
    /// A read that may see an old state sees the one of the same read's previous answer.
    pub stale: bool,
    /// The caller's result.
    pub heard: Heard,
}

/// The result that a caller receives.
#[derive(Debug, Default)]
pub enum Heard {
    /// The service's own answer. A dropped call has none, and its caller waits for ever, as with [`Heard::Nothing`].
    #[default]
    TheAnswer,
    /// This answer in place of the service's.
    Instead(Answer),
    /// A broken connection.
    Break,
    /// Nothing: a caller without a time limit waits until it is stopped.
    Nothing,
}

impl Fault {
    /// No fault, as if there were no hook.
    pub fn none() -> Self {
        Self::default()
    }

    /// The service does not execute the call, and the caller receives this error.
    pub fn refused(answer: Answer) -> Self {
        Self { dropped: true, heard: Heard::Instead(answer), ..Self::default() }
    }

    /// The service does not execute the call, and the caller receives no regular answer.
    pub fn dropped(heard: Heard) -> Self {
        Self { dropped: true, heard, ..Self::default() }
    }

    /// The service executes the call, and the caller receives something else than its answer.
    pub fn lost(heard: Heard) -> Self {
        Self { heard, ..Self::default() }
    }
}

/// DynamoDB's TransactionCanceledException: a code for each item, `None` for an item without a problem.
pub fn transaction_cancelled(codes: &[&str]) -> Answer {
    let reasons: Vec<_> = codes.iter().map(|code| json!({ "Code": code })).collect();
    let message =
        format!("Transaction cancelled, please refer cancellation reasons for specific reasons [{}]", codes.join(", "));
    let kind = "com.amazonaws.dynamodb.v20120810#TransactionCanceledException";
    let body = json!({ "__type": kind, "Message": message, "CancellationReasons": reasons });
    Answer { status: 400, headers: Vec::new(), body: body.to_string().into_bytes() }
}

/// DynamoDB's error for a single write that met a running transaction on its item.
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

/// The hook of a [`super::Services`], if one is installed.
#[derive(Debug, Default)]
pub struct Faults(RwLock<Option<Arc<dyn Hook>>>);

impl Faults {
    /// Installs `hook` in place of the previous one.
    pub fn install(&self, hook: Arc<dyn Hook>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(hook);
    }

    /// Removes the hook, so that there are no more faults.
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

    /// A hook with one fault, which records the calls that it saw.
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

        fn executed(&self, call: &Call, answer: &Answer) {
            self.seen.lock().expect("seen").push(format!("{} heard {}", call.caller, answer.status));
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
    async fn a_fault_decides_whether_a_call_is_executed_and_what_the_caller_receives() {
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
        // A call that was not executed is not counted.
        assert_eq!(services.meter.snapshot()["worker"]["sqs"]["CreateQueue"], Value::from(3));

        services.faults.clear();
        assert_eq!(create_queue(&url, "without").await.ok(), Some(200));
        assert_eq!(hook.seen.lock().expect("seen").len(), 1);
    }

    async fn call(url: &str, target: &str, body: Value) -> Value {
        let call = reqwest::Client::new().post(url).header("x-amz-target", target);
        let key = "AWS4-HMAC-SHA256 Credential=LOCAL-worker/20260101/us-east-1/x/aws4_request";
        let response = call.header("authorization", key).body(body.to_string()).send().await.expect("an answer");
        serde_json::from_slice(&response.bytes().await.expect("a body")).unwrap_or_default()
    }

    #[tokio::test]
    async fn a_call_that_is_repeated_is_executed_twice_and_answered_once() {
        let (services, url) = served().await;
        create_queue(&url, "queue").await.expect("an answer");
        let hook = Arc::new(Once::default());
        *hook.fault.lock().expect("a fault") = Some(Fault { repeated: true, ..Fault::none() });
        services.faults.install(hook);
        let queue = json!({ "QueueUrl": "http://127.0.0.1/000000000000/queue", "MessageBody": "once" });
        let sent = call(&url, "AmazonSQS.SendMessage", queue).await;
        assert!(sent["MessageId"].is_string(), "{sent}");
        assert_eq!(services.queues.counts()["queue"].visible, 2);
    }

    #[tokio::test]
    async fn a_stale_read_gets_the_answer_that_the_same_read_got_before() {
        let (services, url) = served().await;
        let hook = Arc::new(Once::default());
        services.faults.install(hook.clone());
        let key = json!({ "AttributeName": "pk", "KeyType": "HASH" });
        let table = json!({
            "TableName": "notes", "KeySchema": [key], "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [{ "AttributeName": "pk", "AttributeType": "S" }],
        });
        let dynamodb =
            async |operation: &str, body: Value| call(&url, &format!("DynamoDB_20120810.{operation}"), body).await;
        dynamodb("CreateTable", table).await;
        let put = async |value: &str| {
            let item = json!({ "pk": { "S": "a" }, "value": { "S": value } });
            dynamodb("PutItem", json!({ "TableName": "notes", "Item": item })).await
        };
        let get = async |request: Value, stale: bool| {
            *hook.fault.lock().expect("a fault") = Some(Fault { stale, ..Fault::none() });
            dynamodb("GetItem", request).await["Item"]["value"]["S"].as_str().map(str::to_owned)
        };
        let read = json!({ "TableName": "notes", "Key": { "pk": { "S": "a" } } });
        let consistent = json!({ "TableName": "notes", "Key": { "pk": { "S": "a" } }, "ConsistentRead": true });
        put("old").await;
        assert_eq!(get(read.clone(), true).await.as_deref(), Some("old"), "there is no earlier answer yet");
        assert_eq!(get(consistent.clone(), false).await.as_deref(), Some("old"));
        put("new").await;
        assert_eq!(get(read.clone(), true).await.as_deref(), Some("old"));
        assert_eq!(get(consistent, true).await.as_deref(), Some("new"), "it must not be stale");
        assert_eq!(get(read, false).await.as_deref(), Some("new"));
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
