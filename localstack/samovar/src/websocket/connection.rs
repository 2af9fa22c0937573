//! An open socket until it is closed: frames in, frames out, quotas, idle time, lifetime, and the close code of each
//! end.

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
use tokio_tungstenite::tungstenite::error::{Error, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Bytes, Message, Utf8Bytes};

use super::events::Closed;
use super::registry::{Connection, Outgoing};
use super::routes::{Dispatcher, TooMany};
use super::{Api, Limits};
use crate::clock::now_ms;

pub(crate) const GOING_AWAY: u16 = 1001;
const UNSUPPORTED: u16 = 1003;
/// This code is never sent. It is reported if the close frame had no code, or if there was no close frame.
const NO_STATUS: u16 = 1005;
const ABNORMAL: u16 = 1006;
const INVALID_PAYLOAD: u16 = 1007;
const POLICY_VIOLATION: u16 = 1008;
const TOO_BIG: u16 = 1009;
const PROTOCOL_ERROR: u16 = 1002;

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// How a connection ended.
enum SocketEnd {
    /// Both sides know: the client's close is answered, or the server's close is answered, or the client is silent.
    Known(Closed),
    /// The client does not know yet.
    ToTell(Closed),
    /// The client has been told, and has sent something other than its own close.
    Told(Closed),
}

/// Serves the socket, and returns how it was closed. Every frame has been passed on by then. Frames that are still
/// being handled after [`super::Limits::close`] are handled to their end, but nobody waits for them.
pub(crate) async fn run(
    api: &Arc<Api>,
    connection: &Arc<Connection>,
    upgraded: Upgraded,
    mut outgoing: mpsc::UnboundedReceiver<Outgoing>,
) -> Closed {
    let config = WebSocketConfig::default()
        // Each connection has this for as long as it is open. Larger frames take several reads.
        .read_buffer_size(4 * 1024)
        .max_frame_size(Some(api.limits.frame_bytes))
        .max_message_size(Some(api.limits.message_bytes));
    let socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config)).await;
    let (mut sink, mut stream) = socket.split();
    let mut dispatcher = Dispatcher::new(Arc::clone(api), Arc::clone(connection));

    let end = {
        let reading = read(api, connection, &mut stream, &mut dispatcher);
        let writing = write(api, connection, &mut sink, &mut outgoing);
        let given_up = async {
            connection.closing.cancelled().await;
            sleep(api.limits.close).await;
        };
        tokio::pin!(reading, writing);
        tokio::select! {
            end = &mut reading => end,
            closed = &mut writing => match closed {
                // The server's close is sent. The client's answer ends the reading.
                Some(closed) => match timeout(api.limits.close, &mut reading).await {
                    Ok(SocketEnd::ToTell(_) | SocketEnd::Told(_)) => SocketEnd::Told(closed),
                    Ok(SocketEnd::Known(_)) | Err(_) => SocketEnd::Known(closed),
                },
                // The socket is broken, or the client's close is being answered. Reading on shows which.
                None => timeout(api.limits.close, &mut reading).await.unwrap_or_else(|_| SocketEnd::Known(abnormal())),
            },
            () = given_up => SocketEnd::Known(abnormal()),
        }
    };
    // From here on, posting to the connection gives 410.
    api.registry.remove(&connection.client.connection_id);
    if let SocketEnd::ToTell(closed) = &end {
        // The client may be gone, or may not read.
        let _ = timeout(api.limits.close, sink.send(close_message(closed))).await;
    }
    // The socket is closed before the functions have answered, because the client need not wait for them.
    let closed = match (end, sink.reunite(stream)) {
        (SocketEnd::ToTell(closed) | SocketEnd::Told(closed), Ok(socket)) => {
            // This runs on its own, and nobody waits for it.
            tokio::spawn(linger(socket, api.limits.close));
            closed
        }
        (SocketEnd::Known(closed) | SocketEnd::ToTell(closed) | SocketEnd::Told(closed), _) => closed,
    };
    dispatcher.finish(api.limits.close).await;
    api.door.meter().connection_closed(open_ms(connection));
    closed
}

