//! A model that talks at a steady speed, behind the OpenAI protocol.

use std::convert::Infallible;
use std::time::Duration;

use anyhow::Result;
use axum::Router;
use axum::body::Body;
use axum::routing::post;
use futures_util::stream;
use tokio::time::{Instant, sleep_until};

/// The speed of one answer, in tokens a second.
pub(crate) const TOKENS_A_SECOND: u32 = 100;

/// Serves answers of this many tokens until the process ends. Gives the value for `LlmBaseUrl`.
pub(crate) async fn serve(tokens: u32) -> Result<String> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/v1", listener.local_addr()?);
    let router = Router::new().route("/v1/chat/completions", post(async move || answer(tokens)));
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(url)
}

fn answer(tokens: u32) -> Body {
    let (begin, pause) = (Instant::now(), Duration::from_secs(1) / TOKENS_A_SECOND);
    Body::from_stream(stream::unfold(0, move |said| async move {
        if said > tokens {
            return None;
        }
        if said == tokens {
            return Some((Ok::<_, Infallible>("data: [DONE]\n\n".to_owned()), said + 1));
        }
        sleep_until(begin + pause * (said + 1)).await;
        let event = format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{said:03} \"}}}}]}}\n\n");
        Some((Ok(event), said + 1))
    }))
}
