//! What answers: a conversation in, a stream of text out. Errors say whether another try can help.

mod mock;

use std::fmt;
use std::sync::Arc;

use futures_util::stream::BoxStream;

use crate::config::ModelConfig;
use crate::ids::Random;
use crate::messages::Role;

pub use mock::Mock;

#[derive(Debug, Clone)]
pub struct Turn {
    pub role: Role,
    pub text: String,
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
    #[error("{0}")]
    Transient(String),
    #[error("{0}")]
    Final(String),
}

pub trait Model: Send + Sync + fmt::Debug {
    /// The answer, piece by piece as it comes.
    fn answer(&self, prompt: Prompt) -> BoxStream<'static, Result<String, ModelError>>;
}

pub fn from_config(config: ModelConfig, random: Arc<Random>) -> Arc<dyn Model> {
    match config {
        ModelConfig::Mock { latency } => Arc::new(Mock::new(latency, random)),
    }
}
