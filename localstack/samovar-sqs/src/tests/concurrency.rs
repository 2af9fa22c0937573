//! Races: many receivers, senders and dropped calls at once, on several threads, in memory and over a file.

use std::collections::{BTreeSet, HashMap};
use std::sync::Mutex;

use super::*;

const GROUPS: u32 = 20;
const PER_GROUP: u32 = 15;
const TOTAL: usize = (GROUPS * PER_GROUP) as usize;

/// The messages that the receivers have seen.
#[derive(Debug, Default)]
struct Witness {
    in_flight: BTreeSet<String>,
    done: HashMap<String, Vec<u32>>,
    deleted: usize,
}

/// Receives one message at a time until the server closes; the one that deletes the last message closes it.
async fn work(bench: Bench, witness: Arc<Mutex<Witness>>, seed: u64) {
    let request = Receive { max_messages: 1, wait: Duration::from_secs(20), visibility_timeout: None };
    let mut random = fastrand::Rng::with_seed(seed);
    loop {
        let receive = bench.sqs.receive("q.fifo", request);
        let received = if random.u8(..) < 40 {
            // Some clients hang up, at any point.
            let patience = random.u8(..4);
            tokio::select! {
                biased;
                received = receive => received,
                () = pause(patience) => continue,
            }
        } else {
            receive.await
        };
        let message = match received {
            Ok(mut messages) => messages.pop(),
            Err(error) => {
                assert_eq!(error, Error::Closed);
                None
            }
        };
        let Some(message) = message else { return };
        let group = message.attributes["MessageGroupId"].clone();
        assert!(witness.lock().unwrap().in_flight.insert(group.clone()), "two in flight of group {group}");
        pause(random.u8(..4)).await;
        witness.lock().unwrap().in_flight.remove(&group);
        if random.u8(..) < 50 {
            bench.hide("q.fifo", &message, 0).await.unwrap();
            continue;
        }
        let number = message.body.split(' ').nth(1).unwrap().parse().unwrap();
        witness.lock().unwrap().done.entry(group).or_default().push(number);
        bench.delete("q.fifo", &message).await.unwrap();
        let deleted = {
            let mut witness = witness.lock().unwrap();
            witness.deleted += 1;
            witness.deleted
        };
        if deleted == TOTAL {
            bench.sqs.close().await;
        }
    }
}

async fn pause(turns: u8) {
    for _ in 0..turns {
        tokio::task::yield_now().await;
    }
}

async fn race(bench: Bench, receivers: u64) {
    bench.fifo("q.fifo").await;
    let witness = Arc::new(Mutex::new(Witness::default()));
    let mut tasks = tokio::task::JoinSet::new();
    for seed in 0..receivers {
        tasks.spawn(work(bench.clone(), Arc::clone(&witness), seed));
    }
    for group in 0..GROUPS {
        let bench = bench.clone();
        tasks.spawn(async move {
            for number in 0..PER_GROUP {
                bench.send_to_group("q.fifo", &group.to_string(), &format!("{group} {number}")).await;
            }
        });
    }
    // Time stands still for the server, so a lost wake-up would wait for ever.
    tokio::time::timeout(Duration::from_secs(60), tasks.join_all()).await.expect("a receiver was not woken");
    let done = std::mem::take(&mut witness.lock().unwrap().done);
    assert_eq!(done.len(), GROUPS as usize);
    for (group, numbers) in done {
        assert_eq!(numbers, (0..PER_GROUP).collect::<Vec<_>>(), "group {group} out of order");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifty_racing_receivers_never_hold_two_of_a_group_and_keep_its_order() {
    race(Bench::memory(), 50).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn racing_receivers_over_a_file_keep_the_order_even_if_receives_are_dropped() {
    let directory = tempfile::tempdir().unwrap();
    race(Bench::file(&directory.path().join("sqs"), START_MS), 50).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn racing_repeats_store_one_message_and_all_get_its_id() {
    let bench = Bench::memory();
    bench.fifo("q.fifo").await;
    let mut sends = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let bench = bench.clone();
        sends.spawn(async move { bench.send_to_group("q.fifo", "g", "same").await });
    }
    let ids: BTreeSet<String> = sends.join_all().await.into_iter().collect();
    assert_eq!(ids.len(), 1);
    assert_eq!(bench.counts("q.fifo").0, 1);
}
