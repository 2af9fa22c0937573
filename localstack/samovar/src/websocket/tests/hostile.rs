//! Arbitrary frames, route keys and authorizers' answers. At worst the own connection ends, and others go on.

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::authorizer::policy::{Verdict, evaluate};
use crate::testing::hostile::{config, words};
use crate::websocket::routes;

#[test]
fn any_bytes_after_the_handshake_end_this_connection_at_most() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let bench = runtime.block_on(Bench::with(|api| api.limits.close = Duration::from_millis(50)));
    let header = prop_oneof![
        // These opcodes, masks and lengths are right or wrong.
        (0_u8..16, any::<bool>(), any::<u8>())
            .prop_map(|(opcode, last, length)| vec![u8::from(last) << 7 | opcode, length]),
        Just(vec![0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]),
        Just(vec![0x01, 0x80, 0, 0, 0, 0]),
        Just(vec![0x80, 0x80, 0, 0, 0, 0]),
        Just(vec![0x88, 0x82, 0, 0, 0, 0, 0xff, 0xff]),
        Just(vec![0xf1, 0x80, 0, 0, 0, 0]),
    ];
    let part = prop_oneof![header, proptest::collection::vec(any::<u8>(), 0..64)];
    let parts = proptest::collection::vec(part, 0..6);
    let tested = TestRunner::new(config()).run(&parts, |parts| {
        runtime.block_on(async {
            let (mut client, _) = bench.connect_raw().await;
            // The server may close the connection before the last part.
            let _ = client.stream.write_all(&parts.concat()).await;
            let _ = client.stream.shutdown().await;
            let mut rest = Vec::new();
            let _ = within("The socket is closed", client.stream.read_to_end(&mut rest)).await;
        });
        Ok(())
    });
    tested.unwrap();
    runtime.block_on(async {
        let mut client = bench.connect().await;
        client.send(r#"{"action":"echo"}"#).await;
        assert_eq!(client.text().await, r#"{"action":"echo"}"#);
    });
}

#[test]
fn any_bytes_in_place_of_a_handshake_are_answered_or_the_connection_is_closed() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let bench = runtime.block_on(Bench::start());
    let text = words(&[
        "GET /prod HTTP/1.1",
        "GET ",
        "POST ",
        " HTTP/1.0",
        "PRI * HTTP/2.0",
        "/prod",
        "http://evil/",
        "\r\n",
        "\r\n\r\n",
        "\n",
        "\r",
        "\0",
        "Host: localhost",
        "Upgrade: websocket",
        "Connection: upgrade",
        "Content-Length: ",
        "-1",
        "99999999999999999999",
        "Transfer-Encoding: chunked",
        "Sec-WebSocket-Key: ",
        ": ",
        "\u{e9}",
        " ",
        "?token=t",
        "%00",
    ]);
    let tested = TestRunner::new(config()).run(&text, |text| {
        runtime.block_on(async {
            let mut stream = tokio::net::TcpStream::connect(bench.address).await.unwrap();
            let _ = stream.write_all(text.as_bytes()).await;
            let _ = stream.shutdown().await;
            let mut answer = Vec::new();
            let _ = within("The socket is closed", stream.read_to_end(&mut answer)).await;
            let answer = String::from_utf8_lossy(&answer).into_owned();
            prop_assert!(answer.is_empty() || answer.starts_with("HTTP/1."), "{}", answer);
            prop_assert!(!answer.starts_with("HTTP/1.1 5"), "{}", answer);
            Ok(())
        })
    });
    tested.unwrap();
    runtime.block_on(async { bench.connect().await.close(None).await });
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_route_key_is_the_value_that_json_has_at_the_path(
        frame in words(&[
            "{", "}", "\"action\"", ":", ",", "\"join\"", "null", "7", "[", "[[[[[[[[", "1e999", "\\ud800",
        ]),
    ) {
        let selected = routes::evaluate(&Selection::parse("$request.body.action").unwrap(), &frame);
        let expected = serde_json::from_str::<Value>(&frame).ok().map(|value| match value.get("action") {
            None | Some(Value::Null) => String::new(),
            Some(value) => value.as_str().map_or(value.to_string(), str::to_owned),
        });
        prop_assert_eq!(selected, expected);
    }

    #[test]
    fn an_authorizers_answer_lets_a_client_in_only_with_an_allow(
        effects in proptest::collection::vec(words(&["Allow", "Deny", "allow", "*"]), 0..4),
        resource in words(&["*", "?", "arn:", "execute-api", "a*a*a*a*a*a*a*a*b"]),
    ) {
        let statement = |effect: &String| json!({ "Action": "*", "Effect": effect, "Resource": resource });
        let statements: Vec<_> = effects.iter().map(statement).collect();
        let answer = json!({ "principalId": "me", "policyDocument": { "Statement": statements } });
        let verdict = evaluate(&answer, &"arn:".repeat(32));
        prop_assert!(!matches!(verdict, Verdict::Allow(_)) || effects.iter().all(|effect| effect == "Allow"));
        prop_assert!(!matches!(verdict, Verdict::Allow(_)) || !effects.is_empty());
    }
}
