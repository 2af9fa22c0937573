//! The mock model, as the contract describes it. It says `response for …` after its latency, word by word. To audio it
//! adds a tone, to images and video a tone and a picture. A text that starts with `!fail` fails for good. `!flaky N`
//! fails N times and is then answered. `!slow MS` is answered after that many milliseconds.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, BoxStream, StreamExt};

use super::{Model, ModelError, Piece, Prompt, told};
use crate::config::MockLatency;
use crate::ids::Random;
use crate::media::{Kind, Sample};

/// The width in milliseconds of the range from which latencies are drawn.
const SPREAD_MS: u32 = 1000;

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
    fn name(&self) -> &'static str {
        "mock"
    }

    fn answer(&self, prompt: Prompt) -> BoxStream<'static, Result<Piece, ModelError>> {
        let last = prompt.turns.last();
        let text = last.map(|turn| turn.text.clone()).unwrap_or_default();
        let kind = last.and_then(|turn| turn.media.as_ref()).map(|media| media.kind);
        let (at_least_ms, samples) = match kind {
            None => (0, vec![]),
            Some(Kind::Audio) => (SPREAD_MS, vec![Sample::tone()]),
            Some(Kind::Image | Kind::Video) => (2 * SPREAD_MS, vec![Sample::tone(), Sample::picture()]),
        };
        let mut latency = match self.latency {
            MockLatency::ByType => Duration::from_millis((at_least_ms + self.random.below(SPREAD_MS + 1)).into()),
            MockLatency::Fixed(latency) => latency,
        };
        let mut failure = None;
        match order(&text) {
            Some(("!fail", _)) => {
                failure =
                    Some(ModelError::Final { told: told::FAILED_AS_TOLD, reason: told::FAILED_AS_TOLD.to_owned() })
            }
            Some(("!flaky", Some(times))) if u64::from(prompt.attempt) < times => {
                failure = Some(ModelError::transient(format!("The mock model fails {times} times")));
            }
            Some(("!slow", Some(ms))) => latency = Duration::from_millis(ms),
            _ => {}
        }
        let pieces: Vec<Result<Piece, ModelError>> = match failure {
            Some(failure) => vec![Err(failure)],
            None => {
                let text = format!("response for {text}");
                let words = words(&text).map(Piece::Text);
                words.chain(samples.into_iter().map(Piece::Media)).map(Ok).collect()
            }
        };
        stream::once(async move {
            tokio::time::sleep(latency).await;
            // One piece at a time, as a real model has them: the worker can send the first before the second exists.
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

/// The words, each with the space behind it. Together they are the text.
fn words(text: &str) -> impl Iterator<Item = String> {
    text.split_inclusive(char::is_whitespace).map(str::to_owned).collect::<Vec<_>>().into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::Role;
    use crate::model::{Shown, Turn};

    async fn pieces(text: &str, kind: Option<Kind>, attempt: u32) -> Result<Vec<Piece>, ModelError> {
        let mock = Mock::new(MockLatency::Fixed(Duration::ZERO), Arc::new(Random::seeded(1)));
        let media = kind.map(|kind| Shown { kind, url: String::new() });
        let prompt = Prompt { turns: vec![Turn { role: Role::User, text: text.to_owned(), media }], attempt };
        mock.answer(prompt).collect::<Vec<_>>().await.into_iter().collect()
    }

    async fn answer(text: &str, attempt: u32) -> Result<String, ModelError> {
        let said = |piece| if let Piece::Text(text) = piece { text } else { panic!("{piece:?}") };
        Ok(pieces(text, None, attempt).await?.into_iter().map(said).collect())
    }

    #[tokio::test]
    async fn it_answers_media_with_media() {
        for (kind, expected) in [
            (None, vec![]),
            (Some(Kind::Audio), vec![Sample::tone()]),
            (Some(Kind::Image), vec![Sample::tone(), Sample::picture()]),
            (Some(Kind::Video), vec![Sample::tone(), Sample::picture()]),
        ] {
            let pieces = pieces("look", kind, 0).await.expect("an answer");
            let media =
                pieces.into_iter().filter_map(|piece| if let Piece::Media(media) = piece { Some(media) } else { None });
            assert_eq!(media.collect::<Vec<_>>(), expected, "{kind:?}");
        }
    }

    #[tokio::test]
    async fn it_answers_with_the_text_it_was_given() {
        for text in ["hello", "  two  words\n", "日本語 🙂", "!"] {
            assert_eq!(answer(text, 0).await.expect(text), format!("response for {text}"));
        }
    }

    #[tokio::test]
    async fn it_fails_for_good_when_told_to() {
        assert!(matches!(answer("!fail please", 5).await, Err(ModelError::Final { .. })));
    }

    #[tokio::test]
    async fn a_flaky_one_answers_after_its_failures() {
        assert!(matches!(answer("!flaky 2", 1).await, Err(ModelError::Transient { .. })));
        assert_eq!(answer("!flaky 2", 2).await.expect("answers"), "response for !flaky 2");
    }
}
