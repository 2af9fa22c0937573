//! Models: a conversation goes in, and a stream of text comes out. Errors say whether another try can help.
//!
//! A model with wrong settings fails like one that refuses: when it is asked ([`Configured`]).
//!
//! The words of an error are the endpoint's own. They are for the log and never for users, because some name keys,
//! accounts and roles. Some also repeat the prompt, which only the user may read, so those parts are removed before
//! they are logged (`ModelError::discreet`).

mod bedrock;
mod configured;
#[cfg(test)]
mod hostile;
mod mock;
mod openai;
mod secret;

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_config::SdkConfig;

use futures_util::stream::BoxStream;

use crate::Result;
use crate::config::{ModelConfig, Provider};
use crate::ids::Random;
use crate::media::{Kind, Sample};
use crate::messages::{Role, Usage};

pub use bedrock::Bedrock;
pub use configured::Configured;
pub use mock::Mock;
pub use openai::OpenAi;

#[derive(Debug, Clone)]
pub struct Turn {
    pub role: Role,
    pub text: String,
    pub media: Option<Shown>,
}

impl Turn {
    /// A turn of plain text.
    #[cfg(test)]
    pub(crate) fn text(role: Role, text: &str) -> Self {
        Self { role, text: text.to_owned(), media: None }
    }
}

/// Media of a turn, in the form in which a model can look at it.
#[derive(Debug, Clone)]
pub struct Shown {
    pub kind: Kind,
    pub url: String,
}

/// A piece of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    Text(String),
    Media(Sample),
    /// Comes at the end, from models that count.
    Usage(Usage),
}

#[derive(Debug, Clone)]
pub struct Prompt {
    /// The last turns. The last one is the message to answer.
    pub turns: Vec<Turn>,
    /// How often this message has been tried before in this invocation.
    pub attempt: u32,
}

#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// Another try may help, but not before the time that the model gave.
    #[error("{reason}")]
    Transient { reason: String, retry_after: Option<Duration> },
    /// Another try can't help.
    #[error("{reason}")]
    Final { told: &'static str, reason: String },
}

/// Texts for a user whose message failed. The endpoint's own words go only to the log.
pub(crate) mod told {
    pub(crate) const REFUSES_CONNECTIONS: &str = "The model can't be reached: its address refuses connections";
    pub(crate) const UNKNOWN_NAME: &str = "The model can't be reached: the name of its address is not known";
    pub(crate) const WEB_PAGE: &str = "The model's endpoint answered with a web page; its address is wrong";
    pub(crate) const LEADS_ELSEWHERE: &str =
        "The model's endpoint redirects to another address; that address must be set instead";
    pub(crate) const NO_ACCESS: &str = "The model's endpoint refused this stack's access";
    pub(crate) const NO_SUCH_MODEL: &str = "The model's endpoint does not know the model";
    pub(crate) const REFUSED: &str = "The model's endpoint refused the request";
    pub(crate) const NOT_SET_UP: &str = "The model is not set up correctly on this server";
    pub(crate) const FAILED_AS_TOLD: &str = "The mock model was told to fail";

    /// The text for a response with this status.
    pub(crate) fn of_status(status: u16) -> &'static str {
        match status {
            401 | 403 => NO_ACCESS,
            300..=399 => LEADS_ELSEWHERE,
            404 => NO_SUCH_MODEL,
            _ => REFUSED,
        }
    }
}

/// How much of an endpoint's words is logged.
const MAX_REASON_CHARS: usize = 500;

/// A run of this many characters that is also in the prompt counts as a part of the prompt.
const REPEATED_CHARS: usize = 12;

/// A shorter prompt can't be told from other words.
const SHORTEST_CHARS: usize = 4;

impl ModelError {
    /// The same error for the log: cut to a maximum length, and without the model's prompt.
    pub(crate) fn discreet(self, turns: &[Turn]) -> Self {
        match self {
            Self::Final { told, reason } => Self::Final { told, reason: discreet(&reason, turns) },
            Self::Transient { reason, retry_after } => {
                Self::Transient { reason: discreet(&reason, turns), retry_after }
            }
        }
    }

    pub(crate) fn transient(reason: impl Into<String>) -> Self {
        Self::Transient { reason: reason.into(), retry_after: None }
    }
}

