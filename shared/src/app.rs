//! The one place where a function is put together. A function's `main` takes the parts that it needs from an [`App`].
//! Tests take theirs from an `App` with another environment, clock and randomness.
//!
//! The first request for a part builds it, and the `App` keeps it, so all parts share clients, clock and randomness.
//! Building a part reads the settings of that part and of the parts below it, and no others. So a function needs no
//! variable that it does not use. A function builds its parts at init, and the error names a variable that is missing.
//!
//! Every call of a service has a time limit of its own (`Timeouts`), well below the function's timeout. A call that
//! hangs is tried again or fails, and the invocation still has the time to say so. A call that was given up may have
//! done its work. Each write is already made for that case, because an answer can also be lost on its way. The streams
//! of models have time limits of their own ([`crate::model`]).

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_apigatewaymanagement::config::retry::RetryConfig;
use aws_sdk_apigatewaymanagement::config::timeout::TimeoutConfig;

use crate::Result;
use crate::answer::{Answerer, DeadLetters, Finisher, Pulse, Rescuer};
use crate::auth::Verifier;
use crate::clock::{Clock, SystemClock};
use crate::config::{
    AdmissionConfig, AuthConfig, ChatConfig, LeaseConfig, MediaConfig, MetricsConfig, ModelConfig, QueueConfig,
    check_push,
};
use crate::conversations::Conversations;
use crate::ids::Random;
use crate::janitor::{BEGINS_WITHIN, Janitor};
use crate::leases::Leases;
use crate::media::Media;
use crate::messages::Messages;
use crate::metrics::Metrics;
use crate::model::Configured;
use crate::push::{ManagementApi, Push};
use crate::queue::Queue;
use crate::users::Users;

/// How long one kind of call may take: one attempt, and all attempts together with their pauses.
#[derive(Debug, Clone, Copy)]
struct Patience {
    attempt: Duration,
    operation: Duration,
}

impl Patience {
    const fn of(attempt: u64, operation: u64) -> Self {
        Self { attempt: Duration::from_secs(attempt), operation: Duration::from_secs(operation) }
    }

    /// The settings of clients whose calls keep these limits.
    fn within(self, aws: &SdkConfig) -> SdkConfig {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .operation_attempt_timeout(self.attempt)
            .operation_timeout(self.operation)
            .build();
        aws.to_builder().timeout_config(timeouts).build()
    }
}

/// How long calls may take, by kind. All are shorter than 29 s, the shortest timeout of a function that makes such
/// calls.
#[derive(Debug, Clone, Copy)]
struct Timeouts {
    /// A call takes milliseconds as a rule. It takes seconds when 500 workers start at once on one small machine.
    /// Giving up early would then make more work and not less.
    table: Patience,
    /// This is less than a worker's hold of 12 s, so a worker learns in time that it could not renew its hold.
    queue: Patience,
    /// The longest of these calls copies an upload within the storage.
    storage: Patience,
    push: Patience,
    /// For a post that is tried once. The limit is generous, because a frame is sent twice if it arrives after this
    /// function has given up waiting.
    push_once: Patience,
}

const TIMEOUTS: Timeouts = Timeouts {
    table: Patience::of(8, 18),
    queue: Patience::of(5, 10),
    storage: Patience::of(15, 20),
    push: Patience::of(4, 10),
    push_once: Patience::of(10, 10),
};

/// This is the same for all clients, so that they share one connector ([`crate::http`]).
const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);

/// Looks settings up, for as long as the function runs.
type Environment = dyn Fn(&str) -> Option<String> + Send + Sync;

pub struct App {
    aws: SdkConfig,
    lookup: Box<Environment>,
    clock: Arc<dyn Clock>,
    random: Arc<Random>,
    timeouts: Timeouts,
    db: OnceLock<aws_sdk_dynamodb::Client>,
    leases: OnceLock<Leases>,
    media: OnceLock<Media>,
    messages: OnceLock<Messages>,
    conversations: OnceLock<Conversations>,
    users: OnceLock<Users>,
    queue: OnceLock<Queue>,
    push: OnceLock<Arc<dyn Push>>,
    push_once: OnceLock<Arc<dyn Push>>,
}

impl App {
    /// Uses the machine's clock and randomness.
    pub fn new(aws: SdkConfig, lookup: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        Self::with(aws, lookup, Arc::new(SystemClock), Arc::new(Random::from_system()))
    }

