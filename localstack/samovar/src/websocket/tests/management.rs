//! `@connections`, by the AWS SDK for Rust and by hand.

use aws_sdk_apigatewaymanagement::config::retry::RetryConfig;
use aws_sdk_apigatewaymanagement::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_apigatewaymanagement::primitives::{Blob, DateTime};
use reqwest::Method;
use serde_json::json;

use super::client::TEXT;
use super::*;

/// An id of the right form that no connection has.
const NOBODY: &str = "BFHPhfCWIAMCKlQ=";

impl Bench {
    fn sdk(&self, stage: &str) -> aws_sdk_apigatewaymanagement::Client {
        let config = aws_sdk_apigatewaymanagement::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("local", "local", None, None, "test"))
            .retry_config(RetryConfig::disabled())
            .endpoint_url(format!("http://{}/{stage}", self.address))
            .build();
        aws_sdk_apigatewaymanagement::Client::from_conf(config)
    }

    async fn call(&self, method: Method, path: &str) -> reqwest::Response {
        let url = format!("http://{}{path}", self.address);
        within("The call is answered", self.http.request(method, url).send()).await.unwrap()
    }
}

fn error_type(response: &reqwest::Response) -> &str {
    response.headers().get("x-amzn-errortype").map_or("", |value| value.to_str().unwrap())
}

#[tokio::test]
async fn the_sdk_posts_gets_and_deletes() {
    let bench = Bench::start().await;
    let sdk = bench.sdk("prod");
    let mut client = bench.connect().await;
    sdk.post_to_connection().connection_id(&client.id).data(Blob::new("Hello, élève")).send().await.unwrap();
    assert_eq!(client.text().await, "Hello, élève");

    let seen = sdk.get_connection().connection_id(&client.id).send().await.unwrap();
    let connection = bench.api.registry.get(&client.id).unwrap();
    let millis = |time: Option<&DateTime>| time.unwrap().to_millis().unwrap();
    assert_eq!(millis(seen.connected_at()), connection.client.connected_at_ms);
    assert_eq!(millis(seen.last_active_at()), connection.last_active_ms());
    assert_eq!(seen.identity().unwrap().source_ip(), Some("127.0.0.1"));

    sdk.delete_connection().connection_id(&client.id).send().await.unwrap();
    assert_eq!(client.closed().await, (1000, "Connection Closed Normally".to_owned()));
    assert_eq!(bench.disconnected().await, (1000, "Connection Closed Normally".to_owned()));
    let gone = sdk.post_to_connection().connection_id(&client.id).data(Blob::new("late")).send().await.unwrap_err();
    assert!(gone.as_service_error().unwrap().is_gone_exception(), "{gone:?}");
}

#[tokio::test]
async fn the_sdk_recognises_the_errors() {
    let bench = Bench::start().await;
    let (sdk, client) = (bench.sdk("prod"), bench.connect().await);
    let gone = sdk.post_to_connection().connection_id(NOBODY).data(Blob::new("x")).send().await.unwrap_err();
    assert!(gone.as_service_error().unwrap().is_gone_exception(), "{gone:?}");
    let gone = sdk.get_connection().connection_id(NOBODY).send().await.unwrap_err();
    assert!(gone.as_service_error().unwrap().is_gone_exception(), "{gone:?}");
    let gone = sdk.delete_connection().connection_id(NOBODY).send().await.unwrap_err();
    assert!(gone.as_service_error().unwrap().is_gone_exception(), "{gone:?}");
    for bytes in [131_073, 1024 * 1024, 8 * 1024 * 1024] {
        let post = sdk.post_to_connection().connection_id(&client.id).data(Blob::new(vec![b'x'; bytes]));
        let large = post.send().await.unwrap_err();
        assert!(
            large.as_service_error().is_some_and(|error| error.is_payload_too_large_exception()),
            "{bytes}: {large:?}"
        );
    }
    let nowhere = bench.sdk("nostage");
    let forbidden =
        nowhere.post_to_connection().connection_id(&client.id).data(Blob::new("x")).send().await.unwrap_err();
    assert!(forbidden.as_service_error().is_some_and(|error| error.is_forbidden_exception()), "{forbidden:?}");
}

#[tokio::test]
async fn a_payload_of_131072_bytes_passes_and_one_more_is_413() {
    let bench = Bench::start().await;
    let mut client = bench.connect().await;
    assert_eq!(bench.post(&client.id, vec![b'x'; 131_073]).await, 413);
    assert_eq!(bench.post(&client.id, vec![b'y'; 131_072]).await, 200);
    assert_eq!(client.text().await, "y".repeat(131_072));
}

