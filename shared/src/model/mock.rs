//! The mock model, with the manners that the contract gives it: it says `response for …` after its latency, word by word.
//! A text starting `!fail` makes it fail for good, `!flaky N` fail N times and then answer, `!slow MS` take that long.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, BoxStream, StreamExt};

use super::{Model, ModelError, Prompt};
use crate::config::MockLatency;
use crate::ids::Random;

/// Latency of a text answer, uniformly below this.
const TEXT_LATENCY_MS: u32 = 1000;

#[derive(Debug)]
pub struct Mock {
    latency: MockLatency,
    random: Arc<Random>,
}

impl Mock {
    pub fn new(latency: MockLatency, random: Arc<Random>) -> Self {
        Self { latency, random }
    }
}

impl Model for Mock {
    fn answer(&self, prompt: Prompt) -> BoxStream<'static, Result<String, ModelError>> {
        let text = prompt.turns.last().map(|turn| turn.text.clone()).unwrap_or_default();
        let mut latency = match self.latency {
            MockLatency::ByType => Duration::from_millis(self.random.below(TEXT_LATENCY_MS + 1).into()),
            MockLatency::Fixed(latency) => latency,
        };
        let mut failure = None;
        match order(&text) {
            Some(("!fail", _)) => failure = Some(ModelError::Final("The mock model was told to fail".to_owned())),
            Some(("!flaky", Some(times))) if u64::from(prompt.attempt) < times => {
                failure = Some(ModelError::Transient(format!("The mock model fails {times} times")));
            }
            Some(("!slow", Some(ms))) => latency = Duration::from_millis(ms),
            _ => {}
        }
        let pieces: Vec<Result<String, ModelError>> = match failure {
            Some(failure) => vec![Err(failure)],
            None => words(&format!("response for {text}")).map(Ok).collect(),
        };
        stream::once(async move {
            tokio::time::sleep(latency).await;
            // One piece at a time, as a model has them: whoever sends the first gets to it before the second is there.
            stream::iter(pieces).then(async |piece| {
                tokio::task::yield_now().await;
                piece
            })
        })
        .flatten()
        .boxed()
    }
}

/// The test word at the start of a text and its number.
fn order(text: &str) -> Option<(&str, Option<u64>)> {
    let mut parts = text.split_whitespace();
    let word = parts.next().filter(|_| text.starts_with('!'))?;
    Some((word, parts.next().and_then(|number| number.parse().ok())))
}

/// Words, each with the space behind it: together they are the text.
fn words(text: &str) -> impl Iterator<Item = String> {
    text.split_inclusive(char::is_whitespace).map(str::to_owned).collect::<Vec<_>>().into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::Role;
    use crate::model::Turn;

    async fn answer(text: &str, attempt: u32) -> Result<String, ModelError> {
        let mock = Mock::new(MockLatency::Fixed(Duration::ZERO), Arc::new(Random::seeded(1)));
        let prompt = Prompt { turns: vec![Turn { role: Role::User, text: text.to_owned() }], attempt };
        let pieces: Vec<_> = mock.answer(prompt).collect().await;
        pieces.into_iter().collect()
    }

    #[tokio::test]
    async fn it_answers_with_the_text_it_was_given() {
        for text in ["hello", "  two  words\n", "日本語 🙂", "!"] {
            assert_eq!(answer(text, 0).await.expect(text), format!("response for {text}"));
        }
    }

    #[tokio::test]
    async fn it_fails_for_good_when_told_to() {
        assert!(matches!(answer("!fail please", 5).await, Err(ModelError::Final(_))));
    }

    #[tokio::test]
    async fn a_flaky_one_answers_after_its_failures() {
        assert!(matches!(answer("!flaky 2", 1).await, Err(ModelError::Transient(_))));
        assert_eq!(answer("!flaky 2", 2).await.expect("answers"), "response for !flaky 2");
    }
}
