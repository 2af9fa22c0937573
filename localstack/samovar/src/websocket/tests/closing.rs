//! How connections end, and what `$disconnect` hears of it.

use serde_json::json;

use super::client::{CLOSE, RawClient, TEXT};
use super::*;

fn close_payload(code: u16, reason: &str) -> Vec<u8> {
    [&code.to_be_bytes(), reason.as_bytes()].concat()
}

#[tokio::test]
async fn a_close_without_a_code_is_1005() {
    let bench = Bench::start().await;
    let client = bench.connect().await;
    client.close(None).await;
    assert_eq!(bench.disconnected().await, (1005, "Client-side close frame status not set".to_owned()));
}

#[tokio::test]
async fn a_clients_own_code_and_reason_are_reported_and_echoed() {
    let bench = Bench::start().await;
    for (code, reason) in [(1000, ""), (1001, "tab closed"), (3000, "élève"), (4999, "mine")] {
        let client = bench.connect().await;
        assert_eq!(client.close(Some((code, reason))).await, Some((code, reason.to_owned())));
        assert_eq!(bench.disconnected().await, (code.into(), reason.to_owned()));
    }
}

#[tokio::test]
async fn a_close_that_breaks_the_protocol_is_answered_with_its_code() {
    let bench = Bench::start().await;
    for (payload, code) in [
        (close_payload(1005, ""), 1002),
        (close_payload(1006, ""), 1002),
        (close_payload(999, ""), 1002),
        (vec![3], 1002),
        ([&close_payload(1000, "")[..], &[0xff]].concat(), 1007),
    ] {
        let (mut client, _) = bench.connect_raw().await;
        client.send(true, CLOSE, &payload).await;
        assert_eq!(client.closed().await.0, code, "{payload:x?}");
        assert_eq!(bench.disconnected().await.0, u64::from(code), "{payload:x?}");
    }
}

#[tokio::test]
async fn a_client_that_vanishes_is_1006() {
    let bench = Bench::start().await;
    for vanish in [RawClient::reset, drop::<RawClient>] {
        let (client, id) = bench.connect_raw().await;
        vanish(client);
        let context = bench.functions.event("disconnect").await["requestContext"].take();
        assert_eq!((&context["connectionId"], &context["disconnectStatusCode"]), (&json!(id), &json!(1006)));
        assert_eq!(bench.post(&id, "late").await, 410);
    }
    // In the middle of a frame.
    let (mut client, _) = bench.connect_raw().await;
    tokio::io::AsyncWriteExt::write_all(&mut client.stream, &[0x81, 0x85, 0, 0]).await.unwrap();
    drop(client);
    assert_eq!(bench.disconnected().await.0, 1006);
}

