//! API Gateway's quotas, and the close codes that tell of them.

use futures_util::SinkExt as _;
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;

use super::client::{CONTINUATION, PING, TEXT};
use super::*;
use samovar_template::Throttle;

const FRAME_BYTES: usize = 32 * 1024;

/// A message for the route `join` of so many bytes.
fn message(bytes: usize) -> String {
    let empty = json!({ "action": "join", "text": "" }).to_string();
    json!({ "action": "join", "text": "x".repeat(bytes - empty.len()) }).to_string()
}

fn body(event: &Value) -> &str {
    event["body"].as_str().unwrap()
}

#[tokio::test]
async fn a_frame_of_32_kb_passes_and_one_byte_more_closes_with_1009() {
    let bench = Bench::start().await;
    let mut client = bench.connect().await;
    client.send(&message(FRAME_BYTES)).await;
    assert_eq!(body(&bench.functions.event("join").await), message(FRAME_BYTES));
    client.send(&message(FRAME_BYTES + 1)).await;
    let (code, reason) = client.closed().await;
    assert_eq!(code, 1009);
    for part in ["32 KB", "128 KB", "UTF-8 unescaped", "fragments"] {
        assert!(reason.contains(part), "{reason}");
    }
    assert_eq!(bench.disconnected().await.0, 1009);
    assert_eq!(bench.functions.count("join"), 1);
}

#[tokio::test]
async fn a_message_of_128_kb_passes_and_one_byte_more_closes_with_1009() {
    let bench = Bench::start().await;
    let mut client = bench.connect().await;
    let text = message(4 * FRAME_BYTES);
    let frames: Vec<&str> = (0..4).map(|at| &text[at * FRAME_BYTES..(at + 1) * FRAME_BYTES]).collect();
    client.send_frames(&frames).await;
    assert_eq!(body(&bench.functions.event("join").await), text);
    client.send_frames(&[frames.as_slice(), &["x"]].concat()).await;
    assert_eq!(client.closed().await.0, 1009);
    assert_eq!(bench.disconnected().await.0, 1009);
    assert_eq!(bench.functions.count("join"), 1);
}

#[tokio::test]
async fn a_client_in_the_middle_of_a_huge_frame_still_gets_the_close() {
    let bench = Bench::start().await;
    let mut client = bench.connect().await;
    // More than fits between the two: it is sent only if the server goes on reading.
    client.send(&message(16 * 1024 * 1024)).await;
    assert_eq!(client.closed().await.0, 1009);
    assert_eq!(bench.disconnected().await.0, 1009);
}

#[tokio::test]
async fn a_binary_frame_closes_with_1003() {
    let bench = Bench::start().await;
    let mut client = bench.connect().await;
    client.socket.send(Message::binary(&b"{}"[..])).await.unwrap();
    assert_eq!(client.closed().await.0, 1003);
    assert_eq!(bench.disconnected().await.0, 1003);
    assert_eq!(bench.functions.count("default"), 0);
}

#[tokio::test]
async fn text_that_is_not_utf8_closes_with_1007() {
    let bench = Bench::start().await;
    let (mut client, _) = bench.connect_raw().await;
    // A character may be cut in two by frames.
    let (first, last) = "{\"action\":\"join\",\"text\":\"é\"}".as_bytes().split_at(26);
    assert!(std::str::from_utf8(first).is_err());
    client.send(false, TEXT, first).await;
    client.send(true, CONTINUATION, last).await;
    assert_eq!(body(&bench.functions.event("join").await).as_bytes(), [first, last].concat());
    client.send(true, TEXT, first).await;
    assert_eq!(client.closed().await.0, 1007);
    assert_eq!(bench.disconnected().await.0, 1007);

    let (mut client, _) = bench.connect_raw().await;
    client.send(false, TEXT, b"abc").await;
    client.send(true, CONTINUATION, &[0xff]).await;
    assert_eq!(client.closed().await.0, 1007);
    assert_eq!(bench.disconnected().await.0, 1007);
}