#[tokio::test]
async fn statuses_bodies_and_the_error_type_are_as_the_sdks_need_them() {
    let bench = Bench::start().await;
    let client = bench.connect().await;
    let path = |id: &str| format!("/prod/@connections/{id}");
    let posted = bench.call(Method::POST, &path(&client.id)).await;
    assert_eq!((posted.status().as_u16(), error_type(&posted)), (200, ""));
    assert_eq!(posted.bytes().await.unwrap(), "");

    let seen = bench.call(Method::GET, &path(&client.id)).await;
    assert_eq!((seen.status().as_u16(), &seen.headers()["content-type"]), (200, &"application/json".parse().unwrap()));
    let seen: Value = serde_json::from_slice(&seen.bytes().await.unwrap()).unwrap();
    let keys: Vec<&String> = seen.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["connectedAt", "identity", "lastActiveAt"]);
    assert_eq!(seen["identity"], json!({ "sourceIp": "127.0.0.1" }));
    for key in ["connectedAt", "lastActiveAt"] {
        let time: jiff::Timestamp = seen[key].as_str().unwrap().parse().unwrap();
        assert!(time.as_millisecond() >= bench.api.registry.get(&client.id).unwrap().client.connected_at_ms);
    }

    for method in [Method::POST, Method::GET, Method::DELETE] {
        let gone = bench.call(method.clone(), &path(NOBODY)).await;
        assert_eq!((gone.status().as_u16(), error_type(&gone)), (410, "GoneException"));
        for id in ["nonsense", "BFHPhfCWIAMCKlQ", "BFHPhfCWIAMCKlQ%3D%3D", "a/b", ""] {
            let bad = bench.call(method.clone(), &path(id)).await;
            assert_eq!((bad.status().as_u16(), error_type(&bad)), (400, "BadRequestException"), "{id}");
        }
    }
    for (method, path) in [
        (Method::PUT, path(&client.id)),
        (Method::POST, "/prod/elsewhere".to_owned()),
        (Method::POST, "/prod/@connections".to_owned()),
        (Method::POST, format!("/nostage/@connections/{}", client.id)),
    ] {
        let forbidden = bench.call(method, &path).await;
        assert_eq!((forbidden.status().as_u16(), error_type(&forbidden)), (403, "ForbiddenException"), "{path}");
    }
}

#[tokio::test]
async fn the_path_may_be_percent_encoded() {
    let bench = Bench::start().await;
    let mut client = bench.connect().await;
    let (plain, encoded) = (client.id.clone(), client.id.replace('=', "%3D"));
    for path in [
        format!("@connections/{plain}"),
        format!("@connections/{encoded}"),
        format!("%40connections/{plain}"),
        format!("%40connections/{encoded}"),
        // From an endpoint with a slash at its end.
        format!("/@connections/{encoded}"),
        format!("%40connections/{}", client.id.replace('=', "%3d")),
    ] {
        let url = format!("http://{}/prod/{path}", bench.address);
        let response = bench.http.post(url).body(path.clone()).send().await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        assert_eq!(client.text().await, path);
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_is_429_and_then_gets_everything_in_order() {
    const PAYLOAD_BYTES: usize = 64 * 1024;
    let bench = Bench::with(|api| api.limits.buffer_bytes = 4 * PAYLOAD_BYTES).await;
    let (mut lazy, id) = bench.connect_raw().await;
    let mut other = bench.connect().await;
    let payload = |n: usize| format!("{n:08}").repeat(PAYLOAD_BYTES / 8);
    let mut taken = 0;
    let refused = loop {
        let request = bench.http.post(bench.connection_url(&id)).body(payload(taken));
        let response = within("The post is answered", request.send()).await.unwrap();
        if response.status() != 200 {
            break response;
        }
        taken += 1;
        assert!(taken < 1000, "The buffer is never full");
    };
    assert_eq!((refused.status().as_u16(), error_type(&refused)), (429, "LimitExceededException"));
    let post = bench.sdk("prod").post_to_connection().connection_id(&id).data(Blob::new(payload(0)));
    let limited = post.send().await.unwrap_err();
    assert!(limited.as_service_error().unwrap().is_limit_exceeded_exception(), "{limited:?}");
    // Other clients are not affected.
    assert_eq!(bench.post(&other.id, "news").await, 200);
    assert_eq!(other.text().await, "news");

    for n in 0..taken {
        let (opcode, bytes) = lazy.next().await.unwrap();
        assert!(opcode == TEXT && bytes == payload(n).as_bytes(), "Frame {n} of {taken}");
    }
    assert_eq!(bench.post(&id, "again").await, 200);
    assert_eq!(lazy.next().await, Some((TEXT, b"again".to_vec())));
}

#[tokio::test]
async fn a_post_before_a_delete_arrives_before_the_close() {
    let bench = Bench::start().await;
    let mut client = bench.connect().await;
    for n in 0..100 {
        assert_eq!(bench.post(&client.id, n.to_string()).await, 200);
    }
    assert_eq!(bench.delete(&client.id).await, 204);
    assert_eq!(bench.post(&client.id, "late").await, 410);
    for n in 0..100 {
        assert_eq!(client.text().await, n.to_string());
    }
    assert_eq!(client.closed().await.0, 1000);
}

#[tokio::test]
async fn two_deletes_at_once_close_once() {
    let bench = Bench::start().await;
    for n in 1..=20 {
        let mut client = bench.connect().await;
        let (one, two) = tokio::join!(bench.delete(&client.id), bench.delete(&client.id));
        assert_eq!((one.min(two), one.max(two)), (204, 410));
        assert_eq!(client.closed().await.0, 1000);
        bench.drained().await;
        assert_eq!(bench.functions.count("disconnect"), n);
    }
}
