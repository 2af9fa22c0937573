//! The stack for this library's tests: the tables of `infra/template.yaml` in an embedded DynamoDB behind the local
//! door, over HTTP, with the SDK that the functions use. So the real expressions meet a real engine. Only time is
//! simulated.

mod before;
pub(crate) mod endpoint;
mod hostile;
mod log;
mod policies;
mod push;
mod snapshot;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::config::{Credentials, SharedCredentialsProvider, StalledStreamProtectionConfig};
use aws_sdk_sqs::types::QueueAttributeName;
use aws_smithy_async::rt::sleep::default_async_sleep;
use dynoxide::Database;
use samovar_services::Services;
use samovar_services::queues::Queues;
use samovar_services::s3::{Notifications, S3};
use samovar_sqs::{Sqs, Storage};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::answer::Answerer;
use crate::app::App;
use crate::clock::{Clock as _, ManualClock, Timestamp};
use crate::config::{AdmissionConfig, LeaseConfig};
use crate::conversations::Conversations;
use crate::ids::{ConnectionId, ConversationId, MessageId, Random, SessionId, UserId};
use crate::leases::Leases;
use crate::messages::{Draft, Follows, Messages};
use crate::queue::Job;
use crate::users::Users;

pub(crate) use before::Before;
pub(crate) use hostile::{config, words};
pub(crate) use log::Log;
pub(crate) use push::Connections;
pub(crate) use snapshot::{MessageItem, SlotItem, Snapshot, UserItem};

/// The names of the template's tables in a stack called `tests`.
pub(crate) const CONNECTIONS: &str = "tests-ConnectionsTable";
pub(crate) const CHAT: &str = "tests-ChatTable";

const BUCKET: &str = "media";
const REGION: &str = "us-east-1";
const ACCOUNT: &str = "000000000000";

/// The pause between the SDK's tries.
const PAUSE: Duration = Duration::from_millis(1);

/// The time at which tests begin.
pub(crate) const START: Timestamp = Timestamp(1_800_000_000_000);

/// The tables, empty, behind the door.
pub(crate) struct Stack {
    pub(crate) database: Database,
    pub(crate) services: Arc<Services>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) config: LeaseConfig,
    pub(crate) limits: AdmissionConfig,
    url: String,
    /// The address of the bucket, if the stack has one.
    storage: Option<String>,
    stop: CancellationToken,
}

/// The modules under test, put together as for one function.
#[derive(Debug, Clone)]
pub(crate) struct Function {
    pub(crate) leases: Leases,
    pub(crate) messages: Messages,
    pub(crate) conversations: Conversations,
}

impl Stack {
    pub(crate) fn start(max_clients: u32, lease: Duration, first_message: Duration) -> Self {
        Self::with(max_clients, lease, first_message, None)
    }

    /// The stack with a bucket as well.
    pub(crate) fn with_storage(max_clients: u32, lease: Duration, first_message: Duration) -> Self {
        let (logical_id, name) = ("MediaBucket".to_owned(), BUCKET.to_owned());
        let bucket = samovar_template::Bucket {
            logical_id,
            name,
            cors: vec![],
            expirations: vec![],
            notifications: vec![],
            event_bridge: false,
        };
        let callers = ["janitor", "tests", "worker"].into_iter();
        let s3 = S3::open(None, &[bucket], callers, Duration::from_secs(24 * 3600), Notifications::default())
            .expect("a bucket");
        Self::with(max_clients, lease, first_message, Some(s3))
    }

