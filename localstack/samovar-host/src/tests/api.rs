//! The Runtime API as a process sees it, and the calls that it refuses.

use super::*;

#[tokio::test]
async fn a_response_to_another_invocation_is_refused_and_changes_nothing() {
    let host = TestHost::start(vec![function(Some(2))]).await;
    host.invoke(json!({})).await.unwrap();
    let answer = host.invoke(json!({"do": "answer for the previous"})).await.unwrap();
    assert_eq!((&answer["status"], &answer["body"]["errorType"]), (&json!(400), &json!("InvalidRequestID")));

    // A process cannot answer for another one either, even with the right id at its own address.
    let (mut one, one_invocation) = host.hold().await;
    let (mut two, two_invocation) = host.hold().await;
    let (one_url, one_id) = one.url_and_request_id().await;
    let (two_url, two_id) = two.url_and_request_id().await;
    let client = reqwest::Client::new();
    for (url, id) in [(&one_url, &two_id), (&two_url, &one_id)] {
        for kind in ["response", "error"] {
            let stolen = client.post(format!("{url}/invocation/{id}/{kind}")).body("\"stolen\"").send().await.unwrap();
            assert_eq!(stolen.status(), 400);
        }
        // It cannot ask for a second event while it works on one.
        assert_eq!(client.get(format!("{url}/invocation/next")).send().await.unwrap().status(), 403);
        assert_eq!(client.post(format!("{url}/init/error")).body("{}").send().await.unwrap().status(), 403);
    }
    drop((one, two));
    for invocation in [one_invocation, two_invocation] {
        assert!(String::from_utf8_lossy(&invocation.await.unwrap().unwrap()).contains("hold"));
    }
    host.end().await;
}

#[tokio::test]
async fn each_process_finds_its_runtime_api_at_a_host_and_port_of_its_own_until_it_has_ended() {
    let host = TestHost::start(vec![function(Some(2))]).await;
    let (mut one, one_invocation) = host.hold().await;
    let (mut two, two_invocation) = host.hold().await;
    let mut addresses = Vec::new();
    for hold in [&mut one, &mut two] {
        let (url, _) = hold.url_and_request_id().await;
        let address = url.strip_prefix("http://").and_then(|rest| rest.strip_suffix("/2018-06-01/runtime")).unwrap();
        let address: std::net::SocketAddrV4 = address.parse().expect("HOST:PORT and nothing else");
        assert!(address.ip().is_loopback());
        addresses.push(address);
    }
    assert_ne!(addresses[0], addresses[1]);
    drop((one, two));
    for invocation in [one_invocation, two_invocation] {
        invocation.await.unwrap().unwrap();
    }
    host.end().await;
    for address in addresses {
        let refused = TcpStream::connect(address).await.unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    }
}

#[tokio::test]
async fn a_web_page_that_has_found_the_address_takes_no_event_and_answers_none() {
    let host = TestHost::start(vec![function(None)]).await;
    let (mut hold, invocation) = host.hold().await;
    let (url, id) = hold.url_and_request_id().await;
    let client = reqwest::Client::new();
    for (header, value) in [("origin", "https://example.com"), ("sec-fetch-site", "cross-site")] {
        let answer = client.post(format!("{url}/invocation/{id}/response")).header(header, value).body("\"stolen\"");
        assert_eq!(answer.send().await.unwrap().status(), 403);
        let next = client.get(format!("{url}/invocation/next")).header(header, value).send().await.unwrap();
        assert!(next.text().await.unwrap().contains("not for web pages"));
    }
    drop(hold);
    assert!(String::from_utf8_lossy(&invocation.await.unwrap().unwrap()).contains("hold"));
    host.end().await;
}

#[tokio::test]
async fn payloads_are_limited_to_six_mebibytes_in_both_directions() {
    let host = TestHost::start(vec![function(None)]).await;
    let event = |bytes: usize| Bytes::from(format!("{:?}", "x".repeat(bytes - 2)));
    let invoke = |payload| host.host.invoke("fixture", payload, None);
    let too_large = invoke(event(MAX_REQUEST_BYTES + 1)).await.unwrap_err();
    assert!(matches!(too_large, InvokeError::PayloadTooLarge { bytes } if bytes == MAX_REQUEST_BYTES + 1));

    let whole = host.invoke(json!({"do": "large", "bytes": MAX_RESPONSE_BYTES})).await.unwrap();
    assert_eq!(whole.as_str().unwrap().len() + 2, MAX_RESPONSE_BYTES);

    match host.invoke(json!({"do": "large", "bytes": MAX_RESPONSE_BYTES + 1})).await {
        Err(InvokeError::FunctionError { payload }) => {
            let error: Value = serde_json::from_slice(&payload).unwrap();
            assert_eq!(error["errorType"], "Function.ResponseSizeTooLarge");
        }
        unexpected => panic!("{unexpected:?}"),
    }
    // The process lives on, because it got an answer and its connection was not cut.
    host.invoke(json!({})).await.unwrap();
    assert_eq!(host.state().cold_starts, 1);
    assert!(host.end().await.contains("large response answered with 413"));
}

