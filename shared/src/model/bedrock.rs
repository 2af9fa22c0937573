//! Amazon Bedrock's Converse API, streamed: one request and one event stream for all of its models.

use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_bedrockruntime::Client;
use aws_sdk_bedrockruntime::config::timeout::TimeoutConfig;
use aws_sdk_bedrockruntime::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_bedrockruntime::primitives::event_stream::EventReceiver;
use aws_sdk_bedrockruntime::types::error::ConverseStreamOutputError;
use aws_sdk_bedrockruntime::types::{
    ContentBlock, ContentBlockDelta, ConversationRole, ConverseStreamOutput, Message, TokenUsage,
};
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};

use super::{Model, ModelError, Piece, Prompt, Turn, Usage, told, unreachable};
use crate::Error;
use crate::messages::Role;

/// The time to connect, and the time until an answer begins. A stream that falls silent later is ended by the worker's
/// own time limit.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const READ_TIMEOUT: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub struct Bedrock {
    client: Client,
    model: String,
}

impl Bedrock {
    pub fn new(model: String, aws: &SdkConfig) -> Self {
        let timeouts = TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).read_timeout(READ_TIMEOUT).build();
        let config = aws_sdk_bedrockruntime::config::Builder::from(aws).timeout_config(timeouts).build();
        Self { client: Client::from_conf(config), model }
    }
}

impl Model for Bedrock {
    fn name(&self) -> &'static str {
        "bedrock"
    }

    fn answer(&self, prompt: Prompt) -> BoxStream<'static, Result<Piece, ModelError>> {
        let request = self.client.converse_stream().model_id(&self.model).set_messages(Some(messages(&prompt.turns)));
        let started = async move {
            match request.send().await {
                Ok(output) => pieces(output.stream).left_stream(),
                Err(error) => {
                    let status = error.raw_response().map(|response| response.status().as_u16());
                    let error = match unreachable(&error) {
                        Some(told) => {
                            ModelError::Final { told, reason: Error::service("ConverseStream", &error).to_string() }
                        }
                        // These statuses refuse, whatever name the refusal has.
                        None if let Some(status @ (401 | 403 | 404)) = status => ModelError::Final {
                            told: told::of_status(status),
                            reason: Error::service("ConverseStream", &error).to_string(),
                        },
                        None => classify(error.code(), &error),
                    };
                    stream::once(async { Err(error) }).right_stream()
                }
            }
        };
        stream::once(started).flatten().boxed()
    }
}

/// Bedrock wants the roles to alternate, so consecutive turns of one side become one message. It takes no pictures by
/// address, so it is told only that there was some media.
fn messages(turns: &[Turn]) -> Vec<Message> {
    let mut said: Vec<(ConversationRole, Vec<ContentBlock>)> = Vec::new();
    for turn in turns {
        let role = if turn.role == Role::User { ConversationRole::User } else { ConversationRole::Assistant };
        let text = match &turn.media {
            Some(media) if turn.text.is_empty() => format!("[{}]", media.kind.as_str()),
            _ => turn.text.clone(),
        };
        // Bedrock refuses blank text.
        let text = if text.trim().is_empty() { "…".to_owned() } else { text };
        match said.last_mut() {
            Some((last, blocks)) if *last == role => blocks.push(ContentBlock::Text(text)),
            _ => said.push((role, vec![ContentBlock::Text(text)])),
        }
    }
    let message = |(role, blocks)| Message::builder().role(role).set_content(Some(blocks)).build().ok();
    said.into_iter().filter_map(message).collect()
}

type Events = EventReceiver<ConverseStreamOutput, ConverseStreamOutputError>;

fn pieces(events: Events) -> BoxStream<'static, Result<Piece, ModelError>> {
    /// The part of the stream that has been read.
    struct Reading {
        events: Events,
        finished: bool,
        ended: bool,
    }
    let reading = Reading { events, finished: false, ended: false };
    stream::unfold(reading, |mut reading| async move {
        while !reading.ended {
            let piece = match reading.events.recv().await {
                Ok(Some(ConverseStreamOutput::ContentBlockDelta(event))) => match event.delta {
                    Some(ContentBlockDelta::Text(text)) if !text.is_empty() => Ok(Piece::Text(text)),
                    _ => continue,
                },
                Ok(Some(ConverseStreamOutput::Metadata(event))) => match event.usage {
                    Some(usage) => Ok(Piece::Usage(counted(&usage))),
                    None => continue,
                },
                Ok(Some(ConverseStreamOutput::MessageStop(_))) => {
                    reading.finished = true;
                    continue;
                }
                Ok(Some(_)) => continue,
                Ok(None) if reading.finished => break,
                Ok(None) => Err(ModelError::transient("The model's answer was cut off")),
                Err(error) => {
                    // In the stream, an error has a type and no code.
                    let service = error.as_service_error();
                    let refused = service.is_some_and(ConverseStreamOutputError::is_validation_exception);
                    Err(classify(if refused { Some("ValidationException") } else { error.code() }, &error))
                }
            };
            reading.ended = piece.is_err();
            return Some((piece, reading));
        }
        None
    })
    .boxed()
}

