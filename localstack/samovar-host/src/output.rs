//! Writes the output of all functions to standard error, line by line, each line under its function's name.
//!
//! The lines already have the function's own log format, so they do not go through `tracing` again. One thread writes,
//! so lines never mix. A slow terminal slows down the functions and not the host: the channel is bounded, and a
//! function whose pipe is full waits, as in any shell pipeline.

use std::collections::VecDeque;
use std::fmt;
use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::sync::{mpsc, oneshot};

use super::metrics::Metrics;

/// A longer line is cut into pieces, so that no function can fill the host's memory with one line.
const MAX_LINE_BYTES: usize = 64 * 1024;
const TAIL_LINES: usize = 20;
/// Lambda's limit on the log in the answer to an invocation.
const LOG_BYTES: usize = 4096;

/// The destination of the lines of all functions.
#[derive(Clone)]
pub(super) struct Output {
    entries: mpsc::Sender<Entry>,
    colour: bool,
    pub(super) metrics: Arc<Metrics>,
    /// The bytes of all lines, of metrics too.
    pub(super) bytes: Arc<AtomicU64>,
}

enum Entry {
    Lines(Vec<u8>),
    Flush(oneshot::Sender<()>),
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output").field("colour", &self.colour).finish_non_exhaustive()
    }
}

impl Output {
    pub(super) fn stderr() -> Output {
        Output::to(std::io::stderr(), std::io::stderr().is_terminal())
    }

    pub(super) fn to(mut sink: impl Write + Send + 'static, colour: bool) -> Output {
        let (entries, mut queue) = mpsc::channel(256);
        let write = move || {
            while let Some(entry) = queue.blocking_recv() {
                match entry {
                    // Nothing can be done about a closed standard error, and it is no reason to stop.
                    Entry::Lines(lines) => drop(sink.write_all(&lines)),
                    Entry::Flush(done) => {
                        let _ = sink.flush();
                        let _ = done.send(());
                    }
                }
            }
        };
        std::thread::Builder::new().name("function-output".into()).spawn(write).expect("a thread can be started");
        Output { entries, colour, metrics: Arc::default(), bytes: Arc::default() }
    }

    /// Returns when every line sent so far has been written.
    pub(super) async fn flush(&self) {
        let (done, written) = oneshot::channel();
        if self.entries.send(Entry::Flush(done)).await.is_ok() {
            let _ = written.await;
        }
    }

    /// `worker │ `, as wide as the longest name, in a colour that depends on `index`.
    pub(super) fn prefix(&self, name: &str, width: usize, index: usize) -> String {
        const COLOURS: [u8; 6] = [36, 33, 32, 35, 34, 31];
        let colour = COLOURS[index % COLOURS.len()];
        match self.colour {
            true => format!("\x1b[{colour}m{name:width$} │\x1b[0m "),
            false => format!("{name:width$} │ "),
        }
    }
}

/// The last output of one process.
#[derive(Debug, Clone, Default)]
pub(super) struct Tail(Arc<Mutex<Last>>);

#[derive(Debug, Default)]
struct Last {
    /// For the error message when it fails to start.
    lines: VecDeque<String>,
    /// Since the log was last cleared.
    log: Vec<u8>,
}

/// The end of `text`, of at most [`LOG_BYTES`].
pub(super) fn end_of(text: &[u8]) -> &[u8] {
    &text[text.len().saturating_sub(LOG_BYTES)..]
}

impl Tail {
    fn push(&self, line: &[u8]) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if last.lines.len() == TAIL_LINES {
            last.lines.pop_front();
        }
        last.lines.push_back(String::from_utf8_lossy(line).into_owned());
        last.log.extend_from_slice(end_of(line));
        last.log.push(b'\n');
        if last.log.len() > 2 * LOG_BYTES {
            last.log = end_of(&last.log).to_vec();
        }
    }

    pub(super) fn clear_log(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).log.clear();
    }

    /// What was written since the log was cleared, at least the last 4 KB of it.
    pub(super) fn log(&self) -> Vec<u8> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).log.clone()
    }

    pub(super) fn text(&self) -> String {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.lines.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
    }
}

/// Asks for a sign when everything that has been written so far is copied.
pub(super) type CaughtUp = mpsc::UnboundedReceiver<oneshot::Sender<()>>;

/// Copies a function's output to its end, which comes when the last process that holds the pipe has closed it.
pub(super) async fn copy(
    mut from: pipe::Receiver,
    prefix: String,
    output: Output,
    tail: Tail,
    mut caught_up: CaughtUp,
) {
    let mut pending: Vec<u8> = Vec::new();
    loop {
        pending.reserve(8 * 1024);
        let read = tokio::select! {
            // The process has written first and then made the call for which the sign is wanted. So the runtime knows
            // of the output by now.
            biased;
            read = from.read_buf(&mut pending) => read,
            Some(sign) = caught_up.recv() => {
                let _ = sign.send(());
                continue;
            }
        };
        let end = !matches!(read, Ok(1..));
        let mut lines = Vec::new();
        let mut done = 0;
        while let Some(length) = next_line(&pending[done..], end) {
            let line = &pending[done..done + length];
            done += length;
            output.bytes.fetch_add(length as u64, Ordering::Relaxed);
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            if output.metrics.take(line) {
                continue;
            }
            tail.push(line);
            // Python's runtime writes a whole trace as one line, with carriage returns in it.
            for piece in line.split(|byte| *byte == b'\r') {
                if !piece.is_empty() || line.is_empty() {
                    lines.extend_from_slice(prefix.as_bytes());
                    lines.extend_from_slice(piece);
                    lines.push(b'\n');
                }
            }
        }
        pending.drain(..done);
        if !lines.is_empty() && output.entries.send(Entry::Lines(lines)).await.is_err() {
            return;
        }
        if end {
            return;
        }
    }
}

/// The length in bytes of the first line of `pending`, if the line is complete.
fn next_line(pending: &[u8], end: bool) -> Option<usize> {
    match pending.iter().take(MAX_LINE_BYTES).position(|byte| *byte == b'\n') {
        Some(newline) => Some(newline + 1),
        None if pending.len() >= MAX_LINE_BYTES => Some(MAX_LINE_BYTES),
        None if end && !pending.is_empty() => Some(pending.len()),
        None => None,
    }
}
