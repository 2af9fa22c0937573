//! Random operations against a model that is simple enough to verify by reading: a list of messages in the order of
//! sends.
//!
//! The model does not know in which order groups are served. It checks that every received message was allowed, and
//! that no available message was left out.

use std::collections::HashMap;

use super::*;

const MAX_RECEIVES: u32 = 3;
const VISIBILITY_SECONDS: i64 = 30;

#[derive(Clone, Debug)]
struct Entry {
    id: String,
    group: String,
    visible_ms: i64,
    /// The token of the latest receive.
    handle: Option<String>,
    receives: u32,
}

#[derive(Debug, Default)]
struct Model {
    entries: Vec<Entry>,
    /// Deduplication id to first send.
    sent: HashMap<String, (String, i64)>,
    /// Every handle ever given, with its message.
    handles: Vec<(String, String)>,
}

impl Model {
    fn may_come(&self, at: usize, fifo: bool, now_ms: i64) -> bool {
        let entry = &self.entries[at];
        let blocked = fifo && self.entries[..at].iter().any(|e| e.group == entry.group && e.visible_ms > now_ms);
        entry.visible_ms <= now_ms && !blocked
    }

    fn find(&self, id: &str) -> usize {
        self.entries.iter().position(|entry| entry.id == id).unwrap()
    }

    fn receive(&mut self, max: usize, fifo: bool, received: &[Message], dead: &[Message], now_ms: i64) {
        let mut legal: Vec<String> = Vec::new();
        for at in 0..self.entries.len() {
            if self.may_come(at, fifo, now_ms) {
                legal.push(self.entries[at].id.clone());
            }
        }
        for message in dead {
            assert!(legal.contains(&message.message_id), "given up out of order: {message:?}");
            let at = self.find(&message.message_id);
            assert_eq!(self.entries[at].receives, MAX_RECEIVES, "given up too early or late");
            self.entries.remove(at);
        }
        let mut last_of_group: HashMap<String, usize> = HashMap::new();
        for message in received {
            assert!(legal.contains(&message.message_id), "not to be had: {message:?}");
            let at = self.find(&message.message_id);
            let entry = &self.entries[at];
            assert!(entry.receives < MAX_RECEIVES, "received too often");
            if fifo {
                // Everything earlier in the group was received just before.
                let before = self.entries[..at].iter().rposition(|e| e.group == entry.group);
                assert_eq!(before, last_of_group.insert(entry.group.clone(), at), "out of order");
            }
        }
        for message in received {
            let at = self.find(&message.message_id);
            let entry = &mut self.entries[at];
            entry.receives += 1;
            assert_eq!(message.attributes["ApproximateReceiveCount"], entry.receives.to_string());
            entry.visible_ms = now_ms + VISIBILITY_SECONDS * 1000;
            entry.handle = Some(message.receipt_handle.clone());
            self.handles.push((message.receipt_handle.clone(), message.message_id.clone()));
        }
        assert!(received.len() <= max);
        if received.len() < max {
            let left = (0..self.entries.len()).find(|at| self.may_come(*at, fifo, now_ms));
            assert_eq!(left, None, "something was left out");
        }
    }

    /// Deletes by a handle, and gives the answer that the queue must give.
    fn delete(&mut self, handle: &str, id: &str, fifo: bool, now_ms: i64) -> bool {
        let Some(at) = self.entries.iter().position(|entry| entry.id == id) else { return true };
        let latest = self.entries[at].handle.as_deref() == Some(handle);
        let in_time = self.entries[at].visible_ms > now_ms;
        if fifo && !(latest && in_time) {
            return false;
        }
        if latest {
            self.entries.remove(at);
        }
        true
    }

    fn hide(&mut self, handle: &str, id: &str, seconds: i64, fifo: bool, now_ms: i64) -> bool {
        let found = self.entries.iter_mut().find(|entry| entry.id == id && entry.handle.as_deref() == Some(handle));
        match found {
            Some(entry) if !fifo || entry.visible_ms > now_ms => {
                entry.visible_ms = now_ms + seconds * 1000;
                true
            }
            _ => false,
        }
    }
}

