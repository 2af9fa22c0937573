//! Settings: one struct per concern, read once in `main` through a lookup. A missing or senseless value fails at init,
//! and the error names the variable. Nothing falls back to a mock by accident. The values come from
//! `infra/template.yaml`.

use std::str::FromStr;
use std::time::Duration;

use crate::Error;

/// Looks a setting up by its name.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The process environment.
#[allow(clippy::disallowed_methods, reason = "the one place where the environment is read")]
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn required(lookup: Lookup<'_>, name: &'static str) -> Result<String, Error> {
    lookup(name).filter(|value| !value.is_empty()).ok_or(Error::ConfigMissing { name })
}

fn url(lookup: Lookup<'_>, name: &'static str) -> Result<String, Error> {
    let value = required(lookup, name)?;
    if value.starts_with("https://") || value.starts_with("http://") {
        return Ok(value.trim_end_matches('/').to_owned());
    }
    Err(Error::ConfigInvalid { name, value, expected: "a URL that starts with https:// or http://" })
}

fn number<T: FromStr + PartialOrd + From<u8>>(lookup: Lookup<'_>, name: &'static str) -> Result<T, Error> {
    let value = required(lookup, name)?;
    match value.parse::<T>() {
        Ok(number) if number >= T::from(1) => Ok(number),
        _ => Err(Error::ConfigInvalid { name, value, expected: "a whole number of at least 1" }),
    }
}

#[derive(Debug, Clone)]
pub struct LeaseConfig {
    pub table: String,
    pub max_clients: u32,
    pub lease: Duration,
    pub first_message: Duration,
}

impl LeaseConfig {
    pub fn read(lookup: Lookup<'_>) -> Result<Self, Error> {
        Ok(Self {
            table: required(lookup, "CONNECTIONS_TABLE")?,
            max_clients: number(lookup, "MAX_CLIENTS")?,
            lease: Duration::from_secs(number(lookup, "LEASE_SECONDS")?),
            first_message: Duration::from_secs(number(lookup, "FIRST_MESSAGE_SECONDS")?),
        })
    }
}

#[derive(Debug, Clone)]
pub struct ChatConfig {
    pub table: String,
}

impl ChatConfig {
    pub fn read(lookup: Lookup<'_>) -> Result<Self, Error> {
        Ok(Self { table: required(lookup, "CHAT_TABLE")? })
    }
}

#[derive(Debug, Clone, Copy)]
pub struct AdmissionConfig {
    pub max_pending_per_client: usize,
    pub max_text_bytes: usize,
}

impl AdmissionConfig {
    pub fn read(lookup: Lookup<'_>) -> Result<Self, Error> {
        Ok(Self {
            max_pending_per_client: number::<u64>(lookup, "MAX_PENDING_PER_CLIENT")? as usize,
            max_text_bytes: number::<u64>(lookup, "MAX_TEXT_BYTES")? as usize,
        })
    }
}

#[derive(Debug, Clone)]
pub struct QueueConfig {
    pub url: String,
}

impl QueueConfig {
    pub fn read(lookup: Lookup<'_>) -> Result<Self, Error> {
        Ok(Self { url: required(lookup, "QUEUE_URL")? })
    }
}

/// The address of the WebSocket API's connections. The SDK reads it by itself, and has no address without it. So it is
/// looked up at init, where its absence is one clear error and not a failure of each post.
pub fn check_push(lookup: Lookup<'_>) -> Result<(), Error> {
    url(lookup, "AWS_ENDPOINT_URL_APIGATEWAYMANAGEMENTAPI").map(drop)
}

#[derive(Debug, Clone)]
pub struct MetricsConfig {
    /// The name of the stack, which tells its metrics from those of other stacks.
    pub stack: String,
}

impl MetricsConfig {
    pub fn read(lookup: Lookup<'_>) -> Result<Self, Error> {
        Ok(Self { stack: required(lookup, "STACK_NAME")? })
    }
}

#[derive(Debug, Clone)]
pub struct MediaConfig {
    pub bucket: String,
    /// The storage's address as browsers see it. Addresses are signed for it.
    pub public_endpoint: String,
    pub max_bytes: u64,
    pub presign: Duration,
}

impl MediaConfig {
    pub fn read(lookup: Lookup<'_>) -> Result<Self, Error> {
        Ok(Self {
            bucket: required(lookup, "MEDIA_BUCKET")?,
            public_endpoint: url(lookup, "MEDIA_ENDPOINT_URL")?,
            max_bytes: number(lookup, "MAX_MEDIA_BYTES")?,
            presign: Duration::from_secs(number(lookup, "PRESIGN_SECONDS")?),
        })
    }
}

#[derive(Debug, Clone)]
pub struct AuthConfig {
    pub issuer: String,
    pub audience: String,
}

impl AuthConfig {
    pub fn read(lookup: Lookup<'_>) -> Result<Self, Error> {
        Ok(Self { issuer: required(lookup, "OIDC_ISSUER")?, audience: required(lookup, "OIDC_AUDIENCE")? })
    }
}

/// The model that answers, and how much of a conversation it gets.
#[derive(Debug, Clone)]
pub struct ModelConfig {
    pub provider: Provider,
    pub context: ContextConfig,
}

/// About how much of a conversation the model gets at most.
#[derive(Debug, Clone, Copy, Default)]
pub struct ContextConfig {
    /// As an estimate.
    pub tokens: usize,
    /// Messages and answers.
    pub messages: usize,
}