/// Whether nobody listens at an address, judged by the causes of a failed request: the name is unknown or the port is
/// closed. The resolver's error has no type.
fn unreachable(error: &(dyn std::error::Error + 'static)) -> Option<&'static str> {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.into_iter().find_map(|cause| {
        let refused = cause.downcast_ref::<std::io::Error>().map(std::io::Error::kind)
            == Some(std::io::ErrorKind::ConnectionRefused);
        if refused {
            Some(told::REFUSES_CONNECTIONS)
        } else if cause.to_string().starts_with("dns error") {
            Some(told::UNKNOWN_NAME)
        } else {
            None
        }
    })
}

pub trait Model: Send + Sync + fmt::Debug {
    /// The provider's name as in `LLM_PROVIDER`.
    fn name(&self) -> &'static str;

    /// The answer, piece by piece as it comes.
    fn answer(&self, prompt: Prompt) -> BoxStream<'static, Result<Piece, ModelError>>;
}

/// Removes the parts of `reason` that are also in `turns`: their texts and the addresses of their media, plain or as
/// JSON writes them, whole or cut off.
fn discreet(reason: &str, turns: &[Turn]) -> String {
    let told = turns.iter().flat_map(|turn| [Some(&turn.text), turn.media.as_ref().map(|media| &media.url)]).flatten();
    let told: Vec<String> = told.flat_map(|text| [text.clone(), as_json(text)]).collect();
    let cut: String = reason.chars().take(2 * MAX_REASON_CHARS).collect();
    let whole = told.iter().filter(|text| (SHORTEST_CHARS..REPEATED_CHARS).contains(&text.chars().count()));
    let reason = whole.fold(cut, |reason, text| reason.replace(text.as_str(), "…"));

    let told: HashSet<&str> = told.iter().flat_map(|text| windows(text)).collect();
    let mut repeated = vec![false; reason.chars().count()];
    for (start, window) in windows(&reason).enumerate() {
        if told.contains(window) {
            repeated[start..start + REPEATED_CHARS].fill(true);
        }
    }
    let mut kept = String::new();
    for (char, repeated) in reason.chars().zip(repeated).take(MAX_REASON_CHARS) {
        match repeated {
            false => kept.push(char),
            true if kept.ends_with('…') => {}
            true => kept.push('…'),
        }
    }
    kept
}

/// A text as JSON writes it.
fn as_json(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

/// All parts of a text that have [`REPEATED_CHARS`] characters.
fn windows(text: &str) -> impl Iterator<Item = &str> {
    let starts = text.char_indices().map(|(at, _)| at);
    let ends = text.char_indices().map(|(at, _)| at).chain([text.len()]).skip(REPEATED_CHARS);
    starts.zip(ends).map(|(start, end)| &text[start..end])
}

/// # Errors
/// When the model's key can't be read.
async fn from_config(config: ModelConfig, aws: &SdkConfig, random: Arc<Random>) -> Result<Arc<dyn Model>> {
    Ok(match config.provider {
        Provider::Mock { latency } => Arc::new(Mock::new(latency, random)),
        Provider::Bedrock { model } => Arc::new(Bedrock::new(model, aws)),
        Provider::OpenAi(config) => Arc::new(OpenAi::new(config, aws).await?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_logged_without_what_the_model_was_told_and_not_longer_than_it_may_be() {
        let said = "My name is Ann \"Nan\" Smith,\nand I am ill";
        let picture = Turn {
            media: Some(Shown { kind: Kind::Image, url: "https://media/x?X-Amz-Signature=0123456789".to_owned() }),
            ..Turn::text(Role::User, "")
        };
        let turns = [Turn::text(Role::User, said), Turn::text(Role::User, "secret"), picture];
        for (reason, logged) in [
            ("Incorrect API key provided: sk-***abcd".to_owned(), "Incorrect API key provided: sk-***abcd"),
            (format!("Flagged: {said}!"), "Flagged: …!"),
            (serde_json::json!({ "input": said }).to_string(), "{\"input\":\"…\"}"),
            (format!("Too long: '{}' [cut]", &said[..20]), "Too long: '…' [cut]"),
            ("Invalid: 'secret'".to_owned(), "Invalid: '…'"),
            ("Not there: https://media/x?X-Amz-Signature=0123456789.".to_owned(), "Not there: …."),
        ] {
            assert_eq!(discreet(&reason, &turns), logged);
        }
        assert_eq!(discreet(&"é".repeat(10_000), &turns).chars().count(), MAX_REASON_CHARS);
        assert_eq!(discreet("", &[]), "");
    }
}
