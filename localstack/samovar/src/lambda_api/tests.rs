//! Calls as an SDK makes them, with scripted functions.

use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::time::Duration;

use axum::body::to_bytes;
use http::Request as HttpRequest;
use samovar_services::access_key;
use samovar_services::permissions::Permissions;
use tower_service::Service as _;

use super::*;
use crate::build::testing::function;
use crate::testing::functions::Functions;

struct Bench {
    functions: Arc<Functions>,
    router: Router,
    door: Door,
    events: EventQueues,
}

/// An answer: its status, its headers and its body.
struct Answered(StatusCode, HeaderMap, String);

impl Answered {
    fn header(&self, name: &str) -> Option<&str> {
        self.1.get(name).map(|value| value.to_str().unwrap())
    }

    fn is(&self, status: u16, kind: &str, words: &str) {
        let Answered(found, _, body) = self;
        assert_eq!((found.as_u16(), self.header("x-amzn-errortype")), (status, Some(kind)), "{body}");
        assert!(body.contains(words), "{body}");
    }
}

impl Bench {
    async fn new() -> Self {
        let account = Account { region: "us-east-1".to_owned(), id: "000000000000".to_owned() };
        let (functions, door) = (Arc::new(Functions::default()), Door::default());
        let folder = std::path::Path::new("/");
        let declared = [
            Function { name: "hello-binary".to_owned(), ..function("Hello", "provided.al2023", folder) },
            Function { reserved_concurrency: Some(1), ..function("Other", "provided.al2023", folder) },
        ];
        let invoker: Arc<dyn Invoker> = functions.clone();
        let events = EventQueues::open(None, declared.iter().map(|it| it.function_name.as_str())).await.unwrap();
        let api = LambdaApi::new(&declared, account, invoker, door.clone(), events.clone());
        Self { functions, router: Arc::new(api).router(), door, events }
    }