fn counted(usage: &TokenUsage) -> Usage {
    let tokens = |count: i32| u64::try_from(count).unwrap_or_default();
    Usage { input_tokens: tokens(usage.input_tokens()), output_tokens: tokens(usage.output_tokens()) }
}

/// A refused request, or a model that is missing or not allowed, is final, because another try can't change it.
fn classify<E: std::error::Error + 'static, R: std::fmt::Debug + 'static>(
    code: Option<&str>,
    error: &SdkError<E, R>,
) -> ModelError {
    let reason = Error::service("ConverseStream", error).to_string();
    match code {
        Some("ValidationException") => ModelError::Final { told: told::REFUSED, reason },
        Some("AccessDeniedException") => ModelError::Final { told: told::NO_ACCESS, reason },
        Some("ResourceNotFoundException") => ModelError::Final { told: told::NO_SUCH_MODEL, reason },
        _ => ModelError::transient(reason),
    }
}

#[cfg(test)]
mod tests {
    use aws_config::{BehaviorVersion, Region};
    use aws_credential_types::Credentials;
    use aws_credential_types::provider::SharedCredentialsProvider;
    use aws_smithy_eventstream::frame::write_message_to;
    use aws_smithy_types::event_stream::{Header, HeaderValue, Message as Frame};
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::endpoint::{Endpoint, Step, status};

    /// One event in Bedrock's framing, with its padding (`p`).
    fn event(kind: &str, payload: &Value) -> Step {
        framed("event", ":event-type", kind, payload)
    }

    fn framed(message_type: &'static str, header: &'static str, kind: &str, payload: &Value) -> Step {
        let text = |value: &str| HeaderValue::String(value.to_owned().into());
        let frame = Frame::new(payload.to_string())
            .add_header(Header::new(":message-type", text(message_type)))
            .add_header(Header::new(header, text(kind)))
            .add_header(Header::new(":content-type", text("application/json")));
        let mut bytes = Vec::new();
        write_message_to(&frame, &mut bytes).expect("a frame");
        Step::Send(bytes)
    }

    fn delta(text: &str) -> Step {
        event("contentBlockDelta", &json!({ "contentBlockIndex": 0, "delta": { "text": text }, "p": "abcdefgh" }))
    }

    fn recorded(events: impl IntoIterator<Item = Step>) -> Vec<Step> {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/vnd.amazon.eventstream\r\nconnection: close\r\n\r\n";
        let start = event("messageStart", &json!({ "p": "abcd", "role": "assistant" }));
        [Step::Send(head.as_bytes().to_vec()), start].into_iter().chain(events).collect()
    }

