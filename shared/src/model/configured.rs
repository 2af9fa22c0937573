//! The model that the settings name, made when it is first asked.
//!
//! A worker that does not start can't tell its users why. So it starts whatever its model's settings are, and users who
//! ask the model are told that it is not set up. The log says what is wrong. Each message tries again to make the
//! model, because a key that is missing now may be there a minute later. Once the model is made, it is kept.

use std::fmt;
use std::sync::Arc;

use aws_config::SdkConfig;
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use tokio::sync::OnceCell;

use super::{Model, ModelError, Piece, Prompt, from_config, told};
use crate::config::{ModelConfig, Provider};
use crate::errors::Class;
use crate::ids::Random;
use crate::{Error, Result};

#[derive(Clone)]
pub struct Configured(Arc<Inside>);

struct Inside {
    config: Result<ModelConfig>,
    aws: SdkConfig,
    random: Arc<Random>,
    made: OnceCell<Arc<dyn Model>>,
}

impl Configured {
    pub fn new(config: Result<ModelConfig>, aws: &SdkConfig, random: Arc<Random>) -> Self {
        Self(Arc::new(Inside { config, aws: aws.clone(), random, made: OnceCell::new() }))
    }

    async fn model(&self) -> Result<&Arc<dyn Model>, ModelError> {
        let Inside { config, aws, random, made } = &*self.0;
        let config = config.as_ref().map_err(|error| failed(error.clone()))?;
        made.get_or_try_init(|| from_config(config.clone(), aws, Arc::clone(random))).await.map_err(failed)
    }
}

fn failed(error: Error) -> ModelError {
    match error.class() {
        Class::Bug => ModelError::Final { told: told::NOT_SET_UP, reason: error.to_string() },
        Class::Retry | Class::Rejected => ModelError::transient(error.to_string()),
    }
}

impl Model for Configured {
    fn name(&self) -> &'static str {
        match self.0.config.as_ref().map(|config| &config.provider) {
            Ok(Provider::Mock { .. }) => "mock",
            Ok(Provider::OpenAi(_)) => "openai",
            Ok(Provider::Bedrock { .. }) => "bedrock",
            Err(_) => "none",
        }
    }

    fn answer(&self, prompt: Prompt) -> BoxStream<'static, Result<Piece, ModelError>> {
        let configured = self.clone();
        let started = async move {
            match configured.model().await {
                Ok(model) => model.answer(prompt),
                Err(error) => stream::once(async { Err(error) }).boxed(),
            }
        };
        stream::once(started).flatten().boxed()
    }
}

impl fmt::Debug for Configured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Configured").field(&self.0.config).finish()
    }
}

#[cfg(test)]
mod tests {
    use aws_credential_types::Credentials;
    use aws_credential_types::provider::SharedCredentialsProvider;

    use super::*;
    use crate::messages::Role;
    use crate::model::Turn;
    use crate::testing::endpoint::{Endpoint, says, status};

    fn config(settings: &[(&str, &str)]) -> Result<ModelConfig> {
        let lookup = |name: &str| settings.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        ModelConfig::read(&lookup)
    }

    async fn ask(model: &Configured) -> Result<Vec<Piece>, ModelError> {
        let prompt = Prompt { turns: vec![Turn::text(Role::User, "hello")], attempt: 0 };
        model.answer(prompt).collect::<Vec<_>>().await.into_iter().collect()
    }

    #[tokio::test]
    async fn a_model_with_wrong_settings_says_so_when_it_is_asked_and_the_reason_for_the_log_names_the_setting() {
        let openai = [
            ("LLM_PROVIDER", "openai"),
            ("LLM_CONTEXT_TOKENS", "1"),
            ("LLM_CONTEXT_MESSAGES", "1"),
            ("LLM_MODEL", "m"),
        ];
        let with = |name, value| openai.iter().copied().chain([(name, value)]).collect::<Vec<_>>();
        for (settings, wrong) in [
            (vec![], "LLM_PROVIDER is not set"),
            (vec![("LLM_PROVIDER", "bedrock")], "LLM_MODEL is not set"),
            (with("LLM_BASE_URL", "localhost"), "LLM_BASE_URL is \"localhost\" and must be a URL"),
            (
                [with("LLM_BASE_URL", "http://localhost"), vec![("LLM_API_KEY_SECRET_ARN", "nonsense")]].concat(),
                "LLM_API_KEY_SECRET_ARN is \"nonsense\" and must be the ARN",
            ),
        ] {
            let model = Configured::new(config(&settings), &SdkConfig::builder().build(), Arc::new(Random::seeded(1)));
            match ask(&model).await {
                Err(ModelError::Final { told: told::NOT_SET_UP, reason }) => {
                    assert!(reason.starts_with(wrong), "{reason}");
                }
                other => panic!("{settings:?}: {other:?}"),
            }
        }
    }

    #[tokio::test]
    async fn a_key_that_can_not_be_read_for_now_is_asked_for_again_and_then_kept() {
        let secret = status("200 OK", "content-type: application/x-amz-json-1.1\r\n", "{\"SecretString\":\"k\"}");
        let secrets = Endpoint::start(vec![status("503 Service Unavailable", "", "{}"), secret]);
        let endpoint = Endpoint::start(vec![says(&["one"]), says(&["two"])]);
        let settings = [
            ("LLM_PROVIDER", "openai"),
            ("LLM_CONTEXT_TOKENS", "1"),
            ("LLM_CONTEXT_MESSAGES", "1"),
            ("LLM_MODEL", "m"),
            ("LLM_BASE_URL", &endpoint.url),
            ("LLM_API_KEY_SECRET_ARN", "arn:aws:secretsmanager:eu-west-1:1:secret:k"),
        ];
        let credentials = Credentials::new("AKID", "secret", None, None, "tests");
        let aws = SdkConfig::builder()
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .endpoint_url(&secrets.url)
            .build();
        let model = Configured::new(config(&settings), &aws, Arc::new(Random::seeded(1)));
        assert!(matches!(ask(&model).await, Err(ModelError::Transient { .. })));
        for text in ["one", "two"] {
            assert_eq!(ask(&model).await.expect("an answer")[0], Piece::Text(text.to_owned()));
        }
        assert_eq!(secrets.requests().len(), 2);
    }
}
