//! An open socket, until it is closed: frames in, frames out, quotas, idle time and life, and the close code of each end.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::SplitSink;
use futures_util::{SinkExt, StreamExt};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::{CapacityError, Error, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Bytes, Message, Utf8Bytes};

use super::Api;
use super::events::Closed;
use super::registry::{Connection, Outgoing};
use super::routes::Dispatcher;
use crate::clock::now_ms;

pub(crate) const GOING_AWAY: u16 = 1001;
const UNSUPPORTED: u16 = 1003;
/// Never on the wire: what is reported where the close frame had no code, or there was no close frame.
const NO_STATUS: u16 = 1005;
const ABNORMAL: u16 = 1006;
const INVALID_PAYLOAD: u16 = 1007;
const TOO_BIG: u16 = 1009;
const PROTOCOL_ERROR: u16 = 1002;

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// How a connection ended.
enum End {
    /// Both know: the client's close, already answered; ours, answered; or its silence.
    Known(Closed),
    /// The client has not been told yet.
    ToTell(Closed),
    /// It has been told, and sent something else than its own close.
    Told(Closed),
}

/// Serves the socket; returns how it was closed, with every frame handed on. Frames that are still handled after
/// [`super::Limits::close`] are handled to their end, but not waited for.
pub(crate) async fn run(
    api: &Arc<Api>,
    connection: &Arc<Connection>,
    upgraded: Upgraded,
    mut outgoing: mpsc::UnboundedReceiver<Outgoing>,
) -> Closed {
    let config = WebSocketConfig::default()
        .read_buffer_size(8 * 1024)
        .max_frame_size(Some(api.limits.frame_bytes))
        .max_message_size(Some(api.limits.message_bytes));
    let socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config)).await;
    let (mut sink, mut stream) = socket.split();
    let mut dispatcher = Dispatcher::new(Arc::clone(api), Arc::clone(connection));

    let end = {
        let reading = read(api, connection, &mut stream, &mut dispatcher);
        let writing = write(connection, &mut sink, &mut outgoing);
        let given_up = async {
            connection.closing.cancelled().await;
            sleep(api.limits.close).await;
        };
        tokio::pin!(reading, writing);
        tokio::select! {
            end = &mut reading => end,
            closed = &mut writing => match closed {
                // Our close is out: the client's answer ends the reading.
                Some(closed) => match timeout(api.limits.close, &mut reading).await {
                    Ok(End::ToTell(_) | End::Told(_)) => End::Told(closed),
                    Ok(End::Known(_)) | Err(_) => End::Known(closed),
                },
                // Either the socket is broken, or the client's close is being answered: what is left to read tells.
                None => timeout(api.limits.close, &mut reading).await.unwrap_or_else(|_| End::Known(abnormal())),
            },
            () = given_up => End::Known(abnormal()),
        }
    };
    // From here on it can't be posted to.
    api.registry.remove(&connection.client.connection_id);
    if let End::ToTell(closed) = &end {
        // It may be gone, or not read.
        let _ = timeout(api.limits.close, sink.send(close_message(closed))).await;
    }
    // The socket is closed before the functions have answered: the client need not wait for them.
    let closed = match (end, sink.reunite(stream)) {
        (End::ToTell(closed) | End::Told(closed), Ok(socket)) => {
            // Nobody waits for this one.
            tokio::spawn(linger(socket, api.limits.close));
            closed
        }
        (End::Known(closed) | End::ToTell(closed) | End::Told(closed), _) => closed,
    };
    dispatcher.finish(api.limits.close).await;
    closed
}