    fn model(endpoint: &Endpoint) -> Bedrock {
        let credentials = Credentials::new("AKID", "secret", None, None, "tests");
        let aws = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::from_static("us-east-1"))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .retry_config(aws_config::retry::RetryConfig::disabled())
            .endpoint_url(endpoint.url.trim_end_matches("/v1"))
            .build();
        Bedrock::new("anthropic.claude-3-haiku-20240307-v1:0".to_owned(), &aws)
    }

    async fn ask(endpoint: &Endpoint, turns: Vec<Turn>) -> Vec<Result<Piece, ModelError>> {
        model(endpoint).answer(Prompt { turns, attempt: 0 }).collect().await
    }

    fn hello() -> Vec<Turn> {
        vec![Turn::text(Role::User, "Hello")]
    }

    #[tokio::test]
    async fn a_recorded_stream_is_its_text_and_its_usage() {
        let script = recorded([
            delta("Hel"),
            delta("lo 🙂"),
            event("contentBlockStop", &json!({ "contentBlockIndex": 0, "p": "ab" })),
            event("messageStop", &json!({ "p": "abcdef", "stopReason": "end_turn" })),
            event(
                "metadata",
                &json!({ "metrics": { "latencyMs": 391 }, "p": "a", "usage": { "inputTokens": 9, "outputTokens": 4, "totalTokens": 13 } }),
            ),
        ]);
        let endpoint = Endpoint::start(vec![script]);
        let turns = vec![
            Turn::text(Role::User, "One"),
            Turn::text(Role::User, "Two"),
            Turn::text(Role::Assistant, "Three"),
            Turn::text(Role::User, " "),
        ];
        let pieces: Result<Vec<_>, _> = ask(&endpoint, turns).await.into_iter().collect();
        let usage = Usage { input_tokens: 9, output_tokens: 4 };
        let expected = [Piece::Text("Hel".to_owned()), Piece::Text("lo 🙂".to_owned()), Piece::Usage(usage)];
        assert_eq!(pieces.expect("an answer"), expected);
        // The request has alternating roles and no blank text, and it is signed.
        let requests = endpoint.requests();
        let path = "post /model/anthropic.claude-3-haiku-20240307-v1%3a0/converse-stream ";
        assert!(requests[0].head.starts_with(path), "{}", requests[0].head);
        assert!(requests[0].head.contains("/us-east-1/bedrock/aws4_request"), "{}", requests[0].head);
        let expected = json!([
            { "role": "user", "content": [{ "text": "One" }, { "text": "Two" }] },
            { "role": "assistant", "content": [{ "text": "Three" }] },
            { "role": "user", "content": [{ "text": "…" }] },
        ]);
        assert_eq!(requests[0].body["messages"], expected);
    }

    #[tokio::test]
    async fn passing_failures_are_told_from_lasting_ones() {
        let refusal = |line: &str, kind: &str| {
            status(line, &format!("x-amzn-errortype: {kind}:http://internal.amazon.com/\r\n"), "{\"message\":\"no\"}")
        };
        for (name, script, passes) in [
            ("throttled", refusal("429 Too Many Requests", "ThrottlingException"), true),
            ("unavailable", refusal("503 Service Unavailable", "ServiceUnavailableException"), true),
            ("not ready", refusal("429 Too Many Requests", "ModelNotReadyException"), true),
            ("a bad request", refusal("400 Bad Request", "ValidationException"), false),
            ("not allowed", refusal("403 Forbidden", "AccessDeniedException"), false),
            ("no such model", refusal("404 Not Found", "ResourceNotFoundException"), false),
            ("cut off", recorded([delta("ba")]), true),
            (
                "throttled in the stream",
                recorded([
                    delta("ba"),
                    framed("exception", ":exception-type", "throttlingException", &json!({ "message": "no" })),
                ]),
                true,
            ),
            (
                "refused in the stream",
                recorded([framed("exception", ":exception-type", "validationException", &json!({ "message": "no" }))]),
                false,
            ),
        ] {
            let endpoint = Endpoint::start(vec![script]);
            let pieces = ask(&endpoint, hello()).await;
            let last = pieces.last();
            let as_expected = match last {
                Some(Err(ModelError::Transient { .. })) => passes,
                Some(Err(ModelError::Final { .. })) => !passes,
                _ => false,
            };
            assert!(as_expected, "{name}: {last:?}");
        }
    }

    /// A proxy, or the check of a signature, refuses under a name of its own or under none.
    #[tokio::test]
    async fn a_status_that_refuses_is_final_whatever_name_the_refusal_has() {
        let named = |name: &str| format!("x-amzn-errortype: {name}\r\n");
        for (line, headers, expected) in [
            ("401 Unauthorized", String::new(), told::NO_ACCESS),
            ("401 Unauthorized", named("MissingAuthenticationTokenException"), told::NO_ACCESS),
            ("403 Forbidden", String::new(), told::NO_ACCESS),
            ("403 Forbidden", named("UnrecognizedClientException"), told::NO_ACCESS),
            ("404 Not Found", String::new(), told::NO_SUCH_MODEL),
            ("404 Not Found", named("UnknownOperationException"), told::NO_SUCH_MODEL),
        ] {
            let endpoint = Endpoint::start(vec![status(line, &headers, "{\"message\":\"no\"}")]);
            match ask(&endpoint, hello()).await.as_slice() {
                [Err(ModelError::Final { told, reason })] => {
                    assert_eq!(*told, expected, "{line} {headers}");
                    assert!(reason.contains("ConverseStream"), "{line} {headers}: {reason}");
                }
                other => panic!("{line} {headers}: {other:?}"),
            }
        }
    }
}
