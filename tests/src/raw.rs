//! Sends requests byte by byte, so that a test can send requests that no HTTP library would send.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::stack::{PATIENCE, Stack};

/// A connection to a stack on which a test can send any bytes.
pub async fn raw_connection(stack: &Stack) -> TcpStream {
    TcpStream::connect(("127.0.0.1", stack.port())).await.expect("a connection")
}

/// Sends these bytes. Returns the status and the head of the answer. The status is 0 if the connection is closed
/// instead.
pub async fn raw(stack: &Stack, request: &[u8]) -> (u16, String) {
    let mut stream = raw_connection(stack).await;
    // The server may close the connection before the last byte.
    stream.write_all(request).await.ok();
    let mut head = Vec::new();
    let read = async {
        while !head.windows(4).any(|end| end == b"\r\n\r\n") {
            let mut bytes = [0; 4096];
            match stream.read(&mut bytes).await {
                Ok(read @ 1..) => head.extend_from_slice(&bytes[..read]),
                Ok(0) | Err(_) => break,
            }
        }
    };
    timeout(PATIENCE, read).await.expect("an answer or an end");
    let head = String::from_utf8_lossy(&head).into_owned();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    (status, head)
}

/// The bytes of a handshake with this query, and with these lines after those that it needs.
pub fn raw_handshake(query: &[u8], lines: &[&[u8]]) -> Vec<u8> {
    let needed: [&[u8]; 5] = [
        b"Host: localhost",
        b"Connection: Upgrade",
        b"Upgrade: websocket",
        b"Sec-WebSocket-Version: 13",
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ];
    let mut request = [b"GET /ws", query, b" HTTP/1.1\r\n"].concat();
    let name = |line: &[u8]| line.split(|byte| *byte == b':').next().unwrap_or_default().to_ascii_lowercase();
    for line in needed.iter().filter(|line| !lines.iter().any(|own| name(own) == name(line))) {
        request.extend([*line, b"\r\n"].concat());
    }
    for line in lines {
        request.extend([*line, b"\r\n"].concat());
    }
    request.extend(b"\r\n");
    request
}
