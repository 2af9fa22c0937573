//! Any endpoint that speaks OpenAI's chat completions, streamed.
//!
//! Endpoints differ in what they leave out, so an event is read leniently: `choices` may be null or empty, `usage` may
//! be missing, and unknown fields are allowed. A stream is whole if a choice said why it finished, or if `[DONE]` came.
//! A stream that just ends was cut off.

use std::sync::Arc;
use std::time::Duration;

use aws_config::SdkConfig;
use eventsource_stream::Eventsource as _;
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt as _, TryStreamExt as _};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::secret::{Key, Secret};
use super::{Model, ModelError, Piece, Prompt, Turn, Usage, told, unreachable};
use crate::config::OpenAiConfig;
use crate::media::Kind;
use crate::messages::Role;
use crate::{Error, Result};

/// The time to connect, and the time from one piece to the next. An endpoint that falls silent is asked again.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const READ_TIMEOUT: Duration = Duration::from_secs(20);

/// How much of an error's body is logged.
const MAX_ERROR_CHARS: usize = 300;

#[derive(Debug)]
pub struct OpenAi {
    endpoint: Arc<Endpoint>,
}

#[derive(Debug)]
struct Endpoint {
    http: Client,
    url: String,
    model: String,
    key: Key,
}

impl OpenAi {
    /// # Errors
    /// When the key can't be read.
    pub async fn new(config: OpenAiConfig, aws: &SdkConfig) -> Result<Self> {
        let http = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            // The users' texts and the key go only to the configured endpoint, so no redirect is followed.
            .redirect(Policy::none())
            .build()
            .map_err(|error| Error::service("HTTP client", &error))?;
        let endpoint = Endpoint {
            key: Key::read(config.api_key, aws, &http).await?,
            http,
            url: format!("{}/chat/completions", config.base_url),
            model: config.model,
        };
        Ok(Self { endpoint: Arc::new(endpoint) })
    }
}

impl Model for OpenAi {
    fn name(&self) -> &'static str {
        "openai"
    }

    fn answer(&self, prompt: Prompt) -> BoxStream<'static, Result<Piece, ModelError>> {
        let endpoint = Arc::clone(&self.endpoint);
        let started = async move {
            let told = match endpoint.open(&prompt.turns).await {
                Ok(response) => pieces(response).left_stream(),
                Err(error) => stream::once(async { Err(error) }).right_stream(),
            };
            // Some endpoints repeat the key that they refuse. It is taken out of their words, as users' texts are.
            let key =
                endpoint.key.get().map(|key| Turn { role: Role::User, text: key.expose().to_owned(), media: None });
            told.map(move |piece| piece.map_err(|error| error.discreet(key.as_slice())))
        };
        stream::once(started).flatten().boxed()
    }
}

impl Endpoint {
    /// The beginning of an answer. If the endpoint refuses the key, the key is read again, and if it has changed the
    /// endpoint is asked once more.
    async fn open(&self, turns: &[Turn]) -> Result<Response, ModelError> {
        let messages: Vec<Value> = turns.iter().filter_map(message).collect();
        let body = json!({
            "model": self.model,
            "messages": messages,
            "stream": true,
            "stream_options": { "include_usage": true },
        });
        let key = self.key.get();
        let mut response = self.send(&body, key.as_ref()).await?;
        if matches!(response.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            let renewed = self.key.renew(key.as_ref()).await;
            if let Some(key) = renewed.map_err(|error| ModelError::transient(error.to_string()))? {
                tracing::info!("The model's endpoint refused the key; it is asked again with the key's new value");
                response = self.send(&body, Some(&key)).await?;
            }
        }
        accepted(response).await
    }

    async fn send(&self, body: &Value, key: Option<&Secret>) -> Result<Response, ModelError> {
        let request = self.http.post(&self.url).json(body);
        let request = match key {
            Some(key) => request.bearer_auth(key.expose()),
            None => request,
        };
        request.send().await.map_err(|error| unsent(&error))
    }
}

/// A turn in the protocol's form. Pictures are parts with an address. Not every model takes sound and films, so only
/// their text is sent.
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

async fn accepted(response: Response) -> Result<Response, ModelError> {
    let status = response.status();
    if status.is_success() {
        // The answer is a web page: it comes from a proxy or a portal, or the path is not the endpoint's. The next try
        // would get the same.
        let content_type = response.headers().get("content-type").and_then(|value| value.to_str().ok());
        if content_type.is_some_and(|kind| kind.trim_start().to_ascii_lowercase().starts_with("text/html")) {
            return Err(ModelError::Final { told: told::WEB_PAGE, reason: told::WEB_PAGE.to_owned() });
        }
        return Ok(response);
    }
    let retry_after = response.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
    let body = response.text().await.unwrap_or_default();
    let reason = format!("The model's endpoint answered {status}: {}", explain(&body));
    Err(if is_transient(status) {
        ModelError::Transient { reason, retry_after: retry_after.map(Duration::from_secs) }
    } else {
        ModelError::Final { told: told::of_status(status.as_u16()), reason }
    })
}

