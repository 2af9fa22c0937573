//! Any endpoint that speaks OpenAI's chat completions, streamed.
//!
//! Endpoints differ in what they leave out, so an event is read leniently: `choices` may be null or empty, `usage` missing,
//! fields unknown. A stream is whole when a choice said why it finished, or `[DONE]` came; one that just ends was cut off.

use std::time::Duration;

use aws_config::SdkConfig;
use eventsource_stream::Eventsource as _;
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::secret;
use super::{Model, ModelError, Piece, Prompt, Turn, Usage, unreachable};
use crate::config::OpenAiConfig;
use crate::media::Kind;
use crate::messages::Role;
use crate::{Error, Result};

/// To the connection, and from one piece to the next: an endpoint that falls silent is asked again.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const READ_TIMEOUT: Duration = Duration::from_secs(20);

/// Of an error's body, what is shown in logs.
const MAX_ERROR_CHARS: usize = 300;

#[derive(Debug)]
pub struct OpenAi {
    http: Client,
    url: String,
    model: String,
    api_key: Option<secret::Secret>,
}

impl OpenAi {
    /// # Errors
    /// When the key can't be had.
    pub async fn new(config: OpenAiConfig, aws: &SdkConfig) -> Result<Self> {
        let http = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .build()
            .map_err(|error| Error::service("HTTP client", &error))?;
        Ok(Self {
            api_key: secret::read(&config.api_key, aws, &http).await?,
            http,
            url: format!("{}/chat/completions", config.base_url),
            model: config.model,
        })
    }

    fn request(&self, turns: &[Turn]) -> RequestBuilder {
        let messages: Vec<Value> = turns.iter().filter_map(message).collect();
        let body = json!({
            "model": self.model,
            "messages": messages,
            "stream": true,
            "stream_options": { "include_usage": true },
        });
        let request = self.http.post(&self.url).json(&body);
        match &self.api_key {
            Some(key) => request.bearer_auth(key.expose()),
            None => request,
        }
    }
}

impl Model for OpenAi {
    fn name(&self) -> &'static str {
        "openai"
    }

    fn answer(&self, prompt: Prompt) -> BoxStream<'static, Result<Piece, ModelError>> {
        let request = self.request(&prompt.turns);
        let started = async move {
            match open(request).await {
                Ok(response) => pieces(response).left_stream(),
                Err(error) => stream::once(async { Err(error) }).right_stream(),
            }
        };
        stream::once(started).flatten().boxed()
    }
}

/// A turn as the protocol has it: pictures as parts, by address. Sound and films are not for every model: of them, the text.
fn message(turn: &Turn) -> Option<Value> {
    let role = if turn.role == Role::User { "user" } else { "assistant" };
    let picture = turn.media.as_ref().filter(|media| media.kind == Kind::Image && turn.role == Role::User);
    if let Some(picture) = picture {
        let mut parts = vec![json!({ "type": "image_url", "image_url": { "url": picture.url } })];
        if !turn.text.is_empty() {
            parts.insert(0, json!({ "type": "text", "text": turn.text }));
        }
        return Some(json!({ "role": role, "content": parts }));
    }
    let text = match &turn.media {
        Some(media) if turn.text.is_empty() && turn.role == Role::User => format!("[{}]", media.kind.as_str()),
        _ => turn.text.clone(),
    };
    (!text.is_empty()).then(|| json!({ "role": role, "content": text }))
}

async fn open(request: RequestBuilder) -> Result<Response, ModelError> {
    let response = request.send().await.map_err(|error| unsent(&error))?;
    let status = response.status();
    if status.is_success() {
        // A page for people: a proxy's or a portal's, or not the endpoint's path. It will be the same the next time.
        let content_type = response.headers().get("content-type").and_then(|value| value.to_str().ok());
        if content_type.is_some_and(|kind| kind.trim_start().to_ascii_lowercase().starts_with("text/html")) {
            return Err(ModelError::Final(
                "The model's endpoint answered with a web page; its address is not right".into(),
            ));
        }
        return Ok(response);
    }
    let retry_after = response.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
    let body = response.text().await.unwrap_or_default();
    let reason = format!("The model's endpoint answered {status}: {}", explain(&body));
    Err(if is_transient(status) {
        ModelError::Transient { reason, retry_after: retry_after.map(Duration::from_secs) }
    } else {
        ModelError::Final(reason)
    })
}

