//! A client that costs as little as possible: it speaks the contract and looks only at what it measures.

use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use futures_util::{SinkExt as _, StreamExt as _};
use serde::Deserialize;
use serde_json::json;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::target::Target;

#[derive(Debug)]
pub(crate) struct Client {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

/// The moments of one message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moments {
    pub(crate) accepted: Instant,
    pub(crate) first_delta: Option<Instant>,
    pub(crate) end: Instant,
    /// The number of frames from the server.
    pub(crate) frames: u64,
}

/// Of a frame, the part that says what it is.
#[derive(Debug, Deserialize)]
struct Frame<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(default)]
    id: Option<&'a str>,
}

/// A bearer token of the target's issuer.
pub(crate) async fn token(target: &Target, username: &str) -> Result<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Answer {
        access_token: String,
    }
    let request = target.http.post(format!("{}/_local/token", target.url)).json(&json!({ "username": username }));
    let answer: Answer = request.send().await?.error_for_status()?.json().await?;
    Ok(answer.access_token)
}

/// A new conversation of the token's user.
pub(crate) async fn conversation(target: &Target, token: &str) -> Result<String> {
    #[derive(Deserialize)]
    struct Answer {
        id: String,
    }
    let request = target.http.post(format!("{}/api/conversations", target.url)).bearer_auth(token).json(&json!({}));
    let answer: Answer = request.send().await?.error_for_status()?.json().await?;
    Ok(answer.id)
}

impl Client {
    pub(crate) async fn connect(target: &Target, token: &str) -> Result<Self> {
        let mut request = target.websocket_url.as_str().into_client_request()?;
        request.headers_mut().insert("Authorization", format!("Bearer {token}").parse()?);
        let (socket, _) = connect_async(request).await.context("The handshake was refused")?;
        Ok(Self { socket })
    }

    /// Sends a message and reads until its end.
    pub(crate) async fn ask(&mut self, conversation: &str, text: &str) -> Result<Moments> {
        let id = e2e::new_id();
        let frame = json!({ "action": "sendMessage", "id": id, "conversationId": conversation, "text": text });
        self.socket.send(Message::text(frame.to_string())).await?;
        let (mut accepted, mut first_delta, mut frames) = (None, None, 0);
        loop {
            let message = self.socket.next().await.context("The socket ended")??;
            let Message::Text(text) = message else {
                if let Message::Close(close) = message {
                    bail!("The socket was closed: {close:?}");
                }
                continue;
            };
            let frame: Frame<'_> =
                serde_json::from_str(&text).with_context(|| format!("A frame is not as expected: {text}"))?;
            let now = Instant::now();
            frames += 1;
            match frame.kind {
                _ if frame.id != Some(&id) => {}
                "accepted" => accepted = Some(now),
                "delta" => first_delta = first_delta.or(Some(now)),
                "reply" => {
                    return Ok(Moments { accepted: accepted.unwrap_or(now), first_delta, end: now, frames });
                }
                _ => bail!("The message was not answered: {text}"),
            }
        }
    }

    /// Sends a heartbeat and waits for the next frame.
    pub(crate) async fn heartbeat(&mut self) -> Result<()> {
        self.socket.send(Message::text(r#"{"action":"heartbeat"}"#)).await?;
        loop {
            match self.socket.next().await.context("The socket ended")?? {
                Message::Text(_) => return Ok(()),
                Message::Close(close) => bail!("The socket was closed: {close:?}"),
                _ => {}
            }
        }
    }

    pub(crate) async fn close(mut self) {
        // A socket that is already gone needs no close.
        let _ = self.socket.close(None).await;
        while let Some(Ok(_)) = self.socket.next().await {}
    }
}