/// A request that did not reach the endpoint. If nobody listens there, another try within a minute changes nothing.
fn unsent(error: &reqwest::Error) -> ModelError {
    match unreachable(error) {
        Some(told) => ModelError::Final { told, reason: chain(error) },
        None => ModelError::transient(chain(error)),
    }
}

fn is_transient(status: StatusCode) -> bool {
    status.is_server_error()
        || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::CONFLICT | StatusCode::TOO_MANY_REQUESTS)
}

/// The message of the error, or the start of the body.
fn explain(body: &str) -> String {
    let message = serde_json::from_str::<Value>(body).ok();
    let message = message.as_ref().and_then(|error| error["error"]["message"].as_str()).unwrap_or(body);
    message.chars().take(MAX_ERROR_CHARS).collect()
}

#[derive(Deserialize)]
struct Event {
    choices: Option<Vec<Choice>>,
    usage: Option<Counted>,
    /// Some endpoints report an error in the middle of a stream.
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

pub(super) fn pieces(response: Response) -> BoxStream<'static, Result<Piece, ModelError>> {
    // The parser joins what the network has split, also within a character. It takes CR LF and skips comments.
    let mut beginning = Beginning::default();
    let bytes = response.bytes_stream().map_ok(move |bytes| beginning.without_mark(&bytes));
    let events = bytes.eventsource();
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

/// The beginning of a stream, where there may be a byte order mark: the parser would panic at it.
#[derive(Default)]
struct Beginning {
    /// The number of bytes of a mark that have arrived.
    seen: usize,
    over: bool,
}

impl Beginning {
    fn without_mark(&mut self, bytes: &[u8]) -> Vec<u8> {
        const MARK: &[u8] = "\u{feff}".as_bytes();
        let mut rest = bytes;
        while !self.over
            && let [first, after @ ..] = rest
        {
            if *first != MARK[self.seen] {
                self.over = true;
                return [&MARK[..self.seen], rest].concat();
            }
            rest = after;
            self.seen = (self.seen + 1) % MARK.len();
        }
        rest.to_vec()
    }
}

#[derive(Default)]
struct Reading {
    /// Pieces to hand out, with the next one last.
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
                return self.fail(ModelError::transient(format!(
                    "The model's endpoint sent an event that is not JSON: {error}"
                )));
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

#[cfg(test)]
mod tests {
    use aws_credential_types::Credentials;
    use aws_credential_types::provider::SharedCredentialsProvider;

    use super::*;
    use crate::config::ApiKey;
    use crate::testing::endpoint::{Endpoint, says, status};

    const ARN: &str = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:key-AbCdEf";

    /// Asks once, a model whose key was "one" at the start and then becomes each of these. Gives the result and the
    /// requests.
    async fn ask(keys: &[&str], model: &Endpoint) -> (Vec<Result<Piece, ModelError>>, usize) {
        let secret = |key: &&str| status("200 OK", "", &json!({ "SecretString": key }).to_string());
        let secrets = Endpoint::start(["one"].iter().chain(keys).map(secret).collect());
        let credentials = Credentials::new("AKID", "secret", None, None, "tests");
        let aws = SdkConfig::builder()
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .endpoint_url(secrets.url.as_str())
            .build();
        let config = OpenAiConfig {
            base_url: model.url.clone(),
            model: "a-model".to_owned(),
            api_key: ApiKey::Arn(ARN.to_owned()),
        };
        let openai = OpenAi::new(config, &aws).await.expect("a model");
        let turns = vec![Turn::text(Role::User, "Hello")];
        (openai.answer(Prompt { turns, attempt: 0 }).collect().await, secrets.requests().len())
    }

    #[tokio::test]
    async fn a_key_that_was_changed_is_read_again_and_the_message_is_answered() {
        for refusal in ["401 Unauthorized", "403 Forbidden"] {
            let model = Endpoint::start(vec![status(refusal, "", "{}"), says(&["Hi"])]);
            let (pieces, reads) = ask(&["two"], &model).await;
            assert!(matches!(&pieces[..], [Ok(Piece::Text(text))] if text == "Hi"), "{pieces:?}");
            let used: Vec<_> = model.requests().iter().map(|request| request.head.contains("bearer one")).collect();
            assert_eq!((used, reads), (vec![true, false], 2));
        }
    }

    #[tokio::test]
    async fn a_key_that_is_refused_is_read_again_once_and_not_tried_again_when_it_is_the_same() {
        let model = Endpoint::start(vec![status("401 Unauthorized", "", "{}")]);
        for (keys, asked) in [(&["one"], 1), (&["two"], 3)] {
            let (pieces, reads) = ask(keys, &model).await;
            assert!(matches!(&pieces[..], [Err(ModelError::Final { .. })]), "{pieces:?}");
            assert_eq!((model.requests().len(), reads), (asked, 2), "all in all");
        }
    }
}