#[tokio::test]
async fn a_close_is_answered_while_a_function_still_runs() {
    let bench = Bench::start().await;
    let gate = bench.functions.hold("join");
    let mut client = bench.connect().await;
    client.send(r#"{"action":"join"}"#).await;
    bench.functions.event("join").await;
    client.close(Some((4000, "bye"))).await;
    gate.add_permits(1);
    assert_eq!(bench.disconnected().await, (4000, "bye".to_owned()));
}

#[tokio::test]
async fn a_client_that_closes_without_reading_is_heard() {
    let bench = Bench::with(|api| api.limits.close = Duration::from_millis(100)).await;
    let (mut client, id) = bench.connect_raw().await;
    while bench.post(&id, "x".repeat(100_000)).await == 200 {}
    client.send(true, CLOSE, &close_payload(4001, "enough")).await;
    assert_eq!(bench.disconnected().await, (4001, "enough".to_owned()));
    assert_eq!(bench.post(&id, "late").await, 410);
}

#[tokio::test]
async fn a_client_that_neither_reads_nor_answers_is_given_up() {
    let bench = Bench::with(|api| api.limits.close = Duration::from_millis(100)).await;
    let (client, id) = bench.connect_raw().await;
    assert_eq!(bench.delete(&id).await, 204);
    assert_eq!(bench.disconnected().await, (1000, "Connection Closed Normally".to_owned()));
    drop(client);

    let (client, id) = bench.connect_raw().await;
    while bench.post(&id, "x".repeat(100_000)).await == 200 {}
    assert_eq!(bench.delete(&id).await, 204);
    assert_eq!(bench.functions.event("disconnect").await["requestContext"]["connectionId"], id);
    drop(client);

    let (mut client, _) = bench.connect_raw().await;
    client.send(true, TEXT, &[0xff]).await;
    assert_eq!(bench.disconnected().await.0, 1007);
    bench.drained().await;
}

#[tokio::test]
async fn a_failed_disconnect_harms_nobody() {
    let bench = Bench::start().await;
    bench.functions.fails("disconnect", "boom");
    bench.connect().await.close(None).await;
    bench.disconnected().await;
    bench.functions.answers("disconnect", json!({ "statusCode": 500 }));
    bench.connect().await.close(None).await;
    bench.disconnected().await;
    bench.drained().await;
    assert_eq!((bench.functions.count("disconnect"), bench.api.registry.len()), (2, 0));
}

#[tokio::test]
async fn a_shutdown_closes_everything_with_1001_and_waits_for_the_disconnects() {
    let bench = Bench::start().await;
    let gate = bench.functions.hold("disconnect");
    let mut clients = Vec::new();
    for _ in 0..10 {
        clients.push(bench.connect().await);
    }
    let mut shutdown = std::pin::pin!(bench.api.shutdown());
    let closed = async {
        for client in &mut clients {
            assert_eq!(client.closed().await, (1001, "Going away".to_owned()));
        }
        for _ in 0..10 {
            assert_eq!(bench.disconnected().await, (1001, "Going away".to_owned()));
        }
    };
    tokio::select! {
        () = &mut shutdown => panic!("No $disconnect has answered"),
        () = closed => {}
    }
    gate.add_permits(10);
    within("The shutdown ends", shutdown).await;
    assert_eq!(bench.api.registry.len(), 0);
}

#[tokio::test]
async fn a_shutdown_waits_for_a_running_function_and_its_answer_is_sent() {
    let bench = Bench::start().await;
    let gate = bench.functions.hold("echo");
    let mut client = bench.connect().await;
    client.send(r#"{"action":"echo"}"#).await;
    bench.functions.event("echo").await;
    let mut shutdown = std::pin::pin!(bench.api.shutdown());
    tokio::select! {
        () = &mut shutdown => panic!("A function runs"),
        closed = client.closed() => assert_eq!(closed.0, 1001),
    }
    gate.add_permits(1);
    within("The shutdown ends", shutdown).await;
    assert_eq!(bench.functions.count("disconnect"), 1);
}

#[tokio::test]
async fn a_handshake_that_is_pending_at_the_shutdown_ends_too() {
    let bench = Bench::start().await;
    let gate = bench.functions.hold("connect");
    let mut client = RawClient::request(bench.address, &HEAD).await;
    let id = bench.connected().await;
    let mut shutdown = std::pin::pin!(bench.api.shutdown());
    tokio::select! {
        biased;
        () = &mut shutdown => panic!("A handshake is pending"),
        () = std::future::ready(()) => {}
    }
    gate.add_permits(1);
    let (ended, ()) = tokio::join!(
        async {
            client.response().await;
            assert_eq!(client.status, 101);
            client.closed().await
        },
        within("The shutdown ends", shutdown)
    );
    assert_eq!(ended, (1001, "Going away".to_owned()));
    assert_eq!(bench.disconnected().await.0, 1001);
    assert_eq!(bench.post(&id, "late").await, 410);
}

#[tokio::test]
async fn when_the_listener_stops_who_is_in_stays_and_who_is_coming_gets_in() {
    let bench = Bench::start().await;
    let mut inside = bench.connect().await;
    let gate = bench.functions.hold("connect");
    let mut coming = RawClient::request(bench.address, &HEAD).await;
    bench.connected().await;
    bench.stop.cancel();
    within("The listener is closed", async {
        while tokio::net::TcpStream::connect(bench.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    gate.add_permits(1);
    // The HTTP library adds `close` to `Connection: Upgrade`, which strict clients refuse.
    let response = coming.response().await;
    assert_eq!(coming.status, 101, "{response}");
    let message = r#"{"action":"echo"}"#;
    coming.send(true, TEXT, message.as_bytes()).await;
    assert_eq!(coming.next().await, Some((TEXT, message.as_bytes().to_vec())));
    inside.send(message).await;
    assert_eq!(inside.text().await, message);
}
