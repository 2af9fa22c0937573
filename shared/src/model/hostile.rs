//! An endpoint that redirects, and one that streams arbitrary bytes in the place of an answer.

use aws_config::SdkConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use futures_util::StreamExt as _;
use futures_util::stream;
use proptest::prelude::*;
use serde_json::json;

use super::openai::pieces;
use super::{Model as _, ModelError, OpenAi, Piece, Prompt, Turn};
use crate::config::{ApiKey, OpenAiConfig};
use crate::messages::Role;
use crate::testing::endpoint::{Endpoint, status};
use crate::testing::{config, servers, words};

const LEADS: [&str; 4] = ["301 Moved Permanently", "303 See Other", "307 Temporary Redirect", "308 Permanent Redirect"];

fn leading_to(elsewhere: &Endpoint, lead: &str) -> Endpoint {
    Endpoint::start(vec![status(lead, &format!("location: {}/secret\r\n", elsewhere.url), "{}")])
}

#[tokio::test]
async fn a_redirect_of_an_endpoint_gets_neither_key_nor_text() {
    let elsewhere = Endpoint::start(vec![status("200 OK", "", "{}")]);
    for lead in LEADS {
        let away = leading_to(&elsewhere, lead);
        let config = OpenAiConfig {
            base_url: away.url.clone(),
            model: "a-model".to_owned(),
            api_key: ApiKey::Value("sk-123".to_owned()),
        };
        let model = OpenAi::new(config, &SdkConfig::builder().build()).await.expect("a model");
        let turns = vec![Turn::text(Role::User, "Hello")];
        let answer: Vec<_> = model.answer(Prompt { turns, attempt: 0 }).collect().await;
        assert!(matches!(&answer[..], [Err(ModelError::Final { .. })]), "{lead}: {answer:?}");
        assert_eq!(away.requests().len(), 1, "{lead}: it is not asked again");
    }
    assert_eq!(elsewhere.requests().len(), 0);
}

#[tokio::test]
async fn a_redirect_of_the_service_that_keeps_the_key_gets_no_credentials() {
    let elsewhere = Endpoint::start(vec![status("200 OK", "", "{\"SecretString\":\"theirs\"}")]);
    for lead in LEADS {
        let away = leading_to(&elsewhere, lead);
        let credentials = Credentials::new("AKID", "secret", Some("session".to_owned()), None, "tests");
        let aws = SdkConfig::builder()
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .endpoint_url(away.url.as_str())
            .build();
        let arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:key-AbCdEf".to_owned();
        let config =
            OpenAiConfig { base_url: away.url.clone(), model: "a-model".to_owned(), api_key: ApiKey::Arn(arn) };
        assert!(OpenAi::new(config, &aws).await.is_err(), "{lead}");
    }
    assert_eq!(elsewhere.requests().len(), 0);
}

/// Reads a stream whose bytes arrive in these portions.
fn read(portions: Vec<Vec<u8>>) -> Vec<Result<Piece, ModelError>> {
    let body = stream::iter(portions.into_iter().map(Ok::<_, std::convert::Infallible>));
    let response = http::Response::new(reqwest::Body::wrap_stream(body));
    servers().block_on(pieces(response.into()).collect())
}

/// A text in portions that may end anywhere, even within a character.
fn portions(text: &str, cuts: &[prop::sample::Index]) -> Vec<Vec<u8>> {
    let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
    cuts.extend([0, text.len()]);
    cuts.sort_unstable();
    cuts.windows(2).map(|ends| text.as_bytes()[ends[0]..ends[1]].to_vec()).collect()
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_stream_ends_and_is_a_whole_answer_or_an_error(
        text in words(&[
            "data: ", "data:", "\n", "\n\n", "\r\n\r\n", ":", "event: x\n", "id: \0\n", "retry: 99999999999999999999\n",
            "[DONE]", "{", "}", "[[[[[[[[[[[[[[", "{\"choices\":null}", "{\"choices\":[]}", "{\"error\":{}}",
            "{\"choices\":[{\"delta\":{\"content\":\"x\"}}]}", "{\"choices\":[{\"finish_reason\":\"stop\"}]}",
            "{\"usage\":{\"prompt_tokens\":-1}}", "\u{feff}",
        ]),
        broken in proptest::collection::vec(any::<u8>(), 0..16),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let mut portions = portions(&text, &cuts);
        portions.push(broken);
        let pieces = read(portions);
        // Nothing comes after an error. A stream that ends without saying so is an error.
        let errors = pieces.iter().filter(|piece| piece.is_err()).count();
        prop_assert!(errors == usize::from(pieces.last().is_some_and(Result::is_err)), "{:?}", pieces);
        prop_assert!(errors == 1 || text.contains("[DONE]") || text.contains("finish_reason"), "{:?}", pieces);
    }

    #[test]
    fn an_answer_is_the_same_however_the_network_splits_it(
        texts in proptest::collection::vec(any::<String>(), 0..8),
        mark in proptest::sample::select(vec!["", "\u{feff}", "\u{feff}\u{feff}"]),
        line_end in proptest::sample::select(vec!["\n", "\r\n"]),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let events = texts
            .iter()
            .map(|text| json!({ "choices": [{ "delta": { "content": text } }] }))
            .map(|event| format!(": comment{line_end}data: {event}{line_end}{line_end}"));
        let mut stream: String = [mark.to_owned()].into_iter().chain(events).collect();
        stream.push_str("data: [DONE]\n\n");
        let mut heard = String::new();
        for piece in read(portions(&stream, &cuts)) {
            match piece {
                Ok(Piece::Text(text)) => heard.push_str(&text),
                other => prop_assert!(false, "{:?}", other),
            }
        }
        prop_assert_eq!(heard, texts.concat());
    }
}