/// What did not reach the endpoint. Where nobody is at home, another try within a minute changes nothing.
fn unsent(error: &reqwest::Error) -> ModelError {
    match unreachable(error) {
        Some(why) => ModelError::Final(format!("The model can't be reached: {why}")),
        None => ModelError::transient(chain(error)),
    }
}

fn is_transient(status: StatusCode) -> bool {
    status.is_server_error()
        || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::CONFLICT | StatusCode::TOO_MANY_REQUESTS)
}

/// The error's message, or what there is.
fn explain(body: &str) -> String {
    let message = serde_json::from_str::<Value>(body).ok();
    let message = message.as_ref().and_then(|error| error["error"]["message"].as_str()).unwrap_or(body);
    message.chars().take(MAX_ERROR_CHARS).collect()
}

#[derive(Deserialize)]
struct Event {
    choices: Option<Vec<Choice>>,
    usage: Option<Counted>,
    /// Some endpoints tell an error in the middle of a stream.
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Choice {
    delta: Option<Delta>,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Delta {
    content: Option<String>,
}

#[derive(Deserialize)]
struct Counted {
    #[serde(default)]
    prompt_tokens: u64,
    #[serde(default)]
    completion_tokens: u64,
}

fn pieces(response: Response) -> BoxStream<'static, Result<Piece, ModelError>> {
    // The parser joins what the network has split, also within a character, takes CR LF, and skips comments.
    let events = response.bytes_stream().eventsource();
    let state = (events, Reading::default());
    stream::unfold(state, |(mut events, mut reading)| async move {
        loop {
            if let Some(piece) = reading.ready.pop() {
                return Some((piece, (events, reading)));
            }
            if reading.ended {
                return None;
            }
            match events.next().await {
                Some(Ok(event)) => reading.take(&event.data),
                Some(Err(error)) => reading.fail(ModelError::transient(chain(&error))),
                None if reading.finished => reading.ended = true,
                None => reading.fail(ModelError::transient("The model's answer was cut off")),
            }
        }
    })
    .boxed()
}

#[derive(Default)]
struct Reading {
    /// To be handed out, the next one last.
    ready: Vec<Result<Piece, ModelError>>,
    /// A choice has said why it finished.
    finished: bool,
    ended: bool,
}

impl Reading {
    fn take(&mut self, data: &str) {
        if data.trim() == "[DONE]" {
            self.ended = true;
            return;
        }
        let event: Event = match serde_json::from_str(data) {
            Ok(event) => event,
            Err(error) => {
                return self.fail(ModelError::transient(format!("The model's endpoint sent no JSON: {error}")));
            }
        };
        if let Some(error) = event.error {
            return self.fail(ModelError::transient(explain(&json!({ "error": error }).to_string())));
        }
        if let Some(counted) = event.usage {
            let usage = Usage { input_tokens: counted.prompt_tokens, output_tokens: counted.completion_tokens };
            self.ready.push(Ok(Piece::Usage(usage)));
        }
        for choice in event.choices.unwrap_or_default().into_iter().take(1) {
            self.finished |= choice.finish_reason.is_some();
            if let Some(text) = choice.delta.and_then(|delta| delta.content).filter(|text| !text.is_empty()) {
                self.ready.push(Ok(Piece::Text(text)));
            }
        }
    }

    fn fail(&mut self, error: ModelError) {
        self.ready.insert(0, Err(error));
        self.ended = true;
    }
}

fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    Error::service("The model's endpoint", error).to_string()
}
