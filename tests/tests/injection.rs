//! Header and query values that no client sends by accident: line ends, NUL, bytes that are not text, too many values,
//! too long values. Each is refused or has no effect, and the next request is served.

use e2e::{Client, Stack, raw, raw_handshake};
use http::Method;
use serde_json::json;

/// No answer may repeat this in a header or an address.
const CANARY: &str = "canary-51c3.example";

async fn assert_serves(stack: &Stack) {
    stack.until("free", |state| state["leases"].as_array().is_some_and(Vec::is_empty)).await;
    let mut client = Client::connect(stack, "normal").await;
    assert_eq!(client.ask_afresh("still here").await.0, "response for still here");
    client.close().await;
    let log = stack.log();
    assert!(!log.contains("panicked"), "{log}");
}

fn bearer(token: &str) -> Vec<u8> {
    format!("Authorization: Bearer {token}").into_bytes()
}

#[tokio::test]
async fn a_session_or_takeover_that_is_not_one_refuses_the_handshake() {
    let stack = Stack::quick().await;
    let authorization = bearer(&stack.token("alice").await);
    let long = format!("?session={}", "a".repeat(65));
    let longer = format!("?session={}", "a".repeat(60_000));
    let queries: [&[u8]; 16] = [
        b"?session=a%0d%0aX-Injected:%201",
        b"?session=a%0a",
        b"?session=%00",
        b"?session=a%00b",
        b"?session=%ff%fe",
        b"?session=%c3%a9",
        b"?session=",
        b"?session=a%20b",
        b"?session=a/../b",
        b"?session=a&session=%0d%0a",
        long.as_bytes(),
        b"?session=a&takeover=true%0d%0aX-Injected:%201",
        b"?session=a&takeover=true%00",
        b"?session=a&takeover=true&takeover=no",
        b"?takeover=%ff",
        b"?session=a&takeover=%74rue%20",
    ];
    for query in queries {
        let (status, head) = raw(&stack, &raw_handshake(query, &[&authorization])).await;
        assert_eq!(status, 400, "{}: {head}", String::from_utf8_lossy(query));
        assert!(!head.to_lowercase().contains("x-injected"), "{head}");
    }
    // Bytes that are not a request are refused before anything reads their query.
    let broken: [&[u8]; 6] = [
        b"?session=a\r\nX-Injected: 1",
        b"?session=a\0",
        b"?session=a b",
        b"?session=\xff",
        b"?session=a\rb",
        longer.as_bytes(),
    ];
    for query in broken {
        let (status, head) = raw(&stack, &raw_handshake(query, &[&authorization])).await;
        assert!((400..500).contains(&status), "{:?}: {head}", String::from_utf8_lossy(&query[..query.len().min(40)]));
    }
    assert_serves(&stack).await;
}

#[tokio::test]
async fn the_last_of_two_sessions_in_a_query_counts() {
    let stack = Stack::quick().await;
    let first = Client::with_query(&stack, "alice", "?session=a&session=b").await.expect("let in");
    for (session, status) in [("a", Some(409)), ("b", None)] {
        let again = Client::try_connect(&stack, "alice", Some(session)).await;
        assert_eq!(again.err().map(|status| status.as_u16()), status, "{session}");
    }
    drop(first);
}

