//! Many connections, ended by several at once.

use std::collections::HashMap;

use serde_json::json;

use super::client::CLOSE;
use super::*;

/// Each way to end a connection.
const WAYS: usize = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_connection_has_one_disconnect_whoever_closes_it_first() {
    const CONNECTIONS: usize = 120;
    let bench = Arc::new(Bench::start().await);
    let mut ways = HashMap::new();
    let mut running = tokio::task::JoinSet::new();
    for n in 0..CONNECTIONS {
        let (mut client, id) = bench.connect_raw().await;
        ways.insert(id.clone(), n % WAYS);
        let bench = Arc::clone(&bench);
        running.spawn(async move {
            let posts = async { while bench.post(&id, "x".repeat(1000)).await == 200 {} };
            let message = json!({ "action": "echo" }).to_string();
            client.send(true, client::TEXT, message.as_bytes()).await;
            let closes = async {
                let close = [&4000_u16.to_be_bytes()[..], b"mine"].concat();
                match n % WAYS {
                    // Client and management API at once.
                    0 => {
                        let (_, deleted) = tokio::join!(client.send(true, CLOSE, &close), bench.delete(&id));
                        assert!([204, 410].contains(&deleted), "{deleted}");
                        while client.next().await.is_some() {}
                    }
                    // The client, while others post.
                    1 => {
                        client.send(true, CLOSE, &close).await;
                        while client.next().await.is_some() {}
                    }
                    // A reset and two deletes.
                    2 => {
                        let (_, _, ()) = tokio::join!(bench.delete(&id), bench.delete(&id), async { client.reset() });
                    }
                    // A violation and a delete.
                    _ => {
                        let (_, _) = tokio::join!(client.send(true, client::TEXT, &[0xff]), bench.delete(&id));
                        while client.next().await.is_some_and(|(opcode, _)| opcode != CLOSE) {}
                    }
                }
            };
            tokio::join!(posts, closes);
        });
    }
    while let Some(done) = within("The races end", running.join_next()).await {
        done.unwrap();
    }
    bench.drained().await;
    assert_eq!(bench.functions.count("disconnect"), CONNECTIONS);
    assert_eq!(bench.api.registry.len(), 0);
    for _ in 0..CONNECTIONS {
        let context = bench.functions.event("disconnect").await["requestContext"].take();
        let way = ways.remove(context["connectionId"].as_str().unwrap()).expect("One $disconnect for each");
        let code = context["disconnectStatusCode"].as_u64().unwrap();
        let expected: [&[u64]; WAYS] = [&[1000, 4000], &[4000], &[1000, 1006], &[1000, 1007]];
        assert!(expected[way].contains(&code), "Ended by way {way}: {context}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_posters_share_a_connection_each_in_its_own_order() {
    const POSTERS: usize = 8;
    const POSTS: usize = 50;
    let bench = Arc::new(Bench::start().await);
    let mut client = bench.connect().await;
    let mut running = tokio::task::JoinSet::new();
    for poster in 0..POSTERS {
        let (bench, id) = (Arc::clone(&bench), client.id.clone());
        running.spawn(async move {
            for n in 0..POSTS {
                assert_eq!(bench.post(&id, json!([poster, n]).to_string()).await, 200);
            }
        });
    }
    let mut next = [0; POSTERS];
    for _ in 0..POSTERS * POSTS {
        let (poster, n): (usize, usize) = serde_json::from_value(client.json().await).unwrap();
        assert_eq!(n, next[poster]);
        next[poster] += 1;
    }
    while let Some(done) = running.join_next().await {
        done.unwrap();
    }
}