    pub(crate) fn with(
        aws: SdkConfig,
        lookup: impl Fn(&str) -> Option<String> + Send + Sync + 'static,
        clock: Arc<dyn Clock>,
        random: Arc<Random>,
    ) -> Self {
        Self {
            aws,
            lookup: Box::new(lookup),
            clock,
            random,
            timeouts: TIMEOUTS,
            db: OnceLock::new(),
            leases: OnceLock::new(),
            media: OnceLock::new(),
            messages: OnceLock::new(),
            conversations: OnceLock::new(),
            users: OnceLock::new(),
            queue: OnceLock::new(),
            push: OnceLock::new(),
            push_once: OnceLock::new(),
        }
    }

    /// Sends frames here instead.
    #[cfg(test)]
    pub(crate) fn pushing_to(mut self, push: &Arc<impl Push + 'static>) -> Self {
        self.push = OnceLock::from(Arc::clone(push) as Arc<dyn Push>);
        self.push_once = self.push.clone();
        self
    }

    /// Stores media in the bucket at this endpoint.
    #[cfg(test)]
    pub(crate) fn storing_at(mut self, aws: SdkConfig) -> Self {
        let config = MediaConfig::read(&self.lookup).expect("the bucket's settings");
        let media = Media::new(&aws, &self.lookup, config, self.clock(), self.random()).expect("media");
        self.media = OnceLock::from(media);
        self
    }

    pub fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock)
    }

    pub fn leases(&self) -> Result<Leases> {
        part(&self.leases, || Ok(Leases::new(self.db(), LeaseConfig::read(&self.lookup)?, self.clock(), self.random())))
    }

    pub fn media(&self) -> Result<Media> {
        part(&self.media, || {
            let config = MediaConfig::read(&self.lookup)?;
            Media::new(&self.timeouts.storage.within(&self.aws), &self.lookup, config, self.clock(), self.random())
        })
    }

    pub fn messages(&self) -> Result<Messages> {
        part(&self.messages, || {
            let chat = ChatConfig::read(&self.lookup)?;
            Ok(Messages::new(self.db(), chat, self.leases()?, self.media()?, self.clock(), self.random()))
        })
    }

    pub fn conversations(&self) -> Result<Conversations> {
        part(&self.conversations, || {
            let chat = ChatConfig::read(&self.lookup)?;
            Ok(Conversations::new(self.db(), chat, self.messages()?, self.media()?, self.clock(), self.random()))
        })
    }

    pub fn users(&self) -> Result<Users> {
        part(&self.users, || Ok(Users::new(self.db(), ChatConfig::read(&self.lookup)?, self.clock(), self.random())))
    }

    pub fn queue(&self) -> Result<Queue> {
        part(&self.queue, || {
            let sqs = aws_sdk_sqs::Client::new(&self.timeouts.queue.within(&self.aws));
            Ok(Queue::new(sqs, QueueConfig::read(&self.lookup)?))
        })
    }

    /// The limits of what clients may send.
    pub fn limits(&self) -> Result<AdmissionConfig> {
        AdmissionConfig::read(&self.lookup)
    }

    pub fn verifier(&self) -> Result<Verifier> {
        Verifier::new(AuthConfig::read(&self.lookup)?, self.clock())
    }

    /// A push with the SDK's retries, for frames that nothing else would send again.
    pub fn push(&self) -> Result<Arc<dyn Push>> {
        part(&self.push, || {
            check_push(&self.lookup)?;
            let aws = self.timeouts.push.within(&self.aws);
            Ok(Arc::new(ManagementApi(aws_sdk_apigatewaymanagement::Client::new(&aws))) as Arc<dyn Push>)
        })
    }

    /// A push that tries each post once. The caller decides what to do about a client that is slow or gone.
    pub fn push_once(&self) -> Result<Arc<dyn Push>> {
        part(&self.push_once, || {
            check_push(&self.lookup)?;
            let config =
                aws_sdk_apigatewaymanagement::config::Builder::from(&self.timeouts.push_once.within(&self.aws))
                    .retry_config(RetryConfig::disabled())
                    .build();
            Ok(Arc::new(ManagementApi(aws_sdk_apigatewaymanagement::Client::from_conf(config))) as Arc<dyn Push>)
        })
    }

    pub fn finisher(&self) -> Result<Finisher> {
        Ok(Finisher::new(self.messages()?, self.media()?, self.leases()?, self.push_once()?))
    }

    /// This succeeds whatever the settings of the model are. If they are wrong, users are told so.
    pub fn answerer(&self) -> Result<Answerer> {
        let config = ModelConfig::read(&self.lookup);
        Ok(Answerer {
            finisher: self.finisher()?,
            messages: self.messages()?,
            media: self.media()?,
            leases: self.leases()?,
            queue: self.queue()?,
            push: self.push_once()?,
            clock: self.clock(),
            random: self.random(),
            pulse: Pulse::default(),
            metrics: self.metrics()?,
            // With wrong settings there is no model, and it needs no context.
            context: config.as_ref().map(|config| config.context).unwrap_or_default(),
            model: Arc::new(Configured::new(config, &self.aws, self.random())),
        })
    }

    pub fn rescuer(&self) -> Result<Rescuer> {
        Ok(Rescuer { messages: self.messages()?, queue: self.queue()?, clock: self.clock() })
    }

    pub fn dead_letters(&self) -> Result<DeadLetters> {
        Ok(DeadLetters { finisher: self.finisher()?, messages: self.messages()? })
    }

    pub fn janitor(&self) -> Result<Janitor> {
        Ok(Janitor {
            finisher: self.finisher()?,
            leases: self.leases()?,
            messages: self.messages()?,
            conversations: self.conversations()?,
            queue: self.queue()?,
            push: self.push_once()?,
            metrics: self.metrics()?,
            clock: self.clock(),
            random: self.random(),
            begins_within: BEGINS_WITHIN,
        })
    }

    fn metrics(&self) -> Result<Metrics> {
        Ok(Metrics::new(MetricsConfig::read(&self.lookup)?))
    }

    fn db(&self) -> aws_sdk_dynamodb::Client {
        self.db.get_or_init(|| aws_sdk_dynamodb::Client::new(&self.timeouts.table.within(&self.aws))).clone()
    }

    fn random(&self) -> Arc<Random> {
        Arc::clone(&self.random)
    }
}

