//! Limits, failures and clients that leave.

use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::*;
use crate::invoke::InvokeError;

const MB: usize = 1024 * 1024;

#[tokio::test]
async fn a_body_over_10_mb_is_413_and_so_is_one_that_lambda_does_not_take() {
    let bench = Bench::start(&[("POST /", "f")]).await;
    let post = |bytes: usize, content_type: &str| {
        let request = bench.request(Method::POST, "/").header("content-type", content_type);
        send(request.body(vec![b'a'; bytes]))
    };
    for (bytes, content_type) in [
        (10 * MB + 1, "text/plain"),
        (30 * MB, "text/plain"),
        (10 * MB, "text/plain"),
        // Base64 makes it larger.
        (5 * MB, "application/octet-stream"),
    ] {
        post(bytes, content_type).await.assert_refused(413, "Request Entity Too Large");
    }
    assert_eq!(bench.functions.count("f"), 0);
    assert_eq!(post(5 * MB, "text/plain").await.status, 200);
    assert_eq!(bench.functions.event("f").await["body"].as_str().unwrap().len(), 5 * MB);
}

#[tokio::test]
async fn a_functions_error_is_500_and_a_throttled_one_503() {
    let bench = Bench::start(&[("GET /", "f")]).await;
    bench.functions.fails("f", "no");
    bench.get("/").await.assert_refused(500, "Internal Server Error");
    bench.functions.script("f", |_| Err(InvokeError::Host("The process exited".into())));
    bench.get("/").await.assert_refused(500, "Internal Server Error");
    bench.functions.script("f", |_| Err(InvokeError::Throttled("f runs already".into())));
    bench.get("/").await.assert_refused(503, "Service Unavailable");
}

#[tokio::test]
async fn an_integration_that_takes_too_long_is_503_and_runs_on() {
    let bench = Bench::with(&[("GET /", "f")], |api| {
        api.spec.routes[0].integration_timeout = Duration::from_millis(50);
    })
    .await;
    let gate = bench.functions.hold("f");
    bench.get("/").await.assert_refused(503, "Service Unavailable");
    bench.functions.event("f").await;
    gate.add_permits(1);
    within("The invocation ends", bench.api.shutdown()).await;
    assert_eq!(gate.available_permits(), 0, "it went on");
}

#[tokio::test]
async fn a_client_that_leaves_cancels_nothing() {
    let bench = Bench::start(&[("GET /", "f")]).await;
    let gate = bench.functions.hold("f");
    let mut client = TcpStream::connect(bench.address).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    bench.functions.event("f").await;
    drop(client);
    // Another request, so that the server has had every occasion to see that the first client is gone.
    bench.get("/elsewhere").await.assert_refused(404, "Not Found");
    gate.add_permits(1);
    within("The invocation ends", bench.api.shutdown()).await;
    assert_eq!(gate.available_permits(), 0, "it went on");
}

#[tokio::test]
async fn a_request_that_runs_when_the_server_stops_is_answered() {
    let bench = Bench::start(&[("GET /", "f")]).await;
    let gate = bench.functions.hold("f");
    let request = tokio::spawn(send(bench.request(Method::GET, "/")));
    bench.functions.event("f").await;
    bench.stop.cancel();
    gate.add_permits(1);
    assert_eq!(within("The request is answered", request).await.unwrap().status, 200);
    within("Nothing runs any more", bench.api.shutdown()).await;
}

#[tokio::test]
async fn requests_run_side_by_side() {
    let bench = Bench::start(&[("GET /slow", "slow"), ("GET /fast", "fast")]).await;
    let gate = bench.functions.hold("slow");
    let slow = tokio::spawn(send(bench.request(Method::GET, "/slow")));
    bench.functions.event("slow").await;
    assert_eq!(bench.get("/fast").await.status, 200);
    gate.add_permits(1);
    assert_eq!(slow.await.unwrap().status, 200);
}
