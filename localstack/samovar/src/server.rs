//! Accepting connections: plain HTTP/1.1 with upgrades on a listener the caller owns, until told to stop.
//!
//! API Gateway's events show header names in the client's own case, which the HTTP library forgets. So the head of each
//! request is kept as it came in, and offered to handlers as [`HeaderCase`].

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_service::Service;

/// A request's head beyond this is not kept; hyper's own limit is of the same order.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// A connection on which no request comes is closed after this.
const HEADER_TIMEOUT: Duration = Duration::from_secs(60);

/// Serves until `stop`, then lets open requests finish. Upgraded connections are the handlers' affair.
pub(crate) async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) {
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                connections.spawn(serve_connection(stream, peer, router.clone(), stop.clone()));
            }
            Err(error) => {
                // Out of file descriptors, most likely: others will be closed.
                tracing::warn!(%error, "A connection was not accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    // Who comes now is refused, instead of waiting for an answer that won't come.
    drop(listener);
    connections.close();
    connections.wait().await;
}

async fn serve_connection(stream: TcpStream, peer: SocketAddr, router: Router, stop: CancellationToken) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY");
    }
    let head = Arc::new(Mutex::new(Vec::new()));
    let io = TokioIo::new(Recording { stream, head: Arc::clone(&head) });
    let service = service_fn(move |mut request: Request<Incoming>| {
        let case = HeaderCase::read(&head.lock().unwrap_or_else(PoisonError::into_inner));
        request.extensions_mut().insert(case);
        request.extensions_mut().insert(ConnectInfo(peer));
        router.clone().call(request.map(Body::new))
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(io, service)
        .with_upgrades();
    let mut connection = pin!(connection);
    tokio::select! {
        result = &mut connection => log(result),
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            log(connection.await);
        }
    }
}

fn log(result: hyper::Result<()>) {
    if let Err(error) = result {
        tracing::debug!(%error, "An HTTP connection ended");
    }
}

/// The header names of a request as the client wrote them.
#[derive(Debug, Clone, Default)]
pub(crate) struct HeaderCase(HashMap<String, String>);

impl HeaderCase {
    fn read(head: &[u8]) -> Self {
        let lines = head.split(|&byte| byte == b'\n');
        let names = lines.skip(1).map_while(|line| {
            let end = line.iter().position(|&byte| byte == b':')?;
            std::str::from_utf8(&line[..end]).ok()
        });
        Self(names.map(|name| (name.to_ascii_lowercase(), name.to_owned())).collect())
    }

    pub(crate) fn of(&self, name: &str) -> String {
        self.0.get(name).cloned().unwrap_or_else(|| name.to_owned())
    }
}

/// Keeps what was read since the last write: the head of the request being served.
struct Recording {
    stream: TcpStream,
    head: Arc<Mutex<Vec<u8>>>,
}

impl AsyncRead for Recording {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(cx, buf);
        // After an upgrade nobody reads it any more.
        if matches!(result, Poll::Ready(Ok(()))) && Arc::strong_count(&self.head) > 1 {
            let mut head = self.head.lock().unwrap_or_else(PoisonError::into_inner);
            let room = MAX_HEAD_BYTES.saturating_sub(head.len());
            let read = &buf.filled()[before..];
            head.extend_from_slice(&read[..read.len().min(room)]);
        }
        result
    }
}

impl AsyncWrite for Recording {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.forget();
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.forget();
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl Recording {
    fn forget(&self) {
        let mut head = self.head.lock().unwrap_or_else(PoisonError::into_inner);
        head.clear();
        head.shrink_to(4 * 1024);
    }
}
