//! The Runtime API as a process sees it, and the calls that it refuses.

use super::*;

#[tokio::test]
async fn a_response_to_another_invocation_is_refused_and_changes_nothing() {
    let host = TestHost::start(vec![function(Some(2))]).await;
    host.invoke(json!({})).await.unwrap();
    let answer = host.invoke(json!({"do": "answer for the previous"})).await.unwrap();
    assert_eq!((&answer["status"], &answer["body"]["errorType"]), (&json!(400), &json!("InvalidRequestID")));

    // A process cannot answer for another one either, even with the right id under its own base path.
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

    let unknown = one_url.replace("fixture/", "fixture/0");
    assert_eq!(client.get(format!("{unknown}/invocation/next")).send().await.unwrap().status(), 410);
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
    for own in ["AWS_LAMBDA_LOG_STREAM_NAME", "AWS_LAMBDA_RUNTIME_API", "FIXTURE", "LAMBDA_TASK_ROOT", "PATH"] {
        *environment.get_mut(own).expect(own) = "…".into();
    }
    insta::assert_json_snapshot!(environment, @r#"
    {
      "AWS_DEFAULT_REGION": "us-east-1",
      "AWS_EXECUTION_ENV": "AWS_Lambda_provided.al2023",
      "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
      "AWS_LAMBDA_FUNCTION_NAME": "fixture",
      "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
      "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
      "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/fixture",
      "AWS_LAMBDA_LOG_STREAM_NAME": "…",
      "AWS_LAMBDA_RUNTIME_API": "…",
      "AWS_REGION": "us-east-1",
      "CHAT_TABLE": "chat",
      "FIXTURE": "…",
      "LAMBDA_TASK_ROOT": "…",
      "LANG": "en_US.UTF-8",
      "PATH": "…",
      "RUST_BACKTRACE": "1",
      "TZ": ":UTC",
      "_HANDLER": "bootstrap"
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
async fn output_is_written_line_by_line_under_the_functions_name() {
    let mut other = function(None);
    other.name = "a_longer_name".into();
    let host = TestHost::start(vec![function(None), other]).await;
    host.invoke(json!({"do": "print"})).await.unwrap();
    let output = host.end().await;
    let expected = "fixture       │ to standard output\nfixture       │ to standard error\n";
    assert!(output.contains(expected), "{output}");
}

#[tokio::test]
async fn an_extension_may_register_and_wait() {
    let host = TestHost::start(vec![function_with_init("extension")]).await;
    host.invoke(json!({})).await.unwrap();
    host.end().await;
}
