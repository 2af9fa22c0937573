//! A client that keeps to the protocol, and one that writes arbitrary bytes.

use std::net::SocketAddr;

use axum::body::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use http::Request;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::within;

/// Opcodes on the wire.
pub(super) const CONTINUATION: u8 = 0;
pub(super) const TEXT: u8 = 1;
pub(super) const CLOSE: u8 = 8;
pub(super) const PING: u8 = 9;

pub(super) struct Client {
    /// The connection's id, as `$connect` was given it.
    pub(super) id: String,
    pub(super) socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

/// A handshake's end: the socket with the response's head, or status and body of the refusal.
pub(super) type Upgrade = Result<(WebSocketStream<MaybeTlsStream<TcpStream>>, http::Response<()>), (u16, Value)>;

pub(super) async fn upgrade(request: Request<()>) -> Upgrade {
    match within("The handshake is answered", connect_async(request)).await {
        Ok((socket, response)) => Ok((socket, response.map(|_| ()))),
        Err(Error::Http(response)) => {
            let body = response.body().as_deref().unwrap_or_default();
            Err((response.status().as_u16(), serde_json::from_slice(body).unwrap_or(Value::Null)))
        }
        Err(other) => panic!("The handshake broke: {other}"),
    }
}

impl Client {
    pub(super) async fn send(&mut self, text: &str) {
        self.socket.send(Message::text(text)).await.unwrap();
    }

    /// One message in as many frames.
    pub(super) async fn send_frames(&mut self, frames: &[&str]) {
        for (at, part) in frames.iter().enumerate() {
            let opcode = OpCode::Data(if at == 0 { Data::Text } else { Data::Continue });
            let frame = Frame::message(Bytes::copy_from_slice(part.as_bytes()), opcode, at + 1 == frames.len());
            self.socket.send(Message::Frame(frame)).await.unwrap();
        }
    }

    pub(super) async fn next(&mut self) -> Message {
        let next = within("A frame comes", self.socket.next()).await;
        next.expect("A frame before the end").expect("A readable frame")
    }

    pub(super) async fn text(&mut self) -> String {
        match self.next().await {
            Message::Text(text) => text.to_string(),
            other => panic!("Not a text: {other:?}"),
        }
    }

    pub(super) async fn json(&mut self) -> Value {
        let text = self.text().await;
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// The server's close, after which it must also close the socket, without a reset.
    pub(super) async fn closed(&mut self) -> (u16, String) {
        let Message::Close(Some(frame)) = self.next().await else { panic!("Not a close with a code") };
        let end = within("The socket is closed", self.socket.next()).await;
        assert!(end.is_none(), "After the close: {end:?}");
        (frame.code.into(), frame.reason.to_string())
    }

    /// Closes, and waits until the server has too; answers the server's close frame.
    pub(super) async fn close(mut self, close: Option<(u16, &str)>) -> Option<(u16, String)> {
        let frame = close.map(|(code, reason)| CloseFrame { code: CloseCode::from(code), reason: reason.into() });
        self.socket.send(Message::Close(frame)).await.unwrap();
        let mut answer = None;
        while let Some(message) = within("The socket is closed", self.socket.next()).await {
            if let Message::Close(frame) = message.unwrap() {
                answer = frame.map(|frame| (frame.code.into(), frame.reason.to_string()));
            }
        }
        answer
    }
}

pub(super) struct RawClient {
    pub(super) stream: TcpStream,
    pub(super) status: u16,
}

impl RawClient {
    /// Sends a request's head; reads nothing.
    pub(super) async fn request(address: SocketAddr, head: &[&str]) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        // With a small buffer, little unread data fits between client and server.
        socket.set_recv_buffer_size(32 * 1024).unwrap();
        let mut stream = socket.connect(address).await.unwrap();
        let head: String = head.iter().map(|line| format!("{line}\r\n")).collect();
        stream.write_all(format!("{head}\r\n").as_bytes()).await.unwrap();
        Self { stream, status: 0 }
    }

    /// Reads the response's head, byte by byte, because frames follow it.
    pub(super) async fn response(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(within("The response goes on", self.stream.read_u8()).await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        self.status = head[9..12].parse().unwrap();
        head
    }

    pub(super) async fn send(&mut self, is_final: bool, opcode: u8, payload: &[u8]) {
        self.stream.write_all(&frame(is_final, opcode, payload)).await.unwrap();
    }

    /// The next frame's opcode and payload; `None` where the server closed the socket.
    pub(super) async fn next(&mut self) -> Option<(u8, Vec<u8>)> {
        within("A frame comes", async {
            let opcode = match self.stream.read_u8().await {
                Ok(byte) => byte & 0xf,
                Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
                Err(error) => return Err(error),
            };
            let length = match self.stream.read_u8().await? {
                126 => u64::from(self.stream.read_u16().await?),
                127 => self.stream.read_u64().await?,
                length => u64::from(length),
            };
            let mut payload = vec![0; usize::try_from(length).unwrap()];
            self.stream.read_exact(&mut payload).await?;
            Ok(Some((opcode, payload)))
        })
        .await
        .unwrap()
    }

    /// The server's close, code and reason; answers it, and sees the socket closed.
    pub(super) async fn closed(&mut self) -> (u16, String) {
        let (opcode, payload) = self.next().await.expect("A close before the end");
        assert_eq!(opcode, CLOSE, "{}", String::from_utf8_lossy(&payload));
        // The socket may be closed already.
        let _ = self.stream.write_all(&frame(true, CLOSE, &payload)).await;
        assert_eq!(self.next().await, None);
        (u16::from_be_bytes([payload[0], payload[1]]), String::from_utf8(payload[2..].to_vec()).unwrap())
    }

    /// Vanishes as a phone out of reach does, after its operator has given up on it.
    pub(super) fn reset(self) {
        self.stream.set_zero_linger().unwrap();
    }
}

/// A client's frame, with a mask that changes nothing.
fn frame(is_final: bool, opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![u8::from(is_final) << 7 | opcode];
    match payload.len() {
        length @ 0..126 => frame.push(0x80 | u8::try_from(length).unwrap()),
        length @ 126..0x1_0000 => {
            frame.push(0x80 | 126);
            frame.extend(u16::try_from(length).unwrap().to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}