#[tokio::test]
async fn a_process_sees_only_lambdas_and_the_templates_variables() {
    let mut function = function(None);
    function.environment.insert("CHAT_TABLE".into(), "chat".into());
    let arn = function.arn.clone();
    let host = TestHost::start(vec![function]).await;
    let payload = Bytes::from(json!({"do": "environment"}).to_string());
    let seen = host.host.invoke("fixture", payload, Some("Root=1-2-3".into())).await.unwrap();
    let seen: Value = serde_json::from_slice(&seen).unwrap();

    // Cargo's test runner sets a variable for a library path, for instance; here there is none of that, nor HOME.
    let mut environment = seen["environment"].clone();
    for own in ["AWS_LAMBDA_LOG_STREAM_NAME", "AWS_LAMBDA_RUNTIME_API", "FIXTURE", "LAMBDA_TASK_ROOT"] {
        *environment.get_mut(own).expect(own) = "…".into();
    }
    let task_root = seen["environment"]["LAMBDA_TASK_ROOT"].as_str().unwrap();
    let libraries = environment["LD_LIBRARY_PATH"].as_str().unwrap().replace(task_root, "{task root}");
    environment["LD_LIBRARY_PATH"] = libraries.into();
    insta::assert_json_snapshot!(environment, @r#"
    {
      "AWS_DEFAULT_REGION": "us-east-1",
      "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
      "AWS_LAMBDA_FUNCTION_NAME": "local-Fixture-1",
      "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
      "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
      "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/local-Fixture-1",
      "AWS_LAMBDA_LOG_STREAM_NAME": "…",
      "AWS_LAMBDA_RUNTIME_API": "…",
      "AWS_REGION": "us-east-1",
      "AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR",
      "CHAT_TABLE": "chat",
      "FIXTURE": "…",
      "LAMBDA_RUNTIME_DIR": "/var/runtime",
      "LAMBDA_TASK_ROOT": "…",
      "LANG": "en_US.UTF-8",
      "LD_LIBRARY_PATH": "/var/lang/lib:/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:{task root}:{task root}/lib:/opt/lib",
      "PATH": "/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:/opt/bin",
      "RUST_BACKTRACE": "1",
      "TZ": ":UTC",
      "_HANDLER": "fixture.handler"
    }
    "#);
    assert_eq!(seen["environment"]["LAMBDA_TASK_ROOT"], seen["directory"]);

    let headers = &seen["headers"];
    assert_eq!(headers["lambda-runtime-invoked-function-arn"], json!(arn));
    assert_eq!(headers["lambda-runtime-trace-id"], "Root=1-2-3");
    let deadline: u128 = headers["lambda-runtime-deadline-ms"].as_str().unwrap().parse().unwrap();
    let left = deadline - clock::since_epoch().as_millis();
    assert!((30_000..=60_000).contains(&left), "{left}");
    host.end().await;
}

#[tokio::test]
async fn a_managed_runtime_is_told_its_identifier_and_the_template_may_change_what_lambda_lets_it_change() {
    let mut function = function(None);
    function.runtime = "python3.13".into();
    for (name, value) in [("LANG", "C"), ("TZ", "UTC"), ("_HANDLER", "other"), ("FOLDER", "template")] {
        function.environment.insert(name.into(), value.into());
    }
    function.code.environment = [("FOLDER", "code"), ("PYTHONPATH", "/var/runtime")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    let host = TestHost::start(vec![function]).await;
    let seen = host.invoke(json!({"do": "environment"})).await.unwrap();
    for (name, value) in [
        ("AWS_EXECUTION_ENV", "AWS_Lambda_python3.13"),
        ("_HANDLER", "fixture.handler"),
        ("LANG", "C"),
        ("TZ", "UTC"),
        ("FOLDER", "template"),
        ("PYTHONPATH", "/var/runtime"),
    ] {
        assert_eq!(seen["environment"][name], value, "{name}");
    }
    host.end().await;
}

#[tokio::test]
async fn each_process_has_a_session_token_of_its_own_unless_the_credentials_are_those_of_others() {
    for own_credentials in [true, false] {
        let mut function = FunctionSpec { own_credentials, ..function(None) };
        function.environment.insert("AWS_SESSION_TOKEN".into(), "token".into());
        let host = TestHost::start(vec![function]).await;
        let seen = host.invoke(json!({"do": "environment"})).await.unwrap();
        let expected = match own_credentials {
            true => format!("token/{}", host.host.pool.ids("fixture")[0]),
            false => "token".to_owned(),
        };
        assert_eq!(seen["environment"]["AWS_SESSION_TOKEN"], expected);
        host.end().await;
    }
}

#[tokio::test]
async fn output_is_written_line_by_line_under_the_functions_name() {
    let mut other = function(None);
    other.name = "a_longer_name".into();
    let host = TestHost::start(vec![function(None), other]).await;
    host.invoke(json!({"do": "print"})).await.unwrap();
    let output = host.end().await;
    let expected = "fixture       │ to standard output\nfixture       │ an error\nfixture       │   with its trace\n\
                    fixture       │ \nfixture       │ to standard error\n";
    assert!(output.contains(expected), "{output}");
}

async fn call(host: &TestHost, event: Value, log: bool) -> Ended {
    let payload = event.to_string().into();
    let (request_id, client_context) = (Some("the-id".to_owned()), Some(r#"{"custom":{"name":"Zoë"}}"#.to_owned()));
    let request = Request { payload, request_id, client_context, log, ..Request::default() };
    host.host.call("fixture", request).await.unwrap()
}

#[tokio::test]
async fn a_caller_gives_the_id_and_the_client_context_and_gets_the_log_if_it_wants_it() {
    let mut function = function(Some(1));
    function.timeout = Duration::from_millis(500);
    let host = TestHost::start(vec![function]).await;
    let ended = call(&host, json!({"do": "environment"}), false).await;
    assert_eq!(ended.log, None);
    let seen: Value = serde_json::from_slice(&ended.result.unwrap()).unwrap();
    assert_eq!(seen["headers"]["lambda-runtime-aws-request-id"], "the-id");
    assert_eq!(seen["headers"]["lambda-runtime-client-context"], r#"{"custom":{"name":"Zoë"}}"#);

    let log = |ended: &Ended| String::from_utf8(ended.log.clone().unwrap()).unwrap();
    for _ in 0..20 {
        let printed = log(&call(&host, json!({"do": "print"}), true).await);
        let (lines, report) = printed.split_once("END RequestId: the-id\n").unwrap();
        let expected = "START RequestId: the-id Version: $LATEST\nto standard output\nan error\r  with its trace\r\n\n\
                        to standard error\n";
        assert_eq!(lines, expected);
        assert!(report.starts_with("REPORT RequestId: the-id\tDuration: ") && report.contains("Memory Size: 128 MB"));
    }
    let gate = Gate::open().await;
    let hung = json!({"do": "hold", "at": gate.0.local_addr().unwrap().to_string()});
    let (hung, _held) = tokio::join!(call(&host, hung, true), gate.next());
    assert!(matches!(hung.result, Err(InvokeError::TimedOut { .. })), "{hung:?}");
    assert!(log(&hung).contains("START RequestId: the-id") && log(&hung).contains("Duration: 5"), "{}", log(&hung));
    host.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_has_no_lines_of_the_invocation_before() {
    let host = TestHost::start(vec![function(Some(1))]).await;
    for _ in 0..200 {
        call(&host, json!({"do": "print after the answer"}), false).await.result.unwrap();
        let printed = call(&host, json!({"do": "print"}), true).await.log.unwrap();
        let printed = String::from_utf8(printed).unwrap();
        assert!(printed.contains("to standard error\n") && !printed.contains("late"), "{printed}");
    }
    assert!(host.end().await.contains("late 199"));
}

#[tokio::test]
async fn the_log_of_an_init_that_fails_is_its_output() {
    let host = TestHost::start(vec![function_with_init("exit in init")]).await;
    let ended = call(&host, json!({}), true).await;
    assert!(matches!(ended.result, Err(InvokeError::InitFailed { .. })), "{ended:?}");
    let log = String::from_utf8(ended.log.unwrap()).unwrap();
    assert!(log.ends_with("no such table: chat\n"), "{log}");
    host.end().await;
}

#[tokio::test]
async fn an_extension_may_register_and_wait() {
    let host = TestHost::start(vec![function_with_init("extension")]).await;
    host.invoke(json!({})).await.unwrap();
    host.end().await;
}
