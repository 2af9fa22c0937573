//! What answers: a conversation in, a stream of text out. Errors say whether another try can help.
//!
//! The words of an error are the endpoint's own. They are for the log and never for users: some name keys, accounts and
//! roles. Others repeat what they were asked, which is nobody's business but the user's, so that is taken out before
//! they are logged (`ModelError::discreet`).

mod bedrock;
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

/// Media of a turn, as a model can look at it.
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
    /// At the end, from models that count.
    Usage(Usage),
}

#[derive(Debug, Clone)]
pub struct Prompt {
    /// The last turns, the message to answer last.
    pub turns: Vec<Turn>,
    /// Tries of this message before, in this invocation.
    pub attempt: u32,
}

#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// Another try may help, not before the time that the model gave.
    #[error("{reason}")]
    Transient { reason: String, retry_after: Option<Duration> },
    /// Another try can't help.
    #[error("{reason}")]
    Final { told: &'static str, reason: String },
}

/// The words for a user whose message failed. An endpoint's own words are for the log.
pub(crate) mod told {
    pub(crate) const REFUSES_CONNECTIONS: &str = "The model can't be reached: its address refuses connections";
    pub(crate) const UNKNOWN_NAME: &str = "The model can't be reached: the name of its address is not known";
    pub(crate) const WEB_PAGE: &str = "The model's endpoint answered with a web page; its address is not right";
    pub(crate) const LEADS_ELSEWHERE: &str =
        "The model's endpoint leads to another address; that one must be set in its place";
    pub(crate) const NO_ACCESS: &str = "The model's endpoint refused this stack's access";
    pub(crate) const NO_SUCH_MODEL: &str = "The model's endpoint does not know the model";
    pub(crate) const REFUSED: &str = "The model's endpoint refused the request";
    pub(crate) const FAILED_AS_TOLD: &str = "The mock model was told to fail";

    /// For a response of this status.
    pub(crate) fn of_status(status: u16) -> &'static str {
        match status {
            401 | 403 => NO_ACCESS,
            300..=399 => LEADS_ELSEWHERE,
            404 => NO_SUCH_MODEL,
            _ => REFUSED,
        }
    }
}

/// Of an endpoint's words, what is logged.
const MAX_REASON_CHARS: usize = 500;

/// As much in common with a prompt is taken for a part of it.
const REPEATED_CHARS: usize = 12;

/// A prompt that is shorter than this can't be told from other words.
const SHORTEST_CHARS: usize = 4;

impl ModelError {
    /// The same error for a log: cut to a bound, and without what the model was told.
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

/// Whether nobody is at an address, by the causes of a failed request: no name, or no listener. The resolver's error
/// has no type.
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
    /// The provider's name, as `LLM_PROVIDER` has it.
    fn name(&self) -> &'static str;

    /// The answer, piece by piece as it comes.
    fn answer(&self, prompt: Prompt) -> BoxStream<'static, Result<Piece, ModelError>>;
}

/// Without the parts of `reason` that `turns` have, too: their texts and the addresses of their media, as they are or
/// as JSON writes them, whole or cut off.
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

/// A text as it is within JSON.
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
/// When its key can't be had.
pub async fn from_config(config: ModelConfig, aws: &SdkConfig, random: Arc<Random>) -> Result<Arc<dyn Model>> {
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