/// How long this connection has been open, in milliseconds.
pub(crate) fn open_ms(connection: &Connection) -> u64 {
    u64::try_from(now_ms() - connection.client.connected_at_ms).unwrap_or(0)
}

async fn read(
    api: &Arc<Api>,
    connection: &Connection,
    stream: &mut futures_util::stream::SplitStream<Socket>,
    dispatcher: &mut Dispatcher,
) -> SocketEnd {
    let end_of_life = Instant::now() + api.limits.life;
    loop {
        let idle_ms = u64::try_from(now_ms() - connection.last_active_ms()).unwrap_or(0);
        let idle_left = api.limits.idle.saturating_sub(Duration::from_millis(idle_ms));
        let message = tokio::select! {
            message = stream.next() => message,
            () = sleep(idle_left) => {
                let idle_ms = u64::try_from(now_ms() - connection.last_active_ms()).unwrap_or(0);
                if Duration::from_millis(idle_ms) >= api.limits.idle {
                    return SocketEnd::ToTell(Closed { code: GOING_AWAY, reason: "Going away".into() });
                }
                continue;
            }
            () = sleep_until(end_of_life) => {
                return SocketEnd::ToTell(Closed { code: GOING_AWAY, reason: "Going away".into() });
            }
        };
        match message {
            Some(Ok(Message::Text(text))) => {
                connection.touch();
                api.door.meter().websocket_message(text.len());
                if let Err(TooMany) = dispatcher.dispatch(text.to_string()).await {
                    return SocketEnd::ToTell(Closed { code: POLICY_VIOLATION, reason: "Too many requests".into() });
                }
            }
            Some(Ok(Message::Binary(_))) => {
                let reason = "Binary frames are not supported".into();
                return SocketEnd::ToTell(Closed { code: UNSUPPORTED, reason });
            }
            // The socket itself answers these.
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
            Some(Ok(Message::Close(frame))) => {
                // The socket answers this too, when it is polled once more. The client may not read it.
                let _ = timeout(api.limits.close, stream.next()).await;
                return SocketEnd::Known(reported(frame));
            }
            Some(Err(error)) => {
                return match violation(&error, &api.limits) {
                    Some((code, reason)) => SocketEnd::ToTell(Closed { code, reason }),
                    None => SocketEnd::Known(abnormal()),
                };
            }
            None => return SocketEnd::Known(abnormal()),
        }
    }
}

/// Sends until a close was sent (`Some`) or the socket is broken.
async fn write(
    api: &Api,
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
                api.door.meter().websocket_message(length);
            }
            Outgoing::Close(closed) => {
                sink.send(close_message(&closed)).await.ok()?;
                return Some(closed);
            }
        }
    }
    None
}

/// The rule of API Gateway or of the protocol that a client has broken. A text that is much smaller may have been made
/// too large by escapes, so the reason says what to do; a close frame has room for 123 bytes of it.
fn violation(error: &Error, limits: &Limits) -> Option<(u16, String)> {
    match error {
        Error::Capacity(_) => {
            let (frame, message) = (limits.frame_bytes / 1024, limits.message_bytes / 1024);
            let reason = format!(
                "Above {frame} KB in a frame or {message} KB in all; send UTF-8 unescaped, or fragments of up to \
                 {frame} KB"
            );
            Some((TOO_BIG, reason))
        }
        Error::Utf8(_) => Some((INVALID_PAYLOAD, "Invalid frame payload data".to_owned())),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => None,
        Error::Protocol(_) => Some((PROTOCOL_ERROR, "Protocol error".to_owned())),
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

/// Closes the server's side first, so that the client closes its own, and discards what still arrives. A socket that is
/// closed over unread bytes is reset, and the reset can overtake the close frame.
async fn linger(mut socket: Socket, time: Duration) {
    let raw = socket.get_mut();
    let drained = async {
        let _ = raw.shutdown().await; // it may be closed already
        let mut bytes = vec![0; 16 * 1024];
        while raw.read(&mut bytes).await.is_ok_and(|read| read > 0) {}
    };
    let _ = timeout(time, drained).await;
}