#[tokio::test]
async fn headers_that_are_not_text_or_too_long_let_no_client_in_and_disturb_no_other() {
    let stack = Stack::quick().await;
    let token = stack.token("alice").await;
    let authorization = bearer(&token);
    let refused: [(&[&[u8]], &[u16]); 14] = [
        (&[b"Authorization: Bearer \xff\xfe"], &[401]),
        (&[b"Authorization: Bearer a\0b"], &[400]),
        (&[b"Authorization: Bearer\r\n\tfolded"], &[400, 401]),
        (&[b"Authorization: Bearer "], &[401]),
        (&[b"Authorization:"], &[401]),
        (&[b"Authorization: Bearer a", b"Authorization: Bearer b"], &[401]),
        (&[b"Sec-WebSocket-Protocol: parley.v1, bearer.\xff"], &[401]),
        (&[b"Sec-WebSocket-Protocol: bearer."], &[401]),
        (&[b"Sec-WebSocket-Protocol: ,,,,,"], &[401]),
        (&[b"Sec-WebSocket-Protocol: parley.v1\0"], &[400]),
        (&[&[b"Authorization: Bearer ".as_slice(), &[b'a'; 100_000]].concat()], &[401, 431]),
        (&[&[b"Sec-WebSocket-Protocol: ".as_slice(), &b"a,".repeat(50_000)].concat()], &[401, 431]),
        (&[&[b"X-Long: ".as_slice(), &[b'a'; 1_000_000]].concat()], &[401, 431]),
        (&[b"X-Name with spaces: 1"], &[400]),
    ];
    for (lines, statuses) in refused {
        let (status, head) = raw(&stack, &raw_handshake(b"", lines)).await;
        let shown = String::from_utf8_lossy(&lines[0][..lines[0].len().min(60)]).into_owned();
        assert!(statuses.contains(&status), "{shown}: {status} {head}");
    }
    let many: Vec<Vec<u8>> = (0..2000).map(|number| format!("X-Header-{number}: 1").into_bytes()).collect();
    let many: Vec<&[u8]> = many.iter().map(Vec::as_slice).collect();
    let (status, _) = raw(&stack, &raw_handshake(b"", &many)).await;
    assert_eq!(status, 431);
    // Beside a good token, such headers have no effect.
    let beside: [&[u8]; 7] = [
        b"User-Agent: \xff\xfe",
        b"X-Forwarded-For: \xff, 127.0.0.1, ::1",
        b"Origin: null",
        b"Origin: https://canary-51c3.example",
        b"Cookie: session=\xe9",
        b"Sec-WebSocket-Extensions: permessage-deflate; \xff",
        b"Sec-WebSocket-Protocol: parley.v1, \xe9",
    ];
    for line in beside {
        stack.until("free", |state| state["leases"].as_array().is_some_and(Vec::is_empty)).await;
        let (status, head) = raw(&stack, &raw_handshake(b"", &[&authorization, line])).await;
        assert_eq!(status, 101, "{}: {head}", String::from_utf8_lossy(line));
        assert!(!head.contains(CANARY), "{head}");
    }
    assert_serves(&stack).await;
}

#[tokio::test]
async fn no_header_decides_which_addresses_are_given_out() {
    let stack = Stack::quick().await;
    stack.with_console();
    let rest = stack.rest("alice").await;
    let requests = [
        (Method::POST, "/api/uploads", json!({ "contentType": "image/png", "bytes": 9 })),
        (Method::POST, "/api/conversations", json!({})),
        (Method::GET, "/api/conversations", json!(null)),
        (Method::GET, "/config.json", json!(null)),
        (Method::GET, "/openapi.json", json!(null)),
        (Method::GET, "/docs", json!(null)),
        (Method::GET, "/_local/oidc/.well-known/openid-configuration", json!(null)),
        (Method::GET, "/_local/environment", json!(null)),
    ];
    for (method, path, body) in requests {
        let mut request = rest.request(method, path);
        for name in ["X-Forwarded-Host", "X-Forwarded-Server", "X-Forwarded-For", "X-Original-URL", "X-Rewrite-URL"] {
            request = request.header(name, CANARY);
        }
        request = request.header("Forwarded", format!("host={CANARY};proto=https"));
        request = request.header("X-Forwarded-Proto", "gopher").header("X-Forwarded-Port", "1");
        if !body.is_null() {
            request = request.json(&body);
        }
        let response = request.send().await.expect("an answer");
        assert!(response.status().is_success(), "{path}: {}", response.status());
        let headers = format!("{:?}", response.headers());
        let text = response.text().await.expect("a text");
        for repeated in [CANARY, "gopher"] {
            assert!(!headers.contains(repeated) && !text.contains(repeated), "{path}: {headers} {text}");
        }
    }
    // A request for another host is refused, whatever its other headers say.
    for line in [
        "Host: canary-51c3.example",
        "Host: localhost@canary-51c3.example",
        "Host: localhost.canary-51c3.example",
        "Host: \u{e9}",
    ] {
        let request = format!("GET /config.json HTTP/1.1\r\n{line}\r\nX-Forwarded-Host: localhost\r\n\r\n");
        assert_eq!(raw(&stack, request.as_bytes()).await.0, 421, "{line}");
    }
    for lines in
        ["Host: localhost\r\nHost: canary-51c3.example", "Host: canary-51c3.example\r\nHost: localhost", "Host: a\0"]
    {
        let request = format!("GET /config.json HTTP/1.1\r\n{lines}\r\n\r\n");
        let (status, head) = raw(&stack, request.as_bytes()).await;
        assert!([400, 421].contains(&status), "{lines:?}: {status} {head}");
    }
    assert_serves(&stack).await;
}