    fn with(max_clients: u32, lease: Duration, first_message: Duration, s3: Option<S3>) -> Self {
        let database = empty_tables();
        let clock = Arc::new(samovar_sqs::SystemClock);
        let queues = Sqs::open(Storage::Memory, REGION, ACCOUNT, "http://127.0.0.1", clock).expect("queues in memory");
        let services = Services::new(database.clone().into(), Queues::Embedded(queues), s3);
        // A read that is not consistent always sees the tables as they began. So every read of this library must be
        // consistent.
        services.stale_reads.see(empty_tables());
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("non-blocking");
        let root = format!("http://{}", listener.local_addr().expect("its address"));
        let url = format!("{root}{}", samovar_services::PATH);
        let storage = services.s3.is_some().then_some(root);
        let stop = CancellationToken::new();
        let (served, stopped) = (Arc::clone(&services), stop.clone());
        servers().spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("the listener");
            tokio::select! {
                served = served.serve(listener, CancellationToken::new()) => served.expect("served"),
                () = stopped.cancelled() => {}
            }
        });
        Self {
            database,
            services,
            clock: Arc::new(ManualClock::at(START)),
            config: LeaseConfig { table: CONNECTIONS.to_owned(), max_clients, lease, first_message },
            limits: AdmissionConfig { max_pending_per_client: 10, max_text_bytes: 1024 },
            url,
            storage,
            stop,
        }
    }

    /// A function with a name of its own. Its SDK tries each call up to `attempts` times.
    pub(crate) fn function(&self, name: &str, attempts: u32, seed: u64) -> Function {
        let app = self.app_of(name, attempts, seed, None);
        Function {
            leases: app.leases().expect("leases"),
            messages: app.messages().expect("messages"),
            conversations: app.conversations().expect("conversations"),
        }
    }

    /// The same, with a queue.
    pub(crate) async fn app(&self, name: &str, attempts: u32, seed: u64) -> App {
        let sqs = aws_sdk_sqs::Client::new(&self.sdk(name, attempts));
        let queue = sqs.create_queue().queue_name("messages.fifo").attributes(QueueAttributeName::FifoQueue, "true");
        let url = queue.send().await.expect("CreateQueue").queue_url.expect("its URL");
        self.app_of(name, attempts, seed, Some(url))
    }

    fn app_of(&self, name: &str, attempts: u32, seed: u64, queue: Option<String>) -> App {
        let LeaseConfig { table, max_clients, lease, first_message } = self.config.clone();
        let mut environment = HashMap::from([
            ("CONNECTIONS_TABLE", table),
            ("MAX_CLIENTS", max_clients.to_string()),
            ("LEASE_SECONDS", lease.as_secs().to_string()),
            ("FIRST_MESSAGE_SECONDS", first_message.as_secs().to_string()),
            ("CHAT_TABLE", CHAT.to_owned()),
            ("STACK_NAME", "tests".to_owned()),
            ("MEDIA_BUCKET", BUCKET.to_owned()),
            ("MEDIA_ENDPOINT_URL", self.url.clone()),
            ("MAX_MEDIA_BYTES", "1024".to_owned()),
            ("PRESIGN_SECONDS", "900".to_owned()),
            ("AWS_ENDPOINT_URL", self.url.clone()),
            ("AWS_ENDPOINT_URL_APIGATEWAYMANAGEMENTAPI", self.url.clone()),
            ("LLM_PROVIDER", "mock".to_owned()),
            ("MOCK_LATENCY_MS", "0".to_owned()),
            ("LLM_CONTEXT_TOKENS", "1000".to_owned()),
            ("LLM_CONTEXT_MESSAGES", "50".to_owned()),
        ]);
        environment.extend(queue.map(|url| ("QUEUE_URL", url)));
        let lookup = move |name: &str| environment.get(name).cloned();
        let (sdk, random) = (self.sdk(name, attempts), Arc::new(Random::seeded(seed)));
        let app = App::with(sdk.clone(), lookup, self.clock.clone(), random);
        match &self.storage {
            Some(url) => app.storing_at(sdk.to_builder().endpoint_url(url).build()),
            None => app,
        }
    }

    /// The users as a function of this name sees them.
    pub(crate) fn users(&self, name: &str) -> Users {
        self.app_of(name, 3, 1, None).users().expect("users")
    }

    fn sdk(&self, name: &str, attempts: u32) -> SdkConfig {
        SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::from_static(REGION))
            .credentials_provider(SharedCredentialsProvider::new(Credentials::new(
                samovar_services::access_key(name),
                samovar_services::SECRET_KEY,
                Some(samovar_services::SESSION_TOKEN.to_owned()),
                None,
                "tests",
            )))
            .endpoint_url(&self.url)
            .retry_config(RetryConfig::standard().with_max_attempts(attempts).with_initial_backoff(PAUSE))
            .sleep_impl(default_async_sleep().expect("the runtime's"))
            .timeout_config(TimeoutConfig::disabled())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .build()
    }

    /// A worker with a mock model that answers at once. It tells `connections`.
    pub(crate) async fn answerer(&self, name: &str, connections: &Arc<Connections>) -> Answerer {
        let app = self.app(name, 3, 1).await.pushing_to(connections);
        app.answerer().expect("an answerer")
    }

    /// The jobs that are queued now, each with its receipt handle.
    pub(crate) async fn receive(&self) -> Vec<(Job, String)> {
        let sqs = aws_sdk_sqs::Client::new(&self.sdk("tests", 1));
        let url = sqs.get_queue_url().queue_name("messages.fifo").send().await.expect("a queue").queue_url;
        let received = sqs.receive_message().set_queue_url(url).max_number_of_messages(10).send().await;
        let messages = received.expect("ReceiveMessage").messages.unwrap_or_default().into_iter().map(|message| {
            let job = serde_json::from_str(&message.body.expect("a body")).expect("a job");
            (job, message.receipt_handle.expect("a receipt handle"))
        });
        messages.collect()
    }

    /// Deletes a job from the queue, as the event source does after a job.
    pub(crate) async fn finished(&self, receipt_handle: &str) {
        self.finishing(receipt_handle).await;
    }

    pub(crate) fn finishing(&self, receipt_handle: &str) -> impl Future<Output = ()> + Send + 'static {
        let sqs = aws_sdk_sqs::Client::new(&self.sdk("tests", 1));
        let delete = sqs.delete_message().receipt_handle(receipt_handle);
        async move {
            let url = sqs.get_queue_url().queue_name("messages.fifo").send().await.expect("a queue").queue_url;
            delete.set_queue_url(url).send().await.expect("DeleteMessage");
        }
    }

    /// The content of the tables, read without the door, so it is neither counted nor hooked.
    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot::read(&self.database)
    }

    /// Writes lease items as given, to set a scene.
    pub(crate) fn put_connections(&self, items: &[Value]) {
        for chunk in items.chunks(25) {
            let puts: Vec<_> = chunk.iter().map(|item| json!({ "PutRequest": { "Item": item } })).collect();
            let batch = json!({ "RequestItems": { CONNECTIONS: puts } });
            self.database.batch_write_item(request(batch)).expect("BatchWriteItem");
        }
    }

    /// Makes conversations of a user without the door, those that [`conversation`] names.
    pub(crate) fn make_conversations(&self, user: &str, numbers: impl IntoIterator<Item = u32>) {
        for number in numbers {
            let (id, now) = (conversation(number), self.clock.now().0.to_string());
            let item = json!({
                "pk": { "S": format!("user#{user}") }, "sk": { "S": format!("conv#{id}") },
                "id": { "S": id }, "title": { "S": "Talk" }, "last_seq": { "N": "0" },
                "created_at": { "N": now }, "updated_at": { "N": now },
            });
            self.database.put_item(request(json!({ "TableName": CHAT, "Item": item }))).expect("PutItem");
        }
    }

    /// Counts a message in its sender's item, without the door.
    pub(crate) fn count_pending(&self, user: &str, message: &MessageId, since: Timestamp) {
        let update = json!({
            "TableName": CONNECTIONS, "Key": { "pk": { "S": format!("user#{user}") } },
            "UpdateExpression": "SET pending.#message = :since",
            "ExpressionAttributeNames": { "#message": message.key() },
            "ExpressionAttributeValues": { ":since": { "N": since.0.to_string() } },
        });
        self.database.update_item(request(update)).expect("UpdateItem");
    }

    /// Removes attributes from an item, as if it was stored before they existed.
    pub(crate) fn forget_attributes(&self, pk: &str, sk: &str, names: &[&str]) {
        let update = json!({
            "TableName": CHAT, "Key": { "pk": { "S": pk }, "sk": { "S": sk } },
            "UpdateExpression": format!("REMOVE {}", names.join(", ")),
        });
        self.database.update_item(request(update)).expect("UpdateItem");
    }

    /// Deletes one item of the chat's table, without the door.
    pub(crate) fn delete(&self, pk: &str, sk: &str) {
        let delete = json!({ "TableName": CHAT, "Key": { "pk": { "S": pk }, "sk": { "S": sk } } });
        self.database.delete_item(request(delete)).expect("DeleteItem");
    }

    /// Deletes a user's lease with its counts, without the door.
    pub(crate) fn forget_user(&self, user: &str) {
        let delete = json!({ "TableName": CONNECTIONS, "Key": { "pk": { "S": format!("user#{user}") } } });
        self.database.delete_item(request(delete)).expect("DeleteItem");
    }

    /// Makes a whole conversation older than parents.
    pub(crate) fn forget_parents(&self, user: &str, conversation: &ConversationId) {
        let sk = format!("conv#{conversation}");
        self.forget_attributes(&format!("user#{user}"), &sk, &["last_id"]);
        for (of, seq) in self.snapshot().ids.into_keys().filter(|(of, _)| of == conversation.as_str()) {
            self.forget_attributes(&format!("conv#{of}"), &format!("{seq:012}"), &["parent_id", "parent_seq"]);
        }
    }

    /// A slot that is held for some time from now.
    pub(crate) fn slot_item(&self, slot: u32, user: &str, connection: &str) -> Value {
        json!({
            "pk": { "S": format!("slot#{slot:05}") },
            "slot_no": { "N": slot.to_string() },
            "user_id": { "S": user },
            "connection_id": { "S": connection },
            "expires_at": { "N": self.clock.now().plus(self.config.lease).0.to_string() },
            "spoken": { "BOOL": true },
        })
    }

    /// One item, read without the door.
    pub(crate) fn item(&self, table: &str, pk: &str, sk: Option<&str>) -> Value {
        let mut key = json!({ "pk": { "S": pk } });
        if let Some(sk) = sk {
            key["sk"] = json!({ "S": sk });
        }
        let response = self.database.get_item(request(json!({ "TableName": table, "Key": key }))).expect("GetItem");
        serde_json::to_value(response).expect("JSON")["Item"].clone()
    }

    /// The DynamoDB calls of a function so far, by operation.
    pub(crate) fn calls(&self, function: &str) -> HashMap<String, u64> {
        let snapshot = self.services.meter.snapshot();
        serde_json::from_value(snapshot[function]["dynamodb"].clone()).unwrap_or_default()
    }
}

