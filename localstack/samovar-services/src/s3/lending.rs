//! Lends a request's body to its reader and takes it back afterwards, so that the unread rest can be read and dropped.
//!
//! An answer before the body is read (a wrong signature, a file that is too large) leaves the rest unread. The
//! connection would then be reset while the browser still sends, and the browser would report a network error in place
//! of the answer.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Frame, SizeHint};

/// The largest rest of a body that is read only to be discarded.
const MAX_DRAINED_BYTES: usize = 256 * 1024 * 1024;
const MAX_DRAINED_TIME: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
struct Slot {
    body: Option<Body>,
    touched: bool,
}

/// The body as its reader gets it.
#[derive(Debug)]
pub(super) struct Lent {
    body: Body,
    slot: Arc<Mutex<Slot>>,
}

/// The lender's side.
#[derive(Debug)]
pub(super) struct Receipt(Arc<Mutex<Slot>>);

pub(super) fn lend(body: Body) -> (Lent, Receipt) {
    let slot = Arc::new(Mutex::new(Slot::default()));
    (Lent { body, slot: Arc::clone(&slot) }, Receipt(slot))
}

impl hyper::body::Body for Lent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner).touched = true;
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let body = std::mem::take(&mut self.body);
        self.slot.lock().unwrap_or_else(PoisonError::into_inner).body = Some(body);
    }
}

impl Receipt {
    /// Reads the rest, if the reader has finished and the client has more to send. A client that sent `Expect:
    /// 100-continue` and was not told to go on has nothing to send.
    pub(super) async fn drain(self, client_waits: bool) {
        let mut body = {
            let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            match slot.body.take() {
                Some(body) if slot.touched || !client_waits => body,
                _ => return,
            }
        };
        let rest = async {
            let mut drained = 0;
            while let Some(Ok(frame)) = body.frame().await {
                drained += frame.data_ref().map_or(0, Bytes::len);
                if drained > MAX_DRAINED_BYTES {
                    return;
                }
            }
        };
        let _ = tokio::time::timeout(MAX_DRAINED_TIME, rest).await;
    }
}
