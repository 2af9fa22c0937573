//! Arbitrary calls of the Runtime API. No call ends the invocation of another process, and the function goes on.

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::*;

fn config() -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::default() }
}

#[test]
fn only_a_process_itself_ends_its_invocation() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let host = runtime.block_on(TestHost::start(vec![function(Some(1))]));
    let (mut hold, invocation) = runtime.block_on(host.hold());
    let (url, id) = runtime.block_on(hold.url_and_request_id());
    let root = url.strip_suffix("/2018-06-01/runtime").unwrap();
    let segment = || {
        prop_oneof![
            proptest::sample::select(vec![
                "2018-06-01",
                "2020-01-01",
                "runtime",
                "extension",
                "invocation",
                "next",
                "response",
                "error",
                "init",
                "register",
                "event",
                "exit",
                "..",
                "%2e%2e",
                "%00",
                "",
            ])
            .prop_map(str::to_owned),
            "[a-z0-9%.-]{0,12}",
        ]
    };
    let path = proptest::collection::vec(segment(), 0..8).prop_map(|segments| segments.join("/"));
    let method = proptest::sample::select(vec!["GET", "POST", "PUT", "DELETE", "HEAD"]);
    let body = proptest::collection::vec(any::<u8>(), 0..64);
    let client = reqwest::Client::builder().timeout(Duration::from_secs(10)).build().unwrap();
    // Some paths are arbitrary. Others are within the Runtime API.
    let calls = (path, any::<bool>(), method, body);
    let tested = TestRunner::new(config()).run(&calls, |(path, within, method, body)| {
        prop_assume!(!path.contains("2020-01-01/extension"), "these calls are allowed at any time");
        let base = if within { &url } else { root };
        let Ok(url) = format!("{base}/{path}").parse::<reqwest::Url>() else { return Ok(()) };
        let request = client.request(method.parse().unwrap(), url.clone()).body(body);
        let status = runtime.block_on(async { request.send().await }).unwrap().status().as_u16();
        prop_assert!((400..500).contains(&status), "{} {}: {}", method, url, status);
        Ok(())
    });
    tested.unwrap();
    for deep in [format!("{url}/invocation/{}/response", "a".repeat(30_000)), format!("{root}/{}", "a/".repeat(20_000))]
    {
        let request = client.post(deep).body("[".repeat(1_000_000));
        let status = runtime.block_on(async { request.send().await }).unwrap().status();
        assert!(status.is_client_error(), "{status}");
    }
    drop(hold);
    let answer = runtime.block_on(invocation).unwrap().unwrap();
    assert!(String::from_utf8_lossy(&answer).contains("hold"), "its own answer, of {id}");
    runtime.block_on(host.end());
}
