//! The state of the queues after a restart.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};

use super::*;

/// Opens a copy of the file without closing the server, as after SIGKILL: the copy has every committed change.
async fn killed_and_restarted(path: &Path, now_ms: i64) -> (tempfile::TempDir, Bench) {
    let directory = tempfile::tempdir().unwrap();
    let copy = directory.path().join("sqs");
    std::fs::copy(path, &copy).unwrap();
    std::fs::copy(format!("{}-wal", path.display()), format!("{}-wal", copy.display())).unwrap();
    let bench = Bench::file(&copy, now_ms);
    (directory, bench)
}

#[tokio::test]
async fn a_killed_server_comes_back_with_messages_receives_visibility_and_deduplication() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("sqs");
    let before = Bench::file(&path, START_MS);
    before.fifo("dead.fifo").await;
    let policy = redrive_policy("dead.fifo", 2);
    let attributes = [("FifoQueue", "true"), ("ContentBasedDeduplication", "true"), ("RedrivePolicy", &policy)];
    before.queue("q.fifo", attributes).await;
    before.queue("q", [("DelaySeconds", "60")]).await;
    for (group, body) in [("a", "a1"), ("a", "a2"), ("b", "b1"), ("c", "c1")] {
        before.send_to_group("q.fifo", group, body).await;
    }
    let with_attributes = json!({
        "QueueUrl": "q",
        "MessageBody": "delayed ✓",
        "MessageAttributes": {
            "text": { "DataType": "String.kind", "StringValue": "value" },
            "bytes": { "DataType": "Binary", "BinaryValue": "AAH/" },
        },
    });
    before.call("SendMessage", with_attributes).await.unwrap();
    let a1 = before.receive_one("q.fifo").await;
    let b1 = before.receive_one("q.fifo").await;
    before.hide("q.fifo", &b1, 100).await.unwrap();
    let c1 = before.receive_one("q.fifo").await;
    before.delete("q.fifo", &c1).await.unwrap();

    let (_directory, after) = killed_and_restarted(&path, START_MS + 10_000).await;
    // The groups of a1 and b1 are still locked, c1 is gone but its id still counts, the delay goes on.
    assert_eq!(after.counts("q.fifo"), (1, 2, 0));
    assert!(after.receive("q.fifo").await.is_empty());
    assert_eq!(after.send_to_group("q.fifo", "c", "c1").await, c1.message_id);
    assert_eq!(after.counts("q"), (0, 0, 1));
    // A handle from before is as good as it was.
    after.delete("q.fifo", &b1).await.unwrap();
    // The receive before the kill counts: after one more, the message is given up.
    after.advance_seconds(20);
    let again = after.receive_up_to("q.fifo", 1).await;
    assert_eq!((again[0].body.as_str(), again[0].attributes["ApproximateReceiveCount"].as_str()), ("a1", "2"));
    assert_eq!(again[0].attributes["ApproximateFirstReceiveTimestamp"], START_MS.to_string());
    assert!(matches!(after.delete("q.fifo", &a1).await, Err(Error::ReceiptHandleExpired(_))));
    after.advance_seconds(30);
    assert_eq!(bodies(&after.receive("q.fifo").await), ["a2"]);
    assert_eq!(bodies(&after.receive("dead.fifo").await), ["a1"]);
    let delayed = after.receive_one("q").await;
    assert_eq!(delayed.body, "delayed ✓");
    assert_eq!(delayed.message_attributes["text"].string_value.as_deref(), Some("value"));
    assert_eq!(delayed.message_attributes["bytes"].binary_value.as_deref(), Some([0, 1, 255].as_slice()));
    // New sequence numbers go on after the old ones.
    after.send_to_group("q.fifo", "new", "later").await;
    let later = after.receive_one("q.fifo").await;
    assert!(later.attributes["SequenceNumber"] > b1.attributes["SequenceNumber"]);
}

#[tokio::test]
async fn queues_attributes_tags_and_deletions_survive_a_clean_restart() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("sqs");
    let before = Bench::file(&path, START_MS);
    let create =
        json!({ "QueueName": "q", "Attributes": { "VisibilityTimeout": "77", "Policy": "{}" }, "tags": { "a": "b" } });
    before.call("CreateQueue", create).await.unwrap();
    before.queue("gone", []).await;
    before.send("gone", "x").await;
    before.queue("purged", []).await;
    before.send("purged", "x").await;
    before.call("DeleteQueue", json!({ "QueueUrl": "gone" })).await.unwrap();
    before.call("PurgeQueue", json!({ "QueueUrl": "purged" })).await.unwrap();
    before.sqs.close().await;

    let after = Bench::file(&path, START_MS + 1000);
    assert_eq!(after.sqs.counts().keys().collect::<Vec<_>>(), ["purged", "q"]);
    assert_eq!(after.counts("purged"), (0, 0, 0));
    let names = json!({ "QueueUrl": "q", "AttributeNames": ["VisibilityTimeout", "Policy", "CreatedTimestamp"] });
    let attributes = after.call("GetQueueAttributes", names).await.unwrap();
    let created = (START_MS / 1000).to_string();
    let expected = json!({ "VisibilityTimeout": "77", "Policy": "{}", "CreatedTimestamp": created });
    assert_eq!(attributes["Attributes"], expected);
    let tags = after.call("ListQueueTags", json!({ "QueueUrl": "q" })).await.unwrap();
    assert_eq!(tags, json!({ "Tags": { "a": "b" } }));
}

