//! The thread that writes the file.
//!
//! Callers put their changes into a channel while they hold the state's lock, so the order in the file is the order in
//! memory. Then they wait without the lock. The thread takes all waiting changes and commits them in one transaction.
//! Under load, many operations share one fsync (group commit), and tokio's threads never block on the disk.
//!
//! Durability: the file is in WAL mode. A transaction with any change that must survive a power cut (sends, deletes,
//! queues) commits with `synchronous=FULL`, which is an fsync. A transaction with only receives and visibility commits
//! with `NORMAL`: it survives the death of the process, and the WAL's order keeps the file consistent in a power cut
//! too.
//!
//! Invariant: fail-stop. After a failed commit nothing more is written or acknowledged, because the memory is then
//! ahead of the file. A restart continues from the last commit.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::error::{Error, OpenError};
use super::store::{self, Change};

/// The largest number of operations in a transaction. It bounds how long the first of them waits.
const MAX_GROUP: usize = 1024;

#[derive(Debug)]
pub(super) struct Writer {
    commands: Sender<WriterCommand>,
    _thread: JoinHandle<()>,
}

/// Resolves once the changes are in the file.
#[derive(Debug)]
#[must_use = "acknowledge nothing before it is written"]
pub(super) struct Commit(Option<oneshot::Receiver<Result<(), Error>>>);

#[derive(Debug)]
enum WriterCommand {
    Write { changes: Vec<Change>, done: oneshot::Sender<Result<(), Error>> },
    Close { done: oneshot::Sender<Result<(), Error>> },
}

impl Commit {
    /// A commit without changes, which needs no waiting.
    pub(super) fn none() -> Self {
        Self(None)
    }

    pub(super) async fn wait(self) -> Result<(), Error> {
        match self.0 {
            None => Ok(()),
            Some(done) => done.await.unwrap_or(Err(Error::Closed)),
        }
    }
}

impl Writer {
    pub(super) fn start(connection: Connection) -> Result<Self, OpenError> {
        let (commands, inbox) = channel();
        let thread = std::thread::Builder::new()
            .name("sqs-writer".to_owned())
            .spawn(move || run(connection, &inbox))
            .map_err(OpenError::Thread)?;
        Ok(Self { commands, _thread: thread })
    }

    /// Must be called with the state's lock held: the order of the calls is the order in the file.
    pub(super) fn submit(&self, changes: Vec<Change>) -> Commit {
        let (done, commit) = oneshot::channel();
        // A writer that is gone drops `done`, and the waiting side sees that.
        let _ = self.commands.send(WriterCommand::Write { changes, done });
        Commit(Some(commit))
    }

    /// Writes the waiting changes, then closes the file.
    pub(super) fn close(&self) -> Commit {
        let (done, commit) = oneshot::channel();
        let _ = self.commands.send(WriterCommand::Close { done });
        Commit(Some(commit))
    }
}

fn run(mut connection: Connection, inbox: &Receiver<WriterCommand>) {
    let mut failure: Option<Error> = None;
    let mut synchronous = "";
    while let Ok(first) = inbox.recv() {
        let mut group = Vec::new();
        let mut closing = None;
        for job in std::iter::once(first).chain(inbox.try_iter().take(MAX_GROUP)) {
            match job {
                WriterCommand::Write { changes, done } => group.push((changes, done)),
                WriterCommand::Close { done } => {
                    closing = Some(done);
                    break;
                }
            }
        }
        let result = match &failure {
            Some(error) => Err(error.clone()),
            None => {
                commit(&mut connection, &group, &mut synchronous).map_err(|error| Error::Storage(error.to_string()))
            }
        };
        if let (Err(error), None) = (&result, &failure) {
            tracing::error!(%error, "The queue file cannot be written");
            failure = Some(error.clone());
        }
        for (_, done) in group {
            // A caller that has left does not wait for its answer. Its change stands.
            let _ = done.send(result.clone());
        }
        if let Some(done) = closing {
            let closed = connection.close().map_err(|(_, error)| Error::Storage(error.to_string()));
            let _ = done.send(result.and(closed));
            return;
        }
    }
}

fn commit<T>(
    connection: &mut Connection,
    group: &[(Vec<Change>, T)],
    synchronous: &mut &'static str,
) -> rusqlite::Result<()> {
    let mut changes = group.iter().flat_map(|(changes, _)| changes).peekable();
    if changes.peek().is_none() {
        return Ok(());
    }
    let wanted =
        if group.iter().any(|(changes, _)| changes.iter().any(Change::is_durable)) { "FULL" } else { "NORMAL" };
    if *synchronous != wanted {
        connection.pragma_update(None, "synchronous", wanted)?;
        *synchronous = wanted;
    }
    let transaction = connection.transaction()?;
    for change in changes {
        store::apply(&transaction, change)?;
    }
    transaction.commit()
}
