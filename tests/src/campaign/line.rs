//! A WebSocket of a client that misbehaves on demand. Every frame that it gets is written to the history at once.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use http::HeaderValue;
use tokio::net::TcpSocket;
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::checker::{Conn, Event, Frame, Recorder};

/// Longer than the gateway waits for `$connect`.
const HANDSHAKE: Duration = Duration::from_secs(75);

/// How long a client waits for the other side to close, or to take a frame.
const CLOSE: Duration = Duration::from_secs(5);

/// A user's knowledge from all of its connections.
#[derive(Debug, Default)]
pub struct Mind {
    known: Mutex<Known>,
    changed: Notify,
}

#[derive(Debug, Default)]
pub struct Known {
    /// The messages by their ids.
    pub messages: HashMap<String, Fate>,
    pub heartbeats: u64,
    /// A frame has said that a connection has lost its place.
    pub lost: bool,
}

#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Fate {
    pub accepted: bool,
    pub ended: bool,
    /// How often its end was told.
    pub told: u32,
    /// The code of the last refusal since it was last sent.
    pub refused: Option<String>,
    /// The ids of its answers.
    pub answers: Vec<String>,
}

impl Mind {
    pub fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until something is heard or the time is over.
    pub async fn news(&self, time: Duration) {
        let _ = timeout(time, self.changed.notified()).await;
    }

    fn hear(&self, frame: &Frame) {
        let mut known = self.known();
        match (frame.kind.as_str(), frame.id.as_ref()) {
            ("accepted", Some(id)) => {
                let fate = known.messages.entry(id.clone()).or_default();
                fate.accepted = true;
                fate.ended |= frame.message().is_some_and(crate::checker::Message::is_final);
            }
            ("reply", Some(id)) => {
                let fate = known.messages.entry(id.clone()).or_default();
                fate.ended = true;
                fate.told += 1;
                fate.answers = frame.replies.iter().map(|reply| reply.id.clone()).collect();
            }
            ("error", id) => {
                let code = frame.code.as_deref().unwrap_or_default();
                known.lost |= code == "lease_expired";
                if let Some(id) = id {
                    let fate = known.messages.entry(id.clone()).or_default();
                    fate.told += u32::from(code == "reply_failed");
                    fate.ended |= code == "reply_failed" || (fate.accepted && code == "conversation_not_found");
                    fate.refused = Some(code.to_owned());
                }
            }
            ("heartbeat", _) => known.heartbeats += 1,
            _ => {}
        }
        drop(known);
        self.changed.notify_one();
    }
}

enum Order {
    Send(String),
    Read(bool),
    Close,
    Reset,
}

#[derive(Debug)]
pub struct Line {
    pub conn: Conn,
    orders: mpsc::UnboundedSender<Order>,
    open: Arc<AtomicBool>,
    recorder: Arc<Recorder>,
    task: tokio::task::JoinHandle<()>,
}

/// Makes lines.
#[derive(Debug)]
pub struct Exchange {
    pub recorder: Arc<Recorder>,
    pub port: u16,
    conns: AtomicU32,
}

impl Exchange {
    pub fn new(recorder: Arc<Recorder>, port: u16) -> Self {
        Self { recorder, port, conns: AtomicU32::new(0) }
    }

    /// Connects, or returns the status of the refusal. It is 0 if there was no answer.
    pub async fn connect(&self, user: &str, token: &str, query: &str, mind: &Arc<Mind>) -> Result<Line, u16> {
        let conn = self.conns.fetch_add(1, Ordering::Relaxed) + 1;
        self.recorder.write(Event::Connecting { conn, user: user.to_owned(), query: query.to_owned() });
        match timeout(HANDSHAKE, self.shake_hands(token, query)).await.unwrap_or(Err(0)) {
            Ok(socket) => {
                self.recorder.write(Event::Connected { conn });
                let (orders, received) = mpsc::unbounded_channel();
                let (open, recorder) = (Arc::new(AtomicBool::new(true)), Arc::clone(&self.recorder));
                let task = tokio::spawn(serve(
                    socket,
                    received,
                    Ears { conn, recorder: Arc::clone(&recorder), mind: Arc::clone(mind), open: Arc::clone(&open) },
                ));
                Ok(Line { conn, orders, open, recorder, task })
            }
            Err(status) => {
                self.recorder.write(Event::Refused { conn, status });
                Err(status)
            }
        }
    }

    async fn shake_hands(&self, token: &str, query: &str) -> Result<WebSocketStream<tokio::net::TcpStream>, u16> {
        let mut request = format!("ws://127.0.0.1:{}/ws{query}", self.port).into_client_request().expect("a URL");
        let authorization = HeaderValue::from_str(&format!("Bearer {token}")).expect("a header value");
        request.headers_mut().insert("Authorization", authorization);
        let tcp = TcpSocket::new_v4().map_err(|_| 0u16)?;
        let stream = tcp.connect(([127, 0, 0, 1], self.port).into()).await.map_err(|_| 0u16)?;
        let _ = stream.set_nodelay(true);
        match client_async(request, stream).await {
            Ok((socket, _)) => Ok(socket),
            Err(Error::Http(response)) => Err(response.status().as_u16()),
            Err(_) => Err(0),
        }
    }
}