#[tokio::test]
async fn a_file_that_is_in_use_or_not_a_queue_file_is_refused_with_its_name() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("sqs");
    let open = |path: &Path| {
        let clock = Arc::new(ManualClock::new(START_MS));
        Sqs::open(Storage::File(path.to_owned()), "us-east-1", "000000000000", BASE_URL, clock)
    };
    let first = open(&path).unwrap();
    let second = open(&path).unwrap_err();
    assert!(second.to_string().contains("in use by another process"), "{second}");
    drop(first);

    let other = directory.path().join("text");
    std::fs::write(&other, "not a database, but long enough to have a header ".repeat(100)).unwrap();
    let error = open(&other).unwrap_err();
    assert!(error.to_string().contains("cannot be read"), "{error}");
}

#[tokio::test]
async fn no_call_is_acknowledged_after_a_failed_write() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("sqs");
    let bench = Bench::file(&path, START_MS);
    bench.queue("q", []).await;
    bench.send("q", "kept").await;
    // A second row with the same key makes the commit fail, as a full disk would.
    let twice = bench.sqs.inner.run(|state, now_ms| {
        let sequence = state.queue("q", now_ms)?.pick(1, |_| false).deliver[0];
        let message = state.queue("q", now_ms)?.get(sequence).cloned().ok_or(Error::QueueDoesNotExist)?;
        state.changes.push(crate::store::Change::PutMessage { queue: 1, message });
        Ok(())
    });
    assert!(matches!(twice.await, Err(Error::Storage(_))));
    let (code, text) = bench.call("SendMessage", json!({ "QueueUrl": "q", "MessageBody": "lost" })).await.unwrap_err();
    assert_eq!(code, "InternalFailure");
    assert!(text.contains("could not be written"), "{text}");
    let (_directory, after) = killed_and_restarted(&path, START_MS).await;
    assert_eq!(bodies(&after.receive("q").await), ["kept"]);
}

/// The child of the next test: sends, receives and deletes in the current directory until it is killed, and prints what
/// has been acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "run by the test below, which kills it"]
async fn child_that_works_until_it_is_killed() {
    // Nobody kills it when it is run by `cargo test -- --ignored`.
    if !Path::new("sqs").exists() {
        return;
    }
    let bench = Bench::file(Path::new("sqs"), START_MS);
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..8 {
        let bench = bench.clone();
        tasks.spawn(async move {
            for number in 0.. {
                let body = format!("{task}-{number}");
                bench.send("q", &body).await;
                writeln!(std::io::stdout(), "sent {body}").unwrap();
                if number % 3 == 0 {
                    let message = bench.receive_one("q").await;
                    writeln!(std::io::stdout(), "deleting {}", message.body).unwrap();
                    bench.delete("q", &message).await.unwrap();
                    writeln!(std::io::stdout(), "deleted {}", message.body).unwrap();
                }
            }
        });
    }
    tasks.join_all().await;
}

#[tokio::test]
async fn every_acknowledged_change_survives_sigkill() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("sqs");
    let before = Bench::file(&path, START_MS);
    before.queue("q", []).await;
    before.sqs.close().await;

    let module = module_path!().split_once("::").unwrap().1;
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", &format!("{module}::child_that_works_until_it_is_killed")])
        .current_dir(directory.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut said: Vec<String> = lines.by_ref().filter(|line| line.contains('-')).take(2_000).collect();
    child.kill().unwrap();
    child.wait().unwrap();
    // Its output between the last read and its end counts too.
    said.extend(lines);

    let after = Bench::file(&path, START_MS + 60_000);
    let there: std::collections::BTreeSet<String> =
        after.receive_up_to("q", 1_000_000).await.into_iter().map(|message| message.body).collect();
    let said = |what: &str| -> Vec<&str> { said.iter().filter_map(|line| line.strip_prefix(what)).collect() };
    let (sent, deleting, deleted) = (said("sent "), said("deleting "), said("deleted "));
    assert!(sent.len() > 500 && deleted.len() > 100, "{} sent, {} deleted", sent.len(), deleted.len());
    for body in deleted {
        assert!(!there.contains(body), "{body} was deleted");
    }
    for body in sent {
        assert!(there.contains(body) || deleting.contains(&body), "{body} was acknowledged and is gone");
    }
}