    async fn call(&self, function: &str, headers: &[(&'static str, &str)], payload: impl Into<Body>) -> Answered {
        let (function, query) = function.split_once('?').unwrap_or((function, ""));
        let mut request = HttpRequest::post(format!("/2015-03-31/functions/{function}/invocations?{query}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answered = self.router.clone().call(request.body(payload.into()).unwrap()).await.unwrap();
        let (head, body) = answered.into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap();
        Answered(head.status, head.headers, String::from_utf8(body.to_vec()).unwrap())
    }
}

const EVENT: (&str, &str) = ("x-amz-invocation-type", "Event");

#[tokio::test]
async fn a_function_is_found_by_its_name_its_arn_and_its_logical_id() {
    let bench = Bench::new().await;
    for given in [
        "local-Hello",
        "Hello",
        "hello-binary",
        "Hello:$LATEST",
        "Hello?Qualifier=$LATEST",
        "function:local-Hello",
        "000000000000:function:local-Hello",
        "arn%3Aaws%3Alambda%3Aus-east-1%3A000000000000%3Afunction%3Alocal-Hello",
    ] {
        assert_eq!(bench.call(given, &[], "1").await.0, 200, "{given}");
    }
    assert_eq!(bench.functions.count("hello-binary"), 8);
    for (given, arn) in [
        ("none", "function:none"),
        ("Hello:7", "function:local-Hello:7"),
        ("Hello?Qualifier=7", "function:local-Hello:7"),
        ("my-function:live", "function:my-function:live"),
    ] {
        let words = format!("Function not found: arn:aws:lambda:us-east-1:000000000000:{arn}\"");
        bench.call(given, &[], "1").await.is(404, "ResourceNotFoundException", &words);
    }
}

#[tokio::test]
async fn a_caller_gets_the_answer_or_the_functions_error() {
    let bench = Bench::new().await;
    bench.functions.script("hello-binary", |event| Ok(json!({ "got": event }).to_string().into()));
    let answered = bench.call("Hello", &[], r#"{"a":1}"#).await;
    assert_eq!((answered.0, answered.2.as_str()), (StatusCode::OK, r#"{"got":{"a":1}}"#));
    assert_eq!(answered.header("x-amz-executed-version"), Some("$LATEST"));
    assert_eq!(answered.header("x-amzn-requestid").map(str::len), Some(36));
    assert_eq!((answered.header("x-amz-function-error"), answered.header("x-amz-log-result")), (None, None));
    assert_eq!(bench.call("Hello", &[], "").await.2, r#"{"got":{}}"#);
    assert_eq!(bench.door.meter().snapshot()["other"]["lambda"]["Invoke"], 2);

    bench.functions.fails("Other", "no");
    let failed = bench.call("Other", &[], "1").await;
    assert_eq!((failed.0, failed.2.as_str()), (StatusCode::OK, r#"{"errorMessage":"no"}"#));
    assert_eq!(failed.header("x-amz-function-error"), Some("Unhandled"));
}

#[tokio::test]
async fn a_request_that_is_wrong_is_refused() {
    let bench = Bench::new().await;
    let content = "InvalidRequestContentException";
    bench.call("Hello", &[], "{").await.is(400, content, "Could not parse request body into json");
    let kind = ("x-amz-invocation-type", "Later");
    bench.call("Hello", &[kind], "1").await.is(400, "InvalidParameterValueException", "Later is no invocation type");
    for context in ["?", "MQ=="] {
        let context = ("x-amz-client-context", context);
        bench.call("Hello", &[context], "1").await.is(400, content, "valid Base64-encoded JSON object");
    }
    let broken = Body::from_stream(futures_util::stream::once(async { Err::<Bytes, _>(std::io::Error::other("x")) }));
    bench.call("Hello", &[], broken).await.is(400, content, "The request broke off");
    let large = |bytes: usize| format!("\"{}\"", "x".repeat(bytes - 2));
    let too_large = "RequestEntityTooLargeException";
    bench.call("Hello", &[], large(6 * 1024 * 1024 + 1)).await.is(413, too_large, "smaller than 6291456 bytes for");
    let words = "1048577 byte payload is too large for the Event invocation type (limit 1048576 bytes)";
    bench.call("Hello", &[EVENT], large(1024 * 1024 + 1)).await.is(413, too_large, words);
    assert_eq!(bench.functions.count("hello-binary"), 0);
    assert_eq!(bench.call("Hello", &[], large(6 * 1024 * 1024)).await.0, 200);
    assert_eq!(bench.call("Hello", &[EVENT], large(1024 * 1024)).await.0, 202);
}

#[tokio::test]
async fn a_throttled_call_says_whose_limit_it_is_and_a_stack_that_stops_is_an_error() {
    let bench = Bench::new().await;
    for (name, reason) in [("Other", "ReservedFunction"), ("hello-binary", "\"")] {
        bench.functions.script(name, |_| Err(IntegrationError::Throttled("full".to_owned())));
        let words = format!("{reason}ConcurrentInvocationLimitExceeded");
        bench.call(name, &[], "1").await.is(429, "TooManyRequestsException", &words);
    }
    bench.functions.script("Other", |_| Err(IntegrationError::Host("It stops".to_owned())));
    bench.call("Other", &[], "1").await.is(500, "ServiceException", "It stops");
    let stops = Ended { result: Err(InvokeError::ShuttingDown), log: None };
    assert!(matches!(ended_response(stops, "id"), Err(ApiError::Service(_))));
}

#[tokio::test]
async fn a_dry_run_checks_and_does_not_invoke() {
    let bench = Bench::new().await;
    let dry = [("x-amz-invocation-type", "DryRun")];
    assert_eq!(bench.call("Hello", &dry, "1").await.0, 204);
    bench.call("none", &dry, "1").await.is(404, "ResourceNotFoundException", "none");
    assert_eq!(bench.functions.count("hello-binary"), 0);
}

#[tokio::test]
async fn an_event_is_answered_when_it_is_in_its_functions_queue() {
    let bench = Bench::new().await;
    let context = ("x-amz-client-context", "e30=");
    let headers = [EVENT, ("x-amz-log-type", "Tail"), ("x-amzn-trace-id", "Root=1"), context];
    let accepted = bench.call("Other", &headers, r#"{"a": 1.0}"#).await;
    assert_eq!((accepted.0.as_u16(), accepted.2.as_str(), accepted.header("x-amz-log-result")), (202, "", None));
    let [taken] = bench.events.take("local-Other", 10).await.unwrap().try_into().unwrap();
    let Event { payload, request_id, trace_id, client_context, errors, refusals, .. } = taken.event;
    assert_eq!((payload.get(), Some(request_id.as_str())), (r#"{"a": 1.0}"#, accepted.header("x-amzn-requestid")));
    assert_eq!((trace_id.as_deref(), client_context.as_deref()), (Some("Root=1"), Some("{}")));
    assert_eq!((errors, refusals, bench.functions.count("Other")), (0, 0, 0));
}

#[tokio::test]
async fn an_event_that_cannot_be_kept_is_not_accepted() {
    let bench = Bench::new().await;
    bench.events.close().await;
    bench.call("Other", &[EVENT], "1").await.is(500, "ServiceException", "An event could not be accepted");
}

#[tokio::test]
async fn a_function_may_invoke_only_what_its_policies_allow() {
    let bench = Bench::new().await;
    let policies = [json!({ "Statement": {
        "Effect": "Allow",
        "Action": "lambda:InvokeFunction",
        "Resource": "arn:aws:lambda:us-east-1:000000000000:function:local-Hello*",
    } })];
    let account = Account { region: "us-east-1".to_owned(), id: "000000000000".to_owned() };
    bench.door.enforce(Permissions::of([("caller", &policies[..])].into_iter(), account));
    let signed = format!(
        "AWS4-HMAC-SHA256 Credential={}/20260101/us-east-1/lambda/aws4_request, SignedHeaders=host, Signature=0",
        access_key("caller")
    );
    let signed = [("authorization", signed.as_str())];
    assert_eq!(bench.call("Hello", &signed, "1").await.0, 200);
    let words = "is not authorized to perform: lambda:InvokeFunction on resource: \
                 arn:aws:lambda:us-east-1:000000000000:function:local-Other";
    bench.call("Other", &signed, "1").await.is(403, "AccessDeniedException", words);
    bench.call("none", &signed, "1").await.is(403, "AccessDeniedException", "function:none");
    assert_eq!(bench.call("Other", &[], "1").await.0, 200, "a developer's tools may");
}

#[test]
fn a_failure_without_a_report_of_the_function_has_the_one_of_lambda() {
    let of = |error: InvokeError| -> Value { serde_json::from_slice(&report(&error, "the-id")).unwrap() };
    let expected = |kind: &str, message: &str| {
        let message = format!("RequestId: the-id Error: {message}");
        json!({ "errorType": kind, "errorMessage": message })
    };
    assert_eq!(
        of(InvokeError::TimedOut { after: Duration::from_secs(3) }),
        expected("Sandbox.Timedout", "Task timed out after 3.00 seconds")
    );
    assert_eq!(
        of(InvokeError::Crashed { status: ExitStatus::from_raw(7 << 8) }),
        expected("Runtime.ExitError", "Runtime exited with error: exit status: 7")
    );
    let failed = InvokeError::InitFailed { reason: "Config: no table".to_owned(), output: String::new() };
    assert_eq!(of(failed), expected("Runtime.ExitError", "Config: no table"));
}
