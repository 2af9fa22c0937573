//! A chat client: a WebSocket and its frames.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::{self, Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, client_async, connect_async};

use crate::rest::Rest;
use crate::stack::{PATIENCE, Stack};

pub type Frame = Value;

/// The status with which a handshake was refused.
pub type Refused = StatusCode;

#[derive(Debug)]
pub struct Client {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// The subprotocol that the server selected.
    pub subprotocol: Option<String>,
    /// The same user's REST API.
    pub rest: Rest,
    order: Order,
}

/// Keeps back what is heard of a message before its `accepted`. The contract allows that order, and it happens where
/// functions are slow to answer.
#[derive(Debug, Default)]
struct Order {
    /// The messages that were sent and of which no `accepted` or `error` has come.
    sent: BTreeSet<String>,
    early: Vec<Frame>,
    ready: VecDeque<Frame>,
}

impl Order {
    fn send(&mut self, frame: &Value) {
        if let (Some("sendMessage"), Some(id)) = (frame["action"].as_str(), frame["id"].as_str()) {
            self.sent.insert(id.to_owned());
        }
    }

    /// Gives the frame back, or keeps it for later.
    fn hear(&mut self, frame: Frame) -> Option<Frame> {
        if frame["type"].is_null() {
            // The gateway's own error: a function has failed, so an `accepted` may not come.
            self.sent.clear();
            self.ready.extend(self.early.drain(..));
            return Some(frame);
        }
        let id = frame["id"].as_str().unwrap_or_default();
        if !self.sent.contains(id) {
            return Some(frame);
        }
        if frame["type"] == "accepted" || frame["type"] == "error" {
            self.sent.remove(id);
            let (now, later) = self.early.drain(..).partition(|early: &Frame| early["id"] == id);
            self.early = later;
            self.ready.extend::<Vec<Frame>>(now);
            return Some(frame);
        }
        self.early.push(frame);
        None
    }
}

/// The text of one answer's deltas on one connection.
#[derive(Debug, Default)]
pub struct Streamed {
    pub text: String,
    pub frames: u64,
    /// The number of deltas that began the text again.
    pub restarts: u64,
    next: u64,
}

impl Streamed {
    pub fn hear(&mut self, delta: &Frame) {
        if delta["restart"] == true {
            self.text.clear();
            self.next = delta["seq"].as_u64().expect("a number");
            self.restarts += 1;
        }
        assert!(delta["restart"].is_null() || delta["restart"] == true, "{delta}");
        assert_eq!(delta["seq"], self.next, "{delta}");
        self.text.push_str(delta["text"].as_str().expect("a delta's text"));
        self.next += 1;
        self.frames += 1;
    }
}

impl Client {
    /// Connects as `username`, with the token in the `Authorization` header.
    pub async fn connect(stack: &Stack, username: &str) -> Self {
        Self::try_connect(stack, username, None).await.unwrap_or_else(|status| panic!("{username}: {status}"))
    }

    pub async fn connect_with_session(stack: &Stack, username: &str, session: &str) -> Self {
        let connected = Self::try_connect(stack, username, Some(session)).await;
        connected.unwrap_or_else(|status| panic!("{username}: {status}"))
    }

    /// Takes the place from whichever session of `username` has it.
    pub async fn take_over(stack: &Stack, username: &str, session: &str) -> Result<Self, Refused> {
        Self::with_query(stack, username, &format!("?session={session}&takeover=true")).await
    }

    pub async fn try_connect(stack: &Stack, username: &str, session: Option<&str>) -> Result<Self, Refused> {
        let query = session.map_or_else(String::new, |session| format!("?session={session}"));
        Self::with_query(stack, username, &query).await
    }

    /// `query` begins with its question mark.
    pub async fn with_query(stack: &Stack, username: &str, query: &str) -> Result<Self, Refused> {
        let token = stack.token(username).await;
        Self::with_headers(stack, query, &[("Authorization", &format!("Bearer {token}"))]).await
    }

