//! Clients that use up what they can get: a thousand sockets that send nothing or half a request, requests at each
//! limit and beyond it, JSON that is nested without an end. A normal client is served meanwhile.

use std::time::{Duration, Instant};

use e2e::{Client, Stack, StackOptions, raw, raw_connection, raw_handshake};
use futures_util::future::join_all;
use http::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_tungstenite::tungstenite::Message;

/// A normal client is served within ten seconds, so a person would still wait.
async fn assert_serves(client: &mut Client) {
    let began = Instant::now();
    assert_eq!(client.ask_afresh("still here").await.0, "response for still here");
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_thousand_sockets_that_send_nothing_or_half_a_request_hold_up_no_other_client() {
    let stack = Stack::quick().await;
    let mut normal = Client::connect(&stack, "normal").await;
    let token = stack.token("slow").await;
    let whole = raw_handshake(b"", &[format!("Authorization: Bearer {token}").as_bytes()]);
    let beginnings: [&[u8]; 5] = [
        b"",
        b"G",
        b"GET /api/me HTTP/1.1\r\nHost: localhost\r\nX-Slow: ",
        &whole[..whole.len() - 2],
        b"POST /api/conversations HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{",
    ];
    let sockets = (0..1000).map(|number| {
        let beginning = beginnings[number % beginnings.len()];
        let stack = &stack;
        async move {
            let mut socket = raw_connection(stack).await;
            socket.write_all(beginning).await.expect("it is taken");
            socket
        }
    });
    let mut sockets = join_all(sockets).await;
    assert_serves(&mut normal).await;
    // Headers that arrive byte by byte hold up no other client either.
    for round in 0..3 {
        for socket in sockets.iter_mut().skip(2).step_by(5) {
            socket.write_all(b"a").await.unwrap_or_else(|error| panic!("round {round}: {error}"));
        }
        assert_serves(&mut normal).await;
    }
    let state = stack.state().await;
    assert_eq!(state["leases"].as_array().map(Vec::len), Some(1), "half a handshake takes no place: {state:#}");
    drop(sockets);
    assert_serves(&mut normal).await;
    Client::connect(&stack, "slow").await.close().await;
}

#[tokio::test]
async fn clients_that_vanish_in_the_middle_of_a_handshake_take_no_place_for_long() {
    let stack = StackOptions::default().param("MockLatencyMs", 0).param("MaxClients", 5).start().await;
    let called = |state: &serde_json::Value, function: &str| state["functions"][function]["invocations"].as_u64();
    for (before, name) in ["v", "w", "x", "y", "z"].into_iter().enumerate() {
        let authorization = format!("Authorization: Bearer {}", stack.token(name).await);
        let mut socket = raw_connection(&stack).await;
        socket.write_all(&raw_handshake(b"", &[authorization.as_bytes()])).await.expect("it is taken");
        stack.until("read", |state| called(state, "authorizer") > Some(before as u64)).await;
        drop(socket);
    }
    // As on AWS, the handshake of a client that has left runs to its end, and `$disconnect` follows.
    let done = |state: &serde_json::Value| ["connect", "disconnect"].iter().all(|name| called(state, name) == Some(5));
    stack.until("free", |state| done(state) && state["leases"].as_array().is_some_and(Vec::is_empty)).await;
    let clients = join_all(["a", "b", "c", "d", "e"].map(|name| Client::connect(&stack, name))).await;
    assert_eq!(clients.len(), 5);
}

#[tokio::test]
async fn json_a_million_deep_is_an_error_wherever_it_is_sent() {
    let stack = Stack::quick().await;
    let mut normal = Client::connect(&stack, "normal").await;
    let mut client = Client::connect(&stack, "deep").await;
    let rest = client.rest.clone();
    for opening in ["[", "{\"a\":", "{\"action\":", "[{\"action\":[", "{\"id\":[", "-", "\"\\u0000"] {
        let deep = opening.repeat(32 * 1024 / opening.len());
        client.send_text(&deep).await;
        assert_eq!(client.receive().await["code"], "bad_request", "{opening}");
        // Here the depth is in a member that no function asks for. A reader of JSON must skip it without harm.
        let inside = opening.repeat(30_000 / opening.len());
        client.send_text(&format!("{{\"action\":\"sendMessage\",\"x\":{inside}")).await;
        assert_eq!(client.receive().await["code"], "bad_request", "{opening}");
        let closed = format!("{{\"action\":\"sendMessage\",\"x\":{}{}}}", "[".repeat(15_000), "]".repeat(15_000));
        client.send_text(&closed).await;
        assert_eq!(client.receive().await["type"], "error");
        for (bytes, status) in [(60_000, 400), (1_000_000, 413), (9_000_000, 413)] {
            let request = rest.request(Method::POST, "/api/conversations").header("content-type", "application/json");
            let answer = rest.send(request.body(opening.repeat(bytes / opening.len()))).await;
            assert!(answer.status == status || answer.status == 413, "{opening} {bytes}: {answer:?}");
        }
        let response = stack.post("/_local/token", &opening.repeat(1_000_000 / opening.len())).await;
        assert_eq!(response.status(), 400, "{opening}");
        for target in ["DynamoDB_20120810.PutItem", "AmazonSQS.SendMessage"] {
            let request = reqwest::Client::new().post(format!("{}/_aws", stack.url)).header("x-amz-target", target);
            let response = request.body(opening.repeat(1_000_000 / opening.len())).send().await.expect("an answer");
            assert_eq!(response.status(), 400, "{target} {opening}");
        }
    }
    assert_serves(&mut client).await;
    assert_serves(&mut normal).await;
    let log = stack.log();
    assert!(!log.contains("overflow") && !log.contains("panicked"), "{log}");
}

#[tokio::test]
async fn each_limit_of_a_request_is_kept_and_one_beyond_is_refused() {
    let stack = Stack::quick().await;
    let mut normal = Client::connect(&stack, "normal").await;
    let rest = stack.rest("alice").await;
    let token = stack.token("alice").await;
    // A body of JSON may have 64 KB, whatever is in it. A request may have 10 MB.
    let padded = |bytes: usize| {
        let body = json!({ "title": "x" }).to_string();
        format!("{body}{}", " ".repeat(bytes - body.len()))
    };
    for (bytes, status) in
        [(64 * 1024, 201), (64 * 1024 + 1, 413), (10 * 1024 * 1024, 413), (10 * 1024 * 1024 + 1, 413)]
    {
        let request = rest.request(Method::POST, "/api/conversations").header("content-type", "application/json");
        assert_eq!(rest.send(request.body(padded(bytes))).await.status, status, "{bytes} bytes");
    }
    // A frame may have 32 KB, and a text 16 KB.
    let mut client = Client::connect(&stack, "bob").await;
    let text = "x".repeat(16 * 1024);
    assert_eq!(client.ask_afresh(&text).await.1["message"]["text"], text);
    let conversation = client.rest.new_conversation().await;
    client.send_message(&e2e::new_id(), &conversation, &"x".repeat(16 * 1024 + 1)).await;
    assert_eq!(client.receive().await["code"], "too_large");
    client.send_text(&" ".repeat(32 * 1024)).await;
    assert_eq!(client.receive().await["code"], "bad_request");
    client.send_raw(Message::text(" ".repeat(32 * 1024 + 1))).await;
    assert_eq!(client.receive_or_close().await.expect_err("closed").map(|(code, _)| code), Some(1009));
    // Addresses and headers that are too long or wrong are refused with a status.
    let get = |path: &str, headers: &str| format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
    let post = |headers: &str, body: &str| {
        format!("POST /api/conversations HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n\r\n{body}")
    };
    let signed_in = format!("Authorization: Bearer {token}\r\n");
    let long = |bytes: usize| "a".repeat(bytes);
    for (request, statuses) in [
        (get(&format!("/api/me?{}", long(8_000)), &signed_in), &[200][..]),
        (get(&format!("/api/conversations?limit=1&x={}", long(40_000)), &signed_in), &[200]),
        (get(&format!("/{}", long(70_000)), ""), &[414, 431, 400]),
        (get("/api/me", &format!("X: {}\r\n", long(2_000_000))), &[431, 400]),
        (get("/api/me", &"X: 1\r\n".repeat(5_000)), &[431, 400]),
        (post("Content-Length: -1", ""), &[400]),
        (post("Content-Length: 1\r\nContent-Length: 2", "ab"), &[400]),
        (post("Transfer-Encoding: chunked", "fffffffffffffffff\r\n"), &[400]),
        (post("Transfer-Encoding: gzip, x", ""), &[400, 501]),
    ] {
        let (status, head) = raw(&stack, request.as_bytes()).await;
        // If the server does not read the rest of the request, a reset of the connection may lose the answer.
        let lost = status == 0 && request.len() > 100_000;
        assert!(statuses.contains(&status) || lost, "{}: {head}", &request[..request.len().min(60)]);
    }
    assert_serves(&mut normal).await;
}

#[tokio::test]
async fn a_client_that_never_reads_holds_up_its_own_socket_alone() {
    let stack = StackOptions::default().param("MockLatencyMs", 0).start().await;
    let mut normal = Client::connect(&stack, "normal").await;
    let mut deaf = Client::connect_with_small_buffer(&stack, "deaf").await;
    let heartbeat = json!({ "action": "heartbeat" });
    // It sends until the server takes nothing more, because the answers have filled every buffer between the two.
    let mut sent = 0;
    while sent < 20_000 && tokio::time::timeout(Duration::from_secs(2), deaf.try_send(&heartbeat)).await.is_ok() {
        sent += 1;
        if sent % 2_000 == 0 {
            assert_serves(&mut normal).await;
        }
    }
    assert_serves(&mut normal).await;
    drop(deaf);
    stack.until("gone", |state| state["leases"].as_array().map(Vec::len) == Some(1)).await;
    assert_serves(&mut normal).await;
}

#[tokio::test]
async fn a_flood_of_frames_on_one_socket_leaves_room_for_another() {
    let stack = Stack::quick().await;
    let mut normal = Client::connect(&stack, "normal").await;
    let token = stack.token("flood").await;
    let mut socket = raw_connection(&stack).await;
    socket.write_all(&raw_handshake(b"", &[format!("Authorization: Bearer {token}").as_bytes()])).await.expect("sent");
    let mut head = [0; 12];
    socket.read_exact(&mut head).await.expect("an answer");
    assert_eq!(&head, b"HTTP/1.1 101");
    // The flood has empty frames, pings, and pieces of a message that never ends.
    let mut frames = Vec::new();
    for _ in 0..20_000 {
        frames.extend([0x81, 0x80, 0, 0, 0, 0]);
        frames.extend([0x89, 0x80, 0, 0, 0, 0]);
    }
    frames.extend([0x01, 0x80, 0, 0, 0, 0]);
    frames.extend([0x00, 0x80, 0, 0, 0, 0].repeat(20_000));
    let flooding = tokio::spawn(async move { socket.write_all(&frames).await.map(|()| socket) });
    for _ in 0..3 {
        assert_serves(&mut normal).await;
    }
    flooding.abort();
}