impl std::fmt::Debug for Stack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stack").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// The tables that the template declares.
fn tables() -> &'static [samovar_template::Table] {
    static TABLES: OnceLock<Vec<samovar_template::Table>> = OnceLock::new();
    TABLES.get_or_init(|| {
        let template = template();
        let names: Vec<_> = template.tables.iter().map(|table| table.name.as_str()).collect();
        assert_eq!(names, [CHAT, CONNECTIONS], "The tables that tests name are those of the template");
        template.tables
    })
}

fn template_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../infra/template.yaml")
}

/// The tables of the template.
fn empty_tables() -> Database {
    let database = Database::memory().expect("a database in memory");
    for table in tables() {
        database.create_table(request(table.create_table.clone())).expect("CreateTable");
    }
    database
}

/// The template of a stack called `tests`.
fn template() -> samovar_template::Template {
    let locals = samovar_template::Locals {
        stack_name: "tests".to_owned(),
        region: REGION.to_owned(),
        account_id: ACCOUNT.to_owned(),
        sqs_url: "http://127.0.0.1".to_owned(),
        issuer: "http://127.0.0.1".to_owned(),
        allow_missing: false,
    };
    samovar_template::load(&template_path(), &BTreeMap::new(), &locals).expect("the template")
}

fn request<T: serde::de::DeserializeOwned>(request: Value) -> T {
    serde_json::from_value(request).expect("a request of the engine")
}