async fn run(mut bench: Bench, restart: Option<&Path>, fifo: bool, seed: u64, steps: usize) {
    let mut random = fastrand::Rng::with_seed(seed);
    let (queue, dead) = if fifo { ("q.fifo", "dead.fifo") } else { ("q", "dead") };
    let policy = redrive_policy(dead, MAX_RECEIVES);
    if fifo {
        bench.fifo(dead).await;
        bench.queue(queue, [("FifoQueue", "true"), ("RedrivePolicy", &policy)]).await;
    } else {
        bench.queue(dead, []).await;
        bench.queue(queue, [("RedrivePolicy", &policy)]).await;
    }
    let mut model = Model::default();
    for _ in 0..steps {
        let now_ms = bench.clock.now_ms();
        match random.u8(..10) {
            0..3 => {
                let group = random.u8(..4).to_string();
                let mut request = json!({ "QueueUrl": queue, "MessageBody": "x", "MessageGroupId": group });
                let mut visible_ms = now_ms;
                let id = random.u8(..40).to_string();
                if fifo {
                    request["MessageDeduplicationId"] = json!(id);
                } else if random.bool() {
                    request["DelaySeconds"] = json!(7);
                    visible_ms += 7000;
                }
                let sent = bench.call("SendMessage", request).await.unwrap();
                let message_id = sent["MessageId"].as_str().unwrap().to_owned();
                let first = model.sent.get(&id).filter(|(_, at_ms)| fifo && at_ms + 300_000 > now_ms);
                if let Some((first, _)) = first {
                    assert_eq!(&message_id, first);
                    continue;
                }
                model.sent.insert(id, (message_id.clone(), now_ms));
                model.entries.push(Entry { id: message_id, group, visible_ms, handle: None, receives: 0 });
            }
            3..6 => {
                let max = if random.bool() { 1 } else { random.usize(1..6) };
                let received = bench.receive_up_to(queue, u32::try_from(max).unwrap()).await;
                let given_up = bench.receive_up_to(dead, 1000).await;
                for message in &given_up {
                    bench.delete(dead, message).await.unwrap();
                }
                model.receive(max, fifo, &received, &given_up, now_ms);
            }
            6 | 7 if !model.handles.is_empty() => {
                let (handle, id) = model.handles[random.usize(..model.handles.len())].clone();
                let deleted = bench.sqs.delete(queue, std::slice::from_ref(&handle)).await.pop().unwrap();
                assert_eq!(deleted.is_ok(), model.delete(&handle, &id, fifo, now_ms));
            }
            8 if !model.handles.is_empty() => {
                let (handle, id) = model.handles[random.usize(..model.handles.len())].clone();
                let seconds = random.i64(0..3) * 20;
                let timeout = Duration::from_secs(seconds.unsigned_abs());
                let hidden = bench.sqs.change_visibility(queue, &handle, timeout).await;
                assert_eq!(hidden.is_ok(), model.hide(&handle, &id, seconds, fifo, now_ms), "{hidden:?}");
            }
            _ => bench.clock.advance(Duration::from_millis(random.u64(..20_000))),
        }
        if let Some(path) = restart.filter(|_| random.u8(..) < 20) {
            bench.sqs.close().await;
            bench = Bench::file(path, bench.clock.now_ms());
        }
        let now_ms = bench.clock.now_ms();
        let visible = model.entries.iter().filter(|entry| entry.visible_ms <= now_ms).count() as u64;
        let hidden = model.entries.iter().filter(|entry| entry.visible_ms > now_ms);
        let (in_flight, delayed): (Vec<_>, Vec<_>) = hidden.partition(|entry| entry.handle.is_some());
        assert_eq!(bench.counts(queue), (visible, in_flight.len() as u64, delayed.len() as u64));
    }
}

#[tokio::test]
async fn random_operations_on_a_fifo_queue_do_what_the_model_allows() {
    for seed in 0..150 {
        run(Bench::memory(), None, true, seed, 200).await;
    }
}

#[tokio::test]
async fn random_operations_on_a_standard_queue_do_what_the_model_allows() {
    for seed in 0..150 {
        run(Bench::memory(), None, false, seed, 200).await;
    }
}

#[tokio::test]
async fn random_operations_do_what_the_model_allows_over_restarts() {
    for seed in 0..6 {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sqs");
        run(Bench::file(&path, START_MS), Some(&path), seed % 2 == 0, seed, 150).await;
    }
}