#[derive(Debug, Clone)]
pub enum Provider {
    Mock {
        latency: MockLatency,
    },
    OpenAi(OpenAiConfig),
    /// The id of the model or of an inference profile.
    Bedrock {
        model: String,
    },
}

/// An OpenAI-compatible endpoint.
#[derive(Debug, Clone)]
pub struct OpenAiConfig {
    /// The URL with its version, for example `https://api.openai.com/v1`.
    pub base_url: String,
    pub model: String,
    pub api_key: ApiKey,
}

/// Where to find the key of a model's endpoint.
#[derive(Clone)]
pub enum ApiKey {
    /// A secret of Secrets Manager or a parameter of SSM.
    Arn(String),
    Value(String),
    /// An endpoint of one's own may need no key.
    None,
}

impl std::fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Arn(arn) => write!(f, "Arn({arn})"),
            Self::Value(_) => f.write_str("Value(…)"),
            Self::None => f.write_str("None"),
        }
    }
}

impl ApiKey {
    fn read(lookup: Lookup<'_>) -> Self {
        let given = |name| lookup(name).filter(|value| !value.is_empty());
        match (given("LLM_API_KEY"), given("LLM_API_KEY_SECRET_ARN")) {
            (Some(value), _) => Self::Value(value),
            (None, Some(arn)) => Self::Arn(arn),
            (None, None) => Self::None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MockLatency {
    /// A random time, uniform within a range that depends on the type of the message.
    ByType,
    Fixed(Duration),
}

impl ModelConfig {
    pub fn read(lookup: Lookup<'_>) -> Result<Self, Error> {
        let name = required(lookup, "LLM_PROVIDER")?;
        let provider = match name.as_str() {
            "mock" => Provider::Mock { latency: MockLatency::read(lookup)? },
            "openai" => Provider::OpenAi(OpenAiConfig {
                base_url: url(lookup, "LLM_BASE_URL")?,
                model: required(lookup, "LLM_MODEL")?,
                api_key: ApiKey::read(lookup),
            }),
            "bedrock" => Provider::Bedrock { model: required(lookup, "LLM_MODEL")? },
            _ => {
                let expected = "mock, openai or bedrock";
                return Err(Error::ConfigInvalid { name: "LLM_PROVIDER", value: name, expected });
            }
        };
        let limit = |name| number::<u32>(lookup, name).map(|limit| limit as usize);
        let mut context =
            ContextConfig { tokens: limit("LLM_CONTEXT_TOKENS")?, messages: limit("LLM_CONTEXT_MESSAGES")? };
        if matches!(provider, Provider::Mock { .. }) {
            // It looks at nothing but the message itself, so nothing else is read for it.
            context.messages = 1;
        }
        Ok(Self { provider, context })
    }
}

impl MockLatency {
    fn read(lookup: Lookup<'_>) -> Result<Self, Error> {
        let value = required(lookup, "MOCK_LATENCY_MS")?;
        match value.as_str() {
            "default" => Ok(Self::ByType),
            text => match text.parse() {
                Ok(ms) => Ok(Self::Fixed(Duration::from_millis(ms))),
                Err(_) => {
                    let expected = "`default` or a whole number of milliseconds";
                    Err(Error::ConfigInvalid { name: "MOCK_LATENCY_MS", value, expected })
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_setting_is_named() {
        let error = LeaseConfig::read(&|_| None).expect_err("nothing is set");
        assert!(error.to_string().contains("CONNECTIONS_TABLE"), "{error}");
    }

    #[test]
    fn a_senseless_number_is_refused_with_its_name() {
        for bad in ["0", "-1", "ten", "1.5"] {
            let lookup = |name: &str| Some(if name == "MAX_CLIENTS" { bad } else { "60" }.to_owned());
            let error = LeaseConfig::read(&lookup).expect_err(bad).to_string();
            assert!(error.contains("MAX_CLIENTS") && error.contains(bad), "{error}");
        }
    }

    #[test]
    fn each_provider_needs_its_variables_and_the_error_names_the_one_that_is_missing() {
        let shared = ["LLM_PROVIDER", "LLM_CONTEXT_TOKENS", "LLM_CONTEXT_MESSAGES"];
        let own: [(&str, &[&str]); 3] =
            [("mock", &["MOCK_LATENCY_MS"]), ("openai", &["LLM_BASE_URL", "LLM_MODEL"]), ("bedrock", &["LLM_MODEL"])];
        for (provider, own) in own {
            let needed = [&shared[..], own].concat();
            let with = |left_out: &'static str| {
                let needed = needed.clone();
                move |name: &str| {
                    let value = match name {
                        "LLM_PROVIDER" => provider,
                        "LLM_BASE_URL" => "https://models.example",
                        _ => "7",
                    };
                    (name != left_out && needed.contains(&name)).then(|| value.to_owned())
                }
            };
            ModelConfig::read(&with("")).unwrap_or_else(|error| panic!("{provider} needs no more: {error}"));
            for name in needed.clone() {
                let error = ModelConfig::read(&with(name)).expect_err(name);
                assert!(
                    matches!(error, Error::ConfigMissing { name: missing } if missing == name),
                    "{provider}: {error}"
                );
            }
        }
    }

    #[test]
    fn no_provider_is_not_the_mock() {
        let error = ModelConfig::read(&|_| None).expect_err("nothing is set");
        assert!(matches!(error, Error::ConfigMissing { name: "LLM_PROVIDER" }));
    }
}
