//! Accepts connections on the caller's listener, with HTTP/1.1 and upgrades, until told to stop. The first byte of a
//! connection shows whether its client speaks TLS.
//!
//! API Gateway's events contain header names in the client's own case, which the HTTP library does not keep. So the
//! head of each request is recorded as it arrives, and handlers get it as [`HeaderCase`].

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
use http::{Extensions, Request};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_service::Service;

use crate::tls::{self, Tls};

/// The recorded part of a request's head. hyper's own limit is similar.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// A connection without a request is closed after this time, and so is one whose handshake takes longer.
const HEADER_TIMEOUT: Duration = Duration::from_secs(60);

/// Serves until `stop`, then lets open requests finish. Handlers are responsible for upgraded connections. Without
/// `tls`, it serves plain HTTP alone.
pub(crate) async fn serve(listener: TcpListener, router: Router, tls: Option<Arc<Tls>>, stop: CancellationToken) {
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                connections.spawn(accept(stream, peer, router.clone(), tls.clone(), stop.clone()));
            }
            Err(error) => {
                // Most likely the process has no free file descriptor, and other connections will close.
                tracing::warn!(%error, "A connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    // New clients are refused from here on, instead of waiting for an answer that will not come.
    drop(listener);
    connections.close();
    connections.wait().await;
}

async fn accept(stream: TcpStream, peer: SocketAddr, router: Router, tls: Option<Arc<Tls>>, stop: CancellationToken) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY");
    }
    let mut first = [0];
    let begin = async {
        let tls = tls.as_deref();
        match stream.peek(&mut first).await? {
            1 if first[0] == tls::FIRST_BYTE
                && let Some(tls) = tls =>
            {
                Ok(Stream::Right(tls.accept(stream).await?))
            }
            _ => Ok(Stream::Left(stream)),
        }
    };
    // A client that sends nothing holds up no stop.
    let begun: io::Result<Stream> = tokio::select! {
        begun = tokio::time::timeout(HEADER_TIMEOUT, begin) => begun.unwrap_or_else(|late| Err(late.into())),
        () = stop.cancelled() => return,
    };
    match begun {
        Ok(stream) => serve_connection(stream, peer, router, stop).await,
        // Most likely the client does not accept the certificate, and says so to its user.
        Err(error) => tracing::debug!(%error, "A client did not begin"),
    }
}

async fn serve_connection(stream: Stream, peer: SocketAddr, router: Router, stop: CancellationToken) {
    let scheme = match &stream {
        Stream::Left(_) => Scheme::Http,
        Stream::Right(_) => Scheme::Https,
    };
    let head = Arc::new(Mutex::new(Vec::new()));
    let io = TokioIo::new(Recording { stream, head: Arc::clone(&head) });
    let service = service_fn(move |mut request: Request<Incoming>| {
        let case = HeaderCase::read(&head.lock().unwrap_or_else(PoisonError::into_inner));
        request.extensions_mut().insert(case);
        request.extensions_mut().insert(scheme);
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

/// A client's stream, plain or decrypted.
type Stream = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// How a client speaks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Scheme {
    #[default]
    Http,
    Https,
}

impl Scheme {
    /// That of the request with these extensions.
    pub(crate) fn of(extensions: &Extensions) -> &'static str {
        match extensions.get().copied().unwrap_or_default() {
            Self::Http => "http",
            Self::Https => "https",
        }
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

/// Records the bytes read since the last write, which are the head of the current request.
struct Recording {
    stream: Stream,
    head: Arc<Mutex<Vec<u8>>>,
}

impl AsyncRead for Recording {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(cx, buf);
        // After an upgrade nobody reads the recording any more.
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