/// Gives a part, and builds it the first time.
fn part<T: Clone>(kept: &OnceLock<T>, build: impl FnOnce() -> Result<T>) -> Result<T> {
    match kept.get() {
        Some(part) => Ok(part.clone()),
        None => build().map(|part| kept.get_or_init(|| part).clone()),
    }
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use aws_credential_types::Credentials;
    use aws_credential_types::provider::SharedCredentialsProvider;

    use super::*;
    use crate::Error;
    use crate::ids::MediaKey;
    use crate::testing::endpoint::{Endpoint, Step};
    use crate::testing::{connection, user};

    const LEASES: [(&str, &str); 4] = [
        ("CONNECTIONS_TABLE", "connections"),
        ("MAX_CLIENTS", "5"),
        ("LEASE_SECONDS", "60"),
        ("FIRST_MESSAGE_SECONDS", "10"),
    ];
    const MESSAGES: [(&str, &str); 5] = [
        ("CHAT_TABLE", "chat"),
        ("MEDIA_BUCKET", "media"),
        ("MEDIA_ENDPOINT_URL", "https://media.example.org"),
        ("MAX_MEDIA_BYTES", "1024"),
        ("PRESIGN_SECONDS", "60"),
    ];

    const PUSH: (&str, &str) = ("AWS_ENDPOINT_URL_APIGATEWAYMANAGEMENTAPI", "http://127.0.0.1/ws");

    fn app(settings: &[(&'static str, &'static str)]) -> App {
        let settings: BTreeMap<_, _> = settings.iter().copied().collect();
        let aws = SdkConfig::builder()
            .behavior_version(aws_config::BehaviorVersion::latest())
            .region(aws_config::Region::from_static("us-east-1"))
            .build();
        App::new(aws, move |name| settings.get(name).map(|value| (*value).to_owned()))
    }

    fn missing<T: fmt::Debug>(part: Result<T>) -> &'static str {
        match part {
            Err(Error::ConfigMissing { name }) => name,
            other => panic!("nothing is missing: {other:?}"),
        }
    }

    #[test]
    fn a_part_needs_its_own_settings_and_no_others() {
        let app = app(&LEASES);
        app.leases().expect("it has all of them");
        assert_eq!(missing(app.media()), "MEDIA_BUCKET");
        assert_eq!(missing(app.messages()), "CHAT_TABLE");
        assert_eq!(missing(app.queue()), "QUEUE_URL");
        assert_eq!(missing(app.limits()), "MAX_PENDING_PER_CLIENT");
        assert_eq!(missing(app.verifier()), "OIDC_ISSUER");
    }

    #[test]
    fn a_worker_starts_without_a_model_so_that_it_can_say_so() {
        let queue = [("QUEUE_URL", "http://127.0.0.1/queue.fifo"), ("STACK_NAME", "tests"), PUSH];
        app(&[&LEASES[..], &MESSAGES, &queue].concat()).answerer().expect("an answerer");
    }

    #[test]
    fn the_part_that_ends_messages_needs_neither_a_queue_nor_a_model() {
        assert_eq!(missing(app(&[&LEASES[..], &MESSAGES].concat()).finisher()), PUSH.0);
        let app = app(&[&LEASES[..], &MESSAGES, &[PUSH]].concat());
        app.finisher().expect("it has all of them");
        app.dead_letters().expect("it has all of them");
        assert_eq!(missing(app.janitor()), "QUEUE_URL");
        assert_eq!(missing(app.answerer()), "QUEUE_URL");
    }

    #[tokio::test]
    async fn a_service_that_never_answers_does_not_cost_the_whole_invocation() {
        let endpoint = Endpoint::start(vec![vec![Step::Hang]]);
        let aws = SdkConfig::builder()
            .behavior_version(aws_config::BehaviorVersion::latest())
            .region(aws_config::Region::from_static("us-east-1"))
            .credentials_provider(SharedCredentialsProvider::new(Credentials::new(
                "AKID", "secret", None, None, "tests",
            )))
            .endpoint_url(&endpoint.url)
            .retry_config(RetryConfig::standard().with_max_attempts(2).with_initial_backoff(Duration::from_millis(1)))
            .sleep_impl(aws_smithy_async::rt::sleep::default_async_sleep().expect("the runtime's"))
            .build();
        let addresses = [("QUEUE_URL", "http://127.0.0.1/queue.fifo"), ("AWS_ENDPOINT_URL", "http://127.0.0.1"), PUSH];
        let settings: BTreeMap<_, _> = LEASES.into_iter().chain(MESSAGES).chain(addresses).collect();
        let mut app = App::new(aws, move |name| settings.get(name).map(|value| (*value).to_owned()));
        let soon = Patience { attempt: Duration::from_millis(300), operation: Duration::from_secs(2) };
        app.timeouts = Timeouts { table: soon, queue: soon, storage: soon, push: soon, push_once: soon };

        let (somebody, socket) = (user("u"), connection("c"));
        let key = MediaKey::parse("6f9619ff-8b86-4011-b42d-00c04fc964ff.png").expect("a key");
        let (leases, media) = (app.leases().expect("a part"), app.media().expect("a part"));
        let (queue, push, push_once) = (app.queue().expect("a part"), app.push(), app.push_once());
        let (push, push_once) = (push.expect("a part"), push_once.expect("a part"));
        let failures = tokio::join!(
            async { leases.find(&somebody).await.err().map(|error| error.to_string()) },
            async { media.find_link(&somebody, &key).await.err().map(|error| error.to_string()) },
            async { queue.hold("receipt", Duration::ZERO).await.err().map(|error| error.to_string()) },
            async { push.post(&socket, "{}".to_owned()).await.err().map(|error| error.to_string()) },
            async { push_once.post(&socket, "{}".to_owned()).await.err().map(|error| error.to_string()) },
        );
        let failures: [_; 5] = failures.into();
        for failure in failures {
            let failure = failure.expect("nobody answers");
            assert!(failure.contains("timeout"), "{failure}");
        }
        assert!(endpoint.requests().len() > 5, "the SDK tried the call again");
    }

    #[test]
    fn calls_end_well_before_a_function_does() {
        let Timeouts { table, queue, storage, push, push_once } = TIMEOUTS;
        for Patience { attempt, operation } in [table, queue, storage, push, push_once] {
            assert!(attempt <= operation && operation <= Duration::from_secs(20), "{operation:?}");
        }
    }
}
