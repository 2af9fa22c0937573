//! When an answer of the tables may leave: once everything that it could have seen is on the disk.
//!
//! The engine has one connection and commits each call for itself. A sync in each commit would hold the engine's lock
//! for the time of the disk. So the engine commits without a sync (`synchronous = NORMAL`), and one thread syncs the
//! write-ahead log for all calls that wait (group commit). SQLite writes its log in the order of the commits, and
//! after a power cut it reads the log up to the first part that is damaged. So a sync makes every commit before it
//! durable. Where SQLite moves the log into the database, it syncs both by itself.
//!
//! Invariant: a call is answered only after a sync that began after the call was executed, unless no write is open. A
//! write is open from before it is executed until such a sync. So a call that passes at once has seen only what is on
//! the disk, and no effect of an answer can survive what the answer was based on. This includes refused conditions and
//! errors.
//!
//! Invariant: fail-stop. After a failed sync nothing is answered any more, because nobody knows what is on the disk.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use tokio::sync::oneshot;

/// The largest number of calls that share a sync. It bounds how long the first of them waits.
const MAX_GROUP: usize = 1024;

/// Resolves after a sync.
pub(super) type Synced = oneshot::Receiver<Result<(), String>>;

/// The write-ahead log of the tables.
#[derive(Debug, Clone)]
pub(super) struct Disk {
    waiting: Sender<Waiting>,
    /// The number of writes that are open.
    open: Arc<AtomicU64>,
}

#[derive(Debug)]
struct Waiting {
    is_write: bool,
    done: oneshot::Sender<Result<(), String>>,
}

/// A write from before it is executed.
#[derive(Debug)]
#[must_use = "it stays open until it is executed"]
pub(super) struct Open;

impl Disk {
    /// `log` is the file that SQLite writes its commits to. It may be made later, by the first write.
    pub(super) fn start(log: PathBuf) -> std::io::Result<Self> {
        let (waiting, inbox) = channel();
        let open = Arc::new(AtomicU64::new(0));
        let thread = std::thread::Builder::new().name("dynamodb-sync".to_owned());
        let counted = Arc::clone(&open);
        let mut file: Option<File> = None;
        let sync = move || match &file {
            Some(file) => file.sync_data(),
            None => file.insert(File::open(&log)?).sync_data(),
        };
        thread.spawn(move || run(&inbox, &counted, sync))?;
        Ok(Self { waiting, open })
    }

    /// Must be called before a write is executed.
    pub(super) fn begin(&self) -> Open {
        self.open.fetch_add(1, Ordering::SeqCst);
        Open
    }

    /// Must be called after a call was executed, with what `begin` gave for a write. `None`: nothing has to be waited
    /// for.
    pub(super) fn executed(&self, write: Option<Open>) -> Option<Synced> {
        if write.is_none() && self.open.load(Ordering::SeqCst) == 0 {
            return None;
        }
        let (done, synced) = oneshot::channel();
        // A thread that is gone drops `done`, and the waiting side sees that.
        let _ = self.waiting.send(Waiting { is_write: write.is_some(), done });
        Some(synced)
    }
}

/// Waits for a sync.
pub(super) async fn wait(synced: Synced) -> Result<(), String> {
    synced.await.unwrap_or_else(|_| Err("the sync thread has ended".to_owned()))
}

fn run(inbox: &Receiver<Waiting>, open: &AtomicU64, mut sync: impl FnMut() -> std::io::Result<()>) {
    let mut failure: Option<String> = None;
    while let Ok(first) = inbox.recv() {
        let group: Vec<Waiting> = std::iter::once(first).chain(inbox.try_iter().take(MAX_GROUP)).collect();
        if failure.is_none()
            && let Err(error) = sync()
        {
            tracing::error!(%error, "The tables' file cannot be synced");
            failure = Some(error.to_string());
        }
        let result = failure.clone().map_or(Ok(()), Err);
        let writes = group.iter().filter(|waiting| waiting.is_write).count() as u64;
        // After a failure the writes stay open, so no later read passes.
        if result.is_ok() {
            open.fetch_sub(writes, Ordering::SeqCst);
        }
        for waiting in group {
            // A caller that has left does not wait for its answer. Its write stands.
            let _ = waiting.done.send(result.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(is_write: bool) -> (Waiting, Synced) {
        let (done, synced) = oneshot::channel();
        (Waiting { is_write, done }, synced)
    }

    #[test]
    fn a_read_waits_while_a_write_is_open_and_passes_when_none_is() {
        let directory = tempfile::tempdir().expect("a directory");
        let log = directory.path().join("log");
        std::fs::write(&log, "commits").expect("a file");
        let disk = Disk::start(log).expect("a thread");
        assert!(disk.executed(None).is_none(), "nothing is open");

        let write = disk.begin();
        let read = disk.executed(None).expect("a write is open, and the read may have seen it");
        read.blocking_recv().expect("an answer").expect("a sync");
        assert!(disk.executed(None).is_some(), "the sync may have begun before the write was executed");

        disk.executed(Some(write)).expect("a write waits").blocking_recv().expect("an answer").expect("a sync");
        assert!(disk.executed(None).is_none(), "the write is on the disk");
    }

    #[test]
    fn a_write_whose_caller_has_left_is_closed_by_its_sync() {
        let directory = tempfile::tempdir().expect("a directory");
        let log = directory.path().join("log");
        std::fs::write(&log, "commits").expect("a file");
        let disk = Disk::start(log).expect("a thread");
        let write = disk.begin();
        drop(disk.executed(Some(write)));
        let later = disk.begin();
        disk.executed(Some(later)).expect("a write waits").blocking_recv().expect("an answer").expect("a sync");
        assert!(disk.executed(None).is_none(), "both are on the disk");
    }

    #[test]
    fn many_calls_share_one_sync() {
        let (sender, inbox) = channel();
        let answers: Vec<_> = (0..5)
            .map(|_| {
                let (waiting, synced) = waiting(true);
                sender.send(waiting).expect("the inbox is there");
                synced
            })
            .collect();
        drop(sender);
        let (open, syncs) = (AtomicU64::new(5), AtomicU64::new(0));
        run(&inbox, &open, || {
            syncs.fetch_add(1, Ordering::SeqCst);
            Ok(())
        });
        assert_eq!((open.into_inner(), syncs.into_inner()), (0, 1));
        for answer in answers {
            answer.blocking_recv().expect("an answer").expect("a sync");
        }
    }

    #[test]
    fn after_a_failed_sync_nothing_is_answered() {
        let directory = tempfile::tempdir().expect("a directory");
        let disk = Disk::start(directory.path().join("missing")).expect("a thread");
        for _ in 0..2 {
            let write = disk.begin();
            let synced = disk.executed(Some(write)).expect("a write waits").blocking_recv().expect("an answer");
            assert!(synced.is_err(), "{synced:?}");
        }
        let read = disk.executed(None).expect("a read waits too");
        assert!(read.blocking_recv().expect("an answer").is_err());
    }
}
