//! The open connections, and the only way to send to one.
//!
//! Frames wait in order, with at most [`super::Limits::buffer_bytes`] for a client that does not read. A close request
//! waits behind them, so that the client gets a last frame before the close.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::events::{Client, Closed};
use crate::clock::now_ms;

#[derive(Debug, Default)]
pub(crate) struct Registry(Mutex<Open>);

#[derive(Debug, Default)]
struct Open {
    connections: HashMap<String, Arc<Connection>>,
    /// Set by [`Registry::close_all`]: the close for clients whose handshake was pending at that time.
    closed: Option<Closed>,
}

#[derive(Debug)]
pub(crate) enum Outgoing {
    Frame(Vec<u8>),
    Close(Closed),
}

#[derive(Debug)]
pub(crate) struct Connection {
    pub client: Client,
    last_active_ms: AtomicI64,
    waiting_bytes: AtomicUsize,
    outgoing: mpsc::UnboundedSender<Outgoing>,
    /// The close was requested. Frames that cannot be sent soon are dropped.
    pub closing: CancellationToken,
}

/// The reason why a frame was not accepted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum SendError {
    Gone,
    BufferFull,
}

impl Connection {
    pub(crate) fn new(client: Client) -> (Arc<Self>, mpsc::UnboundedReceiver<Outgoing>) {
        let (outgoing, receiver) = mpsc::unbounded_channel();
        let last_active_ms = AtomicI64::new(client.connected_at_ms);
        let connection = Self {
            client,
            last_active_ms,
            waiting_bytes: AtomicUsize::new(0),
            outgoing,
            closing: CancellationToken::new(),
        };
        (Arc::new(connection), receiver)
    }

    pub(crate) fn send(&self, frame: Vec<u8>, buffer_bytes: usize) -> Result<(), SendError> {
        let bytes = frame.len();
        let waiting = self.waiting_bytes.fetch_add(bytes, Ordering::AcqRel);
        // A single frame is always accepted, so that a small buffer cannot refuse for ever.
        if waiting > 0 && waiting + bytes > buffer_bytes {
            self.sent(bytes);
            return Err(SendError::BufferFull);
        }
        self.outgoing.send(Outgoing::Frame(frame)).map_err(|_| SendError::Gone)?;
        self.touch();
        Ok(())
    }

    /// Notes that this number of bytes has left the buffer.
    pub(crate) fn sent(&self, bytes: usize) {
        self.waiting_bytes.fetch_sub(bytes, Ordering::AcqRel);
    }

    pub(crate) fn close(&self, code: u16, reason: &str) {
        // A socket that is gone needs no close.
        let _ = self.outgoing.send(Outgoing::Close(Closed { code, reason: reason.to_owned() }));
        self.closing.cancel();
    }

    pub(crate) fn touch(&self) {
        self.last_active_ms.fetch_max(now_ms(), Ordering::AcqRel);
    }

    pub(crate) fn last_active_ms(&self) -> i64 {
        self.last_active_ms.load(Ordering::Acquire)
    }
}

impl Registry {
    pub(crate) fn add(&self, connection: Arc<Connection>) {
        let mut open = self.lock();
        match &open.closed {
            Some(closed) => connection.close(closed.code, &closed.reason),
            None => _ = open.connections.insert(connection.client.connection_id.clone(), connection),
        }
    }

    pub(crate) fn get(&self, id: &str) -> Option<Arc<Connection>> {
        self.lock().connections.get(id).cloned()
    }

    pub(crate) fn remove(&self, id: &str) -> Option<Arc<Connection>> {
        self.lock().connections.remove(id)
    }

    pub(crate) fn all(&self) -> Vec<Arc<Connection>> {
        self.lock().connections.values().cloned().collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().connections.len()
    }

    /// Closes all connections, permanently: a client that is let in later is closed at once.
    pub(crate) fn close_all(&self, code: u16, reason: &str) {
        let all = {
            let mut open = self.lock();
            open.closed = Some(Closed { code, reason: reason.to_owned() });
            std::mem::take(&mut open.connections)
        };
        for connection in all.into_values() {
            connection.close(code, reason);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