/// The runtime for servers.
pub(crate) fn servers() -> &'static tokio::runtime::Runtime {
    static SERVERS: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
    SERVERS.get_or_init(|| {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        runtime.worker_threads(2).enable_all().build().expect("a runtime")
    })
}

pub(crate) fn user(name: impl std::fmt::Display) -> UserId {
    UserId::parse(&name.to_string()).expect("a user id")
}

pub(crate) fn connection(name: impl std::fmt::Display) -> ConnectionId {
    ConnectionId::new(name.to_string())
}

pub(crate) fn session(name: impl std::fmt::Display) -> SessionId {
    SessionId::parse(&name.to_string()).expect("a session id")
}

pub(crate) fn message_id(number: u32) -> MessageId {
    MessageId::parse(&format!("{number:08x}-0000-4000-8000-00000000abcd")).expect("a message id")
}

pub(crate) fn conversation(number: u32) -> ConversationId {
    ConversationId::parse(&format!("{number:08x}-0000-4000-8000-00000000c0c0")).expect("a conversation id")
}

pub(crate) fn draft(id: u32, conversation_number: u32) -> Draft {
    Draft {
        id: message_id(id),
        conversation: conversation(conversation_number),
        text: "Hello".to_owned(),
        media: None,
        follows: Follows::Latest,
    }
}

/// Checks that conversations number their messages and answers 1, 2, 3…, and that each message has exactly one id item.
pub(crate) fn assert_numbered(stack: &Stack) {
    let state = stack.snapshot();
    for ((user, conversation), last) in &state.conversations {
        for seq in 1..=*last {
            let place = (conversation.clone(), seq);
            let Some(message) = state.messages.get(&place) else {
                assert!(state.answers.contains_key(&place), "{place:?} is missing");
                continue;
            };
            assert_eq!(state.names.get(&(user.clone(), message.id.clone())), Some(&place));
        }
    }
    assert_eq!(state.conversations.values().sum::<u64>() as usize, state.messages.len() + state.answers.len());
    assert_eq!(state.names.len(), state.messages.len());
}