async fn read(
    api: &Arc<Api>,
    connection: &Connection,
    stream: &mut futures_util::stream::SplitStream<Socket>,
    dispatcher: &mut Dispatcher,
) -> End {
    let end_of_life = Instant::now() + api.limits.life;
    loop {
        let idle_ms = u64::try_from(now_ms() - connection.last_active_ms()).unwrap_or(0);
        let idle_left = api.limits.idle.saturating_sub(Duration::from_millis(idle_ms));
        let message = tokio::select! {
            message = stream.next() => message,
            () = sleep(idle_left) => {
                let idle_ms = u64::try_from(now_ms() - connection.last_active_ms()).unwrap_or(0);
                if Duration::from_millis(idle_ms) >= api.limits.idle {
                    return End::ToTell(Closed { code: GOING_AWAY, reason: "Going away".into() });
                }
                continue;
            }
            () = sleep_until(end_of_life) => {
                return End::ToTell(Closed { code: GOING_AWAY, reason: "Going away".into() });
            }
        };
        match message {
            Some(Ok(Message::Text(text))) => {
                connection.touch();
                dispatcher.dispatch(text.to_string()).await;
            }
            Some(Ok(Message::Binary(_))) => {
                let reason = "Binary frames are not supported".into();
                return End::ToTell(Closed { code: UNSUPPORTED, reason });
            }
            // Answered by the socket itself.
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
            Some(Ok(Message::Close(frame))) => {
                // Likewise, when it is polled once more: it may not be read.
                let _ = timeout(api.limits.close, stream.next()).await;
                return End::Known(reported(frame));
            }
            Some(Err(error)) => {
                return match violation(&error) {
                    Some((code, reason)) => End::ToTell(Closed { code, reason: reason.to_owned() }),
                    None => End::Known(abnormal()),
                };
            }
            None => return End::Known(abnormal()),
        }
    }
}

/// Sends until a close was sent (`Some`) or the socket is broken.
async fn write(
    connection: &Connection,
    sink: &mut SplitSink<Socket, Message>,
    outgoing: &mut mpsc::UnboundedReceiver<Outgoing>,
) -> Option<Closed> {
    while let Some(next) = outgoing.recv().await {
        match next {
            Outgoing::Frame(bytes) => {
                let length = bytes.len();
                let message = match String::from_utf8(bytes) {
                    Ok(text) => Message::Text(text.into()),
                    Err(error) => Message::Binary(Bytes::from(error.into_bytes())),
                };
                let sent = sink.send(message).await;
                connection.sent(length);
                if sent.is_err() {
                    return None;
                }
            }
            Outgoing::Close(closed) => {
                sink.send(close_message(&closed)).await.ok()?;
                return Some(closed);
            }
        }
    }
    None
}

/// Which rule of API Gateway or of the protocol a client broke.
fn violation(error: &Error) -> Option<(u16, &'static str)> {
    match error {
        Error::Capacity(CapacityError::MessageTooLong { .. }) => Some((TOO_BIG, "Message too big")),
        Error::Capacity(_) => Some((TOO_BIG, "Frame too big")),
        Error::Utf8(_) => Some((INVALID_PAYLOAD, "Invalid frame payload data")),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => None,
        Error::Protocol(_) => Some((PROTOCOL_ERROR, "Protocol error")),
        _ => None,
    }
}

fn reported(frame: Option<CloseFrame>) -> Closed {
    match frame {
        Some(frame) => Closed { code: frame.code.into(), reason: frame.reason.to_string() },
        None => Closed { code: NO_STATUS, reason: "Client-side close frame status not set".into() },
    }
}

fn abnormal() -> Closed {
    Closed { code: ABNORMAL, reason: "Connection closed abnormally".into() }
}

fn close_message(closed: &Closed) -> Message {
    Message::Close(Some(CloseFrame {
        code: CloseCode::from(closed.code),
        reason: Utf8Bytes::from(closed.reason.clone()),
    }))
}

/// Closes our side, so that the client closes its own, and drops what still comes until then: a socket closed over unread
/// bytes is reset, and the reset can overtake the close frame.
async fn linger(mut socket: Socket, time: Duration) {
    let raw = socket.get_mut();
    let drained = async {
        let _ = raw.shutdown().await; // it may be closed already
        let mut bytes = vec![0; 16 * 1024];
        while raw.read(&mut bytes).await.is_ok_and(|read| read > 0) {}
    };
    let _ = timeout(time, drained).await;
}
