//! Frames that come back as they were sent: the speed of a gateway with next to no function behind it, and what idle
//! connections cost it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::load::{Load, Outcome, Times, measured, record};
use crate::processes;
use crate::target::Target;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// How many handshakes are under way at once while idle clients connect.
const CONNECTING: usize = 50;

async fn connect(target: &Target) -> Result<Socket> {
    let (socket, _) = connect_async(target.websocket_url.as_str()).await.context("The handshake was refused")?;
    Ok(socket)
}

async fn ask(socket: &mut Socket, text: &str) -> Result<()> {
    socket.send(Message::text(text)).await?;
    loop {
        match socket.next().await.context("The socket ended")?? {
            Message::Text(answer) if answer.as_str() == text => return Ok(()),
            Message::Text(answer) => bail!("It was not sent back: {answer}"),
            Message::Close(close) => bail!("The socket was closed: {close:?}"),
            _ => {}
        }
    }
}

/// Each client sends the next frame when the one before has come back.
pub(crate) async fn echo(scenario: &'static str, target: &Arc<Target>, load: Load) -> Result<Outcome> {
    let mut sockets = Vec::new();
    for _ in 0..load.clients {
        let mut socket = connect(target).await?;
        ask(&mut socket, "ready").await?;
        sockets.push(socket);
    }
    let begin = Instant::now() + load.warm_up;
    let end = begin + load.time;
    let mut running = JoinSet::new();
    for (number, mut socket) in sockets.into_iter().enumerate() {
        running.spawn(async move {
            let mut times = Times::new();
            for frame in 0_u64.. {
                let sent = Instant::now();
                if sent >= end {
                    break;
                }
                ask(&mut socket, &format!("frame {frame} of {number}")).await?;
                let back = Instant::now();
                if back >= begin && back < end {
                    times.frames += 1;
                    record(&mut times.end, sent, back);
                }
            }
            // The socket may already be gone.
            let _ = socket.close(None).await;
            anyhow::Ok(times)
        });
    }
    measured(scenario, target, load, begin, end, running).await
}

/// The echo of a few clients, and then again beside many that are connected and silent.
pub(crate) async fn idle(target: &Arc<Target>, load: Load, idle: u32) -> Result<(Vec<Outcome>, Idle)> {
    let alone = echo("echo, no idle clients", target, load).await?;
    let before = memory(target);
    let (began, mut sockets) = (Instant::now(), Vec::new());
    let mut connecting = JoinSet::new();
    for number in 0..idle {
        if number as usize >= CONNECTING {
            sockets.push(connecting.join_next().await.context("One is connecting")???);
        }
        let target = Arc::clone(target);
        connecting.spawn(async move { connect(&target).await });
    }
    while let Some(connected) = connecting.join_next().await {
        sockets.push(connected??);
    }
    let connected_in = began.elapsed();
    let each = memory(target).saturating_sub(before) / u64::from(idle.max(1));
    let beside = echo("echo, idle clients", target, load).await?;
    drop(sockets);
    Ok((vec![alone, beside], Idle { connections: idle, connected_in, bytes_each: each }))
}

/// The cost of idle connections.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Idle {
    pub(crate) connections: u32,
    pub(crate) connected_in: Duration,
    /// Memory of all processes of the target.
    pub(crate) bytes_each: u64,
}

fn memory(target: &Target) -> u64 {
    processes::usage(target.root).values().map(|kind| kind.memory).sum()
}