    /// Connects with exactly these headers.
    pub async fn with_headers(stack: &Stack, query: &str, headers: &[(&'static str, &str)]) -> Result<Self, Refused> {
        let mut request = format!("{}{query}", stack.websocket_url).into_client_request().expect("a URL");
        for (name, value) in headers {
            request.headers_mut().insert(*name, HeaderValue::from_str(value).expect("a header value"));
        }
        match timeout(PATIENCE, connect_async(request)).await.expect("the handshake is answered") {
            Ok((socket, response)) => {
                let subprotocol = response.headers().get("sec-websocket-protocol");
                let subprotocol = subprotocol.and_then(|value| value.to_str().ok()).map(str::to_owned);
                let values = headers.iter().map(|(_, value)| *value);
                let token = values.filter_map(|value| Some(value.split_once("earer")?.1)).next().unwrap_or_default();
                let token = token.trim_start_matches([' ', '.']);
                Ok(Self { socket, subprotocol, rest: stack.rest_with(token), order: Order::default() })
            }
            Err(Error::Http(response)) => Err(response.status()),
            Err(error) => panic!("the handshake failed: {error}"),
        }
    }

    /// Connects with a small receive buffer, so that the server soon notices when the client does not read.
    pub async fn connect_with_small_buffer(stack: &Stack, username: &str) -> Self {
        let token = stack.token(username).await;
        let mut request = stack.websocket_url.as_str().into_client_request().expect("a URL");
        let authorization = HeaderValue::from_str(&format!("Bearer {token}")).expect("a header value");
        request.headers_mut().insert("Authorization", authorization);
        let tcp = TcpSocket::new_v4().expect("a socket");
        tcp.set_recv_buffer_size(4096).expect("a small buffer");
        let stream = tcp.connect(([127, 0, 0, 1], stack.port()).into()).await.expect("a connection");
        let (socket, _) = client_async(request, MaybeTlsStream::Plain(stream)).await.expect("it is let in");
        Self { socket, subprotocol: None, rest: stack.rest_with(&token), order: Order::default() }
    }

    pub async fn send_raw(&mut self, message: Message) {
        self.socket.send(message).await.expect("the frame is sent");
    }

    pub async fn send_text(&mut self, text: &str) {
        self.send_raw(Message::text(text)).await;
    }

    /// Sends one text in fragments of this many bytes.
    pub async fn send_fragments(&mut self, text: &str, bytes: usize) {
        let pieces: Vec<&[u8]> = text.as_bytes().chunks(bytes).collect();
        for (at, piece) in pieces.iter().enumerate() {
            let kind = OpCode::Data(if at == 0 { Data::Text } else { Data::Continue });
            let fragment = tungstenite::protocol::frame::Frame::message(piece.to_vec(), kind, at + 1 == pieces.len());
            self.send_raw(Message::Frame(fragment)).await;
        }
    }

    pub async fn send(&mut self, frame: &Value) {
        self.order.send(frame);
        self.send_text(&frame.to_string()).await;
    }

    /// Sends, unless the socket is already closed.
    pub async fn try_send(&mut self, frame: &Value) {
        self.socket.send(Message::text(frame.to_string())).await.ok();
    }

    pub async fn send_message(&mut self, id: &str, conversation: &str, text: &str) {
        self.send(&json!({ "action": "sendMessage", "id": id, "conversationId": conversation, "text": text })).await;
    }

    /// The next frame.
    pub async fn receive(&mut self) -> Frame {
        self.receive_or_close().await.unwrap_or_else(|close| panic!("closed instead of a frame: {close:?}"))
    }

    /// The next frame, or the code and reason of the close.
    pub async fn receive_or_close(&mut self) -> Result<Frame, Option<(u16, String)>> {
        if let Some(frame) = self.order.ready.pop_front() {
            return Ok(frame);
        }
        loop {
            let message = timeout(PATIENCE, self.socket.next()).await.expect("a frame comes");
            match message {
                Some(Ok(Message::Text(text))) => {
                    let frame = serde_json::from_str(&text).unwrap_or_else(|_| panic!("not JSON: {text}"));
                    if let Some(frame) = self.order.hear(frame) {
                        return Ok(frame);
                    }
                }
                Some(Ok(Message::Close(frame))) => {
                    return Err(frame.map(|frame| (frame.code.into(), frame.reason.to_string())));
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Err(None),
            }
        }
    }

    /// The next frame, if one comes in this time.
    pub async fn receive_within(&mut self, time: Duration) -> Option<Frame> {
        timeout(time, self.receive()).await.ok()
    }

    /// Reads frames until one has this type.
    pub async fn receive_type(&mut self, kind: &str) -> Frame {
        loop {
            let frame = self.receive().await;
            if frame["type"] == kind {
                return frame;
            }
        }
    }

    /// Checks that nothing comes for this long.
    pub async fn receives_nothing(&mut self, time: Duration) {
        if let Ok(frame) = timeout(time, self.socket.next()).await {
            panic!("a frame came: {frame:?}");
        }
    }

    /// Sends a message and waits for its end. Gives the text of its deltas and the last frame.
    pub async fn ask(&mut self, conversation: &str, text: &str) -> (String, Frame) {
        let id = crate::new_id();
        self.send_message(&id, conversation, text).await;
        let accepted = self.receive().await;
        assert_eq!((&accepted["type"], &accepted["id"]), (&json!("accepted"), &json!(id)), "{accepted}");
        self.answer(&id).await
    }

    /// The same, in a new conversation.
    pub async fn ask_afresh(&mut self, text: &str) -> (String, Frame) {
        let conversation = self.rest.new_conversation().await;
        self.ask(&conversation, text).await
    }

    /// Reads the answer to an accepted message: deltas without gaps, then the end. Gives the text and the last frame.
    pub async fn answer(&mut self, id: &str) -> (String, Frame) {
        let mut streamed = Streamed::default();
        loop {
            let frame = self.receive().await;
            assert_eq!(frame["id"], id, "{frame}");
            if frame["type"] != "delta" {
                return (streamed.text, frame);
            }
            streamed.hear(&frame);
        }
    }

    /// Closes the socket and waits until the other side has closed it too.
    pub async fn close(mut self) {
        self.socket.close(None).await.ok();
        while let Ok(Some(Ok(_))) = timeout(PATIENCE, self.socket.next()).await {}
    }
}