impl Line {
    pub fn is_open(&self) -> bool {
        self.open.load(Ordering::Relaxed)
    }

    pub fn send_message(&self, id: &str, conversation: &str, text: &str, media: Option<&str>, parent: Option<&str>) {
        let mut frame = serde_json::json!({
            "action": "sendMessage", "id": id, "conversationId": conversation, "text": text,
        });
        for (name, value) in [("media", media), ("parentId", parent)] {
            if let Some(value) = value {
                frame[name] = value.into();
            }
        }
        self.recorder.write(Event::Sent {
            conn: self.conn,
            id: id.to_owned(),
            conversation: conversation.to_owned(),
            text: text.to_owned(),
            media: media.map(str::to_owned),
            parent: parent.map(str::to_owned),
        });
        self.order(Order::Send(frame.to_string()));
    }

    pub fn cancel(&self, id: &str) {
        self.recorder.write(Event::Cancel { conn: self.conn, id: id.to_owned() });
        self.order(Order::Send(serde_json::json!({ "action": "cancel", "id": id }).to_string()));
    }

    pub fn heartbeat(&self) {
        self.recorder.write(Event::Beat { conn: self.conn });
        self.order(Order::Send(r#"{"action":"heartbeat"}"#.to_owned()));
    }

    /// Sends something that is not a frame of the contract.
    pub fn nonsense(&self, text: &str) {
        self.order(Order::Send(text.to_owned()));
    }

    /// Stops reading, or reads again.
    pub fn read(&self, on: bool) {
        self.recorder.write(Event::Reading { conn: self.conn, on });
        self.order(Order::Read(on));
    }

    /// Closes the connection properly.
    pub async fn close(self) {
        self.order(Order::Close);
        let _ = self.task.await;
    }

    /// Breaks the connection off without a close.
    pub async fn reset(self) {
        self.order(Order::Reset);
        let _ = self.task.await;
    }

    fn order(&self, order: Order) {
        // Sending fails only if the connection has ended, and then the order is of no use.
        let _ = self.orders.send(order);
    }
}

struct Ears {
    conn: Conn,
    recorder: Arc<Recorder>,
    mind: Arc<Mind>,
    open: Arc<AtomicBool>,
}

impl Ears {
    /// Takes what the other side sent. Returns `Some` if that was the last, with the close code if there is one.
    fn hear(&self, message: Option<Result<Message, Error>>) -> Option<Option<u16>> {
        match message {
            Some(Ok(Message::Text(text))) => {
                let frame: Frame = serde_json::from_str(&text).unwrap_or_default();
                // The history has it before the user knows it, so whatever the user then does comes after it.
                self.recorder.write(Event::Frame { conn: self.conn, frame: frame.clone() });
                self.mind.hear(&frame);
                None
            }
            Some(Ok(Message::Close(frame))) => Some(frame.map(|frame| frame.code.into())),
            Some(Ok(_)) => None,
            Some(Err(_)) | None => Some(None),
        }
    }

    fn closed(&self, wanted: bool, code: Option<u16>) {
        self.open.store(false, Ordering::Relaxed);
        self.recorder.write(Event::Closed { conn: self.conn, wanted, code });
        self.mind.changed.notify_one();
    }
}

async fn serve(
    mut socket: WebSocketStream<tokio::net::TcpStream>,
    mut orders: mpsc::UnboundedReceiver<Order>,
    ears: Ears,
) {
    let mut reading = true;
    loop {
        tokio::select! {
            biased;
            order = orders.recv() => match order {
                Some(Order::Send(text)) => {
                    // A client does not wait for a server that has stopped reading. It breaks the connection off.
                    if !matches!(timeout(CLOSE, socket.send(Message::text(text))).await, Ok(Ok(()))) {
                        return ears.closed(false, None);
                    }
                }
                Some(Order::Read(on)) => reading = on,
                Some(Order::Close) => {
                    let goodbye = async {
                        let _ = socket.close(None).await;
                        while let Some(message) = socket.next().await {
                            if ears.hear(Some(message)).is_some() {
                                break;
                            }
                        }
                    };
                    let _ = timeout(CLOSE, goodbye).await;
                    return ears.closed(true, None);
                }
                // A line that was dropped stands for a client that has died.
                Some(Order::Reset) | None => {
                    let _ = socket.get_ref().set_zero_linger();
                    drop(socket);
                    return ears.closed(true, None);
                }
            },
            message = socket.next(), if reading => {
                if let Some(code) = ears.hear(message) {
                    // This sends the answer to a close.
                    let _ = timeout(Duration::from_millis(200), socket.flush()).await;
                    return ears.closed(false, code);
                }
            }
        }
    }
}