#[tokio::test]
async fn a_violation_of_the_protocol_closes_with_1002() {
    let bench = Bench::start().await;
    let unmasked = [0x81, 1, b'x'].as_slice();
    let reserved_bits = &[0xf1, 0x80, 0, 0, 0, 0];
    let unknown_opcode = &[0x83, 0x80, 0, 0, 0, 0];
    let continuation_of_nothing = &[0x80, 0x80, 0, 0, 0, 0];
    let ping_in_parts = &[0x09, 0x80, 0, 0, 0, 0];
    for bytes in [unmasked, reserved_bits, unknown_opcode, continuation_of_nothing, ping_in_parts] {
        let (mut client, _) = bench.connect_raw().await;
        client.stream.write_all(bytes).await.unwrap();
        assert_eq!(client.closed().await.0, 1002, "{bytes:x?}");
        assert_eq!(bench.disconnected().await.0, 1002, "{bytes:x?}");
    }
}

#[tokio::test]
async fn pings_are_answered_and_are_not_messages() {
    let bench = Bench::start().await;
    let (mut client, _) = bench.connect_raw().await;
    client.send(true, PING, b"are you there").await;
    assert_eq!(client.next().await, Some((0xa, b"are you there".to_vec())));
    // In the middle of a message too.
    client.send(false, TEXT, br#"{"action":"#).await;
    client.send(true, PING, b"").await;
    client.send(true, CONTINUATION, br#""echo"}"#).await;
    assert_eq!(client.next().await, Some((0xa, Vec::new())));
    assert_eq!(client.next().await, Some((TEXT, br#"{"action":"echo"}"#.to_vec())));
    assert_eq!(bench.functions.count("default"), 0);
}

#[tokio::test]
async fn a_silent_connection_is_closed_with_1001_going_away() {
    let bench = Bench::with(|api| api.limits.idle = Duration::from_millis(100)).await;
    let mut client = bench.connect().await;
    assert_eq!(client.closed().await, (1001, "Going away".to_owned()));
    assert_eq!(bench.disconnected().await, (1001, "Going away".to_owned()));
    assert_eq!(bench.post(&client.id, "late").await, 410);
}

#[tokio::test]
async fn a_message_and_a_post_each_start_the_idle_time_anew() {
    const IDLE: Duration = Duration::from_secs(1);
    let bench = Bench::with(|api| api.limits.idle = IDLE).await;
    let (mut talker, mut listener) = (bench.connect().await, bench.connect().await);
    tokio::time::sleep(IDLE / 4).await;
    let before = Instant::now();
    talker.send(r#"{"action":"join"}"#).await;
    assert_eq!(bench.post(&listener.id, "news").await, 200);
    assert_eq!(listener.text().await, "news");
    for client in [&mut talker, &mut listener] {
        assert_eq!(client.closed().await.0, 1001);
        // The clock behind it counts in milliseconds.
        assert!(before.elapsed() > IDLE - Duration::from_millis(2), "After {:?}", before.elapsed());
    }
}

#[tokio::test]
async fn a_connection_ends_with_its_life_however_busy() {
    const LIFE: Duration = Duration::from_millis(300);
    let bench = Bench::with(|api| api.limits.life = LIFE).await;
    let start = Instant::now();
    let mut client = bench.connect().await;
    loop {
        // After the close, sending fails.
        let _ = client.socket.send(Message::text(r#"{"action":"echo"}"#)).await;
        match client.next().await {
            Message::Text(_) => assert!(start.elapsed() < PATIENCE),
            Message::Close(frame) => {
                // AWS does not publish which code it sends.
                assert_eq!(frame.map(|frame| frame.code.into()), Some(1001));
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(start.elapsed() >= LIFE);
    assert_eq!(bench.disconnected().await.0, 1001);
}

#[tokio::test]
async fn a_client_that_sends_too_many_messages_is_closed_with_1008() {
    let bench = Bench::with(|api| route(api, "join").throttle = Some(Throttle { rate: 0.0, burst: 3 })).await;
    let (mut busy, mut other) = (bench.connect().await, bench.connect().await);
    for _ in 0..4 {
        busy.send(r#"{"action":"join"}"#).await;
    }
    assert_eq!(busy.closed().await.0, 1008);
    assert_eq!(bench.disconnected().await.0, 1008);
    assert_eq!(bench.functions.count("join"), 3);
    // Neither another client nor a route without a limit is concerned.
    other.send(r#"{"action":"join"}"#).await;
    for _ in 0..4 {
        other.send(r#"{"action":"echo"}"#).await;
        assert_eq!(other.json().await, json!({ "action": "echo" }));
    }
    bench.drained_of(other).await;
    assert_eq!(bench.functions.count("join"), 4);
}
