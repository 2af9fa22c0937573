//! What answers: a conversation in, a stream of text out. Errors say whether another try can help.

mod bedrock;
mod mock;
mod openai;
mod secret;

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
    #[error("{0}")]
    Final(String),
}

impl ModelError {
    pub(crate) fn transient(reason: impl Into<String>) -> Self {
        Self::Transient { reason: reason.into(), retry_after: None }
    }
}

/// Whether nobody is at an address, by the causes of a failed request: no name, or no listener. The resolver's error has no type.
fn unreachable(error: &(dyn std::error::Error + 'static)) -> Option<&'static str> {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.into_iter().find_map(|cause| {
        let refused = cause.downcast_ref::<std::io::Error>().map(std::io::Error::kind)
            == Some(std::io::ErrorKind::ConnectionRefused);
        if refused {
            Some("its address refuses connections")
        } else if cause.to_string().starts_with("dns error") {
            Some("the name of its address is not known")
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

/// # Errors
/// When its key can't be had.
pub async fn from_config(config: ModelConfig, aws: &SdkConfig, random: Arc<Random>) -> Result<Arc<dyn Model>> {
    Ok(match config.provider {
        Provider::Mock { latency } => Arc::new(Mock::new(latency, random)),
        Provider::Bedrock { model } => Arc::new(Bedrock::new(model, aws)),
        Provider::OpenAi(config) => Arc::new(OpenAi::new(config, aws).await?),
    })
}
