//! Calls as an SDK makes them, with scripted functions.

use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

use axum::body::to_bytes;
use http::Request as HttpRequest;
use samovar_services::access_key;
use samovar_services::permissions::Permissions;
use tower_service::Service as _;

use super::*;
use crate::build::testing::function;
use crate::testing::functions::Functions;
use crate::testing::within;

const MS: Duration = Duration::from_millis(1);

struct Bench {
    functions: Arc<Functions>,
    router: Router,
    door: Door,
    tasks: TaskTracker,
    stop: CancellationToken,
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
    fn new() -> Self {
        let account = Account { region: "us-east-1".to_owned(), id: "000000000000".to_owned() };
        let (functions, door) = (Arc::new(Functions::default()), Door::default());
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let folder = std::path::Path::new("/");
        let declared = [
            Function { name: "hello-binary".to_owned(), ..function("Hello", "provided.al2023", folder) },
            Function { reserved_concurrency: Some(1), ..function("Other", "provided.al2023", folder) },
        ];
        let invoker: Arc<dyn Invoker> = functions.clone();
        let mut api = LambdaApi::new(&declared, account, invoker, door.clone(), tasks.clone(), stop.clone());
        api.retries =
            Retries { after_errors: [MS; 2], first_after_throttling: MS, longest_after_throttling: MS, ..RETRIES };
        Self { functions, router: Arc::new(api).router(), door, tasks, stop }
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

    async fn quiet(&self) {
        self.tasks.close();
        within("no event is left", self.tasks.wait()).await;
    }
}

const EVENT: (&str, &str) = ("x-amz-invocation-type", "Event");

#[tokio::test]
async fn a_function_is_found_by_its_name_its_arn_and_its_logical_id() {
    let bench = Bench::new();
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
    let bench = Bench::new();
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
    let bench = Bench::new();
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
    bench.quiet().await;
    assert_eq!(bench.functions.count("hello-binary"), 0);
    assert_eq!(bench.call("Hello", &[], large(6 * 1024 * 1024)).await.0, 200);
    assert_eq!(bench.call("Hello", &[EVENT], large(1024 * 1024)).await.0, 202);
    bench.quiet().await;
}

#[tokio::test]
async fn a_throttled_call_says_whose_limit_it_is_and_a_stack_that_stops_is_an_error() {
    let bench = Bench::new();
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
    let bench = Bench::new();
    let dry = [("x-amz-invocation-type", "DryRun")];
    assert_eq!(bench.call("Hello", &dry, "1").await.0, 204);
    bench.call("none", &dry, "1").await.is(404, "ResourceNotFoundException", "none");
    assert_eq!(bench.functions.count("hello-binary"), 0);
}

#[tokio::test]
async fn an_event_is_accepted_at_once_and_tried_three_times() {
    let bench = Bench::new();
    bench.functions.fails("Other", "no");
    let gate = bench.functions.hold("Other");
    let accepted = bench.call("Other", &[EVENT, ("x-amz-log-type", "Tail")], "1").await;
    assert_eq!((accepted.0.as_u16(), accepted.2.as_str(), accepted.header("x-amz-log-result")), (202, "", None));
    gate.add_permits(10);
    bench.quiet().await;
    assert_eq!(bench.functions.count("Other"), 3);
}

#[tokio::test]
async fn an_event_waits_until_its_function_is_not_throttled_any_more() {
    let bench = Bench::new();
    let left = std::sync::atomic::AtomicU32::new(5);
    bench.functions.script("Other", move |_| {
        let throttled =
            left.fetch_update(std::sync::atomic::Ordering::SeqCst, std::sync::atomic::Ordering::SeqCst, |n| {
                n.checked_sub(1)
            });
        match throttled {
            Ok(_) => Err(IntegrationError::Throttled("full".to_owned())),
            Err(_) => Ok(Bytes::from_static(b"1")),
        }
    });
    assert_eq!(bench.call("Other", &[EVENT], "1").await.0, 202);
    bench.quiet().await;
    assert_eq!(bench.functions.count("Other"), 6);
}

#[tokio::test]
async fn an_event_that_waits_for_its_retry_does_not_hold_up_the_stop() {
    let bench = Bench::new();
    let api = LambdaApi {
        functions: Vec::new(),
        account: Account { region: String::new(), id: String::new() },
        invoker: bench.functions.clone(),
        door: bench.door.clone(),
        tasks: bench.tasks.clone(),
        stop: bench.stop.clone(),
        retries: RETRIES,
    };
    bench.functions.fails("Other", "no");
    let running = tokio::spawn(run_event(
        Arc::new(api),
        "Other".to_owned(),
        Request { payload: "1".into(), ..Request::default() },
    ));
    bench.functions.event("Other").await;
    bench.stop.cancel();
    within("the event is given up", running).await.unwrap();
    assert_eq!(bench.functions.count("Other"), 1);
}

#[tokio::test]
async fn a_function_may_invoke_only_what_its_policies_allow() {
    let bench = Bench::new();
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
